// OpenAI's Node SDK against BASE_URL: streams, its helpers for them, tools, errors, and leaving early.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: "none", maxRetries: 0 });
const request = {
  model: "deepseek-chat",
  messages: [{ role: "user", content: "Tell me a story about a cat." }],
  max_tokens: 32,
  temperature: 0,
};

test("a stream's pieces are the whole answer", async () => {
  const whole = await client.chat.completions.create(request);
  let text = "";
  let finish;
  for await (const chunk of await client.chat.completions.create({ ...request, stream: true })) {
    text += chunk.choices[0]?.delta?.content ?? "";
    finish = chunk.choices[0]?.finish_reason ?? finish;
  }
  assert.equal(text, whole.choices[0].message.content);
  assert.equal(finish, "length");
});

test("the stream helper builds the completion, with its usage", async () => {
  const stream = client.chat.completions.stream({ ...request, stream_options: { include_usage: true } });
  const final = await stream.finalChatCompletion();
  assert.ok(final.choices[0].message.content.length > 20);
  assert.equal((await stream.totalUsage()).completion_tokens, 32);
});

test("thoughts are apart", async () => {
  const answer = await client.chat.completions.create({ ...request, model: "deepseek-reasoner" });
  assert.ok(answer.choices[0].message.reasoning_content.length > 20);
});

test("a forced call streams as one", async () => {
  const tools = [{ type: "function", function: { name: "feed", parameters: { type: "object", properties: { food: { enum: ["fish", "milk"] } }, required: ["food"], additionalProperties: false }, strict: true } }];
  const stream = client.chat.completions.stream({ ...request, tools, tool_choice: "required", max_tokens: 200 });
  const { message, finish_reason } = (await stream.finalChatCompletion()).choices[0];
  assert.equal(finish_reason, "tool_calls");
  assert.equal(message.tool_calls[0].function.name, "feed");
  assert.ok(["fish", "milk"].includes(JSON.parse(message.tool_calls[0].function.arguments).food));
});

test("errors have their classes", async () => {
  await assert.rejects(client.chat.completions.create({ ...request, top_p: 0 }), OpenAI.BadRequestError);
  await assert.rejects(client.models.retrieve("nope"), OpenAI.NotFoundError);
});

test("leaving a stream early is no error, and the server goes on", async () => {
  const stream = await client.chat.completions.create({ ...request, max_tokens: 400, stream: true });
  for await (const chunk of stream) {
    if (chunk.choices[0]?.delta?.content) break;
  }
  assert.ok((await client.chat.completions.create(request)).choices[0].message.content);
});
