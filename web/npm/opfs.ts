// Where bytes of downloaded models are kept: a folder of the origin private file system, or memory. Knows no network.
//
// lyn/<key>/record.{0,1}.json  what is here; the newer valid one counts, so that a crash while writing loses nothing
// lyn/<key>/files/<name>       bytes of one model file, from its start

import { LynError, isNamed } from "./errors.js";
import { readBlob } from "./files.js";

/** What is known of one file of a model. */
export interface FileRecord {
  name: string;
  url: string;
  /** Bytes that are here, from the start of the file. */
  loaded: number;
  /** Bytes of the whole file; undefined until the server has told. */
  size?: number;
  /** The server's entity tag of what is here. */
  etag?: string;
  /** The Hub's object id of what is here. */
  version?: string;
  /** SHA-256 that the file should have. */
  sha256?: string;
  /** SHA-256 of what was received; set once the file is whole. */
  hash?: string;
  /** The server has no such file, and the model works without. */
  absent?: true;
}

/** What is known of one model. */
export interface ModelRecord {
  schema: 1;
  id: string;
  /** Milliseconds since 1970. */
  usedAt: number;
  /** Whether `files` names all files of the model. */
  listed: boolean;
  files: FileRecord[];
}

/** One file while it grows. */
export interface Writer {
  /** Bytes that are here. */
  readonly size: number;
  /** Throws a `QuotaExceededError` where there is no room. */
  append(bytes: Uint8Array): void;
  read(offset: number, length: number): Promise<Uint8Array>;
  truncate(size: number): void;
  flush(): void;
  close(): void;
}

/** Bytes and record of one model. */
export interface Folder {
  /** Whether it outlives the tab. */
  readonly persistent: boolean;
  /** Whether this context may write: in a browser only workers may. */
  readonly writable: boolean;
  record(): Promise<ModelRecord | undefined>;
  save(record: ModelRecord): Promise<void>;
  open(file: string): Promise<Writer>;
  /** A file as far as it is here. */
  blob(file: string): Promise<Blob | undefined>;
  remove(file: string): Promise<void>;
}

/** The part of `FileSystemSyncAccessHandle` in use; TypeScript's DOM library leaves workers' interfaces out. */
interface SyncHandle {
  read(buffer: Uint8Array, options: { at: number }): number;
  write(buffer: Uint8Array, options: { at: number }): number;
  truncate(size: number): void;
  getSize(): number;
  flush(): void;
  close(): void;
}

/** Whether every byte of the model is here. */
export function isComplete(record: ModelRecord): boolean {
  return record.listed && record.files.every((file) => file.absent || file.loaded === file.size);
}

/** A model's folder in the origin private file system. */
export class OpfsFolder implements Folder {
  readonly persistent = true;
  private sequence = 0;

  private constructor(
    private readonly home: FileSystemDirectoryHandle,
    private readonly files: FileSystemDirectoryHandle,
    readonly writable: boolean,
  ) {}

  /** The folder of a model, made if need be. Throws what the browser throws where it keeps no files. */
  static async open(root: FileSystemDirectoryHandle, id: string): Promise<OpfsFolder> {
    const models = await root.getDirectoryHandle("lyn", { create: true });
    const home = await models.getDirectoryHandle(await keyOf(id), { create: true });
    const files = await home.getDirectoryHandle("files", { create: true });
    const probe = await home.getFileHandle("record.0.json", { create: true });
    return new OpfsFolder(home, files, "createSyncAccessHandle" in probe);
  }

  async record(): Promise<ModelRecord | undefined> {
    const found = await readRecord(this.home);
    this.sequence = found?.sequence ?? 0;
    return found?.record;
  }

  async save(record: ModelRecord): Promise<void> {
    this.sequence += 1;
    const bytes = new TextEncoder().encode(JSON.stringify({ ...record, sequence: this.sequence }));
    const handle = await openSync(this.home, `record.${this.sequence % 2}.json`);
    try {
      handle.truncate(0);
      writeAll(handle, bytes, 0);
      handle.flush();
    } finally {
      handle.close();
    }
  }

  async open(file: string): Promise<Writer> {
    const handle = await openSync(this.files, file);
    return {
      get size() {
        return handle.getSize();
      },
      append: (bytes) => writeAll(handle, bytes, handle.getSize()),
      read: async (offset, length) => {
        const bytes = new Uint8Array(length);
        return bytes.subarray(0, handle.read(bytes, { at: offset }));
      },
      truncate: (size) => handle.truncate(size),
      flush: () => handle.flush(),
      close: () => handle.close(),
    };
  }

  async blob(file: string): Promise<Blob | undefined> {
    const handle = await this.files.getFileHandle(file).catch(() => undefined);
    return handle?.getFile();
  }

  async remove(file: string): Promise<void> {
    await this.files.removeEntry(file).catch((error: unknown) => {
      if (!isNamed(error, "NotFoundError")) throw error;
    });
  }
}

