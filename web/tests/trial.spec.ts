// Forms that break their compiler: one request ends, the engine does not.

import { mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ChatRequest } from "lyn";
import { CSP } from "../page/csp.js";
import { type Page, expect, repository, test } from "./fixtures.js";
import { startServer } from "./server.js";

/** Code before the worker's own, for workers that a worker starts too: those do not pass Playwright's routes. It breaks trials. */
const hooks = {
  /** `trap` overwrites the memory of a trial, whose next step traps; `hang` keeps its thread busy for ever. */
  trial: `
    if (self.name === "lyn trial") {
      const channel = new BroadcastChannel("lyn-trials");
      const { instantiate } = WebAssembly;
      let memory;
      WebAssembly.instantiate = async (...options) => {
        const made = await instantiate.apply(WebAssembly, options);
        memory = made.exports.memory;
        return made;
      };
      channel.onmessage = ({ data }) => {
        if (data === "trap") new Uint8Array(memory.buffer).fill(255, 1024);
        channel.postMessage("done");
        if (data === "hang") for (;;);
      };
      channel.postMessage("started");
    }`,
  "no-gpu": `Object.defineProperty(WorkerNavigator.prototype, "gpu", { get: () => undefined });`,
  /** A browser whose workers start no workers. */
  "no-nesting": `delete self.Worker;`,
};

/** A site with a package whose worker has these hooks, open in the page. */
async function withWorker(page: Page, wanted: (keyof typeof hooks)[], run: () => Promise<void>): Promise<void> {
  const dist = join(repository, "web/npm/dist");
  const root = mkdtempSync(join(tmpdir(), "lyn-trial-"));
  for (const file of readdirSync(dist)) if (file !== "worker.js") symlinkSync(join(dist, file), join(root, file));
  const code = wanted.map((hook) => `{${hooks[hook]}}`).join("\n");
  writeFileSync(join(root, "worker.js"), `${code}\n${readFileSync(join(dist, "worker.js"), "utf8")}`);
  writeFileSync(join(root, "blank.html"), '<!doctype html><html lang="en"><title>blank</title></html>');
  const server = await startServer({ root, headers: { "content-security-policy": CSP } });
  try {
    await open(page, server.url, "index.js");
    await run();
  } finally {
    await server.close();
    rmSync(root, { recursive: true, force: true });
  }
}

declare global {
  interface Window {
    /** What trials and the engine told. */
    told: string[];
  }
}

async function open(page: Page, site: string, script: string): Promise<void> {
  await page.goto(`${site}blank.html`);
  await page.evaluate(async (script) => {
    window.told = [];
    new BroadcastChannel("lyn-trials").addEventListener("message", ({ data }) => window.told.push(data));
    window.lyn = await import(script);
    window.engine = await window.lyn.load("stories", { context: 1024, selfCheck: false });
    for (const type of ["lost", "restored", "failed"] as const) window.engine.addEventListener(type, () => window.told.push(type));
  }, `${site}${script}`);
}

type Told = { content: string | null } | { code: string; message: string; param: unknown };

/** One answer, or how it was refused. */
function ask(page: Page, more: Partial<ChatRequest>): Promise<Told> {
  return page.evaluate(async (more) => {
    const messages = [{ role: "user" as const, content: "Tell me a story." }];
    try {
      const answer = await window.engine.chat.completions.create({ messages, temperature: 0, max_tokens: 12, ...more, stream: false });
      return { content: answer.choices[0]?.message.content ?? null };
    } catch (error) {
      const { code, message, details } = error as { code: string; message: string; details: Record<string, unknown> };
      return { code, message, param: details["param"] };
    }
  }, more);
}

/** What `trap` or `hang` does to the trial that runs. */
function harm(page: Page, how: "trap" | "hang"): Promise<void> {
  return page.evaluate(
    (how) =>
      new Promise<void>((resolve) => {
        const channel = new BroadcastChannel("lyn-trials");
        channel.onmessage = ({ data }) => {
          if (data === "done") resolve();
        };
        channel.postMessage(how);
      }),
    how,
  );
}

const told = async (page: Page) => (await page.evaluate(() => window.told)).filter((what) => !["trap", "hang", "done"].includes(what));
const form = (schema: unknown) =>
  ({ response_format: { type: "json_schema", json_schema: { name: "answer", schema } } }) as Partial<ChatRequest>;
const yes = form({ const: "yes" });

for (const where of ["a worker", "the page"]) {
  test(`a trap of the compiler of forms ends one request of the engine in ${where}`, async ({ page }) => {
    await withWorker(page, where === "the page" ? ["no-gpu", "trial"] : ["trial"], async () => {
      expect(await page.evaluate(() => window.engine.worker)).toBe(where === "a worker");
      const free = await ask(page, {});
      expect(await told(page), "a free answer needs no trial").toEqual([]);
      expect(await ask(page, yes)).toEqual({ content: '"yes"' });
      expect(await told(page)).toEqual(["started"]);

      await harm(page, "trap");
      expect(await ask(page, yes)).toEqual({
        code: "grammar_too_complex",
        message: "the schema or grammar of response_format could not be compiled",
        param: "response_format",
      });
      expect(await ask(page, {}), "the same engine").toEqual(free);
      expect(await ask(page, yes)).toEqual({ content: '"yes"' });

      await harm(page, "hang");
      const refused = await ask(page, { ...yes, tools: [{ type: "function", function: { name: "f" } }] });
      expect(refused).toEqual({
        code: "grammar_too_complex",
        message: "the schema or grammar of response_format and tools took too long to compile",
        param: "response_format",
      });
      expect(await ask(page, {}), "the same engine").toEqual(free);
      expect(await ask(page, yes)).toEqual({ content: '"yes"' });
      expect(await told(page)).toEqual(["started", "started", "started"]);
    });
  });
}

