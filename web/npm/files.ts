// Files of a model by plain name, read in ranges. Never: a path, a whole file in memory, a write.

import { LynError } from "./errors.js";
import { topFiles } from "./picked.js";

/** Files of one model by plain name, read in ranges; what the WASM core calls. */
export interface Source {
  /** The GGUF file that is the model, or one of its parts; absent: a folder as Hugging Face has it. */
  readonly gguf?: string | undefined;
  /** Size in bytes; undefined where there is no such file. */
  size(file: string): Promise<number | undefined>;
  /** Exactly `length` bytes from `offset`; `length` ≤ `MAX_READ`. */
  read(file: string, offset: number, length: number): Promise<Uint8Array>;
}

/** Which files are a GGUF model: the core's rules, as they hold on a disk too. */
export interface GgufRules {
  /** The models among the names of a folder's files, each by its first file; none of a folder as Hugging Face has it. */
  models(names: string[]): string[];
  /** All files of the model that this one is, or is a part of. */
  parts(file: string): string[];
}

/** Most bytes of one read, and of one piece in flight. */
export const MAX_READ = 16 << 20;
/** Most bytes of a file that is parsed: configuration, index, templates. The core has closer caps. */
export const MAX_TEXT = 64 << 20;

export const CONFIG_FILE = "config.json";
export const INDEX_FILE = "model.safetensors.index.json";
export const SINGLE_FILE = "model.safetensors";
/** Files about text. Without a tokenizer the core says so when text is asked for; beside a GGUF file they win over what is in it. */
export const TEXT_FILES = ["tokenizer.json", "tiktoken.model", "tokenizer_config.json", "chat_template.jinja"];
/** What a folder may have beside them. */
export const GENERATION_FILE = "generation_config.json";

/** Whether a file holds weights, and so may be of any size. */
export const isWeights = (file: string): boolean => /\.(safetensors|gguf)$/.test(file);

/** A source over blobs: picked files, files of the store, files in memory. */
export class BlobSource implements Source {
  constructor(
    private readonly blobs: ReadonlyMap<string, Blob | FileSystemFileHandle>,
    readonly gguf?: string,
  ) {}

  async size(file: string): Promise<number | undefined> {
    return (await this.blob(file))?.size;
  }

  async read(file: string, offset: number, length: number): Promise<Uint8Array> {
    const blob = await this.blob(file);
    if (!blob) throw new LynError("bad_checkpoint", `${file}: no such file`, { details: { file, class: "E-IO" } });
    if (length > MAX_READ) throw new LynError("internal", `${file}: a read of ${length} bytes; at most ${MAX_READ}`);
    if (offset + length > blob.size) {
      const message = `${file}: expected ${length} bytes at byte ${offset}, found a file of ${blob.size} bytes`;
      throw new LynError("bad_checkpoint", message, { details: { file, class: "E-LEN" } });
    }
    return readBlob(file, blob.slice(offset, offset + length));
  }

  /** Names of all files. */
  names(): string[] {
    return [...this.blobs.keys()];
  }

  private async blob(file: string): Promise<Blob | undefined> {
    const found = this.blobs.get(file);
    if (!found || found instanceof Blob) return found;
    return found.getFile().catch((error: unknown) => {
      throw unreadable(file, error);
    });
  }
}

/**
 * A source over files or a folder that the user picked. Throws `model_not_found` with the names of missing parts, `bad_request`
 * where it is not clear which model is meant.
 */
export async function filesSource(
  picked: File[] | FileSystemDirectoryHandle,
  rules: GgufRules,
): Promise<{ id: string; source: Source }> {
  const blobs = new Map<string, Blob | FileSystemFileHandle>();
  let folder = "";
  if (Array.isArray(picked)) {
    folder = picked[0]?.webkitRelativePath?.split("/")[0] ?? "";
    for (const file of topFiles(picked)) {
      if (blobs.has(file.name)) throw new LynError("bad_request", `two of the files are named ${file.name}`);
      blobs.set(file.name, file);
    }
  } else {
    folder = picked.name;
    try {
      for await (const entry of picked.values()) {
        if (entry.kind === "file") blobs.set(entry.name, entry as FileSystemFileHandle);
      }
    } catch (error) {
      throw unreadable(folder, error);
    }
  }
  const [gguf, ...others] = rules.models([...blobs.keys()]);
  const place = folder || "files";
  if (others.length > 0) {
    const help = [`Pick one of them, with all its parts: ${[gguf, ...others].slice(0, 6).join(", ")}.`];
    throw new LynError("bad_request", `${place}: ${others.length + 1} GGUF models`, { help });
  }
  const source = new BlobSource(blobs, gguf);
  if (gguf === undefined) {
    await requireFolder(source, place);
    return { id: place, source };
  }
  const missing = rules.parts(gguf).filter((part) => !blobs.has(part));
  requireNamed(place, missing, ["Pick all parts of the model at once."]);
  return { id: folder || gguf, source };
}

