// The page's own small drawings: strokes on a 20 × 20 field, in the colour of the text beside them.
import type { VNode } from "preact";

const PATHS = {
  bolt: "M11.5 1.5 4 11.5h5l-1.5 7 8-10.5h-5.2z",
  send: "M10 16.5v-13M4.5 9 10 3.5 15.5 9",
  stop: "M5.5 5.5h9v9h-9z",
  copy: "M7 7V3.5h9.5V13H13M3.5 7H13v9.5H3.5z",
  check: "M3.5 10.5 8 15l8.5-10",
  edit: "M3.5 16.5l1-4L13 4l3 3-8.5 8.5zM11.5 5.5l3 3",
  again: "M16 8a6.3 6.3 0 1 0 .3 4M16.5 3.5V8H12",
  forward: "M4 4.5v11l7-5.5zM14.5 4.5v11",
  trash: "M3.5 5.5h13M8 5.5v-2h4v2M5 5.5l.8 11h8.4l.8-11",
  left: "M12.5 4 6.5 10l6 6",
  right: "M7.5 4l6 6-6 6",
  down: "M10 4v12M4.5 10.5 10 16l5.5-5.5",
  close: "M4.5 4.5l11 11M15.5 4.5l-11 11",
  plus: "M10 4v12M4 10h12",
  sliders: "M3 6h6M13 6h4M9 6a2 2 0 1 0 4 0a2 2 0 1 0-4 0M3 14h2M9 14h8M5 14a2 2 0 1 0 4 0a2 2 0 1 0-4 0",
  sun: "M10 6.5a3.5 3.5 0 1 0 0 7a3.5 3.5 0 1 0 0-7M10 1.5v2M10 16.5v2M1.5 10h2M16.5 10h2M4 4l1.4 1.4M14.6 14.6 16 16M16 4l-1.4 1.4M5.4 14.6 4 16",
  moon: "M16.5 11.5A7 7 0 1 1 8.5 3.5a5.6 5.6 0 0 0 8 8z",
  contrast: "M10 2.5a7.5 7.5 0 1 0 0 15a7.5 7.5 0 1 0 0-15M10 2.5v15M10 6l5.5-1M10 10h7.5M10 14l5.5 1",
  panel: "M2.5 3.5h15v13h-15zM12 3.5v13",
  chevron: "M5 8l5 5 5-5",
  shield: "M10 2 3.5 4.5v5c0 4 3 7 6.5 8.5 3.5-1.5 6.5-4.5 6.5-8.5v-5z",
  hourglass: "M5 2.5h10M5 17.5h10M6 2.5c0 4 4 5.5 4 7.5s-4 3.5-4 7.5M14 2.5c0 4-4 5.5-4 7.5s4 3.5 4 7.5",
  keyboard: "M2 5h16v10H2zM5 8h.5M8 8h.5M11 8h.5M14 8h.5M6 12h8",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }): VNode {
  return (
    <svg class="icon" viewBox="0 0 20 20" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} class={name === "bolt" || name === "stop" ? "filled" : undefined} />
    </svg>
  );
}
