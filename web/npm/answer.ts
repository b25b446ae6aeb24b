// What an answer's events become on their way to the caller.

import type { EngineEvent, EngineResult } from "./wasm/lyn.js";
import type { PromptProgress } from "./protocol.js";
import type { ChatCompletionChunk, Result, Selection, TokenEvent } from "./types.js";

/** Collects tokens with their text; a token is told with the text that was whole by then. */
export class Answer {
  protected text = "";
  protected reasoning = "";
  private pending: TokenEvent | null = null;
  private selection: Selection[] = [];
  private position = 0;

  constructor(private readonly emit: (event: { prompt: PromptProgress } | { token: TokenEvent }) => void) {}

  take(event: EngineEvent): void {
    switch (event.type) {
      case "prompt":
        this.position = event.total;
        this.emit({ prompt: { done: event.done, total: event.total, cached: event.cached } });
        break;
      case "trace":
        this.selection.push(...event.selections);
        break;
      case "token":
        this.flush();
        this.pending = { text: "", id: event.id, position: this.position++, reasoning: false };
        if (this.selection.length > 0) this.pending.selection = this.selection;
        this.selection = [];
        break;
      case "text":
        if (event.reasoning) this.reasoning += event.text;
        else this.text += event.text;
        if (this.pending) {
          this.pending.text += event.text;
          this.pending.reasoning = event.reasoning;
          // Told at once: the next token may be long in coming.
          this.flush();
        } else {
          // Text that was held back, perhaps by a stop string: it belongs to the last token.
          this.emit({ token: { text: event.text, id: -1, position: this.position - 1, reasoning: event.reasoning } });
        }
        break;
      case "chunk":
        break;
    }
  }

  flush(): void {
    if (this.pending) this.emit({ token: this.pending });
    this.pending = null;
  }

  result(end: EngineResult): Result {
    const { promptIds, ids, finish_reason, usage, timings, seed } = end;
    return { text: this.text, reasoning: this.reasoning, promptIds, ids, finish_reason, usage, timings, seed };
  }
}

/** As `Answer`, but what is told are OpenAI's chunks, with the tokens behind each. */
export class ChatAnswer extends Answer {
  private ids: number[] = [];
  private traced: Selection[] = [];
  private first = 0;

  constructor(private readonly tell: (event: { prompt: PromptProgress } | { chunk: ChatCompletionChunk }) => void) {
    super((event) => {
      if ("prompt" in event) tell(event);
    });
  }

  override take(event: EngineEvent): void {
    super.take(event);
    if (event.type === "prompt") this.first = event.total;
    if (event.type === "token") this.ids.push(event.id);
    if (event.type === "trace") this.traced.push(...event.selections);
    if (event.type !== "chunk") return;
    const chunk = JSON.parse(event.chunk) as ChatCompletionChunk;
    chunk.lyn = { ids: this.ids, position: this.first };
    if (this.traced.length > 0) chunk.lyn.selection = this.traced;
    this.first += this.ids.length;
    this.ids = [];
    this.traced = [];
    this.tell({ chunk });
  }
}
