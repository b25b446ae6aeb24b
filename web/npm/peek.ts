// A model on a server, read in ranges where it lies: for its plan, which needs headers and nothing else.

import { LynError } from "./errors.js";
import { MAX_READ, type Source } from "./files.js";
import { type Net, type Remote, connect, fileUrl, refused, retrying } from "./hub.js";

export class RangeSource implements Source {
  private readonly sizes = new Map<string, number | undefined>();

  constructor(
    private readonly remote: Remote,
    private readonly net: Net,
  ) {}

  get gguf(): string | undefined {
    return this.remote.gguf;
  }

  async size(file: string): Promise<number | undefined> {
    if (!this.sizes.has(file)) this.sizes.set(file, await this.ask(file));
    return this.sizes.get(file);
  }

  async read(file: string, offset: number, length: number): Promise<Uint8Array> {
    if (length === 0) return new Uint8Array();
    if (length > MAX_READ) throw new LynError("internal", `${file}: a read of ${length} bytes; at most ${MAX_READ}`);
    const last = offset + length - 1;
    return retrying(this.net, async () => {
      const headers = { ...this.remote.headers, range: `bytes=${offset}-${last}` };
      const { response, close } = await connect(this.net, fileUrl(this.remote, file), { headers });
      try {
        if (!response.ok) throw refused(response, this.remote, file);
        const told = response.headers.get("content-range");
        if (response.status !== 206 || (told !== null && !told.startsWith(`bytes ${offset}-${last}/`))) {
          const message = `${file}: asked for bytes ${offset}-${last}, the server answered ${response.status} ${told ?? ""}`;
          throw new LynError("network", message, { help: ["The server must answer range requests."] });
        }
        const bytes = new Uint8Array(await response.arrayBuffer());
        if (bytes.length === length) return bytes;
        throw new LynError("network", `${file}: expected ${length} bytes, found ${bytes.length}`);
      } finally {
        close();
      }
    });
  }

  private async ask(file: string): Promise<number | undefined> {
    return retrying(this.net, async () => {
      const { response, close } = await connect(this.net, fileUrl(this.remote, file), { method: "HEAD", headers: this.remote.headers });
      close();
      if (response.status === 404 || response.status === 410) return undefined;
      if (!response.ok) throw refused(response, this.remote, file);
      const length = response.headers.get("content-length");
      if (length !== null && /^\d+$/.test(length)) return Number(length);
      throw new LynError("network", `${file}: the server does not report its size`);
    });
  }
}
