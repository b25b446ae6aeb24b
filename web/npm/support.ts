// Whether this browser can run lyn, and what to do if not. Without WASM, and without ever throwing.

import { LynError } from "./errors.js";
import type { AdapterInfo, HelpKey, Support } from "./types.js";

/** The help lines. The page translates them by key. */
export const HELP: Record<HelpKey, string> = {
  use_https: "Open this page over https, or from http://localhost: only secure pages can use the GPU.",
  open_in_browser: "Open this page in the phone's own browser: in the app's menu, choose “Open in browser”.",
  update_browser:
    "Update the browser: WebGPU is in Chrome and Edge 113, Firefox 141 (Windows) and 145 (Mac), Safari 26.",
  update_ios: "Update to iOS or iPadOS 26: all browsers of older versions lack WebGPU.",
  update_macos: "Update to macOS 26 for WebGPU in Safari, or use Chrome, Edge or Firefox.",
  chrome_linux:
    "On Linux, enable chrome://flags/#enable-unsafe-webgpu and chrome://flags/#enable-vulkan, then restart.",
  firefox_linux: "On Linux, set dom.webgpu.enabled to true in about:config and restart Firefox, or use Chrome.",
  firefox_windows: "Update Firefox to 141 or later, or use Edge or Chrome.",
  firefox_mac: "Update Firefox to 145 or later on a Mac with Apple silicon, or use Chrome or Safari 26.",
  firefox_android: "Firefox for Android has no WebGPU by default: use Chrome.",
  chrome_android: "WebGPU needs Chrome 121 or later and Android 12 or later.",
  acceleration_chrome:
    "Switch on graphics acceleration in the browser's system settings and restart it; details: chrome://gpu.",
  acceleration_firefox:
    "Switch on hardware acceleration in Firefox's performance settings and restart it; details: about:support.",
  update_driver: "Install or update the graphics driver.",
  other_gpu: "Use another GPU or browser: limits differ.",
  use_cli: "Or run the program lyn on this computer: it also uses GPUs that browsers do not.",
};

/** The minimum limits of the kernels: `minimum_limits` of runtime/src/gpu/device.rs, by WebGPU's names. */
export const MINIMUM_LIMITS = {
  maxStorageBuffersPerShaderStage: 8,
  maxStorageBufferBindingSize: 128 << 20,
  maxBufferSize: 256 << 20,
  maxComputeWorkgroupStorageSize: 16 << 10,
  maxComputeInvocationsPerWorkgroup: 128,
  maxComputeWorkgroupSizeX: 128,
  maxComputeWorkgroupSizeY: 128,
} as const;

/** Where the code runs; tests put their own browser here. */
export interface Surroundings {
  isSecureContext: boolean;
  userAgent: string;
  /** Fingers that the screen tells apart: an iPad calls itself a Mac. */
  maxTouchPoints: number;
  gpu: GPU | undefined;
}

export interface ProbeOptions {
  /** Whether a worker has the GPU too; asked only where the page has it. */
  worker?: () => Promise<boolean>;
  powerPreference?: GPUPowerPreference;
  surroundings?: Surroundings;
}

/** Whether this browser can run lyn. Never throws. */
export async function probe({ worker, powerPreference, surroundings = here() }: ProbeOptions = {}): Promise<Support> {
  const browser = browserOf(surroundings);
  const app = browser.app ? "in_app_browser" : undefined;
  if (!surroundings.isSecureContext) {
    return unsupported(
      "insecure_context",
      "This page was not loaded over https, so the browser hides the GPU",
      ["use_https"],
      browser,
    );
  }
  if (!surroundings.gpu) {
    return unsupported(app ?? "no_webgpu", `${browser.name} does not offer WebGPU here`, webgpuHelp(browser), browser);
  }
  let adapter: GPUAdapter | null = null;
  let reason = "";
  try {
    adapter = await surroundings.gpu.requestAdapter(powerPreference && { powerPreference });
  } catch (error) {
    reason = `: ${LynError.from(error).message}`;
  }
  if (!adapter) {
    return unsupported(
      app ?? "no_adapter",
      `${browser.name} has WebGPU, but offers no GPU${reason}`,
      adapterHelp(browser),
      browser,
    );
  }
  const lacking = Object.entries(MINIMUM_LIMITS).flatMap(([name, needed]) => {
    const found = adapter.limits[name as keyof typeof MINIMUM_LIMITS];
    return found >= needed ? [] : [`${name}: needed ${needed}, found ${found}`];
  });
  const info = adapterInfo(adapter);
  if (lacking.length > 0) {
    return unsupported("limits", `${info.name}: ${lacking.join("; ")}`, ["other_gpu"], browser);
  }
  return { ok: true, adapter: info, worker: worker ? await worker().catch(() => false) : false };
}

type Failure = Extract<Support, { ok: false }>;

function unsupported(reason: Failure["reason"], message: string, keys: HelpKey[], { mobile }: Browser): Failure {
  const helpKeys: HelpKey[] = mobile || reason === "insecure_context" ? keys : [...keys, "use_cli"];
  const code = reason === "limits" ? "limit_too_small" : "no_adapter";
  return { ok: false, code, reason, message, help: helpKeys.map((key) => HELP[key]), helpKeys };
}

