// The page as `lyn serve` delivers it: the server's own model answers, the tab's own engine is the other choice.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Page, expect, test as base } from "./fixtures.js";
import { type LynServer, buildServer, serve } from "./lyn-serve.js";
import { answers, ask, button, composer, ending, expectGoodLooks, expectNoViolations, inState, newChat, openByLink } from "./page.js";

const KEY = "a-key-of-this-test-1234";

const test = base.extend<object, { built: null; open: LynServer; locked: LynServer }>({
  built: [
    async ({}, use) => {
      buildServer();
      await use(null);
    },
    // Where nothing is compiled yet, cargo has minutes of work.
    { scope: "worker", timeout: 1_200_000 },
  ],
  open: [
    async ({ built: _ }, use) => {
      const server = await serve();
      await use(server);
      await server.stop();
    },
    { scope: "worker", timeout: 180_000 },
  ],
  locked: [
    async ({ built: _ }, use) => {
      const folder = mkdtempSync(join(tmpdir(), "lyn-key-"));
      writeFileSync(join(folder, "keys"), `${KEY}\n`);
      const server = await serve("--api-key-file", join(folder, "keys"));
      await use(server);
      await server.stop();
      rmSync(folder, { recursive: true });
    },
    { scope: "worker", timeout: 180_000 },
  ],
});

test.use({ serviceWorkers: "block" });

const choice = (page: Page, name: string) => page.getByRole("region", { name, exact: true });
const modelButton = (page: Page) => page.getByRole("button", { name: /^Model: / });
const privacy = (page: Page) => page.locator(".privacy");

/** Opens the page by a link that names the server, and says yes to it. */
async function openServed(page: Page, server: LynServer, fragment = ""): Promise<void> {
  await page.goto(`${server.url}#m=server${fragment}`);
  await inState(page, "choose");
  await button(choice(page, "This server"), "Use").click();
  await inState(page, "ready");
}

/** Opens a panel and gives it. */
async function panel(page: Page, name: string) {
  await page.getByRole("tab", { name, exact: true }).click();
  return page.getByRole("tabpanel");
}

test("opened at /, the page answers by the server, piece by piece, and says where what is asked goes", async ({ page, open }) => {
  const asked: string[] = [];
  page.on("request", (request) => asked.push(`${request.method()} ${new URL(request.url()).pathname}`));
  await page.goto(open.url);
  await inState(page, "ready");
  // Nobody's server writes stories unasked, and nothing of the engine was fetched.
  await expect(answers(page)).toHaveCount(0);
  expect(asked.filter((path) => /wasm|safetensors|worker/.test(path))).toEqual([]);
  await expect(modelButton(page)).toHaveAccessibleName("Model: stories, This server");
  await expect(privacy(page)).toHaveText(`Prompts go to this server (${new URL(open.url).host}) and nowhere else. Sent since load: 0 B`);
  await composer(page).pressSequentially("Tell me a story about a dog.");
  await page.waitForTimeout(600);
  // What is still being written is nobody's business.
  expect(asked.filter((path) => path.startsWith("POST"))).toEqual([]);
  const lengths: number[] = [];
  await page.exposeFunction("seen", (length: number) => lengths.push(length));
  await page.evaluate(() => {
    new MutationObserver(() => {
      const text = document.querySelector(".message.assistant .markdown")?.textContent ?? "";
      void (window as unknown as { seen(length: number): void }).seen(text.length);
    }).observe(document.body, { childList: true, subtree: true, characterData: true });
  });
  await composer(page).press("Enter");
  await inState(page, "decode");
  await inState(page, "ready", "stopped");
  expect(new Set(lengths).size).toBeGreaterThan(10);
  await expect(answers(page).locator(".markdown")).toContainText(/\w+ \w+ \w+[\s\S]{60}/);
  await expect(ending(page)).toHaveText(/· [\d,]+ tokens · [\d.,]+ tok\/s$/);
  expect(asked.filter((path) => path.startsWith("POST"))).toEqual(["POST /v1/chat/completions"]);
  await expect(privacy(page)).toHaveText(/Sent since load: \d+ B$/);
  await expect(page.locator(".meter")).toContainText(/^[1-9]\d* of 1,024 tokens$/);
  await expectGoodLooks(page);
});

