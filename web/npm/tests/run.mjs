// Bundles each test file and runs them with Node's own runner: Node 20 reads no TypeScript.
import { build } from "esbuild";
import { spawn } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));
const wanted = process.argv.slice(2);
const names = (await readdir(here)).filter((name) => name.endsWith(".test.ts"));
const chosen = names.filter((name) => wanted.length === 0 || wanted.some((word) => name.includes(word)));
if (chosen.length === 0) throw new Error(`no test file matches ${wanted.join(" ")}; there are: ${names.join(", ")}`);
const out = await mkdtemp(path.join(tmpdir(), "lyn-npm-tests-"));
try {
  await build({
    entryPoints: chosen.map((name) => path.join(here, name)),
    outdir: out,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    sourcemap: "inline",
    logLevel: "warning",
    define: {
      "process.env.MODELS": JSON.stringify(path.resolve(here, "../../../models")),
      "process.env.WASM": JSON.stringify(path.resolve(here, "../wasm/lyn_bg.wasm")),
    },
  });
  const files = chosen.map((name) => path.join(out, name.replace(/\.ts$/, ".mjs")));
  const child = spawn(process.execPath, ["--enable-source-maps", "--test", ...files], { stdio: "inherit" });
  process.exitCode = await new Promise((resolve) => child.on("exit", (code) => resolve(code ?? 1)));
} finally {
  await rm(out, { recursive: true });
}
