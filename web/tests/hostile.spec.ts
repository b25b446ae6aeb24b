// What a model writes is the text of a stranger. Hostile HTML and Markdown goes through the page's whole way from the
// worker's messages to the screen: nothing of it runs, loads, leads away or becomes an element that is not listed here.

import type { Page } from "@playwright/test";
import { withDouble } from "./double.js";
import { type Site, expect, test } from "./fixtures.js";
import { answers, composer, inState, openReady } from "./page.js";
import { type TestServer, startServer } from "./server.js";
import { join } from "node:path";
import { repository } from "./fixtures.js";

test.use({ serviceWorkers: "block" });

/** Where a payload would call; nothing listens there. */
const EVIL = "https://evil.example";
const RUN = "window.pwned=(window.pwned||0)+1";

const payloads: string[] = [
  // Scripts, plain and disguised.
  `<script>${RUN}</script>`,
  `<SCRIPT SRC=${EVIL}/x.js></SCRIPT>`,
  `<scr<script>ipt>${RUN}</scr</script>ipt>`,
  `<script\n>${RUN}</script\n>`,
  `<script type="module">${RUN}</script>`,
  `<script type="importmap">{"imports":{"lyn":"${EVIL}/x.js"}}</script>`,
  `<svg><script>${RUN}</script></svg>`,
  `<svg><script href="${EVIL}/x.js"/></svg>`,
  `<noscript><p title="</noscript><img src=x onerror=${RUN}>">`,
  // Event handlers.
  `<img src=x onerror="${RUN}">`,
  `<img src=x onerror=${RUN}//`,
  `<svg onload="${RUN}">`,
  `<svg/onload=${RUN}>`,
  `<body onload="${RUN}">`,
  `<input autofocus onfocus="${RUN}">`,
  `<details open ontoggle="${RUN}"><summary>x</summary></details>`,
  `<video><source onerror="${RUN}"></video>`,
  `<audio src=x onerror="${RUN}">`,
  `<marquee onstart="${RUN}">x</marquee>`,
  `<div onpointerenter="${RUN}" style="position:fixed;inset:0">x</div>`,
  `<a onclick="${RUN}" href="#">x</a>`,
  `<style>@keyframes x{}</style><b style="animation:x" onanimationstart="${RUN}">x</b>`,
  `<p style="background:url(${EVIL}/css)">x</p>`,
  // Links with programs in them.
  `[x](javascript:${RUN})`,
  `[x](JaVaScRiPt:${RUN})`,
  `[x](java\tscript:${RUN})`,
  `[x](&#106;avascript:${RUN})`,
  `[x](javascript&colon;${RUN})`,
  `[x](\u0001javascript:${RUN})`,
  `[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)`,
  `[x](vbscript:msgbox)`,
  `[x](file:///etc/passwd)`,
  `[x](blob:${EVIL}/1)`,
  `[x][r]\n\n[r]: javascript:${RUN}`,
  `[x][r2]\n\n[r2]: <data:text/html,x> "t"`,
  `<javascript:${RUN}>`,
  `<a href="javascript:${RUN}">x</a>`,
  `<a href="${EVIL}" target="_self" ping="${EVIL}/ping">x</a>`,
  `[x](${EVIL}/ "onmouseover=${RUN}")`,
  `[x](https://user:secret@evil.example/)`,
  // Things that load.
  `![x](${EVIL}/pixel.png)`,
  `![x][i]\n\n[i]: ${EVIL}/pixel.png`,
  `![<img src=x onerror=${RUN}>](${EVIL}/a.png)`,
  `[![x](${EVIL}/in-link.png)](${EVIL}/)`,
  `<img src="${EVIL}/pixel.png" srcset="${EVIL}/2.png 2x">`,
  `<picture><source srcset="${EVIL}/p.png"><img></picture>`,
  `<iframe src="${EVIL}/"></iframe>`,
  `<iframe srcdoc="<script>parent.${RUN}</script>"></iframe>`,
  `<object data="${EVIL}/o"></object><embed src="${EVIL}/e">`,
  `<link rel="stylesheet" href="${EVIL}/s.css">`,
  `<link rel="prefetch" href="${EVIL}/p"><link rel="dns-prefetch" href="${EVIL}">`,
  `<style>@import url("${EVIL}/i.css"); * { background: url(${EVIL}/b) }</style>`,
  `<meta http-equiv="refresh" content="0;url=${EVIL}/">`,
  `<meta http-equiv="Content-Security-Policy" content="default-src *">`,
  `<base href="${EVIL}/">`,
  `<form action="${EVIL}/"><button formaction="javascript:${RUN}">x</button><input name="q"></form>`,
  `<portal src="${EVIL}/"></portal><frameset><frame src="${EVIL}/f"></frameset>`,
  // Parsers that disagree.
  `<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=${RUN}&gt;">`,
  `<svg></p><style><a id="</style><img src=1 onerror=${RUN}>">`,
  `<form><math><mtext></form><form><mglyph><style></math><img src onerror=${RUN}>`,
  `<!-- --!><img src=x onerror=${RUN}> -->`,
  `<![CDATA[><img src=x onerror=${RUN}>]]>`,
  `<?xml-stylesheet href="javascript:${RUN}"?>`,
  `<template><img src=x onerror=${RUN}></template>`,
  `<textarea></textarea><title></title><xmp><img src=x onerror=${RUN}></xmp><plaintext>`,
  `<x is="script" onclick=${RUN}>x</x><custom-element></custom-element>`,
  `<form id="composer"><input name="attributes"><input name="parentNode"></form><a id="lyn" name="document">x</a>`,
  // Formulas.
  `$\\href{javascript:${RUN}}{x}$`,
  `$\\url{javascript:${RUN}}$`,
  `$$\\includegraphics[height=9em]{${EVIL}/k.png}$$`,
  `$\\htmlStyle{background:url(${EVIL}/k)}{x}$`,
  `$\\htmlData{onclick=${RUN}}{x} \\htmlId{composer}{y} \\htmlClass{send}{z}$`,
  `$\\def\\a{\\a\\a}\\a$`,
  `$\\rule{9999em}{9999em}$ and $x^2$`,
  `$\\text{<img src=x onerror=${RUN}>}$`,
  // Marks that fool the eye or the lexer.
  `&lt;script&gt;${RUN}&lt;/script&gt; &#60;img src=x onerror=${RUN}&#62;`,
  `\u202Etxt.exe\u202C \u2066<img src=x onerror=${RUN}>\u2069`,
  `\uFF1Cscript\uFF1E${RUN}\uFF1C/script\uFF1E`,
  `\u0000<\u0000script>${RUN}</script>`,
  `\`\`\`html\n<img src=x onerror=${RUN}>\n</code></pre><script>${RUN}</script>\n\`\`\``,
  `\`\`\`"><img src=x onerror=${RUN}>\nx\n\`\`\``,
  `| <img src=x onerror=${RUN}> | b |\n|:-:|--|\n| [x](javascript:${RUN}) | <script>${RUN}</script> |`,
  `- [x] <img src=x onerror=${RUN}>\n- [ ] [y](javascript:${RUN})`,
  `> # <script>${RUN}</script>\n> [x](javascript:${RUN})`,
  `${"[".repeat(300)}x${"](javascript:y)".repeat(300)}`,
  `${"> ".repeat(200)}<img src=x onerror=${RUN}>`,
  `${"<b>".repeat(500)}x`,
];

