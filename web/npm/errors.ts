// The one error of lyn: a code, a sentence, what to do, facts. Made where the facts are known, and never re-worded.

import type { ErrorCode } from "./types.js";

/** An error as it crosses a worker's messages, and as the core throws it. */
export interface ErrorFacts {
  code: ErrorCode;
  message: string;
  help: string[];
  details: Record<string, unknown>;
}

/** What an error says beside its code and its sentence. */
export interface ErrorOptions {
  help?: string[];
  details?: Record<string, unknown>;
  cause?: unknown;
}

/** An error of lyn. Its code is stable; docs/errors.md has an entry for each. */
export class LynError extends Error {
  override readonly name = "LynError";
  readonly code: ErrorCode;
  /** What to do about it, one sentence each. */
  readonly help: string[];
  readonly details: Record<string, unknown>;

  constructor(code: ErrorCode, message: string, { help = [], details = {}, cause }: ErrorOptions = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.help = help;
    this.details = details;
  }

  /** The form that survives a structured clone, which drops the fields of an `Error`. */
  toJSON(): ErrorFacts {
    return { code: this.code, message: this.message, help: this.help, details: this.details };
  }

  /** Whatever was thrown, as an error of lyn: plain objects of the core or of a message get their class back. */
  static from(error: unknown, code: ErrorCode = "internal"): LynError {
    if (error instanceof LynError) return error;
    if (!isObject(error)) return new LynError(code, String(error), { cause: error });
    const { message, help, details } = error;
    const text = typeof message === "string" && message !== "" ? message : nameOf(error);
    if (!(error instanceof Error) && typeof error.code === "string") {
      return new LynError(error.code as ErrorCode, text, {
        help: Array.isArray(help) ? help.filter((line) => typeof line === "string") : [],
        details: isObject(details) ? details : {},
      });
    }
    return new LynError(codeOf(error) ?? code, text, { cause: error });
  }
}

/** Throws the signal's reason if it has been aborted. */
export function aborted(signal: AbortSignal | undefined): void {
  signal?.throwIfAborted();
}

/** Whether a browser's own exception has this name: `AbortError`, `QuotaExceededError`… */
export function isNamed(error: unknown, ...names: string[]): boolean {
  return isObject(error) && typeof error.name === "string" && names.includes(error.name);
}

/** The browser's own exceptions that mean one of our codes. */
function codeOf(error: Record<string, unknown>): ErrorCode | undefined {
  if (isNamed(error, "AbortError")) return "cancelled";
  if (isNamed(error, "QuotaExceededError")) return "quota";
  if (isNamed(error, "NotFoundError", "NotReadableError", "NotAllowedError", "NoModificationAllowedError")) return "io";
  return undefined;
}

/** A word for an object without a message, so that nobody reads `[object GPUDeviceLostInfo]`. */
function nameOf(error: Record<string, unknown>): string {
  const name = typeof error.name === "string" && error.name !== "" ? error.name : error.constructor?.name;
  return typeof name === "string" && name !== "Object" ? name : "an error without a message";
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
