// Builds the page into web/dist: hashed files, relative addresses, the package `lyn` beside it as it was published, the
// policy in the document's head, and the offline shell's list of files.
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig, type Plugin } from "vite";
import { CSP } from "./csp.ts";

const here = fileURLToPath(new URL(".", import.meta.url));
const engine = join(here, "../npm/dist");

function filesOf(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => statSync(join(folder, name)).isFile())
    .map((name) => name.split(sep).join("/"))
    .sort();
}

/** Files of the package that a browser fetches. */
function engineFiles(): Map<string, Uint8Array<ArrayBuffer>> {
  if (!existsSync(join(engine, "index.js"))) throw new Error(`build the package first: no ${relative(here, engine)}/index.js`);
  const wanted = filesOf(engine).filter((name) => /\.(js|wasm)$/.test(name) || name.startsWith("stories/"));
  return new Map(wanted.map((name) => [name, new Uint8Array(readFileSync(join(engine, name)))]));
}

/** The package stands in a folder named after its content, so that a new one is never mixed with an old one. */
function lyn(): Plugin {
  let files = new Map<string, Uint8Array<ArrayBuffer>>();
  let folder = "";
  return {
    name: "lyn",
    config(_, { command }) {
      if (command === "serve") return { define: { __LYN_PATH__: JSON.stringify(`/@fs${engine}/`) } };
      files = engineFiles();
      const hash = createHash("sha256");
      for (const [name, content] of files) hash.update(name).update(content);
      folder = `lyn-${hash.digest("hex").slice(0, 10)}`;
      return { define: { __LYN_PATH__: JSON.stringify(`./${folder}/`) } };
    },
    generateBundle() {
      for (const [name, source] of files) this.emitFile({ type: "asset", fileName: `${folder}/${name}`, source });
    },
  };
}

/** The policy, as the first thing in the head; while developing, Vite's own inline code would break it. */
function policy(): Plugin {
  return {
    name: "csp",
    apply: "build",
    transformIndexHtml: {
      order: "post",
      handler: () => [{ tag: "meta", attrs: { "http-equiv": "Content-Security-Policy", content: CSP }, injectTo: "head-prepend" }],
    },
  };
}

/** Writes the list of all files, and a version made of it, into the service worker. */
function shell(): Plugin {
  return {
    name: "shell",
    apply: "build",
    enforce: "post",
    generateBundle: {
      order: "post",
      handler(_, bundle) {
        const worker = bundle["sw.js"];
        if (worker?.type !== "chunk") throw new Error("sw.js is missing");
        const names = Object.keys(bundle).filter((name) => name !== "sw.js" && !name.endsWith(".map"));
        names.push(...filesOf(join(here, "public")));
        const hash = createHash("sha256");
        for (const name of names) {
          const part = bundle[name];
          hash.update(name);
          if (part) hash.update(part.type === "chunk" ? part.code : part.source);
        }
        // "./" is the document as people ask for it.
        const list = ["./", ...names.filter((name) => name !== "index.html").map((name) => `./${name}`)];
        worker.code = worker.code
          .replace(/["'`]__VERSION__["'`]/, () => JSON.stringify(hash.digest("hex").slice(0, 12)))
          .replace(/["'`]__FILES__["'`]/, () => JSON.stringify(JSON.stringify(list)));
      },
    },
  };
}

export default defineConfig({
  base: "./",
  root: here,
  plugins: [lyn(), policy(), shell()],
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  resolve: { dedupe: ["preact", "@preact/signals"] },
  server: { fs: { allow: [join(here, "..")] } },
  build: {
    outDir: "../dist",
    emptyOutDir: true,
    target: "es2022",
    // Files as data: addresses would need img-src data:.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rolldownOptions: {
      input: { index: join(here, "index.html"), sw: join(here, "sw.ts") },
      output: { entryFileNames: ({ name }) => (name === "sw" ? "sw.js" : "assets/[name]-[hash].js") },
    },
  },
});
