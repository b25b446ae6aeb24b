// The test server: static files under any path, ranges with If-Range, faults by path, and counts of what was sent.

import { createHash } from "node:crypto";
import { createReadStream, promises as fs } from "node:fs";
import { type IncomingMessage, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";

/** What goes wrong at a path. Faults of one path are combined. */
export interface Fault {
  /** Requests that it hits; all, if absent. */
  times?: number;
  /** Answers this status without the file. */
  status?: number;
  /** Seconds of the Retry-After header that goes with `status`. */
  retryAfter?: number;
  /** Cuts the connection after so many bytes of the body. */
  cut?: number;
  /** The entity tag of the file, instead of its own. */
  etag?: string;
  /** Answers range requests with 200 and the whole file. */
  ignoreRange?: boolean;
  /** Sends so many bytes more (zeros) or fewer than the file has; the headers agree with the body. */
  resize?: number;
  /** Changes one byte of the file, at this place. */
  corrupt?: number;
  bytesPerSecond?: number;
  /** Never answers. */
  hang?: boolean;
  headers?: Record<string, string>;
}

export interface Request {
  method: string;
  path: string;
  status: number;
  headers: IncomingMessage["headers"];
  /** Bytes of the body that were sent. */
  bytes: number;
}

export interface Options {
  /** Folder that is served. */
  root: string;
  /** Path under which it is served; all else is 404. */
  prefix?: string;
  /** Headers of each response, such as `{ "content-security-policy": CSP }`. */
  headers?: Record<string, string>;
  /** Faults by path below the prefix; the map may be changed while the server runs. */
  faults?: Record<string, Fault>;
  /** Lets other origins read responses. */
  cors?: boolean;
  port?: number;
}

export interface TestServer {
  /** URL of the root; ends in `/`. */
  url: string;
  faults: Record<string, Fault>;
  requests: Request[];
  /** Bytes of bodies sent for a path below the prefix. */
  sent(file: string): number;
  /** Forgets requests and faults. */
  reset(): void;
  close(): Promise<void>;
}

const TYPES: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json",
  ".webmanifest": "application/manifest+json",
  ".wasm": "application/wasm",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".ico": "image/x-icon",
  ".txt": "text/plain; charset=utf-8",
  ".jinja": "text/plain; charset=utf-8",
};

