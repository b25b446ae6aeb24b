// All that can be set, each with a way back to what it was, and what was set in other words to take along.
import { useSignal } from "@preact/signals";
import type { ComponentChildren, VNode } from "preact";
import { hasKey, server } from "../app/delivered.ts";
import { applySettings } from "../app/models.ts";
import { messages, model, onServer, plan, settings, wish } from "../app/signals.ts";
import { asCommand, asCurl, asScript, BOUNDS, DEFAULTS, readNumber, toFragment, type Settings } from "../settings.ts";
import { format, text } from "../text/index.ts";
import { CopyButton } from "./copy.tsx";
import { Dialog } from "./dialog.tsx";
import { Icon } from "./icon.tsx";
import { PageSettings } from "./page-settings.tsx";
import { Section } from "./section.tsx";

export function SettingsDialog(): VNode {
  const words = text.value.settings;
  return (
    <Dialog title={words.title}>
      <Answering />
      <Engine />
      <Sharing />
      <PageSettings />
    </Dialog>
  );
}

function change(changes: Partial<Settings>): void {
  settings.value = { ...settings.peek(), ...changes };
}

/** One setting: its name, its field, and its way back to the default. */
function Setting(props: {
  field: keyof Settings;
  label: string;
  help?: string;
  wide?: boolean;
  apply?: typeof change;
  children: (id: string) => ComponentChildren;
}): VNode {
  const id = `setting-${props.field}`;
  const words = text.value.settings;
  const value = settings.value[props.field];
  const standard = DEFAULTS[props.field];
  const changed = Array.isArray(value) ? value.length > 0 : value !== standard;
  const reset = () => (props.apply ?? change)({ [props.field]: standard });
  return (
    <div class={props.wide ? "setting setting-wide" : "setting"}>
      <label for={id}>{props.label}</label>
      <span class="setting-field">
        {props.children(id)}
        <button
          type="button"
          class="icon-button"
          aria-label={words.resetField(props.label)}
          title={words.reset}
          disabled={!changed}
          onClick={reset}
        >
          <Icon name="again" />
        </button>
      </span>
      {props.help ? (
        <p class="muted small" id={`${id}-help`}>
          {props.help}
        </p>
      ) : null}
    </div>
  );
}

type Numeric = keyof typeof BOUNDS;

function NumberSetting(props: {
  field: Numeric;
  label: string;
  standard: string;
  help?: string;
  disabled?: boolean;
  apply?: typeof change;
}): VNode {
  const { field, label, help, apply } = props;
  return (
    <Setting field={field} label={label} {...(help && { help })} {...(apply && { apply })}>
      {(id) => (
        <input
          id={id}
          class="field number"
          type="number"
          inputMode="decimal"
          {...BOUNDS[field]}
          placeholder={props.standard}
          disabled={props.disabled}
          aria-describedby={help ? `${id}-help` : undefined}
          value={settings.value[field] ?? ""}
          onChange={(event) => {
            const read = readNumber(field, event.currentTarget.value);
            event.currentTarget.value = read === null ? "" : String(read);
            (apply ?? change)({ [field]: read });
          }}
        />
      )}
    </Setting>
  );
}

function Answering(): VNode {
  const words = text.value.settings;
  const { decimal } = format.value;
  const standard = model.value?.defaults;
  const cannotThink = model.value !== null && !model.value.thinking;
  return (
    <Section title={words.answer}>
      <Setting field="system" label={words.system} wide>
        {(id) => (
          <textarea
            id={id}
            class="field"
            rows={2}
            dir="auto"
            value={settings.value.system}
            onInput={(event) => change({ system: event.currentTarget.value })}
          />
        )}
      </Setting>
      <Setting field="thinking" label={words.thinking} {...(cannotThink && { help: words.thinkingNone })}>
        {(id) => (
          <input
            id={id}
            type="checkbox"
            checked={settings.value.thinking}
            disabled={cannotThink}
            onChange={(event) => change({ thinking: event.currentTarget.checked })}
          />
        )}
      </Setting>
      <NumberSetting
        field="temperature"
        label={words.temperature}
        standard={standard ? words.auto(decimal(standard.temperature, 2)) : ""}
      />
      <NumberSetting
        field="topP"
        label={words.topP}
        standard={standard ? words.auto(decimal(standard.top_p, 2)) : ""}
      />
      <NumberSetting field="maxTokens" label={words.maxTokens} standard={words.room} />
      <NumberSetting field="seed" label={words.seed} standard={words.random} />
      <Setting field="stop" label={words.stop} wide>
        {(id) => (
          <textarea
            id={id}
            class="field"
            rows={1}
            value={settings.value.stop.join("\n")}
            onChange={(event) =>
              change({
                stop: event.currentTarget.value
                  .split("\n")
                  .filter((line) => line !== "")
                  .slice(0, 16),
              })
            }
          />
        )}
      </Setting>
    </Section>
  );
}

