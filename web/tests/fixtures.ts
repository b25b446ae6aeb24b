// What every browser test has: a site with the page, the package and golden checkpoints; and ways to break the worker.

import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { type Browser, type Page, test as base } from "@playwright/test";
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
  /** Without a slash at its end. `/page/` is the page, `/blank.html` nothing, `/lyn/` the package, `/glue/` its WebAssembly alone, `/golden/` checkpoints. */
  url: string;
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
      const server = await startServer({ root, headers: { "content-security-policy": CSP } });
      await use({ url: server.url.replace(/\/$/, ""), server, gpuMemory });
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
export async function withHook(page: Page, hook: keyof typeof hooks): Promise<void> {
  await page.route(/\/worker[-.\w]*\.js$/, async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, body: `{${hooks[hook]}}\n${await response.text()}` });
  });
}