/** What every model's folder under `root` holds, without opening or making any. */
export async function readFolders(
  root: FileSystemDirectoryHandle,
): Promise<{ home?: FileSystemDirectoryHandle; models: { name: string; bytes: number; record?: ModelRecord }[] }> {
  const home = await root.getDirectoryHandle("lyn").catch(() => undefined);
  const models: { name: string; bytes: number; record?: ModelRecord }[] = [];
  for await (const child of home?.values() ?? []) {
    if (child.kind !== "directory") continue;
    const folder = child as FileSystemDirectoryHandle;
    const files = await folder.getDirectoryHandle("files").catch(() => undefined);
    let bytes = 0;
    for await (const file of files?.values() ?? []) {
      if (file.kind === "file") bytes += (await (file as FileSystemFileHandle).getFile()).size;
    }
    models.push({ name: child.name, bytes, record: (await readRecord(folder))?.record });
  }
  return { home, models };
}

/** The newer sound record of a folder. */
async function readRecord(home: FileSystemDirectoryHandle): Promise<Stored | undefined> {
  let newest: Stored | undefined;
  for (const slot of [0, 1]) {
    const handle = await home.getFileHandle(`record.${slot}.json`).catch(() => undefined);
    const text = await handle
      ?.getFile()
      .then((file) => file.text())
      .catch(() => "");
    const found = parseRecord(text ?? "");
    if (found && found.sequence > (newest?.sequence ?? -1)) newest = found;
  }
  return newest;
}

/** A model in memory, as blobs: browsers keep those outside the heap, and may move them to disk. */
export class MemoryFolder implements Folder {
  readonly persistent = false;
  readonly writable = true;
  private kept: ModelRecord | undefined;
  private readonly files = new Map<string, Blob>();

  async record(): Promise<ModelRecord | undefined> {
    return this.kept;
  }

  async save(record: ModelRecord): Promise<void> {
    this.kept = record;
  }

  async open(file: string): Promise<Writer> {
    const files = this.files;
    let whole = files.get(file) ?? new Blob();
    // Small chunks are gathered, because each blob has a cost of its own.
    let pending: Uint8Array<ArrayBuffer>[] = [];
    let gathered = 0;
    const flush = () => {
      if (pending.length > 0) whole = new Blob([whole, ...pending]);
      [pending, gathered] = [[], 0];
      files.set(file, whole);
    };
    return {
      get size() {
        return whole.size + gathered;
      },
      append: (bytes) => {
        pending.push(new Uint8Array(bytes));
        gathered += bytes.length;
        if (gathered >= 4 << 20) flush();
      },
      read: (offset, length) => {
        flush();
        return readBlob(file, whole.slice(offset, offset + length));
      },
      truncate: (size) => {
        flush();
        whole = whole.slice(0, size);
        files.set(file, whole);
      },
      flush,
      close: flush,
    };
  }

  async blob(file: string): Promise<Blob | undefined> {
    return this.files.get(file);
  }

  async remove(file: string): Promise<void> {
    this.files.delete(file);
  }
}

/** Folder name of a model: ids hold characters, and lengths, that file systems refuse. */
async function keyOf(id: string): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(id)));
  return Array.from(digest.subarray(0, 16), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function openSync(directory: FileSystemDirectoryHandle, name: string): Promise<SyncHandle> {
  const handle = await directory.getFileHandle(name, { create: true });
  try {
    return await (handle as unknown as { createSyncAccessHandle(): Promise<SyncHandle> }).createSyncAccessHandle();
  } catch (cause) {
    // Safari says InvalidStateError for a file that is open elsewhere.
    if (!isNamed(cause, "NoModificationAllowedError", "InvalidStateError")) throw cause;
    const help = ["Close the other tab, or wait until it has finished."];
    throw new LynError("io", `${name} is being written by another tab`, { help, cause, details: { file: name } });
  }
}

/** Writes all bytes; a short write means that the disk or the allowance is full. */
function writeAll(handle: SyncHandle, bytes: Uint8Array, at: number): void {
  for (let done = 0; done < bytes.length;) {
    const written = handle.write(done === 0 ? bytes : bytes.subarray(done), { at: at + done });
    if (written <= 0) throw new DOMException("the file cannot grow", "QuotaExceededError");
    done += written;
  }
}

/** A record with its place among the records of its model. */
interface Stored {
  record: ModelRecord;
  sequence: number;
}

/** A stored record, unless it is broken or of another version of lyn. */
function parseRecord(text: string): Stored | undefined {
  let value: Partial<ModelRecord & { sequence: number }> | null;
  try {
    value = JSON.parse(text) as typeof value;
  } catch {
    return undefined;
  }
  if (value?.schema !== 1 || typeof value.id !== "string" || !Array.isArray(value.files)) return undefined;
  const { sequence = 0, id, usedAt = 0, listed = false, files } = value;
  const sound = files.every(
    (file) => typeof file?.name === "string" && typeof file.url === "string" && Number.isSafeInteger(file.loaded),
  );
  return sound ? { record: { schema: 1, id, usedAt, listed, files }, sequence } : undefined;
}
