// A trace file: what each token read, as JSON Lines. In: text of unknown origin, at most LIMITS of it. Out: a Trace, or
// an error that names the line and what belongs there. `lyn generate --trace FILE` writes the same file.
//
//   {"schema":"lyn.trace/1","model_type":"deepseek_v32","num_hidden_layers":6,"index_topk":64,"layers":[0,1,2,3,4,5]}
//   {"position":0,"id":431,"text":"Once"}
//   {"position":0,"layer":0,"indices":[0],"scores":[4.53],"dense":[1]}
//
// Token lines and selection lines may stand in any order. Lines and keys that are not known here are passed over. Scores
// are empty where attention was dense and nothing was selected.

import type { Selection, Trace } from "lyn";

export const SCHEMA = "lyn.trace/1";

/** How much of a file is read before it is turned away. */
export const LIMITS = {
  bytes: 512 * 2 ** 20,
  lineCharacters: 32 * 2 ** 20,
  layers: 1024,
  tokens: 2 ** 20,
  tokenCharacters: 4096,
  /** Indices, scores and dense weights together: 4 bytes each. */
  numbers: 2 ** 26,
};

/** What may belong in a place, in English; other languages have a text for the same keys. */
export const EXPECTED = {
  content: "a trace file: its first line is missing",
  size: "at most 512 MiB",
  line: "lines of at most 32 million characters",
  json: "one JSON object per line",
  schema: `"schema":"${SCHEMA}" on the first line`,
  model: "the model's type as a short text",
  layerCount: "a whole number from 1 to 1,024",
  topk: "a whole number from 1 on, or null",
  layers: "layers of the model, ascending, each once",
  position: "a whole number from 0 to 1,048,575",
  id: "a token's id, a whole number from 0 on",
  text: "a token's text of at most 4,096 characters",
  once: "each token, and each layer of a token, once",
  layer: "one of the layers that the first line lists",
  indices: "positions that the token can see, ascending, at least one",
  scores: "as many finite numbers as there are indices, or none",
  dense: "one weight from 0 to 1 for each position up to the token's own",
  tokens: "a token line for each position from 0 on",
  numbers: "at most 67 million indices, scores and weights in all",
} as const;

export type Expectation = keyof typeof EXPECTED;

export class TraceFileError extends Error {
  /** Line of the file, from 1. */
  readonly line: number;
  readonly expectation: Expectation;
  /** Key in that line; empty where the line itself is at fault. */
  readonly field: string;
  /** The beginning of what stands there. */
  readonly found: string;

  constructor(line: number, expectation: Expectation, field: string, found: unknown) {
    const shown = excerpt(found);
    super(`line ${line}${field && `, "${field}"`}: expected ${EXPECTED[expectation]}; found ${shown}`);
    this.name = "TraceFileError";
    this.line = line;
    this.expectation = expectation;
    this.field = field;
    this.found = shown;
  }
}

function excerpt(value: unknown): string {
  // Long arrays are cut before they are written out: the excerpt of a bad line must not cost more than the line.
  const short = Array.isArray(value) && value.length > 8 ? value.slice(0, 8) : value;
  const text = typeof short === "string" ? short : (JSON.stringify(short) ?? "nothing");
  return text.length > 60 ? `${text.slice(0, 59)}…` : text || "nothing";
}

type Fields = Record<string, unknown>;

const isWhole = (value: unknown, low: number, high: number): value is number =>
  Number.isInteger(value) && (value as number) >= low && (value as number) <= high;

/** Takes a file line by line; `end` gives the trace. */
export class TraceReader {
  #line = 0;
  #numbers = 0;
  #header: Omit<Trace, "tokens" | "selections"> | null = null;
  #layers = new Set<number>();
  #tokens: Trace["tokens"] = [];
  #known = 0;
  #selections: Selection[] = [];
  #seen = new Set<number>();

  push(line: string): void {
    this.#line += 1;
    if (line.length > LIMITS.lineCharacters) this.#fail("line", "", line.slice(0, 60));
    if (line.trim() === "") return;
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      this.#fail("json", "", line.slice(0, 61));
    }
    if (typeof value !== "object" || value === null || Array.isArray(value)) this.#fail("json", "", value);
    const fields = value as Fields;
    if (!this.#header) this.#readHeader(fields);
    else if ("indices" in fields) this.#readSelection(fields);
    else if ("text" in fields) this.#readToken(fields);
  }

