// The npm package in a real browser: the same numbers as the other executors, and what its functions promise.
// Oracles: models/stories/golden.json (transformers), tests/data/golden (transformers), the kernels' references.

import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { KernelReport } from "lyn";
import { type Page, expect, rememberCheck, repository, test } from "./fixtures.js";

interface GoldenCase {
  name: string;
  prompt: string;
  ids: number[];
  greedy: number[];
  text: string;
  /** Whether the last id is the one that ends texts, which an answer does not hold. */
  stopped: boolean;
  margins: number[];
}

const golden = JSON.parse(readFileSync(join(repository, "models/stories/golden.json"), "utf8")) as { cases: GoldenCase[] };
/** Where the two best logits are nearer than this, two right implementations may choose differently. */
const MARGIN = 1e-3;

/** The first step whose id is not the expected one although the choice was not close. */
function departure(expected: GoldenCase, got: number[]): string | null {
  const answer = expected.stopped ? expected.greedy.slice(0, -1) : expected.greedy;
  const step = answer.findIndex((id, i) => got[i] !== id);
  if (step < 0 || (expected.margins[step] ?? 0) < MARGIN) return null;
  return `${expected.name}: step ${step}: ${got[step]} instead of ${expected.greedy[step]}`;
}

// One page and one engine for all that do not break it: loading takes a second.
let page: Page;

test.beforeAll(async ({ browser, site }) => {
  page = await browser.newPage();
  await rememberCheck(page, site);
  await page.goto(`${site.url}/blank.html`);
  await page.evaluate(async () => {
    window.lyn = await import("/lyn/index.js" as string);
    window.engine = await window.lyn.load("stories", { context: 1024 });
  });
});

test.afterAll(() => page.close());

test("probe tells of the adapter", async () => {
  const support = await page.evaluate(() => window.lyn.probe());
  expect(support).toMatchObject({ ok: true, adapter: { backend: "webgpu", kind: "software" } });
});

test("greedy continuations of stories are those of transformers", async () => {
  expect(golden.cases).toHaveLength(9);
  for (const expected of golden.cases) {
    const got = await page.evaluate(async ({ ids, length }) => {
      const generation = window.engine.generate(ids, { temperature: 0, maxTokens: length });
      const result = await generation.result;
      return { ids: [...result.ids], text: result.text };
    }, { ids: expected.ids, length: expected.greedy.length });
    expect(departure(expected, got.ids), expected.name).toBeNull();
    if (!expected.text.includes("<")) expect(got.text).toBe(expected.text);
  }
});

for (const folder of ["a_base", "g_fp8_official", "o_gguf_k_quants", "p_int4_compressed_tensors", "q_mlx_4bit"]) {
  test(`every stage of the golden checkpoint ${folder}, its greedy ids included`, async ({ site }) => {
    const files = readdirSync(join(repository, "tests/data/golden", folder));
    const report = await page.evaluate(async ({ url, files }) => {
      const read = async (name: string) => new File([await (await fetch(url + name)).blob()], name);
      return window.lyn.conformGolden(await Promise.all(files.map(read)));
    }, { url: `${site.url}/golden/${folder}/`, files });
    expect(report.stages.filter((stage) => !stage.passed)).toEqual([]);
    expect(report.stages.map((stage) => stage.stage)).toContain("greedy.ids");
    expect(report.stages.length).toBeGreaterThan(10);
  });
}

// The whole of it, every kernel's cases on this browser's WGSL compiler, is run from the page: panels.spec.ts.
test("conformance tells of each kernel as it is done, and a signal ends it", async () => {
  const { rejected, told } = await page.evaluate(async () => {
    const told: KernelReport[] = [];
    const abort = new AbortController();
    const onKernel = (kernel: KernelReport) => {
      told.push(kernel);
      if (told.length === 3) abort.abort(new Error("enough"));
    };
    const conform = window.lyn.conform({ onKernel, signal: abort.signal });
    return { rejected: await conform.then(() => "", (error: Error) => error.message), told };
  });
  expect(rejected).toBe("enough");
  expect(new Set(told.map(({ kernel }) => kernel)).size).toBe(told.length);
  // One more may be done before the signal arrives.
  expect(told.length).toBeLessThan(5);
  for (const { cases, failures } of told) {
    expect(cases).toBeGreaterThan(0);
    expect(failures).toEqual([]);
  }
});

test("tokens stream, and their text is the result's", async () => {
  const got = await page.evaluate(async () => {
    const prompts: number[] = [];
    const generation = window.engine.generate("Once upon a time", {
      temperature: 0.6,
      seed: 7,
      maxTokens: 40,
      onPrompt: ({ done }) => prompts.push(done),
    });
    const tokens = [];
    const times: number[] = [];
    for await (const token of generation) {
      tokens.push(token);
      times.push(performance.now());
    }
    return { tokens, prompts, result: await generation.result, spread: (times.at(-1) ?? 0) - (times[0] ?? 0) };
  });
  expect(got.tokens.map((token) => token.text).join("")).toBe(got.result.text);
  expect(got.result.text.length).toBeGreaterThan(40);
  expect(got.result.usage.completion_tokens).toBe(40);
  expect(got.result.finish_reason).toBe("length");
  expect(got.prompts.at(-1)).toBe(got.result.usage.prompt_tokens);
  // They came while it worked and not at its end: forty tokens take this adapter far longer than this.
  expect(got.spread).toBeGreaterThan(100);
});

