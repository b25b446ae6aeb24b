// A trace file, dropped on the panel or picked.

import { useSignal } from "@preact/signals";
import { readTrace, TraceFileError } from "../../trace/format.ts";
import { TraceStore } from "../../trace/store.ts";
import type { PanelProps } from "../props.ts";
import { catalogue } from "../text.ts";
import type { AttentionState } from "./state.ts";

export function useFile(state: AttentionState, props: PanelProps) {
  const over = useSignal(false);
  const reading = useSignal(false);
  const error = useSignal<string | null>(null);
  const open = async (file: File | undefined) => {
    if (!file) return;
    const { attention: words } = catalogue(props.language.value);
    reading.value = true;
    error.value = null;
    try {
      state.show({ name: file.name, store: TraceStore.from(await readTrace(file)) });
    } catch (failure) {
      const { integer } = props.format.value;
      error.value =
        failure instanceof TraceFileError
          ? words.fileError(integer(failure.line), failure.field, words.expected[failure.expectation], failure.found)
          : words.notReadable;
    } finally {
      reading.value = false;
    }
  };
  const holdsFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
  return {
    over,
    reading,
    error,
    // The page takes dropped files for models; those that fall on this panel are its own.
    onDragOver: (event: DragEvent) => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      event.stopPropagation();
      over.value = true;
    },
    onDragLeave: (event: DragEvent & { currentTarget: HTMLElement }) => {
      if (!(event.relatedTarget instanceof Node && event.currentTarget.contains(event.relatedTarget)))
        over.value = false;
    },
    onDrop: (event: DragEvent) => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      event.stopPropagation();
      over.value = false;
      void open(event.dataTransfer?.files[0]);
    },
    onPick: (event: Event & { currentTarget: HTMLInputElement }) => {
      const input = event.currentTarget;
      void open(input.files?.[0]).then(() => (input.value = "")); // the same file can be picked again
    },
  };
}
