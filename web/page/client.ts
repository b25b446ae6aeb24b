// What the page asks of whatever runs the model. The engine in this tab is the first transport, the server that
// delivered the page may be the second: so nothing here is about workers, WASM or GPU objects.
import type {
  AdapterInfo,
  ChatMessage,
  Comparison,
  ConformReport,
  ErrorCode,
  KernelReport,
  ModelInfo,
  Plan,
  Progress,
  Selection,
  Timings,
  Trace,
  TraceOptions,
  Usage,
  Variant,
} from "lyn";

/** What is to be continued: a conversation in the model's chat format, or plain text without one. */
export type Ask = { messages: ChatMessage[]; thinking: boolean } | { raw: string };

/** How an answer is sampled; absent fields are the model's own defaults. */
export interface Sampling {
  temperature?: number;
  topP?: number;
  maxTokens?: number;
  seed?: number;
  stop?: string[];
}

export interface AskOptions extends Sampling {
  signal?: AbortSignal;
  /** Read at the start: whether events of this answer carry selections. */
  trace?: TraceOptions;
}

/** What happens while an answer is made, in this order: `ids`, `prompt`…, then `text` and `reasoning`, one `end`. A
 * transport that cannot know what an answer was that has been stopped leaves its end out. */
export type ChatEvent =
  /** Ids of the prompt, before any of it is read. A transport that cannot know them leaves this out. */
  | { type: "ids"; ids: ArrayLike<number> }
  | { type: "prompt"; done: number; total: number; cached: number }
  /** A transport that cannot know the ids has none; then each piece stands for a token, and `position` counts them. */
  | { type: "text" | "reasoning"; text: string; ids: number[]; position: number; selection?: Selection[] }
  | {
      type: "end";
      reason: "stop" | "length" | "cancelled";
      usage: Usage;
      timings: Timings;
      seed: number;
      /** Ids of prompt and answer as they stand in the cache; empty where the transport cannot know them. */
      promptIds: ArrayLike<number>;
      ids: ArrayLike<number>;
    };

/** An answer in the making. Leaving the loop ends the work, as `stop` does. Errors come out of the loop. */
export interface Answer extends AsyncIterable<ChatEvent> {
  stop(): void;
}

/** lyn's own codes, and what only a server can say: it wants a key, has no room now, or is not there. */
export type ProblemCode = ErrorCode | "server_key" | "server_busy" | "server_lost";

/** An error as the page shows it; made from whatever a transport throws. */
export interface Problem {
  code: ProblemCode;
  message: string;
  help: string[];
  /** Seconds after which it may go better, where a server has said so. */
  retryAfter?: number;
}

/** What a client says unasked. */
export type ClientEvent =
  | { type: "lost"; reason: string; attempt: number }
  | { type: "progress"; progress: Progress }
  | { type: "restored"; attempt: number }
  | { type: "failed"; problem: Problem };

/** A model that can be talked to. */
export interface ChatClient {
  readonly transport: "tab" | "server";
  readonly model: ModelInfo;
  /** Null where the model runs on a host's processor. */
  readonly adapter: AdapterInfo | null;
  readonly plan: Plan;
  /** Whether the work is done off the page's thread. */
  readonly worker: boolean;
  readonly selfCheck: { passed: boolean; fromCache: boolean } | null;
  ask(ask: Ask, options?: AskOptions): Answer;
  tokenize(text: string): Promise<ArrayLike<number>>;
  detokenize(ids: ArrayLike<number>): Promise<string>;
  /** Ids of a conversation in the model's own format. */
  render(messages: ChatMessage[], thinking: boolean): Promise<ArrayLike<number>>;

  // -- what only an engine of one's own can do; absent where the transport cannot --
  /** What the indexer selects for each token of a whole text; reads the text again. */
  trace?(prompt: string | ArrayLike<number>, options: TraceOptions & { signal?: AbortSignal }): Promise<Trace>;
  /** Two ways to compute one answer. */
  compare?(
    prompt: string | ArrayLike<number>,
    a: Variant,
    b: Variant,
    options?: Sampling & { signal?: AbortSignal },
  ): Promise<Comparison>;
  /** Switches attention without loading again. */
  setAttention?(variant: Variant): Promise<void>;
  /** Every kernel against its reference on this adapter. */
  conform?(options: { signal?: AbortSignal; onKernel?: (report: KernelReport) => void }): Promise<ConformReport>;

  /** Returns the function that ends listening. */
  listen(listener: (event: ClientEvent) => void): () => void;
  close(): Promise<void>;
}
