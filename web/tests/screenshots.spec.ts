// Pictures of the page for people to look at, in results/screens. With LYN_UPDATE=1 also the README's picture.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { type Page, devices } from "@playwright/test";
import { type Site, expect, repository, test } from "./fixtures.js";
import { answers, ask, composer, expectNoOverflow, inState, openReady } from "./page.js";

test.use({ serviceWorkers: "block" });

const FOLDER = join(import.meta.dirname, "results/screens");
mkdirSync(FOLDER, { recursive: true });

/** Takes a picture, and looks whether there is something in it and nothing beside it. */
async function picture(page: Page, name: string, path = join(FOLDER, `${name}.png`)): Promise<void> {
  await expectNoOverflow(page);
  const bytes = await page.screenshot({ path, animations: "disabled", caret: "hide" });
  const other = await page.context().browser()!.newPage();
  await other.goto("about:blank");
  const colours = await other.evaluate(async (data) => {
    const image = new Image();
    image.src = `data:image/png;base64,${data}`;
    await image.decode();
    const canvas = new OffscreenCanvas(image.width, image.height);
    const context = canvas.getContext("2d");
    context?.drawImage(image, 0, 0);
    const pixels = new Uint32Array(context?.getImageData(0, 0, image.width, image.height).data.buffer ?? new ArrayBuffer(0));
    const counts = new Map<number, number>();
    for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) ?? 0) + 1);
    return { distinct: counts.size, most: Math.max(...counts.values()) / pixels.length };
  }, bytes.toString("base64"));
  await other.close();
  expect(colours.distinct, `${name} is blank`).toBeGreaterThan(50);
  expect(colours.most, `${name} is nearly blank`).toBeLessThan(0.97);
}

const SCHEMES = ["light", "dark"] as const;

async function ready(page: Page, site: Site, name: string, fragment: string): Promise<void> {
  await openReady(page, site, fragment);
  await inSchemes(page, `${name}-ready`);
  await composer(page).fill("Tell me a story about a little bear who finds a key.");
  await composer(page).press("Control+Enter");
  await inState(page, "decode");
  await expect(answers(page).last().locator(".markdown")).toContainText(/(\w+\W+){8}/);
  await inSchemes(page, `${name}-writing`);
  await inState(page, "ready", "stopped");
}

async function inSchemes(page: Page, name: string): Promise<void> {
  for (const colorScheme of SCHEMES) {
    await page.emulateMedia({ colorScheme });
    await picture(page, `${name}-${colorScheme}`);
  }
}

test("ready, writing and attention on a wide screen", async ({ browser, site }) => {
  const page = await browser.newPage({ viewport: { width: 1200, height: 800 } });
  await ready(page, site, "wide", "&t=0&n=150");
  const panel = page.getByRole("tabpanel");
  await panel.getByRole("slider", { name: "Layer" }).focus();
  for (let layer = 0; layer < 4; layer += 1) await page.keyboard.press("ArrowRight");
  await expect(panel.locator("h3.reading")).toContainText("layer 3 · reads 64 of");
  await page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur());
  await expect(panel.locator("[data-at].token-query")).toBeInViewport();
  await inSchemes(page, "wide-attention");
  if (process.env["LYN_UPDATE"] === "1") {
    mkdirSync(join(repository, "docs/images"), { recursive: true });
    await page.emulateMedia({ colorScheme: "light" });
    await picture(page, "readme", join(repository, "docs/images/attention.png"));
  }
  for (const view of ["Map", "Both", "Table"]) {
    await panel.locator(".segments label", { hasText: view }).click();
    await inSchemes(page, `wide-${view.toLowerCase()}`);
  }
  await page.close();
});

test("ready, writing and attention on a phone", async ({ browser, site }) => {
  const page = await browser.newPage({ ...devices["Pixel 5"], viewport: { width: 360, height: 740 } });
  await ready(page, site, "phone", "&t=0&n=60");
  await page.getByRole("button", { name: "Open panels" }).tap();
  await expect(page.getByRole("tabpanel")).toBeVisible();
  await ask(page, "And then?");
  await inSchemes(page, "phone-attention");
  await page.close();
});
