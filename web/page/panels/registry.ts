// The panels on the right, in the order of their tabs. Each is fetched when it is first looked at. A panel's file exports
// it as its default.
import type { PanelName } from "../app/signals.ts";
import type { Panel } from "./props.ts";

const module = async (imported: Promise<{ default: Panel }>): Promise<Panel> => (await imported).default;

export const PANELS: readonly { name: PanelName; load: () => Promise<Panel> }[] = [
  { name: "attention", load: () => module(import("./attention/index.tsx")) },
  { name: "speed", load: () => module(import("./speed.tsx")) },
  { name: "memory", load: () => module(import("./memory.tsx")) },
  { name: "device", load: () => module(import("./device.tsx")) },
];
