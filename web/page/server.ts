// The second transport: the server that delivered the page, by OpenAI's API. Fetched only where there is such a server.
import type { AdapterInfo, ModelInfo, Plan, Timings, Usage } from "lyn";
import { send } from "./app/privacy.ts";
import type { Answer, Ask, AskOptions, ChatClient, ChatEvent, Problem, ProblemCode } from "./client.ts";
import { EventData } from "./sse.ts";

export interface ConnectOptions {
  /** Sent with each request, to this server alone. */
  key?: string | null;
  signal?: AbortSignal;
  /** The server is there, but still loads its model. */
  onWait?: () => void;
}

/** A client for the server at `base`, once that has its model. */
export async function connect(base: URL, { key = null, signal, onWait }: ConnectOptions = {}): Promise<ChatClient> {
  const server = new Server(base, key);
  for (;;) {
    try {
      return new ServerClient(server, await server.props(signal));
    } catch (error) {
      if (!(error instanceof ServerError) || !error.loading) throw error;
      onWait?.();
      await pause((error.retryAfter ?? 1) * 1000, signal);
    }
  }
}

function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    });
  });
}

// -- what goes wrong -------------------------------------------------------------------------------------------------

/** A request that was not served, in the page's form. */
export class ServerError extends Error implements Problem {
  readonly code: ProblemCode;
  readonly help: string[] = [];
  /** Seconds after which the server may be asked again. */
  readonly retryAfter?: number;
  /** The server has no model yet. */
  readonly loading: boolean;

  constructor(code: ProblemCode, message: string, { retryAfter, loading = false }: { retryAfter?: number; loading?: boolean } = {}) {
    super(message);
    this.code = code;
    if (retryAfter !== undefined) this.retryAfter = retryAfter;
    this.loading = loading;
  }
}

/** Codes of the envelope that say more than their status. */
const CODES: Readonly<Record<string, ProblemCode>> = {
  context_length_exceeded: "context_overflow",
  device_lost: "device_lost",
  non_finite: "non_finite",
  rate_limit_exceeded: "server_busy",
  overloaded: "server_busy",
  loading: "server_busy",
  server_shutdown: "server_busy",
  request_timeout: "server_busy",
};

