// What the attention panel looks at: which trace, which token asks, which layer, and the shades that follow from it.
// It outlives the panel, so that closing and opening it again loses nothing.

import { batch, computed, type ReadonlySignal, signal } from "@preact/signals";
import type { Selection } from "lyn";
import { allLayers, countShades, denseShades, selectionShades } from "../../trace/measures.ts";
import { TraceStore } from "../../trace/store.ts";

export type View = "text" | "map" | "both" | "table";

/** A model with more layers than these is traced one layer at a time: a selection of 61 layers is a megabyte a token. */
export const MANY_LAYERS = 16;

export class AttentionState {
  /** What was read in this conversation. */
  readonly live = new TraceStore();
  /** A trace file that is shown in its place. */
  readonly file = signal<{ name: string; store: TraceStore } | null>(null);
  readonly view = signal<View>("text");
  /** Whether the map shows dense weights, where they are known, and not the selection. */
  readonly mapDense = signal(false);
  /** Null: all layers together. */
  readonly layer = signal<number | null>(null);
  /** The token that was picked; null: the newest, or the one under the pointer. */
  readonly pinned = signal<number | null>(null);
  /** The token under the pointer. */
  readonly pointed = signal<number | null>(null);
  /** Rises when the newest token is to be brought into sight. */
  readonly jumps = signal(0);
  /** Whether the next answer is traced while it is written. */
  readonly follow = signal(true);
  /** Texts of tokens by id, as far as they have been asked for. */
  readonly texts = new Map<number, string>();
  /** Whether they are being asked for. */
  spelling = false;

  readonly store: ReadonlySignal<TraceStore> = computed(() => this.file.value?.store ?? this.live);

  /** Tokens of the text; a new number with every change to it. */
  readonly length = computed(() => {
    const store = this.store.value;
    store.revision.value;
    return store.tokens.length;
  });

  /** The token whose reading is shown; -1 in an empty text. */
  readonly query = computed(() => {
    const store = this.store.value;
    store.revision.value;
    const chosen = this.pinned.value ?? this.pointed.value;
    if (chosen !== null && chosen < store.tokens.length) return chosen;
    return store.last >= 0 ? store.last : store.tokens.length - 1;
  });

  /** All that is known of the query, by layer. */
  readonly row = computed<Selection[]>(() => {
    const store = this.store.value;
    store.revision.value;
    return store.row(this.query.value);
  });

  /** What the query read in the layer that is shown, or in all of them; absent where it was not traced. */
  readonly selection = computed(() => this.select(this.row.value));

  /** Whether nothing was selected: attention was dense, and weights are all there is to show. */
  readonly unselective = computed(() => isDense(this.row.value));

  readonly denseShades = computed(() => denseShades(this.selection.value?.dense ?? new Float32Array(0)));
  readonly shades = computed(() => this.shadesOf(this.row.value));
  /** What those shades mean. */
  readonly meaning = computed(() => (this.unselective.value ? "dense" : this.layer.value === null ? "count" : "score"));

  /** Of all layers' selections for a token, the one that is shown. */
  select(row: Selection[]): Selection | undefined {
    const layer = this.layer.value;
    return layer === null ? allLayers(row) : row.find((selection) => selection.layer === layer);
  }

  /** Shades of all that a token could read, given all layers' selections for it. */
  shadesOf(row: Selection[]): Uint8Array {
    const selection = this.select(row);
    if (!selection) return new Uint8Array(0);
    if (selection.dense && isDense(row)) return denseShades(selection.dense);
    return this.layer.value === null ? countShades(selection, row.length) : selectionShades(selection);
  }

  /** The same for a row of the map. */
  mapShades(row: Selection[]): Uint8Array {
    const dense = this.mapDense.value ? this.select(row)?.dense : undefined;
    return dense ? denseShades(dense) : this.shadesOf(row);
  }

  /** Picks a token by hand; outside the text: follows the newest again. */
  pick(position: number | null): void {
    const last = this.store.value.tokens.length - 1;
    batch(() => {
      this.pinned.value = position === null || last < 0 ? null : Math.min(Math.max(position, 0), last);
      this.pointed.value = null;
    });
  }

  /** Back to the newest token, wherever the text was scrolled. */
  newest(): void {
    this.pick(null);
    this.jumps.value += 1;
  }

  show(file: { name: string; store: TraceStore } | null): void {
    const { layers } = file?.store ?? this.live;
    const layer = this.layer.value;
    batch(() => {
      this.file.value = file;
      this.pinned.value = null;
      this.pointed.value = null;
      if (layer !== null && layers.length > 0 && !layers.includes(layer)) this.layer.value = layers[0] ?? null;
    });
  }
}

/** Scores are the indexer's; where it had no part there are none. */
function isDense(row: Selection[]): boolean {
  return row.length > 0 && row.every(({ scores }) => scores.length === 0);
}
