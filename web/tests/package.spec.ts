// The packed tarball, installed as its users would, in a Vite, an esbuild and a plain project: a text in each.

import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build as esbuild } from "esbuild";
import { build as vite } from "vite";
import { expect, rememberCheck, repository, test } from "./fixtures.js";
import { startServer } from "./server.js";

const main = `
import { load } from "lyn";
const engine = await load("stories", { selfCheck: false });
const result = await engine.generate("Once upon a time", { temperature: 0, maxTokens: 12 }).result;
document.querySelector("output").textContent = result.text;
await engine.unload();
`;
const html = (script: string) =>
  `<!doctype html><html lang="en"><title>test</title><output></output><script type="module" src="${script}"></script></html>`;
const installed = "node_modules/lyn/dist";

let tarball: string;
let root: string;

test.beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "lyn-package-"));
  const packed = execFileSync("npm", ["pack", "--json", "--pack-destination", root], {
    cwd: join(repository, "web/npm"),
    encoding: "utf8",
  });
  const [description] = JSON.parse(packed) as { filename: string }[];
  tarball = join(root, description?.filename ?? "");
});

test.afterAll(() => rmSync(root, { recursive: true, force: true }));

function project(name: string): string {
  const folder = join(root, name);
  mkdirSync(folder);
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name, private: true, type: "module" }));
  execFileSync("npm", ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--offline", tarball], { cwd: folder });
  return folder;
}

/** Each way to a folder that a static server can show. */
const projects: Record<string, (folder: string) => Promise<string>> = {
  plain: async (folder) => {
    cpSync(join(folder, installed), join(folder, "lyn"), { recursive: true });
    writeFileSync(join(folder, "main.js"), main.replace('"lyn"', '"./lyn/index.js"'));
    writeFileSync(join(folder, "index.html"), html("./main.js"));
    return folder;
  },
  esbuild: async (folder) => {
    writeFileSync(join(folder, "main.js"), main);
    const out = join(folder, "out");
    // esbuild leaves URLs of files as they are: they are put beside the bundle.
    cpSync(join(folder, installed), out, { recursive: true });
    await esbuild({
      entryPoints: [join(folder, "main.js")],
      absWorkingDir: folder,
      bundle: true,
      format: "esm",
      outfile: join(out, "main.js"),
      logLevel: "error",
    });
    writeFileSync(join(out, "index.html"), html("./main.js"));
    return out;
  },
  vite: async (folder) => {
    writeFileSync(join(folder, "main.js"), main);
    writeFileSync(join(folder, "index.html"), html("./main.js"));
    await vite({ root: folder, base: "./", logLevel: "error", configFile: false, build: { target: "es2022" } });
    return join(folder, "dist");
  },
};

for (const [name, build] of Object.entries(projects)) {
  test(`a ${name} project generates text with the packed tarball`, async ({ page }) => {
    const server = await startServer({ root: await build(project(name)) });
    const errors: string[] = [];
    page.on("pageerror", (error) => errors.push(String(error)));
    try {
      await page.goto(`${server.url}index.html`);
      const output = page.locator("output");
      await expect(output, errors.join("; ")).toHaveText(", there was a little girl named Lily. She loved to");
      expect(errors).toEqual([]);
    } finally {
      await server.close();
    }
  });
}

test("the examples of the documents run", async ({ page, site }) => {
  const [readme, own, docs] = ["README.md", "web/npm/README.md", "docs/npm.md"].map((file) => {
    const text = readFileSync(join(repository, file), "utf8");
    return [...text.matchAll(/```js\n([\s\S]*?)```/g)].map(([, code]) => code ?? "");
  });
  const [first, chat] = docs ?? [];
  const examples = [...(readme ?? []), ...(own ?? []), first, `import { load } from "lyn";\nconst engine = await load();\n${chat}`];
  expect(examples).toHaveLength(4);
  await rememberCheck(page, site);
  await page.goto(`${site.url}/blank.html`);
  for (const example of examples) {
    const body = `${example?.replace('"lyn"', '"/lyn/index.js"')}\nexport {};`;
    await page.route("**/example.js*", (route) => route.fulfill({ contentType: "text/javascript", body }));
    const text = await page.evaluate(async (query) => {
      document.body.replaceChildren();
      await import(`/example.js?${query}`);
      return document.body.textContent;
    }, String(Math.random()));
    expect(text?.length, example).toBeGreaterThan(100);
    await page.unroute("**/example.js*");
  }
});

test("the package has types, no dependencies, and imports without a browser", () => {
  const folder = project("types");
  const manifest = JSON.parse(readFileSync(join(folder, "node_modules/lyn/package.json"), "utf8"));
  expect(manifest.dependencies).toBeUndefined();
  writeFileSync(
    join(folder, "use.ts"),
    `import { load, LynError, type Progress, type TokenEvent } from "lyn";
     const engine = await load("stories", { onProgress: (progress: Progress) => console.log(progress.stage) });
     for await (const token of engine.generate("Once", { maxTokens: 3 })) { const event: TokenEvent = token; console.log(event.text); }
     const stream = engine.chat.completions.create({ messages: [{ role: "user", content: "Hi" }], stream: true });
     for await (const chunk of stream) console.log(chunk.choices[0]?.delta.content);
     const code: string = new LynError("internal", "x").code; console.log(code);
     // @ts-expect-error a misspelt option is an error
     await load("stories", { contxt: 3 });`,
  );
  const options = "--noEmit --strict --skipLibCheck false --target es2022 --module esnext --moduleResolution bundler";
  const compiler = join(repository, "web/node_modules/typescript/bin/tsc");
  execFileSync("node", [compiler, ...options.split(" "), "--lib", "es2023,dom,dom.asynciterable,esnext.disposable", "use.ts"], {
    cwd: folder,
    stdio: "pipe",
  });
  const said = execFileSync("node", ["--input-type=module", "-e", 'import { probe } from "lyn"; console.log((await probe()).code)'], {
    cwd: folder,
    encoding: "utf8",
  });
  expect(said.trim()).toBe("no_adapter");
});