test.describe("on a page that the server answers", () => {
  let page: Page;

  test.beforeAll(async ({ browser, open }) => {
    page = await browser.newPage({ serviceWorkers: "block" });
    await openServed(page, open, "&n=90&t=0");
  });
  test.afterAll(() => page.close());
  test.beforeEach(() => newChat(page));

  test("a second question finds the first in the server's cache", async () => {
    await ask(page, "Tell me a story about a little cat named Tom who lives in a big house.");
    await ask(page, "And then?");
    const cached = (await panel(page, "Speed")).getByRole("row", { name: /from cache|cached/i }).getByRole("cell");
    // The newest answer comes first.
    expect(Number(await cached.first().innerText())).toBeGreaterThanOrEqual(64);
  });

  test("a stopped answer is kept, ends the server's work, and can be continued", async () => {
    await page.route("**/v1/chat/completions", async (route) => {
      const body = route.request().postDataJSON() as Record<string, unknown>;
      await route.continue({ postData: JSON.stringify({ ...body, max_tokens: 800, stop: null }) });
    });
    await composer(page).fill("Tell me a story about a bear.");
    await composer(page).press("Enter");
    await expect(answers(page).locator(".markdown")).toContainText(/\w+ \w+ \w+ \w+/);
    await button(page, "Stop").click();
    await inState(page, "stopped");
    await expect(ending(page)).toHaveText("stopped");
    await page.unroute("**/v1/chat/completions");
    const before = (await answers(page).locator(".markdown").innerText()).trimEnd();
    await button(page, "Continue").click();
    await inState(page, "prefill", "decode");
    await inState(page, "ready", "stopped");
    const after = await answers(page).locator(".markdown").innerText();
    expect(after.slice(0, before.length)).toBe(before);
    expect(after.length).toBeGreaterThan(before.length);
  });

  test("a thought is folded away", async () => {
    await page.getByLabel("Think first").check();
    await ask(page, "Tell me a story about a cat.");
    await page.getByLabel("Think first").uncheck();
    const thought = answers(page).locator("details");
    await expect(thought).not.toHaveAttribute("open");
    await expect(thought.locator("summary")).toHaveText(/^Thought for [\d.,]+ s/);
    await expect(thought.locator(".markdown")).toBeHidden();
  });

  test("what only an engine of one's own can do says so", async () => {
    await expect(page.getByRole("radio", { name: "Sparse" })).toBeChecked();
    await expect(page.getByRole("radio", { name: "Dense" })).toBeDisabled();
    await ask(page, "Tell me a story about a duck.");
    for (const [name, sentence] of [
      ["Attention", "Attention is recorded only when the model runs in this tab"],
      ["Memory", "The server’s operator set its context"],
      ["Device", "Kernels cannot be tested with this way of running the model."],
    ] as const) {
      await expect(await panel(page, name)).toContainText(sentence);
      await expectNoViolations(page);
    }
    await expect(await panel(page, "Device")).toContainText("the server");
    await button(page, "Settings").click();
    await expect(page.getByText("Set by the server's operator.")).toBeVisible();
    await expect(page.getByLabel("Context", { exact: true })).toBeDisabled();
    await expectNoViolations(page);
    await button(page, "Close").click();
  });

  test("a server without room says when to ask again; one that is gone is told apart", async () => {
    await page.route("**/v1/chat/completions", (route) =>
      route.fulfill({ status: 503, headers: { "retry-after": "5" }, json: { error: { message: "full", code: "overloaded" } } }),
    );
    await composer(page).fill("Tell me a story.");
    await composer(page).press("Enter");
    await expect(page.getByRole("alert")).toHaveText(/^The server is busy\..* The server says: try again in 5 s\.$/);
    await expectNoViolations(page);
    await page.unroute("**/v1/chat/completions");
    await page.route("**/v1/chat/completions", (route) => route.abort("connectionrefused"));
    await button(page, "Regenerate").click();
    await expect(page.getByRole("alert")).toHaveText(/^The server is not responding\./);
    await page.unroute("**/v1/chat/completions");
    await button(page, "Regenerate").click();
    await inState(page, "prefill", "decode");
    await inState(page, "ready", "stopped");
    await expect(ending(page)).toHaveText(/tokens/);
  });

  test("in Norwegian it says the same", async () => {
    await page.getByRole("button", { name: /^NB/ }).click();
    await expect(privacy(page)).toHaveText(/^Det du spør om, sendes til denne tjeneren .* og ingen andre steder\. Sendt siden lasting: /);
    await expect(page.getByRole("button", { name: "Modell: stories, Denne tjeneren" })).toBeVisible();
    await page.getByRole("button", { name: /^EN/ }).click();
  });

  test("the tab's own engine is the other choice, and the way back is the same", async () => {
    await modelButton(page).click();
    await expect(choice(page, "This server").getByRole("heading")).toHaveText("This server: stories");
    await expect(button(choice(page, "This server"), "in use")).toBeDisabled();
    await expectNoViolations(page);
    await button(choice(page, "stories"), "Use").click();
    await expect(modelButton(page)).toHaveAccessibleName("Model: stories, This tab");
    await inState(page, "ready");
    await expect(privacy(page)).toHaveText(/^Runs on your device\./);
    await expect(page.getByRole("radio", { name: "Dense" })).toBeEnabled();
    const posted = page.waitForRequest((request) => request.method() === "POST", { timeout: 1000 }).catch(() => null);
    await composer(page).fill("Tell me a story about a duck.");
    await composer(page).press("Enter");
    await inState(page, "decode");
    await button(page, "Stop").click();
    await inState(page, "stopped");
    expect(await posted).toBeNull();
    await modelButton(page).click();
    await button(choice(page, "This server"), "Use").click();
    await inState(page, "ready");
    // The conversation has come along.
    await expect(answers(page)).toHaveCount(1);
    await button(page, "Regenerate").click();
    await inState(page, "prefill", "decode");
    await inState(page, "ready", "stopped");
    await expect(ending(page)).toHaveText(/tokens/);
  });
});

