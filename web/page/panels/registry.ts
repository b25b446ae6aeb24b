// The panels on the right, in the order of their tabs. Each is fetched when it is first looked at. A panel's file exports
// it as its default.
import type { PanelName } from "../app/signals.ts";
import type { Panel } from "./props.ts";

const files = import.meta.glob<Panel>(["./attention/index.tsx", "./speed.tsx", "./memory.tsx", "./device.tsx"], {
  import: "default",
});

export const PANELS: readonly { name: PanelName; load: () => Promise<Panel | null> }[] = [
  { name: "attention", load: () => fetchPanel("./attention/index.tsx") },
  { name: "speed", load: () => fetchPanel("./speed.tsx") },
  { name: "memory", load: () => fetchPanel("./memory.tsx") },
  { name: "device", load: () => fetchPanel("./device.tsx") },
];

async function fetchPanel(file: string): Promise<Panel | null> {
  return (await files[file]?.()) ?? null;
}
