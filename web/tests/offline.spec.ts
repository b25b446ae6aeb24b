// After its first visit the page works without a network; it works from a folder and inside another site's frame.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, rememberCheck, test } from "./fixtures.js";
import { answers, ask, button, inState } from "./page.js";
import { startServer } from "./server.js";

test("with the network off the page loads again, its model too, and writes", async ({ page, context, site }) => {
  await rememberCheck(page, site);
  await page.goto(`${site.url}/page/#m=stories&n=16&t=0`);
  await inState(page, "choose");
  // The service worker has all files once it is in charge.
  await page.evaluate(async () => {
    await navigator.serviceWorker.ready;
    while (!navigator.serviceWorker.controller) await new Promise((resolve) => setTimeout(resolve, 50));
  });
  site.server.reset();
  await context.setOffline(true);
  await page.reload();
  await inState(page, "choose");
  await expect(page.getByText("offline", { exact: true })).toBeVisible();
  await button(page, "Use").click();
  await inState(page, "ready");
  await ask(page, "Tell me a story about a bird.");
  await expect(answers(page)).toContainText(/\w+ \w+ \w+/);
  // The browser's own look for a newer service worker is not held back by being offline.
  expect(site.server.requests.filter(({ path }) => path !== "page/sw.js")).toEqual([]);
  await context.setOffline(false);
});

test("inside a frame of another origin it works, and tells that its models are kept apart", async ({ page, site }) => {
  // Another name is another site.
  const root = mkdtempSync(join(tmpdir(), "lyn-frame-"));
  const source = `${site.url}/page/#m=stories&n=16&t=0`;
  writeFileSync(join(root, "index.html"), `<!doctype html><title>outer</title><iframe src="${source}" width="900" height="700"></iframe>`);
  const outer = await startServer({ root });
  await page.goto(outer.url.replace("127.0.0.1", "localhost"));
  const frame = page.frameLocator("iframe");
  await expect(frame.locator("body")).toHaveAttribute("data-state", "choose");
  await expect(frame.getByText("This page is inside another one")).toBeVisible();
  await frame.getByRole("button", { name: "Use", exact: true }).click();
  await expect(frame.locator("body")).toHaveAttribute("data-state", "ready");
  await frame.getByRole("textbox", { name: "Message" }).fill("Tell me a story about a bird.");
  await frame.getByRole("textbox", { name: "Message" }).press("Enter");
  await expect(frame.locator("[data-finish]")).toHaveText(/tokens/);
  await expect(frame.getByRole("article", { name: "lyn" })).toContainText(/\w+ \w+ \w+/);
  await outer.close();
  rmSync(root, { recursive: true });
});
