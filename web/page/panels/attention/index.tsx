// Which tokens each token read: as shaded text, as a map, beside dense attention, and as a table.

import { useSignal } from "@preact/signals";
import { useEffect, useId, useRef } from "preact/hooks";
import { readTrace, TraceFileError, writeTrace } from "../../trace/format.ts";
import { ranks } from "../../trace/measures.ts";
import { TraceStore } from "../../trace/store.ts";
import { Clock } from "../clock.tsx";
import type { Panels } from "../text.en.ts";
import { catalogue } from "../text.ts";
import { save } from "../save.ts";
import type { PanelProps } from "../props.ts";
import "../panels.css";
import { Answers } from "./answers.tsx";
import { Missed, Shares } from "./beside.tsx";
import { colours, Legend } from "./legend.tsx";
import { follow, readAgain } from "./live.ts";
import { MapView } from "./map-view.tsx";
import { drawText, savePicture } from "./picture.ts";
import { AttentionState, type View } from "./state.ts";
import { TableView } from "./table-view.tsx";
import { TokenText, visible } from "./token-text.tsx";

const VIEWS: View[] = ["text", "map", "both", "table"];

/** One state for each page, found by a signal that lives as long as the page does. */
const states = new WeakMap<object, AttentionState>();
function stateOf(props: PanelProps): AttentionState {
  const state = states.get(props.traceWanted) ?? new AttentionState();
  states.set(props.traceWanted, state);
  return state;
}

export default function AttentionPanel(props: PanelProps) {
  const state = stateOf(props);
  const text = catalogue(props.language.value);
  const root = useRef<HTMLElement>(null);
  const drop = useFile(state, props);
  useEffect(() => follow(state, props), [state]);

  const store = state.store.value;
  const view = state.view.value;
  const words = text.attention;
  const missing = state.length.value === 0 ? (props.model.value ? words.noText : words.noModel) : null;
  const dense = state.selection.value?.dense !== undefined;
  return (
    <section
      ref={root}
      class={`panel attention ${drop.over.value ? "dropping" : ""}`}
      aria-label={words.title}
      onDragOver={drop.onDragOver}
      onDragLeave={drop.onDragLeave}
      onDrop={drop.onDrop}
      data-drop={words.drop}
    >
      {state.file.value && (
        <p class="note from-file">
          <span>{words.fromFile(state.file.value.name)}</span>
          <button type="button" class="button small" onClick={() => state.show(null)}>{words.back}</button>
        </p>
      )}
      {drop.error.value && <p class="note error" role="alert">{drop.error.value}</p>}
      {missing ? <p class="empty">{missing}</p> : (
        <>
          <Header state={state} props={props} />
          <Controls state={state} props={props} />
          <Request state={state} props={props} />
          {view === "text" && (
            <>
              <TokenText state={state} shades={state.shades} label={words.textLabel} />
              <Detail state={state} props={props} />
            </>
          )}
          {view === "map" && <MapView state={state} text={words} format={props.format.value} />}
          {view === "both" && <Twins state={state} props={props} />}
          {view === "table" && <TableView state={state} text={words} format={props.format.value} />}
          {view !== "table" && !(view === "both" && dense) && (
            <Legend text={text.legend} kind={state.layer.value === null ? "count" : "score"} />
          )}
          {view !== "map" && view !== "table" && (
            <p class="legend keys">
              <span class="token-query">{words.keys.query}</span>
              <span class="shade-0">{words.keys.unread}</span>
              <span class="token-after">{words.keys.after}</span>
            </p>
          )}
          {view !== "table" && view !== "map" && dense && (
            <div class="beside">
              <Shares state={state} text={words} format={props.format.value} growing={props.activity.value === "decode"} />
              <Missed state={state} text={words} format={props.format.value} />
            </div>
          )}
          {view === "both" && !state.file.value && <Answers props={props} />}
        </>
      )}
      <p class="actions">
        <label class="button file">
          {drop.reading.value ? words.opening : words.open}
          <input type="file" class="unseen" accept=".jsonl,.ndjson,.json" disabled={drop.reading.value} onChange={drop.onPick} />
        </label>
        {!store.empty && (
          <>
            <button type="button" class="button" onClick={() => saveTrace(store)}>{words.exportTrace}</button>
            {view !== "table" && (
              <button type="button" class="button" onClick={() => root.current && saveView(root.current, state, reading(state, props), text.legend)}>
                {words.exportPicture}
              </button>
            )}
          </>
        )}
      </p>
      {!state.file.value && props.model.value?.sparse && (
        <label class="check">
          <input
            type="checkbox"
            checked={state.follow.value}
            onChange={(event) => (state.follow.value = event.currentTarget.checked)}
          />
          {words.follow}
        </label>
      )}
    </section>
  );
}

