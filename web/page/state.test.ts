// Walks through the page's states, without a page.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Problem } from "./client.ts";
import { canAsk, next, share, type Event, type State } from "./state.ts";

const boot: State = { name: "boot", since: 0 };
const problem: Problem = { code: "internal", message: "", help: [] };
const download = {
  stage: "download",
  loaded: 5,
  total: 10,
  bytesPerSecond: 1,
  file: "a",
  index: 0,
  files: 1,
  fromCache: false,
} as const;
const walk = (from: State, ...events: Event[]): State => events.reduce(next, from);
const load: Event = { type: "load", model: "stories", now: 1 };
const ready = walk(boot, load, { type: "loaded" });

test("a model is fetched, made ready, asked, and answers", () => {
  const fetched = walk(boot, load, { type: "progress", progress: download, now: 2 });
  assert.deepEqual(fetched, { name: "downloading", model: "stories", progress: download, paused: false, since: 1 });
  assert.equal(share(fetched), 0.5);
  const made = walk(fetched, { type: "progress", progress: { stage: "compile", done: 1, total: 4 }, now: 3 });
  assert.equal(made.name, "loading");
  assert.equal(share(made), 0.25);
  const asked = walk(
    made,
    { type: "loaded" },
    { type: "ask", now: 4 },
    { type: "prompt", done: 3, total: 12, cached: 0 },
  );
  assert.deepEqual(asked, { name: "prefill", done: 3, total: 12, cached: 0, since: 4 });
  const writing = walk(asked, { type: "tokens", tokens: 1, now: 5 }, { type: "tokens", tokens: 7, now: 6 });
  assert.deepEqual(writing, { name: "decode", tokens: 7, since: 5 });
  assert.equal(walk(writing, { type: "end", reason: "stop" }).name, "ready");
  assert.deepEqual(walk(writing, { type: "end", reason: "length" }), { name: "stopped", reason: "length" });
});

test("each stage of loading has a clock of its own, which its progress does not reset", () => {
  const upload = (loaded: number, now: number): Event => ({
    type: "progress",
    progress: { stage: "upload", loaded, total: 9 },
    now,
  });
  const first = walk(boot, load, upload(1, 10), upload(2, 20));
  assert.equal("since" in first && first.since, 10);
  const then = walk(first, { type: "progress", progress: { stage: "check" }, now: 30 });
  assert.equal("since" in then && then.since, 30);
});

test("what comes too late changes nothing", () => {
  const chosen = walk(boot, load, { type: "choose" });
  for (const late of [
    { type: "progress", progress: download, now: 9 },
    { type: "loaded" },
    { type: "tokens", tokens: 3, now: 9 },
    { type: "end", reason: "stop" },
    { type: "restored" },
    { type: "pause" },
    { type: "quota", problem, usage: 1, allowance: 2 },
    { type: "ask", now: 9 },
    { type: "lost", reason: "", attempt: 1, now: 9 },
  ] satisfies Event[])
    assert.equal(next(chosen, late), chosen, late.type);
  const paused = walk(boot, load, { type: "pause" });
  assert.equal(next(paused, { type: "progress", progress: download, now: 9 }), paused);
});

test("a device that is lost comes back, with or without an answer in the making", () => {
  const lost: Event = { type: "lost", reason: "reset", attempt: 1, now: 7 };
  const writing = walk(ready, { type: "ask", now: 4 }, { type: "tokens", tokens: 1, now: 5 });
  const broken = next(writing, lost);
  assert.equal(broken.name === "recovering" && broken.interrupted, true);
  const idle = next(ready, lost);
  assert.equal(idle.name === "recovering" && idle.interrupted, false);
  // Said twice (by the answer and by the engine), it stays one loss with one clock.
  const again = next(broken, { ...lost, attempt: 2, now: 99 });
  assert.equal(again.name === "recovering" && again.since, 7);
  assert.equal(again.name === "recovering" && again.interrupted, true);
  assert.equal(
    walk(again, { type: "progress", progress: { stage: "upload", loaded: 1, total: 4 }, now: 8 }, { type: "restored" })
      .name,
    "ready",
  );
  assert.equal(walk(again, { type: "fail", during: "recovery", problem }).name, "failed");
});

test("an answer that failed does not keep people from asking again; a load that failed does", () => {
  assert.equal(canAsk(next(ready, { type: "fail", during: "answer", problem })), true);
  assert.equal(canAsk(next(ready, { type: "fail", during: "load", problem })), false);
  assert.equal(canAsk(next(boot, load)), false);
});

test("the mark of a crash is of no interest once a model is there or under way", () => {
  const mark = { model: "m", bytes: 1, context: null, at: 0, tab: "t" };
  assert.equal(next(boot, { type: "cameBack", mark }).name, "cameBack");
  assert.equal(next(ready, { type: "cameBack", mark }), ready);
});

test("storage that is full while fetching offers a choice", () => {
  const full = walk(boot, load, { type: "quota", problem, usage: 1, allowance: 2 });
  assert.deepEqual(full, { name: "quota", model: "stories", problem, usage: 1, allowance: 2 });
});

test("a server is asked, may still load or want a key, and is there", () => {
  const asked = walk(boot, { type: "connect", now: 3 });
  assert.deepEqual(asked, { name: "connecting", loads: false, since: 3 });
  const loads = walk(asked, { type: "serverLoads" });
  assert.deepEqual(loads, { name: "connecting", loads: true, since: 3 });
  assert.equal(walk(loads, { type: "loaded" }).name, "ready");
  assert.deepEqual(walk(loads, { type: "key", refused: false }), { name: "key", refused: false });
  assert.equal(canAsk(loads) || canAsk({ name: "key", refused: true }), false);
  // Said after somebody has chosen otherwise.
  assert.equal(next(ready, { type: "serverLoads" }), ready);
});
