import assert from "node:assert/strict";
import { test } from "node:test";
import type { Selection } from "lyn";
import { TraceStore } from "../../trace/store.ts";
import { AttentionState } from "./state.ts";
import { sortRows, tableRows } from "./table-view.tsx";
import { visible } from "./token-text.tsx";

const selection = (layer: number, indices: number[], scores: number[]): Selection => ({
  layer,
  position: 3,
  indices: Uint32Array.from(indices),
  scores: Float32Array.from(scores),
  dense: Float32Array.of(0.5, 0.25, 0.125, 0.125),
  contextLength: 4,
});

function shown(): AttentionState {
  const state = new AttentionState();
  const tokens = ["a", "b", "c", "d", "later"].map((text, id) => ({ id, text }));
  state.show({
    name: "x",
    store: TraceStore.from({
      model_type: "m",
      num_hidden_layers: 8,
      index_topk: 2,
      layers: [2, 5],
      tokens,
      selections: [selection(2, [0, 3], [1, 2]), selection(5, [0, 1], [4, 3])],
    }),
  });
  return state;
}

test("the newest token with a selection is shown; picking stays within the text, and can be undone", () => {
  const state = shown();
  assert.equal(state.query.value, 3);
  state.pick(99);
  assert.equal(state.query.value, 4);
  assert.equal(state.selection.value, undefined);
  state.pick(-1);
  assert.equal(state.query.value, 0);
  state.pointed.value = 2;
  assert.equal(state.query.value, 0, "a token that was picked stays while the pointer moves");
  state.pick(null);
  assert.equal(state.query.value, 3);
  state.pointed.value = 2;
  assert.equal(state.query.value, 2);
});

test("a layer that a file lacks gives way to one that it has", () => {
  const state = shown();
  state.layer.value = 7;
  state.show(state.file.value);
  assert.equal(state.layer.value, 2);
  state.show(null);
  assert.equal(state.file.value, null);
  assert.equal(state.length.value, 0);
});

test("all layers are counted, one layer is ranked", () => {
  const state = shown();
  assert.deepEqual([...state.shades.value], [8, 4, 0, 4]);
  state.layer.value = 2;
  assert.deepEqual([...state.shades.value], [4, 0, 0, 8]);
  assert.deepEqual([...state.denseShades.value], [8, 8, 7, 7]);
});

test("where attention was dense, its weights are what is shaded", () => {
  const state = shown();
  assert.equal(state.unselective.value, false);
  const tokens = state.store.value.tokens.slice();
  const all = { ...selection(2, [0, 1, 2, 3], []), scores: new Float32Array(0) };
  const trace = { ...state.store.value.toTrace(), index_topk: null, tokens, selections: [all] };
  state.show({ name: "dense", store: TraceStore.from(trace) });
  assert.equal(state.unselective.value, true);
  assert.deepEqual([...state.shades.value], [8, 8, 7, 7]);
  assert.equal(state.meaning.value, "dense");
});

test("the table has a row for each token in sight, and sorts with the missing last", () => {
  const state = shown();
  state.layer.value = 2;
  const rows = tableRows(state, state.store.value.tokens);
  assert.deepEqual(
    rows.map(({ text, score, layers, dense }) => [text, score, layers, dense]),
    [
      ["a", 1, 2, 0.5],
      ["b", null, 1, 0.25],
      ["c", null, 0, 0.125],
      ["d", 2, 1, 0.125],
    ],
  );
  assert.deepEqual(
    sortRows(rows, "score", true).map(({ text }) => text),
    ["d", "a", "b", "c"],
  );
  assert.deepEqual(
    sortRows(rows, "score", false).map(({ text }) => text),
    ["a", "d", "b", "c"],
  );
  assert.deepEqual(
    sortRows(rows, "dense", true).map(({ text }) => text),
    ["a", "b", "c", "d"],
  );
});

test("what cannot be seen in a token is made visible", () => {
  assert.deepEqual(["", " ", "  ", " a", "\t", "x\n\n", "\r\n", "\u0007", "\u00e6"].map(visible), [
    "◌",
    "␣",
    "␣␣",
    " a",
    "⇥",
    "x↵\n↵\n",
    "↵\n",
    "␇",
    "\u00e6",
  ]);
});
