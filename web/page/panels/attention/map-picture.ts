// The map's canvas: what it shows, and how pointers move it. It lives from mount to unmount. Rows are entered in slices of
// a few milliseconds, so that typing never waits.

import { effect, signal } from "@preact/signals";
import { clampWindow, MapCells, type Window, zoomWindow } from "../../trace/map.ts";
import type { TraceStore } from "../../trace/store.ts";
import type { Format } from "../../text/format.ts";
import { channels, colours } from "./legend.tsx";
import type { AttentionState } from "./state.ts";

const SLICE_MS = 8;
/** Room for the positions along the edges, in CSS pixels. */
const MARGIN = 36;

export class MapPicture {
  /** The pair of tokens under the pointer. */
  readonly cell = signal<{ query: number; key: number } | null>(null);
  #canvas: HTMLCanvasElement;
  #state: AttentionState;
  #format: Format;
  #cells = new MapCells(0);
  #image = document.createElement("canvas");
  #window: Window = { scale: 1, x: 0, y: 0 };
  #ends: (() => void)[] = [];
  #timer = 0;
  #frame = 0;
  #painted = 0;
  #fresh = { store: null as TraceStore | null, layer: null as number | null, dense: false, revision: -1 };
  #pointers = new Map<number, { x: number; y: number }>();
  #moved = 0;

