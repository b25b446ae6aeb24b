// GGUF in a browser: by URL, in parts, with what lies beside it. Oracle: the greedy texts of stories, which 8 bits do not change.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "@playwright/test";
import { expect, rememberCheck, repository, test } from "./fixtures.js";
import { ggufOfStories } from "./gguf.js";
import { buildServer } from "./lyn-serve.js";

interface GoldenCase {
  name: string;
  ids: number[];
  greedy: number[];
  stopped: boolean;
}

const golden = JSON.parse(readFileSync(join(repository, "models/stories/golden.json"), "utf8")) as { cases: GoldenCase[] };

let page: Page;
let whole: string;
let parts: [string, string];

test.beforeAll(async ({ browser, site }) => {
  // Where nothing is compiled yet, cargo has minutes of work.
  test.setTimeout(1_200_000);
  buildServer();
  [whole, parts] = ggufOfStories(site.root);
  page = await browser.newPage();
  await rememberCheck(page, site);
  await page.goto(`${site.url}/blank.html`);
  await page.evaluate(async () => {
    window.lyn = await import("/lyn/index.js" as string);
  });
});
test.afterAll(() => page.close());
test.afterEach(({ site }) => site.server.reset());

/** The greedy continuation of a golden case by the engine that is loaded. */
function continued({ ids, greedy }: GoldenCase): Promise<number[]> {
  return page.evaluate(
    async ({ ids, length }) => [...(await window.engine.generate(ids, { temperature: 0, maxTokens: length }).result).ids],
    { ids, length: greedy.length },
  );
}

const expected = ({ greedy, stopped }: GoldenCase) => (stopped ? greedy.slice(0, -1) : greedy);

test("a GGUF file by its URL: planned from its header, resumed where it was cut, and its greedy texts are those of bf16", async ({ site }) => {
  const size = readFileSync(join(site.root, whole)).length;
  const url = `${site.url}/${whole}`;
  const plan = await page.evaluate((url) => window.lyn.plan(new URL(url), { context: 1024 }), url);
  expect([plan.parameters, plan.model_type]).toEqual([4_438_312, "deepseek_v32"]);
  expect(site.server.sent(whole)).toBeLessThan(size / 2);
  site.server.faults[whole] = { cut: 2 ** 21, times: 2 };
  const loaded = await page.evaluate(async (url) => {
    window.engine = await window.lyn.load(new URL(url), { context: 1024 });
    return { id: window.engine.model.id, plan: window.engine.plan };
  }, url);
  expect(loaded).toEqual({ id: url, plan });
  expect(site.server.requests.filter(({ path, headers }) => path === whole && /^bytes=[1-9]\d*-$/.test(headers.range ?? "")).length).toBeGreaterThan(0);
  expect(golden.cases).toHaveLength(9);
  for (const prompt of golden.cases) expect(await continued(prompt), prompt.name).toEqual(expected(prompt));
  // Kept as a folder is: nothing is asked again.
  await page.evaluate(() => window.engine.unload());
  site.server.reset();
  const again = await page.evaluate((url) => window.lyn.verify(new URL(url)), url);
  const asked = site.server.requests.filter(({ path }) => path.endsWith(".gguf"));
  expect([again.parameters, asked]).toEqual([4_438_312, []]);
});

test("in parts, by files, with a template beside them; forms are tried with the vocabulary of the header", async ({ site }) => {
  const made = await page.evaluate(
    async ({ url, parts }) => {
      const files = await Promise.all(parts.map(async (name) => new File([await (await fetch(url + name)).blob()], name)));
      const template = new File(["{% for message in messages %}[{{ message.content }}]{% endfor %}"], "chat_template.jinja");
      window.engine = await window.lyn.load([...files.toReversed(), template], { context: 256 });
      const messages = [{ role: "user" as const, content: "Tell me a story." }];
      const rendered = await window.engine.detokenize(await window.engine.render({ messages }));
      await window.engine.unload();
      window.engine = await window.lyn.load(files, { context: 256 });
      const schema = { type: "json_schema", json_schema: { name: "answer", schema: { const: "yes" } } };
      const request = { messages, max_tokens: 8, response_format: schema, stream: false };
      const answer = await window.engine.chat.completions.create(request as Parameters<typeof window.engine.chat.completions.create>[0] & { stream: false });
      return { rendered, answer: answer.choices[0]?.message.content };
    },
    { url: `${site.url}/`, parts },
  );
  expect(made).toEqual({ rendered: "[Tell me a story.]", answer: '"yes"' });
  const [first] = golden.cases;
  if (!first) throw new Error("there are golden cases");
  expect((await continued(first)).slice(0, 16)).toEqual(expected(first).slice(0, 16));
  await page.evaluate(() => window.engine.unload());
});

test("what is wrong with a GGUF file is said by its name", async ({ site }) => {
  const told = await page.evaluate(
    async ({ url, whole, parts }) => {
      const bytes = await (await fetch(url + whole)).arrayBuffer();
      const cut = (length: number) => [new File([bytes.slice(0, length)], "cut.gguf")];
      const refused = (model: File[] | URL) =>
        window.lyn.verify(model).then(
          () => "it is whole",
          (error: Error) => error.message,
        );
      return {
        header: await refused(cut(1000)),
        data: await refused(cut(3_000_000)),
        part: await refused([new File([bytes], parts[1])]),
        url: await refused(new URL(`${url}none-00001-of-00002.gguf`)),
      };
    },
    { url: `${site.url}/`, whole, parts },
  );
  expect(told).toEqual({
    header: expect.stringMatching(/^E-LEN: cut\.gguf: .*the file is cut$/),
    data: expect.stringMatching(/^E-OFFSET: cut\.gguf: tensor .*the file is cut/),
    part: `files lacks ${parts[0]}`,
    url: `${site.url}/none-00001-of-00002.gguf lacks none-00001-of-00002.gguf, none-00002-of-00002.gguf`,
  });
});
