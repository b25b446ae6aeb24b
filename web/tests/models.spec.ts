// Models from the Hub and from this device, with the real engine: fetched with a yes, resumed, kept, deleted, read in place.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { BrowserContext, Page } from "@playwright/test";
import { expect, rememberCheck, repository, test, withHook } from "./fixtures.js";
import { ggufOfStories } from "./gguf.js";
import { buildServer } from "./lyn-serve.js";
import { answers, ask, button, expectGoodLooks, inState, openByLink } from "./page.js";

const WEIGHTS = "hub/lyn-tests/stories/resolve/main/model.safetensors";
const STORIES = join(repository, "models/stories");
const FILES = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
const SIZE = readFileSync(join(STORIES, "model.safetensors")).length;

// One context: what is kept is there for the next page.
let context: BrowserContext;
let page: Page;

test.beforeAll(async ({ browser, site }) => {
  context = await browser.newContext({ serviceWorkers: "block" });
  const first = await context.newPage();
  await rememberCheck(first, site);
  await first.close();
});
test.afterAll(() => context.close());
test.beforeEach(async ({ site }) => {
  site.server.reset();
  page = await context.newPage();
});
test.afterEach(() => page.close());

/** Opens the page by a link to the test's repository and asks whether it fits. */
async function check(site: { url: string }): Promise<void> {
  await page.goto("about:blank");
  await page.goto(`${site.url}/page/#m=hf:lyn-tests/stories&n=16&t=0`);
  await inState(page, "choose");
  await expect(page.getByRole("textbox", { name: "Repository" })).toHaveValue("lyn-tests/stories");
  await button(page, "Check if it fits").click();
  await expect(page.locator(".verdict .facts")).toContainText("parameters4,438,312");
}

const download = () => page.getByRole("button", { name: /^Download .* and load$/ });
const numbers = () => page.locator(".card .numbers");

/** Waits until so many MiB are here. */
async function downloaded(mebibytes: number): Promise<void> {
  const here = async () => Number.parseFloat(/^([\d.]+) MiB of/.exec(await numbers().innerText())?.[1] ?? "0");
  await expect.poll(here, { intervals: [50] }).toBeGreaterThan(mebibytes);
}

/** Drops files of the site on the page. */
function drop(folder: string, names: string[]): Promise<void> {
  return page.evaluate(
    async ({ folder, names }) => {
      const data = new DataTransfer();
      for (const name of names) data.items.add(new File([await (await fetch(folder + name)).blob()], name));
      const drop = (type: string) => document.body.dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }));
      drop("dragover");
      drop("drop");
    },
    { folder, names },
  );
}

test("a model of the Hub is fetched after a yes, paused, resumed after a reload, and then kept", async ({ site }) => {
  await withHook(page, "hub");
  await check(site);
  // Until here only the weights' header was read.
  expect(site.server.sent(WEIGHTS)).toBeLessThan(SIZE / 10);
  await expect(page.locator(".verdict")).toContainText(/fits|may not fit/);
  await expect(page.getByRole("link", { name: "Licence and description on its own page" })).toHaveAttribute("href", "https://huggingface.co/lyn-tests/stories");
  const before = site.server.sent(WEIGHTS);
  site.server.faults[WEIGHTS] = { bytesPerSecond: 2 ** 21 };
  await download().click();
  await inState(page, "downloading");
  await downloaded(2);
  await expect(numbers()).toHaveText(/^[\d.]+ MiB of 8\.\d MiB · [\d.]+ [KM]iB\/s · [\d.]+ s left · from the network$/);
  await expect(page.getByText(/^file \d of 5: model\.safetensors$/)).toBeVisible();
  await button(page, "Pause").click();
  await expect(page.getByText("Paused. Downloads so far are kept.")).toBeVisible();
  await button(page, "Resume").click();
  await downloaded(5);
  const resumed = site.server.requests.findLast(({ path }) => path === WEIGHTS)?.headers.range;
  expect(Number(/^bytes=(\d+)-$/.exec(resumed ?? "")?.[1])).toBeGreaterThan(2 * 2 ** 20);

  site.server.reset();
  await page.reload();
  await check(site);
  await download().click();
  await inState(page, "ready");
  // What is written down once a second was not fetched again.
  expect(site.server.sent(WEIGHTS) - before).toBeLessThan(SIZE - 2.5 * 2 ** 20);
  await expect(page.getByRole("button", { name: "Model: hf:lyn-tests/stories" })).toBeVisible();
  await ask(page, "Tell me a story about a bird.");
  await expect(answers(page)).toContainText(/\w+ \w+ \w+/);
  await expect(page.getByRole("button", { name: /Sent since load: 0.*Fetched: \d files from huggingface\.co/ })).toBeVisible();
});