  constructor(canvas: HTMLCanvasElement, state: AttentionState, format: Format) {
    this.#canvas = canvas;
    this.#state = state;
    this.#format = format;
    const resize = new ResizeObserver(() => this.draw());
    resize.observe(canvas);
    const theme = new MutationObserver(() => this.#repaint());
    theme.observe(document.documentElement, { attributes: true });
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const repaint = () => this.#repaint();
    dark.addEventListener("change", repaint);
    const listeners = new AbortController();
    const { signal } = listeners;
    canvas.addEventListener("pointerdown", (event) => this.#down(event), { signal });
    canvas.addEventListener("pointermove", (event) => this.#move(event), { signal });
    canvas.addEventListener("pointerup", (event) => this.#up(event, true), { signal });
    canvas.addEventListener("pointercancel", (event) => this.#up(event, false), { signal });
    canvas.addEventListener("pointerleave", () => (this.cell.value = null), { signal });
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { signal, passive: false });
    this.#ends.push(
      () => resize.disconnect(),
      () => theme.disconnect(),
      () => dark.removeEventListener("change", repaint),
      () => listeners.abort(),
      effect(() => this.#follow()),
      effect(() => {
        state.query.value;
        if (state.pointed.peek() === null) this.#reveal();
        this.draw();
      }),
    );
  }

  end(): void {
    clearTimeout(this.#timer);
    cancelAnimationFrame(this.#frame);
    for (const end of this.#ends) end();
  }

  /** Brings the query's row, and the end of it, into sight. */
  #reveal(): void {
    const { length } = this.#cells;
    const span = length / this.#window.scale;
    const into = (from: number, place: number) => (place < from || place >= from + span ? place - span / 2 : from);
    const query = this.#state.query.peek();
    const y = into(this.#window.y, query);
    if (y !== this.#window.y)
      this.#window = clampWindow({ ...this.#window, x: into(this.#window.x, query), y }, Math.max(length, 1));
  }

  /** Zooms about a point, given in shares of the canvas; without one about the query's row. Zero shows all. */
  zoom(factor: number, x = 0.5, y = this.#queryAt()): void {
    this.#window =
      factor === 0 ? { scale: 1, x: 0, y: 0 } : zoomWindow(this.#window, factor, x, y, Math.max(this.#cells.length, 1));
    // While all is in sight a finger scrolls the page; closer up it moves the map.
    this.#canvas.style.touchAction = this.#window.scale > 1 ? "none" : "pan-y";
    this.draw();
  }

  #queryAt(): number {
    const span = Math.max(this.#cells.length, 1) / this.#window.scale;
    return Math.min(Math.max((this.#state.query.peek() - this.#window.y) / span, 0), 1);
  }

  /** Moves by shares of what is in sight. */
  pan(x: number, y: number): void {
    const span = this.#cells.length / this.#window.scale;
    this.#window = clampWindow(
      { ...this.#window, x: this.#window.x + x * span, y: this.#window.y + y * span },
      Math.max(this.#cells.length, 1),
    );
    this.draw();
  }

  /** Starts anew when trace or layer change; takes in what is new when the text has grown. */
  #follow(): void {
    const store = this.#state.store.value;
    const layer = this.#state.layer.value;
    const dense = this.#state.mapDense.value;
    const revision = store.revision.value;
    const fresh = this.#fresh;
    const elsewhere = fresh.store !== store;
    const other = elsewhere || fresh.layer !== layer || fresh.dense !== dense;
    if (!other && fresh.revision === revision) return;
    this.#fresh = { store, layer, dense, revision };
    if (elsewhere) this.#window = { scale: 1, x: 0, y: 0 };
    clearTimeout(this.#timer);
    // A growing text is drawn four times a second at most.
    this.#timer = window.setTimeout(() => this.#fill(new MapCells(store.tokens.length), 0), other ? 0 : 250);
  }

  #fill(cells: MapCells, from: number): void {
    const { store } = this.#fresh;
    if (!store) return;
    const end = performance.now() + SLICE_MS;
    let query = from;
    for (; query < cells.length && performance.now() < end; query += 1) {
      cells.fill(query, this.#state.mapShades(store.row(query)));
    }
    if (query < cells.length) {
      this.#timer = window.setTimeout(() => this.#fill(cells, query), 0);
      // The first picture grows before the eyes; a later one replaces the old when it is whole.
      if ((this.#cells.length > 0 && this.#cells !== cells) || end < this.#painted + 400) return;
    }
    this.#cells = cells;
    this.#repaint();
  }

  #repaint(): void {
    const { size } = this.#cells;
    if (size === 0) return;
    this.#painted = performance.now();
    if (this.#image.width !== size) this.#image.width = this.#image.height = size;
    const context = this.#image.getContext("2d");
    if (!context) return;
    const pixels = context.createImageData(size, size);
    const palette = colours(this.#canvas.parentElement ?? document.body).shades.map(({ paper }) => channels(paper));
    this.#cells.paint(pixels.data, palette);
    context.putImageData(pixels, 0, 0);
    this.draw();
  }

  draw(): void {
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => this.#draw());
  }

  #draw(): void {
    const { clientWidth, clientHeight } = this.#canvas;
    const context = this.#canvas.getContext("2d");
    if (!context || clientWidth === 0) return;
    const ratio = devicePixelRatio;
    this.#canvas.width = Math.round(clientWidth * ratio);
    this.#canvas.height = Math.round(clientHeight * ratio);
    context.scale(ratio, ratio);
    const { after, query: mark, page } = colours(this.#canvas.parentElement ?? document.body);
    context.fillStyle = page.paper; // also of the picture that is saved
    context.fillRect(0, 0, clientWidth, clientHeight);
    const { length, bin, size } = this.#cells;
    if (length === 0) return;
    const { scale, x, y } = this.#window;
    const width = clientWidth - MARGIN;
    const height = clientHeight - MARGIN / 2;
    const pixel = { x: (width * scale) / length, y: (height * scale) / length };

    context.fillStyle = after.paper;
    context.fillRect(MARGIN, MARGIN / 2, width, height);
    context.save();
    context.beginPath();
    context.rect(MARGIN, MARGIN / 2, width, height);
    context.clip();
    context.imageSmoothingEnabled = pixel.x * bin < ratio;
    const [left, top] = [MARGIN - x * pixel.x, MARGIN / 2 - y * pixel.y];
    context.drawImage(this.#image, left, top, size * bin * pixel.x, size * bin * pixel.y);
    const query = this.#state.query.peek();
    context.strokeStyle = mark.paper;
    context.lineWidth = 2;
    context.strokeRect(MARGIN, top + query * pixel.y - 1, (query + 1 - x) * pixel.x, Math.max(pixel.y, 1) + 2);
    context.restore();

    // Positions of the first and last token in sight, along both edges.
    context.fillStyle = after.ink;
    context.font = "11px system-ui, sans-serif";
    const ends = (from: number) =>
      [from, from + length / scale - 1].map((place) => this.#format.integer(Math.round(place)));
    const [[keyFrom = "", keyTo = ""], [queryFrom = "", queryTo = ""]] = [ends(x), ends(y)];
    context.textBaseline = "middle";
    context.textAlign = "left";
    context.fillText(keyFrom, MARGIN, MARGIN / 4);
    context.textAlign = "right";
    context.fillText(keyTo, clientWidth, MARGIN / 4);
    context.fillText(queryFrom, MARGIN - 4, MARGIN / 2 + 7);
    context.fillText(queryTo, MARGIN - 4, clientHeight - 7);
  }

  #place(event: PointerEvent | WheelEvent) {
    const box = this.#canvas.getBoundingClientRect();
    return {
      x: (event.clientX - box.left - MARGIN) / (box.width - MARGIN),
      y: (event.clientY - box.top - MARGIN / 2) / (box.height - MARGIN / 2),
    };
  }

  #wheel(event: WheelEvent): void {
    if (!event.ctrlKey && !event.metaKey) return; // the wheel alone scrolls the page
    event.preventDefault();
    const { x, y } = this.#place(event);
    this.zoom(Math.exp(-event.deltaY / 200), x, y);
  }

  #down(event: PointerEvent): void {
    this.#canvas.setPointerCapture(event.pointerId);
    if (this.#pointers.size === 0) this.#moved = 0;
    this.#pointers.set(event.pointerId, this.#place(event));
  }

  #point(event: PointerEvent): void {
    const { scale, x, y } = this.#window;
    const at = this.#place(event);
    const [key, query] = [x, y].map((from, edge) =>
      Math.floor(from + ((edge === 0 ? at.x : at.y) * this.#cells.length) / scale),
    );
    if (key === undefined || query === undefined) return;
    const inside = at.x >= 0 && at.y >= 0 && key <= query && query < this.#cells.length;
    this.cell.value = inside && event.pointerType === "mouse" ? { query, key } : null;
  }

  #move(event: PointerEvent): void {
    this.#point(event);
    const before = this.#pointers.get(event.pointerId);
    if (!before) return;
    const now = this.#place(event);
    const other = [...this.#pointers].find(([id]) => id !== event.pointerId)?.[1];
    this.#moved += Math.hypot(now.x - before.x, now.y - before.y);
    if (other) {
      const distance = (a: { x: number; y: number }) => Math.hypot(a.x - other.x, a.y - other.y) || 1e-3;
      this.zoom(distance(now) / distance(before), (now.x + other.x) / 2, (now.y + other.y) / 2);
      this.#moved = 1;
    } else if (this.#window.scale > 1) this.pan(before.x - now.x, before.y - now.y);
    this.#pointers.set(event.pointerId, now);
  }

  #up(event: PointerEvent, picks: boolean): void {
    const at = this.#pointers.get(event.pointerId);
    this.#pointers.delete(event.pointerId);
    // A press that hardly moved is a click on a row.
    if (!picks || !at || this.#moved > 0.02) return;
    const { scale, y } = this.#window;
    this.#state.pick(Math.floor(y + (at.y * this.#cells.length) / scale));
  }
}
