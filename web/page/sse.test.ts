import assert from "node:assert/strict";
import { test } from "node:test";
import { EventData } from "./sse.ts";

/** The data of all events when a stream comes in these pieces. */
function read(...pieces: string[]): string[] {
  const events = new EventData();
  return [...pieces.flatMap((piece) => events.push(piece)), ...events.end()];
}

test("events are the same however the stream is cut", () => {
  const stream = 'data: {"a":1}\r\n\r\n: keep-alive\n\ndata:two\n\nevent: x\ndata: three\ndata:  four\nid: 7\n\ndata: [DONE]\n\n';
  const whole = ['{"a":1}', "two", "three\n four", "[DONE]"];
  assert.deepEqual(read(stream), whole);
  assert.deepEqual(read(...stream), whole);
  for (let cut = 1; cut < stream.length; cut += 1) assert.deepEqual(read(stream.slice(0, cut), stream.slice(cut)), whole);
});

test("line ends of old systems, fields without a value, and a last event without its end are read", () => {
  assert.deepEqual(read("data: one\r\rdata: two\r\r"), ["one", "two"]);
  assert.deepEqual(read("data\n\n"), [""]);
  assert.deepEqual(read("data: last"), ["last"]);
  assert.deepEqual(read("data: last\r"), ["last"]);
  assert.deepEqual(read("", "\n\n", "dataset: no\n\n", ": only a comment"), []);
});

test("an event comes when it is whole, not when the next begins", () => {
  const events = new EventData();
  assert.deepEqual(events.push("data: one\n"), []);
  assert.deepEqual(events.push("\n"), ["one"]);
});

test("an event without end is given up before it fills the memory", () => {
  const events = new EventData();
  const piece = "x".repeat(1 << 20);
  assert.throws(() => {
    for (let count = 0; count < 8; count += 1) events.push(`data: ${piece}\n`);
  }, RangeError);
  assert.throws(() => {
    const line = new EventData();
    for (let count = 0; count < 8; count += 1) line.push(piece);
  }, RangeError);
});
