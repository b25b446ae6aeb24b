// The page's one Trusted Types policy, `lyn`: script URLs must come from the page's own origin. Everything that starts
// a script from a URL (the model's worker, the service worker) takes it from here.

interface Policy {
  createScriptURL(url: string): string;
}

const factory = (globalThis as { trustedTypes?: { createPolicy(name: string, rules: Policy): Policy } }).trustedTypes;

const rules: Policy = {
  createScriptURL(url) {
    if (new URL(url, document.baseURI).origin !== location.origin)
      throw new TypeError(`not a script of this page: ${url}`);
    return url;
  },
};

const policy = factory?.createPolicy("lyn", rules) ?? rules;

export function scriptUrl(url: URL): string {
  return policy.createScriptURL(url.href);
}