const HTML = "div p span strong em del code pre h3 h4 h5 h6 ul ol li blockquote table thead tbody tr th td a br hr button details summary input svg path rect circle line polyline polygon article time";
const MATHML = "math semantics mrow mi mo mn mtext mspace mstyle msup msub msubsup mfrac mover munder mpadded menclose mphantom merror annotation mtable mtr mtd";
const ATTRIBUTES = "class dir lang role title type disabled checked tabindex start scope href target rel open data-finish focusable viewBox width height fill d cx cy r x y rx points stroke stroke-width stroke-linecap stroke-linejoin";

/** What is wrong with the elements of the transcript. */
async function findings(page: Page): Promise<string[]> {
  return page.evaluate(
    ({ elements, attributes }) => {
      const log = document.querySelector("[role=log]");
      const wrong: string[] = [];
      for (const element of log?.querySelectorAll("*") ?? []) {
        const inMath = element.closest("math") !== null;
        if (!elements.includes(element.localName)) wrong.push(`<${element.localName}>: ${element.outerHTML.slice(0, 120)}`);
        for (const { name, value } of element.attributes) {
          const isMath = inMath && /^(xmlns|display|mathvariant|stretchy|fence|separator|accent|accentunder|encoding|width|height|lspace|rspace|voffset|depth|scriptlevel|displaystyle|minsize|maxsize|form|linethickness|movablelimits|mathcolor|mathbackground|columnalign|columnspacing|rowspacing|style)$/.test(name);
          if (!attributes.includes(name) && !name.startsWith("aria-") && !isMath) wrong.push(`${name}="${value.slice(0, 60)}" on <${element.localName}>`);
          if (/url\(|javascript:/i.test(value) && name !== "title" && name !== "aria-label") wrong.push(`${name}="${value.slice(0, 80)}"`);
        }
        if (element.localName === "a") {
          const { protocol, rel, target } = element as HTMLAnchorElement;
          if (!/^https?:$/.test(protocol)) wrong.push(`link to ${protocol}`);
          if (rel !== "noopener noreferrer" || target !== "_blank") wrong.push(`link with rel="${rel}" target="${target}"`);
        }
        if (element.localName === "input" && !(element as HTMLInputElement).disabled) wrong.push("an input that can be used");
        if (element.localName === "button" && element.closest(".markdown") && !element.closest(".code-head")) wrong.push("a button in a text");
        if (element.id) wrong.push(`id="${element.id}"`);
      }
      return [...new Set(wrong)];
    },
    { elements: `${HTML} ${MATHML}`.split(" "), attributes: ATTRIBUTES.split(" ") },
  );
}

interface Watch {
  /** Requests, pages, dialogs and violations of the policy that there should not be. */
  seen: string[];
}

/** Opens the page with the double, and watches all that could leave or run. */
async function open(page: Page, site: Site, pace = 0): Promise<Watch> {
  const watch: Watch = { seen: [] };
  await withDouble(page, { pace });
  await page.exposeFunction("violated", (words: string) => watch.seen.push(words));
  await page.addInitScript(() => {
    const { violated } = window as unknown as { violated(words: string): void };
    document.addEventListener("securitypolicyviolation", (event) => violated(`${event.violatedDirective}: ${event.blockedURI} ${event.sample}`));
  });
  await openReady(page, site);
  page.on("dialog", (dialog) => {
    watch.seen.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on("popup", (popup) => watch.seen.push(`popup: ${popup.url()}`));
  page.on("framenavigated", (frame) => watch.seen.push(`navigated: ${frame.url()}`));
  page.on("pageerror", (error) => watch.seen.push(`error: ${error.message}`));
  // The formulas' program is the page's own, and comes with the first formula.
  page.on("request", (request) => /\/assets\/katex[-.\w]*\.js$/.test(request.url()) || watch.seen.push(`request: ${request.url()}`));
  return watch;
}

/** Has the double write these pieces, and waits until it has. */
async function write(page: Page, pieces: (string | { reasoning: string })[]): Promise<void> {
  const before = await answers(page).count();
  await composer(page).fill(JSON.stringify(pieces));
  await composer(page).press("Enter");
  await expect(answers(page)).toHaveCount(before + 1);
  await expect(answers(page).last().locator("[data-finish]")).toHaveText(/^finished/);
}

/** Nothing ran, nothing left, nothing is there that should not be. */
async function expectHarmless(page: Page, { seen }: Watch): Promise<void> {
  // Formulas and pictures that would load need a moment.
  await page.waitForTimeout(300);
  expect(await findings(page)).toEqual([]);
  expect(await page.evaluate(() => (window as unknown as { pwned?: number }).pwned ?? 0)).toBe(0);
  expect(seen).toEqual([]);
}

test("the payloads would do harm where nothing stands in their way", async ({ page, site }) => {
  // The canary itself: without the page's care these do run. A test that cannot fail shows nothing.
  await page.route(`${site.url}/blank.html`, (route) =>
    route.fulfill({ contentType: "text/html", body: `<!doctype html>${payloads[0]}${payloads[9]}<div id="x"></div>` }),
  );
  await page.goto(`${site.url}/blank.html`);
  await expect.poll(() => page.evaluate(() => (window as unknown as { pwned?: number }).pwned ?? 0)).toBeGreaterThan(1);
});

test("hostile answers and thoughts are text", async ({ page, site }) => {
  expect(new Set(payloads).size).toBe(payloads.length);
  expect(payloads.length).toBeGreaterThanOrEqual(60);
  const watch = await open(page, site);
  // Each as an answer of its own end, all in one conversation; and as thoughts.
  for (let at = 0; at < payloads.length; at += 12) {
    const some = payloads.slice(at, at + 12);
    await write(page, [...some.map((text) => ({ reasoning: `${text}\n\n` })), ...some.map((text) => `${text}\n\n---\n\n`)]);
  }
  for (const thought of await answers(page).locator("summary").all()) await thought.click();
  await expectHarmless(page, watch);
  // The words themselves are there: they were shown, not swallowed.
  await expect(page.getByRole("log")).toContainText("<script>window.pwned");
  await expect(page.getByRole("log")).toContainText("onerror=");
  await expect(answers(page).locator("a").first()).toHaveAttribute("rel", "noopener noreferrer");
});

for (const at of [0, 9, 23, 40, 49, 57, 66, 69, 78, 80]) {
  test(`cut between tokens anywhere, payload ${at} stays text`, async ({ page, site }) => {
    const watch = await open(page, site, 18);
    const text = [...(payloads[at] ?? "")];
    await composer(page).fill(JSON.stringify(["Before. ", ...text, " after."]));
    await composer(page).press("Enter");
    await inState(page, "decode");
    // Looked at all along: what a half-read tag becomes for a moment counts too.
    while ((await page.locator("body").getAttribute("data-state")) === "decode") expect(await findings(page)).toEqual([]);
    await expectHarmless(page, watch);
  });
}

test("hostile questions, titles of chats and imported chats are text", async ({ page, site }) => {
  const watch = await open(page, site);
  const message = (id: string, parent: string | null, role: string, text: string) => ({ id, parent, role, text, reasoning: text, reasoningMs: 5, at: 1, finish: "stop" });
  const messages = payloads.flatMap((text, at) => [
    message(`q${at}`, at ? `a${at - 1}` : null, "user", text),
    message(`a${at}`, `q${at}`, "assistant", text),
  ]);
  const file = JSON.stringify({ schema: "lyn.chats/1", conversations: [{ id: "<img src=x onerror=1>", at: 1, messages, shown: { __proto__: "x" } }] });
  await page.getByRole("button", { name: "Settings" }).click();
  await page.locator("input[accept='.json,application/json']").setInputFiles({ name: "chats.json", mimeType: "application/json", buffer: Buffer.from(file) });
  await page.getByRole("dialog").getByRole("button", { name: "Close" }).click();
  await expect(answers(page)).toHaveCount(payloads.length);
  await expectHarmless(page, watch);
});

test.describe("the policy", () => {
  // Without the header of the other tests: the page's own meta tag must do, as on a host that sends no headers.
  let server: TestServer;
  let other: TestServer;
  test.beforeAll(async () => {
    server = await startServer({ root: join(repository, "web/dist") });
    other = await startServer({ root: join(repository, "web/dist"), cors: true });
  });
  test.afterAll(async () => {
    await server.close();
    await other.close();
  });

  test("stops inline scripts, eval, HTML strings, foreign workers and other hosts by the page's own meta tag", async ({ page }) => {
    await withDouble(page);
    await page.goto(`${server.url}#m=stories`);
    await inState(page, "choose");
    const outcome = await page.evaluate(async (elsewhere) => {
      const attempt = async (run: () => unknown): Promise<string> => {
        try {
          return `went through: ${String(await run())}`;
        } catch (error) {
          return (error as Error).name;
        }
      };
      const script = document.createElement("script");
      script.append("window.pwned = 1");
      document.body.append(script);
      const image = new Image();
      const shown = new Promise((resolve, reject) => {
        image.onload = () => resolve("loaded");
        image.onerror = () => reject(new TypeError("blocked"));
      });
      image.src = `${elsewhere}icon.svg`;
      const style = document.createElement("style");
      style.append("body { outline: 7px solid red }");
      document.head.append(style);
      return {
        inline: (window as unknown as { pwned?: number }).pwned ?? "stopped",
        // Later, since code that a debugger evaluates may evaluate more.
        eval: await attempt(() => new Promise((resolve, reject) => setTimeout(() => {
          try {
            resolve((0, eval)("1 + 1"));
          } catch (error) {
            reject(error as Error);
          }
        }))),
        html: await attempt(() => (document.createElement("div").innerHTML = "<b>x</b>")),
        worker: await attempt(() => new Worker("data:text/javascript,1")),
        fetch: await attempt(() => fetch(elsewhere)),
        image: await attempt(() => shown),
        style: getComputedStyle(document.body).outlineWidth === "7px" ? "went through" : "stopped",
        socket: await attempt(() => new Promise((resolve, reject) => {
          const socket = new WebSocket(elsewhere.replace("http", "ws"));
          socket.onopen = () => resolve("open");
          socket.onerror = () => reject(new TypeError("blocked"));
        })),
      };
    }, other.url);
    expect(outcome).toEqual({
      inline: "stopped",
      eval: "EvalError",
      html: "TypeError",
      worker: "TypeError",
      fetch: "TypeError",
      image: "TypeError",
      style: "stopped",
      socket: expect.stringMatching(/^(TypeError|SecurityError)$/),
    });
    expect(other.requests).toEqual([]);
  });
});
