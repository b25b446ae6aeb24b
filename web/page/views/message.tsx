// One message: what was written, how it ended, and what can be done with it.
import { Component, type ComponentChildren, type VNode } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import { continueAnswer, deleteMessage, newChat, regenerate, reword, show } from "../app/chat.ts";
import { applySettings } from "../app/models.ts";
import { answering, editing, idle, largerContext, live, state } from "../app/signals.ts";
import { clock } from "../app/surroundings.ts";
import type { Message } from "../conversation.ts";
import { Markdown } from "../markdown/markdown.tsx";
import { format, text } from "../text/index.ts";
import { CopyButton } from "./copy.tsx";
import { Icon, type IconName } from "./icon.tsx";

interface Props {
  message: Message;
  place: number;
  count: number;
  last: boolean;
  /** It is being written now. */
  making: boolean;
}

/** Drawn again only when the message itself has changed: a stream draws its own message, not the whole conversation.
 * The parts inside follow the signals that they read. */
export class MessageView extends Component<Props> {
  override shouldComponentUpdate(props: Props): boolean {
    return (Object.keys(props) as (keyof Props)[]).some((key) => props[key] !== this.props[key]);
  }

  override render(props: Props): ComponentChildren {
    return <Parts {...props} />;
  }
}

function Parts(props: Props): VNode {
  const { message } = props;
  const { message: words } = text.value;
  const user = message.role === "user";
  return (
    <article class={`message ${message.role}`} aria-label={user ? words.you : words.lyn}>
      {user ? null : (
        <span class="avatar" aria-hidden="true">
          <Icon name="bolt" />
        </span>
      )}
      <div class="message-body">
        {editing.value === message.id ? (
          <Editor message={message} />
        ) : user ? (
          <div class="bubble" dir="auto">
            {message.text}
          </div>
        ) : props.making ? (
          <LiveBody />
        ) : (
          <Body text={message.text} reasoning={message.reasoning} thought={message.reasoningMs} thinking={false} />
        )}
        {user && message.starter ? <p class="muted small">{words.starter}</p> : null}
        {props.making ? null : <Foot {...props} />}
      </div>
    </article>
  );
}

function LiveBody(): VNode | null {
  const now = live.value;
  if (!now) return null;
  const thinking = now.thoughtFrom !== null && now.thoughtTo === null;
  const thought = now.thoughtFrom === null ? null : (now.thoughtTo ?? clock.value) - now.thoughtFrom;
  return (
    <>
      <Body text={now.text} reasoning={now.reasoning} thought={thought} thinking={thinking} />
      <span class="caret" aria-hidden="true" />
    </>
  );
}

function Body(props: { text: string; reasoning: string; thought: number | null; thinking: boolean }): VNode {
  const { message } = text.value;
  const time = format.value.duration(props.thought ?? 0);
  return (
    <>
      {props.reasoning ? (
        <details class="reasoning">
          <summary>{props.thinking ? message.thinking(time) : message.thought(time)}</summary>
          <Markdown source={props.reasoning} />
        </details>
      ) : null}
      {props.text ? <Markdown source={props.text} /> : null}
    </>
  );
}

function Editor({ message }: { message: Message }): VNode {
  const field = useRef<HTMLTextAreaElement>(null);
  const { message: words } = text.value;
  // At once: keys that are pressed meanwhile belong to it.
  useLayoutEffect(() => {
    field.current?.focus();
    field.current?.setSelectionRange(message.text.length, message.text.length);
  }, []);
  const save = () => field.current && reword(message, field.current.value);
  const keys = (event: KeyboardEvent) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) save();
  };
  return (
    <div class="editor">
      <textarea
        ref={field}
        class="field"
        rows={Math.min(12, message.text.split("\n").length + 1)}
        aria-label={words.edit}
        dir="auto"
        onKeyDown={keys}
      >
        {message.text}
      </textarea>
      <div class="row">
        <button type="button" class="button primary" disabled={!idle.value} onClick={save}>
          {words.save}
        </button>
        <button type="button" class="button" onClick={() => (editing.value = null)}>
          {words.cancel}
        </button>
      </div>
    </div>
  );
}

function Foot({ message, place, count, last }: Props): VNode {
  const { message: words } = text.value;
  const free = idle.value;
  const answer = message.role === "assistant";
  const unfinished = answer && message.finish !== "stop";
  const integer = format.value.integer;
  return (
    <div class="foot">
      {count > 1 ? (
        <span class="branches">
          <Action icon="left" label={words.previous} disabled={place === 0} onClick={() => show(message, -1)} />
          <span>{words.branch(integer(place + 1), integer(count))}</span>
          <Action icon="right" label={words.next} disabled={place === count - 1} onClick={() => show(message, 1)} />
        </span>
      ) : null}
      <span class="actions" role="group" aria-label={words.actions}>
        <CopyButton label={words.copy} content={() => message.text} />
        {answer ? null : (
          <Action icon="edit" label={words.edit} disabled={!free} onClick={() => (editing.value = message.id)} />
        )}
        {answer ? (
          <Action icon="again" label={words.regenerate} disabled={!free} onClick={() => regenerate(message)} />
        ) : null}
        <Action
          icon="trash"
          label={words.delete}
          disabled={answering.value}
          onClick={() => void deleteMessage(message)}
        />
      </span>
      {unfinished && last ? (
        <button type="button" class="button small" disabled={!free} onClick={() => void continueAnswer(message.id)}>
          <Icon name="forward" />
          {words.continue}
        </button>
      ) : null}
      {answer ? <Ending message={message} last={last} /> : null}
    </div>
  );
}

/** Why it ended, and how fast it was. */
function Ending({ message, last }: { message: Message; last: boolean }): VNode {
  const { message: words } = text.value;
  const full = last && state.value.name === "stopped" && state.value.reason === "context";
  const reason = full ? words.contextFull : message.finish ? words.ends[message.finish] : "";
  const { timings } = message;
  const rate =
    timings &&
    words.stats(format.value.integer(timings.predicted_n), format.value.decimal(timings.predicted_per_second));
  const larger = largerContext.value;
  return (
    <>
      <span class="muted small" data-finish={full ? "context" : message.finish}>
        {[reason, rate].filter(Boolean).join(" · ")}
      </span>
      {full ? (
        <button type="button" class="button small" onClick={() => void newChat()}>
          {text.value.header.newChat}
        </button>
      ) : null}
      {full && larger !== null ? (
        <button type="button" class="button small" onClick={() => void applySettings({ context: larger })}>
          {words.largerContext(format.value.integer(larger))}
        </button>
      ) : null}
    </>
  );
}

function Action(props: { icon: IconName; label: string; disabled?: boolean; onClick: () => void }): VNode {
  return (
    <button
      type="button"
      class="icon-button"
      aria-label={props.label}
      title={props.label}
      disabled={props.disabled}
      onClick={props.onClick}
    >
      <Icon name={props.icon} />
    </button>
  );
}
