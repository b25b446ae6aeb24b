// How fast answers come: the one in the making as a line, the finished ones as a table, and what that means for memory.

import { useMemo } from "preact/hooks";
import { catalogue } from "./text.ts";
import type { PanelProps } from "./props.ts";
import "./panels.css";
import { present, rates } from "./speed/rate.ts";
import { RateLine } from "./speed/rate-line.tsx";

/** Answers in the table: the last ones. */
const SHOWN = 3;

export default function SpeedPanel(props: PanelProps) {
  const { speed: words } = catalogue(props.language.value);
  const format = props.format.value;
  const tokens = props.tokens.value;
  const runs = props.runs.value;
  const times = useMemo(() => tokens.map(({ at }) => at), [tokens]);
  const line = useMemo(() => rates(times), [times]);
  const writing = props.activity.value === "decode";
  const last = runs.at(-1)?.timings;
  const decode = writing ? present(times) : (last?.predicted_per_second ?? null);
  const rate = useMemo(
    () => (value: number) => format.decimal(value, Number.isInteger(value) || value >= 100 ? 0 : 1),
    [format],
  );
  const most = Math.max(...line.map((point) => point.rate), 0);
  if (times.length === 0 && !last) {
    return (
      <section class="panel speed" aria-label={words.title}>
        <p class="empty">{words.idle}</p>
      </section>
    );
  }
  const perSecond = (value: number | null | undefined) =>
    value === null || value === undefined ? "–" : `${rate(value)} ${words.unit}`;
  return (
    <section class="panel speed" aria-label={words.title}>
      <dl class="figures">
        <div>
          <dt>{words.decode}</dt>
          <dd>{perSecond(decode)}</dd>
        </div>
        <div>
          <dt>{words.prefill}</dt>
          <dd>{perSecond(writing ? null : last?.prompt_per_second)}</dd>
        </div>
        <div>
          <dt>{words.first}</dt>
          <dd>{writing || !last ? "–" : format.duration(last.first_token_ms)}</dd>
        </div>
      </dl>
      {line.length > 0 && (
        <RateLine
          line={line}
          label={words.chart(perSecond(decode), perSecond(most))}
          rate={rate}
          time={format.duration}
        />
      )}
      {decode !== null && <Bandwidth props={props} rate={decode} />}
      {runs.length > 0 && <Runs props={props} />}
    </section>
  );
}

/** What a token reads at most, by the plan. */
function Bandwidth({ props, rate }: { props: PanelProps; rate: number }) {
  const { speed: words } = catalogue(props.language.value);
  const { bytes } = props.format.value;
  const plan = props.plan.value;
  if (!plan || plan.context === 0) return null;
  const filled = Math.min(props.used.value, plan.context) / plan.context;
  const read = plan.weights_bytes + plan.cache_bytes * filled;
  return (
    <section class="bandwidth">
      <h3>{words.bandwidth}</h3>
      <p>
        {words.read(bytes(read))} · {words.rate(bytes(read * rate))}
      </p>
      <p>
        <small>{words.bandwidthMeaning}</small>
      </p>
    </section>
  );
}

/** The last answers beside each other, newest first: a column for each, so that they fit a narrow panel. */
function Runs({ props }: { props: PanelProps }) {
  const { speed: words } = catalogue(props.language.value);
  const { integer, decimal, duration } = props.format.value;
  const runs = props.runs.value;
  const shown = runs
    .slice(-SHOWN)
    .map((run, place) => ({ ...run, number: Math.max(0, runs.length - SHOWN) + place + 1 }))
    .reverse();
  const rows: [string, (run: (typeof shown)[number]) => string][] = [
    [words.rows.attention, ({ attention }) => words.attention[attention]],
    [words.rows.prompt, ({ timings }) => integer(timings.prompt_n + timings.cache_n)],
    [words.rows.cached, ({ timings }) => integer(timings.cache_n)],
    [words.rows.prefill, ({ timings }) => decimal(timings.prompt_per_second)],
    [words.rows.first, ({ timings }) => duration(timings.first_token_ms)],
    [words.rows.written, ({ timings }) => integer(timings.predicted_n)],
    [words.rows.decode, ({ timings }) => decimal(timings.predicted_per_second)],
    [words.rows.time, ({ timings }) => duration(timings.prompt_ms + timings.predicted_ms)],
  ];
  return (
    <table>
      <caption>{words.last}</caption>
      <thead>
        <tr>
          <td />
          {shown.map(({ number }) => (
            <th key={number} scope="col" class="number">
              {words.answer(integer(number))}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map(([name, cell]) => (
          <tr key={name}>
            <th scope="row">{name}</th>
            {shown.map((run) => (
              <td key={run.number} class="number">
                {cell(run)}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}