  end(): Trace {
    if (!this.#header) this.#fail("content", "", "nothing");
    for (const { position } of this.#selections) {
      if (position >= this.#tokens.length) this.#fail("tokens", "position", position);
    }
    // Positions are counted as they come, so a hole shows as an array that is longer than its tokens.
    if (this.#known < this.#tokens.length) {
      let hole = 0;
      while (hole in this.#tokens) hole += 1;
      this.#fail("tokens", "position", `none for ${hole}`);
    }
    return { ...this.#header, tokens: this.#tokens, selections: this.#selections };
  }

  #fail(expectation: Expectation, field: string, found: unknown): never {
    throw new TraceFileError(Math.max(this.#line, 1), expectation, field, found);
  }

  #readHeader({ schema, model_type, num_hidden_layers, index_topk, layers }: Fields): void {
    if (schema !== SCHEMA) this.#fail("schema", "schema", schema);
    if (typeof model_type !== "string" || model_type.length > 256) this.#fail("model", "model_type", model_type);
    if (!isWhole(num_hidden_layers, 1, LIMITS.layers)) this.#fail("layerCount", "num_hidden_layers", num_hidden_layers);
    if (index_topk !== null && !isWhole(index_topk, 1, 2 ** 32)) this.#fail("topk", "index_topk", index_topk);
    if (!Array.isArray(layers) || !isAscending(layers, num_hidden_layers)) this.#fail("layers", "layers", layers);
    this.#layers = new Set(layers);
    this.#header = { model_type, num_hidden_layers, index_topk, layers };
  }

  #readToken({ position, id, text }: Fields): void {
    if (!isWhole(position, 0, LIMITS.tokens - 1)) this.#fail("position", "position", position);
    if (!isWhole(id, 0, 2 ** 32)) this.#fail("id", "id", id);
    if (typeof text !== "string" || text.length > LIMITS.tokenCharacters) this.#fail("text", "text", text);
    if (position in this.#tokens) this.#fail("once", "position", position);
    this.#tokens[position] = { id, text };
    this.#known += 1;
  }

  #readSelection({ position, layer, indices, scores, dense }: Fields): void {
    if (!isWhole(position, 0, LIMITS.tokens - 1)) this.#fail("position", "position", position);
    if (!isWhole(layer, 0, LIMITS.layers) || !this.#layers.has(layer)) this.#fail("layer", "layer", layer);
    const key = position * LIMITS.layers + layer;
    if (this.#seen.has(key)) this.#fail("once", "layer", layer);
    this.#seen.add(key);
    if (!Array.isArray(indices) || indices.length === 0 || !isAscending(indices, position + 1)) {
      this.#fail("indices", "indices", indices);
    }
    const noScores = Array.isArray(scores) && scores.length === 0;
    if (!isNumbers(scores, noScores ? 0 : indices.length, -Infinity, Infinity)) this.#fail("scores", "scores", scores);
    if (dense !== undefined && !isNumbers(dense, position + 1, 0, 1.001)) this.#fail("dense", "dense", dense);
    this.#numbers += 2 * indices.length + (dense?.length ?? 0);
    if (this.#numbers > LIMITS.numbers) this.#fail("numbers", "", this.#numbers);
    this.#selections.push({
      layer,
      position,
      indices: Uint32Array.from(indices),
      scores: Float32Array.from(scores),
      ...(dense && { dense: Float32Array.from(dense) }),
      contextLength: position + 1,
    });
  }
}

function isAscending(values: unknown[], below: number): values is number[] {
  let least = 0;
  for (const value of values) {
    if (!isWhole(value, least, below - 1)) return false;
    least = value + 1;
  }
  return true;
}

function isNumbers(values: unknown, length: number, low: number, high: number): values is number[] {
  if (!Array.isArray(values) || values.length !== length) return false;
  return values.every(
    (value) =>
      Number.isFinite(Math.fround(value as number)) && value >= low && value <= high && typeof value === "number",
  );
}

/** The trace that a text holds. */
export function parseTrace(text: string): Trace {
  const reader = new TraceReader();
  for (const line of text.split("\n")) reader.push(line);
  return reader.end();
}

/** The trace of a file that was dropped or picked, read in slices so that the page stays alive. */
export async function readTrace(file: Blob): Promise<Trace> {
  if (file.size > LIMITS.bytes) throw new TraceFileError(1, "size", "", `${file.size} bytes`);
  const reader = new TraceReader();
  const decoder = new TextDecoder();
  let rest = "";
  for (let start = 0; start < file.size; start += 2 ** 20) {
    const bytes = await file.slice(start, start + 2 ** 20).arrayBuffer();
    const lines = decoder.decode(bytes, { stream: true }).split("\n");
    lines[0] = rest + lines[0];
    rest = lines.pop() ?? "";
    for (const line of lines) reader.push(line);
    if (rest.length > LIMITS.lineCharacters) reader.push(rest);
  }
  rest += decoder.decode();
  if (rest) reader.push(rest);
  return reader.end();
}

/** The same file again, a line per piece. Scores keep six digits: more than an f16 index key can say. */
export function writeTrace({ tokens, selections, ...header }: Trace): string[] {
  const lines = [JSON.stringify({ schema: SCHEMA, ...header })];
  tokens.forEach(({ id, text }, position) => lines.push(JSON.stringify({ position, id, text })));
  const digits = (values: Float32Array) => Array.from(values, (value) => Number(value.toPrecision(6)));
  for (const { position, layer, indices, scores, dense } of selections) {
    lines.push(
      JSON.stringify({
        position,
        layer,
        indices: Array.from(indices),
        scores: digits(scores),
        ...(dense && { dense: digits(dense) }),
      }),
    );
  }
  return lines.map((line) => `${line}\n`);
}
