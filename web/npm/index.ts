// lyn: language models with DeepSeek's sparse attention, in the browser, on its GPU.

import { topFiles } from "./picked.js";
import type { CoreOptions, Loaded, Notice, PostedModel, PromptProgress } from "./protocol.js";
import { Remote } from "./remote.js";
import { startWorker } from "./start.js";
import { probe as probePage } from "./support.js";
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatCreate,
  ChatOptions,
  ChatRequest,
  ConformReport,
  GenerateOptions,
  Generation,
  GoldenReport,
  KernelReport,
  LoadOptions,
  Lyn,
  LynEventMap,
  ModelSource,
  Plan,
  SamplingOptions,
  StoredModel,
  Support,
  TokenEvent,
  TraceOptions,
  Variant,
  Verified,
} from "./types.js";

export { LynError } from "./errors.js";
export type * from "./types.js";

// Literal URLs: bundlers find them, copy the files, and write the new place here.
const assets = {
  worker: () => new URL("./worker.js", import.meta.url),
  wasm: () => new URL("./lyn_bg.wasm", import.meta.url),
  stories: () => ({
    // The largest first: its size is most of the total.
    "model.safetensors": new URL("./stories/model.safetensors", import.meta.url).href,
    "config.json": new URL("./stories/config.json", import.meta.url).href,
    "generation_config.json": new URL("./stories/generation_config.json", import.meta.url).href,
    "tokenizer.json": new URL("./stories/tokenizer.json", import.meta.url).href,
    "tokenizer_config.json": new URL("./stories/tokenizer_config.json", import.meta.url).href,
  }),
};

/** Whether this browser can run lyn, and if not, what to do. Never throws, loads no model. */
export function probe(
  options: Pick<LoadOptions, "powerPreference" | "worker" | "wasmUrl"> = {},
): Promise<Support> {
  const { powerPreference } = options;
  return probePage({ ...(powerPreference && { powerPreference }), worker: () => workerHasGpu(options) });
}

/** The memory that a model will use, from its headers: no weight is read. */
export async function plan(model: ModelSource, options: LoadOptions = {}): Promise<Plan> {
  return once(options, (remote) =>
    remote.call("plan", { model: posted(model), options: core(options) }, { signal: options.signal, event: options.onProgress ?? (() => {}) }),
  );
}

/** Checks all files of a model, every value included; no GPU is needed. */
export async function verify(model: ModelSource, options: LoadOptions = {}): Promise<Verified> {
  const { signal } = options;
  return once(options, (remote) =>
    remote.call(
      "verify",
      { model: posted(model), options: core(options) },
      { signal, event: options.onProgress ?? (() => {}) },
    ),
  );
}

/** Loads a model: `stories` where nothing is said. */
export async function load(model: ModelSource = "stories", options: LoadOptions = {}): Promise<Lyn> {
  const events = new EventTarget();
  const remote = await open(options, (notice) => tell(events, notice));
  try {
    const event = options.onProgress ?? (() => {});
    const loaded = await remote.call("load", { model: posted(model), options: core(options) }, { signal: options.signal, event });
    return new Loading(remote, loaded, events);
  } catch (error) {
    remote.close();
    throw error;
  }
}

/** Every kernel of lyn against its reference, on this browser's GPU. */
export async function conform(
  options: Pick<LoadOptions, "powerPreference" | "worker" | "wasmUrl" | "signal"> & {
    onKernel?: (report: KernelReport) => void;
  } = {},
): Promise<ConformReport> {
  const { signal, powerPreference } = options;
  const input = powerPreference ? { powerPreference } : {};
  return once(options, (remote) => remote.call("conform", input, { signal, event: options.onKernel ?? (() => {}) }));
}

/** A golden checkpoint's stages against the expected values in its folder: config.json, weights, golden.safetensors. */
export async function conformGolden(
  files: File[],
  options: Pick<LoadOptions, "worker" | "wasmUrl"> = {},
): Promise<GoldenReport> {
  return once(options, (remote) => remote.call("golden", { files }));
}

