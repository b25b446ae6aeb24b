// A button that puts something on the clipboard and says so.
import { useSignal } from "@preact/signals";
import type { VNode } from "preact";
import { announce } from "../app/signals.ts";
import { text } from "../text/index.ts";
import { Icon } from "./icon.tsx";

export async function copy(content: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(content);
    announce(text.peek().status.copied);
    return true;
  } catch {
    return false;
  }
}

/** `wide`: with its label as text, not only as a name. */
export function CopyButton(props: { label: string; content: () => string; wide?: boolean }): VNode {
  const done = useSignal(false);
  const run = async () => {
    done.value = await copy(props.content());
    setTimeout(() => (done.value = false), 1600);
  };
  const label = done.value ? text.value.message.copied : props.label;
  return (
    <button
      type="button"
      class={props.wide ? "button" : "icon-button"}
      aria-label={props.label}
      title={label}
      onClick={run}
    >
      <Icon name={done.value ? "check" : "copy"} />
      {props.wide ? <span>{label}</span> : null}
    </button>
  );
}
