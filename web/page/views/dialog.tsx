// A dialog of the browser's own kind: it keeps the focus inside, closes on Escape, and gives the focus back.
import type { ComponentChildren, VNode } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { dialog } from "../app/signals.ts";
import { text } from "../text/index.ts";
import { Icon } from "./icon.tsx";

export function Dialog(props: { title: string; children: ComponentChildren }): VNode {
  const place = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const opener = document.activeElement;
    place.current?.showModal();
    return () => {
      if (opener instanceof HTMLElement) opener.focus();
    };
  }, []);
  const close = () => (dialog.value = null);
  return (
    <dialog
      ref={place}
      class="dialog"
      aria-labelledby="dialog-title"
      onClose={close}
      onClick={(event) => event.target === place.current && close()}
    >
      <div class="dialog-inside">
        <div class="dialog-head">
          <h2 id="dialog-title">{props.title}</h2>
          <button
            type="button"
            class="icon-button"
            aria-label={text.value.settings.close}
            title={text.value.settings.close}
            onClick={close}
          >
            <Icon name="close" />
          </button>
        </div>
        {props.children}
      </div>
    </dialog>
  );
}