/** What the adapter says of itself, by the names of `lyn devices --json`. Browsers hide much of it. */
export function adapterInfo(adapter: GPUAdapter): AdapterInfo {
  const { info, limits, features } = adapter;
  const { vendor = "", architecture = "", device = "", description = "" } = info ?? {};
  const name = description || device || [vendor, architecture].filter(Boolean).join(" ") || "GPU";
  return {
    index: 0,
    name,
    kind: kindOf(`${vendor} ${architecture} ${device} ${description}`.toLowerCase(), Boolean(info?.isFallbackAdapter)),
    backend: "webgpu",
    driver: "",
    shader_f16: features.has("shader-f16"),
    // Where the browser does not tell, any size that WebGPU allows.
    subgroups: [info?.subgroupMinSize ?? 4, info?.subgroupMaxSize ?? 128],
    timestamps: features.has("timestamp-query"),
    max_buffer_bytes: limits.maxBufferSize,
    max_binding_bytes: limits.maxStorageBufferBindingSize,
  };
}

/** WebGPU does not tell kinds apart, beside its fallback. Only what the name makes certain is claimed. */
function kindOf(words: string, isFallback: boolean): AdapterInfo["kind"] {
  if (isFallback || /swiftshader|llvmpipe|lavapipe|softpipe|basic render|\bwarp\b/.test(words)) return "software";
  if (/\bvirtio|\bvmware|\bvirgl|parallels/.test(words)) return "virtual";
  if (/geforce|\brtx|\bgtx|quadro|radeon (rx|pro)|\bxe-[23]hp|\barc\b.*\b[ab]\d{3}/.test(words)) return "discrete";
  if (/^(apple|qualcomm|arm|img-tec|imagination|samsung)\b|adreno|mali-|\b(u?hd|iris\S*) graphics/.test(words))
    return "integrated";
  return "other";
}

interface Browser {
  name: string;
  engine: "chrome" | "firefox" | "safari";
  system: "windows" | "mac" | "linux" | "android" | "ios" | "chromeos" | "other";
  mobile: boolean;
  /** Whether the page is shown inside another app. */
  app: boolean;
}

const SYSTEMS: [Browser["system"], RegExp][] = [
  ["ios", /iPhone|iPad|iPod/],
  ["android", /Android/],
  ["windows", /Windows/],
  ["chromeos", /CrOS/],
  ["mac", /Macintosh/],
  ["linux", /Linux|X11/],
];

/** Apps whose built-in browsers are often without WebGPU. The last is the mark of any Android WebView. */
const APPS = new RegExp(
  "FBAN|FBAV|FB_IAB|Instagram|Barcelona|MicroMessenger|LinkedInApp|Snapchat|Pinterest|TikTok|musical_ly|Bytedance|" +
    "Twitter|\\bLine/|GSA/|; wv\\)",
);

const NAMES: [string, RegExp][] = [
  ["Firefox", /Firefox\/|FxiOS\//],
  ["Edge", /Edg(A|iOS)?\//],
  ["Opera", /OPR\/|OPiOS\//],
  ["Samsung Internet", /SamsungBrowser\//],
  ["Chrome", /Chrome\/|CriOS\//],
  ["Safari", /Version\/[\d.]+.*Safari\//],
];

/** Which browser this is, as far as help depends on it. User agents lie, so nothing else does. */
export function browserOf({ userAgent, maxTouchPoints }: Pick<Surroundings, "userAgent" | "maxTouchPoints">): Browser {
  let system = SYSTEMS.find(([, words]) => words.test(userAgent))?.[0] ?? "other";
  if (system === "mac" && maxTouchPoints > 1) system = "ios";
  const app = APPS.test(userAgent);
  const name = app ? "This app's browser" : (NAMES.find(([, words]) => words.test(userAgent))?.[0] ?? "This browser");
  const engine = system === "ios" || name === "Safari" ? "safari" : name === "Firefox" ? "firefox" : "chrome";
  return { name, engine, system, mobile: system === "ios" || system === "android", app };
}

function webgpuHelp({ engine, system, app }: Browser): HelpKey[] {
  if (app) return system === "ios" ? ["open_in_browser", "update_ios"] : ["open_in_browser"];
  if (system === "ios") return ["update_ios"];
  if (engine === "firefox") {
    if (system === "linux") return ["firefox_linux"];
    if (system === "windows") return ["firefox_windows"];
    if (system === "mac") return ["firefox_mac"];
    if (system === "android") return ["firefox_android"];
  }
  if (engine === "safari") return ["update_macos"];
  if (system === "linux") return ["chrome_linux", "update_browser"];
  if (system === "android") return ["chrome_android"];
  return ["update_browser"];
}

function adapterHelp({ engine, system, app }: Browser): HelpKey[] {
  if (app) return ["open_in_browser"];
  if (system === "ios") return ["update_ios"];
  if (system === "android") return engine === "firefox" ? ["firefox_android"] : ["chrome_android"];
  if (engine === "safari") return ["update_macos"];
  if (engine === "firefox") return [system === "linux" ? "firefox_linux" : "acceleration_firefox", "update_driver"];
  return [...(system === "linux" ? (["chrome_linux"] as const) : []), "acceleration_chrome", "update_driver"];
}

function here(): Surroundings {
  const { userAgent = "", maxTouchPoints = 0, gpu } = (globalThis.navigator ?? {}) as Partial<Navigator>;
  return { isSecureContext: globalThis.isSecureContext ?? false, userAgent, maxTouchPoints, gpu };
}

/** Whether bytes may cost money here: people who save data, and phones on their operator's network. */
export function isMetered(): boolean {
  const { connection } = (globalThis.navigator ?? {}) as { connection?: { saveData?: boolean; type?: string } };
  const reduced = globalThis.matchMedia?.("(prefers-reduced-data: reduce)").matches ?? false;
  return connection?.saveData === true || connection?.type === "cellular" || reduced;
}
