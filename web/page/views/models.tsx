// Choosing a model: the one that comes along, one from this device, one from the Hub. Before anything is fetched stands
// the plan: what it needs, and whether it fits.
import { useSignal } from "@preact/signals";
import type { Plan, StoredModel } from "lyn";
import type { VNode } from "preact";
import { useEffect } from "preact/hooks";
import type { Problem } from "../client.ts";
import { server } from "../app/delivered.ts";
import { cancel, load, planFor, removeStored, stored } from "../app/models.ts";
import { announce, client, dialog, model, onServer, SERVER, state, STORIES, wish, type ServerWish, type Wish } from "../app/signals.ts";
import { isRepository } from "../settings.ts";
import { isLoading } from "../state.ts";
import { toProblem } from "../tab.ts";
import { format, text } from "../text/index.ts";
import { checkpointFrom, dropped, missingFrom } from "../app/files.ts";
import { Dialog } from "./dialog.tsx";

export function ModelsDialog(): VNode {
  const words = text.value.models;
  return (
    <Dialog title={words.title}>
      <ModelChoice />
      <Stored />
    </Dialog>
  );
}

function use(wanted: Wish | ServerWish): void {
  dialog.value = null;
  void load(wanted);
}

export function ModelChoice(): VNode {
  const words = text.value.models;
  const current = client.value !== null && wish.value.source === "stories";
  return (
    <div class="choices">
      {server ? (
        <>
          <ThisServer />
          <h3>{words.tab}</h3>
        </>
      ) : null}
      <section class="choice" aria-label={words.stories}>
        <div>
          <h3>{words.stories}</h3>
          <p class="muted small">{words.storiesDetail}</p>
        </div>
        <button type="button" class="button primary" disabled={current} onClick={() => use(STORIES)}>
          {current ? words.current : words.use}
        </button>
      </section>
      <FromHub />
      <FromHere />
      {window === window.parent ? null : <p class="muted small">{words.iframe}</p>}
      {navigator.storage && "getDirectory" in navigator.storage ? null : <p class="muted small">{words.memoryOnly}</p>}
    </div>
  );
}

/** The other way to run a model, where the page came from a server. */
function ThisServer(): VNode {
  const words = text.value.models;
  const current = client.value !== null && onServer.value;
  return (
    <section class="choice" aria-label={words.server}>
      <div>
        <h3>{current ? `${words.server}: ${wish.value.id}` : words.server}</h3>
        <p class="muted small">{words.serverDetail}</p>
      </div>
      <button type="button" class="button primary" disabled={current} onClick={() => use(SERVER)}>
        {current ? words.current : words.use}
      </button>
    </section>
  );
}

function FromHub(): VNode {
  const words = text.value.models;
  const linked = wish.peek().id.startsWith("hf:") ? wish.peek().id.slice(3) : "";
  const name = useSignal(linked);
  const asked = useSignal<Wish | null>(null);
  const clean = name.value
    .trim()
    .replace(/^(hf:|https:\/\/huggingface\.co\/)/, "")
    .replace(/\/$/, "");
  const valid = isRepository(clean);
  const check = (event: Event) => {
    event.preventDefault();
    if (valid) asked.value = { source: `hf:${clean}`, id: `hf:${clean}` };
  };
  return (
    <section class="choice choice-tall" aria-label={words.hub}>
      <h3>{words.hub}</h3>
      <form class="row" onSubmit={check}>
        <input
          class="field grow"
          type="text"
          spellcheck={false}
          autocomplete="off"
          autocapitalize="off"
          aria-label={words.hubLabel}
          placeholder={words.hubPlaceholder}
          value={name.value}
          onInput={(event) => {
            name.value = event.currentTarget.value;
            asked.value = null;
          }}
        />
        <button type="submit" class="button" disabled={!valid}>
          {words.check}
        </button>
      </form>
      <p class="muted small">{words.hubHint}</p>
      {asked.value ? <Verdict key={asked.value.id} wanted={asked.value} /> : null}
    </section>
  );
}

function FromHere(): VNode {
  const words = text.value.models;
  const picked = dropped.value;
  const take = (files: FileList | null) => {
    if (files?.length) dropped.value = checkpointFrom([...files]);
  };
  return (
    <section class="choice choice-tall" aria-label={words.local}>
      <h3>{words.local}</h3>
      <p class="muted small">{words.localHint}</p>
      <div class="row">
        <label class="button file">
          {words.pickFolder}
          <input
            type="file"
            class="unseen"
            {...{ webkitdirectory: true }}
            multiple
            onChange={(event) => take(event.currentTarget.files)}
          />
        </label>
        <label class="button file">
          {words.pickFiles}
          <input
            type="file"
            class="unseen"
            multiple
            accept=".json,.safetensors,.gguf,.jinja,.model"
            onChange={(event) => take(event.currentTarget.files)}
          />
        </label>
      </div>
      {picked ? <Picked key={picked.id} wanted={picked} /> : null}
    </section>
  );
}

function Picked({ wanted }: { wanted: Wish }): VNode {
  const missing = missingFrom(wanted);
  if (missing) {
    const said = text.value.errors.missing_tensor;
    return (
      <p role="alert">
        <strong>{said.title}.</strong> {missing}
      </p>
    );
  }
  return <Verdict wanted={wanted} />;
}

