// The map: a row for each token that asks, a column for each token it could read. Drag to move, pinch or Ctrl and wheel
// to zoom, arrow keys for the row.

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Format } from "../../text/format.ts";
import type { Panels } from "../text.en.ts";
import { MapPicture } from "./map-picture.ts";
import type { AttentionState } from "./state.ts";
import { visible } from "./token-text.tsx";

interface Props {
  state: AttentionState;
  text: Panels["attention"];
  format: Format;
}

export function MapView({ state, text, format }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const map = useSignal<MapPicture | null>(null);
  const query = state.query.value;

  useEffect(() => {
    if (!canvas.current) return;
    const picture = new MapPicture(canvas.current, state, format);
    map.value = picture;
    return () => picture.end();
  }, [state, format]);

  const zoom = (factor: number) => map.value?.zoom(factor);
  const onKeyDown = (event: KeyboardEvent) => {
    const length = state.length.value;
    const page = Math.max(1, Math.round(length / 10));
    const moves: Record<string, () => void> = {
      ArrowUp: () => state.pick(query - 1),
      ArrowDown: () => state.pick(query + 1),
      ArrowLeft: () => map.value?.pan(-0.1, 0),
      ArrowRight: () => map.value?.pan(0.1, 0),
      PageUp: () => state.pick(query - page),
      PageDown: () => state.pick(query + page),
      Home: () => state.pick(0),
      End: () => state.pick(length - 1),
      "+": () => zoom(1.5),
      "=": () => zoom(1.5),
      "-": () => zoom(1 / 1.5),
      "0": () => zoom(0),
      ...(state.pinned.value !== null && { Escape: () => state.newest() }),
    };
    const move = moves[event.key];
    if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
    move();
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <div class="map">
      <canvas
        ref={canvas}
        class="map-canvas"
        role="slider"
        tabIndex={0}
        aria-orientation="vertical"
        aria-label={text.mapLabel}
        aria-valuemin={0}
        aria-valuemax={Math.max(0, state.length.value - 1)}
        aria-valuenow={Math.max(0, query)}
        aria-valuetext={text.token(format.integer(query), state.store.value.tokens[query]?.text ?? "")}
        onKeyDown={onKeyDown}
      />
      <p class="detail" dir="auto">
        {pair(state, text, format, map.value?.cell.value) ?? <small>{text.mapHint}</small>}
      </p>
      <p class="map-tools">
        <button type="button" class="button small" aria-label={text.zoomIn} onClick={() => zoom(1.5)}>
          +
        </button>
        <button type="button" class="button small" aria-label={text.zoomOut} onClick={() => zoom(1 / 1.5)}>
          −
        </button>
        <button type="button" class="button small" onClick={() => zoom(0)}>
          {text.zoomAll}
        </button>
        {state.selection.value?.dense && !state.unselective.value && (
          <label class="check">
            <input
              type="checkbox"
              checked={state.mapDense.value}
              onChange={(event) => (state.mapDense.value = event.currentTarget.checked)}
            />
            {text.denseLabel}
          </label>
        )}
      </p>
    </div>
  );
}

/** `143 “careful” · reads 12 “sun” · rank 3 of 64`, of the cell under the pointer. */
function pair(
  state: AttentionState,
  text: Panels["attention"],
  format: Format,
  cell: { query: number; key: number } | null | undefined,
) {
  if (!cell) return null;
  const { tokens } = state.store.value;
  const token = (position: number) =>
    text.token(format.integer(position), visible(tokens[position]?.text ?? "").replace("\n", ""));
  const layer = state.layer.value;
  const row = state.store.value.row(cell.query).filter((selection) => layer === null || selection.layer === layer);
  if (row.length === 0) return null;
  const chosen = row.filter(({ indices }) => indices.includes(cell.key)).length;
  if (chosen === 0) return text.pairUnread(token(cell.query), token(cell.key));
  return (
    text.pair(token(cell.query), token(cell.key)) +
    (layer === null ? text.pairLayers(format.integer(chosen), format.integer(row.length)) : "")
  );
}
