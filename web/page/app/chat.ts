// What people do with a conversation: ask, stop, ask again, reword, continue, delete. The stream is read here, whether
// the page can be seen or not; what is drawn follows once per frame.
import { batch } from "@preact/signals";
import type { Ask } from "../client.ts";
import {
  add,
  change,
  emptyConversation,
  newId,
  path,
  remove,
  toRequest,
  toText,
  turnTo,
  type Finish,
  type Message,
} from "../conversation.ts";
import type { LiveToken } from "../run.ts";
import { canAsk, isAnswering } from "../state.ts";
import { toProblem } from "../tab.ts";
import { format, text } from "../text/index.ts";
import { perFrame } from "./frame.ts";
import { deviceLost, fail, onReady } from "./models.ts";
import {
  announce,
  attention,
  attentionOpen,
  client,
  conversation,
  dispatch,
  draft,
  editing,
  fromLink,
  ids,
  live,
  messages,
  model,
  pending,
  prompt,
  promptLength,
  runs,
  settings,
  state,
  tokens,
  traceWanted,
  used,
  wish,
} from "./signals.ts";

/** What the page asks `stories` by itself. English, as the model knows nothing else. */
const STARTERS = [
  "Tell me a story about a dragon.",
  "Tell me a story about a little cat named Tom.",
  "Tell me a story about a boat.",
];
const STARTER_TOKENS = 220;

let stopCurrent: (() => void) | null = null;
let current: Promise<void> = Promise.resolve();

/** The answer that a reset of the GPU broke off; it is continued when the GPU is back. */
let broken: string | null = null;

onReady((how) => {
  if (how === "restored" && broken) {
    void continueAnswer(broken);
    return;
  }
  broken = null;
  if (sendPending()) return;
  if (how === "loaded" && wish.peek().source === "stories" && messages.peek().length === 0 && !fromLink.peek())
    firstStory();
});

function firstStory(): void {
  const question = STARTERS[Math.floor(Math.random() * STARTERS.length)] ?? "";
  if (model.peek()?.chat) ask(question, { starter: true });
  else ask("Once upon a time", { starter: true });
}

function sendPending(): boolean {
  const waiting = pending.peek();
  if (waiting === null || !canAsk(state.peek()) || !client.peek()) return false;
  pending.value = null;
  ask(waiting);
  return true;
}

/** Sends a message, or keeps it until it can be sent. */
export function send(message: string): void {
  if (!message.trim()) return;
  draft.value = "";
  pending.value = message;
  if (sendPending()) return;
  // The page's own first story makes way for what people want.
  if (isAnswering(state.peek()) && messages.peek()[0]?.starter && messages.peek().length <= 2) stop();
}

function ask(message: string, options: { parent?: string | null; starter?: boolean } = {}): void {
  const parent = options.parent === undefined ? (messages.peek().at(-1)?.id ?? null) : options.parent;
  const question: Message = { ...blank("user", parent), text: message, ...(options.starter && { starter: true }) };
  conversation.value = add(conversation.peek(), question);
  answer(question.id, options.starter ? STARTER_TOKENS : null);
}

function blank(role: Message["role"], parent: string | null): Message {
  return { id: newId(), parent, role, text: "", reasoning: "", reasoningMs: null, at: Date.now(), finish: null };
}

/** A new answer to the question `parent`. */
function answer(parent: string, limit: number | null): void {
  const message: Message = { ...blank("assistant", parent), model: wish.peek().id };
  conversation.value = add(conversation.peek(), message);
  current = run(message, pathTo(parent), limit);
}

/** Goes on with an answer that was stopped, that met a limit, or that a reset broke off. */
export async function continueAnswer(id: string): Promise<void> {
  await current;
  const message = conversation.peek().messages.find((other) => other.id === id);
  if (!message || !canAsk(state.peek()) || !client.peek()) return;
  const before = pathTo(id);
  const empty = !message.text && !message.reasoning;
  current = run(message, empty ? before.slice(0, -1) : before, null);
}

