// How fast the page answers to people while the engine works: measured when no other test runs.

import { type Page, expect, rememberCheck, test } from "./fixtures.js";
import { answers, composer, inState, newChat, openReady } from "./page.js";

test.use({ serviceWorkers: "block" });

let page: Page;

test.beforeAll(async ({ browser, site }) => {
  page = await browser.newPage();
  await rememberCheck(page, site);
  await page.addInitScript(() => {
    const tasks: { from: number; ms: number }[] = [];
    Object.assign(window, { tasks });
    new PerformanceObserver((list) => {
      for (const { startTime, duration } of list.getEntries()) tasks.push({ from: startTime, ms: duration });
    }).observe({ type: "longtask", buffered: true });
  });
  await openReady(page, site, "&t=0");
});
test.afterAll(() => page.close());
test.beforeEach(() => newChat(page));

/** Starts an answer of a hundred and more tokens and waits until it is being written. */
async function askAtLength(): Promise<void> {
  await composer(page).fill("Tell me a story about a bear.");
  await composer(page).press("Enter");
  await inState(page, "decode");
  await expect(answers(page).last().locator(".markdown")).toContainText(/\w+ \w+ \w+ \w+/);
}

test("Stop acts within half a second", async () => {
  await askAtLength();
  const waited = await page.evaluate(async () => {
    const started = performance.now();
    document.querySelector<HTMLButtonElement>("button.stop")?.click();
    while (document.body.dataset.state !== "stopped") await new Promise(requestAnimationFrame);
    return performance.now() - started;
  });
  console.log(`stop: ${Math.round(waited)} ms`);
  expect(waited).toBeLessThan(500);
});

test("no task holds the page for more than 100 ms while an answer is written", async () => {
  const from = await page.evaluate(() => performance.now());
  await askAtLength();
  await inState(page, "ready", "stopped");
  const tasks = await page.evaluate(
    (from) => (window as unknown as { tasks: { from: number; ms: number }[] }).tasks.filter((task) => task.from >= from),
    from,
  );
  const longest = Math.max(0, ...tasks.map(({ ms }) => ms));
  console.log(`longest task: ${longest} ms (0: none over 50)`);
  expect(longest).toBeLessThanOrEqual(100);
});
