// The engine's host: holds the WebAssembly engine, answers calls in order, rebuilds after a lost device. It runs in a
// worker, or in the page where a worker has no GPU.

import init, {
  Engine,
  Sha256,
  type Tokenizer,
  conform_golden,
  conform_kernels,
  gguf_models,
  gguf_parts,
  has_form,
  plan as planOf,
  verify,
  version,
  type EngineEvent,
  type EngineOptions,
} from "./wasm/lyn.js";
import { Answer, ChatAnswer } from "./answer.js";
import { LynError } from "./errors.js";
import type { Calls, CallName, CoreOptions, FromCore, Loaded, ToCore } from "./protocol.js";
import { filesSource } from "./files.js";
import { openSource, peekSource, storage, type Opened, type Tools } from "./store.js";
import { remember, remembered } from "./passed.js";
import { remedied } from "./remedies.js";
import { drawSeed, engineOptions, sampled, traced } from "./settings.js";
import { adapterInfo } from "./support.js";
import { Trials } from "./trial.js";
import { Watched } from "./watched.js";
import type {
  AdapterInfo,
  ChatCompletion,
  ChatRequest,
  ConformReport,
  GoldenReport,
  KernelReport,
  ModelInfo,
  Plan,
  Progress,
  Result,
  Selection,
  Trace,
  Variant,
  Verified,
} from "./types.js";

type Post = (message: FromCore, transfer?: Transferable[]) => void;
type Emit<N extends CallName> = (event: Calls[N]["event"]) => void;
type Handlers = { [N in CallName]: (input: Calls[N]["in"], emit: Emit<N>, signal: AbortSignal) => Promise<Calls[N]["out"]> };

/** Rebuilds within `REBUILD_WINDOW_MS` before the engine gives up: a device that keeps dying is not helped by more. */
const REBUILDS = 2;
const REBUILD_WINDOW_MS = 5 * 60_000;

const tools: Tools = { sha256: () => new Sha256(), gguf: { models: gguf_models, parts: gguf_parts } };

/** What a load needs again after the device was lost. */
interface Recipe {
  opened: Opened;
  options: CoreOptions;
  attention: Variant | null;
}

/** Compiled once: trials share it. Its instance is as old as this script. */
let module: WebAssembly.Module | undefined;

export class Core {
  private engine: Engine | null = null;
  /** Kept beside the engine: it answers while the engine works. */
  private tokenizer: Tokenizer | null = null;
  private recipe: Recipe | null = null;
  /** Where no worker can be started there are none. */
  private trials: Trials | null = null;
  private rebuilds: number[] = [];
  private queue: Promise<unknown> = Promise.resolve();
  private readonly running = new Map<number, AbortController>();

  /** `startTrial` gives a worker that runs worker.ts. */
  constructor(
    private readonly post: Post,
    private readonly startTrial: (() => Worker) | null,
  ) {}

  receive(message: ToCore): void {
    if ("cancel" in message) {
      this.running.get(message.cancel)?.abort();
      return;
    }
    const { id, call, input } = message;
    const abort = new AbortController();
    this.running.set(id, abort);
    const emit = (event: unknown) => this.post({ id, event });
    // What does not touch the engine need not wait for it.
    const waits = !["start", "stored", "remove", "removeAll", "tokenize", "detokenize"].includes(call);
    const before = waits ? this.queue : Promise.resolve();
    const run = before.then(async () => {
      if (abort.signal.aborted) throw cancelled();
      const handler = this.handlers[call] as (input: unknown, emit: unknown, signal: AbortSignal) => Promise<unknown>;
      return handler(input, emit, abort.signal);
    });
    if (waits) this.queue = run.catch(() => {});
    run
      .then(
        (value) => this.post({ id, value }),
        (error: unknown) => this.post({ id, error: remedied(LynError.from(error).toJSON()) }),
      )
      .finally(() => this.running.delete(id));
  }

  panicked(message: string): void {
    const help = ["Load the model again; if it happens again, report it with the output of the device panel."];
    this.post({ fatal: { code: "internal", message, help, details: { panic: true } } });
  }

