// What surrounds the conversation: title, clock, wake lock, keys, the offline shell, and a watch over rebuilding.
import { effect, signal } from "@preact/signals";
import { isAnswering, isLoading, share } from "../state.ts";
import { format } from "../text/index.ts";
import { editLast, newChat, stop } from "./chat.ts";
import { fail } from "./models.ts";
import { singleKeys } from "./preferences.ts";
import { dialog, draft, editing, panel, panelOpen, state } from "./signals.ts";
import { scriptUrl } from "./trusted.ts";

/** `performance.now()`, a few times a second while something has a clock. */
export const clock = signal(performance.now());
export const offline = signal(!navigator.onLine);

export function startSurroundings(): void {
  addEventListener("online", () => (offline.value = false));
  addEventListener("offline", () => (offline.value = true));
  startClock();
  startTitle();
  startFocus();
  startWakeLock();
  startWatch();
  addEventListener("keydown", keyDown);
}

function startClock(): void {
  let timer: ReturnType<typeof setInterval> | undefined;
  effect(() => {
    const runs = "since" in state.value;
    if (runs && timer === undefined) timer = setInterval(() => (clock.value = performance.now()), 200);
    if (runs) return;
    clearInterval(timer);
    timer = undefined;
  });
}

/** `● 42 %` while something goes on, `✓` when it ended while nobody looked. */
function startTitle(): void {
  let busy = false;
  let unseen = false;
  const write = () => {
    const now = state.peek();
    const done = share(now);
    const at = busy ? (done === null ? "● " : `● ${format.peek().percent(done)} `) : unseen ? "✓ " : "";
    const title = `${at}lyn`;
    if (document.title !== title) document.title = title;
  };
  effect(() => {
    const now = state.value;
    const was = busy;
    busy = isLoading(now) || isAnswering(now) || now.name === "recovering";
    if (was && !busy && document.hidden) unseen = true;
    write();
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) unseen = false;
    write();
  });
}

/** A button that goes away with its card takes the focus along: then the composer has it. Not where that would bring up a
 * keyboard. */
function startFocus(): void {
  if (matchMedia("(pointer: coarse)").matches) return;
  effect(() => {
    if (state.value.name !== "ready" || dialog.peek()) return;
    // The card goes when the page is drawn again.
    requestAnimationFrame(() => {
      if (document.activeElement === document.body) focusComposer();
    });
  });
}

/** Phones go to sleep in the middle of a sentence; other screens may. */
function startWakeLock(): void {
  if (!("wakeLock" in navigator) || !matchMedia("(pointer: coarse)").matches) return;
  let lock: WakeLockSentinel | null = null;
  let wanted = false;
  const update = async () => {
    if (wanted && !lock && !document.hidden) {
      lock = await navigator.wakeLock.request("screen").catch(() => null);
      lock?.addEventListener("release", () => (lock = null));
    }
    if (!wanted && lock) await lock.release();
  };
  effect(() => {
    wanted = isLoading(state.value) || isAnswering(state.value);
    void update();
  });
  document.addEventListener("visibilitychange", () => void update());
}

/** A rebuild that says nothing for this long is over. */
const PATIENCE_MS = 90_000;

function startWatch(): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  effect(() => {
    clearTimeout(timer);
    const now = state.value;
    if (now.name !== "recovering") return;
    const problem = { code: "gpu_timeout" as const, message: now.reason, help: [] };
    timer = setTimeout(() => fail("recovery", problem), PATIENCE_MS);
  });
}

function keyDown(event: KeyboardEvent): void {
  if (event.isComposing) return;
  if (event.key === "Escape") {
    // A dialog closes itself on Escape.
    if (dialog.peek()) return;
    if (editing.peek()) editing.value = null;
    else if (isAnswering(state.peek())) stop();
    else return;
    event.preventDefault();
    return;
  }
  const target = event.target as HTMLElement;
  const inText = target.isContentEditable || target.matches("input, textarea, select");
  if (event.key === "ArrowUp" && target.id === "composer" && draft.peek() === "") {
    event.preventDefault();
    editLast();
    return;
  }
  if (inText || event.ctrlKey || event.metaKey || event.altKey || !singleKeys.peek() || dialog.peek()) return;
  const actions: Record<string, () => void> = {
    "/": focusComposer,
    n: () => void newChat().then(focusComposer),
    a: () => {
      panelOpen.value = !(panelOpen.peek() && panel.peek() === "attention");
      panel.value = "attention";
    },
    "?": () => (dialog.value = "keys"),
  };
  const action = actions[event.key];
  if (!action) return;
  event.preventDefault();
  action();
}

export function focusComposer(): void {
  document.getElementById("composer")?.focus();
}

/** The page works without a network after its first visit. Registered late: it must not compete with the first load. */
export function startOffline(): void {
  if (!import.meta.env.PROD || !("serviceWorker" in navigator)) return;
  let waits = true;
  effect(() => {
    const { name } = state.value;
    if (!waits || name === "boot" || name === "connecting" || name === "downloading" || name === "loading") return;
    waits = false;
    navigator.serviceWorker.register(scriptUrl(new URL("sw.js", document.baseURI))).catch(() => {});
  });
}
