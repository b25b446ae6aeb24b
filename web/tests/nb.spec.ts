// The page in Norwegian: every sentence that can be seen comes from the Norwegian catalogues.

import { en as panelsEn } from "../page/panels/text.en.js";
import { nb as panelsNb } from "../page/panels/text.nb.js";
import { en } from "../page/text/en.js";
import { nb } from "../page/text/nb.js";
import { withDouble } from "./double.js";
import { expect, test } from "./fixtures.js";
import { ask, expectNoViolations, inState, openReady } from "./page.js";

test.use({ serviceWorkers: "block" });

/** Sentences of a catalogue by their place; those that take numbers are left out. */
function sentences(catalogue: object, place = ""): Map<string, string> {
  const all = new Map<string, string>();
  for (const [key, value] of Object.entries(catalogue)) {
    if (typeof value === "string") all.set(`${place}${key}`, value);
    else if (typeof value === "object" && value !== null) for (const entry of sentences(value, `${place}${key}.`)) all.set(...entry);
  }
  return all;
}

/** English sentences that Norwegian says in another way, and nowhere as it is. */
function onlyEnglish(): Set<string> {
  const norwegian = new Set([...sentences(nb).values(), ...sentences(panelsNb).values()]);
  const english = [...sentences(en), ...sentences(panelsEn)];
  // The starters are the model's language, and the language button speaks to those who do not read this one.
  return new Set(english.filter(([place]) => !/^starters|^name$|languageLabel|^header\.language/.test(place)).flatMap(([, words]) => (norwegian.has(words) ? [] : [words])));
}

test("switched to Norwegian, nothing is left in English, in no panel and in no dialog", async ({ page, site }) => {
  await withDouble(page);
  await openReady(page, site);
  await expect(page.locator("html")).toHaveAttribute("lang", "en");
  const english = onlyEnglish();
  expect(english.size).toBeGreaterThan(150);
  const seen = async () => {
    const words = await page.evaluate(() => {
      const all: string[] = [];
      const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
      while (walker.nextNode()) if (!walker.currentNode.parentElement?.closest("[lang=en]")) all.push(walker.currentNode.textContent ?? "");
      for (const element of document.querySelectorAll("[aria-label], [title], [placeholder]"))
        for (const name of ["aria-label", "title", "placeholder"]) all.push(element.getAttribute(name) ?? "");
      return all;
    });
    return words.map((text) => text.trim()).filter((text) => english.has(text));
  };
  // The look itself sees something while the page is English.
  expect((await seen()).length).toBeGreaterThan(10);
  await page.getByRole("button", { name: "NB: Bytt til norsk bokmål" }).click();
  await expect(page.locator("html")).toHaveAttribute("lang", "nb");
  await expect(page.getByRole("textbox", { name: nb.composer.label })).toBeVisible();
  await expect(page.getByRole("button", { name: nb.header.settings })).toBeVisible();
  expect(await seen()).toEqual([]);
  for (const name of Object.values(nb.panels).filter((name) => Object.values({ a: nb.panels.attention, s: nb.panels.speed, m: nb.panels.memory, d: nb.panels.device }).includes(name))) {
    await page.getByRole("tab", { name, exact: true }).click();
    await expect(page.getByRole("tabpanel").locator("section").first()).toBeVisible();
    expect(await seen(), name).toEqual([]);
  }
  for (const name of [nb.header.settings, nb.header.keys]) {
    await page.getByRole("button", { name, exact: true }).click();
    await expect(page.getByRole("dialog")).toBeVisible();
    expect(await seen(), name).toEqual([]);
    await expectNoViolations(page);
    await page.keyboard.press("Escape");
  }
  await page.getByRole("button", { name: new RegExp(`^${nb.header.model}: `) }).click();
  await expect(page.getByRole("dialog", { name: nb.models.title })).toBeVisible();
  expect(await seen()).toEqual([]);
  await page.keyboard.press("Escape");
  await ask(page, `["Hei."]`);
  expect(await seen()).toEqual([]);
  // Numbers too, and at the next visit.
  await page.reload();
  await inState(page, "choose");
  await expect(page.locator("html")).toHaveAttribute("lang", "nb");
});

test("a browser that prefers Norwegian gets it at once", async ({ browser, site }) => {
  const page = await browser.newPage({ locale: "nb-NO" });
  await page.goto(`${site.url}/page/#m=stories`);
  await inState(page, "choose");
  await expect(page.locator("html")).toHaveAttribute("lang", "nb");
  await expect(page.getByRole("heading", { name: nb.state.choose })).toBeVisible();
  await page.close();
});
