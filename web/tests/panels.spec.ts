// The panels beside the conversation, with the real engine: speed, memory, device.

import type { Page } from "@playwright/test";
import type { ConformReport } from "lyn";
import { expect, rememberCheck, test } from "./fixtures.js";
import { ask, button, expectGoodLooks, inState, openReady, status } from "./page.js";

test.use({ serviceWorkers: "block", permissions: ["clipboard-read", "clipboard-write"] });

let page: Page;
test.beforeAll(async ({ browser, site }) => {
  page = await browser.newPage();
  await rememberCheck(page, site);
  await openReady(page, site, "&n=40&t=0&c=1024");
});
test.afterAll(() => page.close());

const panel = () => page.getByRole("tabpanel");
const tab = (name: string) => page.getByRole("tab", { name }).click();
/** What the engine itself says of its memory, by the page's report. */
async function report(): Promise<{ plan: Record<string, number>; adapter: { name: string } }> {
  await tab("Device");
  await button(page, "Copy report").click();
  await expect(status(page)).toHaveText(/^Report copied/);
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  return JSON.parse(/```json\n([\s\S]*?)\n```/.exec(copied)?.[1] ?? "null") as never;
}

test("speed: the last answer's tokens a second are shown, and are those of the answer itself", async () => {
  await tab("Speed");
  await expect(panel()).toContainText("No answer yet.");
  await ask(page, "Tell me a story about a bear.");
  const [, rate] = /([\d.,]+) tok\/s/.exec(await page.locator("[data-finish]").innerText()) ?? [];
  expect(Number(rate)).toBeGreaterThan(0);
  await expect(panel()).toContainText(`${rate} tok/s`);
  await expect(panel().getByRole("row", { name: /^Tokens written/ })).toContainText("40");
  await expect(panel().getByRole("row", { name: /^Attention/ })).toContainText("sparse");
  await expectGoodLooks(page);
});

test("memory: the parts are the plan's, and another context shows its price before it is applied", async ({ site }) => {
  // Asked of the package in a page of its own.
  const other = await page.context().browser()!.newPage();
  await other.goto(`${site.url}/blank.html`);
  const plan = await other.evaluate(async () => {
    const lyn = (await import("/lyn/index.js" as string)) as typeof import("lyn");
    return lyn.plan("stories", { context: 1024 });
  });
  await other.close();
  await tab("Memory");
  const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  for (const [part, bytes] of [["Weights", plan.weights_bytes], ["Cache", plan.cache_bytes], ["Scratch", plan.scratch_bytes], ["Total", plan.total_bytes]] as const)
    await expect(panel().getByRole("row", { name: new RegExp(`^${part}`) })).toContainText(mebibytes(bytes));
  const widths = await page.locator(".plan-bar .part").evaluateAll((parts) => parts.map((part) => part.getBoundingClientRect().width));
  const sum = widths.reduce((a, b) => a + b, 0);
  expect((widths[0] ?? 0) / sum).toBeCloseTo(plan.weights_bytes / plan.total_bytes, 1);
  await panel().getByRole("slider", { name: "Context" }).focus();
  await page.keyboard.press("ArrowLeft");
  await expect(panel().getByRole("row", { name: /^Cache/ })).toContainText("−");
  await expectGoodLooks(page);
  await button(page, "Undo").click();
  await expect(button(page, "Apply")).toHaveCount(0);
});

test("device: adapter, limits, self-check; every kernel's cases are within their bounds, and are in the report", async () => {
  // All cases on this browser's WGSL compiler.
  test.setTimeout(400_000);
  await tab("Device");
  await expect(panel()).toContainText(/swiftshader/i);
  await expect(panel()).toContainText("Self-checkpassed");
  await expect(panel()).toContainText("Runs ina worker");
  await panel().getByText(/^Limits \(\d+\)$/).click();
  await expect(panel().getByRole("row", { name: /^maxBufferSize/ })).toBeVisible();
  await panel().getByText(/^Limits \(\d+\)$/).click();
  await button(page, "Run conformance").click();
  await expect(panel().getByText(/kernels, last/)).toBeVisible();
  await expect(panel().getByText("All passed")).toBeVisible({ timeout: 300_000 });
  await expect(panel().getByText(/[\d,]+ kernels, [\d,]+ cases/).first()).toBeVisible();
  const copied = (await report()) as unknown as { conformance: ConformReport; limits: Record<string, number> };
  expect(copied).toMatchObject({ adapter: { backend: "webgpu" }, conformance: { schema: "lyn.conform/1", passed: true } });
  const { kernels, cases } = copied.conformance;
  expect(kernels.flatMap(({ failures }) => failures)).toEqual([]);
  expect(new Set(kernels.map(({ kernel }) => kernel)).size).toBe(kernels.length);
  expect(kernels.length).toBeGreaterThanOrEqual(23);
  expect(cases).toBeGreaterThan(800);
  expect(copied.limits.maxBufferSize).toBeGreaterThan(0);
  await expectGoodLooks(page);
  await inState(page, "ready", "stopped");
});
