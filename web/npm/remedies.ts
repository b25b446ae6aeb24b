// What to do about an error of the runtime, in this package's words. The runtime's own remedies are the command line's
// where they name its verbs and flags; others are kept as they are.

import type { ErrorFacts } from "./errors.js";
import type { ErrorCode } from "./types.js";

const REMEDIES: Partial<Record<ErrorCode, string>> = {
  no_adapter: "Update the browser and the GPU driver; see probe().",
  adapter_not_found: "Omit powerPreference.",
  self_check_failed: "Update the GPU driver or use another browser; see conform().",
  limit_too_small: "Use a smaller context, a smaller model, or another adapter.",
  out_of_memory: "Use a smaller context or a smaller model, or load with force: true.",
  device_lost: "Try again; if it recurs, update the driver or use a smaller context.",
  gpu_timeout: "Try again; if it recurs, update the driver or use a smaller context.",
  context_overflow: "Shorten the prompt, or load with a larger context.",
  bad_request: "Compare the request with the package's types.",
  grammar_too_complex: "Use a smaller schema: fewer alternatives, shorter patterns.",
  non_finite: "Check the model with verify() and the adapter with conform().",
  internal: "Please report it, with the result of conform().",
};

/** Verbs and flags of the command line. */
const COMMAND_LINE = /\blyn [a-z]+|--[a-z]/;

/** The same error with remedies that can be followed here. */
export function remedied(error: ErrorFacts): ErrorFacts {
  const own = REMEDIES[error.code];
  if (!own || (error.help.length > 0 && !error.help.some((line) => COMMAND_LINE.test(line)))) return error;
  return { ...error, help: [own] };
}
