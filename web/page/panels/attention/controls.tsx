// What is shown, in words, and the ways to choose it: view, layer, token.

import { useId } from "preact/hooks";
import type { PanelProps } from "../props.ts";
import { catalogue } from "../text.ts";
import type { AttentionState, View } from "./state.ts";
import { visible } from "./token-text.tsx";

const VIEWS: View[] = ["text", "map", "both", "table"];

interface Props {
  state: AttentionState;
  props: PanelProps;
}

/** `layer 12 · reads 64 of 1,416`, or why there is nothing to select. */
export function reading(state: AttentionState, props: PanelProps): string {
  const { attention: words } = catalogue(props.language.value);
  const { integer } = props.format.value;
  const store = state.store.value;
  const selection = state.selection.value;
  const { index_topk } = store.header;
  if (!state.file.value && props.model.value && !props.model.value.sparse) return words.denseModel;
  if ((state.file.value || props.model.value) && index_topk === null)
    return words.denseTrace(integer(state.query.value + 1));
  const visible = state.query.value + 1;
  if (index_topk !== null && visible <= index_topk) return words.everything(integer(visible), integer(index_topk));
  if (!selection) return words.noTrace;
  const [read, of] = [integer(selection.indices.length), integer(visible)];
  return state.layer.value === null
    ? words.readsAll(read, of, integer(state.row.value.length))
    : words.reads(integer(state.layer.value), read, of);
}

export function Header({ state, props }: Props) {
  // Said aloud when people move about, and not with each token that comes.
  const quiet = props.activity.value === "prefill" || props.activity.value === "decode";
  return (
    <h3 class="reading">
      <output aria-live={quiet ? "off" : "polite"}>{reading(state, props)}</output>
    </h3>
  );
}

export function Controls({ state, props }: Props) {
  const { attention: words } = catalogue(props.language.value);
  const { integer } = props.format.value;
  const name = useId();
  const store = state.store.value;
  const layer = state.layer.value;
  // A file offers the layers that it holds, a model all of its own; before the first of them stand all together.
  const layers = state.file.value
    ? store.layers
    : Array.from({ length: store.header.num_hidden_layers }, (_, layer) => layer);
  const query = state.query.value;
  const piece = visible(store.tokens[query]?.text ?? "").replace("\n", "");
  return (
    <div class="controls">
      <fieldset class="segments">
        <legend class="unseen">{words.view}</legend>
        {VIEWS.map((view) => (
          <label key={view}>
            <input
              type="radio"
              name={name}
              checked={state.view.value === view}
              onChange={() => (state.view.value = view)}
            />
            <span>{words.views[view]}</span>
          </label>
        ))}
      </fieldset>
      <div class="slider">
        <label for={`${name}-layer`}>{words.layer}</label>
        <input
          id={`${name}-layer`}
          type="range"
          min={-1}
          max={layers.length - 1}
          value={layer === null ? -1 : layers.indexOf(layer)}
          aria-valuetext={layer === null ? words.allLayers : integer(layer)}
          onInput={(event) => (state.layer.value = layers[Number(event.currentTarget.value)] ?? null)}
        />
        <output aria-live="off">{layer === null ? "∑" : integer(layer)}</output>
        <button
          type="button"
          class="button small"
          aria-pressed={layer === null}
          onClick={() => (state.layer.value = layer === null ? (layers[0] ?? null) : null)}
        >
          {words.allLayers}
        </button>
      </div>
      <div class="slider">
        <label for={`${name}-query`}>{words.query}</label>
        <input
          id={`${name}-query`}
          type="range"
          min={0}
          max={Math.max(0, state.length.value - 1)}
          value={Math.max(0, query)}
          aria-valuetext={words.token(integer(query), piece)}
          onInput={(event) => state.pick(Number(event.currentTarget.value))}
        />
        <output aria-live="off">{integer(query)}</output>
        <button
          type="button"
          class="button small"
          aria-pressed={state.pinned.value === null}
          onClick={() => state.newest()}
        >
          {words.newest}
        </button>
      </div>
    </div>
  );
}
