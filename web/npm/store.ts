// Sources of models: downloads that are kept, the model that ships with lyn, and files that were picked.

import { LynError, aborted, isNamed } from "./errors.js";
import {
  BlobSource,
  CONFIG_FILE,
  GENERATION_FILE,
  type GgufRules,
  INDEX_FILE,
  SINGLE_FILE,
  type Source,
  TEXT_FILES,
  filesSource,
  readText,
  requireNamed,
  shards,
} from "./files.js";
import { type Listed, type Net, type Remote, connect, fileUrl, listFiles, refused, remoteOf, wait } from "./hub.js";
import { type FileRecord, type Folder, MemoryFolder, type ModelRecord, OpfsFolder, isComplete } from "./opfs.js";
import { type Hash, type Task, fetchFile, quotaError } from "./store-download.js";
import { RangeSource } from "./peek.js";
import { originRoot, storage } from "./store-models.js";
import { Meter } from "./store-progress.js";
import type { LoadOptions, ModelSource, Progress } from "./types.js";

export type { Source } from "./files.js";
export { type ModelStorage, storage, storageOf } from "./store-models.js";
export type { Hash } from "./store-download.js";

export interface OpenOptions extends Pick<LoadOptions, "cache" | "revision" | "token"> {
  /** The model that ships with lyn: file name → URL. */
  stories?: Record<string, string>;
  /** Address of the Hub, the network, the store: tests put their own here. */
  hub?: string;
  fetch?: typeof fetch;
  wait?: Net["wait"];
  root?: () => Promise<FileSystemDirectoryHandle>;
}

/** What the WebAssembly does for the store. */
export interface Tools {
  sha256(): Hash;
  gguf: GgufRules;
}

/** A model whose files are all here. */
export interface Opened {
  /** `stories`, `hf:org/name`, a URL, a folder's name. */
  id: string;
  source: Source;
  /** Where the files are: kept in this browser, in memory until the tab closes, or in the user's own files. */
  kept: "opfs" | "memory" | "files";
  /** Whether nothing was downloaded. */
  fromCache: boolean;
  /** Lets go of files in memory. */
  close(): void;
}

/** A model in memory whose loading was cut short, so that going on does not start anew. One at most. */
let unfinished: { id: string; folder: MemoryFolder } | undefined;

/**
 * Brings all files of a model here and opens them. A model that is complete in the store is used as it is, without any
 * request; `storage.remove` makes room for a newer one. An abort keeps what is there.
 *
 * Throws the signal's reason, `bad_request`, `model_not_found`, `unauthorized`, `network`, `quota`, `bad_checkpoint`
 * or `io`.
 */
export async function openSource(
  model: ModelSource | string,
  options: OpenOptions,
  tools: Tools,
  onProgress: (progress: Progress) => void = () => undefined,
  signal?: AbortSignal,
): Promise<Opened> {
  aborted(signal);
  if (typeof model !== "string" && !(model instanceof URL)) {
    return { ...(await filesSource(model, tools.gguf)), kept: "files", fromCache: true, close: () => undefined };
  }
  const remote = located(String(model), options);
  if (remote.urls) {
    // Small, and kept by the browser's cache and the page's service worker: not kept a third time.
    const net = network(options, "default", signal);
    return open(remote, new MemoryFolder(), net, tools, onProgress, Object.keys(remote.urls));
  }
  const net = network(options, "no-store", signal);
  const folder = await folderOf(remote.id, options);
  try {
    return await open(remote, folder, net, tools, onProgress);
  } catch (error) {
    if (folder instanceof MemoryFolder) unfinished = { id: remote.id, folder };
    throw error;
  }
}

/** Whether downloads are kept when this tab closes; not so in private windows of some browsers. */
export async function keepsDownloads(root: OpenOptions["root"] = originRoot): Promise<boolean> {
  return root().then(
    () => true,
    () => false,
  );
}

/** A model as it lies, to be looked into: nothing is kept, headers alone are read. */
export async function peekSource(
  model: ModelSource | string,
  options: OpenOptions,
  { gguf }: Tools,
  signal?: AbortSignal,
): Promise<Source> {
  if (typeof model !== "string" && !(model instanceof URL)) return (await filesSource(model, gguf)).source;
  const remote = located(String(model), options);
  // Kept by no cache: one that holds parts of a file may give parts to whoever asks for all of it.
  const net = network(options, "no-store", signal);
  const source = new RangeSource(remote, net);
  for (const file of remote.gguf === undefined ? [CONFIG_FILE] : gguf.parts(remote.gguf)) {
    if ((await source.size(file)) !== undefined) continue;
    requireListed(remote, remote.tree === undefined ? [] : [...(await listFiles(remote, net)).keys()], [file]);
  }
  return source;
}

