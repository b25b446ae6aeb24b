// The first transport: the engine in this tab, by the public API of the package `lyn`. The package stands beside the
// page as it was published, so its worker, its WebAssembly and its model are found the way its own users find them.
import type { LoadOptions, Lyn, ModelSource, Progress, Result, Selection } from "lyn";
import { scriptUrl } from "./app/trusted.ts";
import type { Answer, Ask, AskOptions, ChatClient, ChatEvent, ClientEvent, Problem } from "./client.ts";

const folder = new URL(__LYN_PATH__, document.baseURI);
let imported: Promise<typeof import("lyn")> | null = null;

/** The package, fetched once, when first needed. */
export function lyn(): Promise<typeof import("lyn")> {
  imported ??= import(/* @vite-ignore */ new URL("index.js", folder).href) as Promise<typeof import("lyn")>;
  imported.catch(() => (imported = null));
  return imported;
}

/** The page owns the policy for script URLs, so it starts the worker. */
export function startWorker(): Worker {
  return new Worker(scriptUrl(new URL("worker.js", folder)), { type: "module", name: "lyn" });
}

export type TabOptions = Pick<
  LoadOptions,
  "context" | "attention" | "indexTopk" | "force" | "cache" | "signal" | "onProgress"
>;

export async function loadInTab(source: ModelSource, options: TabOptions): Promise<ChatClient> {
  const { load } = await lyn();
  let worker: Worker | null = null;
  const start = () => (worker = startWorker());
  return new TabClient(await load(source, { ...options, worker: start }), () => worker?.terminate());
}

/** What a thrown thing says, in the page's form. */
export function toProblem(error: unknown): Problem {
  if (error instanceof Error) {
    const { code, help, retryAfter } = error as Partial<Problem>;
    if (typeof code === "string" && Array.isArray(help))
      return { code, message: error.message, help, ...(retryAfter !== undefined && { retryAfter }) };
    if (error.name === "AbortError") return { code: "cancelled", message: error.message, help: [] };
    if (error instanceof TypeError && /fetch|import|load/i.test(error.message))
      return { code: "network", message: error.message, help: [] };
    return { code: "internal", message: `${error.name}: ${error.message}`, help: [] };
  }
  return { code: "internal", message: String(error), help: [] };
}

const CLOSE_MS = 2000;

class TabClient implements ChatClient {
  readonly transport = "tab";
  readonly #lyn: Lyn;
  readonly #terminate: () => void;

  constructor(lyn: Lyn, terminate: () => void) {
    this.#lyn = lyn;
    this.#terminate = terminate;
  }

  get model() {
    return this.#lyn.model;
  }
  get adapter() {
    return this.#lyn.adapter;
  }
  get plan() {
    return this.#lyn.plan;
  }
  get worker() {
    return this.#lyn.worker;
  }
  get selfCheck() {
    return this.#lyn.selfCheck;
  }

  ask(ask: Ask, options: AskOptions = {}): Answer {
    const queue = new Queue<ChatEvent>();
    let stop = () => queue.end();
    const run = async () => {
      const ids = "raw" in ask ? await this.tokenize(ask.raw) : await this.render(ask.messages, ask.thinking);
      if (queue.ended) return;
      queue.push({ type: "ids", ids });
      const generation = "raw" in ask ? this.#raw(ask.raw, options, queue) : this.#chat(ask, options, queue);
      stop = () => generation.stop();
      const { finish_reason: finish, usage, timings, seed, promptIds, ids: made } = await generation.finished;
      // The page offers no tools, and nobody but its user ends an answer.
      const reason = finish === "length" || finish === "cancelled" ? finish : "stop";
      queue.push({ type: "end", reason, usage, timings, seed, promptIds, ids: made });
      queue.end();
    };
    run().catch((error: unknown) => queue.fail(error));
    return { stop: () => stop(), [Symbol.asyncIterator]: () => queue.iterate(() => stop()) };
  }

