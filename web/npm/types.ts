// What callers of lyn see: requests, events, results. No code but the error class's name lives elsewhere.

/** Where a model's files come from: the model that ships with lyn, a repository of the Hugging Face Hub
 * (`hf:org/name` or `hf:org/name@revision`), a folder's URL that ends in `/`, or files that the user picked. */
export type ModelSource = "stories" | `hf:${string}` | URL | File[] | FileSystemDirectoryHandle;

/** How far loading has come. */
export type Progress =
  | {
      stage: "download";
      /** Bytes of the model that are here. */
      loaded: number;
      total: number;
      bytesPerSecond: number;
      etaSeconds?: number;
      /** The file in work, and its place in the list. */
      file: string;
      index: number;
      files: number;
      /** Whether these bytes came from the store and not from the network. */
      fromCache: boolean;
    }
  | { stage: "upload"; loaded: number; total: number }
  | { stage: "compile"; done: number; total: number }
  | { stage: "check" };

/** What the adapter says of itself; the names of `lyn devices --json`. */
export interface AdapterInfo {
  index: number;
  name: string;
  kind: "discrete" | "integrated" | "virtual" | "software" | "other";
  backend: string;
  driver: string;
  shader_f16: boolean;
  /** Smallest and largest subgroup. */
  subgroups: [number, number];
  timestamps: boolean;
  max_buffer_bytes: number;
  max_binding_bytes: number;
}

/** Whether this browser can run lyn; `probe` never throws. */
export type Support =
  | { ok: true; adapter: AdapterInfo; /** Whether a worker can have the GPU too. */ worker: boolean }
  | {
      ok: false;
      code: ErrorCode;
      reason: "insecure_context" | "no_webgpu" | "no_adapter" | "limits" | "in_app_browser";
      message: string;
      /** What to do, in English, and the stable name of each line for those who translate it. */
      help: string[];
      helpKeys: HelpKey[];
    };

/** What a browser without a usable GPU can be told to do; `support.ts` has the sentences. */
export type HelpKey =
  | "use_https"
  | "open_in_browser"
  | "update_browser"
  | "update_ios"
  | "update_macos"
  | "chrome_linux"
  | "firefox_linux"
  | "firefox_windows"
  | "firefox_mac"
  | "firefox_android"
  | "chrome_android"
  | "acceleration_chrome"
  | "acceleration_firefox"
  | "update_driver"
  | "other_gpu"
  | "use_cli";

/** Memory that a model will use; the names of `lyn plan --json`. */
export interface Plan {
  model_type: string;
  layers: number;
  parameters: number;
  formats: [string, number][];
  context: number;
  /** Answers at once, each with the whole context: 1 in a browser. */
  sequences: number;
  max_position_embeddings: number;
  chunk: number;
  /** Of the files. */
  stored_bytes: number;
  weights_bytes: number;
  cache_bytes: number;
  scratch_bytes: number;
  total_bytes: number;
  available_bytes: number | null;
  fit: "fits" | "tight" | "does_not_fit" | "unknown";
}

/** Sums over a sound model's tensors. */
export interface Verified {
  parameters: number;
  stored_bytes: number;
}

export interface ModelInfo {
  /** What was asked for: `stories`, `hf:org/name`, a URL, a folder's name. */
  id: string;
  model_type: string;
  num_hidden_layers: number;
  vocab_size: number;
  max_position_embeddings: number;
  /** Positions that the indexer keeps for each token; null where attention is dense. */
  index_topk: number | null;
  /** Whether the model has an indexer at all. */
  sparse: boolean;
  /** Whether the checkpoint has a chat format; without one only `generate` works. */
  chat: boolean;
  /** Whether that format can open a thought. */
  thinking: boolean;
  /** Positions that this engine has room for. */
  context: number;
  /** Sampling that the checkpoint recommends. */
  defaults: { temperature: number; top_p: number };
}

export interface LoadOptions {
  context?: number | "auto" | "max";
  attention?: "sparse" | "dense";
  indexTopk?: number;
  /** Load although the plan does not fit. */
  force?: boolean;
  powerPreference?: GPUPowerPreference;
  /** Where downloads are kept. `auto`: the origin private file system, else memory. */
  cache?: "auto" | "opfs" | "memory";
  /** Run in a worker (default), in the page (`false`), or in a worker of your own making. */
  worker?: boolean | (() => Worker);
  wasmUrl?: string | URL;
  /** Folder of the model that ships with lyn. */
  storiesUrl?: string | URL;
  revision?: string;
  token?: string;
  /** Skip the numeric self-check of this adapter. */
  selfCheck?: boolean;
  signal?: AbortSignal;
  onProgress?: (progress: Progress) => void;
}

