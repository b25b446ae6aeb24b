// What a browser is told when it cannot run lyn. Oracle: the limits in runtime/src/gpu/device.rs, and user agents as sent.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { HELP, MINIMUM_LIMITS, type Surroundings, adapterInfo, browserOf, isMetered, probe } from "../support.js";

const AGENTS = {
  chromeLinux: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
  edgeWindows:
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0",
  chromeAndroid:
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36",
  firefoxLinux: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
  firefoxMac: "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:140.0) Gecko/20100101 Firefox/140.0",
  safariMac:
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
  chromePhone:
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/126.0 Mobile/15E148 Safari/604.1",
  facebook:
    "Mozilla/5.0 (Linux; Android 14; SM-S911B; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/125.0 Mobile Safari/537.36 [FB_IAB/FB4A;FBAV/465.0;]",
  instagram:
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Instagram 333.0 (iPhone14,5)",
};

const adapter = (
  limits: Partial<Record<keyof typeof MINIMUM_LIMITS, number>> = {},
  info: Partial<GPUAdapterInfo> = {},
) => ({ limits: { ...MINIMUM_LIMITS, ...limits }, info, features: new Set(["shader-f16"]) }) as unknown as GPUAdapter;

const around = (userAgent: string, found?: GPUAdapter | null | Error, maxTouchPoints = 0): Surroundings => ({
  isSecureContext: true,
  userAgent,
  maxTouchPoints,
  gpu:
    found === undefined
      ? undefined
      : ({ requestAdapter: async () => (found instanceof Error ? Promise.reject(found) : found) } as unknown as GPU),
});

const tell = async (surroundings: Surroundings) => {
  const support = await probe({ surroundings });
  assert.ok(!support.ok);
  assert.deepEqual(
    support.help,
    support.helpKeys.map((key) => HELP[key]),
  );
  return support;
};

test("a usable adapter is described", async () => {
  const surroundings = around(AGENTS.chromeLinux, adapter({}, { vendor: "nvidia", architecture: "ampere" }));
  const support = await probe({ surroundings, worker: async () => true });
  assert.ok(support.ok && support.worker);
  assert.deepEqual(support.adapter, {
    index: 0,
    name: "nvidia ampere",
    kind: "other",
    backend: "webgpu",
    driver: "",
    shader_f16: true,
    subgroups: [4, 128],
    timestamps: false,
    max_buffer_bytes: 256 << 20,
    max_binding_bytes: 128 << 20,
  });
  const broken = await probe({ surroundings, worker: () => Promise.reject(new Error("no worker")) });
  assert.ok(broken.ok && !broken.worker);
});

test("kinds are claimed only where the name makes them certain", () => {
  const kind = (info: Partial<GPUAdapterInfo>) => adapterInfo(adapter({}, info)).kind;
  assert.equal(kind({ vendor: "google", architecture: "swiftshader", isFallbackAdapter: true }), "software");
  assert.equal(kind({ vendor: "apple", architecture: "metal-3" }), "integrated");
  assert.equal(kind({ description: "NVIDIA GeForce RTX 4070" }), "discrete");
  assert.equal(kind({ vendor: "intel", architecture: "xe-2hpg" }), "discrete");
  assert.equal(kind({ description: "Intel(R) UHD Graphics 620" }), "integrated");
  assert.equal(kind({ vendor: "amd", architecture: "rdna-3" }), "other");
  assert.equal(kind({}), "other");
});

