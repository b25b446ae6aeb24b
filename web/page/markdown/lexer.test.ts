import assert from "node:assert/strict";
import { test } from "node:test";
import { GrowingText, lex, safeHref, type Token } from "./lexer.ts";

const TEXT = `# Title

A paragraph with *emphasis*, \`code\` and $a^2$, which costs $5 or $6.

- one
- two

  still two

1. first

| a | b |
|---|---|
| 1 | 2 |

\`\`\`js
const x = "$not$ math";
\`\`\`

$$
\\frac12
$$

End <b>not HTML</b>.
`;

const shape = (tokens: Token[]) => tokens.map(({ type, raw }) => [type, raw]);

test("a text that grows letter by letter ends as the same blocks", () => {
  const growing = new GrowingText();
  let blocks: Token[] = [];
  for (let end = 1; end <= TEXT.length; end += 1) blocks = growing.blocks(TEXT.slice(0, end));
  assert.deepEqual(shape(blocks), shape(lex(TEXT)));
});

test("finished blocks stay the same objects", () => {
  const growing = new GrowingText();
  const before = growing.blocks("One.\n\nTwo.\n\nThr");
  const after = growing.blocks("One.\n\nTwo.\n\nThree.\n\nFour");
  assert.equal(after[0], before[0]);
  assert.equal(after[2], before[2]);
});

test("another text begins anew", () => {
  const growing = new GrowingText();
  growing.blocks("One.\n\nTwo.\n\nThree.");
  assert.deepEqual(shape(growing.blocks("Other.")), shape(lex("Other.")));
});

test("formulas are formulas, prices are not", () => {
  const inline = (source: string) => (lex(source)[0] as { tokens?: Token[] }).tokens?.map(({ type }) => type);
  assert.deepEqual(inline("so $a+b$ is"), ["text", "math", "text"]);
  assert.deepEqual(inline("from $5 to $6"), ["text"]);
  assert.deepEqual(inline("so \\(a\\) is"), ["text", "math", "text"]);
  assert.equal(lex("$$\na\n$$")[0]?.type, "math");
  assert.equal(lex("\\[a\\]")[0]?.type, "math");
});

test("links lead to the web or nowhere", () => {
  assert.equal(safeHref("https://example.org/a"), "https://example.org/a");
  for (const bad of [
    "javascript:alert(1)",
    " JaVaScRiPt:alert(1)",
    "data:text/html,x",
    "vbscript:x",
    "/relative",
    "//host",
    "blob:https://a/b",
    "file:///etc",
  ])
    assert.equal(safeHref(bad), null, bad);
});
