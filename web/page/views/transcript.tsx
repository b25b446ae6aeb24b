// The conversation. It follows its end while the reader is there, and stays where the reader has put it otherwise.
import { useSignal } from "@preact/signals";
import type { VNode } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { answering, conversation, liveId, client, messages, model, pending, state, wish } from "../app/signals.ts";
import { send } from "../app/chat.ts";
import { branches } from "../conversation.ts";
import { text } from "../text/index.ts";
import { Icon } from "./icon.tsx";
import { MessageView } from "./message.tsx";
import { Notice, StateCard } from "./state-card.tsx";

const NEAR = 48;

export function Transcript(): VNode {
  const scroller = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const follows = useRef(true);
  const top = useRef(0);
  const away = useSignal(false);
  useEffect(() => {
    const outer = scroller.current;
    if (!outer || !content.current) return;
    const toEnd = () => {
      if (follows.current) outer.scrollTop = outer.scrollHeight;
    };
    const observer = new ResizeObserver(toEnd);
    observer.observe(content.current);
    observer.observe(outer);
    return () => observer.disconnect();
  }, []);
  const scrolled = () => {
    const outer = scroller.current;
    if (!outer) return;
    // Text that grows moves the end away, not the reader: only going up leaves the end.
    const near = outer.scrollHeight - outer.scrollTop - outer.clientHeight < NEAR;
    if (near) follows.current = true;
    else if (outer.scrollTop < top.current) follows.current = false;
    top.current = outer.scrollTop;
    away.value = !follows.current;
  };
  const jump = () => {
    follows.current = true;
    if (scroller.current) scroller.current.scrollTop = scroller.current.scrollHeight;
  };
  const all = messages.value;
  const making = liveId.value !== null;
  return (
    <div class="transcript-frame">
      <div
        class="transcript"
        ref={scroller}
        onScroll={scrolled}
        tabIndex={0}
        role="region"
        aria-label={text.value.message.transcript}
      >
        <div class="column" ref={content}>
          {all.length === 0 ? <Welcome /> : null}
          <h2 class="unseen">{text.value.message.transcript}</h2>
          <div role="log" aria-live="off" aria-busy={making} aria-label={text.value.message.transcript}>
            {all.map((message, index) => {
              const versions = branches(conversation.value, message);
              return (
                <MessageView
                  key={message.id}
                  message={message}
                  place={versions.findIndex((other) => other.id === message.id)}
                  count={versions.length}
                  last={index === all.length - 1}
                  making={liveId.value === message.id}
                />
              );
            })}
          </div>
          <Waiting />
          <StateCard />
          <Notice />
          <Starters />
        </div>
      </div>
      {away.value ? (
        <button type="button" class="jump" onClick={jump}>
          <Icon name="down" />
          <span>{text.value.message.jump}</span>
        </button>
      ) : null}
    </div>
  );
}

function Welcome(): VNode {
  return (
    <div class="welcome">
      <span class="welcome-bolt">
        <Icon name="bolt" />
      </span>
      <p class="welcome-title">lyn</p>
      <p class="muted">{text.value.tagline}</p>
    </div>
  );
}

/** A message that is kept until it can be sent. */
function Waiting(): VNode | null {
  const { composer } = text.value;
  if (pending.value === null) return null;
  return (
    <div class="message user waiting">
      <div class="bubble" dir="auto">
        {pending.value}
      </div>
      <p class="muted small">
        {answering.value ? composer.queuedBusy : composer.queued}{" "}
        <button type="button" class="link" onClick={() => (pending.value = null)}>
          {composer.unqueue}
        </button>
      </p>
    </div>
  );
}

/** What this model is known to answer; until somebody has asked something. */
function Starters(): VNode | null {
  const { name } = state.value;
  const untouched = messages.value.length === 0 || (messages.value.length <= 2 && messages.value[0]?.starter);
  const { source } = wish.value;
  const stories = source === "stories" || (source === "server" && model.value?.id === "stories");
  if ((name !== "ready" && name !== "stopped") || !client.value || !stories || !untouched) return null;
  return (
    <div class="starters" role="group" aria-label={text.value.composer.starters}>
      {text.value.starters.map((starter) => (
        <button key={starter} type="button" class="starter" lang="en" onClick={() => send(starter)}>
          {starter}
        </button>
      ))}
    </div>
  );
}
