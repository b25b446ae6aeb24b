// One tab has the model: graphics memory is taken once. The lock says which; a channel lets another tab ask for it,
// and hands the conversation over.
import { conversation, settings } from "./signals.ts";
import type { Conversation } from "../conversation.ts";
import type { Settings } from "../settings.ts";

const LOCK = "lyn-model";
type Message = { type: "take" } | { type: "handover"; conversation: Conversation; settings: Settings };

let give: (() => void) | null = null;
let taken: () => Promise<void> = async () => {};
const channel = typeof BroadcastChannel === "undefined" ? null : new BroadcastChannel("lyn");

/** Called when another tab wants the model; resolves when it is free. */
export function onTaken(callback: () => Promise<void>): void {
  taken = callback;
}

/** Takes the lock unless another tab has it. Without locks (insecure contexts) nobody can know: then it is ours. */
export function claim(): Promise<boolean> {
  if (give || !navigator.locks) return Promise.resolve(true);
  return new Promise((resolve) => {
    void navigator.locks
      .request(LOCK, { ifAvailable: true }, (lock) => {
        resolve(lock !== null);
        if (lock) return new Promise<void>((release) => (give = release));
        return undefined;
      })
      .catch(() => {
        if (!give) return resolve(true);
        // Another tab waited in vain and took the lock away.
        give = null;
        return void taken();
      });
  });
}

/** Another tab may have it now. */
export function letGo(): void {
  give?.();
  give = null;
}

export async function otherTabHasModel(): Promise<boolean> {
  if (give || !navigator.locks) return false;
  // Frames of other sites may be refused: then nobody can know.
  const { held } = await navigator.locks.query().catch((): LockManagerSnapshot => ({}));
  return held?.some((lock) => lock.name === LOCK) ?? false;
}

/** Asks the other tab to let go, with its conversation; a tab that does not answer within `patience` loses it all
 * the same. */
export async function takeOver(patience = 4000): Promise<void> {
  channel?.postMessage({ type: "take" } satisfies Message);
  const end = performance.now() + patience;
  while (performance.now() < end) {
    if (await claim()) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  await new Promise<void>((resolve) => {
    void navigator.locks
      .request(LOCK, { steal: true }, () => {
        resolve();
        return new Promise<void>((release) => (give = release));
      })
      .catch(() => {
        give = null;
      });
  });
}

channel?.addEventListener("message", async ({ data }: MessageEvent<Message>) => {
  if (data.type === "take") {
    if (!give) return;
    await taken();
    channel.postMessage({
      type: "handover",
      conversation: conversation.peek(),
      settings: settings.peek(),
    } satisfies Message);
    letGo();
  } else if (conversation.peek().messages.length === 0) {
    conversation.value = data.conversation;
    settings.value = data.settings;
  }
});
