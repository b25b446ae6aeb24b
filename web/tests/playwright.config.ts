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
      args: ["--enable-unsafe-webgpu"],
      chromiumSandbox: process.getuid?.() !== 0,
    },
    trace: "off",
    screenshot: "only-on-failure",
  },
});