/** Models that are kept in this browser. */
export const storage = {
  /** All of them, newest use first. */
  list: (options: Pick<LoadOptions, "worker" | "wasmUrl"> = {}): Promise<StoredModel[]> =>
    once(options, (remote) => remote.call("stored", null)),
  /** Removes one and gives the bytes freed. */
  remove: (id: string, options: Pick<LoadOptions, "worker" | "wasmUrl"> = {}): Promise<number> =>
    once(options, (remote) => remote.call("remove", { id })),
  /** Removes all of them and gives the bytes freed. */
  removeAll: (options: Pick<LoadOptions, "worker" | "wasmUrl"> = {}): Promise<number> =>
    once(options, (remote) => remote.call("removeAll", null)),
  /** The browser's own figures. */
  estimate: (): Promise<StorageEstimate> => navigator.storage.estimate(),
};

class Loading implements Lyn {
  readonly plan;
  readonly adapter;
  readonly selfCheck;
  readonly worker: boolean;
  readonly chat: { completions: { create: ChatCreate } };
  private loaded: Loaded;

  constructor(
    private readonly remote: Remote,
    loaded: Loaded,
    private readonly events: EventTarget,
  ) {
    this.loaded = loaded;
    this.plan = loaded.plan;
    this.adapter = loaded.adapter;
    this.selfCheck = loaded.selfCheck;
    this.worker = remote.inWorker;
    this.chat = { completions: { create: ((request, options) => this.create(request, options)) as ChatCreate } };
  }

  get model() {
    return this.loaded.model;
  }

  generate(prompt: string | ArrayLike<number>, options: GenerateOptions = {}): Generation<TokenEvent> {
    const { signal, trace, onPrompt, ...sampling } = options;
    const input = { prompt: ids(prompt), sampling, ...(trace && { trace }) };
    return this.remote.generation("generate", input, (event) => {
      if ("prompt" in event) onPrompt?.(event.prompt);
      else return event.token;
    }, (result) => result, signal);
  }

  private create(request: ChatRequest, options: ChatOptions = {}): Generation<ChatCompletionChunk> | Promise<ChatCompletion> {
    const { signal, trace, onPrompt } = options;
    const input = { request, ...(trace && { trace }) };
    const chunk = (event: { prompt: PromptProgress } | { chunk: ChatCompletionChunk }) => {
      if ("prompt" in event) onPrompt?.(event.prompt);
      else return event.chunk;
    };
    if (request.stream) return this.remote.generation("chat", input, chunk, ({ result }) => result, signal);
    return this.remote.call("chat", input, { signal, event: chunk }).then(({ response }) => response);
  }

  async trace(prompt: string | ArrayLike<number>, options: TraceOptions & { signal?: AbortSignal }) {
    const { signal, ...trace } = options;
    return this.remote.call("trace", { prompt: ids(prompt), trace }, { signal });
  }

  async tokenize(text: string) {
    return this.remote.call("tokenize", { text });
  }

  async detokenize(list: ArrayLike<number>) {
    return this.remote.call("detokenize", { ids: Uint32Array.from(list) });
  }

  async render(request: Pick<ChatRequest, "messages" | "thinking">) {
    return this.remote.call("render", { request });
  }

  async compare(
    prompt: string | ArrayLike<number>,
    a: Variant,
    b: Variant,
    options: SamplingOptions & { signal?: AbortSignal } = {},
  ) {
    const { signal, ...sampling } = options;
    return this.remote.call("compare", { prompt: ids(prompt), a, b, sampling }, { signal });
  }

  async setAttention(variant: Variant) {
    await this.remote.call("setAttention", variant);
    const topk = variant.attention === "dense" ? null : (variant.indexTopk ?? this.loaded.model.index_topk);
    this.loaded = { ...this.loaded, model: { ...this.loaded.model, index_topk: topk } };
  }

  async reset() {
    await this.remote.call("reset", null);
  }

