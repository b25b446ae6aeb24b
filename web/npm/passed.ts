// Which adapters passed the self-check: kept in the Cache API, which exists in workers; local storage does not.

const CHECKS = "lyn-self-check";
const checkUrl = (key: string) => new URL(`/lyn-self-check?${encodeURIComponent(key)}`, self.location.origin).href;

export async function remembered(key: string): Promise<boolean> {
  try {
    return (await (await caches.open(CHECKS)).match(checkUrl(key))) !== undefined;
  } catch {
    return false;
  }
}

export async function remember(key: string): Promise<void> {
  try {
    await (await caches.open(CHECKS)).put(checkUrl(key), new Response("passed"));
  } catch {
    // Private mode: the check runs again next time.
  }
}
