// The attention panel with the real engine: what each token of an answer read, as text, map and table, to a file and back.

import { readFileSync } from "node:fs";
import type { Page } from "@playwright/test";
import { expect, rememberCheck, test, withHook } from "./fixtures.js";
import { answers, ask, button, expectGoodLooks, inState, newChat, openReady } from "./page.js";

test.use({ serviceWorkers: "block" });

// Each test goes on from where the last one left the panel.
test.describe.configure({ mode: "serial" });

let page: Page;
test.beforeAll(async ({ browser, site }) => {
  page = await browser.newPage();
  await rememberCheck(page, site);
  await withHook(page, "calls");
  await page.addInitScript(() => {
    const calls: { call: string; traced: boolean }[] = [];
    Object.assign(window, { calls });
    new BroadcastChannel("lyn-calls").addEventListener("message", ({ data }) => calls.push(data as (typeof calls)[number]));
  });
  await openReady(page, site, "&n=90&t=0");
});
test.afterAll(() => page.close());

const panel = () => page.getByRole("tabpanel");
const reading = () => panel().locator("h3.reading");
const text = () => panel().getByRole("group", { name: /^The context\./ });
const view = (name: string) => panel().locator(".segments label", { hasText: name }).click();
const calls = () => page.evaluate(() => (window as unknown as { calls: { call: string; traced: boolean }[] }).calls);
const query = async () => Number(await text().locator(".token-query").getAttribute("data-at"));
const shaded = () => text().locator("[class^='shade-']:not(.shade-0)");

test("while the panel is closed nothing is traced", async () => {
  await page.getByRole("complementary").getByRole("button", { name: "Close panels" }).click();
  await ask(page, "Tell me a story about a little bear.");
  const made = await calls();
  expect(made.filter(({ call }) => call === "chat")).toEqual([{ call: "chat", traced: false }]);
  expect(made.filter(({ call }) => call === "trace")).toEqual([]);
  await newChat(page);
});

test("an answer that is written beside the open panel shows what its newest token read", async () => {
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Open panels" }).first().click();
  await expect(panel()).toContainText("Send a message, or open a trace file");
  await ask(page, "Tell me a story about a little bear.");
  expect((await calls()).findLast(({ call }) => call === "chat")).toEqual({ call: "chat", traced: true });
  const length = await text().locator("[data-at]").count();
  expect(length).toBeGreaterThan(90);
  await expect(text()).toContainText((await answers(page).locator(".markdown").innerText()).split("\n")[0]?.slice(0, 40) ?? "?");
  await expect(reading()).toHaveText(/^all 6 layers together · \d+ of \d+ are read$/);
  await expect(button(page, "Newest")).toHaveAttribute("aria-pressed", "true");
  expect(await query()).toBeGreaterThan(length - 3);
  await expect(text().locator(".token-query")).toBeInViewport();
  await expectGoodLooks(page);
});

test("one layer reads 64 tokens; the slider and “All layers” change the view", async () => {
  await panel().getByRole("slider", { name: "Layer" }).focus();
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowRight");
  const at = await query();
  await expect(reading()).toHaveText(`layer 2 · reads 64 of ${at + 1}`);
  await expect(shaded()).toHaveCount(64 - ((await text().locator(".token-query").count()) && (await selfIsRead(at)) ? 1 : 0));
  await button(page, "All layers").click();
  await expect(reading()).toHaveText(/^all 6 layers together/);
  await button(page, "All layers").click();
  await expect(reading()).toHaveText(/^layer 0 · reads 64 of/);
});

/** Whether the query read itself: it is drawn as the query, not by a shade. */
async function selfIsRead(at: number): Promise<boolean> {
  return (await positionsOfTable()).includes(at);
}

/** Positions of the tokens that the table marks as read. */
async function positionsOfTable(): Promise<number[]> {
  await view("Table");
  const positions: number[] = [];
  for (;;) {
    positions.push(...(await panel().locator("tr.chosen td:nth-child(2)").allInnerTexts()).map((words) => Number(words.replace(",", ""))));
    const next = button(page, "Next");
    if (!(await next.count()) || (await next.isDisabled())) break;
    await next.click();
  }
  await view("Text");
  return positions.sort((a, b) => a - b);
}

test("arrow keys move the token that asks; the text and its table say the same", async () => {
  const newest = await query();
  await text().focus();
  await page.keyboard.press("ArrowLeft");
  await page.keyboard.press("ArrowLeft");
  expect(await query()).toBe(newest - 2);
  await expect(reading()).toHaveText(`layer 0 · reads 64 of ${newest - 1}`);
  const drawn = (await shaded().evaluateAll((spans) => spans.map((span) => Number((span as HTMLElement).dataset.at)))).filter((at) => at !== newest - 2);
  const listed = (await positionsOfTable()).filter((at) => at !== newest - 2);
  expect(drawn).toEqual(listed);
  expect(drawn.length).toBeGreaterThanOrEqual(63);
  // A token with few before it reads them all.
  await text().focus();
  await page.keyboard.press("Home");
  await expect(reading()).toHaveText("all 1 tokens are read; selection starts after 64.");
  await page.keyboard.press("Escape");
  expect(await query()).toBe(newest);
  await expect(button(page, "Newest")).toHaveAttribute("aria-pressed", "true");
});

