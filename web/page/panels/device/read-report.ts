// A conformance report from elsewhere: `lyn conform --report FILE`, or this page's own JSON. In: text of unknown origin.
// Out: the report, or null where it is none.

import type { AdapterInfo, ConformReport, KernelReport } from "lyn";

/** Reports are a few kilobytes. */
export const MOST_BYTES = 2 ** 22;
const MOST_KERNELS = 1000;

type Fields = Record<string, unknown>;

const fields = (value: unknown): Fields | null =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : null;
const text = (value: unknown): string => (typeof value === "string" ? value.slice(0, 1000) : "");
/** JSON writes numbers beyond all bounds as null. */
const number = (value: unknown): number => (typeof value === "number" ? value : Infinity);

const KINDS: readonly AdapterInfo["kind"][] = ["discrete", "integrated", "virtual", "software", "other"];

function adapterOf(value: unknown): AdapterInfo {
  const known = fields(value) ?? {};
  return {
    index: 0,
    name: text(known.name) || "?",
    kind: KINDS.find((kind) => kind === known.kind) ?? "other",
    backend: text(known.backend),
    driver: text(known.driver),
    shader_f16: known.shader_f16 === true,
    subgroups: [0, 0],
    timestamps: known.timestamps === true,
    max_buffer_bytes: 0,
    max_binding_bytes: 0,
  };
}

function failureOf(value: unknown): { case: string; found: string } {
  const known = fields(value) ?? {};
  return { case: text(known.case), found: text(known.found) };
}

function kernelOf(value: unknown): KernelReport | null {
  const known = fields(value);
  if (!known || !text(known.kernel) || !Number.isSafeInteger(known.cases) || !Array.isArray(known.failures))
    return null;
  return {
    kernel: text(known.kernel),
    cases: number(known.cases),
    worst: number(known.worst),
    ms: number(known.ms),
    failures: known.failures.slice(0, 100).map(failureOf),
  };
}

export function readReport(source: string): ConformReport | null {
  let value: unknown;
  try {
    value = JSON.parse(source);
  } catch {
    return null;
  }
  const known = fields(value);
  if (known?.schema !== "lyn.conform/1" || !Array.isArray(known.kernels) || known.kernels.length > MOST_KERNELS)
    return null;
  const kernels = known.kernels.map(kernelOf);
  if (kernels.length === 0 || kernels.some((kernel) => kernel === null)) return null;
  const whole = kernels.filter((kernel) => kernel !== null);
  // Times of the single kernels stand for a total that is not there.
  const times = known.kernels.map((kernel) => fields(kernel)?.ms).filter((ms) => typeof ms === "number");
  return {
    schema: "lyn.conform/1",
    adapter: adapterOf(known.adapter),
    kernels: whole,
    cases: whole.reduce((sum, { cases }) => sum + cases, 0),
    passed: whole.every(({ failures }) => failures.length === 0),
    elapsed_ms: typeof known.elapsed_ms === "number" ? known.elapsed_ms : times.reduce((a, b) => a + b, 0),
  };
}
