import assert from "node:assert/strict";
import { test } from "node:test";
import { parseTrace, readTrace, TraceFileError, writeTrace } from "./format.ts";

const HEADER = {
  schema: "lyn.trace/1",
  model_type: "deepseek_v32",
  num_hidden_layers: 3,
  index_topk: 2,
  layers: [0, 2],
};
const LINES = [
  HEADER,
  { position: 0, id: 7, text: "Æ" },
  { position: 0, layer: 0, indices: [0], scores: [1.5], dense: [1] },
  { position: 1, id: 9, text: " b\n", more: "is passed over" },
  { position: 1, layer: 2, indices: [0, 1], scores: [-0.25, 3] },
];
const file = (lines: unknown[]) => lines.map((line) => `${JSON.stringify(line)}\n`).join("");

test("a trace comes back as it was written", async () => {
  const trace = parseTrace(file(LINES));
  assert.deepEqual(trace.tokens, [
    { id: 7, text: "Æ" },
    { id: 9, text: " b\n" },
  ]);
  assert.deepEqual([...(trace.selections[1]?.scores ?? [])], [-0.25, 3]);
  assert.equal(trace.selections[1]?.contextLength, 2);
  assert.equal(trace.selections[0]?.dense?.[0], 1);
  assert.deepEqual(parseTrace(writeTrace(trace).join("")), trace);
  assert.deepEqual(await readTrace(new Blob([file(LINES)])), trace);
});

test("lines of later versions are passed over; dense attention has no scores", () => {
  const dense = { position: 0, layer: 0, indices: [0], scores: [], dense: [1] };
  const trace = parseTrace(
    file([{ ...HEADER, index_topk: null, note: "x" }, { version: 2 }, { position: 0, id: 1, text: "a" }, dense]),
  );
  assert.equal(trace.selections[0]?.scores.length, 0);
  assert.equal(trace.index_topk, null);
});

test("a file in slices that cut lines and characters is the same file", async () => {
  const text = "å".repeat(4000);
  const lines = [HEADER, ...Array.from({ length: 400 }, (_, position) => ({ position, id: 1, text }))];
  const trace = await readTrace(new Blob([file(lines).trimEnd()]));
  assert.equal(trace.tokens.length, 400);
  assert.ok(trace.tokens.every((token) => token.text === text));
});

// Each row: what is wrong, the lines, the line to be named, what is expected there, the key.
const BROKEN: [string, unknown[], number, string, string][] = [
  ["no line at all", [], 1, "content", ""],
  ["another schema", [{ ...HEADER, schema: "lyn.trace/2" }], 1, "schema", "schema"],
  ["a header without layers", [{ ...HEADER, layers: undefined }], 1, "layers", "layers"],
  ["a layer that the model lacks", [{ ...HEADER, layers: [0, 3] }], 1, "layers", "layers"],
  ["layers out of order", [{ ...HEADER, layers: [2, 0] }], 1, "layers", "layers"],
  ["more layers than any model", [{ ...HEADER, num_hidden_layers: 1e9 }], 1, "layerCount", "num_hidden_layers"],
  ["a fraction for topk", [{ ...HEADER, index_topk: 1.5 }], 1, "topk", "index_topk"],
  ["an array for a line", [HEADER, [1]], 2, "json", ""],
  ["a token far away", [HEADER, { position: 1e12, id: 1, text: "" }], 2, "position", "position"],
  ["a token twice", [...LINES, LINES[1]], 6, "once", "position"],
  ["a selection twice", [...LINES, LINES[2]], 6, "once", "layer"],
  ["a layer that is not listed", [HEADER, { position: 0, layer: 1, indices: [0], scores: [1] }], 2, "layer", "layer"],
  [
    "an index ahead of the token",
    [HEADER, { position: 0, layer: 0, indices: [1], scores: [1] }],
    2,
    "indices",
    "indices",
  ],
  [
    "indices that descend",
    [HEADER, { position: 5, layer: 0, indices: [3, 2], scores: [1, 1] }],
    2,
    "indices",
    "indices",
  ],
  ["an index twice", [HEADER, { position: 5, layer: 0, indices: [3, 3], scores: [1, 1] }], 2, "indices", "indices"],
  ["no indices", [HEADER, { position: 5, layer: 0, indices: [], scores: [] }], 2, "indices", "indices"],
  ["a score too few", [HEADER, { position: 5, layer: 0, indices: [1, 2], scores: [1] }], 2, "scores", "scores"],
  ["a score beyond f32", [HEADER, { position: 0, layer: 0, indices: [0], scores: [1e300] }], 2, "scores", "scores"],
  ["a score that is text", [HEADER, { position: 0, layer: 0, indices: [0], scores: ["1"] }], 2, "scores", "scores"],
  ["a dense weight too many", [{ ...HEADER }, { ...LINES[2], dense: [0.5, 0.5] }], 2, "dense", "dense"],
  ["a negative dense weight", [{ ...HEADER }, { ...LINES[2], dense: [-1] }], 2, "dense", "dense"],
  [
    "a selection without its token",
    [...LINES, { position: 2, layer: 0, indices: [0], scores: [1] }],
    6,
    "tokens",
    "position",
  ],
  ["a hole in the text", [HEADER, { position: 1, id: 1, text: "" }], 2, "tokens", "position"],
  ["a text without bound", [HEADER, { position: 0, id: 1, text: "x".repeat(5000) }], 2, "text", "text"],
];
for (const [what, lines, line, expectation, field] of BROKEN) {
  test(`turns away ${what}, by line`, () => {
    assert.throws(
      () => parseTrace(file(lines).trimEnd()),
      (error) => {
        assert.ok(error instanceof TraceFileError, String(error));
        assert.deepEqual([error.line, error.expectation, error.field], [line, expectation, field], error.message);
        assert.ok(error.message.length < 300, error.message);
        return true;
      },
    );
  });
}

test("turns away text that is not JSON, also deep nesting and half a line", () => {
  for (const bad of ["{", "\u0000", "[".repeat(1e6), `{"position":0,"id":1,"te`]) {
    assert.throws(() => parseTrace(`${JSON.stringify(HEADER)}\n${bad}`), { line: 2, expectation: "json" });
  }
});

test("turns away a file that is too large before it is read", async () => {
  const huge = { size: 2 ** 40, slice: () => assert.fail("was read") } as unknown as Blob;
  await assert.rejects(readTrace(huge), { expectation: "size" });
});
