// The first visit, before all other tests: the adapter is checked, and what remembers the pass is kept for the contexts of
// the others (`rememberCheck`), which would check it anew: seconds each on a software adapter.

import { CHECKS, expect, keepChecks, test } from "./fixtures.js";

test("an adapter is checked by the first load, and not by the next", async ({ page, site }) => {
  await page.goto(`${site.url}/blank.html`);
  const { loads, remembered } = await page.evaluate(async (cache) => {
    const lyn = (await import("/lyn/index.js" as string)) as typeof import("lyn");
    const loads = [];
    for (const _ of ["first", "next"]) {
      const stages = new Set<string>();
      const engine = await lyn.load("stories", { context: 256, onProgress: ({ stage }) => stages.add(stage) });
      loads.push({ selfCheck: engine.selfCheck, checking: stages.has("check") });
      await engine.unload();
    }
    const requests = await (await caches.open(cache)).keys();
    return { loads, remembered: requests.map(({ url }) => url.slice(location.origin.length)) };
  }, CHECKS);
  expect(loads).toEqual([
    { selfCheck: { passed: true, fromCache: false }, checking: true },
    { selfCheck: { passed: true, fromCache: true }, checking: false },
  ]);
  expect(remembered).toHaveLength(1);
  keepChecks(remembered);
});
