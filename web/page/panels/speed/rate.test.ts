import assert from "node:assert/strict";
import { test } from "node:test";
import { present, rates } from "./rate.ts";

const every = (ms: number, count: number, from = 0) => Array.from({ length: count }, (_, i) => from + i * ms);

test("an even stream has one speed, whatever the number of points", () => {
  for (const points of [3, 50]) {
    const line = rates(every(50, 400), points);
    assert.ok(line.length > 1 && line.length <= points + 1, `${line.length} points`);
    for (const { rate } of line) assert.ok(Math.abs(rate - 20) < 1e-9, `${rate}`);
  }
});

test("a stream that slows down shows it", () => {
  const line = rates([...every(20, 100), ...every(200, 30, 2180)]);
  assert.ok((line[0]?.rate ?? 0) > 45 && (line.at(-1)?.rate ?? 99) < 6);
});

test("too few tokens have no speed; two at the same moment do not divide by zero", () => {
  assert.deepEqual(rates([]), []);
  assert.deepEqual(rates([5]), []);
  assert.deepEqual(rates([5, 5]), []);
  assert.equal(present([5]), null);
  assert.equal(present([5, 5]), null);
});

test("the present speed looks back two seconds only", () => {
  assert.equal(present([0, 10, 20, 10_000, 10_500, 11_000]), 2);
});