test("a seed repeats an answer", async () => {
  const [first, second, third] = await page.evaluate(async () => {
    const texts = [];
    for (const seed of [1, 1, 2]) {
      texts.push((await window.engine.generate("The dog", { temperature: 1, seed, maxTokens: 30 }).result).text);
    }
    return texts;
  });
  expect(second).toBe(first);
  expect(third).not.toBe(first);
});

test("leaving the loop, stop() and a signal end the work; only the signal rejects", async () => {
  const got = await page.evaluate(async () => {
    const options = { temperature: 0, maxTokens: 800 };
    const left = window.engine.generate("Once", options);
    for await (const _ of left) break;
    const stopped = window.engine.generate("Once", options);
    let count = 0;
    for await (const _ of stopped) if (++count === 3) stopped.stop();
    const abort = new AbortController();
    const aborted = window.engine.generate("Once", { ...options, signal: abort.signal });
    let thrown = "";
    try {
      for await (const _ of aborted) abort.abort(new Error("enough"));
    } catch (error) {
      thrown = (error as Error).message;
    }
    const started = performance.now();
    const after = await window.engine.generate("Once", { temperature: 0, maxTokens: 2 }).result;
    return {
      left: await left.result,
      stopped: await stopped.result,
      count,
      thrown,
      rejected: await aborted.result.then(() => "", (error: Error) => error.message),
      after: after.ids.length,
      waited: performance.now() - started,
    };
  });
  expect(got.left.finish_reason).toBe("cancelled");
  expect(got.stopped.finish_reason).toBe("cancelled");
  expect(got.stopped.usage.completion_tokens).toBeLessThan(100);
  expect(got.count).toBe(3);
  expect(got.thrown).toBe("enough");
  expect(got.rejected).toBe("enough");
  expect(got.after).toBe(2);
});

test("chat completions have OpenAI's shapes, streamed and whole, and say the same", async () => {
  const { chunks, whole, result } = await page.evaluate(async () => {
    const request = {
      // More than a page of the cache, which is 64 tokens.
      messages: [{ role: "user" as const, content: "Tell me a story about a frog. ".repeat(10) }],
      temperature: 0,
      max_tokens: 48,
    };
    const generation = window.engine.chat.completions.create({ ...request, stream: true });
    const chunks = [];
    for await (const chunk of generation) chunks.push(chunk);
    return { chunks, result: await generation.result, whole: await window.engine.chat.completions.create(request) };
  });
  expect(chunks[0]?.choices[0]?.delta.role).toBe("assistant");
  expect(chunks.at(-1)?.choices[0]?.finish_reason).toBe("length");
  const text = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");
  expect(text).toBe(whole.choices[0]?.message.content);
  expect(text).toBe(result.text);
  expect(whole.usage.total_tokens).toBe(whole.usage.prompt_tokens + 48);
  expect(chunks.flatMap((chunk) => chunk.lyn?.ids ?? [])).toEqual(Object.values(result.ids));
  // The second request found the first one's prompt in the cache, in whole pages.
  expect(whole.usage.prompt_cache_hit_tokens).toBeGreaterThanOrEqual(64);
});

test("a thought comes as reasoning_content, before the answer", async () => {
  const whole = await page.evaluate(() =>
    window.engine.chat.completions.create({
      messages: [{ role: "user", content: "Tell me a story about a cat." }],
      thinking: { type: "enabled" },
      temperature: 0,
      max_tokens: 200,
    }),
  );
  expect(whole.choices[0]?.message.reasoning_content).toBeTruthy();
  expect(whole.usage.completion_tokens_details.reasoning_tokens).toBeGreaterThan(0);
});

test("a trace says what every layer read, and what dense attention would weigh", async () => {
  const got = await page.evaluate(async () => {
    const story = await window.engine.generate("Once upon a time", { temperature: 0, maxTokens: 100 }).result;
    const ids = [...story.promptIds, ...story.ids];
    const trace = await window.engine.trace(ids, { layers: "all", dense: true });
    const last = trace.selections.filter((selection) => selection.position === ids.length - 1);
    return {
      tokens: trace.tokens.length,
      ids: ids.length,
      count: trace.selections.length,
      topk: trace.index_topk,
      last: last.map(({ layer, indices, scores, dense }) => ({
        layer,
        indices: [...indices],
        scores: scores.length,
        dense: [...(dense ?? [])],
      })),
    };
  });
  expect(got.tokens).toBe(got.ids);
  expect(got.count).toBe(got.ids * 6);
  expect(got.topk).toBe(64);
  expect(got.last.map(({ layer }) => layer)).toEqual([0, 1, 2, 3, 4, 5]);
  for (const { indices, scores, dense } of got.last) {
    expect(indices).toHaveLength(64);
    expect(scores).toBe(64);
    expect([...indices].sort((a, b) => a - b)).toEqual(indices);
    expect(dense).toHaveLength(got.ids);
    expect(dense.reduce((sum, weight) => sum + weight, 0)).toBeCloseTo(1, 4);
  }
});

