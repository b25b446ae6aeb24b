// What crosses between the page and the worker. Calls carry a number; answers, events and errors carry it back.

import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatRequest,
  Comparison,
  AdapterInfo,
  ConformReport,
  GoldenReport,
  KernelReport,
  ModelInfo,
  Plan,
  Progress,
  Result,
  SamplingOptions,
  StoredModel,
  TokenEvent,
  Trace,
  TraceOptions,
  Variant,
  Verified,
} from "./types.js";

/** A model as it crosses to the worker: a URL is text there. */
export type PostedModel = string | File[] | FileSystemDirectoryHandle;

/** Load options that can be cloned; URLs are absolute. */
export interface CoreOptions {
  context?: number | "auto" | "max";
  attention?: "sparse" | "dense";
  cacheType?: "f32" | "f16" | "fp8";
  indexTopk?: number;
  force?: boolean;
  powerPreference?: GPUPowerPreference;
  cache?: "auto" | "opfs" | "memory";
  revision?: string;
  token?: string;
  selfCheck?: boolean;
  /** The model that ships with lyn: file name → URL. */
  stories: Record<string, string>;
}

export interface Loaded {
  model: ModelInfo;
  adapter: AdapterInfo;
  plan: Plan;
  selfCheck: { passed: boolean; fromCache: boolean } | null;
}

export type PromptProgress = { done: number; total: number; cached: number };

/** Every call: what goes in, what comes back, what is told meanwhile. */
export interface Calls {
  start: { in: { wasmUrl: string }; out: { gpu: boolean }; event: never };
  plan: { in: { model: PostedModel; options: CoreOptions }; out: Plan; event: Progress };
  verify: { in: { model: PostedModel; options: CoreOptions }; out: Verified; event: Progress };
  load: { in: { model: PostedModel; options: CoreOptions }; out: Loaded; event: Progress };
  generate: {
    in: { prompt: string | Uint32Array; sampling: SamplingOptions; trace?: TraceOptions };
    out: Result;
    event: { prompt: PromptProgress } | { token: TokenEvent };
  };
  chat: {
    in: { request: ChatRequest; trace?: TraceOptions };
    out: { result: Result; response: ChatCompletion };
    event: { prompt: PromptProgress } | { chunk: ChatCompletionChunk };
  };
  trace: { in: { prompt: string | Uint32Array; trace: TraceOptions }; out: Trace; event: { prompt: PromptProgress } };
  compare: {
    in: { prompt: string | Uint32Array; a: Variant; b: Variant; sampling: SamplingOptions };
    out: Comparison;
    event: never;
  };
  setAttention: { in: Variant; out: null; event: never };
  tokenize: { in: { text: string }; out: Uint32Array; event: never };
  detokenize: { in: { ids: Uint32Array }; out: string; event: never };
  render: { in: { request: Pick<ChatRequest, "messages" | "thinking"> }; out: Uint32Array; event: never };
  reset: { in: null; out: null; event: never };
  unload: { in: null; out: null; event: never };
  conform: { in: { powerPreference?: GPUPowerPreference }; out: ConformReport; event: KernelReport };
  golden: { in: { files: File[] }; out: GoldenReport; event: never };
  stored: { in: null; out: StoredModel[]; event: never };
  remove: { in: { id: string }; out: number; event: never };
  removeAll: { in: null; out: number; event: never };
}

export type CallName = keyof Calls;

/** From the page. `cancel` acts at once, everything else in order. */
export type ToCore = { id: number; call: CallName; input: unknown } | { cancel: number };

/** To a worker: a call, or that it is to try requests in an instance of this module, for whoever has the port's other end. */
export type ToWorker = ToCore | { trial: WebAssembly.Module; port: MessagePort; gguf: string | undefined };

/** To a trial. `prepare`: for forms; `read` answers its own question. */
export type ToTrial = { prepare: true } | { check: string } | { read: number; value?: unknown; failed?: string };

/** From a trial: a question about the model's files (without a range: for a size), or that it is ready, or what became of the
 * request. */
export type FromTrial =
  | { read: number; file: string; range: [offset: number, length: number] | null }
  | { ready: true }
  | { refused: PlainError | null };

/** What the engine tells of itself, without being asked. */
export type Notice =
  | { type: "lost"; reason: string; attempt: number }
  | { type: "restored"; attempt: number }
  | { type: "failed"; error: PlainError }
  | { type: "progress"; progress: Progress };

export interface PlainError {
  code: string;
  message: string;
  help: string[];
  details: Record<string, unknown>;
}

export type FromCore =
  | { id: number; value: unknown }
  | { id: number; event: unknown }
  | { id: number; error: PlainError }
  | { notice: Notice }
  /** The WebAssembly instance panicked: no further call will be answered. */
  | { fatal: PlainError };