  async unload() {
    await this.remote.call("unload", null).catch(() => {});
    this.remote.close();
  }

  [Symbol.asyncDispose]() {
    return this.unload();
  }

  addEventListener<K extends keyof LynEventMap>(
    type: K,
    listener: (event: LynEventMap[K]) => void,
    options?: AddEventListenerOptions,
  ): void {
    this.events.addEventListener(type, listener as EventListener, options);
  }

  removeEventListener<K extends keyof LynEventMap>(type: K, listener: (event: LynEventMap[K]) => void): void {
    this.events.removeEventListener(type, listener as EventListener);
  }
}

function tell(events: EventTarget, notice: Notice): void {
  const { type, ...rest } = notice;
  const detail = notice.type === "failed" ? notice.error : notice.type === "progress" ? notice.progress : rest;
  events.dispatchEvent(new CustomEvent(type, { detail }));
}

/** One call in an engine host of its own. */
async function once<T>(options: LoadOptions, call: (remote: Remote) => Promise<T>): Promise<T> {
  const remote = await open(options, () => {});
  try {
    return await call(remote);
  } finally {
    remote.close();
  }
}

/** A host: in a worker, in the page where that was asked for, or where workers have no GPU and the page has. */
async function open(options: LoadOptions, notice: (notice: Notice) => void): Promise<Remote> {
  const input = { wasmUrl: new URL(options.wasmUrl ?? assets.wasm(), location.href).href };
  const { worker = true } = options;
  if (worker !== false) {
    const start = starter(worker);
    const remote = Remote.worker(start(), notice);
    try {
      const { gpu } = await remote.call("start", input, { signal: options.signal });
      if (gpu || !(await pageHasGpu())) return remote;
    } catch (error) {
      remote.close();
      throw error;
    }
    remote.close();
  }
  // Where no worker is wanted, forms are compiled beside the engine, and the bounds of what is compiled have to do.
  const remote = await Remote.page(notice, worker === false ? null : starter(worker, "lyn trial"));
  await remote.call("start", input, { signal: options.signal });
  return remote;
}

/** Whether a worker can have the GPU too. */
async function workerHasGpu({ worker, wasmUrl }: Pick<LoadOptions, "worker" | "wasmUrl">): Promise<boolean> {
  if (worker === false) return false;
  const remote = Remote.worker(starter(worker)());
  try {
    return (await remote.call("start", { wasmUrl: new URL(wasmUrl ?? assets.wasm(), location.href).href })).gpu;
  } finally {
    remote.close();
  }
}

async function pageHasGpu(): Promise<boolean> {
  const gpu = (navigator as { gpu?: GPU }).gpu;
  return gpu !== undefined && (await gpu.requestAdapter().catch(() => null)) !== null;
}

/** How a worker is started. */
function starter(worker: Exclude<LoadOptions["worker"], false>, name = "lyn"): () => Worker {
  return typeof worker === "function" ? worker : () => startWorker(assets.worker().href, name);
}

function core(options: LoadOptions): CoreOptions {
  const { context, cacheType, attention, indexTopk, force, powerPreference, cache, revision, token, selfCheck } = options;
  const given = { context, cacheType, attention, indexTopk, force, powerPreference, cache, revision, token, selfCheck };
  const base = options.storiesUrl === undefined ? undefined : new URL(options.storiesUrl, location.href);
  const stories = assets.stories();
  for (const file of Object.keys(stories) as (keyof typeof stories)[]) {
    if (base) stories[file] = new URL(file, base).href;
  }
  const set = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  return { ...set, stories };
}

/** A model as it can be posted: URLs as text, picked files with the folder that they came from taken off their names. */
function posted(model: ModelSource): PostedModel {
  if (model instanceof URL) return model.href;
  return Array.isArray(model) ? topFiles(model) : model;
}

function ids(prompt: string | ArrayLike<number>): string | Uint32Array {
  return typeof prompt === "string" ? prompt : Uint32Array.from(prompt);
}

