import assert from "node:assert/strict";
import { test } from "node:test";
import type { Result } from "lyn";
import { cut } from "./answers.tsx";

const PIECES = ["One", " day", " æ", " cat", " sat"];
const client = { detokenize: async (ids: ArrayLike<number>) => Array.from(ids, (id) => PIECES[id]).join("") };
const result = (ids: number[], text: string) => ({ ids: Uint32Array.from(ids), text }) as Result;

test("an answer is cut before and after the token that differs", async () => {
  const pieces = await cut(result([0, 1, 3, 4], "One day cat sat"), 2, client);
  assert.deepEqual(pieces, { common: "One day", differing: " cat", rest: " sat" });
});

test("answers that are the same have nothing to mark", async () => {
  assert.deepEqual(await cut(result([0, 1], "One day"), null, client), { common: "One day", differing: "", rest: "" });
});

test("an answer that ended before the other has no differing token", async () => {
  assert.deepEqual(await cut(result([0, 1], "One day"), 2, client), { common: "One day", differing: "", rest: "" });
});

test("a text that its ids do not spell is shown whole", async () => {
  assert.deepEqual(await cut(result([3, 1], " unlike"), 1, client), { common: "", differing: "", rest: " unlike" });
});