test("whoever leaves during a trial ends it", async ({ page }) => {
  await withWorker(page, ["trial"], async () => {
    expect(await ask(page, yes)).toEqual({ content: '"yes"' });
    await harm(page, "hang");
    const [name, waited] = await page.evaluate(async (yes) => {
      const began = performance.now();
      const messages = [{ role: "user" as const, content: "Hello" }];
      const signal = AbortSignal.timeout(300);
      const left = window.engine.chat.completions.create({ messages, max_tokens: 12, ...yes, stream: false }, { signal });
      const name = await left.then(() => "answered", (error: Error) => error.name);
      return [name, performance.now() - began] as const;
    }, yes);
    expect(name).toBe("TimeoutError");
    expect(waited).toBeLessThan(4_000);
    expect(await ask(page, yes)).toEqual({ content: '"yes"' });
    expect(await told(page)).toEqual(["started", "started"]);
  });
});

test("where workers start no workers, forms are held without a trial", async ({ page }) => {
  await withWorker(page, ["no-nesting"], async () => {
    expect(await ask(page, yes)).toEqual({ content: '"yes"' });
    expect(await ask(page, form({ type: "sprocket" }))).toMatchObject({ code: "invalid_schema" });
  });
});

/** A value inside so many of these. */
function nested(depth: number, wrap: (inner: unknown) => unknown): unknown {
  let schema: unknown = { type: "boolean" };
  for (let n = 0; n < depth; n += 1) schema = wrap(schema);
  return schema;
}

/** Schemas that a compiler may choke on: each is answered or refused. */
const hostile: Record<string, unknown> = {
  "a bound of −2^63": { type: "integer", minimum: -9223372036854775808 },
  "a bound of −2^63 and its sibling": { type: "integer", minimum: -9223372036854775808, maximum: 9223372036854775807 },
  "an exclusive bound of −2^63": { type: "integer", exclusiveMinimum: -9223372036854775808 },
  "the largest double": { type: "number", minimum: -1.7976931348623157e308, maximum: 1.7976931348623157e308 },
  "the smallest double": { type: "number", exclusiveMinimum: 0, maximum: 5e-324 },
  "a large multiple below it": { type: "integer", maximum: 4096, multipleOf: 2147483647 },
  "a multiple of many digits": { type: "number", multipleOf: 1e-300 },
  "multiples of each other": { allOf: [{ type: "integer", multipleOf: 2147483647 }, { multipleOf: 2147483629 }] },
  "a long text": { type: "string", minLength: 4294967295 },
  "a text of any length": { type: "string", maxLength: 9007199254740991 },
  "a long list": { type: "array", items: { type: "integer" }, minItems: 1000000 },
  "a pattern that doubles": { type: "string", pattern: "^(([ab]{1,50}){1,50}){1,50}$" },
  "a pattern that looks back": { type: "string", pattern: "^(a|b)*a(a|b){30}$" },
  "a pattern of all letters": { type: "string", pattern: "^[\\p{L}\\p{N}]{1,1000}$" },
  "a pattern inside itself": { type: "string", pattern: `${"(".repeat(300)}a${")*".repeat(300)}` },
  "deep objects": nested(64, (inner) => ({ type: "object", properties: { a: inner } })),
  "deep lists": nested(120, (items) => ({ type: "array", items })),
  "deep choices": nested(31, (inner) => ({ anyOf: [inner, { type: "null" }] })),
  "doubled choices": nested(14, (inner) => ({ anyOf: [{ type: "array", items: inner }, { type: "object", properties: { a: inner } }] })),
  "many texts": { enum: Array.from({ length: 5000 }, (_, n) => `${"x".repeat(n % 40)}${n}`) },
  "many properties": { type: "object", properties: Object.fromEntries(Array.from({ length: 900 }, (_, n) => [`p${n}`, { type: "number" }])) },
  "a circle of references": { $ref: "#/$defs/a", $defs: { a: { $ref: "#/$defs/b" }, b: { $ref: "#/$defs/a" } } },
  "a tree without an end": { $ref: "#/$defs/a", $defs: { a: { type: "object", properties: { a: { $ref: "#/$defs/a" } } } } },
  "references that double": {
    $ref: "#/$defs/d20",
    $defs: Object.fromEntries(
      Array.from({ length: 21 }, (_, n) => [`d${n}`, n === 0 ? { type: "null" } : { type: "array", items: { anyOf: [{ $ref: `#/$defs/d${n - 1}` }, { $ref: `#/$defs/d${n - 1}` }] } }]),
    ),
  },
};

test("hostile forms are answered or refused, and the engine goes on", async ({ page, site }) => {
  await open(page, `${site.url}/`, "lyn/index.js");
  const free = await ask(page, {});
  const wrong: string[] = [];
  for (const [name, schema] of Object.entries(hostile)) {
    const parameters = { type: "object", properties: { x: schema } };
    const tool = (strict: boolean) => [{ type: "function" as const, function: { name: "f", parameters, strict } }];
    const ways = {
      response: form(schema),
      strict: { tools: tool(true), tool_choice: "required" },
      loose: { tools: tool(false), tool_choice: "required" },
    } as Record<string, Partial<ChatRequest>>;
    for (const [way, request] of Object.entries(ways)) {
      const answer = await ask(page, request);
      if ("code" in answer && !["invalid_schema", "grammar_too_complex", "bad_request"].includes(answer.code)) {
        wrong.push(`${name}, ${way}: ${answer.code}: ${answer.message}`);
      }
    }
  }
  expect(wrong).toEqual([]);
  expect(await ask(page, {})).toEqual(free);
  expect(await told(page)).toEqual([]);
});
