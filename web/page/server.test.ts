import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import type { AskOptions, ChatClient, ChatEvent } from "./client.ts";
import { connect, refusal, requestOf, ServerError } from "./server.ts";

const BASE = new URL("http://server.test/lyn/");
const model = { id: "stories", context: 512, chat: true, thinking: true, index_topk: 64 };
const facts = { version: "0.1.0", model, plan: { context: 512 }, adapter: null, self_check: null };

interface Asked {
  url: string;
  headers: Headers;
  body: Record<string, unknown> | null;
  signal: AbortSignal | null;
}

const real = globalThis.fetch;
afterEach(() => {
  globalThis.fetch = real;
});

/** Answers requests one after the other with these; what was asked is kept. */
function answering(...answers: (Response | Error)[]): Asked[] {
  const asked: Asked[] = [];
  globalThis.fetch = (url, options) => {
    const body = typeof options?.body === "string" ? (JSON.parse(options.body) as Record<string, unknown>) : null;
    asked.push({ url: String(url), headers: new Headers(options?.headers), body, signal: options?.signal ?? null });
    const answer = answers.shift();
    return answer instanceof Response ? Promise.resolve(answer) : Promise.reject(answer ?? new Error("not expected"));
  };
  return asked;
}

const json = (body: unknown, status = 200, headers: Record<string, string> = {}): Response =>
  new Response(JSON.stringify(body), { status, headers });
const props = () => json({ lyn: facts });
const stream = (...data: unknown[]): Response => {
  const lines = data.map((one) => `data: ${typeof one === "string" ? one : JSON.stringify(one)}\n\n`);
  return new Response(lines.join(""), { headers: { "x-seed": "42" } });
};
const chunk = (delta: Record<string, unknown>, finish_reason: string | null = null) => ({
  choices: [{ index: 0, delta, finish_reason }],
  usage: null,
});
const usage = {
  prompt_tokens: 9,
  completion_tokens: 3,
  total_tokens: 12,
  prompt_cache_hit_tokens: 4,
  prompt_cache_miss_tokens: 5,
  prompt_tokens_details: { cached_tokens: 4 },
  completion_tokens_details: { reasoning_tokens: 1 },
};
const timings = { cache_n: 4, prompt_n: 5, prompt_ms: 10, predicted_n: 3, predicted_per_second: 30 };

async function connected(...answers: (Response | Error)[]): Promise<{ client: ChatClient; asked: Asked[] }> {
  const asked = answering(props(), ...answers);
  const client = await connect(BASE);
  asked.shift();
  return { client, asked };
}

async function all(client: ChatClient, options: AskOptions = {}): Promise<ChatEvent[]> {
  const events: ChatEvent[] = [];
  const messages = [{ role: "user" as const, content: "Hi" }];
  for await (const event of client.ask({ messages, thinking: false }, options)) events.push(event);
  return events;
}

const failure = async (work: Promise<unknown>): Promise<ServerError> => {
  const error: unknown = await work.then(
    () => assert.fail("expected an error"),
    (error: unknown) => error,
  );
  assert.ok(error instanceof ServerError, String(error));
  return error;
};

test("what the server says of itself is the client", async () => {
  const asked = answering(props());
  const client = await connect(BASE, { key: "secret" });
  assert.equal(client.transport, "server");
  assert.equal(client.model.id, "stories");
  assert.equal(client.adapter, null);
  assert.equal(client.trace ?? client.compare ?? client.setAttention ?? client.conform, undefined);
  assert.equal(asked[0]?.url, "http://server.test/lyn/props");
  assert.equal(asked[0]?.headers.get("authorization"), "Bearer secret");
});

test("without a key none is sent, and an address that is no lyn server is told apart", async () => {
  const asked = answering(json({ build_info: "another" }));
  assert.match((await failure(connect(BASE))).message, /expected the key lyn/);
  assert.equal(asked[0]?.headers.has("authorization"), false);
});

