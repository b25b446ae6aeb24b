// What can be told about a device: a short Markdown text for people, with the whole report as JSON below it.

import type { AdapterInfo, ConformReport } from "lyn";

export interface DeviceFacts {
  adapter: AdapterInfo | null;
  selfCheck: { passed: boolean; fromCache: boolean } | null;
  worker: boolean | null;
  /** The browser's own words for itself. */
  agent: string;
  limits: Record<string, number>;
  features: string[];
}

/** Kernels that failed come first, then those nearest to their bound. */
export function byConcern(report: ConformReport): ConformReport["kernels"] {
  return report.kernels.toSorted((a, b) => b.failures.length - a.failures.length || b.worst - a.worst);
}

/** English whatever the page's language: reports are read by the people who mend the kernels. */
export function reportMarkdown(facts: DeviceFacts, report: ConformReport | null): string {
  const { adapter } = facts;
  const check = facts.selfCheck ? (facts.selfCheck.passed ? "passed" : "FAILED") : "not run";
  const lines = [
    "### lyn device report",
    "",
    `- adapter: ${adapter ? `${adapter.name} (${adapter.kind}, ${adapter.backend}, ${adapter.driver || "driver unknown"})` : "none"}`,
    `- browser: ${facts.agent}`,
    `- self-check: ${check}`,
  ];
  if (report) {
    const failed = report.kernels.filter((kernel) => kernel.failures.length > 0);
    lines.push(
      `- conformance: ${report.passed ? "passed" : `FAILED in ${failed.map(({ kernel }) => kernel).join(", ")}`}, ` +
        `${report.kernels.length} kernels, ${report.cases} cases, ${(report.elapsed_ms / 1000).toFixed(1)} s`,
      "",
      "| kernel | cases | worst/bound | |",
      "|---|---:|---:|---|",
      ...byConcern(report).map(
        ({ kernel, cases, worst, failures }) =>
          `| ${kernel} | ${cases} | ${worst.toPrecision(3)} | ${failures.length > 0 ? `FAIL (${failures.length})` : "pass"} |`,
      ),
    );
    for (const { kernel, failures } of failed) {
      lines.push("", ...failures.slice(0, 5).map((failure) => `- ${kernel}, ${failure.case}: ${failure.found}`));
    }
  }
  const json = JSON.stringify({ ...facts, conformance: report }, null, 1);
  lines.push("", "<details><summary>JSON</summary>", "", "```json", json, "```", "", "</details>", "");
  return lines.join("\n");
}

/** Whether a browser on this system may be on the slower of two GPUs. */
export function mayHaveFasterGpu(agent: string, kind: AdapterInfo["kind"] | undefined): boolean {
  return /\bWindows\b/.test(agent) && (kind === "integrated" || kind === "software" || kind === "other");
}
