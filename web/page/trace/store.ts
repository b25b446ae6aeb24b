// What is known of who read what: selections by (position, layer), beside the tokens they belong to. It grows while an
// answer is written; `revision` tells those who draw it that something came in.

import { signal } from "@preact/signals";
import type { Selection, Trace } from "lyn";

export interface Token {
  id: number;
  text: string;
}

export type TraceHeader = Pick<Trace, "model_type" | "num_hidden_layers" | "index_topk">;

const NO_MODEL: TraceHeader = { model_type: "", num_hidden_layers: 0, index_topk: null };

export class TraceStore {
  /** Rises with every change. */
  readonly revision = signal(0);
  #header = NO_MODEL;
  #tokens: Token[] = [];
  /** By position, then by layer. */
  #rows: Map<number, Selection>[] = [];
  #layers = new Map<number, number>();

  /** A store that holds a trace, from a file or from `Lyn.trace`. */
  static from(trace: Trace): TraceStore {
    const store = new TraceStore();
    store.load(trace);
    return store;
  }

  get header(): TraceHeader {
    return this.#header;
  }

  get tokens(): readonly Token[] {
    return this.#tokens;
  }

  /** Layers of which at least one selection is here, ascending. */
  get layers(): number[] {
    return [...this.#layers.keys()].sort((a, b) => a - b);
  }

  get empty(): boolean {
    return this.#layers.size === 0;
  }

  /** Forgets everything; the next tokens belong to this model. */
  reset(header: TraceHeader = NO_MODEL): void {
    this.#header = header;
    this.#tokens = [];
    this.#rows = [];
    this.#layers.clear();
    this.#changed();
  }

  /** Takes a whole trace in place of what was here. */
  load(trace: Trace): void {
    this.reset(trace);
    this.#header = {
      model_type: trace.model_type,
      num_hidden_layers: trace.num_hidden_layers,
      index_topk: trace.index_topk,
    };
    this.#tokens = trace.tokens.slice();
    for (const selection of trace.selections) this.#insert(selection);
    this.#changed();
  }

  /** Puts tokens at their place. Where one differs from what stood there the text has taken another way: the old
   * tokens from there on, and all that was known of them, are forgotten. A token keeps the first text that it got. */
  setTokens(position: number, tokens: readonly Token[]): void {
    if (position > this.#tokens.length) return; // a gap has no text to show
    let changed = false;
    tokens.forEach((token, offset) => {
      const place = position + offset;
      const old = this.#tokens[place];
      if (old?.id === token.id && (old.text || !token.text)) return;
      if (old && old.id !== token.id) this.truncate(place);
      this.#tokens[place] = token;
      changed = true;
    });
    if (changed) this.#changed();
  }

  /** Forgets tokens from `length` on. */
  truncate(length: number): void {
    if (length >= this.#tokens.length && length >= this.#rows.length) return;
    for (const row of this.#rows.splice(length)) {
      for (const layer of row?.keys() ?? []) {
        const left = (this.#layers.get(layer) ?? 1) - 1;
        if (left > 0) this.#layers.set(layer, left);
        else this.#layers.delete(layer);
      }
    }
    this.#tokens.length = Math.min(this.#tokens.length, length);
    this.#changed();
  }

  /** Selections as they come; one that is known already is replaced. */
  add(selections: readonly Selection[]): void {
    if (selections.length === 0) return;
    for (const selection of selections) this.#insert(selection);
    this.#changed();
  }

  at(position: number, layer: number): Selection | undefined {
    return this.#rows[position]?.get(layer);
  }

  /** All layers' selections for one token, by layer. */
  row(position: number): Selection[] {
    return [...(this.#rows[position]?.values() ?? [])].sort((a, b) => a.layer - b.layer);
  }

  /** Last position of which anything is known; -1 where nothing is. */
  get last(): number {
    let position = Math.min(this.#rows.length, this.#tokens.length) - 1;
    while (position >= 0 && !this.#rows[position]?.size) position -= 1;
    return position;
  }

  toTrace(): Trace {
    const selections = [];
    for (let position = 0; position < this.#tokens.length; position += 1) selections.push(...this.row(position));
    return { ...this.#header, layers: this.layers, tokens: this.#tokens.slice(), selections };
  }

  #insert(selection: Selection): void {
    // Holes in an array of a million are slow to walk, so they are filled with empty rows.
    while (this.#rows.length <= selection.position) this.#rows.push(new Map());
    const row = this.#rows[selection.position];
    if (!row) return;
    if (!row.has(selection.layer)) this.#layers.set(selection.layer, (this.#layers.get(selection.layer) ?? 0) + 1);
    row.set(selection.layer, selection);
  }

  #changed(): void {
    this.revision.value = this.revision.peek() + 1;
  }
}
