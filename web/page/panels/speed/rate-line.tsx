// Speeds of the answer in the making, as a line on a small canvas.

import { useEffect, useRef } from "preact/hooks";
import type { Rate } from "./rate.ts";

interface Props {
  line: readonly Rate[];
  label: string;
  /** Writes a speed, and a time in milliseconds. */
  rate: (value: number) => string;
  time: (milliseconds: number) => string;
}

/** The next of 1, 2, 5, 10, 20 … above a value: axes end in round numbers. */
function round(value: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1e-3)));
  return ([1, 2, 5, 10].find((step) => step * power >= value) ?? 10) * power;
}

export function RateLine({ line, label, rate, time }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const element = canvas.current;
    if (!element) return;
    const draw = () => paint(element, line, rate, time);
    draw();
    const resize = new ResizeObserver(draw);
    resize.observe(element);
    const theme = new MutationObserver(draw);
    theme.observe(document.documentElement, { attributes: true });
    return () => {
      resize.disconnect();
      theme.disconnect();
    };
  }, [line, rate, time]);
  return <canvas ref={canvas} class="rate-line" role="img" aria-label={label} />;
}

function paint(canvas: HTMLCanvasElement, line: readonly Rate[], rate: Props["rate"], time: Props["time"]): void {
  const { clientWidth: width, clientHeight: height } = canvas;
  const pen = canvas.getContext("2d");
  if (!pen || width === 0) return;
  canvas.width = Math.round(width * devicePixelRatio);
  canvas.height = Math.round(height * devicePixelRatio);
  pen.scale(devicePixelRatio, devicePixelRatio);
  const style = getComputedStyle(canvas);
  // The style sheet gives the line's colour as the border's, the axes' as the text's.
  const [ink, accent] = [style.color, style.borderTopColor];
  const [left, bottom, top] = [40, height - 18, 8];
  const most = round(Math.max(...line.map((point) => point.rate), 1));
  const end = Math.max(line.at(-1)?.at ?? 1, 1);
  const x = (at: number) => left + (at / end) * (width - left - 4);
  const y = (value: number) => bottom - (value / most) * (bottom - top);

  pen.font = "11px system-ui, sans-serif";
  pen.fillStyle = ink;
  pen.strokeStyle = ink;
  pen.lineWidth = 1;
  pen.textBaseline = "middle";
  for (const part of [0, 0.5, 1]) {
    pen.globalAlpha = part === 0 ? 0.6 : 0.2;
    pen.beginPath();
    pen.moveTo(left, Math.round(y(most * part)) + 0.5);
    pen.lineTo(width, Math.round(y(most * part)) + 0.5);
    pen.stroke();
    pen.globalAlpha = 1;
    pen.textAlign = "right";
    pen.fillText(rate(most * part), left - 6, y(most * part));
  }
  pen.textBaseline = "alphabetic";
  pen.textAlign = "left";
  pen.fillText(time(0), left, height - 4);
  pen.textAlign = "right";
  pen.fillText(time(end * 1000), width - 4, height - 4);

  const [first] = line;
  if (!first) return;
  pen.beginPath();
  pen.moveTo(x(0), y(first.rate));
  for (const point of line) pen.lineTo(x(point.at), y(point.rate));
  pen.strokeStyle = accent;
  pen.lineWidth = 2;
  pen.lineJoin = "round";
  pen.stroke();
  pen.lineTo(x(end), bottom);
  pen.lineTo(x(0), bottom);
  pen.fillStyle = accent;
  pen.globalAlpha = 0.12;
  pen.fill();
  pen.globalAlpha = 1;
}