  private readonly handlers: Handlers = {
    start: async ({ wasmUrl }) => {
      module ??= await compiled(wasmUrl);
      await init({ module_or_path: module });
      const gpu = (navigator as { gpu?: GPU }).gpu;
      return { gpu: gpu !== undefined && (await gpu.requestAdapter().catch(() => null)) !== null };
    },

    plan: async ({ model, options }, _emit, signal) => {
      const source = new Watched(await peekSource(model, options, tools, signal));
      return (await source.explained(planOf(source, engineOptions(options)))) as Plan;
    },

    verify: async ({ model, options }, emit, signal) => {
      const opened = await openSource(model, options, tools, emit, signal);
      try {
        const source = new Watched(opened.source);
        return (await source.explained(verify(source))) as Verified;
      } finally {
        opened.close();
      }
    },

    load: async ({ model, options }, emit, signal) => {
      if (this.engine || this.recipe) await this.unload();
      const opened = await openSource(model, options, tools, emit, signal);
      this.recipe = { opened, options, attention: null };
      this.trials = this.startTrial && module ? new Trials(this.startTrial, module, opened.source) : null;
      try {
        return await this.build(this.recipe, emit, signal);
      } catch (error) {
        await this.unload();
        throw error;
      }
    },

    generate: async ({ prompt, sampling, trace }, emit, signal) => {
      const engine = this.loaded();
      const answer = new Answer(emit);
      const request = { prompt, ...sampled(sampling), trace: traced(trace), from: 0 };
      const end = await engine.generate(request, (event: EngineEvent) => {
        answer.take(event);
        return !signal.aborted;
      });
      answer.flush();
      return answer.result(end);
    },

    chat: async ({ request, trace }, emit, signal) => {
      const engine = this.loaded();
      const answer = new ChatAnswer(emit);
      const seeded = JSON.stringify({ ...request, seed: request.seed ?? drawSeed() } satisfies ChatRequest);
      await this.tried(engine, seeded, signal);
      const end = await engine.chat(seeded, traced(trace), Date.now() / 1e3, (event: EngineEvent) => {
        answer.take(event);
        return !signal.aborted;
      });
      return { result: answer.result(end), response: JSON.parse(end.response ?? "null") as ChatCompletion };
    },

    trace: async ({ prompt, trace }, emit, signal) => {
      const engine = this.loaded();
      const selections: Selection[] = [];
      const request = { prompt, maxTokens: 0, temperature: 0, seed: 0, stop: [], topP: null, trace: traced(trace), from: 0 };
      const end = await engine.generate(request, (event: EngineEvent) => {
        if (event.type === "prompt") emit({ prompt: event });
        if (event.type === "trace") selections.push(...event.selections);
        return !signal.aborted;
      });
      if (signal.aborted) throw cancelled();
      const model = engine.info() as ModelInfo;
      const words = this.words();
      const made: Trace = {
        model_type: model.model_type,
        num_hidden_layers: model.num_hidden_layers,
        index_topk: model.index_topk,
        layers: [...new Set(selections.map((selection) => selection.layer))].sort((a, b) => a - b),
        tokens: Array.from(end.promptIds, (id) => ({ id, text: words.decode(Uint32Array.of(id)) })),
        selections,
      };
      return made;
    },

    compare: async ({ prompt, a, b, sampling }, _emit, signal) => {
      const before = this.attention();
      const results: Result[] = [];
      try {
        for (const variant of [a, b]) {
          this.loaded().set_attention(variant.attention === "dense", variant.indexTopk);
          const answer = new Answer(() => {});
          const request = { prompt, ...sampled({ temperature: 0, ...sampling }), trace: null, from: 0 };
          const end = await this.loaded().generate(request, (event: EngineEvent) => {
            answer.take(event);
            return !signal.aborted;
          });
          if (signal.aborted) throw cancelled();
          results.push(answer.result(end));
        }
      } finally {
        this.engine?.set_attention(before.attention === "dense", before.indexTopk);
      }
      const [first, second] = results as [Result, Result];
      const length = Math.max(first.ids.length, second.ids.length);
      let at = 0;
      while (at < length && first.ids[at] === second.ids[at]) at += 1;
      return { a: first, b: second, firstDifference: at < length ? at : null };
    },

    setAttention: async (variant) => {
      this.loaded().set_attention(variant.attention === "dense", variant.indexTopk);
      if (this.recipe) this.recipe.attention = variant;
      return null;
    },

    tokenize: async ({ text }) => this.words().encode(text),
    detokenize: async ({ ids }) => this.words().decode(ids),
    render: async ({ request }, _emit, signal) => {
      const engine = this.loaded();
      const text = JSON.stringify(request);
      await this.tried(engine, text, signal);
      return engine.render(text);
    },
    reset: async () => {
      this.loaded().reset();
      return null;
    },
    unload: async () => {
      await this.unload();
      return null;
    },

    conform: async ({ powerPreference }, emit, signal) => {
      const started = performance.now();
      const adapter = await describe(powerPreference);
      const kernels = (await conform_kernels(powerPreference, (report: KernelReport) => {
        emit(report);
        return !signal.aborted;
      })) as KernelReport[];
      const report: ConformReport = {
        schema: "lyn.conform/1",
        adapter,
        kernels,
        cases: kernels.reduce((sum, kernel) => sum + kernel.cases, 0),
        passed: kernels.every((kernel) => kernel.failures.length === 0),
        elapsed_ms: performance.now() - started,
      };
      return report;
    },

    golden: async ({ files }) => (await conform_golden((await filesSource(files, tools.gguf)).source)) as GoldenReport,
    stored: async () => storage.list(),
    remove: async ({ id }) => storage.remove(id),
    removeAll: async () => storage.removeAll(),
  };

