// How far a download has come: events for people, at most ten a second.

import type { FileRecord, ModelRecord } from "./opfs.js";
import type { Progress } from "./types.js";

/** Milliseconds over which the rate is taken. */
const WINDOW = 5_000;
const PAUSE = 100;

/** Counts bytes of a model as they come, and tells. */
export class Meter {
  private readonly samples: { at: number; bytes: number }[] = [];
  private received = 0;
  private toldAt = -Infinity;

  constructor(
    private readonly record: ModelRecord,
    private readonly tell: (progress: Progress) => void,
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** Bytes of the whole model, as far as sizes are known, and bytes that are here. */
  sums(): { total: number; loaded: number } {
    const sums = { total: 0, loaded: 0 };
    for (const file of this.record.files) {
      sums.total += Math.max(file.size ?? 0, file.loaded);
      sums.loaded += file.loaded;
    }
    return sums;
  }

  /** Bytes of a file that came from the network. */
  add(file: FileRecord, bytes: number): void {
    this.received += bytes;
    const now = this.now();
    this.samples.push({ at: now, bytes: this.received });
    while (this.samples.length > 2 && now - (this.samples[1]?.at ?? now) > WINDOW) this.samples.shift();
    if (now - this.toldAt >= PAUSE || file.loaded === file.size) this.send(file, false);
  }

  /** Bytes of a file that the store has: all of the model, or what a resumed file already holds. */
  stored(file: FileRecord, loaded = this.sums().loaded): void {
    const now = this.now();
    if (now - this.toldAt >= PAUSE || loaded === this.sums().total) this.send(file, true, loaded);
  }

  private send(file: FileRecord, fromCache: boolean, here?: number): void {
    // Until all files are known, a total would mislead.
    if (!this.record.listed) return;
    this.toldAt = this.now();
    const files = this.record.files.filter(({ absent }) => !absent);
    const { total, loaded } = this.sums();
    const [first, last] = [this.samples[0], this.samples.at(-1)];
    const seconds = first && last ? (last.at - first.at) / 1000 : 0;
    const bytesPerSecond = !fromCache && first && last && seconds > 0 ? (last.bytes - first.bytes) / seconds : 0;
    this.tell({
      stage: "download",
      loaded: here ?? loaded,
      total,
      bytesPerSecond,
      ...(bytesPerSecond > 0 && { etaSeconds: (total - loaded) / bytesPerSecond }),
      file: file.name,
      index: files.indexOf(file),
      files: files.length,
      fromCache,
    });
  }
}
