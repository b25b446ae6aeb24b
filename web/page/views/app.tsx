// The page as a whole: header, conversation, composer, panels, and the dialogs above them.
import type { VNode } from "preact";
import { dragging } from "../app/files.ts";
import { singleKeys } from "../app/preferences.ts";
import { dialog, panelOpen, state, status } from "../app/signals.ts";
import { focusComposer } from "../app/surroundings.ts";
import { text } from "../text/index.ts";
import { Composer } from "./composer.tsx";
import { Dialog } from "./dialog.tsx";
import { Header } from "./header.tsx";
import { ModelsDialog } from "./models.tsx";
import { Panels } from "./panel.tsx";
import { SettingsDialog } from "./settings-dialog.tsx";
import { Transcript } from "./transcript.tsx";

export function App(): VNode {
  return (
    <>
      <button type="button" class="skip" onClick={focusComposer}>
        {text.value.header.skip}
      </button>
      <Header />
      <div class={panelOpen.value ? "body with-panel" : "body"}>
        <main data-state={state.value.name}>
          <Transcript />
          <Composer />
        </main>
        <Panels />
      </div>
      <p class="unseen" role="status" aria-live="polite">
        {status.value}
      </p>
      {dragging.value ? <div class="drop">{text.value.models.dropHere}</div> : null}
      <Dialogs />
    </>
  );
}

function Dialogs(): VNode | null {
  switch (dialog.value) {
    case "settings":
      return <SettingsDialog key="settings" />;
    case "models":
      return <ModelsDialog key="models" />;
    case "keys":
      return <KeysDialog key="keys" />;
    case "privacy":
      return (
        <Dialog key="privacy" title={text.value.privacy.title}>
          <p>{text.value.privacy.detail}</p>
        </Dialog>
      );
    case null:
      return null;
  }
}

function KeysDialog(): VNode {
  const words = text.value.keys;
  const always: [string, string][] = [
    ["Enter", words.send],
    ["Ctrl/⌘ + Enter", words.sendAlways],
    ["Shift + Enter", words.newline],
    ["Esc", words.stop],
    ["↑", words.editLast],
  ];
  const single: [string, string][] = [
    ["/", words.composer],
    ["n", words.newChat],
    ["a", words.attention],
    ["?", words.list],
  ];
  return (
    <Dialog title={words.title}>
      <dl class="keys">
        {[...always, ...(singleKeys.value ? single : [])].map(([key, does]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{does}</dd>
          </div>
        ))}
      </dl>
      <label class="toggle">
        <input
          type="checkbox"
          checked={singleKeys.value}
          onChange={(event) => (singleKeys.value = event.currentTarget.checked)}
        />
        {text.value.settings.singleKeys}
      </label>
    </Dialog>
  );
}
