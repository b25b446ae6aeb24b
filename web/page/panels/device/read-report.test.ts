import assert from "node:assert/strict";
import { test } from "node:test";
import { readReport } from "./read-report.ts";

const written = (kernels: unknown, more = {}) =>
  JSON.stringify({
    schema: "lyn.conform/1",
    adapter: { name: "GPU X", kind: "discrete", backend: "vulkan" },
    kernels,
    ...more,
  });

test("a report of the terminal is read: its failures are objects, its times those of the kernels", () => {
  const report = readReport(
    written(
      [
        { kernel: "add", cases: 3, worst: 0.5, ms: 2, failures: [] },
        { kernel: "topk", cases: 4, worst: null, ms: 3, failures: [{ case: "n=4", found: "got 2" }] },
      ],
      { passed: true },
    ),
  );
  assert.ok(report);
  assert.deepEqual(
    [report.cases, report.elapsed_ms, report.passed],
    [7, 5, false],
    "the kernels decide, not the claim",
  );
  assert.deepEqual(report.kernels[1], { kernel: "topk", cases: 4, worst: Infinity, ms: 3, failures: [{ case: "n=4", found: "got 2" }] });
  assert.deepEqual([report.adapter.name, report.adapter.kind, report.adapter.driver], ["GPU X", "discrete", ""]);
});

test("a report of this page is read back", () => {
  const report = readReport(
    written([{ kernel: "add", cases: 3, worst: 0.5, ms: 7, failures: [{ case: "a", found: "b" }] }], { elapsed_ms: 12 }),
  );
  assert.equal(report?.elapsed_ms, 12);
  assert.deepEqual(report.kernels[0]?.failures, [{ case: "a", found: "b" }]);
});

test("anything else is no report", () => {
  const bad = [
    "",
    "null",
    "[]",
    "{}",
    "[".repeat(1e5),
    written([]),
    written({}),
    written([null]),
    written([{ kernel: "a" }]),
    written([{ kernel: "a", cases: 1.5, failures: [] }]),
    written([{ kernel: 4, cases: 1, failures: [] }]),
    JSON.stringify({ schema: "lyn.conform/2", kernels: [{ kernel: "a", cases: 1, worst: 0, failures: [] }] }),
    written(Array.from({ length: 1001 }, () => ({ kernel: "a", cases: 1, worst: 0, failures: [] }))),
  ];
  for (const source of bad) assert.equal(readReport(source), null, source.slice(0, 80));
});
