// What the page may do, stated once: index.html carries it as a meta tag, servers may send it as a header too. Model
// weights come from the Hugging Face Hub and its storage hosts; nothing else outside its own origin is ever asked.

export const csp = [
  "default-src 'none'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "style-src 'self'",
  "img-src 'self' blob:",
  "connect-src 'self' https://huggingface.co https://*.huggingface.co https://*.hf.co",
  "worker-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types lyn",
].join("; ");
