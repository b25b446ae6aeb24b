// What stays on this device: chats (only if asked), and the ways to take them along or make all of it go away.
import { effect } from "@preact/signals";
import { exportChats, importChats, type Conversation } from "../conversation.ts";
import { removeAllStored } from "./models.ts";
import { keep } from "./preferences.ts";
import { conversation, live } from "./signals.ts";

const DATABASE = "lyn";
const CHATS = "chats";

function database(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(CHATS, { keyPath: "id" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error("no database"));
  });
}

async function inChats<T>(mode: IDBTransactionMode, work: (chats: IDBObjectStore) => IDBRequest<T>): Promise<T> {
  const open = await database();
  try {
    return await new Promise<T>((resolve, reject) => {
      const transaction = open.transaction(CHATS, mode);
      const request = work(transaction.objectStore(CHATS));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = () => reject(transaction.error ?? new Error("the database refused"));
    });
  } finally {
    open.close();
  }
}

/** Kept chats, newest first. */
export async function keptChats(): Promise<Conversation[]> {
  const all: Conversation[] = await inChats("readonly", (chats) => chats.getAll());
  return all.sort((a, b) => b.at - a.at);
}

export const forget = (id: string): Promise<undefined> => inChats("readwrite", (chats) => chats.delete(id));

/** Writes the conversation down whenever it has changed and nothing is being written into it, while `keep` is on. */
export function startKeeping(): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  effect(() => {
    const current = conversation.value;
    if (!keep.value || live.value || current.messages.length === 0 || onlyStarter(current)) return;
    clearTimeout(timer);
    timer = setTimeout(() => void inChats("readwrite", (chats) => chats.put(current)).catch(() => {}), 300);
  });
}

/** The page's own first story is nobody's chat. */
function onlyStarter(current: Conversation): boolean {
  return current.messages.length <= 2 && current.messages[0]?.starter === true;
}

/** Turns keeping on or off; off also forgets what was kept. */
export async function setKeep(on: boolean): Promise<void> {
  keep.value = on;
  if (!on) await inChats("readwrite", (chats) => chats.clear()).catch(() => {});
}

/** The chats of this page and the kept ones as a file. */
export async function exportAll(): Promise<void> {
  const kept = keep.peek() ? await keptChats().catch(() => []) : [];
  const current = conversation.peek();
  const others = kept.filter((chat) => chat.id !== current.id);
  save(exportChats(current.messages.length ? [current, ...others] : others), "lyn-chats.json", "application/json");
}

/** Reads an export: all are kept if chats are kept, and the newest is shown. Null: it was no such file. */
export async function importAll(file: File): Promise<number | null> {
  if (file.size > 256 * 2 ** 20) return null;
  const chats = importChats(await file.text());
  if (!chats) return null;
  if (keep.peek()) for (const chat of chats) await inChats("readwrite", (store) => store.put(chat)).catch(() => {});
  const newest = chats.reduce<Conversation | null>((best, chat) => (best && best.at >= chat.at ? best : chat), null);
  if (newest) conversation.value = newest;
  return chats.length;
}

/** Hands a text to the browser's own "save as". */
export function save(content: string, name: string, type: string): void {
  const url = URL.createObjectURL(new Blob([content], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** Models, chats, preferences, the offline shell: all that this page has put into the browser. Gives the bytes
 * freed. */
export async function deleteEverything(): Promise<number> {
  const before = (await navigator.storage?.estimate?.().catch(() => null))?.usage ?? 0;
  const freed = await removeAllStored().catch(() => 0);
  await new Promise<void>((resolve) => {
    const request = indexedDB.deleteDatabase(DATABASE);
    request.onsuccess = request.onerror = request.onblocked = () => resolve();
  });
  if ("caches" in globalThis) for (const name of await caches.keys()) await caches.delete(name);
  for (const worker of (await navigator.serviceWorker?.getRegistrations().catch(() => [])) ?? [])
    await worker.unregister();
  keep.value = false;
  try {
    for (const key of Object.keys(localStorage)) if (key.startsWith("lyn.")) localStorage.removeItem(key);
  } catch {
    // Storage is switched off: nothing was kept.
  }
  const after = (await navigator.storage?.estimate?.().catch(() => null))?.usage ?? 0;
  return Math.max(freed, before - after);
}
