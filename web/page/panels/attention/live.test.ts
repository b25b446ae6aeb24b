import assert from "node:assert/strict";
import { test } from "node:test";
import { signal } from "@preact/signals";
import type { ModelInfo, Selection, Trace, TraceOptions } from "lyn";
import type { LiveToken } from "../../run.ts";
import type { PanelProps } from "../props.ts";
import { follow, readAgain, wanted } from "./live.ts";
import { AttentionState } from "./state.ts";

const MODEL = { model_type: "m", num_hidden_layers: 2, index_topk: 4, sparse: true } as ModelInfo;
const select = (position: number, layer: number): Selection => ({
  position,
  layer,
  indices: Uint32Array.of(position),
  scores: Float32Array.of(1),
  contextLength: position + 1,
});
const live = (position: number, id: number, text: string, layers = [0, 1]): LiveToken => ({
  position,
  id,
  text,
  reasoning: false,
  at: 0,
  selection: layers.map((layer) => select(position, layer)),
});

/** A page with a model whose tokens spell their own ids. */
function page(model = MODEL) {
  const asked: { ids: number[]; options: TraceOptions }[] = [];
  let spelled = 0;
  const client = {
    model,
    detokenize: async (ids: ArrayLike<number>) => {
      spelled += 1;
      return Array.from(ids, (id) => `<${id}>`).join("");
    },
    trace: async (ids: ArrayLike<number>, options: TraceOptions): Promise<Trace> => {
      asked.push({ ids: Array.from(ids), options });
      const tokens = Array.from(ids, (id) => ({ id, text: `[${id}]` }));
      return { ...model, layers: [0], tokens, selections: tokens.map((_, position) => select(position, 0)) };
    },
  };
  const signals = {
    client: signal(client),
    model: signal<ModelInfo | null>(model),
    activity: signal("idle"),
    ids: signal<readonly number[]>([]),
    promptLength: signal(0),
    tokens: signal<readonly LiveToken[]>([]),
    attentionOpen: signal(true),
    traceWanted: signal<TraceOptions | null>(null),
  };
  const props = signals as unknown as PanelProps;
  return { ...signals, props, asked, spelled: () => spelled, state: new AttentionState() };
}
const turn = () => new Promise((resolve) => setTimeout(resolve, 0));

test("an answer is taken in as it comes; the prompt's texts are asked for, each once", async () => {
  const { state, props, activity, ids, tokens, promptLength, spelled } = page();
  const end = follow(state, props);
  activity.value = "prefill";
  ids.value = [7, 8, 7];
  promptLength.value = 3;
  await turn();
  assert.deepEqual(
    state.live.tokens.map(({ text }) => text),
    ["<7>", "<8>", "<7>"],
  );
  assert.equal(spelled(), 2);
  assert.equal(state.query.value, 2);
  ids.value = [7, 8, 7, 9];
  tokens.value = [live(3, 9, " nine")];
  assert.equal(state.live.tokens[3]?.text, " nine");
  assert.equal(state.query.value, 3);
  assert.deepEqual(
    state.row.value.map(({ layer }) => layer),
    [0, 1],
  );
  assert.equal(spelled(), 2);
  end();
});

test("a prompt that goes another way forgets what followed", async () => {
  const { state, props, ids, tokens } = page();
  const end = follow(state, props);
  ids.value = [1, 2, 3];
  tokens.value = [live(2, 3, "three")];
  ids.value = [1, 5];
  await turn();
  assert.deepEqual(
    state.live.tokens.map(({ id }) => id),
    [1, 5],
  );
  assert.ok(state.live.empty);
  tokens.value = [live(1, 5, "five")];
  assert.equal(state.live.last, 1, "positions start anew with a new answer");
  end();
});

test("traces are wanted only while the panel can be seen, the box is ticked and no file is shown", () => {
  const { state, props, attentionOpen, traceWanted, model } = page();
  const end = follow(state, props);
  assert.deepEqual(traceWanted.value, { layers: "all", dense: false });
  state.view.value = "both";
  assert.deepEqual(traceWanted.value, { layers: "all", dense: true });
  attentionOpen.value = false;
  assert.equal(traceWanted.value, null);
  attentionOpen.value = true;
  state.follow.value = false;
  assert.equal(traceWanted.value, null);
  state.follow.value = true;
  model.value = { ...MODEL, index_topk: null };
  assert.equal(traceWanted.value, null);
  model.value = MODEL;
  assert.notEqual(traceWanted.value, null);
  end();
  assert.equal(traceWanted.value, null);
});

test("of a deep model one layer is asked for, until all are wanted", () => {
  const { state, props } = page({ ...MODEL, num_hidden_layers: 61 });
  const end = follow(state, props);
  assert.equal(state.layer.value, 30);
  const deep = { num_hidden_layers: 61, index_topk: 2048 };
  assert.deepEqual(wanted(state, deep), { layers: [30], dense: false });
  state.layer.value = null;
  assert.equal(wanted(state, deep).layers, "all");
  assert.equal(wanted(state, { ...deep, index_topk: null }).dense, true);
  end();
});

test("the text is read again on request", async () => {
  const { state, props, ids, asked } = page();
  const end = follow(state, props);
  ids.value = [4, 5];
  await readAgain(state, props, new AbortController().signal);
  assert.deepEqual(asked[0]?.ids, [4, 5]);
  assert.equal(state.live.tokens[1]?.text, "[5]");
  assert.equal(state.live.at(1, 0)?.position, 1);
  end();
});

test("another model starts with nothing", () => {
  const { state, props, ids, model } = page();
  const end = follow(state, props);
  ids.value = [4, 5];
  model.value = { ...MODEL, model_type: "other" };
  assert.equal(state.live.tokens.length, 0);
  assert.equal(state.live.header.model_type, "other");
  end();
});
