// Starts workers, under a content security policy too.

interface Policy {
  createScriptURL(url: string): string;
}

let policy: Policy | null | undefined;

export function startWorker(url: string, name: string): Worker {
  // Pages that require Trusted Types must allow the policy `lyn`.
  const types = (globalThis as { trustedTypes?: { createPolicy(name: string, rules: Policy): Policy } }).trustedTypes;
  policy ??= types?.createPolicy("lyn", { createScriptURL: (url) => url }) ?? null;
  return new Worker(policy ? policy.createScriptURL(url) : url, { type: "module", name });
}