  #raw(prompt: string, options: AskOptions, queue: Queue<ChatEvent>) {
    const onPrompt = (progress: { done: number; total: number; cached: number }) =>
      queue.push({ type: "prompt", ...progress });
    const generation = this.#lyn.generate(prompt, { ...options, onPrompt });
    const finished = (async (): Promise<Result> => {
      for await (const { text, id, position, reasoning, selection } of generation)
        // A negative id is text that was held back, without a token of its own.
        queue.push(piece(reasoning, text, id < 0 ? [] : [id], position, selection));
      return generation.result;
    })();
    return { stop: () => generation.stop(), finished };
  }

  #chat(ask: Extract<Ask, { messages: unknown }>, options: AskOptions, queue: Queue<ChatEvent>) {
    const { signal, trace, temperature, topP, maxTokens, seed, stop } = options;
    const generation = this.#lyn.chat.completions.create(
      {
        messages: ask.messages,
        stream: true,
        thinking: { type: ask.thinking ? "enabled" : "disabled" },
        temperature: temperature ?? null,
        top_p: topP ?? null,
        max_tokens: maxTokens ?? null,
        seed: seed ?? null,
        stop: stop?.length ? stop : null,
      },
      { signal, trace, onPrompt: (progress) => queue.push({ type: "prompt", ...progress }) },
    );
    const finished = (async (): Promise<Result> => {
      for await (const chunk of generation) {
        const delta = chunk.choices[0]?.delta;
        if (!delta || !chunk.lyn) continue;
        const { ids, position, selection } = chunk.lyn;
        const reasoning = typeof delta.reasoning_content === "string" && delta.reasoning_content !== "";
        const text = (reasoning ? delta.reasoning_content : delta.content) ?? "";
        if (text || ids.length) queue.push(piece(reasoning, text, ids, position, selection));
      }
      return generation.result;
    })();
    return { stop: () => generation.stop(), finished };
  }

  tokenize(text: string) {
    return this.#lyn.tokenize(text);
  }
  detokenize(ids: ArrayLike<number>) {
    return this.#lyn.detokenize(ids);
  }
  render: ChatClient["render"] = (messages, thinking) =>
    this.#lyn.render({ messages, thinking: { type: thinking ? "enabled" : "disabled" } });
  trace: ChatClient["trace"] = (prompt, options) => this.#lyn.trace(prompt, options);
  compare: ChatClient["compare"] = (text, a, b, options) => this.#lyn.compare(text, a, b, options);
  setAttention: ChatClient["setAttention"] = (variant) => this.#lyn.setAttention(variant);
  conform: ChatClient["conform"] = async (options) => (await lyn()).conform({ ...options, worker: startWorker });

  listen(listener: (event: ClientEvent) => void): () => void {
    const lost = ({ detail }: CustomEvent<{ reason: string; attempt: number }>) =>
      listener({ type: "lost", ...detail });
    const progress = ({ detail }: CustomEvent<Progress>) => listener({ type: "progress", progress: detail });
    const restored = ({ detail }: CustomEvent<{ attempt: number }>) => listener({ type: "restored", ...detail });
    const failed = ({ detail }: CustomEvent<Problem>) => listener({ type: "failed", problem: detail });
    this.#lyn.addEventListener("lost", lost);
    this.#lyn.addEventListener("progress", progress);
    this.#lyn.addEventListener("restored", restored);
    this.#lyn.addEventListener("failed", failed);
    return () => {
      this.#lyn.removeEventListener("lost", lost);
      this.#lyn.removeEventListener("progress", progress);
      this.#lyn.removeEventListener("restored", restored);
      this.#lyn.removeEventListener("failed", failed);
    };
  }

  /** An engine that hangs on a lost device does not unload: its worker is ended all the same. */
  async close(): Promise<void> {
    await Promise.race([this.#lyn.unload().catch(() => {}), new Promise((resolve) => setTimeout(resolve, CLOSE_MS))]);
    this.#terminate();
  }
}

function piece(reasoning: boolean, text: string, ids: number[], position: number, selection?: Selection[]): ChatEvent {
  return { type: reasoning ? "reasoning" : "text", text, ids, position, ...(selection && { selection }) };
}

/** What one side pushes and the other reads in a loop. */
class Queue<T> {
  ended = false;
  #items: T[] = [];
  #failure: { error: unknown } | null = null;
  #wake = () => {};

  push(item: T): void {
    if (this.ended) return;
    this.#items.push(item);
    this.#wake();
  }

  end(): void {
    this.ended = true;
    this.#wake();
  }

  fail(error: unknown): void {
    this.#failure = { error };
    this.end();
  }

  async *iterate(stop: () => void): AsyncGenerator<T, void> {
    try {
      for (;;) {
        const item = this.#items.shift();
        if (item !== undefined) yield item;
        else if (this.#failure) throw this.#failure.error;
        else if (this.ended) return;
        else await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } finally {
      if (!this.ended) stop();
    }
  }
}
