// The whole context as text, each token shaded by how it was read. Preact makes the spans once per token; shades are
// set on them directly, and only where they change: with 8,000 tokens under a moving pointer nothing else is quick.

import { effect, type ReadonlySignal } from "@preact/signals";
import { Component } from "preact";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import type { Token } from "../../trace/store.ts";
import type { AttentionState } from "./state.ts";

const CHUNK = 256;
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
        {tokens.map((token, offset) => <span key={offset} data-at={start + offset}>{visible(token.text)}</span>)}
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

  const drawn = useRef<{ spans: HTMLElement[]; codes: Uint8Array }>({ spans: [], codes: new Uint8Array(0) });
  useLayoutEffect(() => {
    const spans = [...(box.current?.querySelectorAll<HTMLElement>("[data-at]") ?? [])];
    drawn.current = { spans, codes: new Uint8Array(spans.length).fill(255) };
    for (const span of spans) span.className = "";
    shade();
  }, [tokens, tokens.length]);

  function shade() {
    const { spans, codes } = drawn.current;
    const query = state.query.peek();
    const row = shades.peek();
    spans.forEach((span, position) => {
      const code = position === query ? 9 : position > query ? 10 : (row[position] ?? 0);
      if (codes[position] === code) return;
      codes[position] = code;
      span.className = code === 9 ? "token-query" : code === 10 ? "token-after" : `shade-${code}`;
    });
  }

  useEffect(() =>
    effect(() => {
      shades.value;
      state.query.value;
      shade();
    }), [shades]);

  // The query stays in sight when keys or the slider move it, not when the pointer does.
  useEffect(() =>
    effect(() => {
      const query = state.query.value;
      const element = box.current;
      const span = drawn.current.spans[query];
      if (!element || !span || state.pointed.peek() !== null) return;
      const top = span.offsetTop - element.offsetTop;
      if (top < element.scrollTop || top + span.offsetHeight > element.scrollTop + element.clientHeight) {
        element.scrollTop = top - element.clientHeight / 2;
      }
    }), []);

  const at = (event: Event) => {
    const span = event.target instanceof Element ? event.target.closest<HTMLElement>("[data-at]") : null;
    return span ? Number(span.dataset.at) : null;
  };
  const moves: Record<string, number> = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -PAGE, ArrowDown: PAGE, PageUp: -PAGE * 8,
    PageDown: PAGE * 8, Home: -Infinity, End: Infinity };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const move = moves[event.key];
    if (event.key === "Escape" && state.pinned.value !== null) state.pick(null);
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
      onPointerMove={(event) => event.pointerType === "mouse" && (state.pointed.value = at(event))}
      onPointerLeave={() => (state.pointed.value = null)}
      onClick={(event) => {
        const position = at(event);
        if (position !== null) state.pick(position === state.pinned.value ? null : position);
      }}
      onKeyDown={onKeyDown}
      onScroll={(event) => onScroll?.(event.currentTarget)}
    >
      {chunks}
    </div>
  );
}
