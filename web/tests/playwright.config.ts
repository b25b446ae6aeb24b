import { defineConfig } from "@playwright/test";

export default defineConfig({
  testDir: ".",
  outputDir: "results",
  // One at a time: a software adapter takes all the cores there are.
  workers: 1,
  forbidOnly: process.env["CI"] !== undefined,
  reporter: [["list"]],
  timeout: 120_000,
  expect: { timeout: 30_000 },
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
