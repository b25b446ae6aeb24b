// A test double of the engine at the protocol's seam: a worker that says what a test wants, when it wants it. For what the
// page does with answers, and for states that the real engine passes through too quickly to look at.

import type { Page } from "@playwright/test";
import type { CallName, FromCore, PlainError } from "../npm/protocol.js";
import type { Plan } from "../npm/types.js";

const plan: Plan = {
  model_type: "deepseek_v32",
  layers: 6,
  parameters: 4_450_000,
  formats: [["bf16", 8_900_000]],
  context: 2048,
  sequences: 1,
  max_position_embeddings: 8192,
  chunk: 256,
  stored_bytes: 8_900_000,
  weights_bytes: 8_900_000,
  cache_bytes: 2_000_000,
  cache_type: "f32" as const,
  cache_narrowed: false,
  cache_parts: 1,
  scratch_bytes: 1_000_000,
  total_bytes: 11_900_000,
  available_bytes: null,
  limit: null,
  fit: "unknown",
};
const loaded = {
  model: {
    id: "stories",
    model_type: "deepseek_v32",
    num_hidden_layers: 6,
    vocab_size: 4096,
    max_position_embeddings: 8192,
    index_topk: 64,
    sparse: true,
    chat: true,
    thinking: true,
    context: 2048,
    defaults: { temperature: 0.8, top_p: 0.95 },
  },
  adapter: {
    index: 0,
    name: "Test adapter",
    kind: "discrete",
    backend: "webgpu",
    driver: "",
    shader_f16: true,
    subgroups: [32, 32],
    timestamps: false,
    max_buffer_bytes: 2 ** 30,
    max_binding_bytes: 2 ** 30,
  },
  plan,
  selfCheck: { passed: true, fromCache: false },
};

export interface Behaviour {
  /** Calls that are not answered until the test does. */
  hold?: CallName[];
  /** Milliseconds between two pieces of an answer. */
  pace?: number;
  /** The context of the model, in tokens. */
  context?: number;
}

/** An answer is made of the pieces that the question holds as a JSON array (`{ "reasoning": … }` for thoughts). */
const worker = (behaviour: Behaviour) => `
  const { hold = [], pace = 0, context = 2048 } = ${JSON.stringify(behaviour)};
  const loaded = ${JSON.stringify(loaded)};
  loaded.model.context = loaded.plan.context = context;
  const told = new BroadcastChannel("lyn-double-told");
  const held = new Map();
  const cancelled = new Set();
  const pause = () => new Promise((resolve) => setTimeout(resolve, pace));
  const timings = { cache_n: 0, prompt_n: 9, prompt_ms: 1, prompt_per_second: 9000, predicted_n: 1, predicted_ms: 1, predicted_per_second: 1000, first_token_ms: 1 };
  const usage = { prompt_tokens: 9, completion_tokens: 1, total_tokens: 10, prompt_cache_hit_tokens: 0, prompt_cache_miss_tokens: 9, prompt_tokens_details: { cached_tokens: 0 }, completion_tokens_details: { reasoning_tokens: 0 } };
  const calls = {
    start: () => ({ gpu: true }),
    plan: () => loaded.plan,
    load: () => loaded,
    tokenize: ({ text }) => Uint32Array.from({ length: Math.ceil(text.length / 4) }),
    detokenize: ({ ids }) => "x".repeat(ids.length),
    render: () => new Uint32Array(9),
    stored: () => [],
    remove: () => 0,
    removeAll: () => 0,
    setAttention: () => null,
    reset: () => null,
    unload: () => null,
    async chat({ request }, id) {
      const question = request.messages.findLast(({ role }) => role === "user").content;
      const pieces = question.startsWith("[") ? JSON.parse(question) : ["A ", "short ", "answer."];
      postMessage({ id, event: { prompt: { done: 9, total: 9, cached: 0 } } });
      const ids = [];
      for (const piece of pieces) {
        if (cancelled.has(id)) break;
        const delta = typeof piece === "string" ? { content: piece } : { reasoning_content: piece.reasoning };
        ids.push(ids.length);
        const lyn = { ids: [ids.length - 1], position: 8 + ids.length };
        postMessage({ id, event: { chunk: { choices: [{ index: 0, delta, finish_reason: null }], lyn } } });
        await pause();
      }
      const finish_reason = cancelled.has(id) ? "cancelled" : 9 + ids.length >= context ? "length" : "stop";
      return { result: { text: "", reasoning: "", promptIds: new Uint32Array(9), ids: Uint32Array.from(ids), finish_reason, usage, timings, seed: 1 }, response: null };
    },
  };
  self.addEventListener("message", async ({ data }) => {
    if (data.cancel) return void cancelled.add(data.cancel);
    const { id, call, input } = data;
    told.postMessage({ call, input });
    if (hold.includes(call)) return void held.set(call, id);
    if (calls[call]) postMessage({ id, value: await calls[call](input, id) });
    else postMessage({ id, error: { code: "internal", message: "the double knows no " + call, help: [], details: {} } });
  });
  new BroadcastChannel("lyn-double").addEventListener("message", ({ data: { call, ...message } }) => {
    postMessage(call ? { id: held.get(call), ...message } : message);
  });`;

declare global {
  interface Window {
    /** Inputs of the calls that the double was sent and that have not been answered by hand, by name. */
    told: Map<string, unknown>;
  }
}

/** Puts the double in the worker's place. Service workers must be blocked. */
export async function withDouble(page: Page, behaviour: Behaviour = {}): Promise<void> {
  await page.addInitScript(() => {
    window.told = new Map();
    new BroadcastChannel("lyn-double-told").addEventListener("message", ({ data }: MessageEvent<{ call: string; input: unknown }>) => {
      window.told.set(data.call, data.input);
    });
  });
  await page.route(/\/worker\.js$/, (route) =>
    route.fulfill({ contentType: "text/javascript", body: `{${worker(behaviour)}}` }),
  );
}

/** What a call was given, once it has arrived. */
export async function told(page: Page, call: CallName): Promise<unknown> {
  await page.waitForFunction((call) => window.told.has(call), call);
  return page.evaluate((call) => window.told.get(call), call);
}

/** Tells something of a held call, or ends it with a value or an error. */
export async function reply(page: Page, call: CallName, message: { event: unknown } | { value: unknown } | { error: PlainError }): Promise<void> {
  await told(page, call);
  await page.evaluate(
    ({ call, message }) => {
      if (!("event" in message)) window.told.delete(call);
      new BroadcastChannel("lyn-double").postMessage({ call, ...message });
    },
    { call, message },
  );
}

/** Tells something that nobody asked for. */
export function notify(page: Page, message: Extract<FromCore, { notice: unknown } | { fatal: unknown }>): Promise<void> {
  return page.evaluate((all) => new BroadcastChannel("lyn-double").postMessage(all), message);
}

/** What the held call `load` is answered with. */
export const whole = loaded;
