// The same prompt answered twice, once with each kind of attention, with the first token that differs marked. Both take
// the likeliest token each time, so that nothing but attention can make the difference.

import { useSignal } from "@preact/signals";
import type { Comparison, Result } from "lyn";
import { useEffect } from "preact/hooks";
import type { ChatClient } from "../../client.ts";
import { Clock } from "../clock.tsx";
import type { PanelProps } from "../props.ts";
import { catalogue } from "../text.ts";
import { visible } from "./token-text.tsx";

const MAX_TOKENS = 128;

interface Pieces {
  common: string;
  /** The first token that differs; empty where none does. */
  differing: string;
  rest: string;
}

/** An answer's text, cut where the other answer leaves it. */
export async function cut(result: Result, at: number | null, client: Pick<ChatClient, "detokenize">): Promise<Pieces> {
  if (at === null) return { common: result.text, differing: "", rest: "" };
  const common = await client.detokenize(Array.from(result.ids.slice(0, at)));
  const upTo = await client.detokenize(Array.from(result.ids.slice(0, at + 1)));
  // Control tokens are in the ids and not in the text; then the text is shown whole.
  if (!result.text.startsWith(common)) return { common: "", differing: "", rest: result.text };
  const differing = upTo.startsWith(common) ? upTo.slice(common.length) : "";
  return { common, differing, rest: result.text.slice(common.length + differing.length) };
}

export function Answers({ props }: { props: PanelProps }) {
  const { attention: words } = catalogue(props.language.value);
  const { integer, decimal } = props.format.value;
  const running = useSignal<{ since: number; stop: AbortController } | null>(null);
  const found = useSignal<{ of: Comparison; answers: [Result, Pieces][] } | null>(null);
  useEffect(() => () => running.peek()?.stop.abort(), []);
  const client = props.client.value;
  if (!client?.compare || !client.model.sparse || props.promptLength.value === 0) return null;

  const start = async () => {
    if (!client.compare) return;
    const stop = new AbortController();
    running.value = { since: performance.now(), stop };
    try {
      // Ids and not their text: control tokens that a text spells out are read as letters.
      const prompt = Uint32Array.from(props.ids.value.slice(0, props.promptLength.value));
      const options = { temperature: 0, maxTokens: MAX_TOKENS, signal: stop.signal };
      const of = await client.compare(prompt, { attention: "sparse" }, { attention: "dense" }, options);
      const answers = await Promise.all(
        [of.a, of.b].map(
          async (result): Promise<[Result, Pieces]> => [result, await cut(result, of.firstDifference, client)],
        ),
      );
      found.value = { of, answers };
    } catch (error) {
      if (!stop.signal.aborted) props.report(error);
    } finally {
      running.value = null;
    }
  };
  const difference = found.value?.of.firstDifference;
  return (
    <section class="answers">
      <h4>{words.answersTitle}</h4>
      {running.value ? (
        <p class="note">
          <Clock since={running.value.since} format={props.format.value} render={words.answering} />
          <button type="button" class="button small" onClick={() => running.value?.stop.abort()}>
            {words.stop}
          </button>
        </p>
      ) : (
        <p class="note">
          <button
            type="button"
            class="button small"
            disabled={props.activity.value !== "idle"}
            onClick={() => void start()}
          >
            {words.answer}
          </button>
          <small>{words.answerCost(integer(MAX_TOKENS))}</small>
        </p>
      )}
      {found.value && (
        <>
          <p>
            <output>
              {difference === null || difference === undefined ? words.same : words.differs(integer(difference + 1))}
            </output>
          </p>
          <div class="twins">
            {found.value.answers.map(([{ timings }, { common, differing, rest }], which) => (
              <div key={which}>
                <h5>
                  {which === 0 ? words.sparse : words.dense}
                  <small>
                    {words.answerSpeed(decimal(timings.predicted_per_second), integer(timings.predicted_n))}
                  </small>
                </h5>
                <p class="answer" dir="auto">
                  <span class="common">{common}</span>
                  {differing && <mark class="token-query">{visible(differing)}</mark>}
                  {rest}
                </p>
              </div>
            ))}
          </div>
        </>
      )}
    </section>
  );
}