  /** Throws where a request's form or the model's template is refused, or breaks what compiles it: before the engine does it. */
  private async tried(engine: Engine, request: string, signal: AbortSignal): Promise<void> {
    const needs = { form: has_form(request), templated: engine.has_own_template() };
    if (this.trials && (needs.form || needs.templated)) await this.trials.check(request, needs, signal);
  }

  private words(): Tokenizer {
    return (this.tokenizer ??= this.loaded().tokenizer());
  }

  private forgetWords(): void {
    this.tokenizer?.free();
    this.tokenizer = null;
  }

  private loaded(): Engine {
    if (!this.engine) {
      throw new LynError("bad_request", "no model is loaded", { help: ["Call load() first."] });
    }
    return this.engine;
  }

  private attention(): Variant {
    const model = this.loaded().info() as ModelInfo;
    return model.index_topk === null ? { attention: "dense" } : { attention: "sparse", indexTopk: model.index_topk };
  }

  private async build(recipe: Recipe, emit: (progress: Progress) => void, signal: AbortSignal): Promise<Loaded> {
    const adapter = await describe(recipe.options.powerPreference);
    // Another driver, browser or lyn is checked again.
    const key = [version(), adapter.name, adapter.driver, navigator.userAgent].join(" ");
    const checked = recipe.options.selfCheck !== false;
    const known = checked && (await remembered(key));
    const options: EngineOptions = { ...engineOptions(recipe.options), selfCheck: checked && !known };
    const source = new Watched(recipe.opened.source);
    const loading = Engine.load(source, options, (progress: Progress) => {
      emit(progress);
      return !signal.aborted;
    });
    const engine = await source.explained(loading);
    if (checked && !known) await remember(key);
    const model = engine.info() as ModelInfo;
    const plan = engine.plan() as Plan;
    this.engine = engine;
    this.forgetWords();
    try {
      this.tokenizer = engine.tokenizer();
    } catch {
      // A checkpoint without one: whoever needs text is told so.
    }
    if (recipe.attention) engine.set_attention(recipe.attention.attention === "dense", recipe.attention.indexTopk);
    void engine.lost().then((error: unknown) => this.lost(engine, error));
    return { model: { ...model, id: recipe.opened.id }, adapter, plan, selfCheck: checked ? { passed: true, fromCache: known } : null };
  }

  /** A new device, the weights again from where they are kept; conversations are read again with the next request. */
  private lost(engine: Engine, reason: unknown): void {
    if (this.engine !== engine || !this.recipe) return; // unloaded, or rebuilt already
    this.engine = null;
    const recipe = this.recipe;
    const now = Date.now();
    this.rebuilds = [...this.rebuilds.filter((time) => now - time < REBUILD_WINDOW_MS), now];
    const attempt = this.rebuilds.length;
    const error = LynError.from(reason);
    if (attempt > REBUILDS) {
      this.recipe = null;
      this.post({ notice: { type: "failed", error: error.toJSON() } });
      return;
    }
    this.post({ notice: { type: "lost", reason: error.message, attempt } });
    const progress = (progress: Progress) => this.post({ notice: { type: "progress", progress } });
    // Calls that arrive meanwhile wait behind the rebuild.
    this.queue = this.queue.then(async () => {
      engine.free();
      try {
        await this.build(recipe, progress, new AbortController().signal);
        this.post({ notice: { type: "restored", attempt } });
      } catch (failure) {
        this.recipe = null;
        this.post({ notice: { type: "failed", error: LynError.from(failure).toJSON() } });
      }
    });
  }

  private async unload(): Promise<void> {
    const { engine, recipe } = this;
    this.engine = null;
    this.recipe = null;
    this.trials?.close();
    this.trials = null;
    this.forgetWords();
    // Destroying the device frees its memory now; buffers that are merely dropped wait for the garbage collector.
    engine?.close();
    recipe?.opened.close();
  }
}

async function compiled(url: string): Promise<WebAssembly.Module> {
  const response = await fetch(url);
  if (!response.ok) throw new LynError("network", `${url} answered ${response.status}`);
  // Servers that know no WebAssembly send it as something else, which cannot be compiled as it comes.
  if (!response.headers.get("content-type")?.startsWith("application/wasm")) return WebAssembly.compile(await response.arrayBuffer());
  return WebAssembly.compileStreaming(response);
}

function cancelled(): LynError {
  return new LynError("cancelled", "stopped");
}

async function describe(powerPreference: GPUPowerPreference | undefined): Promise<AdapterInfo> {
  const gpu = (navigator as { gpu?: GPU }).gpu;
  const adapter = await gpu?.requestAdapter(powerPreference ? { powerPreference } : {}).catch(() => null);
  if (!adapter) throw new LynError("no_adapter", "this browser offers no GPU adapter", { help: ["Update the browser and the GPU driver; see probe()."] });
  return adapterInfo(adapter);
}
