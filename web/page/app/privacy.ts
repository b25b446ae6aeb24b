// What left this device since the page was loaded, counted as honestly as a page can. Bodies: there is one place that
// may send any (`send`), and it counts. Files: the browser's own list of what this page has fetched, by host.
import { signal } from "@preact/signals";

/** Bytes of request bodies. */
export const sentBytes = signal(0);
/** Files fetched from other hosts than the page's own. */
export const fetched = signal<Readonly<Record<string, number>>>({});

/** The only way for a transport to send something. */
export function send(url: URL, body: string, options: RequestInit = {}): Promise<Response> {
  sentBytes.value += new TextEncoder().encode(body).length;
  return fetch(url, { ...options, method: "POST", body });
}

/** A file that the worker said it has fetched: the browser lists a worker's requests in the worker only. */
export function countFile(host: string): void {
  if (host !== location.host) fetched.value = { ...fetched.value, [host]: (fetched.value[host] ?? 0) + 1 };
}

export function startCounting(): void {
  if (typeof PerformanceObserver === "undefined") return;
  const observer = new PerformanceObserver((list) => {
    for (const { name } of list.getEntries()) if (/^https?:/.test(name)) countFile(new URL(name).host);
  });
  observer.observe({ type: "resource", buffered: true });
}
