// The colours of panels.css, held to what its first lines promise. Run from web/: the style sheet is read from there.

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { SHADES } from "../trace/measures.ts";

const css = readFileSync("page/panels/panels.css", "utf8");
/** The page's own colours, where the panels take theirs from. */
const base = existsSync("page/style/base.css") ? readFileSync("page/style/base.css", "utf8") : "";
const THEMES = ["light", "dark"] as const;

type Rgb = [number, number, number];

function colour(name: string, theme: (typeof THEMES)[number]): Rgb {
  const [, page = "", own = ""] =
    new RegExp(`--${name}: (?:var\\(--([\\w-]+), )?(light-dark\\(#\\w+, #\\w+\\))`).exec(css) ?? [];
  const value = new RegExp(`--${page || "-"}: (light-dark\\(#\\w+, #\\w+\\))`).exec(base)?.[1] ?? own;
  const [light = "", dark = ""] = value.match(/#\w+/g) ?? [];
  const hex = theme === "light" ? light : dark;
  assert.ok(hex, `--${name} is missing`);
  const full = hex.length === 4 ? [...hex.slice(1)].map((digit) => digit + digit) : (hex.slice(1).match(/../g) ?? []);
  return full.map((digits) => Number.parseInt(digits, 16) / 255).map(linear) as Rgb;
}

/** sRGB to linear light, IEC 61966-2-1. */
function linear(value: number): number {
  return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
}

/** Contrast ratio of WCAG 2.2. */
function contrast(a: Rgb, b: Rgb): number {
  const [dark = 0, light = 0] = [a, b].map(([r, g, b]) => 0.2126 * r + 0.7152 * g + 0.0722 * b).sort((x, y) => x - y);
  return (light + 0.05) / (dark + 0.05);
}

/** OKLab's lightness (Ottosson 2020) of linear sRGB. */
function lightness([r, g, b]: Rgb): number {
  return (
    0.2104542553 * Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) +
    0.793617785 * Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b) -
    0.0040720468 * Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b)
  );
}

/** What people see whose cones of one kind are missing: Machado, Oliveira and Fernandes 2009, severity 1. */
const VISION: Record<string, number[][]> = {
  protanopia: [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ],
  deuteranopia: [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
  ],
  tritanopia: [
    [1.255528, -0.076749, -0.178779],
    [-0.078411, 0.930809, 0.147602],
    [0.004733, 0.691367, 0.3039],
  ],
};
const seen = (matrix: number[][], [r, g, b]: Rgb) =>
  matrix.map(([x = 0, y = 0, z = 0]) => Math.min(Math.max(x * r + y * g + z * b, 0), 1)) as Rgb;

const steps = Array.from({ length: SHADES }, (_, step) => step + 1);
for (const theme of THEMES) {
  const ramp = steps.map((step) => colour(`shade-${step}`, theme));
  const sign = theme === "light" ? -1 : 1;

  test(`${theme}: lightness changes evenly from shade to shade`, () => {
    const levels = ramp.map(lightness);
    const mean = ((levels.at(-1) ?? 0) - (levels[0] ?? 0)) / (SHADES - 1);
    assert.ok(mean * sign > 0.07, `${mean}`);
    levels.slice(1).forEach((level, i) => {
      const step = level - (levels[i] ?? 0);
      assert.ok(Math.abs(step / mean - 1) < 0.08, `step ${i + 1}: ${step} beside ${mean}`);
    });
  });

  for (const [name, matrix] of Object.entries(VISION)) {
    test(`${theme}: the order is plain with ${name}`, () => {
      const levels = ramp.map((rgb) => lightness(seen(matrix, rgb)));
      levels.slice(1).forEach((level, i) => {
        assert.ok((level - (levels[i] ?? 0)) * sign > 0.04, `step ${i + 1}: ${levels[i]} to ${level}`);
      });
    });
  }

  test(`${theme}: all text has a contrast of 4.5 or more`, () => {
    const pairs: [string, string][] = [
      ...steps.map((step): [string, string] => [`shade-${step}`, `on-${step}`]),
      ["panel-page", "panel-ink"],
      ["panel-page", "panel-dim"],
      ["panel-page", "panel-good"],
      ["panel-page", "panel-bad"],
      ["panel-page", "panel-accent"],
      ["panel-sunk", "panel-ink"],
      ["panel-sunk", "panel-dim"],
      ["panel-query", "panel-query-ink"],
    ];
    for (const [paper, ink] of pairs) {
      const ratio = contrast(colour(paper, theme), colour(ink, theme));
      assert.ok(ratio >= 4.5, `${ink} on ${paper}: ${ratio.toFixed(2)}`);
    }
    assert.ok(contrast(colour("panel-page", theme), colour("panel-edge", theme)) >= 3, "edges of controls");
  });
}
