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
  await composer(page).press("Enter");
  await expect(answers(page)).toHaveCount(before + 1);
  await inState(page, "ready", "stopped");
}

/** An empty conversation on a page that is used by several tests. */
export async function newChat(page: Page): Promise<void> {
  await page.getByRole("button", { name: "New chat" }).click();
  await inState(page, "ready");
  await expect(answers(page)).toHaveCount(0);
}

/** No rule of axe is broken, as the page stands now; nothing is wider than the window. */
export async function expectNoViolations(page: Page): Promise<void> {
  // Without the legacy mode a second page is opened for each look, which takes the focus away.
  const { violations } = await new AxeBuilder({ page }).setLegacyMode().analyze();
  expect(violations.map(({ id, nodes }) => ({ id, nodes: nodes.map(({ html, any }) => `${html} ${any[0]?.message ?? ""}`) }))).toEqual([]);
  await expectNoOverflow(page);
}

export async function expectNoOverflow(page: Page): Promise<void> {
  const width = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth] as const);
  expect(width[0], "the page scrolls sideways").toBeLessThanOrEqual(width[1]);
}
