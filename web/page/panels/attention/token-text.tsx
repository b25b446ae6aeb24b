// The whole context as text, each token shaded by how it was read. Preact makes the spans once per token; shades are
// set on them directly, and only where they change: with 8,000 tokens under a moving pointer nothing else is quick.

import { effect, type ReadonlySignal } from "@preact/signals";
import { Component } from "preact";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import type { Token } from "../../trace/store.ts";
import type { AttentionState } from "./state.ts";

const CHUNK = 256;
/** Beside the shades: what a span may be drawn as. */
const [QUERY, AFTER, UNKNOWN] = [100, 101, 102];
/** Tokens that Page Up and Page Down pass over. */
const PAGE = 16;

/** A token's text with what cannot be seen made visible. */
export function visible(text: string): string {
  if (text === "") return "◌";
  if (text.trim() === "" && !text.includes("\n")) return text.replaceAll("\t", "⇥").replaceAll(/ /g, "␣");
  return text
    .replaceAll("\r", "")
    .replaceAll("\n", "↵\n")
    .replaceAll("\t", "⇥\t")
    .replaceAll(/[\u0000-\u0008\u000b-\u001f]/g, (control) => String.fromCharCode(0x2400 + control.charCodeAt(0)));
}

/** Tokens change only at the end of a text, so a chunk is drawn again only when its own tokens do. */
class Chunk extends Component<{ tokens: readonly Token[]; start: number }> {
  override shouldComponentUpdate({ tokens }: { tokens: readonly Token[] }): boolean {
    const old = this.props.tokens;
    return tokens.length !== old.length || tokens.some((token, offset) => token !== old[offset]);
  }

  override render() {
    const { tokens, start } = this.props;
    return (
      <span>
        {tokens.map((token, offset) => (
          <span key={offset} data-at={start + offset}>
            {visible(token.text)}
          </span>
        ))}
      </span>
    );
  }
}

interface Props {
  state: AttentionState;
  shades: ReadonlySignal<Uint8Array>;
  label: string;
  /** Called with the element when it scrolls, so that its twin can follow. */
  onScroll?: (element: HTMLElement) => void;
}

export function TokenText({ state, shades, label, onScroll }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const { tokens } = state.store.value;
  state.length.value;
  state.store.value.revision.value;

  /** Whether the end is in sight: only then does the text move on by itself. */
  const atEnd = useRef(true);
  const drawn = useRef<{ spans: HTMLElement[]; codes: Uint8Array }>({ spans: [], codes: new Uint8Array(0) });
  useLayoutEffect(() => {
    const spans = [...(box.current?.querySelectorAll<HTMLElement>("[data-at]") ?? [])];
    const old = drawn.current;
    // A growing text keeps its spans, and what they wear: only those that are new need a shade.
    const codes = Uint8Array.from(spans, (span, at) => (span === old.spans[at] ? (old.codes[at] ?? UNKNOWN) : UNKNOWN));
    drawn.current = { spans, codes };
    shade();
    reveal();
  }, [tokens, tokens.length]);
  // Texts that come after their tokens make the box grow too.
  useLayoutEffect(() => {
    if (state.pinned.peek() === null) reveal();
  });

  function shade() {
    const { spans, codes } = drawn.current;
    const query = state.query.peek();
    const row = shades.peek();
    spans.forEach((span, position) => {
      const code = position === query ? QUERY : position > query ? AFTER : (row[position] ?? 0);
      if (codes[position] === code) return;
      codes[position] = code;
      span.className = code === QUERY ? "token-query" : code === AFTER ? "token-after" : `shade-${code}`;
    });
  }

  /** Keeps the query in sight when it was picked, or when it is the newest and the reader has not scrolled away. */
  function reveal() {
    const element = box.current;
    const span = drawn.current.spans[state.query.peek()];
    if (!element || !span || state.pointed.peek() !== null) return;
    const top = span.offsetTop - element.offsetTop;
    const below = top + span.offsetHeight - element.scrollTop - element.clientHeight;
    const newest = state.pinned.peek() === null;
    if (newest ? !atEnd.current : below <= 0 && top >= element.scrollTop) return;
    element.scrollTop = newest ? element.scrollHeight : top - element.clientHeight / 2;
  }

  useEffect(
    () =>
      effect(() => {
        shades.value;
        state.query.value;
        shade();
      }),
    [shades],
  );
  useEffect(
    () =>
      effect(() => {
        state.query.value;
        reveal();
      }),
    [],
  );
  useEffect(
    () =>
      effect(() => {
        if (state.jumps.value === 0) return;
        atEnd.current = true;
        reveal();
      }),
    [],
  );

  const at = (event: Event) => {
    const span = event.target instanceof Element ? event.target.closest<HTMLElement>("[data-at]") : null;
    return span ? Number(span.dataset.at) : null;
  };
  const moves: Record<string, number> = {
    ArrowLeft: -1,
    ArrowRight: 1,
    ArrowUp: -PAGE,
    ArrowDown: PAGE,
    PageUp: -PAGE * 8,
    PageDown: PAGE * 8,
    Home: -Infinity,
    End: Infinity,
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const move = moves[event.key];
    if (event.key === "Escape" && state.pinned.value !== null) state.newest();
    else if (move !== undefined) state.pick(state.query.value + move);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };

  const chunks = [];
  for (let start = 0; start < tokens.length; start += CHUNK) {
    chunks.push(<Chunk key={start} tokens={tokens.slice(start, start + CHUNK)} start={start} />);
  }
  return (
    <div
      ref={box}
      class="token-text"
      dir="auto"
      role="group"
      tabIndex={0}
      aria-label={label}
      onPointerMove={(event) => {
        // Between lines the last token stays: a shade that flickers cannot be read.
        const position = event.pointerType === "mouse" ? at(event) : null;
        if (position !== null) state.pointed.value = position;
      }}
      onPointerLeave={() => (state.pointed.value = null)}
      onClick={(event) => {
        const position = at(event);
        if (position !== null) state.pick(position === state.pinned.value ? null : position);
      }}
      onKeyDown={onKeyDown}
      onScroll={({ currentTarget: element }) => {
        atEnd.current = element.scrollHeight - element.scrollTop - element.clientHeight < 80;
        onScroll?.(element);
      }}
    >
      {chunks}
    </div>
  );
}
