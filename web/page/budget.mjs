// What a first visit fetches before it can be used, compressed as a server would: printed, and held to its budget.
import { readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const BUDGET = 120_000;
const dist = fileURLToPath(new URL("../dist/", import.meta.url));
const zipped = (name) => gzipSync(readFileSync(join(dist, name)), { level: 9 }).length;

const html = readFileSync(join(dist, "index.html"), "utf8");
const first = new Set([...html.matchAll(/(?:src|href)="\.\/([^"]+\.(?:js|css))"/g)].map((found) => found[1]));
// Static imports come along; dynamic ones (panels, formulas) only when they are needed.
const folder = readdirSync(dist).find((name) => name.startsWith("lyn-"));
if (folder) first.add(`${folder}/index.js`);
for (const name of first)
  if (name.endsWith(".js"))
    for (const [, file] of readFileSync(join(dist, name), "utf8").matchAll(
      /(?:from|import)\s*["']\.\/([\w.-]+\.js)["']/g,
    ))
      first.add(posix.join(posix.dirname(name), file));

let total = 0;
for (const name of [...first].sort()) {
  const bytes = zipped(name);
  total += bytes;
  console.log(`${(bytes / 1000).toFixed(1).padStart(8)} kB  ${name}`);
}
console.log(`${(total / 1000).toFixed(1).padStart(8)} kB  first load, gzip, of ${BUDGET / 1000} kB`);
for (const name of readdirSync(join(dist, "assets")).filter(
  (file) => !first.has(`assets/${file}`) && /\.(js|css)$/.test(file),
))
  console.log(`${(zipped(`assets/${name}`) / 1000).toFixed(1).padStart(8)} kB  assets/${name} (later)`);
if (folder)
  for (const name of ["worker.js", "lyn_bg.wasm"])
    console.log(`${(zipped(`${folder}/${name}`) / 1000).toFixed(1).padStart(8)} kB  ${folder}/${name}`);
if (total > BUDGET) {
  console.error("the first load is over its budget");
  process.exit(1);
}
