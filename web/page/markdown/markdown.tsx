// Markdown tokens as elements from a list: what is not in it becomes text. No HTML string exists anywhere, no image and
// no style is loaded, links go to http(s) only. A finished block is never drawn again.
import { Component, type ComponentChildren, type VNode } from "preact";
import { useRef } from "preact/hooks";
import { CopyButton } from "../views/copy.tsx";
import { text } from "../text/index.ts";
import { Formula } from "./formula.tsx";
import { GrowingText, safeHref, type MathToken, type Token, type Tokens } from "./lexer.ts";

export function Markdown({ source }: { source: string }): VNode {
  const growing = useRef<GrowingText | null>(null);
  growing.current ??= new GrowingText();
  const blocks = growing.current.blocks(source);
  return (
    <div class="markdown" dir="auto">
      {blocks.map((token, index) => (
        <Block key={index} token={token} />
      ))}
    </div>
  );
}

/** One block; drawn again only when its source has changed. */
class Block extends Component<{ token: Token }> {
  override shouldComponentUpdate({ token }: { token: Token }): boolean {
    return token.raw !== this.props.token.raw || token.type !== this.props.token.type;
  }
  override render({ token }: { token: Token }): ComponentChildren {
    return block(token);
  }
}

function block(token: Token): ComponentChildren {
  const { type } = token;
  if (type === "space" || type === "def") return null;
  if (type === "hr") return <hr />;
  if (type === "paragraph") return <p dir="auto">{inline(token.tokens)}</p>;
  if (type === "text") return token.tokens ? inline(token.tokens) : plain(token);
  if (type === "heading") return heading(token as Tokens.Heading);
  if (type === "blockquote") return <blockquote>{blocks(token.tokens)}</blockquote>;
  if (type === "code") return <Code token={token as Tokens.Code} />;
  if (type === "list") return list(token as Tokens.List);
  if (type === "table") return table(token as Tokens.Table);
  if (type === "math") return <Formula token={token as unknown as MathToken} />;
  return <p dir="auto">{token.raw}</p>;
}

const blocks = (tokens: Token[] | undefined): ComponentChildren => tokens?.map(block);
const inline = (tokens: Token[] | undefined): ComponentChildren => tokens?.map(span);

function span(token: Token): ComponentChildren {
  const { type } = token;
  if (type === "text") return token.tokens ? inline(token.tokens) : plain(token);
  if (type === "escape") return plain(token);
  if (type === "strong") return <strong>{inline(token.tokens)}</strong>;
  if (type === "em") return <em>{inline(token.tokens)}</em>;
  if (type === "del") return <del>{inline(token.tokens)}</del>;
  if (type === "codespan") return <code dir="ltr">{plain(token)}</code>;
  if (type === "br") return <br />;
  if (type === "link") return link(token as Tokens.Link);
  if (type === "image") return <Image token={token as Tokens.Image} />;
  if (type === "math") return <Formula token={token as unknown as MathToken} />;
  return token.raw;
}

/** The words of a token without children. The lexer leaves entities as they were written. */
function plain(token: Token): string {
  const { text: words } = token as Tokens.Text;
  return typeof words === "string" ? entities(words) : token.raw;
}

const ENTITIES: Record<string, string> = {
  amp: "&",
  lt: "<",
  gt: ">",
  quot: '"',
  nbsp: "\u00a0",
  copy: "©",
  hellip: "…",
  ndash: "–",
  mdash: "—",
};

function entities(words: string): string {
  return words.replace(/&(?:#(\d{1,7})|#x([\da-f]{1,6})|([a-z]+));/gi, (whole, decimal, hex, name) => {
    if (name) return ENTITIES[name as string] ?? whole;
    const code = decimal ? Number(decimal) : Number.parseInt(hex as string, 16);
    return code > 0 && code <= 0x10ffff && !(code >= 0xd800 && code < 0xe000) ? String.fromCodePoint(code) : whole;
  });
}

function heading(token: Tokens.Heading): VNode {
  // The page's own headings come first: an answer's begin at the third level.
  const Tag = (["h3", "h4", "h5", "h6"] as const)[Math.min(token.depth - 1, 3)] ?? "h6";
  return <Tag dir="auto">{inline(token.tokens)}</Tag>;
}

function list(token: Tokens.List): VNode {
  const items = token.items.map((item, index) => (
    <li key={index} dir="auto">
      {item.task ? (
        <input type="checkbox" checked={item.checked ?? false} disabled aria-label={item.text.slice(0, 80)} />
      ) : null}
      {blocks(item.tokens.filter((part) => part.type !== "checkbox"))}
    </li>
  ));
  if (!token.ordered) return <ul>{items}</ul>;
  return <ol start={typeof token.start === "number" ? token.start : 1}>{items}</ol>;
}

function table(token: Tokens.Table): VNode {
  const align = (index: number): string | undefined => {
    const side = token.align[index];
    return side ? `align-${side}` : undefined;
  };
  return (
    <div class="table" tabIndex={0} role="region" aria-label={token.header.map((cell) => cell.text).join(", ")}>
      <table>
        <thead>
          <tr>
            {token.header.map((cell, index) => (
              <th key={index} class={align(index)} scope="col" dir="auto">
                {inline(cell.tokens)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {token.rows.map((row, place) => (
            <tr key={place}>
              {row.map((cell, index) => (
                <td key={index} class={align(index)} dir="auto">
                  {inline(cell.tokens)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function link(token: Tokens.Link): ComponentChildren {
  const href = safeHref(token.href);
  if (!href) return inline(token.tokens);
  return (
    <a href={href} target="_blank" rel="noopener noreferrer">
      {inline(token.tokens)}
    </a>
  );
}

/** An image is told, not shown: loading it would tell somebody that it was loaded. */
function Image({ token }: { token: Tokens.Image }): VNode {
  return (
    <span class="image">
      [{text.value.message.image}: {token.text} {token.href}]
    </span>
  );
}

function Code({ token }: { token: Tokens.Code }): VNode {
  const language = /^[\w+#.-]{1,30}/.exec(token.lang ?? "")?.[0] ?? "";
  return (
    <div class="code">
      <div class="code-head">
        <span>{language}</span>
        <CopyButton label={text.value.message.copyCode} content={() => token.text} />
      </div>
      <pre dir="ltr" tabIndex={0} aria-label={language || "code"}>
        <code>{token.text}</code>
      </pre>
    </div>
  );
}