test("while the server loads its model, connecting waits as long as it is told to", async () => {
  const loading = { error: { message: "the model is being loaded", type: "server_error", code: "loading" } };
  const asked = answering(json(loading, 503, { "retry-after": "0" }), json(loading, 503, { "retry-after": "0" }), props());
  let waits = 0;
  const client = await connect(BASE, { onWait: () => (waits += 1) });
  assert.equal(client.model.id, "stories");
  assert.deepEqual([waits, asked.length], [2, 3]);
  const stop = new AbortController();
  answering(json(loading, 503, { "retry-after": "60" }));
  await assert.rejects(connect(BASE, { signal: stop.signal, onWait: () => setTimeout(() => stop.abort()) }), {
    name: "AbortError",
  });
});

test("an answer comes as thought and text, and ends with counts and seed", async () => {
  const { client, asked } = await connected(
    stream(
      chunk({ role: "assistant", content: null, reasoning_content: "" }),
      chunk({ content: null, reasoning_content: "Hm." }),
      chunk({ content: "A ", reasoning_content: null }),
      chunk({ content: "dog", reasoning_content: null }),
      chunk({ content: "", reasoning_content: null }, "length"),
      { choices: [], usage, timings },
      "[DONE]",
    ),
  );
  const events = await all(client, { temperature: 0, maxTokens: 3, stop: ["\n"] });
  assert.deepEqual(events.slice(0, -1), [
    { type: "reasoning", text: "Hm.", ids: [], position: 0 },
    { type: "text", text: "A ", ids: [], position: 1 },
    { type: "text", text: "dog", ids: [], position: 2 },
  ]);
  const end = events.at(-1);
  assert.ok(end?.type === "end");
  assert.deepEqual([end.reason, end.seed, end.usage], ["length", 42, usage]);
  // What a server leaves out counts as nothing, and the speed of reading is such a thing here.
  assert.deepEqual([end.timings.predicted_per_second, end.timings.prompt_per_second], [30, 0]);
  assert.equal(asked[0]?.url, "http://server.test/lyn/v1/chat/completions");
  assert.deepEqual(asked[0]?.body, {
    model: "stories",
    messages: [{ role: "user", content: "Hi" }],
    thinking: { type: "disabled" },
    stream: true,
    stream_options: { include_usage: true },
    temperature: 0,
    max_tokens: 3,
    stop: ["\n"],
  });
});

test("a text without a chat format is continued by the other route", async () => {
  const { client, asked } = await connected(
    stream({ choices: [{ index: 0, text: "upon", finish_reason: null }] }, { choices: [{ text: "", finish_reason: "stop" }], usage }),
  );
  const events: ChatEvent[] = [];
  for await (const event of client.ask({ raw: "Once " })) events.push(event);
  assert.deepEqual(events.map(({ type }) => type), ["text", "end"]);
  assert.equal(asked[0]?.url, "http://server.test/lyn/v1/completions");
  assert.equal(asked[0]?.body?.prompt, "Once ");
});

test("fields that nobody has set are not sent", () => {
  const body = requestOf({ messages: [], thinking: true }, { topP: 0.5, seed: 7, stop: [] }, "m");
  assert.deepEqual([body.thinking, body.top_p, body.seed], [{ type: "enabled" }, 0.5, 7]);
  for (const absent of ["temperature", "max_tokens", "stop", "prompt"]) assert.equal(absent in body, false, absent);
});

test("stopping ends the request without an error, and so does leaving the loop", async () => {
  const endless = () => {
    const text = new TextEncoder().encode(`data: ${JSON.stringify(chunk({ content: "x" }))}\n\n`);
    return new Response(new ReadableStream({ pull: (controller) => controller.enqueue(text) }));
  };
  const { client, asked } = await connected(endless(), endless());
  const answer = client.ask({ messages: [], thinking: false });
  let pieces = 0;
  for await (const event of answer) {
    assert.equal(event.type, "text");
    pieces += 1;
    if (pieces === 3) answer.stop();
    if (pieces > 100) break;
  }
  assert.ok(pieces >= 3 && asked[0]?.signal?.aborted);
  for await (const _ of client.ask({ messages: [], thinking: false })) break;
  assert.equal(asked[1]?.signal?.aborted, true);
});

