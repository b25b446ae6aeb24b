//! The answer to a request as items: whole, or by events while it is made.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::items::ENCRYPTED;
use super::request::ResponsesRequest;
use crate::error::Error;
use crate::generate::{Event, Finish, Timings, Voice};
use crate::platform;
use crate::text::Tokenizer;
use crate::wire::merged;
use crate::wire::openai::logprobs::{entry, listed};

/// An answer in the making. Every [`Event`] goes through [`Response::events`], whether the answer is streamed or not.
#[derive(Default)]
pub struct Response {
    id: String,
    created: u64,
    model: String,
    /// What is repeated of the request.
    echo: Map<String, Value>,
    summary: bool,
    encrypted: bool,
    /// There where log probabilities of ids are reported.
    tokenizer: Option<Arc<Tokenizer>>,
    logprobs: bool,
    items: Vec<Item>,
    /// Log probabilities of tokens whose text has not been released.
    waiting: Vec<Value>,
    timings: Option<Timings>,
    finish: Option<Finish>,
    /// Why there is no more.
    error: Option<Value>,
    sequence: u64,
    /// Those that nobody has yet.
    told: Vec<Value>,
}

struct Item {
    id: String,
    said: Said,
    state: State,
}

enum Said {
    Thought(String),
    Text { text: String, logprobs: Vec<Value> },
    Call { call_id: String, name: String, arguments: String },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Complete,
    /// Its end is missing.
    Cut,
}

impl Response {
    /// An answer without items yet. `created`: Unix seconds; `model`: as the request names it.
    pub fn new(created: u64, model: impl Into<String>, request: &ResponsesRequest) -> Response {
        Response {
            id: format!("resp_{}", platform::name(32)),
            created,
            model: model.into(),
            echo: request.echo(),
            summary: request.wants_summary(),
            encrypted: request.wants_encrypted(),
            ..Response::default()
        }
    }

    /// Reports the log probabilities that come with tokens. `tokenizer`: whose ids they are.
    #[must_use]
    pub fn with_logprobs(self, tokenizer: impl Into<Option<Arc<Tokenizer>>>) -> Response {
        Response { logprobs: true, tokenizer: tokenizer.into(), ..self }
    }

    /// The events before all others.
    pub fn begin(&mut self) -> Vec<Value> {
        for kind in ["response.created", "response.in_progress"] {
            let response = self.whole();
            self.tell(kind, json!({ "response": response }));
        }
        std::mem::take(&mut self.told)
    }

    /// The events of a stream that an event of the answer is. Each has its name as `type`.
    pub fn events(&mut self, event: &Event) -> Vec<Value> {
        match event {
            Event::Token { id, logprobs } => {
                let tokenizer = self.tokenizer.as_deref();
                let at = tokenizer.zip(logprobs.as_ref()).and_then(|(tokenizer, at)| listed(tokenizer, *id, at));
                self.waiting.extend(at);
            }
            Event::Spelled(token) if self.logprobs => self.waiting.push(entry(token)),
            // After the opening of a call it is the markup of one that was cut: its parts have been told.
            Event::Text { .. } if self.in_call() => self.waiting.clear(),
            Event::Text { voice: Voice::Reasoning, text } => self.think(text),
            Event::Text { voice: Voice::Content, text } => self.text(text),
            Event::Call { index, name, id } => {
                self.close(State::Complete);
                self.waiting.clear();
                let call_id = id.clone().unwrap_or_else(|| format!("call_{index:02}_{}", platform::name(24)));
                self.open("fc", Said::Call { call_id, name: name.clone(), arguments: String::new() });
            }
            Event::Arguments { text, .. } => {
                self.waiting.clear();
                if let Some(Item { said: Said::Call { arguments, .. }, .. }) = self.items.last_mut() {
                    arguments.push_str(text);
                }
                self.delta("response.function_call_arguments.delta", None, text);
            }
            Event::CallEnd { .. } => self.close(State::Complete),
            Event::End { finish, timings, .. } => self.end(*finish, *timings),
            Event::Prompt { .. }
            | Event::PromptLogprobs { .. }
            | Event::EndToken { .. }
            | Event::Spelled(_)
            | Event::Trace(_) => {}
        }
        std::mem::take(&mut self.told)
    }

    /// Ends an answer that is cut. `code`: as errors have it.
    pub fn fail(&mut self, code: &str, error: &Error) -> Vec<Value> {
        if self.finish.is_none() {
            self.close(State::Cut);
            self.error = Some(json!({ "code": code, "message": error.message() }));
            self.finish = Some(Finish::Aborted);
            let response = self.whole();
            self.tell("response.failed", json!({ "response": response }));
        }
        std::mem::take(&mut self.told)
    }

