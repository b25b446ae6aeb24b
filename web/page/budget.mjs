// What a first visit fetches before it can be used, compressed as a server would: printed, held to its budget, and held
// against the figures of docs/performance.md.
import { readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

/** JavaScript and CSS, and WebAssembly. */
const BUDGET = 120_000;
const WASM_BUDGET = 1_800_000;

const dist = fileURLToPath(new URL("../dist/", import.meta.url));
const zipped = (name) => gzipSync(readFileSync(join(dist, name)), { level: 9 }).length;
const line = (bytes, what) => console.log(`${(bytes / 1000).toFixed(1).padStart(8)} kB  ${what}`);

const html = readFileSync(join(dist, "index.html"), "utf8");
const first = new Set([...html.matchAll(/(?:src|href)="\.\/([^"]+\.(?:js|css))"/g)].map((found) => found[1]));
// The package and its worker are fetched at once, and so is the panel that is open from the start on wide screens.
const folder = readdirSync(dist).find((name) => name.startsWith("lyn-"));
if (!folder) throw new Error("the package is missing from the page");
for (const file of ["index.js", "worker.js"]) first.add(`${folder}/${file}`);
for (const name of readdirSync(join(dist, "assets"))) if (/^(attention|panels|clock|save)-/.test(name)) first.add(`assets/${name}`);
// Static imports come along; dynamic ones (other panels, formulas) only when they are needed.
for (const name of first) {
  if (!name.endsWith(".js")) continue;
  const imports = readFileSync(join(dist, name), "utf8").matchAll(/(?:from|import)\s*["']\.\/([\w.-]+\.js)["']/g);
  for (const [, file] of imports) first.add(posix.join(posix.dirname(name), file));
}

let total = 0;
for (const name of [...first].sort()) {
  const bytes = zipped(name);
  total += bytes;
  line(bytes, name);
}
line(total, `JavaScript and CSS of a first visit, gzip, of ${BUDGET / 1000} kB`);
const wasm = zipped(`${folder}/lyn_bg.wasm`);
line(wasm, `WebAssembly, gzip, of ${WASM_BUDGET / 1000} kB`);

const said = readFileSync(new URL("../../docs/performance.md", import.meta.url), "utf8");
const wrong = [
  [total, BUDGET, /\| JavaScript and CSS of a first visit \| (\d+) kB/],
  [wasm, WASM_BUDGET, /\| WebAssembly \| (\d+) kB/],
].flatMap(([bytes, budget, row]) => {
  if (bytes > budget) return [`${bytes} bytes are over the budget of ${budget}`];
  const figure = Number(row.exec(said)?.[1]) * 1000;
  // Compilers differ by a little from machine to machine.
  return Math.abs(bytes / figure - 1) < 0.05 ? [] : [`docs/performance.md says ${figure} bytes, found ${bytes}: ${row.source}`];
});
for (const what of wrong) console.error(what);
if (wrong.length > 0) process.exit(1);
