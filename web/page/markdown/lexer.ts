// Markdown as tokens, never as HTML. Text that is still growing is read again only from its last unfinished block on.
import { Marked, type Token, type Tokens, type TokenizerAndRendererExtension } from "marked";

export interface MathToken {
  type: "math";
  raw: string;
  formula: string;
  display: boolean;
}

const BLOCK = /^ {0,3}(?:\$\$([\s\S]+?)\$\$|\\\[([\s\S]+?)\\\])[ \t]*(?:\n|$)/;
// `$…$` only where a formula is meant: "$5 and $6" has a space before the second sign, or a digit after it.
const INLINE = /^(?:\$\$((?:\\.|[^\\$])+?)\$\$|\\\(([\s\S]+?)\\\)|\$(?!\s)((?:\\.|[^\\$\n])+?)(?<![\s\\])\$(?!\d))/;

const math = (level: "block" | "inline"): TokenizerAndRendererExtension => ({
  name: level === "block" ? "mathBlock" : "mathInline",
  level,
  // Where such a formula may begin: a paragraph or a text is cut there.
  start: (source) => {
    const at = level === "block" ? source.search(/(?<=\n) {0,3}(?:\$\$|\\\[)/) : source.search(/\$|\\\(/);
    return at < 0 ? undefined : at;
  },
  tokenizer(source) {
    const found = (level === "block" ? BLOCK : INLINE).exec(source);
    if (!found) return undefined;
    const formula = (found[1] ?? found[2] ?? found[3] ?? "").trim();
    const display = level === "block" || found[1] !== undefined;
    return { type: "math", raw: found[0], formula, display } satisfies MathToken;
  },
});

const marked = new Marked({ gfm: true, extensions: [math("block"), math("inline")] });

export type { Token, Tokens };

/** All blocks of a text. */
export function lex(source: string): Token[] {
  return marked.lexer(source);
}

/** Blocks of a text that grows at its end. Blocks before the last stay as they are: the same objects. */
export class GrowingText {
  #source = "";
  #finished: Token[] = [];
  #offset = 0;

  blocks(source: string): Token[] {
    if (!source.startsWith(this.#source)) {
      this.#finished = [];
      this.#offset = 0;
    }
    this.#source = source;
    const rest = lex(source.slice(this.#offset));
    // Only the last block can still change by what follows (a list goes on after a blank line, a paragraph may become
    // a heading or a table); blank space belongs to no block.
    let last = rest.length - 1;
    while (last > 0 && rest[last]?.type === "space") last -= 1;
    const done = rest.slice(0, Math.max(0, last));
    const length = done.reduce((sum, token) => sum + token.raw.length, 0);
    // The lexer turns tabs and line ends into others; where lengths disagree nothing is cut off.
    if (length > 0 && source.startsWith(done.map((token) => token.raw).join(""), this.#offset)) {
      this.#finished.push(...done);
      this.#offset += length;
      return [...this.#finished, ...rest.slice(done.length)];
    }
    return [...this.#finished, ...rest];
  }
}

/** Where a link may lead; null: nowhere. */
export function safeHref(href: string): string | null {
  try {
    const { protocol, href: whole } = new URL(href);
    return protocol === "https:" || protocol === "http:" ? whole : null;
  } catch {
    return null;
  }
}
