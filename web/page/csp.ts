// The content security policy: one text for the page's meta tag and for the headers of the test server.

/** Where models may come from beside the page's own origin: the Hub and the hosts that it sends downloads to. */
export const MODEL_HOSTS = ["https://huggingface.co", "https://*.huggingface.co", "https://*.hf.co"];

/** The policy. `frame-ancestors` is absent: the page may be shown in a frame, and a meta tag could not say it. */
export const CSP = [
  "default-src 'none'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "style-src 'self'",
  "img-src 'self' blob:",
  `connect-src 'self' ${MODEL_HOSTS.join(" ")}`,
  "worker-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types lyn",
].join("; ");
