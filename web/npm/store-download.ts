// One file from a server into a folder: resumed where it was cut, checked against all that is known of it.

import { LynError, aborted, isNamed } from "./errors.js";
import { MAX_READ, MAX_TEXT, isWeights } from "./files.js";
import {
  type Connection,
  type Net,
  type Remote,
  Transient,
  broken,
  connect,
  isSameOrigin,
  refused,
  retrying,
} from "./hub.js";
import type { FileRecord, Folder, Writer } from "./opfs.js";
import type { Meter } from "./store-progress.js";

/** An incremental SHA-256, such as the core's `Sha256`; `finish` gives hexadecimal. */
export interface Hash {
  update(bytes: Uint8Array): void;
  finish(): string;
}

/** One model's way from a server into a folder. */
export interface Task {
  remote: Remote;
  folder: Folder;
  net: Net;
  meter: Meter;
  sha256: () => Hash;
  /** Writes the record down. */
  save(): Promise<void>;
}

/** Bytes and milliseconds between two records: what a crash may cost. */
const UNSAVED_BYTES = MAX_READ;
const UNSAVED_TIME = 1000;

/** Completes a file. Where the server has none it is marked `absent` if it may be, else `model_not_found` is thrown. */
export async function fetchFile(task: Task, file: FileRecord, optional = false): Promise<void> {
  const download = new Download(task, file, await task.folder.open(file.name));
  try {
    await download.run();
  } catch (error) {
    const isAbsent = optional && error instanceof LynError && error.code === "model_not_found";
    if (isAbsent) file.absent = true;
    // What went wrong first is what people should read, also where a full disk refuses the record.
    await download.close().catch(() => undefined);
    if (file.loaded === 0) await task.folder.remove(file.name).catch(() => undefined);
    if (!isAbsent) throw error;
    return;
  }
  await download.close();
}

class Download {
  private hash: Hash;
  private unsaved = 0;
  private savedAt = Date.now();

  constructor(
    private readonly task: Task,
    private readonly file: FileRecord,
    private readonly writer: Writer,
  ) {
    this.hash = task.sha256();
  }

  async run(): Promise<void> {
    const { file } = this;
    await this.rehash();
    let furthest = file.loaded;
    const moved = () => {
      const more = file.loaded > furthest;
      furthest = Math.max(furthest, file.loaded);
      return more;
    };
    await retrying(this.task.net, () => this.attempt(), moved);
    const hash = this.hash.finish();
    if (file.sha256 && hash !== file.sha256) {
      this.restart();
      const where = `${file.name} of ${this.task.remote.id}`;
      const message = `${where}: expected SHA-256 ${file.sha256}, found ${hash}; it was deleted`;
      const help = ["Load again to download that file anew."];
      throw new LynError("bad_checkpoint", message, { help, details: { file: file.name, class: "E-HASH" } });
    }
    file.hash = hash;
  }

  async close(): Promise<void> {
    try {
      this.writer.flush();
    } finally {
      this.writer.close();
    }
    await this.task.save();
  }

  /** Brings the hash to where the file is, from the store: a hash cannot be kept half done. */
  private async rehash(): Promise<void> {
    const { file, writer, task } = this;
    delete file.hash;
    // Bytes behind `loaded` were written, but a crash may have torn them.
    file.loaded = Math.min(file.loaded, writer.size);
    if (writer.size > file.loaded) writer.truncate(file.loaded);
    const others = task.meter.sums().loaded - file.loaded;
    for (let at = 0; at < file.loaded;) {
      aborted(task.net.signal);
      const bytes = await writer.read(at, Math.min(MAX_READ, file.loaded - at));
      if (bytes.length === 0) throw new LynError("io", `${file.name} could not be read back from the store`);
      this.hash.update(bytes);
      at += bytes.length;
      task.meter.stored(file, others + at);
    }
  }