test("the table is in order, can be put in another, and passes axe", async () => {
  await view("Table");
  const scores = async () => (await panel().locator("tbody tr td:nth-child(3)").allInnerTexts()).map(Number);
  const first = await scores();
  expect(first.length).toBeGreaterThan(30);
  expect(first).toEqual([...first].sort((a, b) => b - a));
  await panel().getByRole("columnheader", { name: /^Position/ }).getByRole("button").click();
  await expect(panel().getByRole("columnheader", { name: /^Position/ })).toHaveAttribute("aria-sort", "descending");
  await expectGoodLooks(page);
  await view("Text");
});

test("the map is drawn", async () => {
  await view("Map");
  const canvas = panel().locator("canvas").first();
  await expect(canvas).toBeVisible();
  await expect
    .poll(() =>
      canvas.evaluate((element) => {
        const { width, height } = element as HTMLCanvasElement;
        const data = (element as HTMLCanvasElement).getContext("2d")?.getImageData(0, 0, width, height).data ?? [];
        const seen = new Set<number>();
        for (let at = 0; at < data.length; at += 4) seen.add(((data[at] ?? 0) << 16) | ((data[at + 1] ?? 0) << 8) | (data[at + 2] ?? 0));
        return seen.size;
      }),
    )
    .toBeGreaterThan(4);
  await expectGoodLooks(page);
  await view("Text");
});

test("dense attention beside: each layer's share is between nothing and all", async () => {
  await view("Both");
  await button(page, "Measure dense attention").click();
  const shares = panel().locator(".shares tbody tr");
  await expect(shares).toHaveCount(6);
  for (const words of await shares.locator(".bar-cell .number").allInnerTexts()) {
    const share = Number.parseFloat(words.replace(",", "."));
    expect(share).toBeGreaterThan(0);
    expect(share).toBeLessThanOrEqual(100);
  }
  await expect(panel().getByRole("heading", { name: "Most missed" })).toBeVisible();
  await expectGoodLooks(page);
});

test("a saved trace shows the same when it is dropped", async ({}, info) => {
  await view("Text");
  const before = { reading: await reading().innerText(), drawn: await shaded().evaluateAll((all) => all.map((span) => `${(span as HTMLElement).dataset.at} ${span.className}`)) };
  const download = page.waitForEvent("download");
  await button(page, "Save trace").click();
  const path = info.outputPath("trace.jsonl");
  await (await download).saveAs(path);
  const lines = readFileSync(path, "utf8").trimEnd().split("\n").map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(lines[0]).toMatchObject({ schema: "lyn.trace/1", model_type: "deepseek_v32", num_hidden_layers: 6, index_topk: 64 });
  await drop(readFileSync(path, "utf8"), "saved.jsonl");
  await expect(panel()).toContainText("From file: saved.jsonl");
  // The file has the last token that was read, as the answer's own view has.
  await expect(reading()).toHaveText(before.reading);
  expect(await shaded().evaluateAll((all) => all.map((span) => `${(span as HTMLElement).dataset.at} ${span.className}`))).toEqual(before.drawn);
  await expectGoodLooks(page);
  await button(page, "Back to this conversation").click();
  await expect(panel()).not.toContainText("From file");
});

/** Drops a file on the panel. */
function drop(content: string, name: string): Promise<void> {
  return panel()
    .locator("section.attention")
    .evaluate(
      (element, { content, name }) => {
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File([content], name));
        for (const type of ["dragover", "drop"]) element.dispatchEvent(new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true }));
      },
      { content, name },
    );
}

test("a trace of the command line is read, with two of its layers; a broken one names its line", async () => {
  // In the documented form, with lines in another order and with fields of later versions.
  const lines = [
    { schema: "lyn.trace/1", model_type: "deepseek_v32", num_hidden_layers: 61, index_topk: 2, layers: [0, 5], later: true },
    { position: 2, layer: 5, indices: [0, 2], scores: [1.5, 0.25], dense: [0.5, 0.25, 0.25] },
    ...["Once", " upon", " a"].map((text, position) => ({ position, id: 400 + position, text })),
    { kind: "comment" },
    { position: 2, layer: 0, indices: [1, 2], scores: [1, 2] },
  ];
  const write = (all: object[]) => all.map((line) => `${JSON.stringify(line)}\n`).join("");
  await drop(write(lines), "native.jsonl");
  await expect(panel()).toContainText("From file: native.jsonl");
  await expect(text()).toHaveText("Once upon a");
  await expect(reading()).toHaveText(/^layer 0 · reads 2 of 3$/);
  await drop(write([...lines, { position: 1, layer: 0, indices: [7], scores: [1] }]), "broken.jsonl");
  await expect(panel().getByRole("alert")).toHaveText(/^Line 8, “indices”: expected positions that the token can see/);
  await button(page, "Back to this conversation").click();
  await inState(page, "ready", "stopped");
});
