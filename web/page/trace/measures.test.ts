import assert from "node:assert/strict";
import { test } from "node:test";
import type { Selection } from "lyn";
import {
  allLayers,
  countShades,
  denseShades,
  denseShare,
  mostMissed,
  ranks,
  selectionShades,
  SHADES,
} from "./measures.ts";

const selection = (indices: number[], scores: number[], length: number, dense?: number[]): Selection => ({
  layer: 0,
  position: length - 1,
  indices: Uint32Array.from(indices),
  scores: Float32Array.from(scores),
  contextLength: length,
  ...(dense && { dense: Float32Array.from(dense) }),
});

test("ranks order by score, equal scores by position", () => {
  assert.deepEqual([...ranks(selection([2, 4, 6, 8], [1, 3, 3, -2], 10))], [2, 0, 1, 3]);
});

test("an eighth of the selected tokens gets each shade, whatever the scores' scale", () => {
  const scores = Array.from({ length: 64 }, (_, i) => Math.exp(i));
  const shades = selectionShades(
    selection(
      scores.map((_, i) => i),
      scores,
      70,
    ),
  );
  for (let shade = 1; shade <= SHADES; shade += 1) assert.equal(shades.filter((s) => s === shade).length, 8);
  assert.equal(shades[63], SHADES);
  assert.equal(shades[65], 0, "not selected");
});

test("a lone token gets the strongest shade", () => {
  assert.deepEqual([...selectionShades(selection([1], [-5], 3))], [0, SHADES, 0]);
});

test("without scores all that was read is shaded alike", () => {
  assert.deepEqual([...selectionShades(selection([0, 2], [], 3))], [SHADES / 2, 0, SHADES / 2]);
});

test("dense shades fall by tenths of the row's largest", () => {
  assert.deepEqual([...denseShades(Float32Array.of(0.5, 0.05, 0.005, 0.0004, 0))], [8, 6, 3, 0, 0]);
  assert.deepEqual([...denseShades(Float32Array.of(0, 0))], [0, 0]);
});

test("all layers are one selection, scored by how many chose a position", () => {
  const sum = allLayers([selection([0, 2], [7, 1], 4, [0.5, 0.25, 0.25, 0]), selection([2], [1], 4)]);
  assert.ok(sum);
  assert.deepEqual(
    [[...sum.indices], [...sum.scores]],
    [
      [0, 2],
      [1, 2],
    ],
  );
  assert.deepEqual([...(sum.dense ?? [])], [0.5, 0.25, 0.25, 0], "only layers with dense weights are averaged");
  assert.deepEqual([...countShades(sum, 2)], [4, 0, 8, 0]);
  assert.deepEqual([...countShades(sum, 61)], [1, 0, 1, 0], "chosen once in 61 layers still shows");
  assert.equal(allLayers([]), undefined);
  assert.equal(allLayers([selection([0], [1], 1)])?.dense, undefined);
});

test("the share is the selected part of all dense weight", () => {
  assert.equal(denseShare(selection([0, 2], [1, 1], 4, [0.5, 0.25, 0.125, 0.125])), 0.625);
  assert.equal(denseShare(selection([0], [1], 4)), null);
  assert.equal(denseShare(selection([0], [1], 1, [0])), 0);
});

test("the most missed tokens are the heaviest outside the selection, in order", () => {
  const missed = mostMissed(selection([1], [1], 5, [0.125, 0.5, 0.0625, 0.25, 0]), 2);
  assert.deepEqual(missed, [
    { position: 3, weight: 0.25 },
    { position: 0, weight: 0.125 },
  ]);
  assert.equal(mostMissed(selection([1], [1], 5, [0.125, 0.5, 0.0625, 0.25, 0]), 9).length, 3);
});
