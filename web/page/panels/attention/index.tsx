// Which tokens each token read: as shaded text, as a map, beside dense attention, and as a table.

import { useEffect, useRef } from "preact/hooks";
import { writeTrace } from "../../trace/format.ts";
import type { TraceStore } from "../../trace/store.ts";
import type { PanelProps } from "../props.ts";
import { save } from "../save.ts";
import type { Panels } from "../text.en.ts";
import { catalogue } from "../text.ts";
import "../panels.css";
import "./attention.css";
import { Answers } from "./answers.tsx";
import { Missed, Shares } from "./beside.tsx";
import { Controls, Header, reading } from "./controls.tsx";
import { colours, Legend } from "./legend.tsx";
import { follow } from "./live.ts";
import { MapView } from "./map-view.tsx";
import { drawText, savePicture } from "./picture.ts";
import { Request } from "./request.tsx";
import { AttentionState } from "./state.ts";
import { TableView } from "./table-view.tsx";
import { TokenText } from "./token-text.tsx";
import { Detail, Twins } from "./twins.tsx";
import { useFile } from "./use-file.ts";

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
  const client = props.client.value;
  const elsewhere = client !== null && !client.trace;
  const missing = elsewhere && !state.file.value ? words.elsewhere : missingText(state, props, words);
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
          <button type="button" class="button small" onClick={() => state.show(null)}>
            {words.back}
          </button>
        </p>
      )}
      {drop.error.value && (
        <p class="note error" role="alert">
          {drop.error.value}
        </p>
      )}
      {missing ? (
        <p class="empty">{missing}</p>
      ) : (
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
            <Legend
              text={text.legend}
              kind={view === "map" && state.mapDense.value && dense ? "dense" : state.meaning.value}
            />
          )}
          {view !== "map" && view !== "table" && (
            <p class="legend keys">
              <span class="token-query">{words.keys.query}</span>
              <span class="shade-0">{words.keys.unread}</span>
              <span class="token-after">{words.keys.after}</span>
            </p>
          )}
          {view !== "table" && view !== "map" && dense && !state.unselective.value && (
            <div class="beside">
              <Shares
                state={state}
                text={words}
                format={props.format.value}
                growing={props.activity.value === "decode"}
              />
              <Missed state={state} text={words} format={props.format.value} />
            </div>
          )}
          {view === "both" && !state.file.value && <Answers props={props} />}
        </>
      )}
      <p class="actions">
        <label class="button file">
          {drop.reading.value ? words.opening : words.open}
          <input
            type="file"
            class="unseen"
            accept=".jsonl,.ndjson,.json"
            disabled={drop.reading.value}
            onChange={drop.onPick}
          />
        </label>
        {!store.empty && (
          <>
            <button type="button" class="button" onClick={() => saveTrace(store)}>
              {words.exportTrace}
            </button>
            {view !== "table" && (
              <button
                type="button"
                class="button"
                onClick={() => root.current && saveView(root.current, state, reading(state, props), text.legend)}
              >
                {words.exportPicture}
              </button>
            )}
          </>
        )}
      </p>
      {!state.file.value && !elsewhere && typeof props.model.value?.index_topk === "number" && (
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

/** Why there is nothing to see; null: there is. */
function missingText(state: AttentionState, props: PanelProps, words: Panels["attention"]): string | null {
  if (state.length.value > 0) return null;
  return props.model.value ? words.noText : words.noModel;
}

function saveTrace(store: TraceStore): void {
  save(new Blob(writeTrace(store.toTrace()), { type: "application/jsonl" }), "lyn-trace.jsonl");
}

function saveView(root: HTMLElement, state: AttentionState, title: string, legend: Panels["legend"]): void {
  const map = root.querySelector("canvas");
  const { tokens, header } = state.store.value;
  savePicture(
    map ??
      drawText({
        title: `${header.model_type} · ${title}`,
        tokens,
        query: state.query.value,
        shades: state.shades.value,
        legend: legend[state.meaning.value],
        colours: colours(root),
      }),
    map ? "lyn-map.png" : "lyn-attention.png",
  );
}
