// Everything the page can be in, as one union, and what leads from one to the next. No DOM, no engine, no clock: times
// come with the events, so a test can walk through every state.
import type { Progress, Support } from "lyn";
import type { Problem } from "./client.ts";

export type Download = Extract<Progress, { stage: "download" }>;
/** What loading does after the bytes are here. */
export type Preparing = Exclude<Progress, { stage: "download" }>;
export type Unsupported = Extract<Support, { ok: false }>;

/** Left in the browser's storage while something is done that can end a tab; found at the next visit. */
export interface Mark {
  model: string;
  bytes: number;
  context: number | null;
  at: number;
  /** The tab that left it. */
  tab: string;
}

export type State =
  | { name: "boot"; since: number }
  | { name: "unsupported"; support: Unsupported }
  | { name: "choose" }
  /** The server that delivered the page is asked what it has; `loads`: not yet a model. */
  | { name: "connecting"; loads: boolean; since: number }
  /** That server wants a key; `refused`: another one than was given. */
  | { name: "key"; refused: boolean }
  | { name: "downloading"; model: string; progress: Download | null; paused: boolean; since: number }
  | { name: "quota"; model: string; problem: Problem; usage: number; allowance: number }
  | { name: "loading"; model: string; progress: Preparing | null; since: number }
  | { name: "ready" }
  | { name: "prefill"; done: number; total: number; cached: number; since: number }
  | { name: "decode"; tokens: number; since: number }
  | { name: "stopped"; reason: "cancelled" | "length" | "context" }
  | {
      name: "recovering";
      reason: string;
      attempt: number;
      progress: Progress | null;
      interrupted: boolean;
      since: number;
    }
  | { name: "failed"; during: "load" | "answer" | "recovery"; problem: Problem }
  | { name: "cameBack"; mark: Mark }
  | { name: "elsewhere" };

export type Event =
  | { type: "unsupported"; support: Unsupported }
  | { type: "cameBack"; mark: Mark }
  | { type: "elsewhere" }
  | { type: "choose" }
  | { type: "connect"; now: number }
  | { type: "serverLoads" }
  | { type: "key"; refused: boolean }
  | { type: "load"; model: string; now: number }
  | { type: "progress"; progress: Progress; now: number }
  | { type: "pause" }
  | { type: "quota"; problem: Problem; usage: number; allowance: number }
  | { type: "loaded" }
  | { type: "ask"; now: number }
  | { type: "prompt"; done: number; total: number; cached: number }
  | { type: "tokens"; tokens: number; now: number }
  /** Another conversation: what ended the last one is of no interest any more. */
  | { type: "newChat" }
  | { type: "end"; reason: "stop" | "cancelled" | "length" | "context" }
  | { type: "lost"; reason: string; attempt: number; now: number }
  | { type: "restored" }
  | { type: "fail"; during: "load" | "answer" | "recovery"; problem: Problem };

/** The state after an event. Events that come too late (progress of a load that was cancelled, a token after a stop)
 * change nothing: the same object comes back. */
export function next(state: State, event: Event): State {
  switch (event.type) {
    case "unsupported":
      return { name: "unsupported", support: event.support };
    case "cameBack":
      return hasModel(state) || isLoading(state) ? state : { name: "cameBack", mark: event.mark };
    case "elsewhere":
      return { name: "elsewhere" };
    case "choose":
      return { name: "choose" };
    case "connect":
      return { name: "connecting", loads: false, since: event.now };
    case "serverLoads":
      return state.name === "connecting" ? { ...state, loads: true } : state;
    case "key":
      return { name: "key", refused: event.refused };
    case "load":
      return { name: "downloading", model: event.model, progress: null, paused: false, since: event.now };
    case "progress":
      return progressed(state, event.progress, event.now);
    case "pause":
      return state.name === "downloading" ? { ...state, paused: true } : state;
    case "quota":
      if (!isLoading(state)) return state;
      return {
        name: "quota",
        model: state.model,
        problem: event.problem,
        usage: event.usage,
        allowance: event.allowance,
      };
    case "loaded":
      return isLoading(state) || state.name === "connecting" ? { name: "ready" } : state;
    case "ask":
      return canAsk(state) ? { name: "prefill", done: 0, total: 0, cached: 0, since: event.now } : state;
    case "prompt":
      if (state.name !== "prefill") return state;
      return { ...state, done: event.done, total: event.total, cached: event.cached };
    case "tokens":
      if (state.name === "prefill") return { name: "decode", tokens: event.tokens, since: event.now };
      return state.name === "decode" ? { ...state, tokens: event.tokens } : state;
    case "end":
      if (!isAnswering(state)) return state;
      return event.reason === "stop" ? { name: "ready" } : { name: "stopped", reason: event.reason };
    case "newChat":
      return canAsk(state) ? { name: "ready" } : state;
    case "lost":
      return lost(state, event);
    case "restored":
      return state.name === "recovering" ? { name: "ready" } : state;
    case "fail":
      return { name: "failed", during: event.during, problem: event.problem };
  }
}

function progressed(state: State, progress: Progress, now: number): State {
  if (state.name === "recovering") return { ...state, progress };
  if (!isLoading(state)) return state;
  if (progress.stage === "download") {
    if (state.name === "downloading") return state.paused ? state : { ...state, progress };
    // The weights of some checkpoints are read while they are uploaded: the later stage stays.
    return state;
  }
  const since = state.name === "loading" && state.progress?.stage === progress.stage ? state.since : now;
  return { name: "loading", model: state.model, progress, since };
}

function lost(state: State, event: Extract<Event, { type: "lost" }>): State {
  const { reason, attempt, now: since } = event;
  if (state.name === "recovering") return { ...state, reason, attempt };
  if (!hasModel(state) && state.name !== "failed") return state;
  return { name: "recovering", reason, attempt, progress: null, interrupted: isAnswering(state), since };
}

/** A model is being fetched or made ready. */
export function isLoading(state: State): state is Extract<State, { name: "downloading" | "loading" }> {
  return state.name === "downloading" || state.name === "loading";
}

/** An answer is being made. */
export function isAnswering(state: State): state is Extract<State, { name: "prefill" | "decode" }> {
  return state.name === "prefill" || state.name === "decode";
}

/** A question can be asked now. An answer that failed does not keep people from asking again. */
export function canAsk(state: State): boolean {
  return state.name === "ready" || state.name === "stopped" || (state.name === "failed" && state.during === "answer");
}

/** A model is there, at work or idle. */
export function hasModel(state: State): boolean {
  return canAsk(state) || isAnswering(state);
}

/** How much of the work in hand is done, 0 to 1; null where nobody can say. */
export function share(state: State): number | null {
  const progress = state.name === "prefill" ? { loaded: state.done, total: state.total } : shareOf(state);
  return progress && progress.total > 0 ? Math.min(1, progress.loaded / progress.total) : null;
}

function shareOf(state: State): { loaded: number; total: number } | null {
  if (state.name !== "downloading" && state.name !== "loading" && state.name !== "recovering") return null;
  const progress = state.progress;
  if (!progress || progress.stage === "check") return null;
  return progress.stage === "compile" ? { loaded: progress.done, total: progress.total } : progress;
}
