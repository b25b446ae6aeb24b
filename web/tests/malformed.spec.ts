// The runtime's corpus of malformed checkpoints, where `usize` has 32 bits: each is refused with its class, none panics.
// `LYN_CORPUS=FOLDER cargo test --workspace --test malformed` writes it.

import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { expect, repository, test } from "./fixtures.js";

interface Case {
  what: string;
  files: string[];
  classes: string[];
}

test("malformed checkpoints are refused as natively, and the instance survives", async ({ page, site }) => {
  // Where nothing is compiled yet, cargo has minutes of work.
  test.setTimeout(1_200_000);
  const corpus = mkdtempSync(join(tmpdir(), "lyn-corpus-"));
  // Of the whole workspace, so that features, and with them what is compiled, are those of `cargo test --workspace`.
  execFileSync("cargo", ["test", "--locked", "--quiet", "--workspace", "--test", "malformed"], {
    cwd: repository,
    env: { ...process.env, LYN_CORPUS: corpus },
    stdio: "pipe",
  });
  const cases = readdirSync(corpus).map((folder) => {
    const told = JSON.parse(readFileSync(join(corpus, folder, "case.json"), "utf8")) as Case;
    return { folder, ...told };
  });
  expect(cases.length).toBeGreaterThan(150);
  await page.route(`${site.url}/corpus/**`, (route) =>
    route.fulfill({ path: join(corpus, new URL(route.request().url()).pathname.slice("/corpus/".length)) }),
  );
  await page.goto(`${site.url}/blank.html`);
  // One instance for all, in the page: a panic would end it, and the next case would say so.
  const wrong = await page.evaluate(async (cases) => {
    const glue = await import("/glue/lyn.js" as string);
    await glue.default({ module_or_path: "/glue/lyn_bg.wasm" });
    const wrong: string[] = [];
    for (const { folder, what, files, classes } of cases) {
      const contents = new Map<string, Uint8Array>();
      for (const name of files) {
        const response = await fetch(`/corpus/${folder}/files/${encodeURIComponent(name)}`);
        contents.set(name, new Uint8Array(await response.arrayBuffer()));
      }
      const source = {
        gguf: glue.gguf_models(files)[0],
        size: async (name: string) => contents.get(name)?.length,
        read: async (name: string, offset: number, length: number) => contents.get(name)?.slice(offset, offset + length),
      };
      try {
        await glue.verify(source);
        wrong.push(`${what}: loaded`);
      } catch (error) {
        const { code, message, details } = error as { code: string; message: string; details?: { class?: string } };
        if (!classes.includes(details?.class ?? "")) wrong.push(`${what}: expected ${classes}, got ${code}: ${message}`);
      }
    }
    return wrong;
  }, cases);
  rmSync(corpus, { recursive: true });
  expect(wrong).toEqual([]);
});
