// The worker's side of a trial: an instance of the WebAssembly that is lost where the compiler of forms traps. A trap is not
// caught here: it is told as every panic is (worker.ts).

import init, { Trial, type Source } from "./wasm/lyn.js";
import type { FromTrial, PlainError, ToTrial } from "./protocol.js";

/** Answers the requests that come through `port`; `gguf` as in `Source`. */
export async function serveTrials(module: WebAssembly.Module, port: MessagePort, gguf: string | undefined): Promise<void> {
  const reads = new Map<number, { resolve(value: unknown): void; reject(error: unknown): void }>();
  const post = (message: FromTrial) => port.postMessage(message);
  let next = 0;
  let trial: Trial | undefined;
  const read = (file: string, range: [number, number] | null) =>
    new Promise<unknown>((resolve, reject) => {
      reads.set(next, { resolve, reject });
      post({ read: next++, file, range });
    });
  const source: Source = {
    gguf,
    size: (file) => read(file, null) as Promise<number | undefined>,
    read: (file, offset, length) => read(file, [offset, length]) as Promise<Uint8Array>,
  };
  port.onmessage = ({ data }: MessageEvent<ToTrial>) => {
    if ("prepare" in data) {
      const refused = refusal(() => trial?.prepare());
      post(refused ? { refused } : { ready: true });
      return;
    }
    if ("check" in data) {
      post({ refused: refusal(() => trial?.check(data.check)) });
      return;
    }
    const waiting = reads.get(data.read);
    reads.delete(data.read);
    if (data.failed === undefined) waiting?.resolve(data.value);
    else waiting?.reject(new Error(data.failed));
  };
  await init({ module_or_path: module });
  trial = await Trial.open(source);
  post({ ready: true });
}

/** The error that lyn throws, which is a plain object; a trap goes on. */
function refusal(check: () => void): PlainError | null {
  try {
    check();
    return null;
  } catch (error) {
    if (error instanceof Error) throw error;
    return error as PlainError;
  }
}
