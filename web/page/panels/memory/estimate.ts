// A plan for another context, where the engine cannot be asked for one.

import type { Plan } from "lyn";

/** The plan with its cache grown or shrunk to `context` tokens. Every token's cache rows have the same size; scratch
 * depends on the chunk, and is left as it is. */
export function scalePlan(plan: Plan, context: number): Plan {
  const cache_bytes = Math.round((plan.cache_bytes / Math.max(plan.context, 1)) * context);
  const total_bytes = plan.total_bytes - plan.cache_bytes + cache_bytes;
  // A limit that this context exceeds, longer ones exceed too; of shorter ones nobody can tell here.
  const limit = context < plan.context ? null : plan.limit;
  const verdict = limit ? "does_not_fit" : fit(total_bytes, plan.available_bytes);
  return { ...plan, context, cache_bytes, total_bytes, limit, fit: verdict };
}

/** The verdict of `lyn plan`: tight is less than a tenth left. */
function fit(total: number, available: number | null): Plan["fit"] {
  if (available === null) return "unknown";
  if (total > available) return "does_not_fit";
  return total > available * 0.9 ? "tight" : "fits";
}

/** Contexts that a slider offers up to the model's own limit: powers of two and the halves between them, ascending. */
export function contextSteps(limit: number, present: number): number[] {
  const steps = new Set([limit, present]);
  for (let power = 256; power <= limit; power *= 2) {
    steps.add(power);
    if (power * 1.5 <= limit) steps.add(power * 1.5);
  }
  return [...steps].filter((step) => step > 0 && step <= Math.max(limit, present)).sort((a, b) => a - b);
}
