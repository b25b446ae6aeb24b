// What the store's tests share: a model on a server, a store, and a hash.

import { createHash, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { type Options, type TestServer, startServer } from "../../tests/server.js";
import { LynError } from "../errors.js";
import { type Hash, type OpenOptions, type Opened, type Tools, openSource } from "../store.js";
import type { Progress } from "../types.js";
import { gguf_models, gguf_parts, initSync } from "../wasm/lyn.js";
import { FakeDirectory } from "./opfs.js";

export const WEIGHTS = "model.safetensors";
/** Several pieces of the server and of the network. */
export const SIZE = 900_001;

initSync({ module: readFileSync(process.env.WASM!) });
/** The core's rules, and Node's own hash. */
export const tools: Tools = {
  sha256: (): Hash => {
    const hash = createHash("sha256");
    return { update: (bytes) => void hash.update(bytes), finish: () => hash.digest("hex") };
  },
  gguf: { models: gguf_models, parts: gguf_parts },
};

export const digest = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

export interface Bench {
  server: TestServer;
  folder: string;
  /** Bytes of the files on the server, by name. */
  files: Record<string, Buffer>;
  root: FakeDirectory;
  events: Progress[];
  /** Milliseconds of each pause between attempts; none is really made. */
  pauses: number[];
  /** Puts a file on the server. */
  put(name: string, bytes: string | Buffer): Promise<void>;
  open(options?: Partial<OpenOptions>, signal?: AbortSignal, model?: string): Promise<Opened>;
  /** Opens and expects an error of lyn. */
  fails(options?: Partial<OpenOptions>, signal?: AbortSignal, model?: string): Promise<LynError>;
  /** All bytes of a file as the core would read them. */
  read(opened: Opened, file?: string): Promise<Buffer>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** A server with a small checkpoint in a folder, and an empty store. */
export async function bench(options: Partial<Options> = {}): Promise<Bench> {
  const folder = await mkdtemp(path.join(tmpdir(), "lyn-store-"));
  const server = await startServer({ root: folder, prefix: "/some/sub", ...options });
  const [root, events, pauses]: [FakeDirectory, Progress[], number[]] = [new FakeDirectory(), [], []];
  const files: Record<string, Buffer> = {};
  const put = async (name: string, bytes: string | Buffer) => {
    files[name] = Buffer.from(bytes);
    await mkdir(path.dirname(path.join(folder, name)), { recursive: true });
    await writeFile(path.join(folder, name), bytes);
  };
  await put("config.json", "{}");
  await put("tokenizer.json", '{"version": "1.0"}');
  await put(WEIGHTS, randomBytes(SIZE));
  const open = (extra: Partial<OpenOptions> = {}, signal?: AbortSignal, model = server.url) => {
    const wait = async (milliseconds: number, stop?: AbortSignal) => {
      pauses.push(milliseconds);
      stop?.throwIfAborted();
    };
    const all: OpenOptions = { root: async () => root.handle, wait, ...extra };
    return openSource(model, all, tools, (progress) => events.push(progress), signal);
  };
  return {
    server,
    folder,
    files,
    root,
    events,
    pauses,
    put,
    open,
    fails: async (...args) => {
      const error: unknown = await open(...args).then(
        () => new Error("it was opened"),
        (reason: unknown) => reason,
      );
      if (error instanceof LynError) return error;
      throw error;
    },
    read: async ({ source }, file = WEIGHTS) => {
      const size = (await source.size(file)) ?? -1;
      const half = size >> 1;
      return Buffer.concat([await source.read(file, 0, half), await source.read(file, half, size - half)]);
    },
    [Symbol.asyncDispose]: async () => {
      await server.close();
      await rm(folder, { recursive: true });
    },
  };
}
