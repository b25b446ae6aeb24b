// Pictures to keep: the map's canvas as it stands, or the shaded text drawn anew.

import type { Token } from "../../trace/store.ts";
import type { Colour } from "./legend.tsx";
import { save } from "../save.ts";
import { visible } from "./token-text.tsx";

const WIDTH = 960;
const EDGE = 32;
const LINE = 26;
/** Title and legend. */
const HEAD = 60;
/** Browsers refuse canvases that are much higher; a longer text is cut there, and the picture says so. */
const MOST_LINES = 600;

interface Picture {
  title: string;
  tokens: readonly Token[];
  query: number;
  shades: Uint8Array;
  /** Words for the weakest and the strongest shade, and what shades mean. */
  legend: readonly [string, string, string];
  colours: { shades: Colour[]; query: Colour; after: Colour; page: Colour };
}

/** The text with its shades, as the panel shows it. */
export function drawText({ title, tokens, query, shades, legend, colours }: Picture): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  const pen = canvas.getContext("2d");
  if (!pen) return canvas;
  const font = "16px system-ui, sans-serif";
  pen.font = font;
  // Laid out once, then drawn: the height is known only after the last line.
  const pieces: { text: string; x: number; line: number; width: number; colour: Colour }[] = [];
  let [x, line] = [EDGE, 0];
  tokens.forEach((token, position) => {
    const colour =
      position === query ? colours.query : position > query ? colours.after : colours.shades[shades[position] ?? 0];
    visible(token.text)
      .split("\n")
      .forEach((text, index) => {
        if (index > 0) [x, line] = [EDGE, line + 1];
        const width = pen.measureText(text).width;
        if (x + width > WIDTH - EDGE && x > EDGE) [x, line] = [EDGE, line + 1];
        if (colour && text && line < MOST_LINES) pieces.push({ text, x, line, width, colour });
        x += width;
      });
  });
  const scale = 2;
  const lines = Math.min(line + 1, MOST_LINES);
  canvas.width = WIDTH * scale;
  canvas.height = (EDGE * 2 + HEAD + LINE * (lines + (line >= MOST_LINES ? 1 : 0))) * scale;
  pen.scale(scale, scale);
  pen.fillStyle = colours.page.paper;
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.textBaseline = "middle";
  pen.fillStyle = colours.page.ink;
  pen.font = `600 ${font}`;
  pen.fillText(title, EDGE, EDGE);
  pen.font = "13px system-ui, sans-serif";
  const [least, most, meaning] = legend;
  let at = EDGE;
  const write = (text: string) => {
    pen.fillStyle = colours.page.ink;
    pen.fillText(text, at, EDGE + LINE);
    at += pen.measureText(text).width + 8;
  };
  write(least);
  for (const { paper } of colours.shades.slice(1)) {
    pen.fillStyle = paper;
    pen.fillRect(at, EDGE + LINE - 7, 18, 14);
    at += 18;
  }
  at += 8;
  write(most);
  write(`· ${meaning}`);
  pen.font = font;
  for (const piece of pieces) {
    const middle = EDGE + HEAD + LINE * (piece.line + 0.5);
    pen.fillStyle = piece.colour.paper;
    pen.fillRect(piece.x, middle - LINE / 2 + 2, piece.width, LINE - 4);
    pen.fillStyle = piece.colour.ink;
    pen.fillText(piece.text, piece.x, middle);
  }
  if (line >= MOST_LINES) {
    pen.fillStyle = colours.page.ink;
    pen.fillText("…", EDGE, EDGE + HEAD + LINE * (lines + 0.5));
  }
  return canvas;
}

export function savePicture(canvas: HTMLCanvasElement, name: string): void {
  canvas.toBlob((blob) => blob && save(blob, name), "image/png");
}
