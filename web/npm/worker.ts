// The worker's side: one core, fed by messages.

import { Core } from "./core.js";
import type { FromCore, ToCore } from "./protocol.js";

const post = (message: FromCore, transfer: Transferable[] = []) => self.postMessage(message, { transfer });
const core = new Core(post);

self.addEventListener("message", (event: MessageEvent<ToCore>) => core.receive(event.data));

// A panic inside WebAssembly leaves its promises pending for ever: it is told here instead.
self.addEventListener("error", (event) => {
  event.preventDefault();
  core.panicked(event.message);
});
self.addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  core.panicked(String(event.reason));
});
