// Dense attention beside the selection: how much of it the selected tokens hold in each layer, and what they miss.

import { useMemo } from "preact/hooks";
import type { Format } from "../../text/format.ts";
import { denseShare, mostMissed } from "../../trace/measures.ts";
import type { TraceStore } from "../../trace/store.ts";
import type { Panels } from "../text.en.ts";
import type { AttentionState } from "./state.ts";
import { visible } from "./token-text.tsx";

interface Props {
  state: AttentionState;
  text: Panels["attention"];
  format: Format;
}

/** Mean share of each layer over the tokens that could not read everything; absent where there are none. */
function means(store: TraceStore): Map<number, number> {
  const sums = new Map<number, [number, number]>();
  for (let position = 0; position < store.tokens.length; position += 1) {
    for (const selection of store.row(position)) {
      const share = selection.indices.length < selection.contextLength ? denseShare(selection) : null;
      if (share === null) continue;
      const [sum, count] = sums.get(selection.layer) ?? [0, 0];
      sums.set(selection.layer, [sum + share, count + 1]);
    }
  }
  return new Map([...sums].map(([layer, [sum, count]]) => [layer, sum / count]));
}

export function Shares({ state, text, format, growing }: Props & { growing: boolean }) {
  const store = state.store.value;
  // While tokens come the mean is taken again every 16 of them: it walks through the whole text.
  const version = growing && !state.file.value ? store.tokens.length >> 4 : store.revision.value;
  const mean = useMemo(() => means(store), [store, growing, version]);
  const rows = state.row.value.flatMap((selection) => {
    const share = denseShare(selection);
    return share === null ? [] : [{ layer: selection.layer, share }];
  });
  if (rows.length === 0) return null;
  return (
    <section class="shares">
      <h4>{text.sharesTitle}</h4>
      <p>
        <small>{text.sharesMeaning}</small>
      </p>
      <div class="scroll" role="region" tabIndex={0} aria-label={text.sharesTitle}>
        <table>
          <thead class="unseen">
            <tr>
              <th scope="col">{text.layer}</th>
              <th scope="col">{text.share}</th>
              <th scope="col">{text.meanShare}</th>
            </tr>
          </thead>
          <tbody>
            {rows.map(({ layer, share }) => {
              const average = mean.get(layer);
              return (
                <tr key={layer} class={layer === state.layer.value ? "chosen" : ""}>
                  <th scope="row">
                    <button
                      type="button"
                      class="bare"
                      aria-label={text.showLayer(format.integer(layer))}
                      aria-pressed={layer === state.layer.value}
                      onClick={() => (state.layer.value = layer)}
                    >
                      {format.integer(layer)}
                    </button>
                  </th>
                  <td class="bar-cell">
                    <div>
                      <span
                        class="bar"
                        style={{ "--part": `${share * 100}%`, "--mean": `${(average ?? -1) * 100}%` }}
                      />
                      <span class="number">{format.percent(share, 1)}</span>
                    </div>
                  </td>
                  <td class="number mean">{average === undefined ? "–" : `⌀ ${format.percent(average, 1)}`}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </section>
  );
}

export function Missed({ state, text, format }: Props) {
  const selection = state.selection.value;
  if (!selection?.dense) return null;
  const { tokens } = state.store.value;
  const missed = mostMissed(selection, 8);
  return (
    <section class="missed">
      <h4>{text.missedTitle}</h4>
      {missed.length === 0 ? (
        <p>
          <small>{text.missedNone}</small>
        </p>
      ) : (
        <table>
          <thead>
            <tr>
              <th scope="col">{text.columns.text}</th>
              <th scope="col" class="number">
                {text.columns.position}
              </th>
              <th scope="col" class="number">
                {text.weight}
              </th>
            </tr>
          </thead>
          <tbody>
            {missed.map(({ position, weight }) => (
              <tr key={position}>
                <th scope="row" dir="auto">
                  {visible(tokens[position]?.text ?? "")}
                </th>
                <td class="number">{format.integer(position)}</td>
                <td class="number">{format.percent(weight, 2)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}
