// Where people write; beside it what the engine does, and how much of the context is used.
import { useComputed, useSignal, useSignalEffect } from "@preact/signals";
import type { VNode } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { send, stop } from "../app/chat.ts";
import { activity, answering, client, dialog, draft, model, onServer, settings, state, used as usedTokens } from "../app/signals.ts";
import { fetched, sentBytes } from "../app/privacy.ts";
import { clock } from "../app/surroundings.ts";
import { isLoading, share } from "../state.ts";
import { format, text } from "../text/index.ts";
import { Icon } from "./icon.tsx";

const TOUCH = matchMedia("(pointer: coarse)").matches;

export function Composer(): VNode {
  const field = useRef<HTMLTextAreaElement>(null);
  const { composer } = text.value;
  const raw = model.value !== null && !model.value.chat;
  useSignalEffect(() => {
    const grown = draft.value;
    if (field.current) grow(field.current, grown);
  });
  useEffect(() => field.current?.focus({ preventScroll: true }), []);
  const keys = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || event.isComposing) return;
    const always = event.ctrlKey || event.metaKey;
    if (!always && (event.shiftKey || TOUCH)) return;
    event.preventDefault();
    send(draft.peek());
  };
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send(draft.peek());
      }}
    >
      <div class="column">
        {raw ? <p class="muted small">{composer.raw}</p> : null}
        <div class="composer-box">
          <textarea
            id="composer"
            ref={field}
            rows={1}
            dir="auto"
            value={draft.value}
            placeholder={raw ? composer.placeholderRaw : composer.placeholder}
            aria-label={composer.label}
            enterkeyhint={TOUCH ? "enter" : "send"}
            onInput={(event) => (draft.value = event.currentTarget.value)}
            onKeyDown={keys}
          />
          {answering.value ? (
            <button
              type="button"
              class="send stop"
              aria-label={composer.stop}
              title={`${composer.stop} (Esc)`}
              onClick={stop}
            >
              <Icon name="stop" />
            </button>
          ) : (
            <button
              type="submit"
              class="send"
              aria-label={composer.send}
              title={composer.send}
              disabled={!draft.value.trim()}
            >
              <Icon name="send" />
            </button>
          )}
        </div>
        <div class="composer-foot">
          {model.value?.thinking ? (
            <label class="toggle">
              <input
                type="checkbox"
                checked={settings.value.thinking}
                onChange={(event) => (settings.value = { ...settings.peek(), thinking: event.currentTarget.checked })}
              />
              {composer.thinking}
            </label>
          ) : null}
          <LiveLine />
          <span class="spacer" />
          <Meter />
        </div>
        <Privacy />
      </div>
    </form>
  );
}

/** As high as its text, up to a third of the window (the style sheet says so). */
function grow(field: HTMLTextAreaElement, content: string): void {
  field.style.height = "auto";
  if (content) field.style.height = `${field.scrollHeight}px`;
}

function LiveLine(): VNode | null {
  const words = text.value.composer;
  const { integer, decimal, duration } = format.value;
  const now = state.value;
  let line = "";
  if (now.name === "prefill") {
    const time = duration(clock.value - now.since);
    line = `${now.total ? words.reading(integer(now.done), integer(now.total)) : words.readingStart} · ${time}`;
  } else if (now.name === "decode") {
    const time = Math.max(1, clock.value - now.since);
    line = words.live(decimal((now.tokens - 1) / (time / 1000)), integer(now.tokens), duration(time));
  } else if (isLoading(now) || now.name === "recovering") {
    const done = share(now);
    if (done !== null) line = format.value.percent(done);
  }
  return (
    <span class="live">
      {now.name === "prefill" ? <Icon name="hourglass" /> : null}
      {line}
    </span>
  );
}

/** Used, reserved for the answer, limit. */
function Meter(): VNode | null {
  const words = text.value.composer;
  const drafted = useSignal(0);
  const used = useComputed(() => usedTokens.value + drafted.value);
  useSignalEffect(() => {
    const content = draft.value;
    const engine = client.value;
    if (activity.value !== "idle" || !engine) return;
    const timer = setTimeout(() => {
      // What has not been sent yet stays here: a server is not asked how long it is.
      if (!content || engine.transport === "server") drafted.value = 0;
      else
        void engine
          .tokenize(content)
          .then((made) => (drafted.value = made.length))
          .catch(() => {});
    }, 400);
    return () => clearTimeout(timer);
  });
  const limit = model.value?.context;
  if (!limit) return null;
  const { integer, percent } = format.value;
  const share = Math.min(1, used.value / limit);
  const reserved = Math.min(settings.value.maxTokens ?? limit, Math.max(0, limit - used.value));
  const use = words.contextUse(integer(used.value), integer(limit));
  return (
    <span class="meter" title={`${use} · ${words.contextReserved(integer(reserved))}`}>
      <meter
        min={0}
        max={limit}
        high={limit * 0.9}
        value={Math.min(limit, used.value)}
        aria-label={words.context}
        aria-valuetext={`${use}, ${percent(share)}`}
      />
      <span>{use}</span>
    </span>
  );
}

function Privacy(): VNode {
  const words = text.value.privacy;
  const sent = format.value.bytes(sentBytes.value);
  const line = onServer.value ? words.lineServer(location.host, sent) : words.line(sent);
  const hosts = Object.entries(fetched.value).map(([host, files]) => words.fetched(format.value.integer(files), host));
  return (
    <button type="button" class="privacy" onClick={() => (dialog.value = "privacy")}>
      <Icon name="shield" />
      <span>{[line, ...hosts].join(" · ")}</span>
    </button>
  );
}
