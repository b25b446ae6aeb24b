import { defineConfig } from "@playwright/test";

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
    { name: "tests", testIgnore: "pace.spec.ts", dependencies: ["first visit"] },
    // What measures time runs when nothing else does. By itself: `playwright test pace --no-deps`.
    { name: "pace", testMatch: "pace.spec.ts", dependencies: ["tests"], workers: 1 },
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
