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
  /** Positions to make room for; these last three are fixed when the model is loaded. */
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
