// What the page does when the GPU or the worker fails, with the real engine.

import type { BrowserContext, Page } from "@playwright/test";
import { expect, rememberCheck, test, withHook } from "./fixtures.js";
import { answers, ask, button, composer, ending, inState, openReady } from "./page.js";

let context: BrowserContext;
let page: Page;

test.beforeAll(async ({ browser, site }) => {
  context = await browser.newContext({ serviceWorkers: "block" });
  const first = await context.newPage();
  await rememberCheck(first, site);
  await first.close();
});
test.afterAll(() => context.close());
test.beforeEach(async () => {
  page = await context.newPage();
});
test.afterEach(() => page.close());

const destroy = () => page.evaluate(() => new BroadcastChannel("lyn-test").postMessage("destroy"));
const text = () => answers(page).last().locator(".markdown").innerText();

test("a lost GPU is rebuilt: nothing of the conversation is lost, and the answer goes on", async ({ site }) => {
  await withHook(page, "device");
  await openReady(page, site, "&t=0&n=60");
  await ask(page, "Tell me a story about a bear.");
  const first = await text();
  await composer(page).fill("And a story about a bird.");
  await composer(page).press("Enter");
  await inState(page, "decode");
  await expect(answers(page).last().locator(".markdown")).toContainText(/\w+ \w+ \w+ \w+/);
  await destroy();
  await inState(page, "recovering");
  const before = (await text()).trimEnd();
  await inState(page, "prefill", "decode");
  await inState(page, "ready", "stopped");
  await expect(answers(page)).toHaveCount(2);
  await expect(answers(page).first().locator(".markdown")).toHaveText(first.trim());
  const after = await text();
  expect(after.slice(0, before.length)).toBe(before);
  expect(after.length).toBeGreaterThan(before.length);
  await expect(ending(page)).toHaveText(/^(finished|the answer reached its limit)/);
});

test("a GPU that keeps dying is given up, and can be tried again", async ({ site }) => {
  await withHook(page, "device");
  await openReady(page, site, "&t=0&n=16");
  await ask(page, "Tell me a story about a bear.");
  for (const _ of [1, 2]) {
    await destroy();
    await inState(page, "recovering");
    await inState(page, "ready");
  }
  await destroy();
  await inState(page, "failed");
  await expect(page.getByRole("heading", { name: "The GPU could not be recovered" })).toBeVisible();
  await expect(answers(page)).toContainText(/\w+ \w+/);
  await button(page, "Load again").click();
  await inState(page, "ready");
  await ask(page, "And then?");
  await expect(answers(page)).toHaveCount(2);
});

test("a panic of the engine is told, and loading again works", async ({ site }) => {
  await withHook(page, "panic");
  await openReady(page, site, "&t=0&n=400");
  await composer(page).fill("Tell me a story about a bear.");
  await composer(page).press("Enter");
  await inState(page, "decode");
  await page.evaluate(() => new BroadcastChannel("lyn-test").postMessage("panic"));
  await inState(page, "failed");
  await expect(page.getByRole("alert")).toHaveText(/^A bug in lyn\./);
  await button(page, "Load again").click();
  await inState(page, "ready");
});

test("where only the page has the GPU the engine runs in the page, and the device panel says so", async ({ site }) => {
  await withHook(page, "no-gpu");
  await openReady(page, site, "&t=0&n=16");
  await ask(page, "Tell me a story about a bear.");
  await expect(answers(page)).toContainText(/\w+ \w+/);
  await page.getByRole("button", { name: /^Graphics adapter/ }).click();
  await expect(page.getByRole("tabpanel")).toContainText("Runs inthe page");
});