function located(model: string, options: OpenOptions): Remote {
  if (model === "stories") return { id: "stories", folder: "", urls: options.stories ?? {}, headers: {} };
  return remoteOf(model, options);
}

function network(options: OpenOptions, cache: RequestCache, signal: AbortSignal | undefined): Net {
  return { fetch: options.fetch ?? ((...args) => fetch(...args)), wait: options.wait ?? wait, cache, signal };
}

async function folderOf(id: string, { cache = "auto", root = originRoot }: OpenOptions): Promise<Folder> {
  if (cache !== "memory") {
    try {
      const folder = await OpfsFolder.open(await root(), id);
      const record = await folder.record();
      if (folder.writable || (record && isComplete(record))) return folder;
    } catch (error) {
      if (isNamed(error, "QuotaExceededError")) throw await quotaError({ total: 0, loaded: 0 }, error);
      if (cache === "opfs") throw LynError.from(error, "io");
    }
    if (cache === "opfs") {
      const help = ['Private windows keep none; downloads can be kept from a worker only. Or use cache: "auto".'];
      throw new LynError("io", "this browser does not store files for this page", { help });
    }
  }
  const folder = unfinished?.id === id ? unfinished.folder : new MemoryFolder();
  unfinished = undefined;
  return folder;
}

async function open(
  remote: Remote,
  folder: Folder,
  net: Net,
  tools: Tools,
  onProgress: (progress: Progress) => void,
  names?: string[],
): Promise<Opened> {
  const record: ModelRecord = (await folder.record()) ?? {
    schema: 1,
    id: remote.id,
    usedAt: 0,
    listed: false,
    files: [],
  };
  record.usedAt = Date.now();
  const meter = new Meter(record, onProgress);
  const save = () => folder.save(record);
  const fromCache = isComplete(record) && (await isIntact(record, folder));
  if (fromCache) {
    const last = record.files.findLast((file) => !file.absent);
    if (last) meter.stored(last);
    // The date is of use when room is short, and not worth a failure.
    await save().catch(() => undefined);
  } else {
    const task: Task = { remote, folder, net, meter, sha256: tools.sha256, save };
    await (names ? fetchNamed(task, record, names) : fetchModel(task, record, tools.gguf));
  }
  const blobs = new Map<string, Blob>();
  for (const file of record.files) {
    const blob = file.absent ? undefined : await folder.blob(file.name);
    if (blob) blobs.set(file.name, blob);
  }
  const source = new BlobSource(blobs, remote.gguf);
  return { id: remote.id, source, kept: folder.persistent ? "opfs" : "memory", fromCache, close: () => blobs.clear() };
}

/** Whether the store still has what the record says; files that it has not will be fetched again. */
async function isIntact(record: ModelRecord, folder: Folder): Promise<boolean> {
  for (const file of record.files) {
    const size = file.absent ? file.size : (await folder.blob(file.name))?.size;
    if (size !== file.size) file.loaded = Math.min(file.loaded, size ?? 0);
  }
  return isComplete(record);
}

async function fetchNamed(task: Task, record: ModelRecord, names: string[]): Promise<void> {
  for (const name of names) entry(task, record, name);
  record.listed = true;
  for (const file of record.files) await fetchFile(task, file);
}

/** All files of a model: what its config and index name, or all parts of its GGUF file, and what else the server has. */
async function fetchModel(task: Task, record: ModelRecord, rules: GgufRules): Promise<void> {
  const { remote, folder, net } = task;
  const listing = remote.tree === undefined ? undefined : await listFiles(remote, net);
  const known = (name: string): FileRecord => {
    const file = entry(task, record, name);
    const listed = listing?.get(name);
    if (listed && file.version !== listed.version) {
      Object.assign(file, { loaded: 0, hash: undefined, etag: undefined, sha256: undefined, ...listed });
    }
    return file;
  };
  record.listed = false;
  const { gguf } = remote;
  const isFolder = gguf === undefined;
  const weights = isFolder ? await fetchFolder(task, record, listing, known) : rules.parts(gguf);
  if (listing) requireListed(remote, [...listing.keys()], weights);
  const optional = [...TEXT_FILES, ...(isFolder ? [GENERATION_FILE] : [])].filter((name) => !listing || listing.has(name));
  // What an older list named and this one does not is no part of the model.
  const wanted = new Set([...(isFolder ? [CONFIG_FILE, INDEX_FILE] : []), ...optional, ...weights]);
  for (const file of record.files.filter(({ name }) => !wanted.has(name))) await folder.remove(file.name);
  record.files = record.files.filter(({ name }) => wanted.has(name));
  const files = [...optional, ...weights].map(known);
  if (!listing)
    await measure(
      task,
      files.filter((file) => weights.includes(file.name)),
    );
  record.listed = true;
  if (folder.persistent) await requireRoom(task.meter);
  for (const file of files) {
    if (file.absent || (file.loaded === file.size && file.hash !== undefined)) continue;
    await fetchFile(task, file, optional.includes(file.name));
  }
}