  /** One request for what is missing. */
  private async attempt(): Promise<void> {
    const { file, task } = this;
    if (file.loaded > 0 && file.loaded === file.size) return;
    // Without a tag or a hash nothing would tell that the rest belongs to what is here.
    if (file.loaded > 0 && !file.etag && !file.sha256) this.restart();
    const headers: Record<string, string> = { ...task.remote.headers };
    if (file.loaded > 0) {
      headers.Range = `bytes=${file.loaded}-`;
      // A plain range needs no leave from another origin, If-Range does, and the Hub's download hosts refuse it. There
      // the tag is compared when the answer comes. Weak tags cannot be asked for.
      if (file.etag && !file.etag.startsWith("W/") && isSameOrigin(file.url)) headers["If-Range"] = file.etag;
    }
    const connection = await connect(task.net, file.url, { headers });
    try {
      await this.receive(connection, this.check(connection.response));
    } catch (error) {
      throw broken(task.net, file.url, error);
    } finally {
      connection.close();
    }
  }

  /** Compares the answer with the request and with what is known. Returns where the body should end, if it is known. */
  private check(response: Response): number | undefined {
    const { file, task } = this;
    const etag = response.headers.get("etag") ?? undefined;
    const changed = etag !== undefined && file.etag !== undefined && etag !== file.etag;
    if (response.status === 416 && file.loaded > 0) {
      this.restart();
      throw new Transient(this.unexpected("the rest of the file", "a shorter file (416)"));
    }
    if (!response.ok) throw refused(response, task.remote, file.name);
    // Servers of single-page sites answer any path with their page.
    if (/^text\/html\b/.test(response.headers.get("content-type") ?? "")) {
      throw new LynError(
        "model_not_found",
        `${file.name} of ${task.remote.id}: the server sent a web page in its place`,
        {
          help: [`Check the URL, ${task.remote.folder}.`],
          details: { file: file.name },
        },
      );
    }
    if (response.status === 206 && file.loaded > 0) {
      if (changed) {
        this.restart();
        throw new Transient(this.unexpected("the rest of the file", "that it has changed meanwhile"));
      }
      return this.checkRange(response);
    }
    if (response.status !== 200) throw this.unexpected("status 200", `status ${response.status}`);
    if (file.loaded > 0) {
      const from = file.loaded;
      this.restart();
      // The file has changed: this is the new one, from its start.
      if (!changed) throw this.unexpected(`status 206 with bytes from ${from}`, "status 200 with the whole file");
    }
    if (etag) file.etag = etag;
    const length = this.lengthOf(response);
    if (length !== undefined && file.version && length !== file.size) {
      throw this.unexpected(`${file.size} bytes`, `${length} bytes`);
    }
    if (!file.version) file.size = length;
    return file.size;
  }

  private checkRange(response: Response): number | undefined {
    const { file } = this;
    const range = response.headers.get("content-range");
    const [, start, last, total] = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(range ?? "") ?? [];
    const expected = `bytes ${file.loaded}-${(file.size ?? NaN) - 1}/${file.size ?? "*"}`;
    if (start === undefined) {
      // Servers of other origins may hide the header; the length never is.
      const length = response.headers.get("content-length");
      const hidden = range === null && !isSameOrigin(file.url) && file.size !== undefined;
      if (hidden && (length === null || Number(length) === file.size! - file.loaded)) return file.size;
      throw this.unexpected(`Content-Range ${expected}`, range === null ? "none" : range.slice(0, 120));
    }
    const end = Number(last) + 1;
    const fits = Number(start) === file.loaded && end > file.loaded && (file.size === undefined || end <= file.size);
    if (!fits || (total !== "*" && file.size !== undefined && Number(total) !== file.size)) {
      throw this.unexpected(`Content-Range ${expected}`, `${range}`);
    }
    if (file.size === undefined && total !== "*") file.size = Number(total);
    return end;
  }

