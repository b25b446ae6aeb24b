// A second browser engine: Firefox, whose WebGPU is wgpu, on Mesa's software driver. It is driven over WebDriver BiDi;
// Playwright's own Firefox is a patched build that Debian does not have.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import puppeteer, { type Browser, type Page } from "puppeteer-core";
import { expect, repository, test } from "./fixtures.js";

const executablePath = process.env["LYN_FIREFOX"] ?? "/usr/bin/firefox-esr";
const golden = JSON.parse(readFileSync(join(repository, "models/stories/golden.json"), "utf8"));

let browser: Browser;
let page: Page;

test.describe.configure({ mode: "serial" });

test.beforeAll(async ({ site }) => {
  expect(existsSync(executablePath), `${executablePath} is missing: ./setup --tests installs it`).toBe(true);
  browser = await puppeteer.launch({
    browser: "firefox",
    executablePath,
    headless: true,
    protocol: "webDriverBiDi",
    protocolTimeout: 400_000,
    extraPrefsFirefox: {
      "dom.webgpu.enabled": true,
      "gfx.webgpu.ignore-blocklist": true,
      "dom.webgpu.workers.enabled": true,
    },
    env: { ...process.env, VK_DRIVER_FILES: "/usr/share/vulkan/icd.d/lvp_icd.x86_64.json" },
  });
  page = await browser.newPage();
  await page.goto(`${site.url}/blank.html`);
  await page.evaluate(async () => {
    window.lyn = await import("/lyn/index.js" as string);
    window.engine = await window.lyn.load("stories", { context: 512 });
  });
});

test.afterAll(async () => {
  await browser?.close();
});

test("Firefox gives the greedy text of transformers, from a worker", async () => {
  for (const expected of golden.cases.slice(0, 3)) {
    const got = await page.evaluate(async (ids: number[], length: number) => {
      const { ids: made } = await window.engine.generate(ids, { temperature: 0, maxTokens: length }).result;
      return { made: [...made], worker: window.engine.worker };
    }, expected.ids, expected.greedy.length);
    expect(got.made, expected.name).toEqual(expected.greedy);
    expect(got.worker).toBe(true);
  }
});

test("Firefox stops at once when the loop is left", async () => {
  const reason = await page.evaluate(async () => {
    const generation = window.engine.generate("Once", { temperature: 0, maxTokens: 400 });
    for await (const _ of generation) break;
    return (await generation.result).finish_reason;
  });
  expect(reason).toBe("cancelled");
});

test("every kernel's cases are within their bounds in Firefox", async () => {
  // Firefox looks for finished reads every 100 ms, and each case reads: two minutes of waiting, little of work.
  test.setTimeout(400_000);
  const report = await page.evaluate(async () => window.lyn.conform());
  expect(report.kernels.flatMap((kernel) => kernel.failures)).toEqual([]);
  expect(report.cases).toBeGreaterThan(800);
});

test("the page writes a story by itself in Firefox", async ({ site }) => {
  const story = await browser.newPage();
  const errors: string[] = [];
  story.on("pageerror", (error) => errors.push(String(error)));
  await story.goto(`${site.url}/page/`);
  await story.waitForFunction(() => (document.querySelector("[role=log]")?.textContent ?? "").length > 200, { timeout: 60_000 });
  expect(errors).toEqual([]);
  await story.close();
});
