// Loading a model and keeping it: from the first look for an adapter to a device that was lost and came back.
import { batch } from "@preact/signals";
import type { Plan } from "lyn";
import type { ChatClient, Problem } from "../client.ts";
import { fromFragment, type Settings } from "../settings.ts";
import { isLoading, type Mark } from "../state.ts";
import { loadInTab, lyn, startWorker, toProblem } from "../tab.ts";
import { format, text } from "../text/index.ts";
import { connectToServer, hasKey, server } from "./delivered.ts";
import { clearMark, readMark, setMark } from "./mark.ts";
import { countFile } from "./privacy.ts";
import {
  announce,
  client,
  dispatch,
  draft,
  fromLink,
  ids,
  model,
  notice,
  plan,
  prompt,
  promptLength,
  SERVER,
  settings,
  sparing,
  state,
  STORIES,
  support,
  tokens,
  used,
  wish,
  type ServerWish,
  type Wish,
} from "./signals.ts";
import { claim, letGo, otherTabHasModel } from "./tabs.ts";

/** Called when a model has become usable, and when a lost one has come back. */
let ready: (how: "loaded" | "restored") => void = () => {};
export function onReady(callback: typeof ready): void {
  ready = callback;
}

/** Whether a worker has the GPU too is seen when one loads the model: asking now would start one twice. */
const PROBE: { powerPreference?: GPUPowerPreference; worker: false } = { worker: false };

/** From an empty page to a model, or to the reason why there is none. */
export async function boot(): Promise<void> {
  const link = fromFragment(location.hash);
  if (link) {
    settings.value = link.settings;
    draft.value ||= link.prompt;
    wish.value = wishOf(link.model);
    fromLink.value = true;
  }
  if (server) {
    if (link) dispatch({ type: "choose" });
    else await load(SERVER);
    return;
  }
  if (!(await isSupported())) return;
  if (await otherTabHasModel()) {
    dispatch({ type: "elsewhere" });
    return;
  }
  const mark = readMark();
  if (mark) {
    dispatch({ type: "cameBack", mark });
    return;
  }
  sparing.value = savesData();
  if (link || sparing.value) dispatch({ type: "choose" });
  else await load(STORIES);
}

/** What a link names; a server's model where there is no server is the one that comes along. */
function wishOf(model: string): Wish | ServerWish {
  if (model === "server" && server) return SERVER;
  return model.startsWith("hf:") ? { source: model as `hf:${string}`, id: model } : STORIES;
}

/** Whether this browser can run a model; if not, the state says why. Asked only where this tab is to run one. */
async function isSupported(): Promise<boolean> {
  if (support.peek()?.ok) return true;
  try {
    support.value = await (await lyn()).probe(PROBE);
  } catch (error) {
    fail("load", error);
    return false;
  }
  if (!support.value.ok) dispatch({ type: "unsupported", support: support.value });
  return support.value.ok;
}

/** Once more, after this browser could not run a model. */
export async function retry(): Promise<void> {
  if (server) await load(wish.peek());
  else await boot();
}

/** Whether the connection asks for few bytes. */
export function savesData(): boolean {
  const { connection } = navigator as { connection?: { saveData?: boolean; type?: string } };
  return connection?.saveData === true || connection?.type === "cellular";
}

/** Phones get a short context where nobody has said otherwise. */
function contextFor(wanted: Settings): number | undefined {
  if (wanted.context !== null) return wanted.context;
  return matchMedia("(pointer: coarse) and (max-width: 900px)").matches ? 2048 : undefined;
}

let loading: { abort: AbortController; done: Promise<void> } | null = null;

/** Loads a model in place of what is there. Errors become states; nothing is thrown. */
export async function load(wanted: Wish | ServerWish): Promise<void> {
  await begin(wanted, "load");
}

async function begin(wanted: Wish | ServerWish, why: "load" | "recovery"): Promise<void> {
  loading?.abort.abort();
  await loading?.done;
  const abort = new AbortController();
  const done = attempt(wanted, abort.signal, why);
  loading = { abort, done };
  await done;
}

