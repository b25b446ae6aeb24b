// Where a model's files are on the network, and how the network's refusals become errors. Knows no store.

import { LynError, aborted, isNamed } from "./errors.js";
import { isPlainName } from "./files.js";

/** A model on a server. */
export interface Remote {
  /** `stories`, `hf:org/name`, `hf:org/name@revision`, `hf:org/name:file.gguf`, or the URL of a folder or a GGUF file. */
  id: string;
  /** URL of the folder; ends in `/`. */
  folder: string;
  /** The GGUF file in it that is the model, or one of its parts. */
  gguf?: string;
  /** What stands behind the names of files in their URLs. */
  search?: string;
  /** URLs of files that are not in a folder under their own names. */
  urls?: Record<string, string>;
  /** URL of the Hub's list of files; a plain folder has none. */
  tree?: string;
  /** Sent with each request. The token goes to the Hub only. */
  headers: Record<string, string>;
  /** The model's page, for people. */
  page?: string;
}

/** A file as the Hub lists it. */
export interface Listed {
  size: number;
  version: string;
  /** Known of large files. */
  sha256?: string;
}

/** The network, as the caller wants it used. */
export interface Net {
  fetch: typeof fetch;
  /** Waits between attempts; rejects with the signal's reason. */
  wait(milliseconds: number, signal?: AbortSignal): Promise<void>;
  cache: RequestCache;
  signal?: AbortSignal;
}

/** A failure that another attempt may mend. */
export class Transient extends Error {
  constructor(
    readonly error: LynError,
    /** What the server asked to wait, in milliseconds. */
    readonly retryAfter = 0,
  ) {
    super(error.message);
  }
}

const HUB = "https://huggingface.co";
/** Attempts without any new byte before a failure is told. */
const ATTEMPTS = 5;
/** Longest wait that a server may ask for, in milliseconds. */
const LONGEST_WAIT = 60_000;
/** A connection without a byte for this long is given up, in milliseconds. */
const STALL = 60_000;

/** What `hf:…` or a URL means. Throws `bad_request`. */
export function remoteOf(
  model: string,
  { revision, token, hub = HUB }: { revision?: string; token?: string; hub?: string },
): Remote {
  if (!model.startsWith("hf:")) return atUrl(model);
  const [, repository, inline, file] = /^hf:([\w.-]+\/[\w.-]+)(?:@([^:]+))?(?::(.+\.gguf))?$/.exec(model) ?? [];
  const path = file?.split("/") ?? [];
  if (!repository || repository.split("/").some((part) => /^\.+$/.test(part)) || !path.every(isPlainName)) {
    const help = ["Write hf:org/name, hf:org/name@revision or hf:org/name:file.gguf."];
    throw new LynError("bad_request", `${model.slice(0, 120)} is not a Hub repository`, { help });
  }
  const wanted = inline ?? revision ?? "main";
  const at = [wanted, ...path.slice(0, -1)].map(encodeURIComponent).join("/");
  return {
    id: `hf:${repository}${wanted === "main" ? "" : `@${wanted}`}${file ? `:${file}` : ""}`,
    folder: `${hub}/${repository}/resolve/${at}/`,
    gguf: path.at(-1),
    tree: `${hub}/api/models/${repository}/tree/${at}`,
    headers: token ? { Authorization: `Bearer ${token}` } : {},
    page: `${hub}/${repository}`,
  };
}

function atUrl(text: string): Remote {
  const help = ["Give the URL of a folder that holds config.json, which ends in /, or of a .gguf file."];
  const refuse = (message: string) => new LynError("bad_request", `${text.slice(0, 120)} ${message}`, { help });
  const url = URL.parse ? URL.parse(text) : URL.canParse(text) ? new URL(text) : null;
  if (!url || !/^https?:$/.test(url.protocol)) throw refuse("is no http or https URL");
  if (url.username || url.password) throw refuse("holds a user name or password, which browsers refuse to send");
  const { href, origin, pathname, search, hash } = url;
  if (pathname.endsWith("/") && !search && !hash) return { id: text, folder: href, headers: {} };
  const slash = pathname.lastIndexOf("/") + 1;
  const gguf = plainName(pathname.slice(slash));
  if (hash || !gguf?.endsWith(".gguf")) throw refuse("is the URL of no folder and of no GGUF file");
  return { id: text, folder: origin + pathname.slice(0, slash), gguf, search, headers: {} };
}

/** The name of a file that a part of a URL stands for. */
function plainName(encoded: string): string | undefined {
  try {
    const name = decodeURIComponent(encoded);
    return isPlainName(name) ? name : undefined;
  } catch {
    return undefined;
  }
}

/** Where a file of a model is. */
export function fileUrl(remote: Remote, name: string): string {
  return remote.urls?.[name] ?? remote.folder + encodeURIComponent(name) + (remote.search ?? "");
}