export interface TraceOptions {
  layers: number[] | "all";
  /** Also what dense attention would weigh: one weight per visible position, averaged over the heads. */
  dense?: boolean;
}

/** What one layer's indexer chose for one token. */
export interface Selection {
  layer: number;
  /** Place of the token that asks. */
  position: number;
  /** Positions that attention reads, ascending. */
  indices: Uint32Array;
  /** The indexer's score of each of them. */
  scores: Float32Array;
  /** Dense attention of the same layer and token: `position + 1` weights, sum 1. */
  dense?: Float32Array;
  /** Positions visible to the token: `position + 1`. */
  contextLength: number;
}

/** Selections of a whole text. */
export interface Trace {
  model_type: string;
  num_hidden_layers: number;
  index_topk: number | null;
  layers: number[];
  tokens: { id: number; text: string }[];
  selections: Selection[];
}

export interface SamplingOptions {
  maxTokens?: number;
  temperature?: number;
  topP?: number;
  seed?: number;
  stop?: string[];
}

export interface GenerateOptions extends SamplingOptions {
  signal?: AbortSignal;
  trace?: TraceOptions;
  /** Tokens of the prompt that have been read so far. */
  onPrompt?: (progress: { done: number; total: number; cached: number }) => void;
}

/** One token. `text` may be empty while a character is not whole yet. */
export interface TokenEvent {
  text: string;
  id: number;
  position: number;
  reasoning: boolean;
  selection?: Selection[];
}

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  prompt_cache_hit_tokens: number;
  prompt_cache_miss_tokens: number;
  prompt_tokens_details: { cached_tokens: number };
  completion_tokens_details: { reasoning_tokens: number };
}

/** llama-server's names, which front ends know. */
export interface Timings {
  cache_n: number;
  prompt_n: number;
  prompt_ms: number;
  prompt_per_second: number;
  predicted_n: number;
  predicted_ms: number;
  predicted_per_second: number;
  first_token_ms: number;
}

export interface Result {
  text: string;
  reasoning: string;
  /** Ids of prompt and answer, as they stand in the cache. */
  promptIds: Uint32Array;
  ids: Uint32Array;
  finish_reason: FinishReason | "cancelled";
  usage: Usage;
  timings: Timings;
  seed: number;
}

/** Events as they come, and the result once they have ended. Leaving the loop early, `stop()` and the signal all end
 * the GPU's work within one token; only the signal rejects. */
export interface Generation<T> extends AsyncIterable<T> {
  readonly result: Promise<Result>;
  stop(): void;
}

// -- OpenAI's chat completions ---------------------------------------------------------------------------------------

export interface ChatMessage {
  role: "system" | "user" | "assistant";
  content: string;
  reasoning_content?: string | null;
  /** On the last assistant message: continue it. */
  prefix?: boolean;
}

export interface ChatRequest {
  messages: ChatMessage[];
  model?: string;
  max_tokens?: number | null;
  temperature?: number | null;
  top_p?: number | null;
  seed?: number | null;
  stop?: string | string[] | null;
  stream?: boolean;
  thinking?: { type: "enabled" | "disabled" };
}

/** What lyn takes beside the request: not sent to any server. */
export interface ChatOptions {
  signal?: AbortSignal;
  trace?: TraceOptions;
  onPrompt?: (progress: { done: number; total: number; cached: number }) => void;
}

/** Why a chat's answer ended. */
export type FinishReason = "stop" | "length" | "tool_calls" | "insufficient_system_resource";

/** A call of a function, or in a chunk a part of one. */
export interface ToolCall {
  index: number;
  id: string;
  type: "function";
  function: { name: string; arguments: string };
}

export interface ChatCompletion {
  id: string;
  object: "chat.completion";
  created: number;
  model: string;
  choices: {
    index: number;
    message: { role: "assistant"; content: string; reasoning_content?: string; tool_calls?: ToolCall[] };
    finish_reason: FinishReason;
    logprobs: null;
  }[];
  usage: Usage;
  timings: Timings;
}

export interface ChatCompletionChunk {
  id: string;
  object: "chat.completion.chunk";
  created: number;
  model: string;
  choices: {
    index: number;
    delta: {
      role?: "assistant";
      content?: string | null;
      reasoning_content?: string | null;
      /** The first part of a call has its id and name, the others only arguments. */
      tool_calls?: (Pick<ToolCall, "index"> & Partial<Omit<ToolCall, "function">> & { function: Partial<ToolCall["function"]> })[];
    };
    finish_reason: FinishReason | null;
    logprobs: null;
  }[];
  usage?: Usage | null;
  timings?: Timings;
  /** lyn's own: the tokens behind this chunk's text. Empty in chunks without text. */
  lyn?: { ids: number[]; position: number; selection?: Selection[] };
}

