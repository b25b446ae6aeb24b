import { defineConfig } from "@playwright/test";

/** What measures time, and what the engine gives only so much time for: trials. */
const TIMED = ["pace.spec.ts", "trial.spec.ts"];

export default defineConfig({
  testDir: ".",
  outputDir: "results",
  // Two, though a software adapter takes all the cores there are: pages, and Firefox most of all, often wait.
  workers: 2,
  forbidOnly: process.env["CI"] !== undefined,
  reporter: [["list"]],
  timeout: 180_000,
  expect: { timeout: 60_000 },
  projects: [
    { name: "first visit", testMatch: "*.setup.ts" },
    { name: "tests", testIgnore: TIMED, dependencies: ["first visit"] },
    // Runs when nothing else does. By itself: `playwright test pace --no-deps`.
    { name: "timed", testMatch: TIMED, dependencies: ["tests"], workers: 1 },
  ],
  use: {
    viewport: { width: 1280, height: 800 },
    launchOptions: {
      executablePath: process.env["LYN_CHROMIUM"] ?? "/usr/bin/chromium",
      // A name that is this machine, but no secure origin to the browser.
      args: ["--enable-unsafe-webgpu", "--host-resolver-rules=MAP insecure.test 127.0.0.1"],
      chromiumSandbox: process.getuid?.() !== 0,
    },
    trace: "off",
    screenshot: "only-on-failure",
  },
});