test("tracing changes no token", async () => {
  const [plain, traced, selections] = await page.evaluate(async () => {
    const options = { temperature: 0, maxTokens: 80 };
    const plain = await window.engine.generate("Lily had a", options).result;
    const generation = window.engine.generate("Lily had a", { ...options, trace: { layers: [2] } });
    let selections = 0;
    for await (const token of generation) selections += token.selection?.length ?? 0;
    return [[...plain.ids], [...(await generation.result).ids], selections];
  });
  expect(traced).toEqual(plain);
  expect(selections).toBeGreaterThan(70);
});

test("sparse and dense attention are compared on one engine", async () => {
  const { comparison, model } = await page.evaluate(async () => {
    const comparison = await window.engine.compare(
      "Once upon a time",
      { attention: "sparse", indexTopk: 4 },
      { attention: "dense" },
      { maxTokens: 40 },
    );
    return { comparison, model: window.engine.model };
  });
  expect(comparison.firstDifference).not.toBeNull();
  expect(model.index_topk).toBe(64);
});

test("text goes to ids and back", async () => {
  const text = await page.evaluate(async () => window.engine.detokenize(await window.engine.tokenize("Blåbær på 東京 🫐")));
  expect(text).toBe("Blåbær på 東京 🫐");
});

test("the plan is known before weights are read, and is the loaded one's", async () => {
  const [planned, loaded] = await page.evaluate(async () => [
    await window.lyn.plan("stories", { context: 1024 }),
    window.engine.plan,
  ]);
  expect(planned).toEqual(loaded);
  expect(planned?.weights_bytes).toBeGreaterThan(8_000_000);
});

test("errors carry code, help and facts", async () => {
  const errors = await page.evaluate(async () => {
    const caught = async (run: () => Promise<unknown>) => {
      try {
        await run();
        return null;
      } catch (error) {
        const lyn = error as InstanceType<typeof window.lyn.LynError>;
        return { lyn: error instanceof window.lyn.LynError, code: lyn.code, message: lyn.message, help: lyn.help };
      }
    };
    const folder = [new File(['{"model_type": "deepseek_v32"}'], "config.json"), new File(["x"], "model.safetensors")];
    return {
      broken: await caught(() => window.lyn.load(folder)),
      empty: await caught(() => window.lyn.load([new File(["x"], "notes.txt")])),
      long: await caught(() => window.engine.generate("a ".repeat(3000)).result),
      context: await caught(() => window.lyn.load("stories", { context: 100_000 })),
      field: await caught(() => window.engine.chat.completions.create({ messages: [], temperature: 9 })),
    };
  });
  expect(errors.broken).toMatchObject({ lyn: true, code: "bad_checkpoint", message: expect.stringContaining("config.json") });
  expect(errors.empty).toMatchObject({ lyn: true, message: expect.stringContaining("config.json") });
  expect(errors.long).toMatchObject({ lyn: true, code: "context_overflow" });
  expect(errors.context).toMatchObject({ lyn: true, code: "bad_request" });
  expect(errors.field).toMatchObject({ lyn: true, code: "bad_request" });
  for (const error of Object.values(errors)) expect(error?.help.length).toBeGreaterThan(0);
});

test("weights pass through a small heap", async () => {
  const bytes = await page.evaluate(async () => {
    const glue = await import("/glue/lyn.js" as string);
    const wasm = await glue.default({ module_or_path: "/glue/lyn_bg.wasm" });
    const files = new Map<string, Promise<Uint8Array | undefined>>();
    const file = (name: string) => {
      const fetched = async () => {
        const response = await fetch(`/models/stories/${name}`);
        return response.ok ? new Uint8Array(await response.arrayBuffer()) : undefined;
      };
      if (!files.has(name)) files.set(name, fetched());
      return files.get(name);
    };
    const source = {
      size: async (name: string) => (await file(name))?.length,
      read: async (name: string, offset: number, length: number) => (await file(name))?.slice(offset, offset + length),
    };
    const options = {
      context: 2048,
      maxContext: false,
      cacheType: "f32" as const,
      dense: false,
      indexTopk: null,
      force: false,
      powerPreference: null,
      selfCheck: false,
    };
    const engine = await glue.Engine.load(source, options, () => true);
    const bytes = (wasm.memory as WebAssembly.Memory).buffer.byteLength;
    engine.close();
    return bytes;
  });
  console.log(`WebAssembly heap after loading stories: ${(bytes / 2 ** 20).toFixed(1)} MiB`);
  // Reliability: at most 512 MiB whatever the model; this one has 8.9 MB of weights, read in pieces.
  expect(bytes).toBeLessThan(64 << 20);
});
