// The page as tests meet it: opened, brought to a state, looked at.

import AxeBuilder from "@axe-core/playwright";
import { type Locator, type Page, expect } from "@playwright/test";
import type { State } from "../page/state.js";
import type { Site } from "./fixtures.js";

/** Waits until the page is in one of these states. */
export async function inState(page: Page, ...names: State["name"][]): Promise<void> {
  await expect(page.locator("body")).toHaveAttribute("data-state", new RegExp(`^(${names.join("|")})$`));
}

/** Opens the page by a link, which loads nothing by itself; `fragment` are further fields of it (`&n=20&t=0`). */
export async function openByLink(page: Page, site: Site, fragment = ""): Promise<void> {
  await page.goto(`${site.url}/page/#m=stories${fragment}`);
  await inState(page, "choose");
}

/** Opens the page and loads `stories`, without the page's own first story. */
export async function openReady(page: Page, site: Site, fragment = ""): Promise<void> {
  await openByLink(page, site, fragment);
  await page.getByRole("button", { name: "Use", exact: true }).click();
  await inState(page, "ready");
}

export const composer = (page: Page): Locator => page.getByRole("textbox", { name: /^(Message|Melding)$/ });
export const answers = (page: Page): Locator => page.getByRole("article", { name: "lyn" });
export const questions = (page: Page): Locator => page.getByRole("article", { name: /^(You|Du)$/ });
/** The one polite status of the page, which screen readers hear. */
export const status = (page: Page): Locator => page.locator("p[role=status]");
/** How the last answer ended. */
export const ending = (page: Page): Locator => answers(page).last().locator("[data-finish]");
export const button = (page: Page | Locator, name: string): Locator => page.getByRole("button", { name, exact: true });

/** Sends a message by hand and waits until the answer has ended. */
export async function ask(page: Page, message: string): Promise<void> {
  const before = await answers(page).count();
  await composer(page).fill(message);
  // On a touch keyboard Enter alone is a new line.
  await composer(page).press("Control+Enter");
  await expect(answers(page)).toHaveCount(before + 1);
  await inState(page, "ready", "stopped");
}

/** An empty conversation on a page that is used by several tests. */
export async function newChat(page: Page): Promise<void> {
  await page.getByRole("button", { name: "New chat" }).click();
  await inState(page, "ready");
  await expect(answers(page)).toHaveCount(0);
}

/** No rule of axe is broken, as the page stands when what rises or fades in has come to rest. */
export async function expectNoViolations(page: Page): Promise<void> {
  await page.evaluate(() => {
    const passing = document.getAnimations().filter(({ effect }) => effect?.getComputedTiming().endTime !== Infinity);
    return Promise.allSettled(passing.map(({ finished }) => finished)).then(() => undefined);
  });
  // Without the legacy mode a second page is opened for each look, which takes the focus away.
  const { violations } = await new AxeBuilder({ page }).setLegacyMode().analyze();
  const said = violations.map(({ id, nodes }) => ({
    id,
    nodes: nodes.map(({ html, any }) => `${html.slice(0, 200)} ${any[0]?.message ?? ""}`),
  }));
  expect(said).toEqual([]);
}

/** Nothing is wider than the window, and nothing that can be operated lies outside of it. */
export async function expectNoOverflow(page: Page): Promise<void> {
  const found = await page.evaluate(() => {
    const outside = [...document.querySelectorAll<HTMLElement>("button, input, select, textarea, summary, a[href]")].filter((element) => {
      const box = element.getBoundingClientRect();
      const scrolls = element.closest(".scroll, .table, pre, .plan-bar, .tabs");
      return box.width > 1 && !element.matches(".unseen, .skip") && !scrolls && (box.left < -1 || box.right > innerWidth + 1);
    });
    return { width: document.documentElement.scrollWidth, window: innerWidth, outside: outside.map((element) => element.outerHTML.slice(0, 160)) };
  });
  expect(found.width, "the page scrolls sideways").toBeLessThanOrEqual(found.window);
  expect(found.outside).toEqual([]);
}

/** The state as all people see it: light, dark, and in a window that is as narrow as 400 % zoom makes it. */
export async function expectGoodLooks(page: Page): Promise<void> {
  const size = page.viewportSize();
  await page.emulateMedia({ colorScheme: "light" });
  await expectNoViolations(page);
  await page.emulateMedia({ colorScheme: "dark" });
  await expectNoViolations(page);
  await page.setViewportSize({ width: 320, height: 640 });
  await expectNoOverflow(page);
  await expectNoViolations(page);
  await page.emulateMedia({ colorScheme: null });
  if (size) await page.setViewportSize(size);
}
