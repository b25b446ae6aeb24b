// The server that delivered this page, where one did. It says so in the document's head; a static host cannot, and is
// never asked for a model.
import type { ChatClient } from "../client.ts";

/** Where to ask; null: the page came from a static host. */
export const server: URL | null = base();
/** For this visit: it is never written down. */
let key: string | null = null;

function base(): URL | null {
  const said = document.querySelector<HTMLMetaElement>('meta[name="lyn-server"]');
  return said ? new URL(said.content, document.baseURI) : null;
}

/** Whether a key has been given. */
export const hasKey = (): boolean => key !== null;

export function giveKey(given: string): void {
  key = given;
}

/** A client for that server; `onWait` is told that it still loads its model. */
export async function connectToServer(signal: AbortSignal, onWait: () => void): Promise<ChatClient> {
  if (!server) throw new Error("this page was not delivered by a server");
  const { connect } = await import("../server.ts");
  return connect(server, { key, signal, onWait });
}
