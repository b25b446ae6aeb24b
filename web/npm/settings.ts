// Callers' options in the engine's form, with its defaults.

import type { EngineOptions } from "./wasm/lyn.js";
import type { CoreOptions } from "./protocol.js";
import type { SamplingOptions, TraceOptions } from "./types.js";

export function drawSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
}

export function sampled(o: SamplingOptions) {
  return {
    maxTokens: o.maxTokens ?? null,
    temperature: o.temperature ?? null,
    topP: o.topP ?? null,
    seed: o.seed ?? drawSeed(),
    stop: o.stop ?? [],
  };
}

export function traced(trace: TraceOptions | undefined) {
  if (!trace) return null;
  return { layers: trace.layers === "all" ? null : trace.layers, dense: trace.dense ?? false };
}

export function engineOptions(o: CoreOptions): EngineOptions {
  return {
    context: typeof o.context === "number" ? o.context : null,
    maxContext: o.context === "max",
    cacheType: o.cacheType ?? "f32",
    dense: o.attention === "dense",
    indexTopk: o.indexTopk ?? null,
    force: o.force ?? false,
    powerPreference: o.powerPreference ?? null,
    selfCheck: false,
  };
}