test("each reason has its own help for the system and the browser", async () => {
  const expected: [Surroundings, string, string[]][] = [
    [{ ...around(AGENTS.chromeLinux, adapter()), isSecureContext: false }, "insecure_context", ["use_https"]],
    [around(AGENTS.chromeLinux), "no_webgpu", ["chrome_linux", "update_browser", "use_cli"]],
    [around(AGENTS.edgeWindows), "no_webgpu", ["update_browser", "use_cli"]],
    [around(AGENTS.firefoxLinux), "no_webgpu", ["firefox_linux", "use_cli"]],
    [around(AGENTS.firefoxMac), "no_webgpu", ["firefox_mac", "use_cli"]],
    [around(AGENTS.safariMac), "no_webgpu", ["update_macos", "use_cli"]],
    [around(AGENTS.safariMac, undefined, 5), "no_webgpu", ["update_ios"]],
    [around(AGENTS.chromePhone), "no_webgpu", ["update_ios"]],
    [around(AGENTS.chromeAndroid), "no_webgpu", ["chrome_android"]],
    [around(AGENTS.facebook), "in_app_browser", ["open_in_browser"]],
    [around(AGENTS.instagram, null), "in_app_browser", ["open_in_browser"]],
    [
      around(AGENTS.chromeLinux, null),
      "no_adapter",
      ["chrome_linux", "acceleration_chrome", "update_driver", "use_cli"],
    ],
    [around(AGENTS.edgeWindows, null), "no_adapter", ["acceleration_chrome", "update_driver", "use_cli"]],
    [around(AGENTS.firefoxMac, null), "no_adapter", ["acceleration_firefox", "update_driver", "use_cli"]],
    [around("", null), "no_adapter", ["acceleration_chrome", "update_driver", "use_cli"]],
  ];
  for (const [surroundings, reason, keys] of expected) {
    const support = await tell(surroundings);
    assert.deepEqual([support.reason, support.helpKeys], [reason, keys], surroundings.userAgent);
    assert.equal(support.code, "no_adapter");
  }
});

test("an app's browser that has the GPU is as good as any", async () => {
  assert.ok((await probe({ surroundings: around(AGENTS.facebook, adapter()) })).ok);
});

test("a limit that is too small is named with both figures", async () => {
  const support = await tell(
    around(AGENTS.edgeWindows, adapter({ maxStorageBuffersPerShaderStage: 4 }, { description: "Old GPU" })),
  );
  assert.deepEqual([support.reason, support.code], ["limits", "limit_too_small"]);
  assert.equal(support.message, "Old GPU: maxStorageBuffersPerShaderStage: needed 8, found 4");
});

test("a request that throws is no adapter", async () => {
  const support = await tell(around(AGENTS.edgeWindows, new TypeError("denied")));
  assert.match(support.message, /offers no GPU: denied/);
  assert.equal((await probe()).ok, false);
});

test("the limits are those of the runtime", async () => {
  const rust = await readFile(path.join(process.env.MODELS!, "../runtime/src/gpu/device.rs"), "utf8");
  const text = /fn minimum_limits[\s\S]*?\n}/.exec(rust)?.[0] ?? "";
  const named = new Map<string, number>();
  for (const [, name = "", base, shift = 0] of text.matchAll(/max_(\w+): (\d+)(?: << (\d+))?/g)) {
    named.set(
      `max_${name}`.replace(/_./g, ([, letter]) => letter!.toUpperCase()),
      Number(base) * 2 ** Number(shift),
    );
  }
  assert.deepEqual(Object.fromEntries(named), MINIMUM_LIMITS);
});

test("browsers are told apart", () => {
  const of = (userAgent: string, maxTouchPoints = 0) => browserOf({ userAgent, maxTouchPoints });
  assert.deepEqual(
    [of(AGENTS.edgeWindows).name, of(AGENTS.chromePhone).engine, of(AGENTS.facebook).app],
    ["Edge", "safari", true],
  );
  assert.equal(of(AGENTS.safariMac, 5).system, "ios");
});

test("a metered connection is one that says so", () => {
  const before = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  const ask = (connection?: object) => {
    Object.defineProperty(globalThis, "navigator", { configurable: true, value: { connection } });
    return isMetered();
  };
  try {
    assert.deepEqual(
      [ask(), ask({ type: "wifi" }), ask({ type: "cellular" }), ask({ saveData: true })],
      [false, false, true, true],
    );
  } finally {
    if (before) Object.defineProperty(globalThis, "navigator", before);
    else Reflect.deleteProperty(globalThis, "navigator");
  }
});
