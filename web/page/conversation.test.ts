import assert from "node:assert/strict";
import { test } from "node:test";
import {
  add,
  branches,
  emptyConversation,
  exportChats,
  importChats,
  path,
  remove,
  titleOf,
  toRequest,
  toText,
  turnTo,
  type Conversation,
  type Message,
} from "./conversation.ts";

const message = (id: string, parent: string | null, role: Message["role"], text: string, reasoning = ""): Message => ({
  id,
  parent,
  role,
  text,
  reasoning,
  reasoningMs: null,
  at: 0,
  finish: role === "assistant" ? "stop" : null,
});
const ids = (conversation: Conversation) => path(conversation).map(({ id }) => id);

const first = add(
  add(emptyConversation(0), message("q", null, "user", "Hi")),
  message("a1", "q", "assistant", "One", "thought"),
);
const two = add(first, message("a2", "q", "assistant", "Two"));

test("asking again adds a branch beside the first answer and shows it", () => {
  assert.deepEqual(ids(two), ["q", "a2"]);
  assert.equal(branches(two, two.messages[1] as Message).length, 2);
  assert.deepEqual(ids(turnTo(two, two.messages[2] as Message, -1)), ["q", "a1"]);
  assert.deepEqual(ids(turnTo(two, two.messages[2] as Message, 1)), ["q", "a2"]);
});

test("rewording the first question is a branch of the root", () => {
  const reworded = add(two, message("q2", null, "user", "Hello"));
  assert.deepEqual(ids(reworded), ["q2"]);
  assert.deepEqual(ids(turnTo(reworded, reworded.messages[3] as Message, -1)), ["q", "a2"]);
});

test("deleting takes away what follows, and shows what is beside", () => {
  assert.deepEqual(ids(remove(two, "a2")), ["q", "a1"]);
  assert.deepEqual(remove(two, "q").messages, []);
});

test("thoughts of earlier turns are not sent; an answer at the end is continued", () => {
  const shown = path(add(first, message("q3", "a1", "user", "And?")));
  assert.deepEqual(toRequest(shown, "Be brief."), [
    { role: "system", content: "Be brief." },
    { role: "user", content: "Hi" },
    { role: "assistant", content: "One" },
    { role: "user", content: "And?" },
  ]);
  assert.deepEqual(toRequest(path(first), "  ").at(-1), {
    role: "assistant",
    content: "One",
    reasoning_content: "thought",
    prefix: true,
  });
  assert.equal(toText(path(first), ""), "HiOne");
});

test("an export comes back as it was", () => {
  const [back] = importChats(exportChats([two])) ?? [];
  assert.deepEqual(back && ids(back), ["q", "a2"]);
  assert.equal(back && titleOf(back), "Hi");
});

test("files that are no export, or that go in circles, are refused", () => {
  for (const bad of [
    "",
    "[]",
    "{}",
    '{"schema":"lyn.chats/1"}',
    '{"schema":"lyn.chats/1","conversations":[{"id":"c","messages":[{"id":"a","parent":"b","role":"user","text":""},{"id":"b","parent":"a","role":"user","text":""}]}]}',
    '{"schema":"lyn.chats/1","conversations":[{"id":"c","messages":[{"id":"a","parent":null,"role":"system","text":""}]}]}',
    '{"schema":"lyn.chats/1","conversations":[{"id":"c","messages":[{"id":"a","parent":null,"role":"user","text":1}]}]}',
  ])
    assert.equal(importChats(bad), null, bad);
});
