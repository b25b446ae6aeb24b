import assert from "node:assert/strict";
import { test } from "node:test";
import type { Selection } from "lyn";
import { parseTrace, writeTrace } from "./format.ts";
import { TraceStore } from "./store.ts";

const select = (position: number, layer: number, indices = [0]): Selection => ({
  position,
  layer,
  indices: Uint32Array.from(indices),
  scores: new Float32Array(indices.length),
  contextLength: position + 1,
});
const token = (id: number) => ({ id, text: `<${id}>` });
const HEADER = { model_type: "m", num_hidden_layers: 4, index_topk: 2 };

test("grows token by token, and says so", () => {
  const store = new TraceStore();
  store.reset(HEADER);
  const before = store.revision.value;
  store.setTokens(0, [token(5), token(6)]);
  store.add([select(1, 3), select(1, 0)]);
  assert.ok(store.revision.value > before);
  assert.equal(store.last, 1);
  assert.deepEqual(store.layers, [0, 3]);
  assert.deepEqual(
    store.row(1).map((selection) => selection.layer),
    [0, 3],
  );
  assert.equal(store.at(0, 0), undefined);
});

test("a token that differs forgets what followed; the same token keeps it", () => {
  const store = new TraceStore();
  store.reset(HEADER);
  store.setTokens(0, [token(1), token(2), token(3)]);
  store.add([select(0, 0), select(1, 1), select(2, 0)]);
  store.setTokens(0, [token(1), token(2)]);
  assert.equal(store.tokens.length, 3);
  store.setTokens(1, [token(9)]);
  assert.deepEqual(
    store.tokens.map(({ id }) => id),
    [1, 9],
  );
  assert.deepEqual(store.layers, [0]);
  assert.equal(store.last, 0);
});

test("a selection that is known is replaced, not counted twice", () => {
  const store = new TraceStore();
  store.reset(HEADER);
  store.setTokens(0, [token(1)]);
  store.add([select(0, 2)]);
  store.add([select(0, 2)]);
  store.truncate(0);
  assert.ok(store.empty);
});

test("a text that comes later fills the token in; an empty one does not wipe it", () => {
  const store = new TraceStore();
  store.setTokens(0, [{ id: 1, text: "" }]);
  store.setTokens(0, [token(1)]);
  store.setTokens(0, [{ id: 1, text: "" }]);
  assert.equal(store.tokens[0]?.text, "<1>");
});

test("a token keeps its first text and its place in memory, and says nothing when nothing is new", () => {
  const store = new TraceStore();
  store.setTokens(0, [token(1), token(2)]);
  const [first, before] = [store.tokens[0], store.revision.value];
  store.setTokens(0, [{ id: 1, text: "other" }, token(2)]);
  store.add([]);
  store.truncate(5);
  assert.equal(store.tokens[0], first);
  assert.equal(store.revision.value, before);
});

test("goes through a file unchanged", () => {
  const store = new TraceStore();
  store.reset(HEADER);
  store.setTokens(0, [token(1), token(2)]);
  store.add([select(0, 1), select(1, 0, [0, 1])]);
  const again = TraceStore.from(parseTrace(writeTrace(store.toTrace()).join("")));
  assert.deepEqual(again.toTrace(), store.toTrace());
  assert.deepEqual(again.header, HEADER);
});
