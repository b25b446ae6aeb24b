// The line at the top: which model, on which adapter, with which attention, and the ways to everything else.
import type { VNode } from "preact";
import { newChat } from "../app/chat.ts";
import { server } from "../app/delivered.ts";
import { applySettings } from "../app/models.ts";
import { setLanguage, theme, type Theme } from "../app/preferences.ts";
import {
  adapter,
  attention as attentionInUse,
  client,
  dialog,
  model,
  onServer,
  panel,
  panelOpen,
  selfCheck,
  state,
  support,
  wish,
} from "../app/signals.ts";
import { focusComposer, offline } from "../app/surroundings.ts";
import { isLoading } from "../state.ts";
import { language, text } from "../text/index.ts";
import { Icon, type IconName } from "./icon.tsx";

export function Header(): VNode {
  const { header } = text.value;
  return (
    <header class="header">
      <h1 class="brand">
        <Icon name="bolt" />
        <span>lyn</span>
      </h1>
      <ModelButton />
      <AdapterBadge />
      <AttentionSwitch />
      <span class="spacer" />
      {offline.value ? <span class="chip">{header.offline}</span> : null}
      <Button icon="plus" label={header.newChat} onClick={() => void newChat().then(focusComposer)} />
      <Button
        icon="panel"
        label={panelOpen.value ? text.value.panels.close : text.value.panels.open}
        pressed={panelOpen.value}
        onClick={() => (panelOpen.value = !panelOpen.value)}
      />
      <Button icon="sliders" label={header.settings} onClick={() => (dialog.value = "settings")} />
      <span class="wide-only header-rest">
        <ThemeButton />
        <Button icon="keyboard" label={header.keys} onClick={() => (dialog.value = "keys")} />
        <LanguageButton />
      </span>
    </header>
  );
}

function Button(props: { icon: IconName; label: string; pressed?: boolean; onClick: () => void }): VNode {
  return (
    <button
      type="button"
      class="icon-button"
      aria-label={props.label}
      title={props.label}
      aria-pressed={props.pressed}
      onClick={props.onClick}
    >
      <Icon name={props.icon} />
    </button>
  );
}

const THEMES: Record<Theme, { next: Theme; icon: IconName }> = {
  auto: { next: "light", icon: "contrast" },
  light: { next: "dark", icon: "sun" },
  dark: { next: "auto", icon: "moon" },
};

export function ThemeButton(): VNode {
  const { next, icon } = THEMES[theme.value];
  return <Button icon={icon} label={text.value.header.themes[theme.value]} onClick={() => (theme.value = next)} />;
}

export function LanguageButton(): VNode {
  const other = language.value === "en" ? "nb" : "en";
  const short = other.toUpperCase();
  const label = text.value.header.languageLabel;
  return (
    <button
      type="button"
      class="icon-button language"
      lang={other}
      aria-label={`${short}: ${label}`}
      title={label}
      onClick={() => setLanguage(other)}
    >
      {short}
    </button>
  );
}

function ModelButton(): VNode {
  const { header } = text.value;
  const { models } = text.value;
  const name = client.value || isLoading(state.value) ? wish.value.id : header.noModel;
  // Where there are two places to run a model, people see which one it is.
  const place = server && (onServer.value ? models.server : models.tab);
  return (
    <button
      type="button"
      class="model-button"
      aria-haspopup="dialog"
      aria-label={`${header.model}: ${place ? `${name}, ${place}` : name}`}
      onClick={() => (dialog.value = "models")}
    >
      <span class="ellipsis">
        {name.replace(/^hf:/, "")}
        {place ? <span class="muted"> · {place}</span> : null}
      </span>
      <Icon name="chevron" />
    </button>
  );
}

/** Green: checked and a real GPU. Amber: software or integrated. Red: none, or wrong values. */
function AdapterBadge(): VNode {
  const { header } = text.value;
  const found = adapter.value;
  // A server without an adapter computes on its processor.
  const none = client.value ? header.adapterHost : header.adapterNone;
  const name = found ? found.name || found.kind : none;
  const slow = !found || found.kind === "software" || found.kind === "integrated";
  const failed =
    (!onServer.value && support.value?.ok === false) || (state.value.name === "failed" && state.value.problem.code === "self_check_failed");
  const checked = selfCheck.value?.passed;
  const [colour, said] = failed
    ? (["red", found ? header.adapterBad(name) : header.adapterNone] as const)
    : !client.value
      ? (["grey", name] as const)
      : slow
        ? (["amber", header.adapterSlow(name)] as const)
        : checked
          ? (["green", header.adapterGood(name)] as const)
          : (["amber", header.adapterUnchecked(name)] as const);
  return (
    <button
      type="button"
      class={`badge badge-${colour}`}
      title={said}
      aria-label={`${header.adapter}: ${said}`}
      onClick={() => {
        panel.value = "device";
        panelOpen.value = true;
      }}
    >
      <span class="dot" aria-hidden="true" />
      <span class="ellipsis wide-only">{name}</span>
    </button>
  );
}

function AttentionSwitch(): VNode {
  const { header } = text.value;
  const now = attentionInUse.value;
  const possible = !onServer.value && (!model.value || model.value.sparse);
  return (
    <fieldset class="switch" disabled={!possible} title={onServer.value ? header.attentionOfServer : undefined}>
      <legend class="unseen">{header.attention}</legend>
      {(["sparse", "dense"] as const).map((attention) => (
        <label key={attention} class={now === attention ? "on" : undefined}>
          <input
            type="radio"
            class="unseen"
            name="attention"
            checked={now === attention}
            onChange={() => void applySettings({ attention })}
          />
          {header[attention]}
        </label>
      ))}
    </fieldset>
  );
}
