// Bundles every *.test.ts of the page and runs them with Node's own runner, from web/: Node 20 reads no TypeScript.
import { spawn } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const here = fileURLToPath(new URL(".", import.meta.url));
const wanted = process.argv.slice(2);
const names = (await readdir(here, { recursive: true })).filter(
  (name) => name.endsWith(".test.ts") && !name.includes("node_modules") && (wanted.length === 0 || wanted.some((word) => name.includes(word))),
);
if (names.length === 0) throw new Error(`no test file matches ${wanted.join(" ")}`);
// Inside the page's folder, so that packages are found.
const out = await mkdtemp(join(here, ".tests-"));
try {
  await build({
    configFile: false,
    root: here,
    logLevel: "warn",
    build: {
      ssr: true,
      outDir: out,
      minify: false,
      rolldownOptions: { input: Object.fromEntries(names.map((name) => [name.replace(/\.ts$/, "").replaceAll(/[/\\]/g, "-"), join(here, name)])) },
    },
  });
  const files = (await readdir(out)).filter((name) => name.endsWith(".test.js")).map((name) => join(out, name));
  const child = spawn(process.execPath, ["--test", ...files], { stdio: "inherit", cwd: join(here, "..") });
  process.exitCode = await new Promise((resolve) => child.on("exit", (code) => resolve(code ?? 1)));
} finally {
  await rm(out, { recursive: true });
}
