// The runtime's corpus of malformed checkpoints, where `usize` has 32 bits: each is refused with its class, none panics.
// `LYN_CORPUS=FOLDER cargo test -p lyn-runtime --test malformed` writes it.

import { mkdtempSync, readFileSync, readdirSync } from "node:fs";
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
  const corpus = mkdtempSync(join(tmpdir(), "lyn-corpus-"));
  execFileSync("cargo", ["test", "--locked", "--quiet", "-p", "lyn-runtime", "--test", "malformed"], {
    cwd: repository,
    env: { ...process.env, LYN_CORPUS: corpus },
    stdio: "pipe",
  });
  const cases = readdirSync(corpus).map((folder) => {
    const told = JSON.parse(readFileSync(join(corpus, folder, "case.json"), "utf8")) as Case;
    return { folder, ...told };
  });
  expect(cases.length).toBeGreaterThan(150);
  // Read in Node and handed over: the page may only talk to its own origin.
  await page.route(`${site.url}/corpus/**`, (route) =>
    route.fulfill({ path: join(corpus, new URL(route.request().url()).pathname.slice("/corpus/".length)) }),
  );
  await page.goto(`${site.url}/blank.html`);
  const wrong = await page.evaluate(async (cases) => {
    const lyn = await import("/lyn/index.js" as string);
    const wrong: string[] = [];
    for (const { folder, what, files, classes } of cases) {
      const read = async (name: string) =>
        new File([await (await fetch(`/corpus/${folder}/files/${encodeURIComponent(name)}`)).blob()], name);
      try {
        await lyn.verify(await Promise.all(files.map(read)));
        wrong.push(`${what}: loaded`);
      } catch (error) {
        const { code, message, details } = error as { code: string; message: string; details: Record<string, string> };
        // The package itself misses files that are not there, before the runtime looks.
        const missing = code === "model_not_found";
        if (!missing && !classes.includes(details["class"] ?? "")) wrong.push(`${what}: ${code}: ${message}`);
      }
    }
    return wrong;
  }, cases);
  expect(wrong).toEqual([]);
});