/** The Hub's list of files in one folder of a repository, by their plain names. */
export async function listFiles(remote: Remote, net: Net): Promise<Map<string, Listed>> {
  const files = new Map<string, Listed>();
  for (let next = remote.tree; next;) {
    const url: string = next;
    const { entries, link } = await retrying(net, async () => {
      const connection = await connect(net, url, { headers: remote.headers });
      try {
        const { response } = connection;
        if (!response.ok) throw refused(response, remote);
        return { entries: (await response.json()) as unknown, link: response.headers.get("link") };
      } catch (error) {
        throw broken(net, url, error);
      } finally {
        connection.close();
      }
    });
    if (!Array.isArray(entries))
      throw new LynError("network", `${hostOf(url)}: expected a list of files, found something else`);
    for (const entry of entries as HubEntry[]) {
      const name = String(entry?.path).split("/").pop();
      if (entry?.type !== "file" || !isPlainName(name) || !Number.isSafeInteger(entry.size)) continue;
      const sha256 = entry.lfs?.oid?.replace(/^sha256:/, "");
      files.set(name, { size: entry.size, version: String(entry.oid), ...(sha256 && { sha256 }) });
    }
    const target = /<([^>]+)>\s*;\s*rel="?next"?/.exec(link ?? "")?.[1];
    next = target && new URL(target, url).href;
    // The token stays with the host it was given for, and the list is not endless.
    if (next && (new URL(next).origin !== new URL(url).origin || files.size > 20_000)) break;
  }
  return files;
}

interface HubEntry {
  type: string;
  path: string;
  size: number;
  oid: string;
  lfs?: { oid?: string };
}

/** A request that is given up when its connection stalls. */
export interface Connection {
  response: Response;
  /** To be called with each piece that arrives. */
  touch(): void;
  close(): void;
}

/** Sends one request. Throws `Transient` where nothing answers. */
export async function connect(net: Net, url: string, init: RequestInit): Promise<Connection> {
  const stalled = new AbortController();
  const stall = () => stalled.abort(new Error(`no byte for ${STALL / 1000} s`));
  let timer = setTimeout(stall, STALL);
  const close = () => {
    clearTimeout(timer);
    stalled.abort();
  };
  const signal = net.signal ? AbortSignal.any([net.signal, stalled.signal]) : stalled.signal;
  try {
    const response = await net.fetch(url, { cache: net.cache, referrerPolicy: "no-referrer", ...init, signal });
    const touch = () => {
      clearTimeout(timer);
      timer = setTimeout(stall, STALL);
    };
    return { response, touch, close };
  } catch (error) {
    close();
    throw broken(net, url, error);
  }
}

/** What an exception of `fetch` or of a body means: an abort and our own errors stay, the rest is the network. */
export function broken(net: Net, url: string, error: unknown): unknown {
  aborted(net.signal);
  if (error instanceof LynError || error instanceof Transient || isNamed(error, "QuotaExceededError")) return error;
  const host = hostOf(url);
  const message = `the connection to ${host} failed: ${LynError.from(error).message}`;
  return new Transient(
    new LynError("network", message, {
      help: [
        "Check the connection and load again: downloads so far are kept.",
        ...(isSameOrigin(url)
          ? []
          : [`${host} has to allow requests from this page (CORS), and so has its content security policy.`]),
      ],
      cause: error,
      details: { url },
    }),
  );
}

/** The error of a response that is no success. Throws nothing: the caller decides. */
export function refused(response: Response, remote: Remote, file?: string): LynError | Transient {
  const { status } = response;
  const what = file ? `${file} of ${remote.id}` : remote.id;
  const details = { status, url: response.url, ...(file && { file }) };
  if (status === 401 || status === 403) {
    // The Hub answers 401 also where there is no such repository, so as not to tell which private ones exist.
    const unknown = remote.page && status === 401 && response.headers.get("x-error-code") !== "GatedRepo";
    const message = unknown
      ? `${remote.id} is not public, or there is no such model`
      : `${what} may not be read (${status})`;
    const help = remote.page
      ? [`Open ${remote.page}, accept its terms if it has any, and give an access token that may read it.`]
      : ["The server wants a permission that this page cannot give."];
    return new LynError("unauthorized", message, { help, details });
  }
  if (status === 404 || status === 410) {
    const help = [remote.page ? `Compare with ${remote.page}.` : `Check the URL, ${remote.folder}.`];
    return new LynError("model_not_found", `${what}: the server has no such ${file ? "file" : "model"} (${status})`, {
      help,
      details,
    });
  }
  const message = `${what}: ${hostOf(response.url || remote.folder)} answered ${status}`;
  const error = new LynError("network", message, { help: ["Load again later: downloads so far are kept."], details });
  if (status !== 408 && status !== 425 && status !== 429 && status < 500) return error;
  const asked = response.headers.get("retry-after");
  const wait = asked ? (/^\d+$/.test(asked) ? Number(asked) * 1000 : Date.parse(asked) - Date.now()) : 0;
  if (wait > LONGEST_WAIT)
    return new LynError("network", message, { help: [`Load again in ${Math.ceil(wait / 1000)} seconds.`], details });
  return new Transient(error, wait > 0 ? wait : 0);
}

/** Tries again after transient failures, with growing pauses. `moved` tells whether the last try brought new bytes. */
export async function retrying<T>(net: Net, attempt: () => Promise<T>, moved: () => boolean = () => false): Promise<T> {
  for (let failures = 1; ; failures++) {
    aborted(net.signal);
    try {
      return await attempt();
    } catch (error) {
      aborted(net.signal);
      if (!(error instanceof Transient)) throw error;
      if (moved()) failures = 1;
      if (failures >= ATTEMPTS) throw error.error;
      await net.wait(Math.max(error.retryAfter, 500 * 2 ** (failures - 1)), net.signal);
    }
  }
}

/** Waits; rejects with the signal's reason. */
export function wait(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", stop, { once: true });
  });
}

/** Whether the page's own server answers at this URL: then all response headers can be seen. */
export function isSameOrigin(url: string): boolean {
  return typeof location === "undefined" || new URL(url).origin === location.origin;
}

function hostOf(url: string): string {
  return URL.canParse(url) ? new URL(url).host : "the server";
}
