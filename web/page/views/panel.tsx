// The right side: four tabs, and the panel behind the one that is chosen.
import { useSignal } from "@preact/signals";
import type { VNode } from "preact";
import { useEffect } from "preact/hooks";
import { applySettings } from "../app/models.ts";
import * as known from "../app/signals.ts";
import type { PanelName } from "../app/signals.ts";
import type { Panel, PanelProps } from "../panels/props.ts";
import { PANELS } from "../panels/registry.ts";
import { toProblem } from "../tab.ts";
import { format, language, text } from "../text/index.ts";
import { Icon } from "./icon.tsx";

const props: PanelProps = {
  language,
  format,
  support: known.support,
  client: known.client,
  model: known.model,
  plan: known.plan,
  adapter: known.adapter,
  selfCheck: known.selfCheck,
  activity: known.activity,
  ids: known.ids,
  promptLength: known.promptLength,
  tokens: known.tokens,
  used: known.used,
  prompt: known.prompt,
  runs: known.runs,
  settings: known.settings,
  attentionOpen: known.attentionOpen,
  traceWanted: known.traceWanted,
  apply: (changes) => void applySettings(changes),
  announce: known.announce,
  report: (error) => (known.notice.value = toProblem(error)),
};

export function Panels(): VNode | null {
  const { panels } = text.value;
  const chosen = known.panel.value;
  if (!known.panelOpen.value) return null;
  const move = (event: KeyboardEvent) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const at = PANELS.findIndex(({ name }) => name === chosen);
    const to = PANELS[(at + step + PANELS.length) % PANELS.length];
    if (!to) return;
    known.panel.value = to.name;
    document.getElementById(`tab-${to.name}`)?.focus();
  };
  return (
    <aside class="panels" aria-label={panels.label}>
      <h2 class="unseen">{panels.label}</h2>
      <div class="panel-head">
        <div role="tablist" aria-label={panels.label} class="tabs" onKeyDown={move}>
          {PANELS.map(({ name }) => (
            <button
              key={name}
              type="button"
              role="tab"
              id={`tab-${name}`}
              aria-selected={name === chosen}
              aria-controls="panel"
              tabIndex={name === chosen ? 0 : -1}
              onClick={() => (known.panel.value = name)}
            >
              {panels[name]}
            </button>
          ))}
        </div>
        <button
          type="button"
          class="icon-button"
          aria-label={panels.close}
          title={panels.close}
          onClick={() => (known.panelOpen.value = false)}
        >
          <Icon name="close" />
        </button>
      </div>
      <div role="tabpanel" id="panel" aria-labelledby={`tab-${chosen}`} class="panel-body" tabIndex={0}>
        <h3 class="unseen">{panels[chosen]}</h3>
        <Loaded key={chosen} name={chosen} />
      </div>
    </aside>
  );
}

function Loaded({ name }: { name: PanelName }): VNode {
  const loaded = useSignal<{ panel: Panel } | null>(null);
  useEffect(() => {
    void PANELS.find((panel) => panel.name === name)
      ?.load()
      .then((panel) => (loaded.value = { panel }))
      .catch(() => {});
  }, [name]);
  const View = loaded.value?.panel;
  return View ? <View {...props} /> : <p class="muted">{text.value.panels.loading}</p>;
}
