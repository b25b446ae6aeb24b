// What the page says about itself where it is not simply ready: one card per state, with its clock and its ways out.
import { useSignal } from "@preact/signals";
import type { ComponentChildren, VNode } from "preact";
import type { Problem } from "../client.ts";
import { giveKey, server } from "../app/delivered.ts";
import { applySettings, cancel, comeBack, load, pause, resume, retry } from "../app/models.ts";
import { newChat } from "../app/chat.ts";
import { report } from "../app/report.ts";
import { dialog, fromLink, largerContext, notice, onServer, plan, SERVER, settings, sparing, state, STORIES, wish } from "../app/signals.ts";
import { clock } from "../app/surroundings.ts";
import { takeOver } from "../app/tabs.ts";
import { share, type Download, type Preparing, type State } from "../state.ts";
import { format, text } from "../text/index.ts";
import { CopyButton } from "./copy.tsx";
import { ModelChoice } from "./models.tsx";

type Named<N extends State["name"]> = Extract<State, { name: N }>;

export function StateCard(): VNode | null {
  const now = state.value;
  switch (now.name) {
    case "boot":
      return <Boot />;
    case "unsupported":
      return <UnsupportedCard now={now} />;
    case "choose":
      return <Choose />;
    case "connecting":
      return <Connecting now={now} />;
    case "key":
      return <Key now={now} />;
    case "downloading":
      return <Downloading now={now} />;
    case "quota":
      return <Quota now={now} />;
    case "loading":
      return <Loading now={now} />;
    case "recovering":
      return <Recovering now={now} />;
    case "failed":
      return <Failed now={now} />;
    case "cameBack":
      return <CameBack now={now} />;
    case "elsewhere":
      return <Elsewhere />;
    case "ready":
    case "prefill":
    case "decode":
    case "stopped":
      return null;
  }
}

/** What went wrong beside the conversation. */
export function Notice(): VNode | null {
  const problem = notice.value;
  if (!problem) return null;
  const said = text.value.errors[problem.code] ?? text.value.errors.internal;
  return (
    <Card
      title={said.title}
      tone="bad"
      actions={<Button onClick={() => (notice.value = null)}>{text.value.settings.close}</Button>}
    >
      <p role="alert">{said.advice || said.title}</p>
      <Help problem={problem} />
    </Card>
  );
}

function Card(props: {
  title: string;
  tone?: "calm" | "bad";
  children?: ComponentChildren;
  actions?: ComponentChildren;
}): VNode {
  return (
    <section class={`card ${props.tone === "bad" ? "card-bad" : ""}`} aria-label={props.title}>
      <h2>{props.title}</h2>
      {props.children}
      {props.actions ? <div class="row">{props.actions}</div> : null}
    </section>
  );
}

function Button(props: { primary?: boolean; onClick: () => void; children: ComponentChildren }): VNode {
  return (
    <button type="button" class={props.primary ? "button primary" : "button"} onClick={props.onClick}>
      {props.children}
    </button>
  );
}

/** How far, as a bar; a bar without a value where nobody knows. */
export function Bar({ value, label }: { value: number | null; label: string }): VNode {
  return value === null ? (
    <progress aria-label={label} max={1} />
  ) : (
    <progress aria-label={label} max={1} value={value} />
  );
}

/** For how long already: a slow thing and a stuck one must look different. */
function Clock({ since }: { since: number }): VNode {
  return <span class="clock">{text.value.state.elapsed(format.value.duration(clock.value - since))}</span>;
}

function Boot(): VNode {
  return <p class="muted quiet">{text.value.state.boot}</p>;
}

function UnsupportedCard({ now }: { now: Named<"unsupported"> }): VNode {
  const words = text.value.state;
  const { reason, code, message, help } = now.support;
  return (
    <Card
      title={words.unsupported}
      tone="bad"
      actions={
        <>
          <Button primary onClick={() => void retry()}>
            {words.retry}
          </Button>
          {server ? <Button onClick={() => void load(SERVER)}>{words.useServer}</Button> : null}
          <CopyButton wide label={words.copyReport} content={() => report({ code, message, help })} />
        </>
      }
    >
      <p role="alert">{words.reasons[reason]}</p>
      <Help problem={{ code, message, help }} />
      <p class="muted">
        {words.cli}: <code>cargo install lyn-cli</code>, <code>lyn chat</code>
      </p>
    </Card>
  );
}

/** What the engine itself says, in its own words, below the page's translation. */
function Help({ problem }: { problem: Problem }): VNode {
  const words = text.value.state;
  return (
    <>
      {problem.help.length ? (
        <ul class="help" lang="en">
          {problem.help.map((line) => (
            <li key={line}>{line}</li>
          ))}
        </ul>
      ) : null}
      <details class="details">
        <summary>{words.details}</summary>
        <p lang="en">{problem.message}</p>
        <p class="muted small">
          {words.code}: <code>{problem.code}</code>
        </p>
      </details>
    </>
  );
}