/** `layer 12 · reads 64 of 1,416`, or why there is nothing to select. */
function reading(state: AttentionState, props: PanelProps): string {
  const { attention: words } = catalogue(props.language.value);
  const { integer } = props.format.value;
  const store = state.store.value;
  const selection = state.selection.value;
  const { index_topk } = store.header;
  if (!state.file.value && props.model.value && !props.model.value.sparse) return words.denseModel;
  if (state.file.value && index_topk === null) return words.denseTrace(integer(state.query.value + 1));
  const visible = state.query.value + 1;
  if (index_topk !== null && visible <= index_topk) return words.everything(integer(visible), integer(index_topk));
  if (!selection) return words.noTrace;
  const [read, of] = [integer(selection.indices.length), integer(visible)];
  return state.layer.value === null
    ? words.readsAll(read, of, integer(state.row.value.length))
    : words.reads(integer(state.layer.value), read, of);
}

function Header({ state, props }: { state: AttentionState; props: PanelProps }) {
  // Said aloud when people move about, and not with each token that comes.
  const quiet = props.activity.value === "prefill" || props.activity.value === "decode";
  return <h3 class="reading"><output aria-live={quiet ? "off" : "polite"}>{reading(state, props)}</output></h3>;
}

function Controls({ state, props }: { state: AttentionState; props: PanelProps }) {
  const { attention: words } = catalogue(props.language.value);
  const { integer } = props.format.value;
  const name = useId();
  const store = state.store.value;
  const layer = state.layer.value;
  // A file offers the layers that it holds, a model all of its own; before the first of them stand all together.
  const layers = state.file.value ? store.layers : Array.from({ length: store.header.num_hidden_layers }, (_, layer) => layer);
  const query = state.query.value;
  const piece = visible(store.tokens[query]?.text ?? "").replace("\n", "");
  return (
    <div class="controls">
      <fieldset class="segments">
        <legend class="unseen">{words.view}</legend>
        {VIEWS.map((view) => (
          <label key={view}>
            <input type="radio" name={name} checked={state.view.value === view} onChange={() => (state.view.value = view)} />
            <span>{words.views[view]}</span>
          </label>
        ))}
      </fieldset>
      <div class="slider">
        <label for={`${name}-layer`}>{words.layer}</label>
        <input
          id={`${name}-layer`}
          type="range"
          min={-1}
          max={layers.length - 1}
          value={layer === null ? -1 : layers.indexOf(layer)}
          aria-valuetext={layer === null ? words.allLayers : integer(layer)}
          onInput={(event) => (state.layer.value = layers[Number(event.currentTarget.value)] ?? null)}
        />
        <output aria-live="off">{layer === null ? "∑" : integer(layer)}</output>
        <button
          type="button"
          class="button small"
          aria-pressed={layer === null}
          onClick={() => (state.layer.value = layer === null ? (layers[0] ?? null) : null)}
        >
          {words.allLayers}
        </button>
      </div>
      <div class="slider">
        <label for={`${name}-query`}>{words.query}</label>
        <input
          id={`${name}-query`}
          type="range"
          min={0}
          max={Math.max(0, state.length.value - 1)}
          value={Math.max(0, query)}
          aria-valuetext={words.token(integer(query), piece)}
          onInput={(event) => state.pick(Number(event.currentTarget.value))}
        />
        <output aria-live="off">{integer(query)}</output>
        <button type="button" class="button small" aria-pressed={state.pinned.value === null} onClick={() => state.newest()}>
          {words.newest}
        </button>
      </div>
    </div>
  );
}

/** The way to a trace where there is none, and the clock while it is made. */
function Request({ state, props }: { state: AttentionState; props: PanelProps }) {
  const { attention: words } = catalogue(props.language.value);
  const running = useSignal<{ since: number; stop: AbortController } | null>(null);
  useEffect(() => () => running.peek()?.stop.abort(), []);
  if (state.file.value || !props.client.value || !props.model.value?.sparse) return null;
  if (running.value) {
    const { since, stop } = running.value;
    return (
      <p class="note">
        <Clock since={since} format={props.format.value} render={words.reading} />
        <button type="button" class="button small" onClick={() => stop.abort()}>{words.stop}</button>
      </p>
    );
  }
  const selection = state.selection.value;
  const wantsDense = state.view.value === "both" && selection !== undefined && !selection.dense;
  if (selection && !wantsDense) return null;
  const start = async () => {
    const stop = new AbortController();
    running.value = { since: performance.now(), stop };
    try {
      await readAgain(state, props, stop.signal);
      props.announce(reading(state, props));
    } catch (error) {
      if (!stop.signal.aborted) props.report(error);
    } finally {
      running.value = null;
    }
  };
  return (
    <p class="note">
      {wantsDense && <span>{words.noDense}</span>}
      <button type="button" class="button small" disabled={props.activity.value !== "idle"} onClick={() => void start()}>
        {wantsDense ? words.showDense : words.show}
      </button>
      <small>{words.showCost(props.format.value.integer(props.ids.value.length))}</small>
    </p>
  );
}

