// Keeps the page's own files, so that it works with the network off after the first visit: document, scripts,
// WebAssembly, and the model that comes along. A new version is fetched whole before it takes the old one's place;
// nothing else is ever answered from here, least of all model weights from elsewhere.
export {};
declare const self: ServiceWorkerGlobalScope;

// Both are written by the build: a hash over all files, and their list as JSON.
const VERSION: string = "__VERSION__";
const FILES = JSON.parse("__FILES__") as string[];
const PREFIX = "lyn-shell-";
const CACHE = PREFIX + VERSION;

const scope = new URL(self.registration.scope);
const known = new Set(FILES.map((file) => new URL(file, scope).href));
const documentUrl = new URL("./", scope).href;

self.addEventListener("install", (event) => {
  event.waitUntil(
    (async () => {
      const cache = await caches.open(CACHE);
      // Files with a hash in their name may come from the HTTP cache; the document must be new.
      await cache.add(new Request(documentUrl, { cache: "reload" }));
      await cache.addAll([...known].filter((url) => url !== documentUrl));
      await self.skipWaiting();
    })(),
  );
});

self.addEventListener("activate", (event) => {
  event.waitUntil(
    (async () => {
      for (const name of await caches.keys()) if (name.startsWith(PREFIX) && name !== CACHE) await caches.delete(name);
      await self.clients.claim();
    })(),
  );
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET") return;
  const url = new URL(request.url);
  url.hash = "";
  url.search = "";
  const isDocument =
    request.mode === "navigate" && (url.href === documentUrl || url.href === `${documentUrl}index.html`);
  if (isDocument) event.respondWith(page(request));
  else if (known.has(url.href)) event.respondWith(file(request, url.href));
});

/** The newest page while there is a network, the kept one otherwise. */
async function page(request: Request): Promise<Response> {
  try {
    const fresh = await fetch(request);
    if (fresh.ok) return fresh;
  } catch {
    // No network: what is kept will do.
  }
  return (await caches.match(documentUrl, { cacheName: CACHE })) ?? Response.error();
}

async function file(request: Request, url: string): Promise<Response> {
  const kept = await caches.match(url, { cacheName: CACHE });
  if (!kept) return fetch(request);
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.get("range") ?? "");
  if (!range) return kept;
  // Weights are read in pieces: a kept file must answer as a server would.
  const blob = await kept.blob();
  const from = Number(range[1]);
  const to = range[2] ? Math.min(Number(range[2]), blob.size - 1) : blob.size - 1;
  if (from > to) return new Response(null, { status: 416, headers: { "content-range": `bytes */${blob.size}` } });
  const headers = new Headers(kept.headers);
  headers.delete("content-encoding");
  headers.set("content-range", `bytes ${from}-${to}/${blob.size}`);
  headers.set("content-length", String(to - from + 1));
  return new Response(blob.slice(from, to + 1), { status: 206, headers });
}