function Choose(): VNode {
  const words = text.value.state;
  return (
    <Card title={words.choose}>
      {fromLink.value ? <p class="muted">{words.chooseLink}</p> : null}
      {sparing.value ? <p class="muted">{words.saveData}</p> : null}
      <ModelChoice />
    </Card>
  );
}

function Connecting({ now }: { now: Named<"connecting"> }): VNode {
  const words = text.value.state;
  return (
    <Card
      title={words.asking}
      actions={<Button onClick={() => void cancel(true)}>{text.value.message.cancel}</Button>}
    >
      <Bar value={null} label={words.asking} />
      {now.loads ? <p class="muted">{words.serverLoads}</p> : null}
      <Clock since={now.since} />
    </Card>
  );
}

function Key({ now }: { now: Named<"key"> }): VNode {
  const words = text.value.state;
  const key = useSignal("");
  const use = (event: Event) => {
    event.preventDefault();
    if (!key.value) return;
    giveKey(key.value);
    void load(SERVER);
  };
  return (
    <Card title={words.key} actions={<Button onClick={() => void load(STORIES)}>{words.useTab}</Button>}>
      {now.refused ? <p role="alert">{words.keyRefused}</p> : null}
      <p class="muted" id="key-detail">
        {words.keyDetail}
      </p>
      <form class="row" onSubmit={use}>
        <input
          class="field grow"
          type="password"
          autocomplete="off"
          aria-label={words.keyLabel}
          aria-describedby="key-detail"
          value={key.value}
          onInput={(event) => (key.value = event.currentTarget.value.trim())}
        />
        <button type="submit" class="button primary" disabled={!key.value}>
          {words.keyUse}
        </button>
      </form>
    </Card>
  );
}

function Downloading({ now }: { now: Named<"downloading"> }): VNode {
  const words = text.value.state;
  return (
    <Card
      title={words.downloading(now.model)}
      actions={
        <>
          {now.paused ? (
            <Button primary onClick={resume}>
              {words.resume}
            </Button>
          ) : (
            <Button onClick={pause}>{words.pause}</Button>
          )}
          <Button onClick={() => void cancel(true)}>{words.cancelKeep}</Button>
          {now.model.startsWith("hf:") ? (
            <Button onClick={() => void cancel(false)}>{words.cancelDelete}</Button>
          ) : null}
        </>
      }
    >
      <Bar value={share(now)} label={words.downloading(now.model)} />
      {now.progress ? (
        <DownloadLine progress={now.progress} paused={now.paused} />
      ) : (
        <p class="muted">{now.paused ? words.paused : words.connecting}</p>
      )}
      {now.paused ? null : <Clock since={now.since} />}
    </Card>
  );
}

function DownloadLine({ progress, paused }: { progress: Download; paused: boolean }): VNode {
  const words = text.value.state;
  const { bytes, duration, integer } = format.value;
  const parts = [words.downloaded(bytes(progress.loaded), bytes(progress.total))];
  if (!paused && progress.bytesPerSecond > 0) parts.push(words.rate(bytes(progress.bytesPerSecond)));
  if (!paused && progress.etaSeconds !== undefined) parts.push(words.left(duration(progress.etaSeconds * 1000)));
  parts.push(progress.fromCache ? words.fromCache : words.fromNetwork);
  return (
    <>
      <p class="numbers">{parts.join(" · ")}</p>
      <p class="muted small">
        {paused ? words.paused : words.file(integer(progress.index + 1), integer(progress.files), progress.file)}
      </p>
    </>
  );
}

function Quota({ now }: { now: Named<"quota"> }): VNode {
  const words = text.value.state;
  const { bytes } = format.value;
  const inMemory = () => {
    const wanted = wish.peek();
    if (wanted.source !== "server") void load({ ...wanted, cache: "memory" });
  };
  const persist = async () => {
    await navigator.storage?.persist?.();
    resume();
  };
  return (
    <Card
      title={words.quota}
      tone="bad"
      actions={
        <>
          <Button primary onClick={inMemory}>
            {words.quotaRun}
          </Button>
          <Button onClick={() => (dialog.value = "models")}>{words.quotaFree}</Button>
          <Button onClick={() => void persist()}>{words.quotaPersist}</Button>
        </>
      }
    >
      <p role="alert">{words.quotaDetail(bytes(now.usage), bytes(now.allowance))}</p>
      <Help problem={now.problem} />
    </Card>
  );
}

