// Every state of the page, brought about by faults: what people see, what they can do, how they get out. Each is looked at
// by axe, light, dark and narrow. Most have a double of the engine: the real one passes through them too quickly.

import type { Page } from "@playwright/test";
import { notify, reply, told, whole, withDouble } from "./double.js";
import { expect, test } from "./fixtures.js";
import { answers, ask, button, composer, ending, expectGoodLooks, inState, openByLink, openReady, questions, status } from "./page.js";

test.use({ serviceWorkers: "block", permissions: ["clipboard-read", "clipboard-write"] });
// No test needs another: both workers share what is last in the run.
test.describe.configure({ mode: "parallel" });

const alert = (page: Page) => page.getByRole("alert");
const upload = { stage: "upload", loaded: 4_000_000, total: 8_900_000 } as const;

test("boot: the skeleton can be written in while the adapter is looked for", async ({ page, site }) => {
  await page.addInitScript(() => {
    GPU.prototype.requestAdapter = () => new Promise(() => {});
  });
  await page.goto(`${site.url}/page/`);
  await expect(page.getByText("Looking for a graphics adapter …")).toBeVisible();
  await inState(page, "boot");
  await composer(page).fill("kept");
  await composer(page).press("Enter");
  await expect(page.getByText("Will be sent when the model is ready")).toBeVisible();
  await expectGoodLooks(page);
});

test.describe("unsupported", () => {
  const reasons: { name: string; says: RegExp; help: RegExp; host?: string; userAgent?: string; script?: () => void }[] = [
    { name: "an insecure connection", says: /insecure connection/, help: /https/, host: "insecure.test" },
    {
      name: "no WebGPU",
      says: /This browser has no WebGPU/,
      help: /chrome:\/\/flags/,
      script: () => Object.defineProperty(Navigator.prototype, "gpu", { get: () => undefined }),
    },
    {
      name: "no adapter",
      says: /offers no graphics adapter/,
      help: /chrome:\/\/flags/,
      script: () => (GPU.prototype.requestAdapter = async () => null),
    },
    {
      name: "a limit that is too small",
      says: /lacks a feature or a limit/,
      help: /another GPU/,
      script: () => Object.defineProperty(GPUSupportedLimits.prototype, "maxBufferSize", { get: () => 2 ** 20 }),
    },
    {
      name: "the browser of another app",
      says: /inside another app/,
      help: /phone's own browser/,
      userAgent: "Mozilla/5.0 (Linux; Android 15; wv) AppleWebKit/537.36 Chrome/130.0 Mobile Safari/537.36 Instagram 300.0",
      script: () => Object.defineProperty(Navigator.prototype, "gpu", { get: () => undefined }),
    },
  ];
  for (const { name, says, help, host, userAgent, script } of reasons) {
    test(`${name} is told, with its remedy`, async ({ browser, site }) => {
      const page = await browser.newPage(userAgent === undefined ? {} : { userAgent });
      if (script) await page.addInitScript(script);
      await page.goto(`${host ? site.url.replace("127.0.0.1", host) : site.url}/page/`);
      await inState(page, "unsupported");
      await expect(alert(page)).toHaveText(says);
      await expect(page.locator(".help li").first()).toHaveText(help);
      await expect(page.getByText("cargo install lyn-cli")).toBeVisible();
      await expect(page.locator(".badge")).toHaveClass(/badge-red/);
      await expect(button(page, "Try again")).toBeVisible();
      await expectGoodLooks(page);
      await page.close();
    });
  }

  test("Try again goes on where there is an adapter by now; the report names the fault", async ({ page, site }) => {
    await withDouble(page);
    await page.addInitScript(() => {
      const { requestAdapter } = GPU.prototype;
      GPU.prototype.requestAdapter = async () => null;
      Object.assign(window, { mend: () => (GPU.prototype.requestAdapter = requestAdapter) });
    });
    await page.goto(`${site.url}/page/`);
    await inState(page, "unsupported");
    await button(page, "Copy report").click();
    const report: unknown = JSON.parse(await page.evaluate(() => navigator.clipboard.readText()));
    expect(report).toMatchObject({ schema: "lyn.report/1", state: "unsupported", problem: { code: "no_adapter" }, secure: true });
    await page.evaluate(() => (window as unknown as { mend(): void }).mend());
    await button(page, "Try again").click();
    await inState(page, "ready");
  });
});