/** Config and index of a folder as Hugging Face has it; names of its weights. */
async function fetchFolder(
  task: Task,
  record: ModelRecord,
  listing: Map<string, Listed> | undefined,
  known: (name: string) => FileRecord,
): Promise<string[]> {
  if (listing) requireListed(task.remote, [...listing.keys()], [CONFIG_FILE]);
  let replaced = false;
  for (const name of [CONFIG_FILE, INDEX_FILE]) {
    if (listing && !listing.has(name)) continue;
    const file = known(name);
    // A plain folder tells nothing of its files as a whole: these two are read again, and stand for the rest.
    const before = file.hash;
    if (!listing) Object.assign(file, { loaded: 0, etag: undefined, absent: undefined });
    await fetchFile(task, file, name === INDEX_FILE);
    replaced ||= !listing && before !== undefined && file.hash !== before;
  }
  if (replaced) {
    for (const file of record.files) {
      if (file.name !== CONFIG_FILE && file.name !== INDEX_FILE) file.loaded = 0;
    }
  }
  const index = record.files.find((file) => file.name === INDEX_FILE && !file.absent);
  const blob = index && (await task.folder.blob(INDEX_FILE));
  return blob ? shards(await readText(new BlobSource(new Map([[INDEX_FILE, blob]])), INDEX_FILE)) : [SINGLE_FILE];
}

/** The record of a file, added if need be. */
function entry({ remote }: Task, record: ModelRecord, name: string): FileRecord {
  let file = record.files.find((found) => found.name === name);
  if (!file) record.files.push((file = { name, url: "", loaded: 0 }));
  file.url = fileUrl(remote, name);
  return file;
}

function requireListed(remote: Remote, listed: string[], required: string[]): void {
  const gguf = remote.gguf === undefined && listed.find((name) => name.endsWith(".gguf"));
  requireNamed(
    remote.id,
    required.filter((name) => !listed.includes(name)),
    [
      gguf
        ? `Name one of its GGUF files, such as ${remote.id}:${gguf}.`
        : `lyn reads folders with config.json and safetensors, and GGUF files. Compare with ${remote.page ?? remote.folder}.`,
    ],
  );
}

/**
 * Asks for the sizes of weights, so that the total is known before the first of them comes. Of a GGUF model nothing else tells
 * whether parts that are here belong to those that come: parts that were replaced meanwhile begin anew.
 */
async function measure({ remote, net }: Task, files: FileRecord[]): Promise<void> {
  const queue = files.filter((file) => file.size === undefined || remote.gguf !== undefined);
  const missing: string[] = [];
  const ask = async () => {
    for (let file = queue.pop(); file; file = queue.pop()) {
      // A server that does not answer HEAD tells the size with the file.
      const connection = await connect(net, file.url, { method: "HEAD", headers: remote.headers }).catch(() =>
        aborted(net.signal),
      );
      connection?.close();
      const { status, ok, headers } = connection?.response ?? { status: 0, ok: false, headers: new Headers() };
      const isPage = headers.get("content-type")?.startsWith("text/html");
      if (status === 404 || status === 410 || (ok && isPage)) missing.push(file.name);
      else if (connection && (status === 401 || status === 403)) throw refused(connection.response, remote, file.name);
      else if (ok) {
        const [tag, length] = [headers.get("etag"), headers.get("content-length") ?? ""];
        if (tag && file.etag && tag !== file.etag) Object.assign(file, { loaded: 0, hash: undefined, etag: undefined });
        if (/^\d+$/.test(length)) file.size = Number(length);
      }
    }
  };
  await Promise.all(Array.from({ length: 6 }, ask));
  requireListed(
    remote,
    files.map(({ name }) => name).filter((name) => !missing.includes(name)),
    files.map(({ name }) => name),
  );
}

/** Refuses a download that the browser's own figures say cannot be kept, before its first byte. */
async function requireRoom(meter: Meter): Promise<void> {
  const { usage, quota } = await storage.estimate();
  const sums = meter.sums();
  if (usage !== undefined && quota !== undefined && sums.total - sums.loaded > quota - usage)
    throw await quotaError(sums);
}
