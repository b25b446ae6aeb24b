// What people do with the page, with the real engine: read the first story, ask, stop, go on, take another way.

import { type Page, expect, rememberCheck, test } from "./fixtures.js";
import { answers, ask, button, composer, ending, inState, newChat, openByLink, openReady, questions, status } from "./page.js";

test.use({ serviceWorkers: "block", permissions: ["clipboard-read", "clipboard-write"] });

/** Lengths that the newest answer's text has had, as it was drawn. */
async function watchText(page: Page): Promise<() => Promise<number[]>> {
  await page.evaluate(() => {
    const lengths: number[] = [];
    Object.assign(window, { lengths });
    new MutationObserver(() => {
      const length = [...document.querySelectorAll(".message.assistant .markdown")].at(-1)?.textContent.length ?? 0;
      if (length && length !== lengths.at(-1)) lengths.push(length);
    }).observe(document.body, { childList: true, subtree: true, characterData: true });
  });
  return () => page.evaluate(() => (window as unknown as { lengths: number[] }).lengths);
}

test("opened without any action, the page loads stories and writes a first story", async ({ page, site }) => {
  await page.goto(`${site.url}/page/`);
  const first = await page.waitForFunction(() => {
    const text = document.querySelector(".message.assistant .markdown")?.textContent;
    return text ? Math.round(performance.now()) : 0;
  });
  console.log(`first token: ${await first.jsonValue()} ms`);
  const lengths = await watchText(page);
  await expect(questions(page)).toContainText("The page asked this by itself");
  await inState(page, "ready", "stopped");
  // A story, and it came piece by piece.
  await expect(answers(page).locator(".markdown")).toContainText(/\w+ \w+ \w+[\s\S]{100}/);
  const seen = await lengths();
  expect(seen.length).toBeGreaterThan(20);
  expect(seen).toEqual([...seen].sort((a, b) => a - b));
  await expect(ending(page)).toHaveText(/^(finished|the answer reached its limit) · [\d.,]+ tokens · [\d.,]+ tok\/s$/);
  await expect(page.getByRole("group", { name: "Suggestions" }).getByRole("button")).toHaveCount(3);
  await expect(composer(page)).toBeFocused();
  await expect(page.getByText("Sent since load: 0")).toBeVisible();
});

test("what is typed before the engine is there is kept, and sent when it is", async ({ page, site }) => {
  await rememberCheck(page, site);
  let release = () => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  await page.route(/\/assets\/.*\.js$/, async (route) => {
    await held;
    await route.continue();
  });
  let releaseWorker = () => {};
  const heldWorker = new Promise<void>((resolve) => (releaseWorker = resolve));
  await page.route(/\/worker\.js$/, async (route) => {
    await heldWorker;
    await route.continue();
  });
  await page.goto(`${site.url}/page/`, { waitUntil: "commit" });
  // The skeleton, without any script.
  await composer(page).fill("Tell me a story about");
  release();
  await inState(page, "downloading", "loading");
  await expect(composer(page)).toHaveValue("Tell me a story about");
  await expect(composer(page)).toBeFocused();
  await page.keyboard.press("End");
  await page.keyboard.type(" a fox.");
  await page.keyboard.press("Enter");
  await expect(page.getByText("Will be sent when the model is ready")).toBeVisible();
  releaseWorker();
  await expect(questions(page)).toHaveText(/^Tell me a story about a fox\./);
  await inState(page, "decode");
  await button(page, "Stop").click();
  await expect(answers(page)).toHaveCount(1);
});

