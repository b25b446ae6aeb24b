// A mark in the browser's storage while something is done that can make the browser end the tab (phones do, without a
// word). Found at the next visit, it says what to be careful with. Leaving the page takes it away.
import type { Mark } from "../state.ts";
import { newId } from "../conversation.ts";

const KEY = "lyn.stage";
const tab = newId();
let set = false;

export function setMark(mark: Omit<Mark, "at" | "tab">): void {
  set = true;
  write(JSON.stringify({ ...mark, at: Date.now(), tab }));
}

export function clearMark(): void {
  set = false;
  write(null);
}

export function readMark(): Mark | null {
  try {
    const found: unknown = JSON.parse(localStorage.getItem(KEY) ?? "null");
    if (typeof found !== "object" || found === null) return null;
    const { model, bytes, context, at, tab: from } = found as Record<string, unknown>;
    if (typeof model !== "string" || typeof bytes !== "number" || from === tab) return null;
    return {
      model,
      bytes,
      context: typeof context === "number" ? context : null,
      at: Number(at) || 0,
      tab: String(from),
    };
  } catch {
    return null;
  }
}

function write(value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, value);
  } catch {
    // Storage is switched off: then a crash cannot be told from a first visit.
  }
}

addEventListener("pagehide", () => {
  if (set) clearMark();
});
