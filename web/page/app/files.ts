// Checkpoints from this device: picked or dropped, read in place, never copied.
import { signal } from "@preact/signals";
import { dialog, type Wish } from "./signals.ts";

/** A checkpoint that was dropped or picked, and waits for a yes. */
export const dropped = signal<Wish | null>(null);
/** Something is being dragged over the page. */
export const dragging = signal(false);

const KNOWN = /\.(json|safetensors|gguf|jinja|txt|model)$/i;
const WEIGHTS = /\.(safetensors|gguf)$/i;

/** A folder's files as a wish; files that no checkpoint has are left out. */
export function checkpointFrom(files: File[]): Wish {
  // Checkpoints are flat: a folder inside the folder is something else, with files of the same names.
  const kept = files.filter((file) => KNOWN.test(file.name) && file.webkitRelativePath.split("/").length <= 2);
  const folder = files[0]?.webkitRelativePath.split("/")[0];
  const weights = kept.map(({ name }) => name).filter((name) => WEIGHTS.test(name)).sort()[0];
  return { source: kept, id: folder || weights || files[0]?.name || "?" };
}

/** Names of the parts that a checkpoint cannot do without and that are not here; null: all are, or the package knows. */
export function missingFrom({ source }: Wish): string | null {
  if (!Array.isArray(source)) return null;
  const names = source.map((file) => file.name);
  if (names.some((name) => name.endsWith(".gguf"))) return null;
  const missing = ["config.json"].filter((name) => !names.includes(name));
  if (!names.some((name) => name === "tokenizer.json" || name === "tiktoken.model")) missing.push("tokenizer.json");
  if (!names.some((name) => name.endsWith(".safetensors"))) missing.push("*.safetensors");
  return missing.length ? missing.join(", ") : null;
}

export function startDropping(): void {
  addEventListener("dragover", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    dragging.value = true;
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) dragging.value = false;
  });
  addEventListener("drop", (event) => {
    dragging.value = false;
    if (!event.dataTransfer?.types.includes("Files") || event.defaultPrevented) return;
    event.preventDefault();
    void readDropped(event.dataTransfer).then((wanted) => {
      dropped.value = wanted;
      dialog.value = "models";
    });
  });
}

/** Files as they are, and those of one dropped folder (not of folders inside it: checkpoints are flat). */
async function readDropped(data: DataTransfer): Promise<Wish> {
  // Entries are gone once the event is over: they are taken before anything is awaited.
  const entries = [...data.items].map((item) => item.webkitGetAsEntry());
  const files = [...data.files];
  const folder = entries.find((entry) => entry?.isDirectory) as FileSystemDirectoryEntry | undefined;
  if (!folder) return checkpointFrom(files);
  const reader = folder.createReader();
  const inside: File[] = [];
  for (;;) {
    const batch = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (batch.length === 0) break;
    for (const entry of batch)
      if (entry.isFile)
        inside.push(await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject)));
  }
  return { ...checkpointFrom(inside), id: folder.name };
}
