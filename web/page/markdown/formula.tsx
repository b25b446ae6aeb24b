// A formula as MathML, which browsers draw themselves. KaTeX is fetched with the first formula; until then, and where a
// formula has a mistake, its source stands there.
import { signal } from "@preact/signals";
import type { VNode } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { text } from "../text/index.ts";
import type { MathToken } from "./lexer.ts";

const katex = signal<typeof import("katex").default | null>(null);
let asked = false;

function fetchKatex(): void {
  if (asked) return;
  asked = true;
  import("katex").then(
    (module) => (katex.value = module.default),
    () => (asked = false),
  );
}

export function Formula({ token }: { token: MathToken }): VNode {
  const place = useRef<HTMLSpanElement>(null);
  const { formula, display } = token;
  const render = katex.value;
  useEffect(() => {
    fetchKatex();
    if (!render || !place.current) return;
    try {
      // Builds elements, not HTML. Sizes and expansions are bounded: a formula comes from a model.
      render.render(formula, place.current, {
        displayMode: display,
        output: "mathml",
        throwOnError: true,
        trust: false,
        maxSize: 20,
        maxExpand: 200,
      });
    } catch {
      place.current.textContent = formula;
      place.current.title = text.peek().message.formulaFailed;
    }
  }, [render, formula, display]);
  const Tag = display ? "div" : "span";
  return (
    <Tag class={display ? "formula formula-display" : "formula"} dir="ltr">
      <span ref={place}>{render ? null : formula}</span>
    </Tag>
  );
}
