// Forms of answers (schemas, grammars, tools) and the chat templates that models bring are tried in a worker of their own
// before the engine takes them: should one trap, or never end, one request is refused, and the engine is untouched.

import { LynError } from "./errors.js";
import type { Source } from "./wasm/lyn.js";
import type { FromTrial, PlainError, ToTrial, ToWorker } from "./protocol.js";

/** Compiling is bounded by what it compiles and takes milliseconds: this is for what nobody has thought of. */
const TRIAL_MS = 5_000;
/** Instance, headers and vocabulary; with a slow network for the worker's script. */
const OPEN_MS = 30_000;
/** Fields of a request that a form is made of. */
const FIELDS = [
  "response_format",
  "structured_outputs",
  "guided_json",
  "guided_regex",
  "guided_choice",
  "guided_grammar",
  "json_schema",
  "grammar",
  "tools",
];

/** What of a request is tried: the form that its answer is held to; the template of the model that renders it. */
interface Needs {
  form: boolean;
  templated: boolean;
}

type Outcome = { refused: PlainError | null } | "ready" | "broken" | "late";

/** Trials for one loaded model. Their worker is started by the first request that needs one, and used again. */
export class Trials {
  private current: Trial | null = null;
  /** This browser, or this page, starts no such worker: the bounds of what is compiled have to do. */
  private impossible = false;

  /** `start` gives a worker that runs worker.ts. */
  constructor(
    private readonly start: () => Worker,
    private readonly module: WebAssembly.Module,
    private readonly source: Source,
  ) {}

  /** Throws where the request is to be refused. One at a time. */
  async check(request: string, needs: Needs, signal: AbortSignal): Promise<void> {
    const trial = this.trial();
    if (!trial) return;
    // Whoever leaves takes the work along.
    const left = () => this.close();
    signal.addEventListener("abort", left, { once: true });
    try {
      this.impossible = !(await trial.isReady) && !signal.aborted;
      if (this.impossible) return this.close();
      const prepared = needs.form && !signal.aborted ? await trial.prepared() : "ready";
      const outcome = signal.aborted ? "broken" : prepared === "ready" ? await trial.check(request) : prepared;
      if (signal.aborted) throw new LynError("cancelled", "stopped");
      if (typeof outcome === "string") {
        this.close();
        throw refusal(request, needs, outcome);
      }
      if (outcome.refused) throw LynError.from(outcome.refused);
    } finally {
      signal.removeEventListener("abort", left);
    }
  }

  /** Ends the worker; the next request starts another. */
  close(): void {
    this.current?.close();
    this.current = null;
  }

  private trial(): Trial | null {
    if (this.impossible) return null;
    try {
      return (this.current ??= new Trial(this.start(), this.module, this.source));
    } catch {
      this.impossible = true;
      return null;
    }
  }
}

/** One worker. */
class Trial {
  readonly isReady: Promise<boolean>;
  private readonly port: MessagePort;
  private settle: (outcome: Outcome) => void = () => {};
  private preparing: Promise<Outcome> | null = null;

  constructor(
    private readonly worker: Worker,
    module: WebAssembly.Module,
    private readonly source: Source,
  ) {
    const { port1, port2 } = new MessageChannel();
    this.port = port1;
    port1.onmessage = ({ data }: MessageEvent<FromTrial>) => {
      if ("read" in data) void this.read(data.read, data.file, data.range);
      else this.settle("ready" in data ? "ready" : data);
    };
    // A trap: the worker tells of it as it does of an engine's.
    worker.addEventListener("message", () => this.settle("broken"));
    worker.addEventListener("error", (event) => {
      event.preventDefault();
      this.settle("broken");
    });
    this.isReady = this.outcome(OPEN_MS).then((outcome) => outcome === "ready");
    worker.postMessage({ trial: module, port: port2, gguf: source.gguf } satisfies ToWorker, [port2]);
  }

  /** Once the vocabulary is ready for forms, which a large one takes seconds for. */
  prepared(): Promise<Outcome> {
    if (!this.preparing) {
      this.preparing = this.outcome(OPEN_MS);
      this.port.postMessage({ prepare: true } satisfies ToTrial);
    }
    return this.preparing;
  }

  check(request: string): Promise<Outcome> {
    const outcome = this.outcome(TRIAL_MS);
    this.port.postMessage({ check: request } satisfies ToTrial);
    return outcome;
  }

  close(): void {
    this.worker.terminate();
    this.port.close();
    this.settle("broken");
  }

  private outcome(milliseconds: number): Promise<Outcome> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve("late"), milliseconds);
      this.settle = (outcome) => {
        clearTimeout(timer);
        resolve(outcome);
      };
    });
  }

  /** The model's small files, for the worker: they are read where they are kept. */
  private async read(read: number, file: string, range: [number, number] | null): Promise<void> {
    const answer = (answer: ToTrial) => this.port.postMessage(answer);
    try {
      const value = range ? await this.source.read(file, ...range) : await this.source.size(file);
      answer({ read, value });
    } catch (error) {
      answer({ read, failed: LynError.from(error).message });
    }
  }
}

function refusal(request: string, { form, templated }: Needs, outcome: Exclude<Outcome, object>): LynError {
  const given = JSON.parse(request) as Record<string, unknown>;
  const fields = FIELDS.filter((field) => given[field] !== undefined && given[field] !== null);
  const template = templated ? ["the model's chat template"] : [];
  const grammar = form ? [`the schema or grammar of ${fields.join(" and ") || "the request"}`] : [];
  const what = [...template, ...grammar].join(" or ");
  const [verb, past] = form ? ["compile", "compiled"] : ["render", "rendered"];
  const why = outcome === "late" ? `took too long to ${verb}` : `could not be ${past}`;
  const code = form ? "grammar_too_complex" : "bad_request";
  return new LynError(code, `${what} ${why}`, { details: { param: form ? (fields[0] ?? null) : null } });
}
