// What the page knows. Views read these; only the modules beside this file write them.
import { computed, signal } from "@preact/signals";
import type { AdapterInfo, ModelInfo, ModelSource, Plan, Support, TraceOptions } from "lyn";
import type { ChatClient, Problem } from "../client.ts";
import { emptyConversation, path, type Conversation } from "../conversation.ts";
import type { LiveToken, Run } from "../run.ts";
import { DEFAULTS, type Settings } from "../settings.ts";
import { canAsk, isAnswering, next, type Event, type State } from "../state.ts";

export const state = signal<State>({ name: "boot", since: performance.now() });

export function dispatch(event: Event): void {
  state.value = next(state.value, event);
}

// -- the model -------------------------------------------------------------------------------------------------------

/** A model that somebody wants, and how. */
export interface Wish {
  source: ModelSource;
  /** As people see it: `stories`, `hf:org/name`, a folder's name. */
  id: string;
  force?: boolean;
  cache?: "auto" | "memory";
}

/** The model of the server that delivered the page, which only that server chooses. */
export interface ServerWish {
  source: "server";
  /** Its name, once it is known. */
  id: string;
}

export const SERVER: ServerWish = { source: "server", id: "" };
export const STORIES: Wish = { source: "stories", id: "stories" };

export const support = signal<Support | null>(null);
export const wish = signal<Wish | ServerWish>(STORIES);
export const client = signal<ChatClient | null>(null);
export const model = signal<ModelInfo | null>(null);
export const plan = signal<Plan | null>(null);
/** Whether the answers come from the server that delivered the page. */
export const onServer = computed(() => wish.value.source === "server");
/** The attention that answers are computed with: ours to choose in this tab only. */
export const attention = computed<"sparse" | "dense">(() => {
  if (!onServer.value) return settings.value.attention;
  return model.value?.index_topk === null ? "dense" : "sparse";
});
/** Twice the context, as far as the model allows; null where it has all there is, or is not ours to load. */
export const largerContext = computed<number | null>(() => {
  const info = model.value;
  if (!info || onServer.value || info.context >= info.max_position_embeddings) return null;
  return Math.min(info.max_position_embeddings, info.context * 2);
});
export const adapter = computed<AdapterInfo | null>(() => {
  if (client.value) return client.value.adapter;
  return support.value?.ok ? support.value.adapter : null;
});
export const selfCheck = computed(() => client.value?.selfCheck ?? null);

// -- the conversation ------------------------------------------------------------------------------------------------

export const conversation = signal<Conversation>(emptyConversation(Date.now()));
export const messages = computed(() => path(conversation.value));

/** The answer in the making; its text is not yet in `conversation`. */
export interface Live {
  id: string;
  text: string;
  reasoning: string;
  /** When the thought began, when it ended: `performance.now()`. */
  thoughtFrom: number | null;
  thoughtTo: number | null;
}

export const live = signal<Live | null>(null);
/** These two change seldom, so what reads them is not drawn again with every token. */
export const liveId = computed(() => live.value?.id ?? null);
export const answering = computed(() => isAnswering(state.value));
/** What waits to be sent until the model is ready or the answer has ended. */
export const pending = signal<string | null>(null);
/** What stands in the composer. */
export const draft = signal("");
/** The message whose text is being edited. */
export const editing = signal<string | null>(null);
/** A link brought this in; nothing runs by itself then. */
export const fromLink = signal(false);
/** The connection asks for few bytes, so nothing was loaded yet. */
export const sparing = signal(false);

// -- for panels ------------------------------------------------------------------------------------------------------

export const ids = signal<readonly number[]>([]);
export const promptLength = signal(0);
/** Tokens of the whole context, also where their ids are not known. */
export const used = signal(0);
export const tokens = signal<readonly LiveToken[]>([]);
export const prompt = signal<{ done: number; total: number; cached: number } | null>(null);
export const runs = signal<readonly Run[]>([]);
export const traceWanted = signal<TraceOptions | null>(null);
export const activity = computed<"none" | "idle" | "prefill" | "decode">(() => {
  const now = state.value;
  if (!client.value || now.name === "recovering") return "none";
  return isAnswering(now) ? now.name : "idle";
});
/** Whether something can be asked now. */
export const idle = computed(() => activity.value === "idle" && canAsk(state.value));

// -- the page itself -------------------------------------------------------------------------------------------------

export type PanelName = "attention" | "speed" | "memory" | "device";
export type Dialog = "settings" | "models" | "keys" | "privacy";

export const settings = signal<Settings>(DEFAULTS);
export const dialog = signal<Dialog | null>(null);
export const panel = signal<PanelName>("attention");
export const panelOpen = signal(false);
export const attentionOpen = computed(() => panelOpen.value && panel.value === "attention");
/** The one sentence of the polite status. */
export const status = signal("");
/** Something went wrong beside the conversation (in a panel, while switching attention); people take it away. */
export const notice = signal<Problem | null>(null);

export function announce(sentence: string): void {
  // The same sentence twice would not be spoken: a space that nobody hears makes it another.
  status.value = status.peek() === sentence ? `${sentence} ` : sentence;
}
