// Server-sent events, as far as answers use them: the data of each event. Read as servers and proxies really send them:
// any kind of line end, comments, fields of no interest, a last event without the empty line after it.

/** Characters of one event. What is longer is no piece of an answer. */
const MOST = 1 << 22;

/** Takes text as it comes, and gives the data of the events that are whole. */
export class EventData {
  /** The line in the making. */
  #rest = "";
  /** Lines of the event in the making. */
  #lines: string[] = [];
  #size = 0;

  push(text: string): string[] {
    this.#rest += text;
    // A carriage return at the very end may be half of a line end.
    const held = this.#rest.endsWith("\r") ? "\r" : "";
    const lines = this.#rest.slice(0, this.#rest.length - held.length).split(/\r\n|\n|\r/);
    this.#rest = (lines.pop() ?? "") + held;
    const whole = lines.flatMap((line) => this.#take(line));
    if (this.#rest.length + this.#size > MOST) throw new RangeError(`an event has more than ${MOST} characters`);
    return whole;
  }

  /** The last event, where the stream ended right after it. */
  end(): string[] {
    const lines = this.#rest.split(/\r\n|\n|\r/);
    this.#rest = "";
    return [...lines, ""].flatMap((line) => this.#take(line));
  }

  #take(line: string): string[] {
    if (line === "") {
      const data = this.#lines;
      this.#lines = [];
      this.#size = 0;
      return data.length ? [data.join("\n")] : [];
    }
    const colon = line.indexOf(":");
    if (line.slice(0, colon < 0 ? undefined : colon) !== "data") return [];
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    this.#lines.push(value);
    this.#size += value.length;
    return [];
  }
}
