// The adapter, what it can do, whether it computes right, and a report of that for others.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { ChatClient } from "../client.ts";
import { catalogue } from "./text.ts";
import type { PanelProps } from "./props.ts";
import "./panels.css";
import { Conformance, type Run } from "./device/conformance.tsx";
import { type DeviceFacts, mayHaveFasterGpu, reportMarkdown } from "./device/report.ts";
import { save } from "./save.ts";

/** The last run of the suite: it outlives the panel, which people close and open. */
const runs = new WeakMap<object, Run>();

export default function DevicePanel(props: PanelProps) {
  const { device: words } = catalogue(props.language.value);
  const { bytes, integer } = props.format.value;
  const adapter = props.adapter.value;
  const client = props.client.value;
  const check = props.selfCheck.value;
  const own = useSignal<Pick<DeviceFacts, "limits" | "features">>({ limits: {}, features: [] });
  const run = useSignal<Run | null>(runs.get(adapter ?? props.traceWanted) ?? null);
  useEffect(() => {
    if (client?.transport === "server") own.value = { limits: {}, features: [] };
    else void browserAdapter().then((facts) => (own.value = facts));
  }, [client]);
  useEffect(() => {
    run.value = runs.get(adapter ?? props.traceWanted) ?? null;
  }, [adapter]);
  if (!adapter)
    return (
      <section class="panel device" aria-label={words.title}>
        <p class="empty">{client ? words.host : words.none}</p>
      </section>
    );

  const yes = (value: boolean) => (value ? words.yes : words.no);
  const verdict = !check
    ? words.checkSkipped
    : !check.passed
      ? words.checkFailed
      : check.fromCache
        ? words.checkCached
        : words.checkPassed;
  const facts: [string, string, string?][] = [
    [words.name, adapter.name],
    [words.kind, words.kinds[adapter.kind]],
    [words.backend, adapter.backend],
    [words.driver, adapter.driver || "–"],
    [words.check, verdict, check ? (check.passed ? "good" : "bad") : ""],
    ...(client ? [[words.thread, words.threads[threadOf(client)]] as [string, string]] : []),
    [words.f16, yes(adapter.shader_f16)],
    [words.subgroups, adapter.subgroups[1] === 0 ? "–" : [...new Set(adapter.subgroups)].map(integer).join("–")],
    [words.timestamps, yes(adapter.timestamps)],
    [words.buffer, bytes(adapter.max_buffer_bytes)],
    [words.binding, bytes(adapter.max_binding_bytes)],
  ];
  const report = () =>
    reportMarkdown(
      {
        adapter,
        selfCheck: check,
        worker: client?.worker ?? null,
        agent: navigator.userAgent,
        ...own.value,
      },
      run.value && !run.value.file ? run.value.report : null,
    );
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(report());
      props.announce(words.copied);
    } catch {
      // Not every frame may write to the clipboard; a file always works.
      save(new Blob([report()], { type: "text/markdown" }), "lyn-report.md");
    }
  };
  const limits = Object.entries(own.value.limits);
  return (
    <section class="panel device" aria-label={words.title}>
      <dl>
        {facts.map(([name, value, mood]) => [
          <dt key={`${name} name`}>{name}</dt>,
          <dd key={name} class={mood}>
            {value}
          </dd>,
        ])}
      </dl>
      {adapter.kind === "software" && <p class="note">{words.software}</p>}
      {client?.transport !== "server" && mayHaveFasterGpu(navigator.userAgent, adapter.kind) && (
        <details class="note">
          <summary>{words.windowsTitle}</summary>
          <ol>
            {words.windows.map((step) => (
              <li key={step}>{step}</li>
            ))}
          </ol>
          <p>
            <small>{words.windowsWhy}</small>
          </p>
        </details>
      )}
      {limits.length > 0 && (
        <details>
          <summary>
            {words.limits} ({integer(limits.length)})
          </summary>
          <table>
            <tbody>
              {limits.map(([name, value]) => (
                <tr key={name}>
                  <th scope="row">{name}</th>
                  <td class="number">{integer(value)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </details>
      )}
      {own.value.features.length > 0 && (
        <details>
          <summary>
            {words.features} ({integer(own.value.features.length)})
          </summary>
          <ul class="features">
            {own.value.features.map((feature) => (
              <li key={feature}>{feature}</li>
            ))}
          </ul>
        </details>
      )}
      <Conformance
        props={props}
        run={run.value}
        onRun={(next) => {
          run.value = next;
          if (next) runs.set(adapter, next);
        }}
      />
      <p class="actions">
        <button type="button" class="button" onClick={() => void copy()}>
          {words.copy}
        </button>
        <button
          type="button"
          class="button"
          onClick={() => save(new Blob([report()], { type: "text/markdown" }), "lyn-report.md")}
        >
          {words.saveReport}
        </button>
      </p>
    </section>
  );
}

function threadOf({ transport, worker }: ChatClient): "worker" | "page" | "server" {
  return transport === "server" ? "server" : worker ? "worker" : "page";
}

/** What the browser itself offers; asking creates no device. */
async function browserAdapter(): Promise<Pick<DeviceFacts, "limits" | "features">> {
  try {
    const adapter = await navigator.gpu?.requestAdapter();
    const limits: Record<string, number> = {};
    // The limits live on the prototype, where Object.entries does not look.
    for (const name in adapter?.limits) {
      const value: unknown = Reflect.get(adapter.limits, name);
      if (typeof value === "number") limits[name] = value;
    }
    return { limits, features: [...(adapter?.features ?? [])].map(String).sort() };
  } catch {
    return { limits: {}, features: [] };
  }
}