/** One line about the token under the pointer, once the query has been picked. */
function Detail({ state, props }: { state: AttentionState; props: PanelProps }) {
  const { attention: words } = catalogue(props.language.value);
  const { integer, decimal, percent } = props.format.value;
  const at = state.pinned.value === null ? null : state.pointed.value;
  const selection = state.selection.value;
  if (at === null || !selection || at >= selection.contextLength) return <p class="detail"><small>{words.hint}</small></p>;
  const piece = visible(state.store.value.tokens[at]?.text ?? "").replace("\n", "");
  const place = selection.indices.indexOf(at);
  const score = selection.scores[place];
  const [position, of] = [integer(at), integer(selection.indices.length)];
  const read = place < 0
    ? words.detailUnread(position, piece)
    : score === undefined
    ? words.token(position, piece)
    : state.layer.value === null
    ? words.detailCount(position, piece, integer(score), integer(state.row.value.length))
    : words.detail(position, piece, decimal(score, 2), integer((ranks(selection)[place] ?? 0) + 1), of);
  const dense = selection.dense?.[at];
  return <p class="detail" dir="auto">{read}{dense !== undefined && words.detailDense(percent(dense, 2))}</p>;
}

/** The same text twice: what the indexer selected, and what dense attention weighs. They scroll as one. */
function Twins({ state, props }: { state: AttentionState; props: PanelProps }) {
  const text = catalogue(props.language.value);
  const words = text.attention;
  const box = useRef<HTMLDivElement>(null);
  const together = (moved: HTMLElement) => {
    for (const other of box.current?.querySelectorAll(".token-text") ?? []) {
      if (other !== moved && other.scrollTop !== moved.scrollTop) other.scrollTop = moved.scrollTop;
    }
  };
  if (!state.selection.value?.dense) {
    return state.file.value
      ? <p class="note">{words.noDense}</p>
      : <TokenText state={state} shades={state.shades} label={words.textLabel} />;
  }
  return (
    <>
      <div class="twins" ref={box}>
        <div>
          <h4>{words.indexerLabel}</h4>
          <TokenText state={state} shades={state.shades} label={`${words.indexerLabel}. ${words.textLabel}`} onScroll={together} />
          <Legend text={text.legend} kind={state.layer.value === null ? "count" : "score"} />
        </div>
        <div>
          <h4>{words.denseLabel}</h4>
          <TokenText state={state} shades={state.denseShades} label={`${words.denseLabel}. ${words.textLabel}`} onScroll={together} />
          <Legend text={text.legend} kind="dense" />
        </div>
      </div>
      <Detail state={state} props={props} />
    </>
  );
}

/** A trace file, dropped on the panel or picked. */
function useFile(state: AttentionState, props: PanelProps) {
  const over = useSignal(false);
  const reading = useSignal(false);
  const error = useSignal<string | null>(null);
  const open = async (file: File | undefined) => {
    if (!file) return;
    const { attention: words } = catalogue(props.language.value);
    reading.value = true;
    error.value = null;
    try {
      state.show({ name: file.name, store: TraceStore.from(await readTrace(file)) });
    } catch (failure) {
      const { integer } = props.format.value;
      error.value = failure instanceof TraceFileError
        ? words.fileError(integer(failure.line), failure.field, words.expected[failure.expectation], failure.found)
        : words.notReadable;
    } finally {
      reading.value = false;
    }
  };
  const holdsFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
  return {
    over,
    reading,
    error,
    // The page takes dropped files for models; those that fall on this panel are its own.
    onDragOver: (event: DragEvent) => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      event.stopPropagation();
      over.value = true;
    },
    onDragLeave: (event: DragEvent & { currentTarget: HTMLElement }) => {
      if (!(event.relatedTarget instanceof Node && event.currentTarget.contains(event.relatedTarget))) over.value = false;
    },
    onDrop: (event: DragEvent) => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      event.stopPropagation();
      over.value = false;
      void open(event.dataTransfer?.files[0]);
    },
    onPick: (event: Event & { currentTarget: HTMLInputElement }) => {
      const input = event.currentTarget;
      void open(input.files?.[0]).then(() => (input.value = "")); // the same file can be picked again
    },
  };
}

function saveTrace(store: TraceStore): void {
  save(new Blob(writeTrace(store.toTrace()), { type: "application/jsonl" }), "lyn-trace.jsonl");
}

function saveView(root: HTMLElement, state: AttentionState, title: string, legend: Panels["legend"]): void {
  const map = root.querySelector("canvas");
  const { tokens, header } = state.store.value;
  savePicture(
    map ?? drawText({
      title: `${header.model_type} · ${title}`,
      tokens,
      query: state.query.value,
      shades: state.shades.value,
      legend: legend[state.layer.value === null ? "count" : "score"],
      colours: colours(root),
    }),
    map ? "lyn-map.png" : "lyn-attention.png",
  );
}
