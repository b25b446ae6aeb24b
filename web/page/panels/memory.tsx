// The memory plan as a bar and as a table, and what another context would cost.

import { useSignal } from "@preact/signals";
import type { Plan } from "lyn";
import { useEffect, useId } from "preact/hooks";
import { catalogue } from "./text.ts";
import type { PanelProps } from "./props.ts";
import "./panels.css";
import { contextSteps, scalePlan } from "./memory/estimate.ts";

/** The page may let the engine plan other contexts; without that the panel estimates, and says so. */
export type MemoryProps = PanelProps & { planFor?: (context: number, signal: AbortSignal) => Promise<Plan> };

type Part = "weights" | "cache" | "scratch" | "free";

/** Bytes of each part; free only where the adapter's memory is known. */
function parts(plan: Plan): [Part, number][] {
  const free =
    plan.available_bytes === null
      ? []
      : [["free", Math.max(0, plan.available_bytes - plan.total_bytes)] as [Part, number]];
  return [["weights", plan.weights_bytes], ["cache", plan.cache_bytes], ["scratch", plan.scratch_bytes], ...free];
}

export default function MemoryPanel(props: MemoryProps) {
  const { memory: words } = catalogue(props.language.value);
  const { bytes, integer, decimal } = props.format.value;
  const plan = props.plan.value;
  const chosen = useSignal<number | null>(null);
  const asked = useSignal<Plan | null>(null);
  const context = chosen.value;
  const id = useId();
  useEffect(() => {
    chosen.value = null;
  }, [plan]);
  useEffect(() => {
    asked.value = null;
    if (context === null || !props.planFor) return;
    const stop = new AbortController();
    // Not for every step of a moving slider.
    const timer = setTimeout(() => {
      props.planFor?.(context, stop.signal).then(
        (plan) => (asked.value = plan),
        (error) => {
          if (!stop.signal.aborted) props.report(error);
        },
      );
    }, 150);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [context]);
  if (!plan)
    return (
      <section class="panel memory" aria-label={words.title}>
        <p class="empty">{words.none}</p>
      </section>
    );

  const planned = asked.value?.context === context ? asked.value : null;
  const next = context === null || context === plan.context ? null : (planned ?? scalePlan(plan, context));
  const shown = next ?? plan;
  const before = new Map(parts(plan));
  const limit = props.model.value?.max_position_embeddings ?? plan.context;
  const steps = contextSteps(limit, plan.context);
  const sum = Math.max(
    parts(shown).reduce((sum, [, size]) => sum + size, 0),
    1,
  );
  const elsewhere = props.client.value?.transport === "server";
  const signed = (difference: number) =>
    difference === 0 ? "–" : `${difference > 0 ? "+" : "−"}${bytes(Math.abs(difference))}`;
  const parameters =
    plan.parameters >= 1e9
      ? words.billions(decimal(plan.parameters / 1e9))
      : words.millions(decimal(plan.parameters / 1e6, 2));
  return (
    <section class="panel memory" aria-label={words.title}>
      <p>{words.model(plan.model_type, integer(plan.layers), parameters)}</p>
      <p class={`verdict verdict-${shown.fit}`}>
        <strong>{words.fit[shown.fit]}</strong>
        {shown.available_bytes === null && <small>{words.unknown}</small>}
      </p>
      <div
        class="plan-bar"
        role="img"
        aria-label={words.barLabel(
          parts(shown)
            .map(([part, size]) => `${words.parts[part]} ${bytes(size)}`)
            .join(", "),
        )}
      >
        {parts(shown).map(([part, size]) => (
          <span key={part} class={`part part-${part}`} style={{ flexGrow: String(size / sum) }} />
        ))}
      </div>
      <table>
        <thead>
          <tr>
            <th scope="col">{words.part}</th>
            <th scope="col" class="number">
              {words.size}
            </th>
            <th scope="col" class="number">
              {words.ofTotal}
            </th>
            <th scope="col" class="number">
              {words.change}
            </th>
          </tr>
        </thead>
        <tbody>
          {parts(shown).map(([part, size]) => (
            <tr key={part}>
              <th scope="row">
                <i class={`part part-${part}`} aria-hidden="true" />
                {words.parts[part]}
              </th>
              <td class="number">{bytes(size)}</td>
              <td class="number">{props.format.value.percent(size / sum)}</td>
              <td class="number">{signed(size - (before.get(part) ?? 0))}</td>
            </tr>
          ))}
        </tbody>
        <tfoot>
          <tr>
            <th scope="row">{words.total}</th>
            <td class="number">{bytes(shown.total_bytes)}</td>
            <td />
            <td class="number">{signed(shown.total_bytes - plan.total_bytes)}</td>
          </tr>
        </tfoot>
      </table>
      <p>
        <small>{words.perToken(bytes(plan.cache_bytes / Math.max(plan.context, 1)))}</small>
      </p>
      {elsewhere && <p class="note">{words.elsewhere}</p>}
      {steps.length > 1 && !elsewhere && (
        <div class="context">
          <div class="slider wide">
            <label for={id}>{words.context}</label>
            <input
              id={id}
              type="range"
              min={0}
              max={steps.length - 1}
              value={steps.indexOf(context ?? plan.context)}
              aria-valuetext={words.tokens(integer(shown.context))}
              onInput={(event) => (chosen.value = steps[Number(event.currentTarget.value)] ?? null)}
            />
            <output aria-live="off">{words.tokens(integer(shown.context))}</output>
          </div>
          <p>
            <small>
              {words.atMost(integer(limit))}
              {next && !planned && ` ${words.estimate}`}
            </small>
          </p>
          {next && (
            <p class="actions">
              <button
                type="button"
                class="button primary"
                disabled={props.activity.value !== "idle"}
                onClick={() => props.apply({ context: next.context })}
              >
                {words.apply}
              </button>
              <button type="button" class="button" onClick={() => (chosen.value = null)}>
                {words.undo}
              </button>
              <small>{words.applyMeaning}</small>
            </p>
          )}
        </div>
      )}
    </section>
  );
}