async function attempt(wanted: Wish | ServerWish, signal: AbortSignal, why: "load" | "recovery"): Promise<void> {
  wish.value = wanted;
  sparing.value = false;
  const now = performance.now();
  if (why === "load")
    dispatch(wanted.source === "server" ? { type: "connect", now } : { type: "load", model: wanted.id, now });
  await release();
  try {
    const loaded = wanted.source === "server" ? await fromServer(signal) : await inTab(wanted, signal);
    if (!loaded) return;
    if (signal.aborted) {
      await loaded.close();
      return;
    }
    follow(loaded);
    batch(() => {
      client.value = loaded;
      // Files have no name together: the page knows by which they were picked.
      model.value = Array.isArray(wanted.source) ? { ...loaded.model, id: wanted.id } : loaded.model;
      plan.value = loaded.plan;
      if (wanted.source === "server") wish.value = { ...wanted, id: loaded.model.id };
      dispatch({ type: why === "load" ? "loaded" : "restored" });
    });
    announce(text.peek().status.ready);
    ready(why === "load" ? "loaded" : "restored");
    if (keeps(wanted)) void navigator.storage?.persist?.();
  } catch (error) {
    if (signal.aborted) return;
    if (why === "load") await failLoad(error);
    else fail("recovery", error);
  } finally {
    clearMark();
  }
}

/** Whether it was fetched to stay. */
const keeps = (wanted: Wish | ServerWish): boolean =>
  wanted.source !== "server" && wanted.source !== "stories" && wanted.cache !== "memory";

/** The server's model. This tab needs no GPU for it. */
async function fromServer(signal: AbortSignal): Promise<ChatClient> {
  letGo();
  return connectToServer(signal, () => signal.aborted || dispatch({ type: "serverLoads" }));
}

/** A model in this tab; null where it cannot be, as the state then says. */
async function inTab(wanted: Wish, signal: AbortSignal): Promise<ChatClient | null> {
  if (!(await isSupported())) return null;
  if (!(await claim())) {
    dispatch({ type: "elsewhere" });
    return null;
  }
  if (signal.aborted) return null;
  const { attention, indexTopk } = settings.peek();
  const context = contextFor(settings.peek());
  let tenths = 0;
  let file = "";
  setMark({ model: wanted.id, bytes: 0, context: context ?? null });
  return loadInTab(wanted.source, {
    attention,
    ...(context !== undefined && { context }),
    ...(indexTopk !== null && { indexTopk }),
    ...(wanted.force && { force: true }),
    ...(wanted.cache && { cache: wanted.cache }),
    signal,
    onProgress(progress) {
      if (signal.aborted) return;
      dispatch({ type: "progress", progress, now: performance.now() });
      if (progress.stage === "upload" || progress.stage === "download")
        setMark({ model: wanted.id, bytes: progress.total, context: context ?? null });
      if (progress.stage !== "download") return;
      // A file that is here in part comes from both.
      if (!progress.fromCache && progress.file !== file) {
        if (wanted.id.startsWith("hf:")) countFile("huggingface.co");
        file = progress.file;
      }
      if (progress.total === 0) return;
      const reached = Math.floor((progress.loaded / progress.total) * 10);
      if (reached > tenths) announce(text.peek().status.downloaded(format.peek().percent(reached / 10)));
      tenths = Math.max(tenths, reached);
    },
  });
}

/** Says on what a model says unasked, while it is the one in use. */
function follow(loaded: ChatClient): void {
  loaded.listen((event) => {
    if (client.peek() !== loaded) return;
    clearTimeout(silence);
    if (event.type === "lost") dispatch({ ...event, now: performance.now() });
    else if (event.type === "progress") dispatch({ ...event, now: performance.now() });
    else if (event.type === "failed") fail("recovery", event.problem);
    else {
      dispatch({ type: "restored" });
      ready("restored");
    }
  });
}

async function failLoad(error: unknown): Promise<void> {
  const problem = toProblem(error);
  if (problem.code === "quota") {
    const estimate = await navigator.storage.estimate().catch((): StorageEstimate => ({}));
    dispatch({ type: "quota", problem, usage: estimate.usage ?? 0, allowance: estimate.quota ?? 0 });
  } else fail("load", problem);
}

export function fail(during: "load" | "answer" | "recovery", error: unknown): void {
  const problem: Problem = error instanceof Error || typeof error !== "object" ? toProblem(error) : (error as Problem);
  if (problem.code === "server_key") {
    dispatch({ type: "key", refused: hasKey() });
    return;
  }
  if (during !== "answer") {
    client.value = null;
    model.value = null;
    plan.value = null;
  }
  dispatch({ type: "fail", during, problem });
}

