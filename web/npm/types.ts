// The public types of lyn: requests, events, results. The error class is in errors.ts.

/** The source of a model's files: the model that ships with lyn, a repository on the Hugging Face Hub (`hf:org/name` or
 * `hf:org/name@revision`) or a GGUF file in one (`hf:org/name:file.gguf`), the URL of a folder, which ends in `/`, or of a `.gguf`
 * file, or files picked by the user: those of a folder with config.json, or a `.gguf` file. Of a GGUF model in parts
 * (`NAME-00001-of-00003.gguf`), name any part, and pick all of them. */
export type ModelSource = "stories" | `hf:${string}` | URL | File[] | FileSystemDirectoryHandle;

/** Progress of loading. */
export type Progress =
  | {
      stage: "download";
      /** Bytes of the model downloaded so far. */
      loaded: number;
      total: number;
      bytesPerSecond: number;
      etaSeconds?: number;
      /** The current file, and its place in the list. */
      file: string;
      index: number;
      files: number;
      /** Whether these bytes came from the store rather than the network. */
      fromCache: boolean;
    }
  | { stage: "upload"; loaded: number; total: number }
  | { stage: "compile"; done: number; total: number }
  | { stage: "check" };

/** The adapter's properties; same names as in `lyn devices --json`. */
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
  | { ok: true; adapter: AdapterInfo; /** Whether workers can use the GPU too. */ worker: boolean }
  | {
      ok: false;
      code: ErrorCode;
      reason: "insecure_context" | "no_webgpu" | "no_adapter" | "limits" | "in_app_browser";
      message: string;
      /** What to do, in English, and a stable key for each line, for translation. */
      help: string[];
      helpKeys: HelpKey[];
    };

/** Remedies for a browser without a usable GPU; `support.ts` has the sentences. */
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

/** The memory a model needs; same names as in `lyn plan --json`. */
export interface Plan {
  model_type: string;
  layers: number;
  parameters: number;
  formats: [string, number][];
  context: number;
  /** Concurrent answers, each with the full context: 1 in a browser. */
  sequences: number;
  max_position_embeddings: number;
  chunk: number;
  /** Of the files. */
  stored_bytes: number;
  weights_bytes: number;
  cache_bytes: number;
  cache_type: "f32" | "f16" | "fp8";
  /** Whether f16 was chosen because f32 does not fit; never in a browser. */
  cache_narrowed: boolean;
  /** Bindings that a layer's cache takes at most. */
  cache_parts: number;
  scratch_bytes: number;
  total_bytes: number;
  available_bytes: number | null;
  fit: "fits" | "tight" | "does_not_fit" | "unknown";
  /** The limit of the adapter that it exceeds, in words; null: none. */
  limit: string | null;
}

/** Totals over the tensors of a valid model. */
export interface Verified {
  parameters: number;
  stored_bytes: number;
}

export interface ModelInfo {
  /** The requested model: `stories`, `hf:org/name`, a URL, the name of a folder or of a GGUF file. */
  id: string;
  model_type: string;
  num_hidden_layers: number;
  vocab_size: number;
  max_position_embeddings: number;
  /** Positions the indexer selects per token; null if attention is dense. */
  index_topk: number | null;
  /** Whether the model has an indexer at all. */
  sparse: boolean;
  /** Whether the checkpoint has a chat format; if not, only `generate` works. */
  chat: boolean;
  /** Whether the chat format supports thinking. */
  thinking: boolean;
  /** Context length of this engine, in positions. */
  context: number;
  /** Sampling parameters recommended by the checkpoint. */
  defaults: { temperature: number; top_p: number };
}

export interface LoadOptions {
  context?: number | "auto" | "max";
  /** Number format of the cache, `f32` by default: `f16` takes half the memory, `fp8` less than a third. */
  cacheType?: "f32" | "f16" | "fp8";
  attention?: "sparse" | "dense";
  indexTopk?: number;
  /** Load even if the plan does not fit. */
  force?: boolean;
  powerPreference?: GPUPowerPreference;
  /** Where downloads are kept. `auto`: the origin private file system if available, otherwise memory. */
  cache?: "auto" | "opfs" | "memory";
  /** Run in a worker (default), in the page (`false`), or in a worker that you create. */
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
  /** Also record the weights of dense attention: one per visible position, averaged over the heads. */
  dense?: boolean;
}

/** The positions that one layer's indexer selected for one token. */
export interface Selection {
  layer: number;
  /** Position of the querying token. */
  position: number;
  /** Positions that attention reads, ascending. */
  indices: Uint32Array;
  /** The indexer's score of each. */
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
  /** Called as the prompt is read. */
  onPrompt?: (progress: { done: number; total: number; cached: number }) => void;
}

