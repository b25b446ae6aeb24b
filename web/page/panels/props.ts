// What every panel on the right may look at. All fields are signals: a panel reads what it needs and is drawn again
// only when that changes. Panels never change the conversation; what they may do is at the end.
import type { ReadonlySignal, Signal } from "@preact/signals";
import type { AdapterInfo, ModelInfo, Plan, Support, TraceOptions } from "lyn";
import type { FunctionComponent } from "preact";
import type { ChatClient } from "../client.ts";
import type { LiveToken, Run } from "../run.ts";
import type { Settings } from "../settings.ts";
import type { Format, Language } from "../text/format.ts";

export interface PanelProps {
  /** Panels bring their own catalogues: `{ en, nb: typeof en }[language.value]`. */
  language: ReadonlySignal<Language>;
  /** Numbers, bytes, seconds, rates in that language. */
  format: ReadonlySignal<Format>;

  support: ReadonlySignal<Support | null>;
  /** Null until a model is loaded. */
  client: ReadonlySignal<ChatClient | null>;
  model: ReadonlySignal<ModelInfo | null>;
  plan: ReadonlySignal<Plan | null>;
  adapter: ReadonlySignal<AdapterInfo | null>;
  selfCheck: ReadonlySignal<{ passed: boolean; fromCache: boolean } | null>;

  /** What the engine does now: a panel that wants `client.trace` or `compare` waits for "idle". */
  activity: ReadonlySignal<"none" | "idle" | "prefill" | "decode">;
  /** Ids of the whole context as it stands in the cache: the prompt, and the answer as far as it has come. */
  ids: ReadonlySignal<readonly number[]>;
  /** How many of `ids` are the prompt. */
  promptLength: ReadonlySignal<number>;
  /** Tokens of the answer in the making, or of the last one. A new array each time (batched by frame). */
  tokens: ReadonlySignal<readonly LiveToken[]>;
  /** Tokens of the whole context, also where `ids` are not known. */
  used: ReadonlySignal<number>;
  prompt: ReadonlySignal<{ done: number; total: number; cached: number } | null>;
  runs: ReadonlySignal<readonly Run[]>;
  settings: ReadonlySignal<Settings>;

  // -- what a panel may do --
  /** Set by the page: whether the attention panel can be seen. Traces are asked for only while it is. */
  attentionOpen: ReadonlySignal<boolean>;
  /** Set by the attention panel: what the next answer's tokens shall carry. Null: nothing. */
  traceWanted: Signal<TraceOptions | null>;
  /** Changes settings; those that the engine was loaded with (context, attention, indexTopk) load the model again. */
  apply(changes: Partial<Settings>): void;
  /** Speaks one short sentence through the page's polite status. */
  announce(sentence: string): void;
  /** Shows an error as the page shows its own. */
  report(error: unknown): void;
}

/** A panel's place in the page; `registry.ts` lists them. */
export type Panel = FunctionComponent<PanelProps>;
