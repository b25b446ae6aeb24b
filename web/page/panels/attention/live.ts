// Fills the live trace from what the page's panels may see: ids of the context, tokens of the answer with their
// selections, and, on request, a second reading of the whole text.

import { effect, untracked } from "@preact/signals";
import type { ModelInfo, TraceOptions } from "lyn";
import type { PanelProps } from "../props.ts";
import { type AttentionState, MANY_LAYERS } from "./state.ts";

/** What to ask a trace for, given what the panel shows. Where attention is dense its weights are all there is to see. */
export function wanted(
  state: AttentionState,
  model: Pick<ModelInfo, "num_hidden_layers" | "index_topk">,
): TraceOptions {
  const layer = state.layer.value;
  return {
    layers: layer === null || model.num_hidden_layers <= MANY_LAYERS ? "all" : [layer],
    dense: state.view.value === "both" || model.index_topk === null,
  };
}

/** Keeps the live trace up to date while the panel is mounted; returns the function that ends it. */
export function follow(state: AttentionState, props: PanelProps): () => void {
  const model = effect(() => {
    const model = props.model.value;
    untracked(() => {
      const known = state.live.header;
      if (
        !model ||
        (known.model_type === model.model_type &&
          known.num_hidden_layers === model.num_hidden_layers &&
          known.index_topk === model.index_topk)
      )
        return;
      state.live.reset(model);
      state.texts.clear();
      state.layer.value = model.num_hidden_layers > MANY_LAYERS ? model.num_hidden_layers >> 1 : null;
    });
  });
  const context = effect(() => {
    const ids = props.ids.value;
    untracked(() => {
      if (ids.length < state.live.tokens.length) state.live.truncate(ids.length);
      const { tokens } = state.live;
      let same = 0;
      while (same < tokens.length && tokens[same]?.id === ids[same]) same += 1;
      state.live.setTokens(
        same,
        ids.slice(same).map((id) => ({ id, text: state.texts.get(id) ?? "" })),
      );
    });
  });
  let seen = -1;
  const answer = effect(() => {
    const tokens = props.tokens.value;
    untracked(() => {
      if ((tokens[tokens.length - 1]?.position ?? -1) < seen) seen = -1;
      const fresh = tokens.filter(({ id, position }) => id >= 0 && position > seen);
      for (const { position, id, text } of fresh) state.live.setTokens(position, [{ id, text }]);
      state.live.add(fresh.flatMap(({ selection }) => selection ?? []));
      seen = fresh.at(-1)?.position ?? seen;
    });
  });
  const texts = effect(() => {
    // The answer's tokens bring their texts along; those of the prompt come as ids alone.
    const length = props.activity.value === "idle" ? props.ids.value.length : props.promptLength.value;
    untracked(() => void spell(state, props, length));
  });
  const ask = effect(() => {
    const model = props.model.value;
    const open = props.attentionOpen.value && state.follow.value && !state.file.value;
    // Selections cost little; dense weights alone are measured on request.
    const possible = open && props.client.value?.trace;
    props.traceWanted.value = possible && model && model.index_topk !== null ? wanted(state, model) : null;
  });
  return () => {
    for (const end of [model, context, answer, texts, ask]) end();
    props.traceWanted.value = null;
  };
}

/** Asks for the texts of the first `length` tokens, as far as they came without; one call at a time, because calls may
 * queue behind the answer. */
async function spell(state: AttentionState, props: PanelProps, length: number): Promise<void> {
  const client = props.client.value;
  if (!client || state.spelling) return;
  const ids = props.ids.value.slice(0, length);
  const unknown = new Set(ids.filter((id, position) => !state.live.tokens[position]?.text && !state.texts.has(id)));
  state.spelling = true;
  try {
    for (const id of unknown) {
      const text = await client.detokenize([id]);
      if (props.client.value !== client) return;
      state.texts.set(id, text);
    }
  } catch {
    return; // the engine went away; its loss is the page's to tell
  } finally {
    state.spelling = false;
  }
  state.live.setTokens(
    0,
    state.live.tokens.map(({ id, text }) => ({ id, text: text || (state.texts.get(id) ?? "") })),
  );
}

/** Reads the whole text again and keeps what was selected. */
export async function readAgain(state: AttentionState, props: PanelProps, signal: AbortSignal): Promise<void> {
  const client = props.client.value;
  const ids = props.ids.value;
  if (!client?.trace || ids.length === 0) return;
  const options = wanted(state, client.model);
  const trace = await client.trace(Uint32Array.from(ids), { ...options, signal });
  state.live.load(trace);
  trace.tokens.forEach(({ id, text }) => state.texts.set(id, text));
}
