// What is kept in this browser: listed, measured, deleted. Reads only, beside deleting; works in pages and in workers.

import { LynError } from "./errors.js";
import { type ModelRecord, isComplete, readFolders } from "./opfs.js";
import type { StoredModel } from "./types.js";

/** The root of this origin's private files. Rejects where the browser keeps none. */
export function originRoot(): Promise<FileSystemDirectoryHandle> {
  const manager = globalThis.navigator?.storage;
  if (typeof manager?.getDirectory !== "function")
    return Promise.reject(new LynError("io", "this browser does not store files for this page"));
  return manager.getDirectory();
}

/** Models that are kept in this browser, for this origin. Works in the page and in workers. */
export interface ModelStorage {
  list(): Promise<StoredModel[]>;
  /** Deletes a model; bytes freed. Throws `io` while another tab writes it. */
  remove(id: string): Promise<number>;
  /** Deletes everything that lyn keeps; bytes freed. */
  removeAll(): Promise<number>;
  /** The browser's figures; empty where it tells none. */
  estimate(): Promise<StorageEstimate>;
}

/** The store under a root folder. */
export function storageOf(root: () => Promise<FileSystemDirectoryHandle> = originRoot): ModelStorage {
  const folders = async () => root().then(readFolders, () => ({ home: undefined, models: [] }));
  const remove = async (matches: (record: ModelRecord | undefined) => boolean) => {
    const { home, models } = await folders();
    let freed = 0;
    for (const { name, bytes } of models.filter(({ record }) => matches(record))) {
      try {
        await home?.removeEntry(name, { recursive: true });
      } catch (cause) {
        throw new LynError("io", "the model is in use and could not be deleted", {
          help: ["Close lyn's other tabs."],
          cause,
        });
      }
      freed += bytes;
    }
    return freed;
  };
  return {
    async list() {
      const { models } = await folders();
      const known = models.flatMap(({ bytes, record }) => (record ? [{ bytes, record }] : []));
      return known.map(({ bytes, record }) => ({
        id: record.id,
        bytes,
        complete: isComplete(record),
        files: record.files
          .filter((file) => !file.absent)
          .map(({ name, size, loaded }) => ({ name, bytes: size ?? loaded, loaded })),
        usedAt: record.usedAt,
      }));
    },
    remove: (id) => remove((record) => record?.id === id),
    removeAll: () => remove(() => true),
    estimate: async () => (await globalThis.navigator?.storage?.estimate?.().catch(() => undefined)) ?? {},
  };
}

export const storage: ModelStorage = storageOf();
