// What answers bring with them: tokens as they come, and the figures of the finished ones.
import type { Selection, Timings, Usage } from "lyn";

/** One token of the answer, as it came. `text` may be empty while a character is not whole yet. */
export interface LiveToken {
  /** Negative where the transport does not know it; `position` then counts the answer's pieces. */
  id: number;
  text: string;
  /** Its place in the context, counted from 0. */
  position: number;
  reasoning: boolean;
  /** Only where the panel asked for traces before the answer began. */
  selection?: Selection[];
  /** Milliseconds since the page was opened, as `performance.now()`. */
  at: number;
}

/** One finished answer; newest last. */
export interface Run {
  timings: Timings;
  usage: Usage;
  attention: "sparse" | "dense";
  /** When it ended, as `Date.now()`. */
  at: number;
}