// -- a device that was lost ------------------------------------------------------------------------------------------

/** How long the engine may say nothing of a device that an answer has found lost, before the page loads it anew. */
const SILENCE_MS = 4000;
const REBUILDS = 2;
const REBUILD_WINDOW_MS = 5 * 60_000;
let silence: ReturnType<typeof setTimeout> | undefined;
let rebuilds: number[] = [];

/** An answer broke off since the device is gone. The engine rebuilds by itself and says so; one that stays silent is
 * replaced: at most twice in five minutes, since a device that keeps dying is not helped by more. */
export function deviceLost(reason: string): void {
  dispatch({ type: "lost", reason, attempt: 1, now: performance.now() });
  clearTimeout(silence);
  silence = setTimeout(() => {
    if (state.peek().name !== "recovering") return;
    const now = Date.now();
    rebuilds = [...rebuilds.filter((time) => now - time < REBUILD_WINDOW_MS), now];
    if (rebuilds.length > REBUILDS) fail("recovery", { code: "device_lost", message: reason, help: [] });
    else void begin(wish.peek(), "recovery");
  }, SILENCE_MS);
}

/** Another tab wants the model. */
export async function giveUp(): Promise<void> {
  await release();
  dispatch({ type: "elsewhere" });
}

/** Gives the graphics memory back. */
async function release(): Promise<void> {
  const held = client.peek();
  batch(() => {
    client.value = null;
    model.value = null;
    plan.value = null;
    // They are the old model's words in the old model's cache.
    ids.value = [];
    tokens.value = [];
    promptLength.value = 0;
    used.value = 0;
    prompt.value = null;
    notice.value = null;
  });
  await held?.close();
}

// -- while it loads --------------------------------------------------------------------------------------------------

/** Ends the fetching; what is here stays for `load` to go on with. */
export function pause(): void {
  dispatch({ type: "pause" });
  loading?.abort.abort();
}

export function resume(): void {
  void load(wish.peek());
}

export async function cancel(keep: boolean): Promise<void> {
  loading?.abort.abort();
  await loading?.done;
  clearMark();
  if (!keep) await removeStored(wish.peek().id).catch(() => 0);
  dispatch({ type: "choose" });
}

// -- models that are kept --------------------------------------------------------------------------------------------

export async function stored() {
  return (await lyn()).storage.list({ worker: startWorker });
}

export async function removeStored(id: string): Promise<number> {
  return (await lyn()).storage.remove(id, { worker: startWorker });
}

export async function removeAllStored(): Promise<number> {
  return (await lyn()).storage.removeAll({ worker: startWorker });
}

/** What a model would need here; only its headers are read. */
export async function planFor(wanted: Wish, signal?: AbortSignal): Promise<Plan> {
  const context = contextFor(settings.peek());
  return (await lyn()).plan(wanted.source, {
    worker: startWorker,
    ...(context !== undefined && { context }),
    ...(signal && { signal }),
  });
}

// -- settings that the engine knows ----------------------------------------------------------------------------------

/** Takes new settings; the context loads the model again, attention switches at once. */
export async function applySettings(changes: Partial<Settings>): Promise<void> {
  const before = settings.peek();
  const after = { ...before, ...changes };
  settings.value = after;
  const held = client.peek();
  // What a server computes with is its own; the rest is for when this tab runs the model.
  if (!held?.setAttention || isLoading(state.peek())) return;
  if (before.context !== after.context) await load(wish.peek());
  else if (before.attention !== after.attention || before.indexTopk !== after.indexTopk) {
    const { attention, indexTopk } = after;
    try {
      await held.setAttention({ attention, ...(indexTopk !== null && { indexTopk }) });
      if (client.peek() === held) model.value = held.model;
    } catch (error) {
      notice.value = toProblem(error);
    }
  }
}

export async function comeBack(mark: Mark, small: boolean): Promise<void> {
  clearMark();
  if (small) settings.value = { ...settings.peek(), context: Math.min(mark.context ?? 4096, 4096) };
  const source = mark.model.startsWith("hf:") ? { source: mark.model as `hf:${string}`, id: mark.model } : STORIES;
  await load(source);
}
