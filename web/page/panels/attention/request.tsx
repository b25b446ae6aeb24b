// The way to a trace where there is none, and the clock while it is made.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { Clock } from "../clock.tsx";
import type { PanelProps } from "../props.ts";
import { catalogue } from "../text.ts";
import { reading } from "./controls.tsx";
import { readAgain } from "./live.ts";
import type { AttentionState } from "./state.ts";

export function Request({ state, props }: { state: AttentionState; props: PanelProps }) {
  const { attention: words } = catalogue(props.language.value);
  const running = useSignal<{ since: number; stop: AbortController } | null>(null);
  useEffect(() => () => running.peek()?.stop.abort(), []);
  if (state.file.value || !props.client.value || !props.model.value) return null;
  if (running.value) {
    const { since, stop } = running.value;
    return (
      <p class="note">
        <Clock since={since} format={props.format.value} render={words.reading} />
        <button type="button" class="button small" onClick={() => stop.abort()}>
          {words.stop}
        </button>
      </p>
    );
  }
  const selection = state.selection.value;
  const dense = props.model.value.index_topk === null;
  const wantsDense = dense || (state.view.value === "both" && selection !== undefined && !selection.dense);
  if (selection && (selection.dense || !wantsDense)) return null;
  const start = async () => {
    const stop = new AbortController();
    running.value = { since: performance.now(), stop };
    try {
      await readAgain(state, props, stop.signal);
      props.announce(reading(state, props));
    } catch (error) {
      if (!stop.signal.aborted) props.report(error);
    } finally {
      running.value = null;
    }
  };
  return (
    <p class="note">
      {wantsDense && !dense && <span>{words.noDense}</span>}
      <button
        type="button"
        class="button small"
        disabled={props.activity.value !== "idle"}
        onClick={() => void start()}
      >
        {wantsDense ? words.showDense : words.show}
      </button>
      <small>{words.showCost(props.format.value.integer(props.ids.value.length))}</small>
    </p>
  );
}
