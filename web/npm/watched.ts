import type { Source } from "./wasm/lyn.js";

/** Remembers why a read failed: the runtime knows of it only that it did. */
export class Watched implements Source {
  private failure: unknown;

  constructor(private readonly source: Source) {}

  get gguf() {
    return this.source.gguf;
  }

  size(file: string) {
    return this.watch(this.source.size(file));
  }

  read(file: string, offset: number, length: number) {
    return this.watch(this.source.read(file, offset, length));
  }

  /** A result whose failure is the source's own where the source failed. */
  async explained<T>(result: Promise<T>): Promise<T> {
    return result.catch((error: unknown) => {
      throw this.failure ?? error;
    });
  }

  private watch<T>(result: Promise<T>): Promise<T> {
    return result.catch((error: unknown) => {
      this.failure = error;
      throw error;
    });
  }
}