  /** The body's length, where the header tells it: a compressed body has another one than the file. */
  private lengthOf(response: Response): number | undefined {
    const length = response.headers.get("content-length");
    const encoding = response.headers.get("content-encoding");
    const isText = !isWeights(this.file.name);
    // Other origins hide whether they compress; they do so for text.
    if (length === null || !/^\d+$/.test(length) || (encoding && encoding !== "identity")) return undefined;
    return isText && !isSameOrigin(this.file.url) ? undefined : Number(length);
  }

  private async receive({ response, touch }: Connection, end: number | undefined): Promise<void> {
    const { file, task, writer } = this;
    const reader = response.body?.getReader();
    for (;;) {
      const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
      aborted(task.net.signal);
      if (done || !value) break;
      touch();
      if (end !== undefined && file.loaded + value.length > end) {
        const expected = end;
        this.restart();
        await reader?.cancel().catch(() => undefined);
        throw this.unexpected(`a body that ends at byte ${expected}`, "a longer one");
      }
      if (!isWeights(file.name) && file.loaded + value.length > MAX_TEXT) {
        const message = `${file.name}: expected at most ${MAX_TEXT} bytes, found more`;
        throw new LynError("bad_checkpoint", message, { details: { file: file.name, class: "E-LIMIT" } });
      }
      for (let at = 0; at < value.length; at += MAX_READ) await this.keep(value.subarray(at, at + MAX_READ));
    }
    writer.flush();
    // A response that ends is the whole file only where nothing told its size.
    file.size ??= file.loaded;
    if (file.loaded < file.size) throw new Transient(this.unexpected(`${file.size} bytes`, `${file.loaded} bytes`));
    // An empty file has told nothing yet.
    task.meter.add(file, 0);
  }

  private async keep(bytes: Uint8Array): Promise<void> {
    const { file, task, writer } = this;
    try {
      writer.append(bytes);
    } catch (error) {
      // What a failed write left behind `loaded` would be taken for the file's.
      writer.truncate(file.loaded);
      throw isNamed(error, "QuotaExceededError")
        ? await quotaError(task.meter.sums(), error)
        : LynError.from(error, "io");
    }
    this.hash.update(bytes);
    file.loaded += bytes.length;
    task.meter.add(file, bytes.length);
    this.unsaved += bytes.length;
    if (this.unsaved < UNSAVED_BYTES && Date.now() - this.savedAt < UNSAVED_TIME) return;
    [this.unsaved, this.savedAt] = [0, Date.now()];
    writer.flush();
    await task.save();
  }

  /** Throws away what is here of this file. */
  private restart(): void {
    const { file } = this;
    this.writer.truncate(0);
    this.hash = this.task.sha256();
    file.loaded = 0;
    delete file.etag;
    if (!file.version) delete file.size;
  }

  private unexpected(expected: string, found: string): LynError {
    const { file, task } = this;
    return new LynError("network", `${file.name} of ${task.remote.id}: expected ${expected}, found ${found}`, {
      help: ["Load again; if it stays so, the server is at fault or the model was replaced while it was loading."],
      details: { file: file.name, url: file.url, expected, found },
    });
  }
}

/** The error of a full store, with the browser's own figures. */
export async function quotaError(
  { total, loaded }: { total: number; loaded: number },
  cause?: unknown,
): Promise<LynError> {
  const { usage = null, quota = null } =
    (await globalThis.navigator?.storage?.estimate?.().catch(() => undefined)) ?? {};
  const needed = total - loaded;
  const figures = quota === null ? "" : `; ${mebibytes(usage ?? 0)} of ${mebibytes(quota)} are in use`;
  return new LynError("quota", `this browser has no room for ${mebibytes(needed)} more${figures}`, {
    help: ['Delete models that are kept here, free disk space, or load without keeping it (cache: "memory").'],
    details: { usage, quota, needed },
    cause,
  });
}

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(bytes < 10 << 20 ? 1 : 0)} MiB`;
}