test.describe("on a loaded page", () => {
  let page: Page;

  test.beforeAll(async ({ browser, site }) => {
    page = await browser.newPage();
    await rememberCheck(page, site);
    await openReady(page, site, "&n=24&t=0");
  });
  test.afterAll(() => page.close());
  test.beforeEach(() => newChat(page));

  async function set(setting: string, value: string): Promise<void> {
    await button(page, "Settings").click();
    await page.getByLabel(setting, { exact: true }).fill(value);
    await page.keyboard.press("Tab");
    await button(page, "Close").click();
    // The dialog gives the focus back, after it has gone.
    await expect(button(page, "Settings")).toBeFocused();
  }

  const setMaxTokens = (count: string) => set("Max tokens", count);

  test("a stopped answer says so, and can be continued", async () => {
    await setMaxTokens("");
    await composer(page).fill("Tell me a story about a bear.");
    await composer(page).press("Enter");
    await expect(answers(page).locator(".markdown")).toContainText(/\w+ \w+ \w+ \w+/);
    await button(page, "Stop").click();
    await inState(page, "stopped");
    await expect(ending(page)).toHaveText(/^stopped/);
    const before = (await answers(page).locator(".markdown").innerText()).trimEnd();
    await setMaxTokens("24");
    await button(page, "Continue").click();
    await inState(page, "decode");
    await inState(page, "ready", "stopped");
    const after = await answers(page).locator(".markdown").innerText();
    expect(after.slice(0, before.length)).toBe(before);
    expect(after.length).toBeGreaterThan(before.length + 20);
  });

  test("the limit of an answer is named; asked again, the answer stands beside the first", async () => {
    await setMaxTokens("24");
    await ask(page, "Tell me a story about a duck.");
    await expect(ending(page)).toHaveText(/^the answer reached its limit · 24 tokens/);
    const first = await answers(page).locator(".markdown").innerText();
    await set("Temperature", "1.5");
    await button(page, "Regenerate").click();
    await inState(page, "prefill", "decode");
    await inState(page, "ready", "stopped");
    await set("Temperature", "0");
    await expect(answers(page)).toHaveCount(1);
    await expect(answers(page)).toContainText("2/2");
    expect(await answers(page).locator(".markdown").innerText()).not.toBe(first);
    await button(page, "Previous version").click();
    await expect(answers(page)).toContainText("1/2");
    await expect(answers(page).locator(".markdown")).toHaveText(first.trimEnd());
    await expect(button(page, "Previous version")).toBeDisabled();
    await button(page, "Next version").click();
    await expect(answers(page)).toContainText("2/2");
  });

  test("an edited question is a branch with an answer of its own; a deleted message takes what follows along", async () => {
    await setMaxTokens("24");
    await ask(page, "Tell me a story about a duck.");
    await button(page, "Edit").click();
    const editor = page.getByRole("textbox", { name: "Edit" });
    await expect(editor).toBeFocused();
    await editor.fill("Tell me a story about a goat.");
    await button(page, "Send as a new branch").click();
    await inState(page, "prefill", "decode");
    await inState(page, "ready", "stopped");
    await expect(questions(page)).toHaveText(/goat[\s\S]*2\/2/);
    await expect(answers(page)).toHaveCount(1);
    await questions(page).getByRole("button", { name: "Previous version" }).click();
    await expect(questions(page)).toHaveText(/duck[\s\S]*1\/2/);
    await ask(page, "And then?");
    await expect(answers(page)).toHaveCount(2);
    await questions(page).last().getByRole("button", { name: "Delete" }).click();
    await expect(answers(page)).toHaveCount(1);
    await questions(page).getByRole("button", { name: "Delete" }).click();
    // The other branch is what is left of the conversation.
    await expect(questions(page)).toHaveText(/goat/);
    await expect(questions(page)).not.toContainText("/2");
  });

  test("an answer is copied as it was written", async () => {
    await setMaxTokens("24");
    await ask(page, "Tell me a story about a duck.");
    await answers(page).getByRole("button", { name: "Copy" }).click();
    await expect(status(page)).toHaveText(/^copied/);
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    expect(copied.length).toBeGreaterThan(40);
    expect(copied.replaceAll(/\s+/g, " ").trim()).toBe((await answers(page).locator(".markdown").innerText()).replaceAll(/\s+/g, " ").trim());
  });

  test("a thought is folded away, with the time that it took", async () => {
    // At temperature 0 the thought is a line of some thirty tokens, and the rest is the answer.
    await setMaxTokens("80");
    await page.getByLabel("Think first").check();
    await ask(page, "Tell me a story about a cat.");
    await page.getByLabel("Think first").uncheck();
    const thought = answers(page).locator("details");
    await expect(thought).not.toHaveAttribute("open");
    await expect(thought.locator("summary")).toHaveText(/^Thought for [\d.,]+ s/);
    await expect(thought.locator(".markdown")).toBeHidden();
    await thought.locator("summary").click();
    await expect(thought.locator(".markdown")).toBeVisible();
    expect((await answers(page).locator("> .message-body > .markdown").innerText()).length).toBeGreaterThan(20);
  });

  test("everything can be done with the keyboard alone", async () => {
    await setMaxTokens("24");
    const press = (key: string) => page.keyboard.press(key);
    await composer(page).focus();
    await page.keyboard.type("Tell me a story");
    await press("Shift+Enter");
    await page.keyboard.type("about a fish.");
    await expect(composer(page)).toHaveValue("Tell me a story\nabout a fish.");
    await press("Enter");
    await expect(composer(page)).toHaveValue("");
    await press("Escape");
    await inState(page, "stopped");
    await expect(composer(page)).toBeFocused();
    // ↑ in the empty composer edits the last question; Esc leaves it alone, Ctrl+Enter sends it.
    await press("ArrowUp");
    await expect(page.getByRole("textbox", { name: "Edit" })).toBeFocused();
    await press("Escape");
    await expect(page.getByRole("textbox", { name: "Edit" })).toHaveCount(0);
    await composer(page).focus();
    await press("ArrowUp");
    await expect(page.getByRole("textbox", { name: "Edit" })).toBeFocused();
    await page.keyboard.type(" A big one.");
    await press("Control+Enter");
    await expect(questions(page)).toContainText("A big one.");
    await inState(page, "ready", "stopped");
    // From the composer back through the message's actions: each can be reached.
    await composer(page).focus();
    const reached = new Set<string>();
    for (let step = 0; step < 40 && !reached.has("Skip to the composer"); step += 1) {
      await press("Shift+Tab");
      const name = await page.evaluate(() => document.activeElement?.getAttribute("aria-label") ?? document.activeElement?.textContent ?? "");
      reached.add(name);
    }
    for (const name of ["Copy", "Edit", "Regenerate", "Delete", "New chat", "Settings", "Keys", "Skip to the composer"])
      expect([...reached]).toContain(name);
    await press("Enter");
    await expect(composer(page)).toBeFocused();
    await press("Shift+Tab");
    // Single keys.
    await press("?");
    await expect(page.getByRole("dialog", { name: "Keys" })).toBeVisible();
    await press("Escape");
    await expect(page.locator("dialog")).toHaveCount(0);
    const panel = page.getByRole("complementary", { name: "Panels" });
    const open = await panel.count();
    await press("a");
    await expect(panel).toHaveCount(1 - open);
    await press("a");
    await expect(panel).toHaveCount(open);
    await press("/");
    await expect(composer(page)).toBeFocused();
    await page.keyboard.type("an?");
    await expect(composer(page)).toHaveValue("an?");
    await composer(page).fill("");
    await press("Shift+Tab");
    await press("n");
    await expect(answers(page)).toHaveCount(0);
    await expect(composer(page)).toBeFocused();
    // Switched off (WCAG 2.1.4).
    await press("Shift+Tab");
    await press("?");
    await page.getByRole("dialog").getByRole("checkbox").focus();
    await press("Space");
    await press("Escape");
    await expect(page.locator("dialog")).toHaveCount(0);
    await press("a");
    await expect(panel).toHaveCount(open);
    await press("?");
    await expect(page.locator("dialog")).toHaveCount(0);
    await page.evaluate(() => localStorage.clear());
  });
});

test("a link loads and asks nothing until it is told to, and then as it says", async ({ page, site }) => {
  site.server.reset();
  const url = "&t=0&n=12&att=dense&q=Once%20upon";
  await openByLink(page, site, url);
  await expect(page.getByText("This link names a model and settings.")).toBeVisible();
  await expect(composer(page)).toHaveValue("Once upon");
  await expect(page.getByRole("radio", { name: "Dense" })).toBeChecked();
  expect(site.server.requests.filter(({ path }) => path.endsWith("model.safetensors") && path.startsWith("page"))).toEqual([]);
});
