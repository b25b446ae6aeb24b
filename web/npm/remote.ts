// The page's side of the protocol: calls as promises and generations, over a worker or a core in this page.

import { LynError } from "./errors.js";
import type { CallName, Calls, FromCore, Notice, PlainError, ToCore } from "./protocol.js";
import type { Generation, Result } from "./types.js";

interface Port {
  send(message: ToCore): void;
  close(): void;
}

interface Pending {
  resolve(value: unknown): void;
  reject(error: unknown): void;
  event(event: unknown): void;
}

export class Remote {
  private readonly pending = new Map<number, Pending>();
  private next = 1;
  private dead: LynError | null = null;
  private port!: Port;

  private constructor(
    readonly inWorker: boolean,
    private readonly notice: (notice: Notice) => void,
  ) {}

  /** Over a worker. */
  static worker(worker: Worker, notice: (notice: Notice) => void = () => {}): Remote {
    const remote = new Remote(true, notice);
    worker.addEventListener("message", (event: MessageEvent<FromCore>) => remote.receive(event.data));
    worker.addEventListener("error", (event) => {
      event.preventDefault();
      const why = event.message || "it could not be loaded; is its URL right, and does the page's CSP allow it?";
      remote.die(new LynError("internal", `the worker failed: ${why}`));
    });
    remote.port = { send: (message) => worker.postMessage(message), close: () => worker.terminate() };
    return remote;
  }

  /** In this page: where workers have no GPU. `start` gives a worker for what needs none. */
  static async page(notice: (notice: Notice) => void, start: (() => Worker) | null): Promise<Remote> {
    const { Core } = await import("./core.js");
    const remote = new Remote(false, notice);
    // As between threads: what is sent arrives later, never within the call that sends it.
    const core = new Core((message) => queueMicrotask(() => remote.receive(message)), start);
    const failed = (event: ErrorEvent) => {
      if (event.error instanceof WebAssembly.RuntimeError) core.panicked(event.message);
    };
    self.addEventListener("error", failed);
    remote.port = {
      send: (message) => queueMicrotask(() => core.receive(message)),
      close: () => self.removeEventListener("error", failed),
    };
    return remote;
  }

  /** One call; `signal` rejects with its reason, after the core has stopped. */
  call<N extends CallName>(
    name: N,
    input: Calls[N]["in"],
    options: { signal?: AbortSignal | undefined; event?: (event: Calls[N]["event"]) => void } = {},
  ): Promise<Calls[N]["out"]> {
    const { signal } = options;
    if (this.dead) return Promise.reject(this.dead);
    if (signal?.aborted) return Promise.reject(signal.reason);
    const id = this.next++;
    return new Promise((resolve, reject) => {
      const stop = () => this.port.send({ cancel: id });
      signal?.addEventListener("abort", stop, { once: true });
      const settle = () => {
        this.pending.delete(id);
        signal?.removeEventListener("abort", stop);
      };
      this.pending.set(id, {
        resolve: (value) => {
          settle();
          if (signal?.aborted) reject(signal.reason);
          else resolve(value as Calls[N]["out"]);
        },
        reject: (error) => {
          settle();
          reject(signal?.aborted ? signal.reason : error);
        },
        event: (event) => options.event?.(event as Calls[N]["event"]),
      });
      this.port.send({ id, call: name, input });
    });
  }

  /** A call whose events are handed out one by one. */
  generation<N extends "generate" | "chat", T>(
    name: N,
    input: Calls[N]["in"],
    item: (event: Calls[N]["event"]) => T | undefined,
    result: (value: Calls[N]["out"]) => Result,
    signal: AbortSignal | undefined,
  ): Generation<T> & { done: Promise<Calls[N]["out"]> } {
    const stopped = new AbortController();
    const items: T[] = [];
    let wake = () => {};
    let ended = false;
    let failure: { error: unknown } | null = null;
    const { promise, stop } = this.stoppable(name, input, signal, (event) => {
      const made = item(event);
      if (made === undefined || stopped.signal.aborted) return;
      items.push(made);
      wake();
    });
    const finish = () => {
      ended = true;
      wake();
    };
    promise.then(finish, (error: unknown) => {
      failure = { error };
      finish();
    });
    const value = promise.then(result);
    // Whoever only reads the events need not look at the result too.
    value.catch(() => {});
    const end = () => {
      stopped.abort();
      stop();
      finish();
    };
    return {
      result: value,
      done: promise,
      stop: end,
      async *[Symbol.asyncIterator]() {
        try {
          for (;;) {
            const next = items.shift();
            if (next !== undefined) {
              yield next;
            } else if (ended) {
              if (failure && !stopped.signal.aborted) throw failure.error;
              return;
            } else {
              await new Promise<void>((resolve) => (wake = resolve));
            }
          }
        } finally {
          if (!ended) end();
        }
      },
    };
  }

  private stoppable<N extends CallName>(
    name: N,
    input: Calls[N]["in"],
    signal: AbortSignal | undefined,
    event: (event: Calls[N]["event"]) => void,
  ): { promise: Promise<Calls[N]["out"]>; stop: () => void } {
    const id = this.next;
    const promise = this.call(name, input, { signal, event });
    return { promise, stop: () => this.pending.has(id) && this.port.send({ cancel: id }) };
  }

  close(): void {
    this.die(new LynError("bad_request", "the model was unloaded", { help: ["Call load() again."] }));
    this.port.close();
  }

  private receive(message: FromCore): void {
    if ("notice" in message) this.notice(message.notice);
    else if ("fatal" in message) this.die(LynError.from(message.fatal));
    else if ("event" in message) this.pending.get(message.id)?.event(message.event);
    else if ("error" in message) this.pending.get(message.id)?.reject(LynError.from(message.error));
    else this.pending.get(message.id)?.resolve(message.value);
  }

  private die(error: LynError): void {
    if (this.dead) return;
    this.dead = error;
    for (const pending of [...this.pending.values()]) pending.reject(error);
    if (error.details["panic"] === true) this.notice({ type: "failed", error: error.toJSON() as PlainError });
  }
}
