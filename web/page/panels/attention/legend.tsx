// What the shades mean, and the colours themselves for those who draw on a canvas.

import type { Panels } from "../text.en.ts";
import { SHADES } from "../../trace/measures.ts";

const STEPS = Array.from({ length: SHADES }, (_, step) => step + 1);

export function Legend({ text, kind }: { text: Panels["legend"]; kind: "score" | "count" | "dense" }) {
  const [least, most, meaning] = text[kind];
  return (
    <p class="legend">
      <span>{least}</span>
      <span class="legend-ramp" aria-hidden="true">
        {STEPS.map((step) => (
          <i key={step} class={`shade-${step}`} />
        ))}
      </span>
      <span>{most}</span>
      <small>{meaning}</small>
    </p>
  );
}

export interface Colour {
  paper: string;
  ink: string;
}

/** The panel's colours as the present theme, contrast setting and style sheet give them, by class. */
export function colours(inside: HTMLElement): { shades: Colour[]; query: Colour; after: Colour; page: Colour } {
  const probe = document.createElement("span");
  probe.hidden = true;
  probe.style.setProperty("forced-color-adjust", "none"); // a canvas has no words to fall back on
  inside.append(probe);
  const read = (name: string): Colour => {
    probe.className = name;
    const { backgroundColor, color } = getComputedStyle(probe);
    return { paper: backgroundColor, ink: color };
  };
  const shades = [0, ...STEPS].map((step) => read(`shade-${step}`));
  const all = { shades, query: read("token-query"), after: read("token-after"), page: read("token-page") };
  probe.remove();
  return all;
}

/** Red, green and blue of a computed colour. */
export function channels(colour: string): [number, number, number] {
  const [red = 0, green = 0, blue = 0] = (colour.match(/[\d.]+/g) ?? []).map(Number);
  return [red, green, blue];
}
