// Who uses the page in other ways: small windows, touch, forced colours, no motion, and a screen reader. Each state of the
// page is looked at in states.spec.ts; here stand a conversation with all that Markdown has, the dialogs and the panels.

import { type Page, devices } from "@playwright/test";
import { withDouble } from "./double.js";
import { type Site, expect, test } from "./fixtures.js";
import { answers, ask, button, composer, expectGoodLooks, expectNoOverflow, expectNoViolations, newChat, openReady, status } from "./page.js";

test.use({ serviceWorkers: "block" });

const markdown = [
  "# Title\n\nA [link](https://example.com/), *em*, **strong**, ~~del~~, `code` and $x^2 + \\frac{1}{2}$.\n\n",
  "| a | b |\n|--|--:|\n| 1 | 2 |\n\n- [x] done\n- [ ] open\n\n1. one\n2. two\n\n> quote\n\n",
  "```ts\nconst long = 'a line that is longer than any narrow window is wide, and so has to be scrolled in its own box';\n```\n\n",
  `![picture](https://example.com/x.png)\n\n$$\\sum_{i=0}^n i = \\frac{n(n+1)}{2}$$\n\n${"averyverylongword".repeat(12)}\n\nשלום עולם`,
];

async function conversation(page: Page, site: Site): Promise<void> {
  await withDouble(page);
  await openReady(page, site);
  await ask(page, JSON.stringify([{ reasoning: "A thought." }, ...markdown]));
  await expect(answers(page).locator("math")).toHaveCount(2);
}

test("a conversation with all that Markdown has breaks no rule, light, dark and narrow", async ({ page, site }) => {
  await conversation(page, site);
  await answers(page).locator("summary").click();
  await expectGoodLooks(page);
});

test("dialogs and panels break no rule, light, dark and narrow", async ({ page, site }) => {
  await withDouble(page);
  await openReady(page, site);
  for (const name of ["Settings", "Keys", /^Model: /, /Runs on your device/]) {
    await page.getByRole("button", { name }).first().click();
    await expect(page.getByRole("dialog")).toBeVisible();
    await expectGoodLooks(page);
    await page.keyboard.press("Escape");
    await expect(page.getByRole("dialog")).toHaveCount(0);
  }
  for (const name of ["Speed", "Memory", "Device", "Attention"]) {
    await page.getByRole("tab", { name }).click();
    await expectGoodLooks(page);
  }
});

test("a phone: no sideways scrolling, targets of 44 px, Enter makes a new line", async ({ browser, site }) => {
  const page = await browser.newPage({ ...devices["Pixel 5"], viewport: { width: 360, height: 740 } });
  await conversation(page, site);
  await expectNoOverflow(page);
  await expectNoViolations(page);
  expect(await smallTargets(page, 44)).toEqual([]);
  await composer(page).fill("one");
  await composer(page).press("Enter");
  await expect(composer(page)).toHaveValue("one\n");
  await composer(page).press("Control+Enter");
  await expect(answers(page)).toHaveCount(2);
  await button(page, "Open panels").tap();
  await expect(page.getByRole("tabpanel")).toBeVisible();
  await expectNoOverflow(page);
  expect(await smallTargets(page, 44)).toEqual([]);
  await button(page, "Close panels").first().tap();
  await button(page, "Settings").tap();
  await expectNoOverflow(page);
  expect(await smallTargets(page, 44)).toEqual([]);
  await page.close();
});

test("with a mouse every target has 24 px", async ({ page, site }) => {
  await conversation(page, site);
  expect(await smallTargets(page, 24)).toEqual([]);
  await button(page, "Settings").click();
  expect(await smallTargets(page, 24)).toEqual([]);
});

/** Controls that are smaller, as text runs excepted (WCAG 2.5.8: a link inside a sentence may be as high as its line). */
function smallTargets(page: Page, least: number): Promise<string[]> {
  return page.evaluate((least) => {
    const small: string[] = [];
    for (const element of document.querySelectorAll<HTMLElement>("button, summary, select, textarea, input:not([type=file]), label.button, .switch label")) {
      // A label is its field's target too.
      const target = (element.matches("input") && element.closest("label")) || element;
      const { width, height } = target.getBoundingClientRect();
      const hidden = !element.checkVisibility() || element.matches(".skip, :disabled") || (element.matches(".unseen") && target === element);
      const inText = element.closest("p") !== null && element.matches(".link");
      if (!hidden && !inText && (width < least - 0.5 || height < least - 0.5)) small.push(`${Math.round(width)}×${Math.round(height)} ${element.outerHTML.slice(0, 110)}`);
    }
    return small;
  }, least);
}

test("forced colours: chosen, focused and disabled can be told apart", async ({ page, site }) => {
  await page.emulateMedia({ forcedColors: "active" });
  await conversation(page, site);
  await expectNoViolations(page);
  const look = (selector: string) =>
    page.locator(selector).first().evaluate((element) => {
      const { borderTopStyle, outlineStyle, outlineWidth, color, backgroundColor } = getComputedStyle(element);
      return { borderTopStyle, outlineStyle, outlineWidth, color, backgroundColor };
    });
  await composer(page).focus();
  await page.keyboard.press("Shift+Tab");
  const focused = await look(":focus-visible");
  expect(focused.outlineStyle).not.toBe("none");
  const on = await look(".switch label.on");
  const off = await look(".switch label:not(.on)");
  expect(on, "the chosen attention looks like the other one").not.toEqual(off);
});

test("reduced motion: nothing moves by itself", async ({ page, site }) => {
  await page.emulateMedia({ reducedMotion: "reduce" });
  await withDouble(page, { pace: 100 });
  await openReady(page, site);
  await composer(page).fill(JSON.stringify(Array.from({ length: 30 }, () => "word ")));
  await composer(page).press("Enter");
  await expect(answers(page)).toContainText("word");
  const moving = await page.evaluate(() => document.getAnimations().filter((animation) => animation.playState === "running" && Number(animation.effect?.getComputedTiming().duration) > 10).length);
  expect(moving).toBe(0);
});

test("a screen reader hears the phases of an answer, and not each of its tokens", async ({ page, site }) => {
  await withDouble(page, { pace: 60 });
  await openReady(page, site);
  await page.evaluate(() => {
    const heard: string[] = [];
    Object.assign(window, { heard });
    const place = document.querySelector("p[role=status]");
    if (place) new MutationObserver(() => heard.push(place.textContent.trim())).observe(place, { childList: true, characterData: true, subtree: true });
  });
  await ask(page, JSON.stringify(Array.from({ length: 20 }, () => "word ")));
  await expect(status(page)).toHaveText(/^done, 20 tokens/);
  expect(await page.evaluate(() => (window as unknown as { heard: string[] }).heard)).toEqual(["reading prompt", "writing", "done, 20 tokens"]);
  await expect(page.getByRole("log")).toHaveAttribute("aria-live", "off");
  await expect(page.getByRole("log")).toHaveAttribute("aria-busy", "false");
  await newChat(page);
  await expect(status(page)).toHaveText(/^new chat/);
});
