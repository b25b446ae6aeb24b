import assert from "node:assert/strict";
import { test } from "node:test";
import { clampWindow, MAP_CELLS, MapCells, zoomWindow } from "./map.ts";

test("a short text has a cell for each pair", () => {
  const map = new MapCells(3);
  map.fill(2, Uint8Array.of(0, 5, 1));
  assert.deepEqual([map.bin, map.size], [1, 3]);
  assert.deepEqual([...map.cells], [0, 0, 0, 0, 0, 0, 0, 5, 1]);
});

test("a long text is binned, and a lone selection is not lost", () => {
  const map = new MapCells(MAP_CELLS * 4);
  const shades = new Uint8Array(4003);
  shades[4001] = 1;
  shades[4002] = 7;
  map.fill(4002, shades);
  assert.deepEqual([map.bin, map.size], [4, MAP_CELLS]);
  assert.equal(map.cells[1000 * MAP_CELLS + 1000], 7);
  assert.equal(map.cells.filter((cell) => cell > 0).length, 1);
});

test("what lies ahead of a query stays transparent", () => {
  const map = new MapCells(2);
  const pixels = new Uint8ClampedArray(16);
  map.paint(pixels, [[9, 9, 9]]);
  assert.deepEqual([...pixels], [9, 9, 9, 255, 0, 0, 0, 0, 9, 9, 9, 255, 9, 9, 9, 255]);
});

test("zooming holds the point under the pointer and stays on the map", () => {
  const length = 1200;
  const near = zoomWindow({ scale: 1, x: 0, y: 0 }, 4, 0.5, 1, length);
  assert.deepEqual(near, { scale: 4, x: 450, y: 900 });
  assert.deepEqual(zoomWindow(near, 1 / 8, 0, 0, length), { scale: 1, x: 0, y: 0 });
  assert.equal(clampWindow({ scale: 1e9, x: 0, y: 0 }, length).scale, 100);
  assert.deepEqual(clampWindow({ scale: 2, x: -5, y: 5000 }, length), { scale: 2, x: 0, y: 600 });
});