function pathTo(id: string): Message[] {
  const shown = path(conversation.peek());
  return shown.slice(0, shown.findIndex((message) => message.id === id) + 1);
}

export function regenerate(message: Message): void {
  if (message.parent && canAsk(state.peek()) && client.peek()) answer(message.parent, null);
}

/** Sends another wording of a question, as a branch beside it. */
export function reword(message: Message, words: string): void {
  editing.value = null;
  if (message.role === "assistant") conversation.value = change(conversation.peek(), message.id, { text: words });
  else if (canAsk(state.peek()) && client.peek()) ask(words, { parent: message.parent });
}

export function editLast(): void {
  const last = messages.peek().findLast((message) => message.role === "user");
  if (last && !isAnswering(state.peek())) editing.value = last.id;
}

export function show(message: Message, step: number): void {
  if (!isAnswering(state.peek())) conversation.value = turnTo(conversation.peek(), message, step);
}

export async function deleteMessage(message: Message): Promise<void> {
  if (live.peek()) await stopAndWait();
  conversation.value = remove(conversation.peek(), message.id);
  announce(text.peek().status.deleted);
}

export function stop(): void {
  stopCurrent?.();
}

/** Ends the answer in the making; what there is of it is in the conversation afterwards. */
export async function stopAndWait(): Promise<void> {
  pending.value = null;
  stop();
  await current;
}

export async function newChat(): Promise<void> {
  await stopAndWait();
  batch(() => {
    conversation.value = emptyConversation(Date.now());
    broken = null;
    editing.value = null;
    ids.value = [];
    promptLength.value = 0;
    used.value = 0;
    tokens.value = [];
    dispatch({ type: "newChat" });
  });
  announce(text.peek().status.newChat);
}

// -- one answer ------------------------------------------------------------------------------------------------------