test("choose: the built-in model, the Hub and this device, nothing fetched yet", async ({ page, site }) => {
  await openByLink(page, site);
  await expect(page.getByRole("heading", { name: "stories" })).toBeVisible();
  await expect(page.getByText("9 MB, comes with the page")).toBeVisible();
  await expect(page.getByRole("textbox", { name: "Repository" })).toBeVisible();
  await expect(page.getByText("Pick a folder")).toBeVisible();
  await expectGoodLooks(page);
});

test("choose: where data is to be saved nothing is fetched, and the page says why", async ({ page, site }) => {
  await page.addInitScript(() => {
    Object.defineProperty(Navigator.prototype, "connection", { get: () => ({ saveData: true }) });
  });
  await page.goto(`${site.url}/page/`);
  await inState(page, "choose");
  await expect(page.getByText("Data saving is on")).toBeVisible();
});

test.describe("with a double of the engine", () => {
  test("downloading: bytes, rate, time left, file and source are told; it can be paused and resumed", async ({ page, site }) => {
    await withDouble(page, { hold: ["load"] });
    await page.goto(`${site.url}/page/`);
    await inState(page, "downloading");
    await expect(page.getByText("Requesting the files …")).toBeVisible();
    const progress = {
      stage: "download",
      loaded: 4 * 2 ** 20,
      total: 16 * 2 ** 20,
      bytesPerSecond: 2 ** 20,
      etaSeconds: 12,
      file: "model.safetensors",
      index: 0,
      files: 5,
      fromCache: false,
    } as const;
    await reply(page, "load", { event: progress });
    await expect(page.locator(".card .numbers")).toHaveText("4.0 MiB of 16.0 MiB · 1.0 MiB/s · 12 s left · from the network");
    await expect(page.getByText("file 1 of 5: model.safetensors")).toBeVisible();
    await expect(page.getByRole("progressbar")).toHaveAttribute("value", "0.25");
    await expect(page).toHaveTitle(/^● 25.?% lyn$/);
    await expect(page.locator(".clock")).toHaveText(/^for [\d.]+ s$/);
    await expect(status(page)).toHaveText(/^20.?% downloaded/);
    await expectGoodLooks(page);
    await button(page, "Pause").click();
    await expect(page.getByText("Paused. Downloads so far are kept.")).toBeVisible();
    await expectGoodLooks(page);
    await reply(page, "load", { error: { code: "cancelled", message: "stopped", help: [], details: {} } });
    await button(page, "Resume").click();
    await expect(button(page, "Pause")).toBeVisible();
  });

  test("loading: weights, shaders and the check each have their line and a clock", async ({ page, site }) => {
    await withDouble(page, { hold: ["load"] });
    await page.goto(`${site.url}/page/`);
    await inState(page, "downloading");
    await reply(page, "load", { event: upload });
    await expect(page.locator(".card .numbers")).toHaveText("Uploading weights: 3.8 MiB of 8.5 MiB");
    await expect(page.locator(".clock")).toHaveText(/^for [\d.]+ s$/);
    await expectGoodLooks(page);
    await reply(page, "load", { event: { stage: "compile", done: 7, total: 17 } });
    await expect(page.locator(".card .numbers")).toHaveText("Compiling shaders: 7 of 17");
    await reply(page, "load", { event: { stage: "check" } });
    await expect(page.locator(".card .numbers")).toHaveText("Checking the adapter's arithmetic");
    await reply(page, "load", { value: whole });
    await inState(page, "prefill", "decode", "ready");
  });

  test("ready: composer focused, three suggestions, the privacy line", async ({ page, site }) => {
    await withDouble(page);
    await openReady(page, site);
    await expect(composer(page)).toBeFocused();
    await expect(page.getByRole("group", { name: "Suggestions" }).getByRole("button")).toHaveCount(3);
    await expect(page.getByRole("button", { name: /Runs on your device. Sent since load: 0/ })).toBeVisible();
    await expect(page.locator(".badge")).toHaveClass(/badge-green/);
    await expectGoodLooks(page);
  });

  test("prefill and decode: what is read and written is counted, with a clock; the reader's place is kept", async ({ page, site }) => {
    await withDouble(page, { hold: ["chat"] });
    await openReady(page, site);
    await composer(page).fill("x".repeat(400));
    await composer(page).press("Enter");
    await inState(page, "prefill");
    await reply(page, "chat", { event: { prompt: { done: 1204, total: 3310, cached: 0 } } });
    await expect(page.locator(".live")).toHaveText(/^(⌛ )?reading prompt 1,204\/3,310 · [\d.]+ s$/);
    await expect(status(page)).toHaveText(/^reading prompt/);
    await expect(page.getByRole("log")).toHaveAttribute("aria-busy", "true");
    await expectGoodLooks(page);
    const piece = (content: string, position: number) =>
      reply(page, "chat", { event: { chunk: { choices: [{ index: 0, delta: { content } }], lyn: { ids: [position], position } } } });
    await piece("A long answer.\n\n".repeat(60), 10);
    await inState(page, "decode");
    await piece("And more.", 11);
    await expect(page.locator(".live")).toHaveText(/^[\d.,]+ tok\/s · 2 tokens · [\d.]+ s$/);
    await expect(status(page)).toHaveText(/^writing/);
    await expectGoodLooks(page);
    // The view follows the end, until the reader goes elsewhere.
    const scroller = page.getByRole("region", { name: "Conversation" });
    const fromEnd = () => scroller.evaluate((element) => Math.round(element.scrollHeight - element.scrollTop - element.clientHeight));
    await expect.poll(fromEnd).toBeLessThan(2);
    await scroller.hover();
    await page.mouse.wheel(0, -600);
    await expect(button(page, "Jump to the end")).toBeVisible();
    const place = await scroller.evaluate((element) => element.scrollTop);
    await piece("\n\nMore lines.".repeat(30), 12);
    await expect(answers(page)).toContainText("More lines.");
    expect(await scroller.evaluate((element) => element.scrollTop)).toBe(place);
    await button(page, "Jump to the end").click();
    await expect.poll(fromEnd).toBeLessThan(2);
    await expect(button(page, "Jump to the end")).toHaveCount(0);
  });

  test("a message that is sent while an answer is written waits for its turn", async ({ page, site }) => {
    await withDouble(page, { pace: 50 });
    await openReady(page, site);
    await composer(page).fill(JSON.stringify(Array.from({ length: 30 }, () => "word ")));
    await composer(page).press("Enter");
    await inState(page, "decode");
    await composer(page).fill('["second"]');
    await composer(page).press("Enter");
    await expect(page.getByText("Will be sent when this answer is finished")).toBeVisible();
    await expect(answers(page)).toHaveCount(2);
    await expect(answers(page).last()).toContainText("second");
    await expect(answers(page).first()).toContainText("word ".repeat(30).trim());
  });

  test("stopped and limit: the reason is told, and what can be done about it", async ({ page, site }) => {
    await withDouble(page, { pace: 20, context: 64 });
    await openReady(page, site);
    await composer(page).fill(JSON.stringify(Array.from({ length: 60 }, () => "word ")));
    await composer(page).press("Enter");
    await inState(page, "decode");
    await page.keyboard.press("Escape");
    await inState(page, "stopped");
    await expect(ending(page)).toHaveText(/^stopped/);
    await expect(button(page, "Continue")).toBeVisible();
    await expect(button(page, "Regenerate")).toBeVisible();
    await expectGoodLooks(page);
    await button(page, "Regenerate").click();
    await expect(answers(page)).toContainText("2/2");
    await expect(ending(page)).toHaveText(/^the context is full/);
    await expect(button(page, "Load with a context of 128")).toBeVisible();
    await expectGoodLooks(page);
  });

  test("recovering: the conversation stays, and the answer goes on when the GPU is back", async ({ page, site }) => {
    await withDouble(page, { hold: ["chat"] });
    await openReady(page, site);
    await composer(page).fill("Hello");
    await composer(page).press("Enter");
    await inState(page, "prefill");
    const chunk = { choices: [{ index: 0, delta: { content: "Half an ans" } }], lyn: { ids: [1], position: 9 } };
    await reply(page, "chat", { event: { chunk } });
    await inState(page, "decode");
    await notify(page, { notice: { type: "lost", reason: "the device was lost", attempt: 1 } });
    await reply(page, "chat", { error: { code: "device_lost", message: "the device was lost", help: [], details: {} } });
    await inState(page, "recovering");
    await notify(page, { notice: { type: "progress", progress: upload } });
    await expect(page.getByRole("heading", { name: "The GPU was reset. Recovering" })).toBeVisible();
    await expect(page.locator(".card .numbers")).toContainText(/45.?%/);
    await expect(page.locator(".clock")).toHaveText(/^for [\d.]+ s$/);
    await expect(answers(page)).toContainText("Half an ans");
    await expectGoodLooks(page);
    await notify(page, { notice: { type: "restored", attempt: 1 } });
    await inState(page, "prefill");
    const rest = { choices: [{ index: 0, delta: { content: "wer." } }], lyn: { ids: [2], position: 10 } };
    await reply(page, "chat", { event: { chunk: rest } });
    await expect(answers(page)).toContainText("Half an answer.");
  });

  test("failed: the error, its help and its code; loading again and the report are offered", async ({ page, site }) => {
    await withDouble(page, { hold: ["load"] });
    await page.goto(`${site.url}/page/`);
    await inState(page, "downloading");
    const help = ["Close other programs."];
    await reply(page, "load", { error: { code: "out_of_memory", message: "no room for 3 GiB", help, details: {} } });
    await inState(page, "failed");
    await expect(alert(page)).toHaveText(/^Not enough graphics memory\./);
    await expect(page.getByRole("listitem")).toHaveText(help);
    await page.getByText("Details").click();
    await expect(page.getByText("no room for 3 GiB")).toBeVisible();
    await expect(page.getByText("code: out_of_memory")).toBeVisible();
    await expectGoodLooks(page);
    await button(page, "Copy report").click();
    const report: unknown = JSON.parse(await page.evaluate(() => navigator.clipboard.readText()));
    expect(report).toMatchObject({ problem: { code: "out_of_memory", message: "no room for 3 GiB" }, model: "stories" });
    await expect(page.getByRole("button", { name: /^Load with a context of/ })).toBeVisible();
    await button(page, "Load again").click();
    await inState(page, "downloading");
    await reply(page, "load", { value: whole });
    await inState(page, "prefill", "decode", "ready");
  });

  test("failed: an engine that panics while it answers is told as such, and the text so far stays", async ({ page, site }) => {
    await withDouble(page, { hold: ["chat"] });
    await openReady(page, site);
    await composer(page).fill("Hello");
    await composer(page).press("Enter");
    await inState(page, "prefill");
    const chunk = { choices: [{ index: 0, delta: { content: "Half an answer" } }], lyn: { ids: [1], position: 9 } };
    await reply(page, "chat", { event: { chunk } });
    await inState(page, "decode");
    await notify(page, { fatal: { code: "internal", message: "unreachable", help: [], details: { panic: true } } });
    await inState(page, "failed");
    await expect(alert(page)).toHaveText(/^A bug in lyn\./);
    await expect(answers(page)).toContainText("Half an answer");
    await expect(button(page, "Load again")).toBeVisible();
    await expectGoodLooks(page);
  });

  test("came back: a visit that ended while loading is remembered, and offered smaller", async ({ page, site }) => {
    await withDouble(page);
    await page.goto(`${site.url}/blank.html`);
    await page.evaluate(() => {
      const mark = { model: "hf:lyn-tests/large", bytes: 2 ** 31, context: 32768, at: Date.now(), tab: "another" };
      localStorage.setItem("lyn.stage", JSON.stringify(mark));
    });
    await page.goto(`${site.url}/page/`);
    await inState(page, "cameBack");
    await expect(alert(page)).toHaveText("The browser closed this page while 2.0 GiB of hf:lyn-tests/large were being loaded.");
    await expect(button(page, "Use the built-in model")).toBeVisible();
    await expect(button(page, "Try the same again")).toBeVisible();
    await expectGoodLooks(page);
    await button(page, "Start with a small context").click();
    expect(await told(page, "load")).toMatchObject({ model: "hf:lyn-tests/large", options: { context: 4096 } });
    expect(await page.evaluate(() => localStorage.getItem("lyn.stage"))).toBeNull();
  });

  test("elsewhere: a second tab takes nothing, and the conversation moves over on request", async ({ page, site, context }) => {
    await withDouble(page);
    await openReady(page, site);
    await ask(page, '["the first answer"]');
    const second = await context.newPage();
    await withDouble(second);
    await second.goto(`${site.url}/page/`);
    await inState(second, "elsewhere");
    await expect(second.getByRole("heading", { name: "lyn is running in another tab" })).toBeVisible();
    await expectGoodLooks(second);
    await button(second, "Continue here").click();
    await inState(second, "ready");
    await expect(answers(second)).toContainText("the first answer");
    await inState(page, "elsewhere");
    await expect(answers(page)).toContainText("the first answer");
    await button(page, "Continue here").click();
    await inState(page, "ready");
    await inState(second, "elsewhere");
  });
});
