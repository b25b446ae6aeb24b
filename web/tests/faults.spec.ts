// What the npm package does when the GPU, the worker or memory fails.

import { expect, test, withHook } from "./fixtures.js";

test("a lost device is replaced, and the next request reads its conversation again", async ({ page, site }) => {
  await withHook(page, "device");
  await page.goto(`${site.url}/blank.html`);
  const got = await page.evaluate(async () => {
    const lyn = await import("/lyn/index.js" as string);
    const engine = await lyn.load("stories", { context: 512, selfCheck: false });
    const seen: string[] = [];
    for (const type of ["lost", "restored", "failed"]) engine.addEventListener(type, () => seen.push(type));
    const options = { temperature: 0, maxTokens: 60 };
    const before = await engine.generate("Once upon a time", options).result;
    const restored = new Promise((resolve) => engine.addEventListener("restored", resolve, { once: true }));
    const broken = engine.generate("Once upon a time", { temperature: 0, maxTokens: 400 });
    let code = "";
    try {
      for await (const token of broken) if (token.position === 30) new BroadcastChannel("lyn-test").postMessage("destroy");
    } catch (error) {
      code = (error as { code: string }).code;
    }
    await restored;
    const after = await engine.generate("Once upon a time", options).result;
    return { seen, code, before: before.text, after: after.text };
  });
  expect(got.code).toBe("device_lost");
  expect(got.seen).toEqual(["lost", "restored"]);
  expect(got.after).toBe(got.before);
});

test("a crash of the browser's GPU process is a lost device", async ({ browser, page, site }) => {
  await page.goto(`${site.url}/blank.html`);
  await page.evaluate(async () => {
    window.lyn = await import("/lyn/index.js" as string);
    window.engine = await window.lyn.load("stories", { context: 512, selfCheck: false });
  });
  const restored = page.evaluate(
    () => new Promise<number>((resolve) => window.engine.addEventListener("restored", (event) => resolve(event.detail.attempt))),
  );
  const session = await browser.newBrowserCDPSession();
  // The answer never comes: what would send it is what crashes.
  void session.send("Browser.crashGpuProcess").catch(() => {});
  expect(await restored).toBe(1);
  const text = await page.evaluate(async () => (await window.engine.generate("Once upon a time", { temperature: 0, maxTokens: 8 }).result).text);
  expect(text).toBe(", there was a little girl named Lily");
});

test("a device that keeps dying is given up, with an error that says so", async ({ page, site }) => {
  await withHook(page, "device");
  await page.goto(`${site.url}/blank.html`);
  const got = await page.evaluate(async () => {
    const lyn = await import("/lyn/index.js" as string);
    const engine = await lyn.load("stories", { context: 512, selfCheck: false });
    const channel = new BroadcastChannel("lyn-test");
    const failed = new Promise<{ code: string }>((resolve) =>
      engine.addEventListener("failed", (event: CustomEvent) => resolve(event.detail), { once: true }),
    );
    engine.addEventListener("restored", () => channel.postMessage("destroy"));
    channel.postMessage("destroy");
    return failed;
  });
  expect(got.code).toBe("device_lost");
});

test("where workers have no GPU, the engine runs in the page and says so", async ({ page, site }) => {
  await withHook(page, "no-gpu");
  await page.goto(`${site.url}/blank.html`);
  const got = await page.evaluate(async () => {
    const lyn = await import("/lyn/index.js" as string);
    const engine = await lyn.load("stories", { context: 256, selfCheck: false });
    const result = await engine.generate("Once upon a time", { temperature: 0, maxTokens: 8 }).result;
    return { worker: engine.worker, text: result.text };
  });
  expect(got.worker).toBe(false);
  expect(got.text).toBe(", there was a little girl named Lily");
});

test("the default limits of WebGPU suffice", async ({ page, site }) => {
  await withHook(page, "default-limits");
  await page.goto(`${site.url}/blank.html`);
  const text = await page.evaluate(async () => {
    const lyn = await import("/lyn/index.js" as string);
    const engine = await lyn.load("stories", { context: 1024, selfCheck: false });
    return (await engine.generate("Once upon a time", { temperature: 0, maxTokens: 8 }).result).text;
  });
  expect(text).toBe(", there was a little girl named Lily");
});

test("a network that fails is not a broken checkpoint, and remedies are the package's own", async ({ page, site }) => {
  await page.goto(`${site.url}/blank.html`);
  await page.route(/huggingface/, (route) => route.abort("internetdisconnected"));
  const [plan, context] = await page.evaluate(async () => {
    const lyn = await import("/lyn/index.js" as string);
    const caught = (promise: Promise<unknown>) => promise.then(() => null, (error) => error.toJSON());
    return [await caught(lyn.plan("hf:org/name")), await caught(lyn.plan("stories", { context: 1 << 20 }))];
  });
  expect(plan).toMatchObject({ code: "network" });
  expect(context.help.join()).not.toContain("--");
});

test("a panic in WebAssembly ends every call with an error instead of silence", async ({ page, site }) => {
  await withHook(page, "panic");
  await page.goto(`${site.url}/blank.html`);
  const got = await page.evaluate(async () => {
    const lyn = await import("/lyn/index.js" as string);
    const engine = await lyn.load("stories", { context: 256, selfCheck: false });
    const running = engine.generate("Once", { temperature: 0, maxTokens: 200 }).result;
    new BroadcastChannel("lyn-test").postMessage("panic");
    const caught = (promise: Promise<unknown>) => promise.then(() => "", (error: { code: string }) => error.code);
    return [await caught(running), await caught(engine.tokenize("x"))];
  });
  expect(got).toEqual(["internal", "internal"]);
});

test("unload gives the GPU's memory back, and load works again", async ({ browser, site }) => {
  const page = await browser.newPage();
  await page.goto(`${site.url}/blank.html`);
  const memory = async () => {
    // Destroyed devices go when the GPU process has handled what it was sent.
    await page.waitForTimeout(500);
    return site.gpuMemory(browser);
  };
  await page.evaluate(async () => {
    window.lyn = await import("/lyn/index.js" as string);
    // The first device stays in the browser: caches of its own, compiled shaders.
    await (await window.lyn.load("stories", { context: 2048, selfCheck: false })).unload();
  });
  const before = await memory();
  const during: number[] = [];
  const after: number[] = [];
  for (let round = 0; round < 3; round += 1) {
    await page.evaluate(async () => {
      window.engine = await window.lyn.load("stories", { context: 2048, selfCheck: false });
      await window.engine.generate("Once", { maxTokens: 4 }).result;
    });
    during.push(await memory());
    await page.evaluate(() => window.engine.unload());
    after.push(await memory());
  }
  const weights = 8.9e6;
  for (const bytes of during) expect(bytes - before).toBeGreaterThan(weights);
  // Within the noise of a process's resident memory: less than the weights of one load after three.
  expect((after.at(-1) ?? 0) - before).toBeLessThan(weights);
  await page.close();
});