/** The files of a folder as Hugging Face has it. */
async function requireFolder(source: BlobSource, id: string): Promise<void> {
  const missing: string[] = [];
  const lacks = async (file: string) => (await source.size(file)) === undefined;
  if (await lacks(CONFIG_FILE)) missing.push(CONFIG_FILE);
  const size = await source.size(INDEX_FILE);
  if (size === undefined) {
    if (await lacks(SINGLE_FILE)) missing.push(`${SINGLE_FILE} (or ${INDEX_FILE} with its parts)`);
  } else {
    for (const shard of shards(await readText(source, INDEX_FILE))) if (await lacks(shard)) missing.push(shard);
  }
  requireNamed(id, missing, [
    "Pick the whole folder, or all its files at once: config.json, tokenizer.json and every *.safetensors; or a .gguf file.",
    ...(source.names().some((name) => /\.(bin|pth?|zip)$/i.test(name))
      ? ["lyn reads safetensors and GGUF; PyTorch and zip files have to be converted or unpacked."]
      : []),
  ]);
}

/** Throws `model_not_found` with the names of what is missing, if anything is. */
export function requireNamed(id: string, missing: string[], help: string[]): void {
  if (missing.length === 0) return;
  const named = missing.length > 6 ? [...missing.slice(0, 5), `${missing.length - 5} more`] : missing;
  throw new LynError("model_not_found", `${id} lacks ${named.join(", ")}`, { help, details: { missing } });
}

/** A small file as text. Throws `bad_checkpoint` where it is absent or larger than `MAX_TEXT`. */
export async function readText(source: Source, file: string): Promise<string> {
  const size = (await source.size(file)) ?? 0;
  if (size > MAX_TEXT) {
    const message = `${file}: expected at most ${MAX_TEXT} bytes, found ${size}`;
    throw new LynError("bad_checkpoint", message, { details: { file, class: "E-LIMIT" } });
  }
  const decoder = new TextDecoder();
  let text = "";
  for (let at = 0; at < size; at += MAX_READ) {
    text += decoder.decode(await source.read(file, at, Math.min(MAX_READ, size - at)), { stream: true });
  }
  return text + decoder.decode();
}

/** Names of the weight files that an index lists, each once and ascending. The core checks the index itself. */
export function shards(index: string): string[] {
  const refuse = (message: string, kind = "E-INDEX") =>
    new LynError("bad_checkpoint", `${INDEX_FILE}: ${message}`, { details: { file: INDEX_FILE, class: kind } });
  let map: unknown;
  try {
    map = (JSON.parse(index) as { weight_map?: unknown } | null)?.weight_map;
  } catch {
    throw refuse("expected JSON", "E-JSON");
  }
  if (typeof map !== "object" || map === null) throw refuse("expected an object weight_map");
  const names = [...new Set<unknown>(Object.values(map))];
  for (const name of names) {
    if (!isPlainName(name))
      throw refuse(`expected plain file names, found ${JSON.stringify(name)?.slice(0, 120)}`, "E-PATH");
  }
  if (names.length === 0 || names.length > 10_000) throw refuse(`expected 1 to 10000 files, found ${names.length}`);
  return (names as string[]).sort();
}

/** Whether this names a file and no path; such names are safe in URLs once encoded, and in the store. */
export function isPlainName(name: unknown): name is string {
  return typeof name === "string" && /^[^/\\\u0000-\u001f\u007f]{1,200}$/.test(name) && !name.startsWith(".");
}

/** Bytes of a small blob. */
export async function readBlob(file: string, blob: Blob): Promise<Uint8Array> {
  try {
    return new Uint8Array(await blob.arrayBuffer());
  } catch (error) {
    throw unreadable(file, error);
  }
}

function unreadable(file: string, cause: unknown): LynError {
  const help = ["It may have been changed, moved or deleted meanwhile: pick or load it again."];
  return new LynError("io", `${file} could not be read: ${LynError.from(cause).message}`, {
    help,
    cause,
    details: { file },
  });
}
