// Settings of the page itself, and what it keeps on this device.
import { useSignal } from "@preact/signals";
import type { VNode } from "preact";
import { useEffect } from "preact/hooks";
import { deleteEverything, exportAll, forget, importAll, keptChats, setKeep } from "../app/data.ts";
import { keep, singleKeys } from "../app/preferences.ts";
import { announce, conversation, dialog } from "../app/signals.ts";
import { titleOf, type Conversation } from "../conversation.ts";
import { format, text } from "../text/index.ts";
import { LanguageButton, ThemeButton } from "./header.tsx";
import { Section } from "./section.tsx";

export function PageSettings(): VNode {
  const words = text.value.settings;
  const said = useSignal("");
  const sure = useSignal(false);
  const read = async (file: File | undefined) => {
    if (!file) return;
    const count = await importAll(file).catch(() => null);
    said.value = count === null ? words.importFailed : words.imported(format.peek().integer(count));
  };
  const wipe = async () => {
    const freed = await deleteEverything();
    sure.value = false;
    said.value = words.deleted(format.peek().bytes(freed));
    announce(said.value);
  };
  return (
    <Section title={words.page}>
      <div class="row">
        <ThemeButton />
        <LanguageButton />
        <button type="button" class="button" onClick={() => (dialog.value = "keys")}>
          {text.value.header.keys}
        </button>
      </div>
      <label class="toggle">
        <input
          type="checkbox"
          checked={singleKeys.value}
          onChange={(event) => (singleKeys.value = event.currentTarget.checked)}
        />
        {words.singleKeys}
      </label>
      <label class="toggle">
        <input type="checkbox" checked={keep.value} onChange={(event) => void setKeep(event.currentTarget.checked)} />
        {words.keep}
      </label>
      <p class="muted small">{words.keepHelp}</p>
      {keep.value ? <Kept /> : null}
      <div class="row">
        <button type="button" class="button" onClick={() => void exportAll()}>
          {words.export}
        </button>
        <label class="button file">
          {words.import}
          <input
            type="file"
            class="unseen"
            accept=".json,application/json"
            onChange={(event) => void read(event.currentTarget.files?.[0])}
          />
        </label>
        {sure.value ? null : (
          <button type="button" class="button danger" onClick={() => (sure.value = true)}>
            {words.deleteAll}
          </button>
        )}
      </div>
      {sure.value ? (
        <div class="row" role="group" aria-label={words.deleteAll}>
          <p>{words.deleteAllAsk}</p>
          <button type="button" class="button danger" onClick={() => void wipe()}>
            {words.deleteAllYes}
          </button>
          <button type="button" class="button" onClick={() => (sure.value = false)}>
            {text.value.message.cancel}
          </button>
        </div>
      ) : null}
      {said.value ? <p>{said.value}</p> : null}
    </Section>
  );
}

function Kept(): VNode {
  const words = text.value.settings;
  const chats = useSignal<Conversation[]>([]);
  const refresh = async () => (chats.value = await keptChats().catch(() => []));
  useEffect(() => void refresh(), []);
  return (
    <section aria-label={words.chats}>
      {chats.value.length === 0 ? <p class="muted small">{words.noChats}</p> : null}
      <ul class="plain">
        {chats.value.map((chat) => (
          <li key={chat.id} class="row">
            <span class="grow ellipsis">
              {titleOf(chat)} <span class="muted small">{format.value.date(chat.at)}</span>
            </span>
            <button
              type="button"
              class="button"
              disabled={chat.id === conversation.value.id}
              onClick={() => {
                conversation.value = chat;
                dialog.value = null;
              }}
            >
              {words.open}
            </button>
            <button
              type="button"
              class="button"
              aria-label={`${text.value.message.delete}: ${titleOf(chat)}`}
              onClick={() => void forget(chat.id).then(refresh)}
            >
              {text.value.message.delete}
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
