// The map of who read what: one cell for each pair of query (row) and key (column), as shades. Long texts are binned, so
// that the picture stays small: a cell then shows the strongest of its pairs, and no lone selection is lost.

/** Rows and columns of the largest picture. */
export const MAP_CELLS = 2000;

export class MapCells {
  /** Tokens along each edge. */
  readonly length: number;
  /** Tokens per cell along each edge. */
  readonly bin: number;
  /** Cells along each edge. */
  readonly size: number;
  /** Shades, row by row. */
  readonly cells: Uint8Array;

  constructor(length: number) {
    this.length = length;
    this.bin = Math.max(1, Math.ceil(length / MAP_CELLS));
    this.size = Math.ceil(length / this.bin);
    this.cells = new Uint8Array(this.size * this.size);
  }

  /** Enters one query's shades, as many as it sees positions. */
  fill(query: number, shades: Uint8Array): void {
    const row = Math.floor(query / this.bin) * this.size;
    for (let key = 0; key < shades.length && key < this.length; key += 1) {
      const shade = shades[key] ?? 0;
      if (shade === 0) continue;
      const cell = row + Math.floor(key / this.bin);
      if (shade > (this.cells[cell] ?? 0)) this.cells[cell] = shade;
    }
  }

  /** The cells as pixels: `palette[shade]` is red, green and blue; what a query cannot see stays transparent. */
  paint(pixels: Uint8ClampedArray, palette: readonly (readonly [number, number, number])[]): void {
    // Whole pixels at a time, in the machine's own byte order: four million of them are on the way to each picture.
    const bytes = new Uint8Array(palette.flatMap(([red, green, blue]) => [red, green, blue, 255]));
    const colours = new Uint32Array(bytes.buffer);
    const whole = new Uint32Array(pixels.buffer, pixels.byteOffset, pixels.length / 4);
    for (let row = 0; row < this.size; row += 1) {
      for (let cell = row * this.size; cell <= row * this.size + row; cell += 1) {
        whole[cell] = colours[this.cells[cell] ?? 0] ?? 0;
      }
    }
  }
}

/** What part of the map a canvas shows: `scale` 1 is all of it; x and y, in tokens, are its upper left corner. */
export interface Window {
  scale: number;
  x: number;
  y: number;
}

/** A window moved back over the map where it hangs over an edge. */
export function clampWindow({ scale, x, y }: Window, length: number): Window {
  // At the closest, a window shows 12 tokens: cells are then wide enough for a finger.
  const inside = Math.min(Math.max(scale, 1), Math.max(1, length / 12));
  const most = length - length / inside;
  const clamp = (value: number) => Math.min(Math.max(value, 0), most);
  return { scale: inside, x: clamp(x), y: clamp(y) };
}

/** The window after zooming by a factor with one point, in shares of the canvas, held in place. */
export function zoomWindow(window: Window, factor: number, atX: number, atY: number, length: number): Window {
  const { scale } = clampWindow({ ...window, scale: window.scale * factor }, length);
  const before = length / window.scale;
  const after = length / scale;
  return clampWindow({ scale, x: window.x + atX * (before - after), y: window.y + atY * (before - after) }, length);
}