test("refusals get the page's codes", () => {
  const cases: [number, { type?: string; code?: string }, string][] = [
    [401, { type: "authentication_error", code: "invalid_request_error" }, "server_key"],
    [400, { type: "invalid_request_error", code: "context_length_exceeded" }, "context_overflow"],
    [400, { type: "invalid_request_error", code: "invalid_request_error" }, "bad_request"],
    [413, { type: "invalid_request_error", code: "request_too_large" }, "bad_request"],
    [403, { type: "permission_error", code: "forbidden" }, "bad_request"],
    [429, { type: "rate_limit_error", code: "rate_limit_exceeded" }, "server_busy"],
    [503, { type: "server_error", code: "overloaded" }, "server_busy"],
    [503, { type: "server_error", code: "loading" }, "server_busy"],
    [503, { type: "server_error", code: "device_lost" }, "device_lost"],
    [500, { type: "server_error", code: "internal_error" }, "internal"],
    [500, { type: "server_error", code: "non_finite" }, "non_finite"],
  ];
  for (const [status, error, code] of cases)
    assert.equal(refusal(status, { error: { message: "why", ...error } }).code, code, JSON.stringify(error));
  assert.equal(refusal(502, "<html>").code, "server_lost");
  assert.equal(refusal(418, null).message, "HTTP status 418");
  assert.equal(refusal(503, null, "7").retryAfter, 7);
  for (const other of [null, "", "Fri, 31 Dec 1999 23:59:59 GMT", "-1"]) assert.equal(refusal(503, null, other).retryAfter, undefined);
});

test("a server without room says when to come back", async () => {
  const busy = json({ error: { message: "the queue is full", code: "overloaded" } }, 503, { "retry-after": "5" });
  const { client } = await connected(busy);
  const { code, retryAfter, message } = await failure(all(client));
  assert.deepEqual([code, retryAfter, message], ["server_busy", 5, "the queue is full"]);
});

test("answers that break off are told from answers that end", async () => {
  const begun = chunk({ content: "A" });
  const cases: [Response | Error, string][] = [
    [new TypeError("fetch failed"), "server_lost"],
    [stream(begun), "server_lost"],
    [stream(begun, "[DONE]"), "server_lost"],
    [stream(begun, chunk({ content: "" }, "insufficient_system_resource"), "[DONE]"), "server_lost"],
    [stream(begun, "{not JSON"), "server_lost"],
    [stream({ error: { message: "gone", type: "server_error", code: "device_lost" } }, "[DONE]"), "device_lost"],
    [stream({ error: { message: "why", type: "invalid_request_error", code: "x" } }), "bad_request"],
  ];
  for (const [answer, code] of cases) {
    const { client } = await connected(answer);
    assert.equal((await failure(all(client))).code, code);
  }
});

test("only the signal rejects", async () => {
  const stop = new AbortController();
  const { client } = await connected();
  globalThis.fetch = (_, options) =>
    new Promise((_resolve, reject) => options?.signal?.addEventListener("abort", () => reject(new Error("aborted"))));
  setTimeout(() => stop.abort());
  await assert.rejects(all(client, { signal: stop.signal }), { name: "AbortError" });
});

test("text and ids are the server's to translate", async () => {
  const { client, asked } = await connected(json({ tokens: [1, 2] }), json({ content: "a dog" }), json({ tokens: [3] }));
  assert.deepEqual(Array.from(await client.tokenize("a dog")), [1, 2]);
  assert.equal(await client.detokenize(Uint32Array.from([1, 2])), "a dog");
  assert.deepEqual(Array.from(await client.render([{ role: "user", content: "Hi" }], true)), [3]);
  assert.deepEqual(
    asked.map(({ url, body }) => [url.slice(BASE.href.length), body]),
    [
      ["tokenize", { content: "a dog", parse_special: false }],
      ["detokenize", { tokens: [1, 2] }],
      ["tokenize", { messages: [{ role: "user", content: "Hi" }], chat_template_kwargs: { thinking: true } }],
    ],
  );
});