test("a kept model is not fetched again; deleting it gives its bytes back", async ({ site }) => {
  await withHook(page, "hub");
  await check(site);
  await download().click();
  await inState(page, "ready");
  await page.reload();
  await inState(page, "choose");
  await page.getByRole("button", { name: /^Model: / }).click();
  const dialog = page.getByRole("dialog", { name: "Models" });
  await expect(dialog.getByRole("listitem")).toContainText(/lyn-tests\/stories 8\.\d MiB/);
  await expectGoodLooks(page);
  site.server.reset();
  await dialog.getByRole("listitem").getByRole("button", { name: "Use" }).click();
  await inState(page, "ready");
  expect(site.server.sent(WEIGHTS)).toBe(0);
  await page.getByRole("button", { name: /^Model: / }).click();
  await expect(button(dialog, "Delete: hf:lyn-tests/stories")).toBeDisabled();
  await button(dialog, "Use").first().click();
  await inState(page, "ready");
  await page.getByRole("button", { name: /^Model: / }).click();
  await button(dialog, "Delete: hf:lyn-tests/stories").click();
  await expect(dialog.getByText("Nothing yet.")).toBeVisible();
  await expect(page.locator("p[role=status]")).toHaveText(/MiB freed/);
});

test("a download that is cancelled stays or goes, as people want it", async ({ site }) => {
  await withHook(page, "hub");
  for (const [words, kept] of [["Cancel and keep", /^lyn-tests\/stories [\d.]+ MiB of 8\.\d MiB/], ["Cancel and delete", null]] as const) {
    await check(site);
    site.server.faults[WEIGHTS] = { bytesPerSecond: 2 ** 21 };
    await download().click();
    await downloaded(1.5);
    await button(page, words).click();
    await inState(page, "choose");
    const before = site.server.sent(WEIGHTS);
    await page.getByRole("button", { name: /^Model: / }).click();
    const dialog = page.getByRole("dialog", { name: "Models" });
    if (kept) await expect(dialog.getByRole("listitem")).toHaveText(kept);
    else await expect(dialog.getByText("Nothing yet.")).toBeVisible();
    await page.waitForTimeout(500);
    expect(site.server.sent(WEIGHTS), "the download went on").toBe(before);
    site.server.faults[WEIGHTS] = {};
  }
});

test("a full store: the browser's figures, and the model without keeping it", async ({ site }) => {
  await withHook(page, "hub", "quota");
  await check(site);
  await download().click();
  await inState(page, "quota");
  await expect(page.getByRole("alert")).toHaveText(/^The browser says: .* used of .* allowed\.$/);
  await expect(button(page, "Free space")).toBeVisible();
  await expect(button(page, "Ask the browser for more")).toBeVisible();
  await expectGoodLooks(page);
  await button(page, "Run without keeping it").click();
  await inState(page, "ready");
  await ask(page, "Tell me a story about a bird.");
  await expect(answers(page)).toContainText(/\w+ \w+ \w+/);
});

test("a connection that breaks is taken up again by itself; a model that is not there is told", async ({ site }) => {
  await withHook(page, "hub");
  await check(site);
  site.server.faults[WEIGHTS] = { cut: 2 ** 21, times: 2 };
  await download().click();
  await inState(page, "ready");
  expect(site.server.requests.filter(({ path, status }) => path === WEIGHTS && status === 206).length).toBeGreaterThan(2);
  await page.getByRole("button", { name: /^Model: / }).click();
  const dialog = page.getByRole("dialog", { name: "Models" });
  await dialog.getByRole("textbox", { name: "Repository" }).fill("lyn-tests/nothing");
  await button(dialog, "Check if it fits").click();
  await expect(dialog.getByRole("alert")).toHaveText(/^No such model\./);
});