test("a server with a key asks for it, and the page forgets it", async ({ page, locked }) => {
  await page.goto(locked.url);
  await inState(page, "key");
  await expect(page.getByRole("heading", { name: "This server requires a key" })).toBeVisible();
  await expectGoodLooks(page);
  const key = page.getByLabel("Key", { exact: true });
  await key.fill("another-key-0000");
  await key.press("Enter");
  await expect(page.getByRole("alert")).toHaveText("The server did not accept the key.");
  await expectNoViolations(page);
  await key.fill(KEY);
  await button(page, "Use").click();
  await inState(page, "ready");
  await composer(page).fill("Tell me a story about a dog.");
  await composer(page).press("Enter");
  await inState(page, "decode");
  await button(page, "Stop").click();
  await inState(page, "stopped");
  const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]));
  expect(kept).not.toContain(KEY);
  await page.reload();
  await inState(page, "key");
});

test("without WebGPU the server's model works, and this tab says why it cannot", async ({ page, open }) => {
  await page.addInitScript(() => Object.defineProperty(Navigator.prototype, "gpu", { get: () => undefined }));
  await page.goto(open.url);
  await inState(page, "ready");
  await ask(page, "Tell me a story about a dog.");
  await expect(ending(page)).toHaveText(/tokens/);
  await modelButton(page).click();
  await button(choice(page, "stories"), "Use").click();
  await inState(page, "unsupported");
  await expect(page.getByRole("alert")).toHaveText("This browser has no WebGPU.");
  await expectNoViolations(page);
  await button(page, "Use this server").click();
  await inState(page, "ready");
  await expect(answers(page)).toHaveCount(1);
});

test("while the server loads its model the page waits, and asks again when it is told to", async ({ page, open }) => {
  let asked = 0;
  let loads = true;
  await page.route("**/props", async (route) => {
    asked += 1;
    const error = { message: "the model is being loaded", type: "server_error", code: "loading" };
    if (loads) await route.fulfill({ status: 503, headers: { "retry-after": "1" }, json: { error } });
    else await route.continue();
  });
  await page.goto(open.url);
  await inState(page, "connecting");
  await expect(page.getByText("The server is loading its model.")).toBeVisible();
  await expectGoodLooks(page);
  loads = false;
  await inState(page, "ready");
  expect(asked).toBeGreaterThan(1);
});

test("a static host is never asked for a model", async ({ page, site }) => {
  site.server.reset();
  await openByLink(page, site);
  await expect(choice(page, "This server")).toHaveCount(0);
  await expect(page.getByRole("button", { name: /^Model: / })).not.toHaveAccessibleName(/This/);
  expect(site.server.requests.filter(({ path }) => /props|v1/.test(path))).toEqual([]);
});