export interface ChatCreate {
  (request: ChatRequest & { stream: true }, options?: ChatOptions): Generation<ChatCompletionChunk>;
  (request: ChatRequest & { stream?: false }, options?: ChatOptions): Promise<ChatCompletion>;
}

/** Two answers to one prompt. */
export interface Comparison {
  a: Result;
  b: Result;
  /** Index of the first token that differs; null where none does. */
  firstDifference: number | null;
}

export interface Variant {
  attention: "sparse" | "dense";
  indexTopk?: number;
}

export interface KernelReport {
  kernel: string;
  cases: number;
  /** Worst error as a share of its bound. */
  worst: number;
  ms: number;
  failures: { case: string; found: string }[];
}

export interface ConformReport {
  schema: "lyn.conform/1";
  adapter: AdapterInfo;
  kernels: KernelReport[];
  cases: number;
  passed: boolean;
  elapsed_ms: number;
}

/** One stage of a golden checkpoint against its expected values. */
export interface GoldenReport {
  device: string;
  stages: { stage: string; error: number; worst: number; compared: number; passed: boolean; note: string }[];
}

export interface StoredModel {
  id: string;
  bytes: number;
  /** Whether all of its bytes are here. */
  complete: boolean;
  files: { name: string; bytes: number; loaded: number }[];
  usedAt: number;
}

export type LynEventMap = {
  /** The device is gone; the engine is being rebuilt. */
  lost: CustomEvent<{ reason: string; attempt: number }>;
  /** It works again; conversations are read again with the next request. */
  restored: CustomEvent<{ attempt: number }>;
  /** It could not be rebuilt. */
  failed: CustomEvent<{ code: ErrorCode; message: string; help: string[] }>;
  /** Progress of a rebuild. */
  progress: CustomEvent<Progress>;
};

export interface Lyn extends AsyncDisposable {
  readonly model: ModelInfo;
  readonly adapter: AdapterInfo;
  readonly plan: Plan;
  /** Whether the engine runs in a worker. */
  readonly worker: boolean;
  /** The verdict of the self-check; null where it was skipped. */
  readonly selfCheck: { passed: boolean; fromCache: boolean } | null;
  readonly chat: { completions: { create: ChatCreate } };
  generate(prompt: string | ArrayLike<number>, options?: GenerateOptions): Generation<TokenEvent>;
  /** Selections of a whole text; reads it again. */
  trace(prompt: string | ArrayLike<number>, options: TraceOptions & { signal?: AbortSignal }): Promise<Trace>;
  tokenize(text: string): Promise<Uint32Array>;
  detokenize(ids: ArrayLike<number>): Promise<string>;
  /** Ids of a conversation in the checkpoint's own format. */
  render(request: Pick<ChatRequest, "messages" | "thinking">): Promise<Uint32Array>;
  compare(
    prompt: string | ArrayLike<number>,
    a: Variant,
    b: Variant,
    options?: SamplingOptions & { signal?: AbortSignal },
  ): Promise<Comparison>;
  /** Switches attention without loading again; what is cached of the last conversation is forgotten. */
  setAttention(variant: Variant): Promise<void>;
  /** Forgets what is cached of the last conversation. */
  reset(): Promise<void>;
  /** Frees the GPU's memory. */
  unload(): Promise<void>;
  addEventListener<K extends keyof LynEventMap>(
    type: K,
    listener: (event: LynEventMap[K]) => void,
    options?: AddEventListenerOptions,
  ): void;
  removeEventListener<K extends keyof LynEventMap>(type: K, listener: (event: LynEventMap[K]) => void): void;
}

/** Codes of docs/errors.md; those at the end exist in browsers only. */
export type ErrorCode =
  | "no_adapter"
  | "adapter_not_found"
  | "self_check_failed"
  | "limit_too_small"
  | "out_of_memory"
  | "device_lost"
  | "gpu_timeout"
  | "model_not_found"
  | "unsupported_model"
  | "bad_checkpoint"
  | "missing_tensor"
  | "context_overflow"
  | "bad_request"
  | "invalid_schema"
  | "grammar_too_complex"
  | "bad_config"
  | "non_finite"
  | "check_failed"
  | "io"
  | "cancelled"
  | "internal"
  | "network"
  | "quota"
  | "unauthorized";
