// Pictures of the page with the real engine, to be looked at: ready, generating, attention; light, dark, phone. With
// `LYN_UPDATE=1` the README's picture is written anew.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { expect, rememberCheck, repository, test } from "./fixtures.js";
import { composer, expectNoOverflow, inState, openReady } from "./page.js";

test.use({ serviceWorkers: "block" });

const looks = {
  light: { colorScheme: "light", width: 1200, height: 760 },
  dark: { colorScheme: "dark", width: 1200, height: 760 },
  phone: { colorScheme: "light", width: 390, height: 844 },
} as const;

test("ready, generating and attention: in light, in dark, on a phone", async ({ page, site }) => {
  const folder = join(repository, "web/tests/results/screens");
  mkdirSync(folder, { recursive: true });
  const shoot = async (state: string) => {
    for (const [look, { colorScheme, width, height }] of Object.entries(looks)) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await page.setViewportSize({ width, height });
      const picture = await page.screenshot({ path: join(folder, `${state}-${look}.png`) });
      // An empty picture of this size compresses to a few kilobytes.
      expect(picture.length, `${state}-${look}`).toBeGreaterThan(12_000);
      await expectNoOverflow(page);
    }
    await page.setViewportSize({ width: looks.light.width, height: looks.light.height });
  };
  await page.setViewportSize({ width: looks.light.width, height: looks.light.height });
  await rememberCheck(page, site);
  await openReady(page, site, "&n=230&t=0");
  await shoot("ready");
  await composer(page).fill("Tell me a story about a dragon.");
  await composer(page).press("Enter");
  await inState(page, "decode");
  await expect(page.locator(".message.assistant .markdown")).toContainText(/\w+ \w+ \w+/);
  await shoot("generating");
  await inState(page, "ready", "stopped");
  await shoot("attention");
  if (process.env["LYN_UPDATE"]) {
    await page.emulateMedia({ colorScheme: "light" });
    mkdirSync(join(repository, "docs/images"), { recursive: true });
    await page.screenshot({ path: join(repository, "docs/images/attention.png") });
  }
});