/** The plan of a model, from its headers, and the way to load it. */
function Verdict({ wanted }: { wanted: Wish }): VNode {
  const words = text.value.models;
  const found = useSignal<{ plan: Plan } | { problem: Problem } | null>(null);
  useEffect(() => {
    const abort = new AbortController();
    planFor(wanted, abort.signal).then(
      (plan) => (found.value = { plan }),
      (error: unknown) => abort.signal.aborted || (found.value = { problem: toProblem(error) }),
    );
    return () => abort.abort();
  }, [wanted]);
  if (!found.value) return <p class="muted">{words.checking}</p>;
  if ("problem" in found.value) {
    const { problem } = found.value;
    // Of files that were picked, what is not there is a part.
    const code = problem.code === "model_not_found" && Array.isArray(wanted.source) ? "missing_tensor" : problem.code;
    const said = text.value.errors[code] ?? text.value.errors.internal;
    return (
      <div class="verdict">
        <p role="alert">
          <strong>{said.title}.</strong> {said.advice}
        </p>
        <p class="muted small" lang="en">
          {[problem.message, ...problem.help].join(" · ")}
        </p>
      </div>
    );
  }
  const { plan } = found.value;
  const { bytes, integer } = format.value;
  const remote = wanted.id.startsWith("hf:");
  const fits = plan.fit !== "does_not_fit";
  return (
    <div class="verdict">
      <p class={`fit fit-${plan.fit}`}>
        <strong>{wanted.id.replace(/^hf:/, "")}</strong>: {words.fits[plan.fit]}
      </p>
      <dl class="facts">
        <dt>{words.parameters}</dt>
        <dd>{integer(plan.parameters)}</dd>
        <dt>{words.layers}</dt>
        <dd>{integer(plan.layers)}</dd>
        <dt>{words.weights}</dt>
        <dd>{bytes(plan.weights_bytes)}</dd>
        <dt>{words.cache}</dt>
        <dd>
          {bytes(plan.cache_bytes)} {words.forContext(integer(plan.context))}
        </dd>
        <dt>{words.scratch}</dt>
        <dd>{bytes(plan.scratch_bytes)}</dd>
        <dt>{words.total}</dt>
        <dd>{bytes(plan.total_bytes)}</dd>
      </dl>
      {remote ? (
        <p class="small">
          <a
            href={`https://huggingface.co/${wanted.id.slice(3).split(/[@:]/)[0]}`}
            target="_blank"
            rel="noopener noreferrer"
          >
            {words.licence}
          </a>
        </p>
      ) : null}
      <button
        type="button"
        class={fits ? "button primary" : "button"}
        onClick={() => use(fits ? wanted : { ...wanted, force: true })}
      >
        {!fits ? words.loadAnyway : remote ? words.download(bytes(plan.stored_bytes)) : words.load}
      </button>
    </div>
  );
}

function Stored(): VNode {
  const words = text.value.models;
  const list = useSignal<StoredModel[] | null>(null);
  const usage = useSignal<StorageEstimate>({});
  const refresh = async () => {
    list.value = await stored().catch(() => []);
    usage.value = (await navigator.storage?.estimate?.().catch(() => null)) ?? {};
  };
  useEffect(() => void refresh(), []);
  const remove = async (id: string) => {
    if (isLoading(state.peek()) && wish.peek().id === id) await cancel(true);
    const freed = await removeStored(id).catch(() => 0);
    announce(words.freed(format.peek().bytes(freed)));
    await refresh();
  };
  const { bytes, date } = format.value;
  return (
    <section class="stored" aria-label={words.stored}>
      <h3>{words.stored}</h3>
      {list.value?.length === 0 ? <p class="muted small">{words.storedNone}</p> : null}
      <ul class="plain">
        {list.value?.map((kept) => (
          <li key={kept.id} class="row">
            <span class="grow">
              <strong>{kept.id.replace(/^hf:/, "")}</strong>{" "}
              <span class="muted small">
                {kept.complete
                  ? bytes(kept.bytes)
                  : words.partial(
                      bytes(kept.files.reduce((sum, file) => sum + file.loaded, 0)),
                      bytes(kept.files.reduce((sum, file) => sum + file.bytes, 0)),
                    )}{" "}
                · {date(kept.usedAt)}
              </span>
            </span>
            {kept.id.startsWith("hf:") ? (
              <button
                type="button"
                class="button"
                disabled={!onServer.value && model.value?.id === kept.id}
                onClick={() => use({ source: kept.id as `hf:${string}`, id: kept.id })}
              >
                {words.use}
              </button>
            ) : null}
            <button
              type="button"
              class="button"
              disabled={!onServer.value && model.value?.id === kept.id}
              aria-label={`${words.delete}: ${kept.id}`}
              onClick={() => void remove(kept.id)}
            >
              {words.delete}
            </button>
          </li>
        ))}
      </ul>
      {usage.value.quota ? (
        <p class="muted small">{words.usage(bytes(usage.value.usage ?? 0), bytes(usage.value.quota))}</p>
      ) : null}
    </section>
  );
}
