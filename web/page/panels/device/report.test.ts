import assert from "node:assert/strict";
import { test } from "node:test";
import type { AdapterInfo, ConformReport } from "lyn";
import { mayHaveFasterGpu, reportMarkdown } from "./report.ts";

const adapter: AdapterInfo = {
  index: 0,
  name: "GPU X",
  kind: "discrete",
  backend: "webgpu",
  driver: "",
  shader_f16: true,
  subgroups: [8, 8],
  timestamps: false,
  max_buffer_bytes: 1,
  max_binding_bytes: 1,
};
const facts = {
  adapter,
  selfCheck: { passed: true, fromCache: false },
  worker: true,
  agent: "Browser/1",
  limits: { a: 1 },
  features: [],
};
const report: ConformReport = {
  schema: "lyn.conform/1",
  adapter,
  kernels: [
    { kernel: "add", cases: 3, worst: 0.25, ms: 1, failures: [] },
    { kernel: "topk", cases: 4, worst: 12, ms: 1, failures: [{ case: "n=4", found: "place 1: got 2, expected 3" }] },
  ],
  cases: 7,
  passed: false,
  elapsed_ms: 1500,
};

test("a report leads with what failed, and carries all of it as JSON", () => {
  const text = reportMarkdown(facts, report);
  assert.match(text, /FAILED in topk, 2 kernels, 7 cases, 1\.5 s/);
  assert.ok(text.indexOf("| topk |") < text.indexOf("| add |"));
  assert.match(text, /- topk, n=4: place 1: got 2, expected 3/);
  assert.match(text, /GPU X \(discrete, webgpu, driver unknown\)/);
  const json: unknown = JSON.parse(/```json\n([\s\S]*?)\n```/.exec(text)?.[1] ?? "");
  assert.deepEqual(json, { ...facts, conformance: report });
});

test("a report without a run, or without an adapter, says so", () => {
  const text = reportMarkdown({ ...facts, adapter: null, selfCheck: null }, null);
  assert.match(text, /adapter: none/);
  assert.match(text, /self-check: not run/);
  assert.doesNotMatch(text, /conformance:/);
});

test("the hint about a second GPU is for Windows with an adapter that is not discrete", () => {
  const windows = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)";
  assert.ok(mayHaveFasterGpu(windows, "integrated"));
  assert.ok(!mayHaveFasterGpu(windows, "discrete"));
  assert.ok(!mayHaveFasterGpu("Mozilla/5.0 (X11; Linux x86_64)", "integrated"));
  assert.ok(!mayHaveFasterGpu(windows, undefined));
});
