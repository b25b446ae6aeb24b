// dist/: index.js (with core.js, loaded where workers have no GPU), worker.js in one piece, the WebAssembly, stories.
import { copyFileSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, "dist");
rmSync(dist, { recursive: true, force: true });
mkdirSync(join(dist, "stories"), { recursive: true });

const shared = { bundle: true, format: "esm", target: "es2022", minify: true, legalComments: "none", logLevel: "warning" };
// A bundler that copies worker.js as it is copies nothing else, so that it must not import.
await build({ ...shared, entryPoints: [join(here, "worker.ts")], outfile: join(dist, "worker.js") });
await build({
  ...shared,
  entryPoints: [join(here, "index.ts")],
  outdir: dist,
  splitting: true,
  chunkNames: "[name]-[hash]",
});

copyFileSync(join(here, "wasm", "lyn_bg.wasm"), join(dist, "lyn_bg.wasm"));
const stories = join(here, "..", "..", "models", "stories");
for (const file of readdirSync(stories)) {
  if (file !== "MODEL_CARD.md" && !file.startsWith("golden")) copyFileSync(join(stories, file), join(dist, "stories", file));
}
for (const licence of ["LICENSE-MIT", "LICENSE-APACHE"]) copyFileSync(join(here, "..", "..", licence), join(dist, licence));
