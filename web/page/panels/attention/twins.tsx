// The same text twice: what the indexer selected, and what dense attention weighs. And a line about one token of it.

import { useRef } from "preact/hooks";
import { ranks } from "../../trace/measures.ts";
import type { PanelProps } from "../props.ts";
import { catalogue } from "../text.ts";
import { Legend } from "./legend.tsx";
import type { AttentionState } from "./state.ts";
import { TokenText, visible } from "./token-text.tsx";

interface Props {
  state: AttentionState;
  props: PanelProps;
}

/** One line about the token under the pointer, once the query has been picked. */
export function Detail({ state, props }: Props) {
  const { attention: words } = catalogue(props.language.value);
  const { integer, decimal, percent } = props.format.value;
  const at = state.pinned.value === null ? null : state.pointed.value;
  const selection = state.selection.value;
  if (at === null || !selection || at >= selection.contextLength)
    return (
      <p class="detail">
        <small>{words.hint}</small>
      </p>
    );
  const piece = visible(state.store.value.tokens[at]?.text ?? "").replace("\n", "");
  const place = selection.indices.indexOf(at);
  const score = selection.scores[place];
  const [position, of] = [integer(at), integer(selection.indices.length)];
  const read =
    place < 0
      ? words.detailUnread(position, piece)
      : score === undefined
        ? words.token(position, piece)
        : state.layer.value === null
          ? words.detailCount(position, piece, integer(score), integer(state.row.value.length))
          : words.detail(position, piece, decimal(score, 2), integer((ranks(selection)[place] ?? 0) + 1), of);
  const dense = selection.dense?.[at];
  return (
    <p class="detail" dir="auto">
      {read}
      {dense !== undefined && words.detailDense(percent(dense, 2))}
    </p>
  );
}

/** They scroll as one. */
export function Twins({ state, props }: Props) {
  const text = catalogue(props.language.value);
  const words = text.attention;
  const box = useRef<HTMLDivElement>(null);
  const together = (moved: HTMLElement) => {
    for (const other of box.current?.querySelectorAll(".token-text") ?? []) {
      if (other !== moved && other.scrollTop !== moved.scrollTop) other.scrollTop = moved.scrollTop;
    }
  };
  if (!state.selection.value?.dense) {
    return state.file.value ? (
      <p class="note">{words.noDense}</p>
    ) : (
      <TokenText state={state} shades={state.shades} label={words.textLabel} />
    );
  }
  // Where nothing was selected there is one text to show.
  const one = state.unselective.value;
  return (
    <>
      <div class={one ? "" : "twins"} ref={box}>
        <div hidden={one}>
          <h4>{words.indexerLabel}</h4>
          <TokenText
            state={state}
            shades={state.shades}
            label={`${words.indexerLabel}. ${words.textLabel}`}
            onScroll={together}
          />
          <Legend text={text.legend} kind={state.meaning.value} />
        </div>
        <div>
          <h4>{words.denseLabel}</h4>
          <TokenText
            state={state}
            shades={state.denseShades}
            label={`${words.denseLabel}. ${words.textLabel}`}
            onScroll={together}
          />
          <Legend text={text.legend} kind="dense" />
        </div>
      </div>
      <Detail state={state} props={props} />
    </>
  );
}