function codeOf(status: number, code: string): ProblemCode {
  const known = CODES[code];
  if (known) return known;
  if (status === 401) return "server_key";
  if (status === 429 || status === 503) return "server_busy";
  // A proxy that has no server behind it.
  if (status === 502 || status === 504) return "server_lost";
  return status >= 400 && status < 500 ? "bad_request" : "internal";
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;
const textOf = (value: unknown): string => (typeof value === "string" ? value : "");

/** The error in an envelope; `status` is that of the response, or 500 for an event of an answer that had begun. */
export function refusal(status: number, body: unknown, retryAfter: string | null = null): ServerError {
  const error = isObject(body) && isObject(body.error) ? body.error : {};
  const [message, code] = [textOf(error.message), textOf(error.code)];
  const asked = error.type === "invalid_request_error" ? 400 : status;
  const seconds = retryAfter === null || retryAfter.trim() === "" ? NaN : Number(retryAfter);
  return new ServerError(codeOf(status === 500 ? asked : status, code), message || `HTTP status ${status}`, {
    ...(seconds >= 0 && { retryAfter: seconds }),
    loading: code === "loading",
  });
}

/** What a request that got no answer says: its end was asked for, or the server is not there. */
function unreachable(error: unknown, signal: AbortSignal | undefined): unknown {
  if (signal?.aborted) return signal.reason;
  return new ServerError("server_lost", error instanceof Error ? error.message : String(error));
}

// -- requests --------------------------------------------------------------------------------------------------------

/** What the server says of its model, for the page. */
interface Facts {
  model: ModelInfo;
  plan: Plan;
  adapter: AdapterInfo | null;
  self_check: { passed: boolean; fromCache: boolean } | null;
}

class Server {
  readonly #base: URL;
  readonly #headers: Record<string, string>;

  constructor(base: URL, key: string | null) {
    this.#base = base;
    this.#headers = key === null ? {} : { authorization: `Bearer ${key}` };
  }

  async props(signal?: AbortSignal): Promise<Facts> {
    const options: RequestInit = { headers: this.#headers, cache: "no-store", ...(signal && { signal }) };
    const asked = fetch(new URL("props", this.#base), options);
    const props: unknown = await (await answered(asked, signal)).json().catch(() => null);
    const facts = isObject(props) ? props.lyn : null;
    if (!isObject(facts) || !isObject(facts.model) || !isObject(facts.plan))
      throw new ServerError("bad_request", "/props: expected the key lyn with model and plan; is this lyn serve?");
    return facts as unknown as Facts;
  }

  post(path: string, body: unknown, signal?: AbortSignal): Promise<Response> {
    const headers = { ...this.#headers, "content-type": "application/json" };
    const options: RequestInit = { headers, ...(signal && { signal }) };
    return answered(send(new URL(path, this.#base), JSON.stringify(body), options), signal);
  }
}

async function answered(asked: Promise<Response>, signal: AbortSignal | undefined): Promise<Response> {
  const response = await asked.catch((error: unknown) => {
    throw unreachable(error, signal);
  });
  if (response.ok) return response;
  const body: unknown = await response.json().catch(() => null);
  throw refusal(response.status, body, response.headers.get("retry-after"));
}

/** The body of a request for an answer; fields without a value are left out, and the server's own hold. */
export function requestOf(ask: Ask, options: AskOptions, model: string): Record<string, unknown> {
  const asked =
    "raw" in ask
      ? { prompt: ask.raw }
      : { messages: ask.messages, thinking: { type: ask.thinking ? "enabled" : "disabled" } };
  return {
    model,
    ...asked,
    stream: true,
    stream_options: { include_usage: true },
    ...(options.temperature !== undefined && { temperature: options.temperature }),
    ...(options.topP !== undefined && { top_p: options.topP }),
    ...(options.maxTokens !== undefined && { max_tokens: options.maxTokens }),
    ...(options.seed !== undefined && { seed: options.seed }),
    ...(options.stop?.length && { stop: options.stop }),
  };
}

// -- answers ---------------------------------------------------------------------------------------------------------

const NO_USAGE: Usage = {
  prompt_tokens: 0,
  completion_tokens: 0,
  total_tokens: 0,
  prompt_cache_hit_tokens: 0,
  prompt_cache_miss_tokens: 0,
  prompt_tokens_details: { cached_tokens: 0 },
  completion_tokens_details: { reasoning_tokens: 0 },
};
const NO_TIMINGS: Timings = {
  cache_n: 0,
  prompt_n: 0,
  prompt_ms: 0,
  prompt_per_second: 0,
  predicted_n: 0,
  predicted_ms: 0,
  predicted_per_second: 0,
  first_token_ms: 0,
};

/** `template` with the numbers that were found in its places. */
function numbers<T extends object>(template: T, found: unknown): T {
  const source = isObject(found) ? found : {};
  const read = ([name, standard]: [string, unknown]): [string, unknown] => {
    const value = source[name];
    if (typeof standard === "object" && standard !== null) return [name, numbers(standard, value)];
    return [name, typeof value === "number" && Number.isFinite(value) ? value : standard];
  };
  return Object.fromEntries(Object.entries(template).map(read)) as T;
}

/** Reads the chunks of one answer. */
export class ChunkReader {
  readonly #seed: number;
  #position = 0;
  #usage = NO_USAGE;
  #timings = NO_TIMINGS;
  #reason: "stop" | "length" | null = null;
  #done = false;

  constructor(seed: number) {
    this.#seed = seed;
  }

  /** Nothing more will come. */
  get done(): boolean {
    return this.#done;
  }

  /** What the data of one event says. Throws what it tells of an error. */
  read(data: string): ChatEvent[] {
    if (data.trim() === "[DONE]") {
      this.#done = true;
      return [];
    }
    const chunk = parsed(data);
    if (chunk.error) throw refusal(500, chunk);
    if (isObject(chunk.usage)) this.#usage = numbers(NO_USAGE, chunk.usage);
    if (isObject(chunk.timings)) this.#timings = numbers(NO_TIMINGS, chunk.timings);
    const choice: unknown = Array.isArray(chunk.choices) ? chunk.choices[0] : null;
    if (!isObject(choice)) return [];
    this.#end(choice.finish_reason);
    const delta = isObject(choice.delta) ? choice.delta : {};
    const events = [
      this.#piece("reasoning", textOf(delta.reasoning_content)),
      this.#piece("text", textOf(delta.content) || textOf(choice.text)),
    ];
    return events.flat();
  }

  /** How the answer ended. Throws where it has no end. */
  end(): ChatEvent {
    if (this.#reason === null) throw new ServerError("server_lost", "the stream ended in the middle of the answer");
    return {
      type: "end",
      reason: this.#reason,
      usage: this.#usage,
      timings: this.#timings,
      seed: this.#seed,
      promptIds: [],
      ids: [],
    };
  }

  #piece(type: "text" | "reasoning", text: string): ChatEvent[] {
    if (!text) return [];
    this.#position += 1;
    return [{ type, text, ids: [], position: this.#position - 1 }];
  }

  #end(reason: unknown): void {
    if (reason === null || reason === undefined) return;
    if (reason === "insufficient_system_resource")
      throw new ServerError("server_lost", "the server broke the answer off: insufficient_system_resource");
    this.#reason = reason === "length" ? "length" : "stop";
  }
}

function parsed(data: string): Record<string, unknown> {
  try {
    const chunk: unknown = JSON.parse(data);
    if (isObject(chunk)) return chunk;
  } catch {
    // Said below.
  }
  throw new ServerError("server_lost", `expected an event of JSON, found ${data.slice(0, 80)}`);
}

/** The data of a body's events, as they come. */
async function* eventsOf(response: Response, signal: AbortSignal): AsyncGenerator<string, void> {
  const reader = response.body?.getReader();
  const [decoder, events] = [new TextDecoder(), new EventData()];
  try {
    for (;;) {
      const { value } = (await reader?.read()) ?? {};
      if (!value) break;
      yield* events.push(decoder.decode(value, { stream: true }));
    }
    yield* events.end();
  } catch (error) {
    throw error instanceof ServerError ? error : unreachable(error, signal);
  } finally {
    // Whoever leaves early ends the request; a body that is broken already says nothing new.
    await reader?.cancel().catch(() => {});
  }
}

class ServerClient implements ChatClient {
  readonly transport = "server";
  readonly worker = false;
  readonly model: ModelInfo;
  readonly plan: Plan;
  readonly adapter: AdapterInfo | null;
  readonly selfCheck: ChatClient["selfCheck"];
  readonly #server: Server;

  constructor(server: Server, { model, plan, adapter, self_check }: Facts) {
    this.#server = server;
    this.model = model;
    this.plan = plan;
    this.adapter = adapter;
    this.selfCheck = self_check;
  }

  ask(ask: Ask, options: AskOptions = {}): Answer {
    const request = new AbortController();
    let stopped = false;
    options.signal?.addEventListener("abort", () => request.abort(options.signal?.reason));
    const stop = () => {
      stopped = true;
      request.abort();
    };
    const events = this.#events(ask, options, request.signal);
    async function* until(): AsyncGenerator<ChatEvent, void> {
      try {
        yield* events;
      } catch (error) {
        if (!stopped) throw error;
      } finally {
        request.abort();
      }
    }
    return { stop, [Symbol.asyncIterator]: until };
  }

  async *#events(ask: Ask, options: AskOptions, signal: AbortSignal): AsyncGenerator<ChatEvent, void> {
    const path = "raw" in ask ? "v1/completions" : "v1/chat/completions";
    const response = await this.#server.post(path, requestOf(ask, options, this.model.id), signal);
    const chunks = new ChunkReader(Number(response.headers.get("x-seed")) || 0);
    for await (const data of eventsOf(response, signal)) {
      yield* chunks.read(data);
      if (chunks.done) break;
    }
    yield chunks.end();
  }

  tokenize(text: string): Promise<ArrayLike<number>> {
    return this.#ids({ content: text, parse_special: false });
  }

  async detokenize(ids: ArrayLike<number>): Promise<string> {
    const response = await this.#server.post("detokenize", { tokens: Array.from(ids) });
    const body: unknown = await response.json();
    return isObject(body) ? textOf(body.content) : "";
  }

  render: ChatClient["render"] = (messages, thinking) =>
    this.#ids({ messages, chat_template_kwargs: { thinking } });

  async #ids(request: Record<string, unknown>): Promise<ArrayLike<number>> {
    const response = await this.#server.post("tokenize", request);
    const body: unknown = await response.json();
    return isObject(body) && Array.isArray(body.tokens) ? body.tokens.map(Number) : [];
  }

  /** A server says nothing unasked. */
  listen(): () => void {
    return () => {};
  }

  async close(): Promise<void> {}
}
