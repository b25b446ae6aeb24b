// Forms that break their compiler: one request ends, the engine does not.

import { mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
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
    heard: string[];
  }
}

async function open(page: Page, site: string, script: string): Promise<void> {
  await page.goto(`${site}blank.html`);
  await page.evaluate(async (script) => {
    window.heard = [];
    new BroadcastChannel("lyn-trials").addEventListener("message", ({ data }) => window.heard.push(data));
    window.lyn = await import(script);
    window.engine = await window.lyn.load("stories", { context: 1024, selfCheck: false });
    for (const type of ["lost", "restored", "failed"] as const) window.engine.addEventListener(type, () => window.heard.push(type));
  }, `${site}${script}`);
}

/** Fields of a request that the package passes on without a type of its own. */
type Fields = Record<string, unknown>;
type Told = { content: string | null } | { code: string; message: string; param: unknown };

/** One answer, or how it was refused. */
function ask(page: Page, more: Fields): Promise<Told> {
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

const heard = async (page: Page) => (await page.evaluate(() => window.heard)).filter((what) => !["trap", "hang", "done"].includes(what));
const form = (schema: unknown): Fields => ({ response_format: { type: "json_schema", json_schema: { name: "answer", schema } } });
const yes = form({ const: "yes" });

for (const where of ["a worker", "the page"]) {
  test(`a trap of the compiler of forms ends one request of the engine in ${where}`, async ({ page }) => {
    await withWorker(page, where === "the page" ? ["no-gpu", "trial"] : ["trial"], async () => {
      expect(await page.evaluate(() => window.engine.worker)).toBe(where === "a worker");
      const free = await ask(page, {});
      expect(await heard(page), "a free answer needs no trial").toEqual([]);
      expect(await ask(page, yes)).toEqual({ content: '"yes"' });
      expect(await heard(page)).toEqual(["started"]);

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
      expect(await heard(page)).toEqual(["started", "started", "started"]);
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
    expect(await heard(page)).toEqual(["started", "started"]);
  });
});

test("where workers start no workers, forms are held without a trial", async ({ page }) => {
  await withWorker(page, ["no-nesting"], async () => {
    expect(await ask(page, yes)).toEqual({ content: '"yes"' });
    expect(await ask(page, form({ type: "sprocket" }))).toMatchObject({ code: "invalid_schema" });
  });
});

/** Puts stories with a chat template of its own in the engine's place. */
function template(page: Page, source: string): Promise<void> {
  return page.evaluate(async (source) => {
    const names = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
    const files = names.map(async (name) => new File([await (await fetch(`stories/${name}`)).blob()], name));
    const all = [...(await Promise.all(files)), new File([source], "chat_template.jinja")];
    window.engine = await window.lyn.load(all, { context: 1024, selfCheck: false });
  }, source);
}

/** Lists in lists: more of them than a browser's stack holds, made with less work than a template may do. */
const DEEP = "{% set ns = namespace(x=[]) %}{% for i in range(90000) %}{% set ns.x = [ns.x] %}{% endfor %}";

test("a model's own template renders in the browser, and one that traps ends its own request only", async ({ page }) => {
  await withWorker(page, ["trial"], async () => {
    const rendered = (text: string) =>
      page.evaluate(async (text) => {
        const messages = [{ role: "user" as const, content: text }];
        const render = window.engine.render({ messages }).then((ids) => window.engine.detokenize(ids));
        return render.catch((error: { code: string; message: string }) => `${error.code}: ${error.message}`);
      }, text);
    await template(page, "{% for message in messages %}[{{ message.role }}: {{ message.content }}]{% endfor %}");
    expect(await rendered("Hello </think>")).toBe("[user: Hello </think>]");
    expect(await heard(page)).toEqual(["started"]);

    await template(page, `{{ messages[0].content }}{% if messages[0].content == "deep" %}${DEEP}{% endif %}`);
    expect(await rendered("Hello")).toBe("Hello");
    expect(await rendered("deep")).toBe("bad_request: the model's chat template could not be rendered");
    expect(await rendered("Hello"), "the same engine").toBe("Hello");
    expect(await ask(page, {})).toHaveProperty("content");

    await template(page, "{% for %}");
    expect(await rendered("Hello")).toContain("chat_template.jinja");
  });
});

/** A value inside so many of these. */
function nested(depth: number, wrap: (inner: unknown) => unknown): unknown {
  let schema: unknown = { type: "boolean" };
  for (let n = 0; n < depth; n += 1) schema = wrap(schema);
  return schema;
}

/** Schemas that a compiler may choke on: each is answered or refused. JavaScript writes −2^63 as −9223372036854776000. */
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

/** What a request may be refused with: anything else, a trap above all, is a fault. */
const REFUSALS = ["invalid_schema", "grammar_too_complex", "bad_request", "context_overflow"];

test("hostile forms are compiled and followed, or refused: none traps", async ({ page, site }) => {
  await page.goto(`${site.url}/blank.html`);
  const requests = Object.entries(hostile).flatMap(([name, schema]) => {
    const parameters = { type: "object", properties: { x: schema } };
    const ways: Fields[] = [form(schema), { tools: [{ type: "function", function: { name: "f", parameters } }], tool_choice: "required" }];
    return ways.map((way) => ({ name, request: { messages: [{ role: "user", content: "x" }], ...way } }));
  });
  // As text: what Playwright makes of arguments that are nested so deeply takes it for ever. One instance for all: a trap would end it.
  const wrong = await page.evaluate(async ({ text, refusals }) => {
    const glue = await import("/glue/lyn.js" as string);
    await glue.default({ module_or_path: "/glue/lyn_bg.wasm" });
    const load = async (file: string) => {
      const response = await fetch(`/models/stories/${file}`);
      return response.ok ? new Uint8Array(await response.arrayBuffer()) : undefined;
    };
    const trial = await glue.Trial.open({
      size: async (file: string) => (await load(file))?.length,
      read: async (file: string, offset: number, length: number) => (await load(file))?.slice(offset, offset + length),
    });
    trial.prepare();
    const wrong: string[] = [];
    for (const { name, request } of JSON.parse(text) as { name: string; request: unknown }[]) {
      const began = performance.now();
      try {
        trial.check(JSON.stringify(request));
      } catch (error) {
        const { code, message } = error as { code?: string; message: string };
        if (!refusals.includes(code ?? "")) wrong.push(`${name}: ${code}: ${message}`);
      }
      if (performance.now() - began > 5_000) wrong.push(`${name}: took ${performance.now() - began} ms`);
    }
    return wrong;
  }, { text: JSON.stringify(requests), refusals: REFUSALS });
  expect(wrong).toEqual([]);
});

test("an engine answers after hostile forms", async ({ page, site }) => {
  await open(page, `${site.url}/`, "lyn/index.js");
  const free = await ask(page, {});
  for (const name of ["a bound of −2^63", "a large multiple below it", "a pattern that doubles"]) {
    const answer = await ask(page, { max_tokens: 2, ...form(hostile[name]) });
    if ("code" in answer) expect(REFUSALS, name).toContain(answer.code);
  }
  expect(await ask(page, {})).toEqual(free);
  expect(await heard(page)).toEqual([]);
});