function Engine(): VNode {
  const words = text.value.settings;
  const { integer } = format.value;
  const context = useSignal<number | null>(settings.peek().context);
  const set = (changes: Partial<Settings>) => {
    if (changes.context !== undefined) context.value = changes.context;
    else void applySettings(changes);
  };
  const waits = context.value !== settings.value.context;
  return (
    <Section title={words.model}>
      <Setting field="attention" label={words.attention} apply={set}>
        {(id) => (
          <select
            id={id}
            class="field"
            value={settings.value.attention}
            disabled={onServer.value || model.value?.sparse === false}
            onChange={(event) => set({ attention: event.currentTarget.value === "dense" ? "dense" : "sparse" })}
          >
            <option value="sparse">{text.value.header.sparse}</option>
            <option value="dense">{text.value.header.dense}</option>
          </select>
        )}
      </Setting>
      <NumberSetting
        field="indexTopk"
        label={words.indexTopk}
        help={words.indexTopkHelp}
        disabled={onServer.value}
        standard={model.value?.index_topk ? words.auto(integer(model.value.index_topk)) : ""}
        apply={set}
      />
      <div class="setting">
        <label for="setting-context">{words.context}</label>
        <span class="setting-field">
          <input
            id="setting-context"
            class="field number"
            type="number"
            {...BOUNDS.context}
            max={model.value?.max_position_embeddings ?? BOUNDS.context.max}
            placeholder={plan.value ? words.auto(integer(plan.value.context)) : ""}
            aria-describedby="setting-context-help"
            disabled={onServer.value}
            value={context.value ?? ""}
            onChange={(event) => (context.value = readNumber("context", event.currentTarget.value))}
          />
          <button
            type="button"
            class="icon-button"
            aria-label={words.resetField(words.context)}
            title={words.reset}
            disabled={context.value === null}
            onClick={() => (context.value = null)}
          >
            <Icon name="again" />
          </button>
        </span>
        <p class="muted small" id="setting-context-help">
          {onServer.value ? words.serverSets : words.reloads}
        </p>
        {waits ? (
          <button type="button" class="button primary" onClick={() => void applySettings({ context: context.value })}>
            {words.apply}
          </button>
        ) : null}
      </div>
    </Section>
  );
}

function Sharing(): VNode {
  const words = text.value.settings;
  const withPrompt = useSignal(false);
  const last = messages.value.findLast((message) => message.role === "user")?.text ?? "";
  const prompt = last || "Once upon a time";
  const { id, source } = wish.value;
  const name = id.replace(/^hf:/, "");
  const running = source === "server" && server ? { base: server, keyed: hasKey() } : null;
  const link = () => {
    const url = new URL(location.href);
    // A link cannot carry a folder of this device.
    url.hash = toFragment(
      typeof source === "string" ? source : "stories",
      settings.peek(),
      withPrompt.peek() ? last : null,
    );
    return url.href;
  };
  return (
    <Section title={words.share}>
      <div class="row" role="group" aria-label={words.copyAs}>
        <span class="muted">{words.copyAs}</span>
        {source === "server" ? null : (
          <CopyButton wide label={words.cli} content={() => asCommand(name, settings.peek(), prompt)} />
        )}
        <CopyButton wide label={words.curl} content={() => asCurl(name, settings.peek(), prompt, running)} />
        {source === "server" ? null : (
          <CopyButton wide label={words.js} content={() => asScript(id, settings.peek(), prompt)} />
        )}
      </div>
      <div class="row">
        <CopyButton wide label={words.link} content={link} />
        <label class="toggle">
          <input
            type="checkbox"
            checked={withPrompt.value}
            disabled={!last}
            onChange={(event) => (withPrompt.value = event.currentTarget.checked)}
          />
          {words.withPrompt}
        </label>
      </div>
      {source === "server" ? null : <p class="muted small">{words.server}</p>}
    </Section>
  );
}