/** One token. `text` is empty while a character is incomplete. */
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

/** With llama-server's names, which front ends recognise. */
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
  /** Ids of prompt and answer, as cached. */
  promptIds: Uint32Array;
  ids: Uint32Array;
  finish_reason: FinishReason | "cancelled";
  usage: Usage;
  timings: Timings;
  seed: number;
}

/** Events as they arrive, and the final result. Leaving the loop early, `stop()` and the signal all stop GPU work
 * within one token; only the signal rejects. */
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

/** Options next to the request; never sent to a server. */
export interface ChatOptions {
  signal?: AbortSignal;
  trace?: TraceOptions;
  onPrompt?: (progress: { done: number; total: number; cached: number }) => void;
}

/** Why an answer ended. */
export type FinishReason = "stop" | "length" | "tool_calls" | "insufficient_system_resource";

/** A function call, or in a chunk a part of one. */
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
      /** The first part of a call has its id and name, later parts only arguments. */
      tool_calls?: (Pick<ToolCall, "index"> & Partial<Omit<ToolCall, "function">> & { function: Partial<ToolCall["function"]> })[];
    };
    finish_reason: FinishReason | null;
    logprobs: null;
  }[];
  usage?: Usage | null;
  timings?: Timings;
  /** lyn's extension: the tokens of this chunk's text. Empty in chunks without text. */
  lyn?: { ids: number[]; position: number; selection?: Selection[] };
}

export interface ChatCreate {
  (request: ChatRequest & { stream: true }, options?: ChatOptions): Generation<ChatCompletionChunk>;
  (request: ChatRequest & { stream?: false }, options?: ChatOptions): Promise<ChatCompletion>;
}

/** Two answers to the same prompt. */
export interface Comparison {
  a: Result;
  b: Result;
  /** Index of the first differing token; null if there is none. */
  firstDifference: number | null;
}

export interface Variant {
  attention: "sparse" | "dense";
  indexTopk?: number;
}

export interface KernelReport {
  kernel: string;
  cases: number;
  /** Largest error as a fraction of its bound. */
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
  /** Whether the download is complete. */
  complete: boolean;
  files: { name: string; bytes: number; loaded: number }[];
  usedAt: number;
}

export type LynEventMap = {
  /** The device was lost; the engine is being rebuilt. */
  lost: CustomEvent<{ reason: string; attempt: number }>;
  /** The engine works again; conversations are read again with the next request. */
  restored: CustomEvent<{ attempt: number }>;
  /** The engine could not be rebuilt. */
  failed: CustomEvent<{ code: ErrorCode; message: string; help: string[] }>;
  /** Progress of the rebuild. */
  progress: CustomEvent<Progress>;
};

export interface Lyn extends AsyncDisposable {
  readonly model: ModelInfo;
  readonly adapter: AdapterInfo;
  readonly plan: Plan;
  /** Whether the engine runs in a worker. */
  readonly worker: boolean;
  /** Result of the self-check; null if skipped. */
  readonly selfCheck: { passed: boolean; fromCache: boolean } | null;
  readonly chat: { completions: { create: ChatCreate } };
  generate(prompt: string | ArrayLike<number>, options?: GenerateOptions): Generation<TokenEvent>;
  /** Selections of a whole text, which is read again. */
  trace(prompt: string | ArrayLike<number>, options: TraceOptions & { signal?: AbortSignal }): Promise<Trace>;
  tokenize(text: string): Promise<Uint32Array>;
  detokenize(ids: ArrayLike<number>): Promise<string>;
  /** Ids of a conversation in the checkpoint's chat format. */
  render(request: Pick<ChatRequest, "messages" | "thinking">): Promise<Uint32Array>;
  compare(
    prompt: string | ArrayLike<number>,
    a: Variant,
    b: Variant,
    options?: SamplingOptions & { signal?: AbortSignal },
  ): Promise<Comparison>;
  /** Switches attention without reloading; discards the cache of the last conversation. */
  setAttention(variant: Variant): Promise<void>;
  /** Discards the cache of the last conversation. */
  reset(): Promise<void>;
  /** Frees GPU memory. */
  unload(): Promise<void>;
  addEventListener<K extends keyof LynEventMap>(
    type: K,
    listener: (event: LynEventMap[K]) => void,
    options?: AddEventListenerOptions,
  ): void;
  removeEventListener<K extends keyof LynEventMap>(type: K, listener: (event: LynEventMap[K]) => void): void;
}

/** Codes from docs/errors.md; the last three occur in browsers only. */
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
