// The whole kernel suite in this browser: started by hand, stoppable, kernel by kernel as they are done.

import { useSignal } from "@preact/signals";
import type { ConformReport, KernelReport } from "lyn";
import { useEffect } from "preact/hooks";
import { Clock } from "../clock.tsx";
import { catalogue } from "../text.ts";
import type { PanelProps } from "../props.ts";
import { MOST_BYTES, readReport } from "./read-report.ts";
import { byConcern } from "./report.ts";

export interface Run {
  report: ConformReport;
  /** Name of the file that it came from; absent where it was run here. */
  file?: string;
}

interface Running {
  since: number;
  stop: AbortController;
  kernels: KernelReport[];
}

interface Props {
  props: PanelProps;
  run: Run | null;
  onRun: (run: Run | null) => void;
}

export function Conformance({ props, run, onRun }: Props) {
  const { device: words } = catalogue(props.language.value);
  const format = props.format.value;
  const { integer, duration } = format;
  const running = useSignal<Running | null>(null);
  const stopped = useSignal(false);
  const unread = useSignal(false);
  useEffect(() => () => running.peek()?.stop.abort(), []);
  const client = props.client.value;

  const open = async (input: HTMLInputElement) => {
    const file = input.files?.[0];
    if (!file) return;
    const report = file.size <= MOST_BYTES ? readReport(await file.text()) : null;
    input.value = ""; // the same file can be picked again
    unread.value = report === null;
    if (report) onRun({ report, file: file.name });
  };
  const start = async () => {
    if (!client?.conform) return;
    const stop = new AbortController();
    running.value = { since: performance.now(), stop, kernels: [] };
    stopped.value = false;
    unread.value = false;
    try {
      const report = await client.conform({
        signal: stop.signal,
        onKernel: (kernel) => {
          if (running.value) running.value = { ...running.value, kernels: [...running.value.kernels, kernel] };
        },
      });
      onRun({ report });
      props.announce(report.passed ? words.allPassed : words.someFailed(integer(failed(report.kernels).length)));
    } catch (error) {
      if (stop.signal.aborted) stopped.value = true;
      else props.report(error);
    } finally {
      running.value = null;
    }
  };

  const now = running.value;
  const kernels = now ? now.kernels : run ? byConcern(run.report) : [];
  const latest = now?.kernels.at(-1);
  return (
    <section class="conformance">
      <h3>{words.conformance}</h3>
      <p>
        <small>{words.conformanceMeaning}</small>
      </p>
      {now ? (
        <p class="note">
          <Clock
            since={now.since}
            format={format}
            render={(time) =>
              latest ? words.runningAt(latest.kernel, integer(now.kernels.length), time) : words.running(time)
            }
          />
          <button type="button" class="button small" onClick={() => now.stop.abort()}>
            {words.stop}
          </button>
        </p>
      ) : (
        <p class="actions">
          <button
            type="button"
            class="button primary"
            disabled={!client?.conform || props.activity.value !== "idle"}
            onClick={() => void start()}
          >
            {run && !run.file ? words.again : words.run}
          </button>
          <label class="button file">
            {words.open}
            <input type="file" class="unseen" accept=".json" onChange={(event) => void open(event.currentTarget)} />
          </label>
          {client && !client.conform && <small>{words.unavailable}</small>}
          {client?.conform && (props.activity.value === "prefill" || props.activity.value === "decode") && (
            <small>{words.busy}</small>
          )}
          {stopped.value && <small>{words.stopped}</small>}
        </p>
      )}
      {unread.value && (
        <p class="note error" role="alert">
          {words.notReport}
        </p>
      )}
      {!now && run?.file && <p>{words.fromFile(run.file, run.report.adapter.name)}</p>}
      {!now && run && (
        <p class={run.report.passed ? "good" : "bad"}>
          <strong>
            {run.report.passed ? words.allPassed : words.someFailed(integer(failed(run.report.kernels).length))}
          </strong>
          {" · "}
          {words.summary(
            integer(run.report.kernels.length),
            integer(run.report.cases),
            duration(run.report.elapsed_ms),
          )}
        </p>
      )}
      {kernels.length > 0 && <Kernels props={props} kernels={kernels} />}
    </section>
  );
}

const failed = (kernels: readonly KernelReport[]) => kernels.filter(({ failures }) => failures.length > 0);

function Kernels({ props, kernels }: { props: PanelProps; kernels: readonly KernelReport[] }) {
  const { device: words } = catalogue(props.language.value);
  const { integer, percent } = props.format.value;
  const sum = kernels.reduce((sum, { cases }) => sum + cases, 0);
  return (
    <>
      <div class="scroll" role="region" tabIndex={0} aria-label={words.conformance}>
        <table>
          <thead>
            <tr>
              <th scope="col">{words.kernel}</th>
              <th scope="col" class="number">
                {words.cases}
              </th>
              <th scope="col" class="number">
                {words.worst}
              </th>
              <th scope="col">{words.verdict}</th>
            </tr>
          </thead>
          <tbody>
            {kernels.map(({ kernel, cases, worst, failures }) => (
              <tr key={kernel}>
                <th scope="row">{kernel}</th>
                <td class="number">{integer(cases)}</td>
                <td class="number">{percent(worst, 1)}</td>
                <td class={failures.length > 0 ? "bad" : "good"}>
                  {failures.length > 0 ? `✗ ${words.failed} (${integer(failures.length)})` : `✓ ${words.passed}`}
                </td>
              </tr>
            ))}
          </tbody>
          <tfoot>
            <tr>
              <th scope="row">{words.total}</th>
              <td class="number">{integer(sum)}</td>
              <td class="number">{percent(Math.max(...kernels.map(({ worst }) => worst)), 1)}</td>
              <td />
            </tr>
          </tfoot>
        </table>
      </div>
      {failed(kernels).map(({ kernel, failures }) => (
        <details key={kernel} class="note">
          <summary>{words.failuresOf(kernel)}</summary>
          <ul>
            {failures.slice(0, 20).map((failure) => (
              <li key={failure.case}>
                <code>{failure.case}</code>: {failure.found}
              </li>
            ))}
          </ul>
        </details>
      ))}
    </>
  );
}
