import assert from "node:assert/strict";
import { test } from "node:test";
import type { Plan } from "lyn";
import { contextSteps, scalePlan } from "./estimate.ts";

const plan = {
  model_type: "deepseek_v32",
  layers: 6,
  parameters: 1,
  formats: [],
  max_position_embeddings: 2048,
  context: 1000,
  sequences: 1,
  chunk: 128,
  stored_bytes: 500,
  weights_bytes: 500,
  cache_bytes: 4000,
  cache_type: "f32",
  cache_narrowed: false,
  cache_parts: 1,
  scratch_bytes: 100,
  total_bytes: 4600,
  available_bytes: 10_000,
  limit: null,
  fit: "fits",
} as Plan;

test("only the cache grows, and the verdict follows", () => {
  assert.deepEqual(scalePlan(plan, 1000), plan);
  const double = scalePlan(plan, 2000);
  assert.deepEqual([double.cache_bytes, double.total_bytes, double.fit], [8000, 8600, "fits"]);
  assert.equal(scalePlan(plan, 2200).fit, "tight");
  assert.equal(scalePlan(plan, 3000).fit, "does_not_fit");
  const limited: Plan = { ...plan, limit: "layer 0 latent cache needs …", fit: "does_not_fit" };
  assert.deepEqual([500, 1000, 2000].map((context) => scalePlan(limited, context).fit), ["fits", "does_not_fit", "does_not_fit"]);
  assert.equal(scalePlan({ ...plan, available_bytes: null }, 3000).fit, "unknown");
});

test("the slider goes in even steps to the model's limit and passes the present context", () => {
  assert.deepEqual(contextSteps(2048, 2048), [256, 384, 512, 768, 1024, 1536, 2048]);
  assert.deepEqual(contextSteps(1000, 700), [256, 384, 512, 700, 768, 1000]);
  assert.equal(contextSteps(163_840, 4096).at(-1), 163_840);
  assert.deepEqual(contextSteps(100, 100), [100]);
});
