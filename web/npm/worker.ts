// The worker's side: one core, fed by messages; or trials for the core that started this worker.

import { Core } from "./core.js";
import type { FromCore, ToWorker } from "./protocol.js";
import { startWorker } from "./start.js";
import { serveTrials } from "./trial-worker.js";

const post = (message: FromCore, transfer: Transferable[] = []) => self.postMessage(message, { transfer });
const core = new Core(post, () => startWorker(self.location.href, "lyn trial"));

self.addEventListener("message", ({ data }: MessageEvent<ToWorker>) => {
  if ("trial" in data) void serveTrials(data.trial, data.port, data.gguf);
  else core.receive(data);
});

// A panic inside WebAssembly leaves its promises pending for ever: it is told here instead.
self.addEventListener("error", (event) => {
  event.preventDefault();
  core.panicked(event.message);
});
self.addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  core.panicked(String(event.reason));
});
