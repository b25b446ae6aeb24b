// A conversation is a tree: editing a question or asking again adds a branch, and nothing is lost. Pure functions on
// immutable values, so that keeping, exporting and testing need nothing else.
import type { ChatMessage, Timings, Usage } from "lyn";

export type Finish = "stop" | "length" | "cancelled" | "lost" | "error";

export interface Message {
  id: string;
  /** Null: the first of the conversation. */
  parent: string | null;
  role: "user" | "assistant";
  text: string;
  reasoning: string;
  /** How long the thought took; null where there was none. */
  reasoningMs: number | null;
  at: number;
  /** Null: in the making, or a question. */
  finish: Finish | null;
  model?: string;
  seed?: number;
  usage?: Usage;
  timings?: Timings;
  /** Asked by the page, not by a person. */
  starter?: boolean;
}

export interface Conversation {
  id: string;
  at: number;
  messages: readonly Message[];
  /** Which branch is shown below a message ("" is the root): parent → child. */
  shown: Readonly<Record<string, string>>;
}

export function emptyConversation(now: number): Conversation {
  return { id: newId(), at: now, messages: [], shown: {} };
}

export function newId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The other answers or wordings beside a message, itself among them, oldest first. */
export function branches(conversation: Conversation, message: Message): Message[] {
  return conversation.messages.filter((other) => other.parent === message.parent);
}

/** The messages that are shown, from the first on. */
export function path(conversation: Conversation): Message[] {
  const shown: Message[] = [];
  let parent: string | null = null;
  for (;;) {
    const children: Message[] = conversation.messages.filter((message) => message.parent === parent);
    const chosen = children.find((child) => child.id === conversation.shown[parent ?? ""]) ?? children.at(-1);
    // The second condition ends the walk through an imported tree that goes in circles.
    if (!chosen || shown.length > conversation.messages.length) return shown;
    shown.push(chosen);
    parent = chosen.id;
  }
}

/** Adds a message below `parent` and shows it. */
export function add(conversation: Conversation, message: Message): Conversation {
  return {
    ...conversation,
    messages: [...conversation.messages, message],
    shown: { ...conversation.shown, [message.parent ?? ""]: message.id },
  };
}

export function change(conversation: Conversation, id: string, changes: Partial<Message>): Conversation {
  const messages = conversation.messages.map((message) => (message.id === id ? { ...message, ...changes } : message));
  return { ...conversation, messages };
}

/** Shows the branch that is `step` further. */
export function turnTo(conversation: Conversation, message: Message, step: number): Conversation {
  const all = branches(conversation, message);
  const to = all[all.findIndex((other) => other.id === message.id) + step];
  if (!to) return conversation;
  return { ...conversation, shown: { ...conversation.shown, [message.parent ?? ""]: to.id } };
}

/** Takes a message and all that follows from it away. */
export function remove(conversation: Conversation, id: string): Conversation {
  const gone = new Set([id]);
  // Parents stand before their children in the list, so one walk finds all descendants.
  for (const message of conversation.messages) if (message.parent && gone.has(message.parent)) gone.add(message.id);
  const shown = Object.fromEntries(Object.entries(conversation.shown).filter(([, child]) => !gone.has(child)));
  return { ...conversation, messages: conversation.messages.filter((message) => !gone.has(message.id)), shown };
}

/** What is sent for an answer to the last of `messages`. An assistant's message at the end is continued. Thoughts of
 * earlier turns are left out, as the model's format wants it. */
export function toRequest(messages: readonly Message[], system: string): ChatMessage[] {
  const request: ChatMessage[] = system.trim() ? [{ role: "system", content: system }] : [];
  messages.forEach((message, index) => {
    const last = index === messages.length - 1;
    if (message.role === "user") request.push({ role: "user", content: message.text });
    else if (!last) request.push({ role: "assistant", content: message.text });
    else {
      const reasoning = message.reasoning ? { reasoning_content: message.reasoning } : {};
      request.push({ role: "assistant", content: message.text, ...reasoning, prefix: true });
    }
  });
  return request;
}

/** The same as plain text, for a model without a chat format. */
export function toText(messages: readonly Message[], system: string): string {
  return [system.trim() ? `${system}\n` : "", ...messages.map((message) => message.text)].join("");
}

/** The first words of a conversation that a person wrote. */
export function titleOf(conversation: Conversation): string {
  const questions = path(conversation).filter((message) => message.role === "user");
  const first = questions.find((message) => !message.starter) ?? questions[0];
  const line = (first?.text ?? "").trim().split("\n")[0] ?? "";
  return line.length > 60 ? `${line.slice(0, 57)}…` : line;
}

// -- export and import -----------------------------------------------------------------------------------------------

const SCHEMA = "lyn.chats/1";

export function exportChats(conversations: readonly Conversation[]): string {
  return JSON.stringify({ schema: SCHEMA, conversations }, null, 1);
}

/** Reads an export. Files are not trusted: only known fields of the right type are taken; null: not such a file. */
export function importChats(json: string): Conversation[] | null {
  let parsed: unknown;
  try {
    parsed = JSON.parse(json);
  } catch {
    return null;
  }
  if (!isRecord(parsed) || parsed.schema !== SCHEMA || !Array.isArray(parsed.conversations)) return null;
  const conversations: Conversation[] = [];
  for (const item of parsed.conversations) {
    if (!isRecord(item) || typeof item.id !== "string" || !Array.isArray(item.messages)) return null;
    const messages: Message[] = [];
    const known = new Set<string>();
    for (const entry of item.messages) {
      const message = readMessage(entry);
      if (!message || known.has(message.id) || (message.parent !== null && !known.has(message.parent))) return null;
      known.add(message.id);
      messages.push(message);
    }
    const shown: Record<string, string> = {};
    if (isRecord(item.shown))
      for (const [parent, child] of Object.entries(item.shown)) if (typeof child === "string") shown[parent] = child;
    conversations.push({ id: item.id, at: typeof item.at === "number" ? item.at : 0, messages, shown });
  }
  return conversations;
}

function readMessage(entry: unknown): Message | null {
  if (!isRecord(entry)) return null;
  const { id, parent, role, text, reasoning, reasoningMs, at, finish, model } = entry;
  if (typeof id !== "string" || typeof text !== "string" || (role !== "user" && role !== "assistant")) return null;
  const ends: Finish[] = ["stop", "length", "cancelled", "lost", "error"];
  return {
    id,
    parent: typeof parent === "string" ? parent : null,
    role,
    text,
    reasoning: typeof reasoning === "string" ? reasoning : "",
    reasoningMs: typeof reasoningMs === "number" ? reasoningMs : null,
    at: typeof at === "number" ? at : 0,
    finish: ends.find((end) => end === finish) ?? (role === "assistant" ? "cancelled" : null),
    ...(typeof model === "string" ? { model } : {}),
  };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