async function run(message: Message, before: readonly Message[], limit: number | null): Promise<void> {
  const chat = client.peek();
  const info = model.peek();
  if (!chat || !info) return;
  const { system, thinking, temperature, topP, maxTokens, seed, stop: stops } = settings.peek();
  const question: Ask = info.chat
    ? { messages: toRequest(before, system), thinking: thinking && info.thinking }
    : { raw: toText(before, system) };
  const most = limit ?? maxTokens;
  broken = null;
  let now: NonNullable<typeof live.value> = {
    id: message.id,
    text: message.text,
    reasoning: message.reasoning,
    thoughtFrom: message.reasoningMs === null ? null : performance.now() - message.reasoningMs,
    thoughtTo: message.reasoningMs === null || !message.text ? null : performance.now(),
  };
  let made: LiveToken[] = [];
  let contextIds: number[] = [];
  const draw = perFrame(() =>
    batch(() => {
      live.value = now;
      tokens.value = made.slice();
      ids.value = contextIds.slice();
      if (contextIds.length) used.value = contextIds.length;
      if (made.length) dispatch({ type: "tokens", tokens: made.length, now: performance.now() });
    }),
  );
  batch(() => {
    dispatch({ type: "ask", now: performance.now() });
    live.value = now;
    tokens.value = [];
    prompt.value = null;
  });
  announce(text.peek().status.reading);
  let finish: Finish = "cancelled";
  let changes: Partial<Message> = {};
  try {
    const trace = attentionOpen.peek() && chat.trace ? traceWanted.peek() : null;
    const stream = chat.ask(question, {
      ...(temperature !== null && { temperature }),
      ...(topP !== null && { topP }),
      ...(most !== null && { maxTokens: most }),
      ...(seed !== null && { seed }),
      ...(stops.length && { stop: stops }),
      ...(trace && { trace }),
    });
    stopCurrent = () => stream.stop();
    for await (const event of stream) {
      if (event.type === "ids") {
        contextIds = Array.from(event.ids);
        promptLength.value = contextIds.length;
        ids.value = contextIds;
        used.value = contextIds.length;
        dispatch({ type: "prompt", done: 0, total: contextIds.length, cached: 0 });
      } else if (event.type === "prompt") {
        prompt.value = { done: event.done, total: event.total, cached: event.cached };
        dispatch(event);
      } else if (event.type === "end") {
        finish = event.reason;
        changes = { seed: event.seed, usage: event.usage, timings: event.timings };
        contextIds = [...Array.from(event.promptIds), ...Array.from(event.ids)];
        promptLength.value = event.promptIds.length;
        used.value = contextIds.length || event.usage.total_tokens;
        runs.value = [...runs.peek(), { timings: event.timings, usage: event.usage, attention: attention.peek(), at: Date.now() }];
      } else {
        if (made.length === 0) announce(text.peek().status.writing);
        now = written(now, event.type === "reasoning", event.text);
        made.push(...(contextIds.length ? piecesOf(event) : [unknown(event)]));
        contextIds.push(...event.ids);
        draw();
      }
    }
  } catch (error) {
    const problem = toProblem(error);
    const lost = problem.code === "device_lost" || problem.code === "gpu_timeout";
    // A model that was unloaded under the answer (for another one, or for another tab) is no error.
    const ours = client.peek() === chat;
    finish = !ours || problem.code === "cancelled" ? "cancelled" : lost ? "lost" : "error";
    if (finish === "lost") {
      broken = message.id;
      deviceLost(problem.message);
    } else if (finish === "error") fail("answer", problem);
  }
  stopCurrent = null;
  draw.now();
  const thought = now.thoughtFrom === null ? null : (now.thoughtTo ?? performance.now()) - now.thoughtFrom;
  batch(() => {
    const whole = { ...changes, text: now.text, reasoning: now.reasoning, reasoningMs: thought, finish };
    conversation.value = change(conversation.peek(), message.id, whole);
    live.value = null;
    const full = finish === "length" && used.peek() >= (model.peek()?.context ?? Infinity);
    if (finish !== "lost" && finish !== "error") dispatch({ type: "end", reason: full ? "context" : finish });
  });
  if (finish === "cancelled") announce(text.peek().status.stopped);
  else if (finish !== "error" && finish !== "lost")
    announce(text.peek().status.done(format.peek().integer(made.length)));
  // The rebuild may have been quicker than this loop.
  if (broken === message.id && state.peek().name === "ready")
    void Promise.resolve().then(() => continueAnswer(message.id));
  else queueMicrotask(sendPending);
}

function written(now: NonNullable<typeof live.value>, reasoning: boolean, piece: string): typeof now {
  const time = performance.now();
  if (reasoning) return { ...now, reasoning: now.reasoning + piece, thoughtFrom: now.thoughtFrom ?? time };
  const thoughtTo = now.thoughtFrom !== null && now.thoughtTo === null && piece ? time : now.thoughtTo;
  return { ...now, text: now.text + piece, thoughtTo };
}

/** A piece of a transport that does not know its tokens. */
function unknown(event: { type: "text" | "reasoning"; text: string; position: number }): LiveToken {
  const { type, text: words, position } = event;
  return { id: -1, text: words, position, reasoning: type === "reasoning", at: performance.now() };
}

/** A chunk's tokens, one by one; its text stands with the last of them, when it became whole. */
function piecesOf(event: {
  type: "text" | "reasoning";
  text: string;
  ids: number[];
  position: number;
  selection?: LiveToken["selection"];
}): LiveToken[] {
  const at = performance.now();
  return event.ids.map((id, index) => {
    const position = event.position + index;
    const selection = event.selection?.filter((chosen) => chosen.position === position || event.ids.length === 1);
    const words = index === event.ids.length - 1 ? event.text : "";
    return {
      id,
      text: words,
      position,
      reasoning: event.type === "reasoning",
      at,
      ...(selection?.length && { selection }),
    };
  });
}
