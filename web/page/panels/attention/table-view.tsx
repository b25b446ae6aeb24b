// The same reading as a table: what a screen reader hears, and what gives exact numbers to everyone.

import { useSignal } from "@preact/signals";
import type { Format } from "../../text/format.ts";
import type { Token } from "../../trace/store.ts";
import type { Panels } from "../text.en.ts";
import type { AttentionState } from "./state.ts";
import { visible } from "./token-text.tsx";

const PAGE = 50;

interface Row {
  position: number;
  text: string;
  score: number | null;
  layers: number;
  dense: number | null;
}

type Column = keyof Row;

/** One row for each token that the query can see. */
export function tableRows(state: Pick<AttentionState, "row" | "selection" | "layer">, tokens: readonly Token[]): Row[] {
  const selection = state.selection.value;
  if (!selection) return [];
  const rows = Array.from(
    { length: selection.contextLength },
    (_, position): Row => ({
      position,
      text: tokens[position]?.text ?? "",
      score: null,
      layers: 0,
      dense: selection.dense?.[position] ?? null,
    }),
  );
  selection.indices.forEach((index, place) => {
    const row = rows[index];
    // The sum over layers has counts for scores, and those have a column of their own.
    if (row && state.layer.value !== null) row.score = selection.scores[place] ?? null;
  });
  for (const { indices } of state.row.value) {
    for (const index of indices) {
      const row = rows[index];
      if (row) row.layers += 1;
    }
  }
  return rows;
}

/** Rows by a column; what is missing comes last whichever way. */
export function sortRows(rows: Row[], column: Column, descending: boolean): Row[] {
  const sign = descending ? -1 : 1;
  return rows.toSorted((a, b) => {
    const [x, y] = [a[column], b[column]];
    if (x === null || y === null) return Number(x === null) - Number(y === null) || a.position - b.position;
    const order = typeof x === "string" ? x.localeCompare(String(y)) : x - Number(y);
    return order * sign || a.position - b.position;
  });
}

export function TableView({
  state,
  text,
  format,
}: {
  state: AttentionState;
  text: Panels["attention"];
  format: Format;
}) {
  const single = state.layer.value !== null;
  const sort = useSignal<{ column: Column | null; descending: boolean }>({ column: null, descending: true });
  const page = useSignal(0);
  const rows = tableRows(state, state.store.value.tokens);
  const columns: Column[] = [
    "text",
    "position",
    ...(single ? ["score" as const] : []),
    "layers",
    ...(state.selection.value?.dense ? ["dense" as const] : []),
  ];
  const chosenColumn = sort.value.column;
  const column = chosenColumn && columns.includes(chosenColumn) ? chosenColumn : single ? "score" : "layers";
  const sorted = sortRows(rows, column, sort.value.descending);
  const pages = Math.max(1, Math.ceil(rows.length / PAGE));
  const at = Math.min(page.value, pages - 1);
  const shown = sorted.slice(at * PAGE, (at + 1) * PAGE);
  const number = (value: number | null, digits: number) => (value === null ? "–" : format.decimal(value, digits));
  const chosen = new Set(state.selection.value?.indices);
  return (
    <div class="readings">
      <div class="scroll" role="region" tabIndex={0} aria-label={text.tableCaption(format.integer(state.query.value))}>
        <table aria-rowcount={rows.length + 1}>
          <caption>{text.tableCaption(format.integer(state.query.value))}</caption>
          <thead>
            <tr>
              {columns.map((name) => (
                <th
                  key={name}
                  scope="col"
                  class={name === "text" ? "" : "number"}
                  aria-sort={name === column ? (sort.value.descending ? "descending" : "ascending") : undefined}
                >
                  <button
                    type="button"
                    class="bare"
                    onClick={() => {
                      sort.value = {
                        column: name,
                        descending: name === column ? !sort.value.descending : name !== "text",
                      };
                      page.value = 0;
                    }}
                  >
                    {text.columns[name]}
                    <span aria-hidden="true">{name === column ? (sort.value.descending ? " ↓" : " ↑") : " ↕"}</span>
                  </button>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {shown.map((row, place) => (
              <tr
                key={row.position}
                aria-rowindex={at * PAGE + place + 2}
                class={chosen.has(row.position) ? "chosen" : ""}
              >
                <th scope="row" dir="auto">
                  {visible(row.text)}
                </th>
                <td class="number">{format.integer(row.position)}</td>
                {single && <td class="number">{number(row.score, 3)}</td>}
                <td class="number">{format.integer(row.layers)}</td>
                {columns.includes("dense") && <td class="number">{number(row.dense, 5)}</td>}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {pages > 1 && (
        <p class="pages">
          <button type="button" class="button small" disabled={at === 0} onClick={() => (page.value = at - 1)}>
            {text.before}
          </button>
          <span>
            {text.rows(
              format.integer(at * PAGE + 1),
              format.integer(at * PAGE + shown.length),
              format.integer(rows.length),
            )}
          </span>
          <button type="button" class="button small" disabled={at === pages - 1} onClick={() => (page.value = at + 1)}>
            {text.next}
          </button>
        </p>
      )}
    </div>
  );
}
