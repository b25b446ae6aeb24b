// What people can set, its bounds, and its ways in and out: the URL fragment, and commands to copy.

export interface Settings {
  system: string;
  thinking: boolean;
  /** Null: what the model recommends. */
  temperature: number | null;
  topP: number | null;
  /** Most tokens of one answer; null: as many as the context has room for. */
  maxTokens: number | null;
  /** Null: a new one each time. */
  seed: number | null;
  stop: string[];
  /** Positions to make room for; fixed when the model is loaded. Null: as many as fit. */
  context: number | null;
  attention: "sparse" | "dense";
  /** Positions that the indexer keeps; null: what the model was trained with. */
  indexTopk: number | null;
}

export const DEFAULTS: Settings = {
  system: "",
  thinking: false,
  temperature: null,
  topP: null,
  maxTokens: null,
  seed: null,
  stop: [],
  context: null,
  attention: "sparse",
  indexTopk: null,
};

type Numeric = "temperature" | "topP" | "maxTokens" | "seed" | "context" | "indexTopk";

/** Least and most of each number, and its step. */
export const BOUNDS: Record<Numeric, { min: number; max: number; step: number }> = {
  temperature: { min: 0, max: 2, step: 0.05 },
  topP: { min: 0.01, max: 1, step: 0.01 },
  maxTokens: { min: 1, max: 1_000_000, step: 1 },
  seed: { min: 0, max: 2 ** 32 - 1, step: 1 },
  context: { min: 64, max: 1_000_000, step: 1 },
  indexTopk: { min: 1, max: 65_536, step: 1 },
};

/** A number within its bounds; null for an empty or unreadable field. */
export function readNumber(field: Numeric, text: string): number | null {
  const { min, max, step } = BOUNDS[field];
  const value = Number(text.trim().replace(",", "."));
  if (text.trim() === "" || !Number.isFinite(value)) return null;
  const clamped = Math.min(max, Math.max(min, value));
  return step === 1 ? Math.round(clamped) : clamped;
}

/** Whether this can be a repository of the Hub: `org/name`, perhaps with `@revision`, perhaps with `:file.gguf`. No part is `..`. */
export function isRepository(name: string): boolean {
  return /^\w[\w.-]{0,95}\/\w[\w.-]{0,95}(@\w[\w./-]{0,99})?(:\w[\w./ -]{0,250}\.gguf)?$/.test(name) && !name.includes("..");
}

// -- the link: #m=stories&t=0.7&att=dense ----------------------------------------------------------------------------

const KEYS: Record<Numeric, string> = {
  temperature: "t",
  topP: "p",
  maxTokens: "n",
  seed: "s",
  context: "c",
  indexTopk: "k",
};

/** A link's fragment. The prompt is in it only if given. */
export function toFragment(model: string, settings: Settings, prompt: string | null): string {
  const fields = new URLSearchParams({ m: model });
  for (const [field, key] of Object.entries(KEYS) as [Numeric, string][]) {
    const value = settings[field];
    if (value !== null) fields.set(key, String(value));
  }
  if (settings.attention !== DEFAULTS.attention) fields.set("att", settings.attention);
  if (settings.thinking) fields.set("think", "1");
  if (settings.system) fields.set("sys", settings.system);
  for (const stop of settings.stop) fields.append("stop", stop);
  if (prompt) fields.set("q", prompt);
  return `#${fields}`;
}

/** What a link asks for; null: no such link. Nobody's code has checked a link, so each field is read with its
 * bounds. */