    /// The whole answer.
    pub fn whole(&self) -> Value {
        let (status, reason) = match self.finish {
            None => ("in_progress", None),
            Some(Finish::Stop | Finish::ToolCalls) => ("completed", None),
            Some(Finish::Length) => ("incomplete", Some("max_output_tokens")),
            Some(Finish::Filtered) => ("incomplete", Some("content_filter")),
            Some(Finish::Aborted) => ("failed", None),
        };
        let items: Vec<Value> = self.items.iter().map(|item| self.item(item)).collect();
        let mut whole = self.echo.clone();
        for (name, value) in [
            ("id", json!(self.id)),
            ("object", json!("response")),
            ("created_at", json!(self.created)),
            ("status", json!(status)),
            ("error", json!(self.error)),
            ("incomplete_details", json!(reason.map(|reason| json!({ "reason": reason })))),
            ("model", json!(self.model)),
            ("output", json!(items)),
            ("usage", self.timings.as_ref().map_or(Value::Null, usage)),
        ] {
            whole.insert(name.to_owned(), value);
        }
        Value::Object(whole)
    }

    fn tell(&mut self, kind: &str, fields: Value) {
        self.told.push(merged(json!({ "type": kind, "sequence_number": self.sequence }), fields));
        self.sequence = self.sequence.saturating_add(1);
    }

    /// Tells of a part of the last item.
    fn tell_of(&mut self, kind: &str, fields: Value) {
        let Some(item) = self.items.last() else { return };
        let item = json!({ "item_id": item.id, "output_index": self.items.len().saturating_sub(1) });
        self.tell(kind, merged(item, fields));
    }

    /// Tells more of the last item. `index`: the name and number of its part.
    fn delta(&mut self, kind: &str, index: Option<&str>, delta: &str) {
        let fields = match index {
            Some(index) => json!({ "delta": delta, index: 0 }),
            None => json!({ "delta": delta }),
        };
        self.tell_of(kind, fields);
    }

    fn in_call(&self) -> bool {
        self.items.last().is_some_and(|item| matches!(item.said, Said::Call { .. }) && item.state == State::Open)
    }

    fn open(&mut self, prefix: &str, said: Said) {
        let item = Item { id: format!("{prefix}_{}", platform::name(32)), said, state: State::Open };
        let shown = self.item(&item);
        self.items.push(item);
        let index = self.items.len().saturating_sub(1);
        self.tell("response.output_item.added", json!({ "output_index": index, "item": shown }));
    }

    fn think(&mut self, text: &str) {
        self.waiting.clear();
        if !matches!(self.items.last(), Some(Item { said: Said::Thought(_), state: State::Open, .. })) {
            self.close(State::Complete);
            self.open("rs", Said::Thought(String::new()));
            if self.summary {
                let part = json!({ "summary_index": 0, "part": { "type": "summary_text", "text": "" } });
                self.tell_of("response.reasoning_summary_part.added", part);
            }
            let part = json!({ "content_index": 0, "part": { "type": "reasoning_text", "text": "" } });
            self.tell_of("response.content_part.added", part);
        }
        if let Some(Item { said: Said::Thought(thought), .. }) = self.items.last_mut() {
            thought.push_str(text);
        }
        self.delta("response.reasoning_text.delta", Some("content_index"), text);
        if self.summary {
            self.delta("response.reasoning_summary_text.delta", Some("summary_index"), text);
        }
    }

    fn text(&mut self, text: &str) {
        if !matches!(self.items.last(), Some(Item { said: Said::Text { .. }, state: State::Open, .. })) {
            self.close(State::Complete);
            self.open("msg", Said::Text { text: String::new(), logprobs: vec![] });
            let part = json!({ "content_index": 0, "part": output_text("", &[]) });
            self.tell_of("response.content_part.added", part);
        }
        let released = std::mem::take(&mut self.waiting);
        if text.is_empty() {
            return;
        }
        if let Some(Item { said: Said::Text { text: all, logprobs }, .. }) = self.items.last_mut() {
            all.push_str(text);
            logprobs.extend_from_slice(&released);
        }
        let fields = json!({ "content_index": 0, "delta": text, "logprobs": released });
        self.tell_of("response.output_text.delta", fields);
    }