/** Starts a server on 127.0.0.1, at a free port unless one is given. */
export async function startServer(options: Options): Promise<TestServer> {
  const prefix = `/${(options.prefix ?? "").replace(/^\/|\/$/g, "")}/`.replace("//", "/");
  const requests: Request[] = [];
  const faults: Record<string, Fault> = { ...options.faults };
  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy());
  });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const pathname = decodeURIComponent(new URL(request.url ?? "/", "http://localhost").pathname);
    const file = pathname.startsWith(prefix) ? pathname.slice(prefix.length) : undefined;
    const entry: Request = {
      method: request.method ?? "GET",
      path: file ?? pathname,
      status: 0,
      headers: request.headers,
      bytes: 0,
    };
    requests.push(entry);
    const fault = (file !== undefined && take(faults, file)) || {};
    if (fault.hang) return;
    const head = (status: number, headers: Record<string, string | number> = {}) => {
      entry.status = status;
      const cors = options.cors
        ? {
            "access-control-allow-origin": "*",
            "access-control-allow-headers": "authorization, range, if-range",
            "access-control-expose-headers": "etag, content-range, link, x-error-code",
          }
        : {};
      response.writeHead(status, {
        "cache-control": "no-cache",
        ...cors,
        ...options.headers,
        ...headers,
        ...fault.headers,
      });
    };
    const end = (status: number, headers: Record<string, string | number> = {}) => {
      head(status, { "content-type": "text/plain; charset=utf-8", ...headers });
      response.end(request.method === "HEAD" ? undefined : `${status}\n`);
    };
    if (request.method === "OPTIONS") return end(options.cors ? 200 : 405);
    if (request.method !== "GET" && request.method !== "HEAD") return end(405);
    if (fault.status)
      return end(fault.status, fault.retryAfter === undefined ? {} : { "retry-after": fault.retryAfter });
    const found = file === undefined ? undefined : await locate(options.root, file);
    if (!found) return end(404);

    const size = found.size + (fault.resize ?? 0);
    const etag = fault.etag ?? found.etag;
    const fresh = request.headers["if-range"] === undefined || request.headers["if-range"] === etag;
    const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "") ?? [];
    const isRange = first !== undefined && fresh && !fault.ignoreRange;
    const start = isRange ? Number(first) : 0;
    const stop = isRange && last ? Math.min(Number(last) + 1, size) : size;
    if (start >= size && isRange) return end(416, { "content-range": `bytes */${size}` });
    head(isRange ? 206 : 200, {
      "content-type": TYPES[path.extname(found.path)] ?? "application/octet-stream",
      "content-length": stop - start,
      "accept-ranges": "bytes",
      etag,
      ...(isRange && { "content-range": `bytes ${start}-${stop - 1}/${size}` }),
    });
    if (request.method === "HEAD") return void response.end();
    await send(response, found, start, stop, fault, entry);
  }

  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port ?? 0, "127.0.0.1", resolve);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}${prefix}`,
    faults,
    requests,
    sent: (file) => requests.filter((request) => request.path === file).reduce((sum, { bytes }) => sum + bytes, 0),
    reset: () => {
      requests.length = 0;
      for (const name of Object.keys(faults)) delete faults[name];
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** The fault of a path, one time fewer. */
function take(faults: Record<string, Fault>, file: string): Fault | undefined {
  const fault = faults[file];
  if (fault?.times === undefined) return fault;
  if (fault.times <= 0) return undefined;
  fault.times -= 1;
  return { ...fault };
}

interface Found {
  path: string;
  size: number;
  etag: string;
}

async function locate(root: string, file: string): Promise<Found | undefined> {
  let full = path.resolve(root, file);
  if (full !== path.resolve(root) && !full.startsWith(path.resolve(root) + path.sep)) return undefined;
  let stat = await fs.stat(full).catch(() => undefined);
  if (stat?.isDirectory()) {
    full = path.join(full, "index.html");
    stat = await fs.stat(full).catch(() => undefined);
  }
  if (!stat?.isFile()) return undefined;
  const tag = createHash("sha256").update(`${full} ${stat.size} ${stat.mtimeMs}`).digest("hex").slice(0, 16);
  return { path: full, size: stat.size, etag: `"${tag}"` };
}

async function send(
  response: ServerResponse,
  found: Found,
  start: number,
  stop: number,
  fault: Fault,
  entry: Request,
): Promise<void> {
  let at = start;
  const closed = new Promise<void>((resolve) => response.once("close", resolve));
  const write = async (bytes: Buffer): Promise<boolean> => {
    const left = fault.cut === undefined ? bytes.length : fault.cut - (at - start);
    const piece = bytes.subarray(0, left);
    const corrupt = fault.corrupt === undefined ? -1 : fault.corrupt - at;
    if (corrupt >= 0 && corrupt < piece.length) piece[corrupt]! ^= 1;
    at += piece.length;
    entry.bytes += piece.length;
    const drained = new Promise<void>((resolve) => response.write(piece, () => resolve()));
    await Promise.race([drained, closed]);
    if (fault.bytesPerSecond)
      await new Promise((resolve) => setTimeout(resolve, (1000 * piece.length) / fault.bytesPerSecond!));
    return piece.length === bytes.length && !response.destroyed;
  };
  const whole = Math.min(stop, found.size);
  if (start < whole) {
    const chunk = fault.bytesPerSecond ? Math.max(1, Math.ceil(fault.bytesPerSecond / 10)) : 1 << 16;
    for await (const bytes of createReadStream(found.path, { start, end: whole - 1, highWaterMark: chunk })) {
      if (!(await write(bytes as Buffer))) return void response.destroy();
    }
  }
  if (stop > found.size && !(await write(Buffer.alloc(stop - Math.max(start, found.size)))))
    return void response.destroy();
  response.end();
}