function stageLine(progress: Preparing | Download | null): string {
  const words = text.value.state;
  const { bytes, integer } = format.value;
  if (!progress) return words.connecting;
  switch (progress.stage) {
    case "download":
      return words.downloaded(bytes(progress.loaded), bytes(progress.total));
    case "upload":
      return `${words.upload}: ${words.downloaded(bytes(progress.loaded), bytes(progress.total))}`;
    case "compile":
      return words.compile(integer(progress.done), integer(progress.total));
    case "check":
      return words.check;
  }
}

function Loading({ now }: { now: Named<"loading"> }): VNode {
  const words = text.value.state;
  return (
    <Card
      title={words.loading(now.model)}
      actions={<Button onClick={() => void cancel(true)}>{text.value.message.cancel}</Button>}
    >
      <Bar value={share(now)} label={words.loading(now.model)} />
      <p class="numbers">{stageLine(now.progress)}</p>
      <Clock since={now.since} />
    </Card>
  );
}

function Recovering({ now }: { now: Named<"recovering"> }): VNode {
  const words = text.value.state;
  const done = share(now);
  return (
    <Card title={words.recovering}>
      <Bar value={done} label={words.recovering} />
      {now.progress ? (
        <p class="numbers">
          {stageLine(now.progress)}
          {done === null ? "" : ` · ${format.value.percent(done)}`}
        </p>
      ) : null}
      <p class="muted">{words.recoveringDetail}</p>
      <Clock since={now.since} />
      <details class="details">
        <summary>{words.details}</summary>
        <p lang="en">{now.reason}</p>
      </details>
    </Card>
  );
}

function Failed({ now }: { now: Named<"failed"> }): VNode {
  const words = text.value.state;
  const title = { load: words.failedLoad, answer: words.failedAnswer, recovery: words.failedRecovery }[now.during];
  const said = text.value.errors[now.problem.code] ?? text.value.errors.internal;
  const half = Math.max(256, Math.floor((settings.value.context ?? plan.value?.context ?? 8192) / 2));
  const { retryAfter } = now.problem;
  const memory = now.problem.code === "out_of_memory";
  return (
    <Card
      title={title}
      tone="bad"
      actions={
        now.during === "answer" ? (
          <>
            {now.problem.code === "context_overflow" ? <MoreRoom /> : null}
            <CopyButton wide label={words.copyReport} content={() => report(now.problem)} />
          </>
        ) : (
          <>
            <Button primary onClick={resume}>
              {words.retryLoad}
            </Button>
            {memory ? (
              <Button
                onClick={() => {
                  settings.value = { ...settings.value, context: half };
                  resume();
                }}
              >
                {words.halfContext(format.value.integer(half))}
              </Button>
            ) : null}
            {wish.value.source === "stories" ? null : (
              <Button onClick={() => void load(STORIES)}>{onServer.value ? words.useTab : words.smaller}</Button>
            )}
            <CopyButton wide label={words.copyReport} content={() => report(now.problem)} />
          </>
        )
      }
    >
      <p role="alert">
        <strong>{said.title}.</strong> {said.advice}{" "}
        {retryAfter ? words.serverRetry(format.value.integer(retryAfter)) : null}
      </p>
      <Help problem={now.problem} />
    </Card>
  );
}

function MoreRoom(): VNode {
  const larger = largerContext.value;
  return (
    <>
      <Button primary onClick={() => void newChat()}>
        {text.value.header.newChat}
      </Button>
      {larger === null ? null : (
        <Button onClick={() => void applySettings({ context: larger })}>
          {text.value.message.largerContext(format.value.integer(larger))}
        </Button>
      )}
    </>
  );
}

function CameBack({ now }: { now: Named<"cameBack"> }): VNode {
  const words = text.value.state;
  const { mark } = now;
  return (
    <Card
      title={words.cameBack}
      actions={
        <>
          <Button primary onClick={() => void comeBack(mark, true)}>
            {words.cameBackSmall}
          </Button>
          {mark.model === "stories" ? null : <Button onClick={() => void load(STORIES)}>{words.smaller}</Button>}
          <Button onClick={() => void comeBack(mark, false)}>{words.cameBackAgain}</Button>
        </>
      }
    >
      <p role="alert">{words.cameBackDetail(format.value.bytes(mark.bytes), mark.model)}</p>
    </Card>
  );
}

function Elsewhere(): VNode {
  const words = text.value.state;
  const waits = useSignal(false);
  const here = async () => {
    waits.value = true;
    await takeOver();
    await load(wish.peek());
  };
  return (
    <Card
      title={words.elsewhere}
      actions={
        <button type="button" class="button primary" disabled={waits.value} onClick={() => void here()}>
          {words.here}
        </button>
      }
    >
      <p>{words.elsewhereDetail}</p>
    </Card>
  );
}