    /// Ends the last item, where it is open.
    fn close(&mut self, state: State) {
        let Some(item) = self.items.last_mut().filter(|item| item.state == State::Open) else { return };
        item.state = state;
        let shown = self.items.last().map(|item| self.item(item)).unwrap_or_default();
        match self.items.last().map(|item| &item.said) {
            Some(Said::Thought(text)) => {
                let (text, content) = (text.clone(), json!({ "type": "reasoning_text", "text": text }));
                let done = json!({ "content_index": 0, "text": text });
                self.tell_of("response.reasoning_text.done", done);
                self.tell_of("response.content_part.done", json!({ "content_index": 0, "part": content }));
                if self.summary {
                    let part = json!({ "type": "summary_text", "text": text });
                    let done = json!({ "summary_index": 0, "text": text });
                    self.tell_of("response.reasoning_summary_text.done", done);
                    let done = json!({ "summary_index": 0, "part": part });
                    self.tell_of("response.reasoning_summary_part.done", done);
                }
            }
            Some(Said::Text { text, logprobs }) => {
                let part = output_text(text, logprobs);
                let done = json!({ "content_index": 0, "text": text, "logprobs": logprobs });
                self.tell_of("response.output_text.done", done);
                self.tell_of("response.content_part.done", json!({ "content_index": 0, "part": part }));
            }
            // The arguments of a call that was cut are not done.
            Some(Said::Call { name, arguments, .. }) if state == State::Complete => {
                let done = json!({ "name": name, "arguments": arguments });
                self.tell_of("response.function_call_arguments.done", done);
            }
            Some(Said::Call { .. }) | None => {}
        }
        let index = self.items.len().saturating_sub(1);
        self.tell("response.output_item.done", json!({ "output_index": index, "item": shown }));
    }

    fn end(&mut self, mut finish: Finish, timings: Timings) {
        if self.in_call() && finish != Finish::Aborted {
            finish = Finish::Length;
        }
        if self.items.is_empty() && finish == Finish::Stop {
            self.text("");
        }
        let whole = matches!(finish, Finish::Stop | Finish::ToolCalls);
        self.close(if whole { State::Complete } else { State::Cut });
        (self.finish, self.timings) = (Some(finish), Some(timings));
        let kinds: &[&str] = match finish {
            Finish::Stop | Finish::ToolCalls => &["response.completed"],
            // OpenAI's own helper for Python waits for the second one, whatever the status in it.
            Finish::Length | Finish::Filtered => &["response.incomplete", "response.completed"],
            Finish::Aborted => {
                self.error = Some(json!({ "code": "server_error", "message": "the answer was cut" }));
                &["response.failed"]
            }
        };
        let response = json!({ "response": self.whole() });
        for kind in kinds {
            self.tell(kind, response.clone());
        }
    }

    fn item(&self, item: &Item) -> Value {
        let status = match item.state {
            State::Open => "in_progress",
            State::Complete => "completed",
            State::Cut => "incomplete",
        };
        // What is being said comes by events.
        let told = item.state != State::Open;
        match &item.said {
            Said::Thought(text) => {
                let part = |kind: &str, wanted: bool| match told && wanted {
                    true => json!([{ "type": kind, "text": text }]),
                    false => json!([]),
                };
                let encrypted = (told && self.encrypted).then(|| format!("{ENCRYPTED}{text}"));
                json!({
                    "id": item.id, "type": "reasoning", "status": status, "encrypted_content": encrypted,
                    "summary": part("summary_text", self.summary), "content": part("reasoning_text", true),
                })
            }
            Said::Text { text, logprobs } => {
                let content: Vec<Value> = told.then(|| output_text(text, logprobs)).into_iter().collect();
                let id = &item.id;
                json!({ "id": id, "type": "message", "role": "assistant", "status": status, "content": content })
            }
            Said::Call { call_id, name, arguments } => {
                let id = &item.id;
                json!({
                    "id": id, "type": "function_call", "status": status, "call_id": call_id, "name": name,
                    "arguments": arguments,
                })
            }
        }
    }
}

fn output_text(text: &str, logprobs: &[Value]) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": logprobs })
}

/// Counts; those that nobody told are 0, because clients read numbers.
fn usage(timings: &Timings) -> Value {
    if !timings.known.prompt && !timings.known.completion {
        return Value::Null;
    }
    json!({
        "input_tokens": timings.prompt_tokens,
        "input_tokens_details": { "cached_tokens": timings.cached_tokens },
        "output_tokens": timings.completion_tokens,
        "output_tokens_details": { "reasoning_tokens": timings.reasoning_tokens },
        "total_tokens": timings.prompt_tokens.saturating_add(timings.completion_tokens),
    })
}
