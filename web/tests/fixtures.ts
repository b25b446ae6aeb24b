// What every browser test has: a site with the page, the package and golden checkpoints; and ways to break the worker.

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { type Browser, type BrowserContext, type Page, test as base } from "@playwright/test";
import type * as lyn from "lyn";
import { CSP } from "../page/csp.js";
import { type TestServer, startServer } from "./server.js";

export { expect, type Page } from "@playwright/test";

/** Folder of the repository. */
export const repository = resolve(fileURLToPath(import.meta.url), "../../..");

declare global {
  interface Window {
    /** The package and an engine, put there by tests of the package. */
    lyn: typeof lyn;
    engine: lyn.Lyn;
  }
}

export interface Site {
  /** Without a slash at its end. `/page/` is the page, `/blank.html` nothing, `/lyn/` the package, `/glue/` its WebAssembly alone, `/golden/` checkpoints,
   * `/hub/` a stand-in for the Hugging Face Hub with one repository. */
  url: string;
  /** The folder that it shows. */
  root: string;
  server: TestServer;
  /** Resident bytes of the browser's GPU process: a software adapter's buffers are there. */
  gpuMemory(browser: Browser): Promise<number>;
}

export const test = base.extend<object, { site: Site }>({
  site: [
    async ({}, use) => {
      const root = mkdtempSync(join(tmpdir(), "lyn-site-"));
      const link = (name: string, target: string) => symlinkSync(join(repository, target), join(root, name));
      link("page", "web/dist");
      link("lyn", "web/npm/dist");
      link("glue", "web/npm/wasm");
      link("golden", "tests/data/golden");
      link("models", "models");
      writeFileSync(join(root, "blank.html"), '<!doctype html><html lang="en"><title>blank</title></html>');
      hub(root);
      const server = await startServer({ root, headers: { "content-security-policy": CSP } });
      await use({ url: server.url.replace(/\/$/, ""), root, server, gpuMemory });
      await server.close();
      rmSync(root, { recursive: true, force: true });
    },
    { scope: "worker" },
  ],
});

async function gpuMemory(browser: Browser): Promise<number> {
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send("SystemInfo.getProcessInfo");
  await session.detach();
  const gpu = processInfo.find((process) => process.type === "GPU");
  if (!gpu) throw new Error(`no GPU process among ${processInfo.map((process) => process.type).join(", ")}`);
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${gpu.id}/status`, "utf8")) ?? [];
  return Number(kilobytes) * 1024;
}

/** Every file of the repository `hf:lyn-tests/stories`, as the Hub would list it. Tests of the page reach it with `withHook(page, "hub")`. */
function hub(root: string): void {
  const model = join(repository, "models/stories");
  const files = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
  const tree = files.map((path) => {
    const { size } = statSync(join(model, path));
    return { type: "file", path, size, oid: createHash("sha1").update(`${path} ${size}`).digest("hex") };
  });
  mkdirSync(join(root, "hub/api/models/lyn-tests/stories/tree"), { recursive: true });
  writeFileSync(join(root, "hub/api/models/lyn-tests/stories/tree/main"), JSON.stringify(tree));
  mkdirSync(join(root, "hub/lyn-tests/stories/resolve"), { recursive: true });
  symlinkSync(model, join(root, "hub/lyn-tests/stories/resolve/main"));
  // And one whose files are those that tests write to the root.
  mkdirSync(join(root, "hub/lyn-tests/made/resolve"), { recursive: true });
  symlinkSync(root, join(root, "hub/lyn-tests/made/resolve/main"));
}

/** Where the package remembers adapters that passed its self-check: a cache of the origin, with a request for each. */
export const CHECKS = "lyn-self-check";
const checks = join(repository, "web/tests/results/checks.json");

/** Keeps what the first visit found remembered: paths of the requests in `CHECKS`. */
export function keepChecks(paths: string[]): void {
  mkdirSync(dirname(checks), { recursive: true });
  writeFileSync(checks, JSON.stringify(paths));
}

/** Puts what the first visit left into the page's context, so that loading does not check the adapter again. Without a first visit it does. */
export async function rememberCheck(page: Page, site: Site): Promise<void> {
  if (!existsSync(checks)) return;
  const paths = JSON.parse(readFileSync(checks, "utf8")) as string[];
  await page.goto(`${site.url}/blank.html`);
  await page.evaluate(
    async ({ name, paths }) => {
      const cache = await caches.open(name);
      for (const path of paths) await cache.put(path, new Response("passed"));
    },
    { name: CHECKS, paths },
  );
}

/** Code that runs in the worker before its own: what tests break, they break from there, by a channel. */
const hooks = {
  /** `destroy` destroys the devices that were opened since the last time. */
  device: `
    const devices = [];
    const request = GPUAdapter.prototype.requestDevice;
    GPUAdapter.prototype.requestDevice = async function (...options) {
      const device = await request.apply(this, options);
      devices.push(device);
      return device;
    };
    new BroadcastChannel("lyn-test").addEventListener("message", ({ data }) => {
      if (data === "destroy") for (const device of devices.splice(0)) device.destroy();
    });`,
  /** The Hub is this site's `/hub/`: the test server counts, slows and breaks what is asked of it. */
  hub: `
    const { fetch } = self;
    self.fetch = (url, ...rest) => fetch(String(url).replace("https://huggingface.co/", location.origin + "/hub/"), ...rest);`,
  /** What the page asks of the worker, told on a channel: \`{ call, traced }\` for each call. */
  calls: `
    const told = new BroadcastChannel("lyn-calls");
    self.addEventListener("message", ({ data }) => {
      if (data.call) told.postMessage({ call: data.call, traced: Boolean(data.input?.trace) });
    });`,
  /** The browser's store is full after a megabyte. */
  quota: `
    const write = FileSystemSyncAccessHandle.prototype.write;
    let written = 0;
    FileSystemSyncAccessHandle.prototype.write = function (bytes, ...rest) {
      written += bytes.byteLength;
      if (written > 2 ** 20) throw new DOMException("the quota has been exceeded", "QuotaExceededError");
      return write.call(this, bytes, ...rest);
    };`,
  /** Devices with WebGPU's default limits and no feature, whatever the adapter offers. */
  "default-limits": `
    const request = GPUAdapter.prototype.requestDevice;
    GPUAdapter.prototype.requestDevice = function (options) {
      return request.call(this, { ...options, requiredLimits: {}, requiredFeatures: [] });
    };`,
  /** Workers without WebGPU, as in some browsers. */
  "no-gpu": `Object.defineProperty(WorkerNavigator.prototype, "gpu", { get: () => undefined });`,
  /** `panic` overwrites the engine's memory: its next step traps. */
  panic: `
    let memory;
    for (const name of ["instantiate", "instantiateStreaming"]) {
      const original = WebAssembly[name];
      WebAssembly[name] = async (...options) => {
        const made = await original.apply(WebAssembly, options);
        memory = (made.instance ?? made).exports.memory;
        return made;
      };
    }
    new BroadcastChannel("lyn-test").addEventListener("message", ({ data }) => {
      if (data === "panic") new Uint8Array(memory.buffer).fill(255, 1024);
    });`,
};

/** Puts code before the worker's own. Service workers must be blocked, or they answer first. */
export async function withHook(page: Page | BrowserContext, ...wanted: (keyof typeof hooks)[]): Promise<void> {
  await page.route(/\/worker[-.\w]*\.js$/, async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, body: `${wanted.map((hook) => `{${hooks[hook]}}`).join("\n")}\n${await response.text()}` });
  });
}