test("a checkpoint of this device is read in place; its missing parts are named", async ({ site }) => {
  await openByLink(page, site, "&n=16&t=0");
  const input = page.getByLabel("Pick files");
  await input.setInputFiles(join(STORIES, "config.json"));
  await expect(page.getByRole("alert")).toHaveText("The checkpoint is incomplete. tokenizer.json, *.safetensors");
  await expectGoodLooks(page);
  site.server.reset();
  await input.setInputFiles(FILES.map((name) => join(STORIES, name)));
  await button(page, "Load").click();
  await inState(page, "ready");
  await expect(page.getByRole("button", { name: "Model: model.safetensors" })).toBeVisible();
  await ask(page, "Tell me a story about a bird.");
  await expect(answers(page)).toContainText(/\w+ \w+ \w+/);
  expect(site.server.requests.filter(({ path }) => /safetensors|tokenizer/.test(path))).toEqual([]);
});

test("a GGUF file can be dropped, its parts picked; one that is missing is named", async ({ site }) => {
  buildServer();
  const [whole, parts] = ggufOfStories(site.root);
  await openByLink(page, site, "&n=16&t=0");
  await page.getByLabel("Pick files").setInputFiles(join(site.root, parts[1]));
  await expect(page.getByRole("alert")).toHaveText(/^The checkpoint is incomplete\./);
  await expect(page.locator(".verdict")).toContainText(`lacks ${parts[0]}`);
  await page.getByLabel("Pick files").setInputFiles(parts.map((part) => join(site.root, part)));
  await expect(page.locator(".verdict .facts")).toContainText("parameters4,438,312");
  await expect(page.locator(".verdict .fit")).toContainText(parts[0]);
  const cut = readFileSync(join(site.root, whole)).subarray(0, 3_000_000);
  await page.getByLabel("Pick files").setInputFiles({ name: "cut.gguf", mimeType: "application/octet-stream", buffer: cut });
  await expect(page.getByRole("alert")).toHaveText(/^The checkpoint is damaged\./);
  await expect(page.locator(".verdict")).toContainText(/cut\.gguf.*the file is cut/);

  await drop(`${site.url}/`, [whole]);
  const dialog = page.getByRole("dialog", { name: "Models" });
  await expect(dialog.locator(".verdict .facts")).toContainText(/weights4\.\d MiB/);
  await button(dialog, "Load").click();
  await inState(page, "ready");
  await expect(page.getByRole("button", { name: `Model: ${whole}` })).toBeVisible();
  await ask(page, "Tell me a story about a bird.");
  await expect(answers(page)).toContainText(/\w+ \w+ \w+/);
});

test("a GGUF file of the Hub is planned from its header", async ({ site }) => {
  buildServer();
  const [, [, second]] = ggufOfStories(site.root);
  await withHook(page, "hub");
  await openByLink(page, site);
  await page.getByRole("textbox", { name: "Repository" }).fill(`lyn-tests/made:${second}`);
  await button(page, "Check if it fits").click();
  await expect(page.locator(".verdict .facts")).toContainText("parameters4,438,312");
  await expect(page.getByRole("link", { name: "Licence and description on its own page" })).toHaveAttribute("href", "https://huggingface.co/lyn-tests/made");
  await expect(download()).toBeVisible();
  // A first megabyte of each part: what the header needs is in it.
  expect(site.server.sent(`hub/lyn-tests/made/resolve/main/${second}`)).toBeLessThan(2 * 2 ** 20);
});

test("a broken checkpoint is refused, and the file at fault is named", async ({ site }) => {
  await openByLink(page, site);
  const read = (name: string) => ({ name, mimeType: "application/octet-stream", buffer: readFileSync(join(STORIES, name)) });
  const files = FILES.map(read).map((file) => (file.name === "model.safetensors" ? { ...file, buffer: file.buffer.subarray(0, SIZE - 1000) } : file));
  await page.getByLabel("Pick files").setInputFiles(files);
  await expect(page.getByRole("alert")).toHaveText(/^The checkpoint is damaged\./);
  await expect(page.locator(".verdict")).toContainText("model.safetensors");
  await expectGoodLooks(page);
});

test("a checkpoint can be dropped on the page", async ({ site }) => {
  await openByLink(page, site);
  await drop(`${site.url}/models/stories/`, FILES);
  const dialog = page.getByRole("dialog", { name: "Models" });
  await button(dialog, "Load").click();
  await inState(page, "ready");
  await expect(page.getByRole("button", { name: "Model: model.safetensors" })).toBeVisible();
});