export function fromFragment(hash: string): { model: string; settings: Settings; prompt: string } | null {
  const fields = new URLSearchParams(hash.replace(/^#/, ""));
  const model = fields.get("m");
  if (!model || !(model === "stories" || model === "server" || (model.startsWith("hf:") && isRepository(model.slice(3))))) return null;
  const settings: Settings = {
    ...DEFAULTS,
    stop: fields
      .getAll("stop")
      .slice(0, 16)
      .map((stop) => stop.slice(0, 200)),
  };
  for (const [field, key] of Object.entries(KEYS) as [Numeric, string][])
    settings[field] = readNumber(field, fields.get(key) ?? "");
  if (fields.get("att") === "dense") settings.attention = "dense";
  settings.thinking = fields.get("think") === "1";
  settings.system = (fields.get("sys") ?? "").slice(0, 20_000);
  return { model, settings, prompt: (fields.get("q") ?? "").slice(0, 100_000) };
}

// -- the same in other words -----------------------------------------------------------------------------------------

/** A string as one word of a POSIX shell. */
function shellWord(text: string): string {
  if (/^[\w./:@=-]+$/.test(text)) return text;
  return "'" + text.replaceAll("'", "'\\''") + "'";
}

export function asCommand(model: string, settings: Settings, prompt: string): string {
  const words = ["lyn", "generate"];
  if (model !== "stories") words.push("-m", shellWord(model));
  if (settings.system) words.push("--system", shellWord(settings.system));
  if (settings.thinking) words.push("--thinking", "on");
  if (settings.temperature !== null) words.push("-t", String(settings.temperature));
  if (settings.topP !== null) words.push("--top-p", String(settings.topP));
  if (settings.maxTokens !== null) words.push("-n", String(settings.maxTokens));
  if (settings.seed !== null) words.push("-s", String(settings.seed));
  for (const stop of settings.stop) words.push("--stop", shellWord(stop));
  if (settings.context !== null) words.push("-c", String(settings.context));
  if (settings.attention === "dense") words.push("--attention", "dense");
  if (settings.indexTopk !== null) words.push("--index-topk", String(settings.indexTopk));
  words.push(shellWord(prompt));
  return words.join(" ");
}

function requestOf(model: string, settings: Settings, prompt: string): Record<string, unknown> {
  const messages = [
    ...(settings.system ? [{ role: "system", content: settings.system }] : []),
    { role: "user", content: prompt },
  ];
  return {
    model,
    messages,
    stream: true,
    ...(settings.thinking ? { thinking: { type: "enabled" } } : {}),
    ...(settings.temperature !== null ? { temperature: settings.temperature } : {}),
    ...(settings.topP !== null ? { top_p: settings.topP } : {}),
    ...(settings.maxTokens !== null ? { max_tokens: settings.maxTokens } : {}),
    ...(settings.seed !== null ? { seed: settings.seed } : {}),
    ...(settings.stop.length ? { stop: settings.stop } : {}),
  };
}

/** `server`: one that runs already, and whether it wants a key; null: one as `lyn serve` would start it. */
export function asCurl(
  model: string,
  settings: Settings,
  prompt: string,
  server: { base: URL; keyed: boolean } | null = null,
): string {
  const body = shellWord(JSON.stringify(requestOf(model, settings, prompt)));
  const url = new URL("v1/chat/completions", server?.base ?? "http://127.0.0.1:8080/");
  const key = server?.keyed ? ` -H "Authorization: Bearer $LYN_API_KEY"` : "";
  return `curl -N ${url}${key} -H 'Content-Type: application/json' -d ${body}`;
}

export function asScript(model: string, settings: Settings, prompt: string): string {
  const options: Record<string, unknown> = {};
  if (settings.context !== null) options.context = settings.context;
  if (settings.attention === "dense") options.attention = "dense";
  if (settings.indexTopk !== null) options.indexTopk = settings.indexTopk;
  const request = JSON.stringify(requestOf(model, settings, prompt), null, 2);
  return `import { load } from "lyn";

const lyn = await load(${JSON.stringify(model)}, ${JSON.stringify(options)});
const stream = lyn.chat.completions.create(${request});
for await (const chunk of stream) console.log(chunk.choices[0]?.delta.content ?? "");
`;
}
