//! An answer as JSON: by chunks while it is made, or whole.
//!
//! The shapes are DeepSeek's. In the thinking mode every delta of text has `content` and `reasoning_content`, one of them
//! null; else there is no key `reasoning_content`.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::chat::Parsed;
use crate::error::Error;
use crate::generate::{self, Event, Finish, Known, Voice};
use crate::platform;
use crate::text::Tokenizer;
use crate::wire::openai::beside::Beside;
use crate::wire::openai::chunked::{Chunked, Head};
use crate::wire::openai::logprobs::{entry, listed};
use crate::wire::openai::usage::{SpeedReport, Usage, together};

/// The answer to one request: one choice, or several made side by side.
///
/// Every [`Event`] of a choice goes through [`Chunked::chunk`], whether the answer is streamed or not.
#[derive(Default)]
pub struct Completion {
    head: Head,
    thinking: bool,
    /// Counts come in a chunk of their own.
    usage_apart: bool,
    /// Counts of thoughts are told where there is none.
    details: bool,
    /// Made by an engine elsewhere: no times are told, and only the counts that it tells.
    elsewhere: bool,
    logprobs: bool,
    /// What was told is not told again.
    by_chunks: bool,
    /// There where log probabilities of ids are reported.
    tokenizer: Option<Arc<Tokenizer>>,
    beside: Option<Beside>,
    choices: Vec<Choice>,
}

/// One of the answers.
#[derive(Default)]
struct Choice {
    said: Parsed,
    /// Of its calls.
    call_ids: Vec<String>,
    content_logprobs: Vec<Value>,
    reasoning_logprobs: Vec<Value>,
    /// Log probabilities of tokens whose text has not been released.
    waiting: Vec<Value>,
    timings: generate::Timings,
    finish: Option<Finish>,
}

impl Completion {
    /// An answer without text yet. `created`: Unix seconds; `thinking`: whether it is told with a thought.
    pub fn new(id: impl Into<String>, created: u64, model: impl Into<String>, thinking: bool) -> Completion {
        Completion {
            head: Head { id: id.into(), created, model: model.into(), fingerprint: None },
            thinking,
            details: true,
            choices: vec![Choice::default()],
            ..Completion::default()
        }
    }

    /// Holds so many choices, at least one.
    #[must_use]
    pub fn with_answers(mut self, answers: u32) -> Completion {
        self.choices.resize_with(answers.max(1) as usize, Choice::default);
        self
    }

    /// Names what made the answer: `system_fingerprint`.
    #[must_use]
    pub fn with_fingerprint(mut self, fingerprint: impl Into<String>) -> Completion {
        self.head.fingerprint = Some(fingerprint.into());
        self
    }

    /// Leaves `completion_tokens_details` out where there is no thought, as DeepSeek does.
    #[must_use]
    pub fn without_empty_details(self) -> Completion {
        Completion { details: self.thinking, ..self }
    }

    /// Sends counts in a chunk of their own, after the last: `stream_options.include_usage`.
    #[must_use]
    pub fn with_usage_apart(self) -> Completion {
        Completion { usage_apart: true, ..self }
    }

    /// Reports the log probabilities that come with tokens. `tokenizer`: whose ids they are.
    #[must_use]
    pub fn with_logprobs(self, tokenizer: impl Into<Option<Arc<Tokenizer>>>) -> Completion {
        Completion { logprobs: true, tokenizer: tokenizer.into(), ..self }
    }

    /// Tells the answer of an engine elsewhere: without times, and with those counts only that it knows.
    #[must_use]
    pub fn of_elsewhere(mut self) -> Completion {
        self.choices.iter_mut().for_each(|choice| choice.timings.known = Known::NOTHING);
        Completion { elsewhere: true, ..self }
    }

    /// Tells more than text and calls.
    pub(super) fn with_beside(self, beside: Option<Beside>) -> Completion {
        Completion { beside, ..self }
    }

    fn tell(&mut self, choice: u32, event: &Event) -> Option<Value> {
        let tokenizer = self.tokenizer.as_deref();
        let state = self.choices.get_mut(choice as usize)?;
        state.said.take(event);
        match event {
            Event::Prompt { total, cached, .. } => {
                (state.timings.prompt_tokens, state.timings.cached_tokens) = (*total, *cached);
                None
            }
            Event::Token { id, logprobs } => {
                state.timings.completion_tokens = state.timings.completion_tokens.saturating_add(1);
                let listed = tokenizer.zip(logprobs.as_ref()).and_then(|(tokenizer, at)| listed(tokenizer, *id, at));
                state.waiting.extend(listed);
                None
            }
            Event::Spelled(token) => {
                state.waiting.extend(self.logprobs.then(|| entry(token)));
                None
            }
            Event::Text { voice, text } => self.text(choice, *voice, text),
            Event::Call { index, name, id } => {
                state.waiting.clear();
                let id = id.clone().unwrap_or_else(|| format!("call_{index:02}_{}", platform::name(24)));
                state.call_ids.push(id.clone());
                let function = json!({ "name": name, "arguments": "" });
                let call = json!({ "index": index, "id": id, "type": "function", "function": function });
                Some(self.call(choice, call))
            }
            Event::Arguments { index, text } => {
                state.waiting.clear();
                Some(self.call(choice, json!({ "index": index, "function": { "arguments": text } })))
            }
            Event::End { finish, timings, .. } => {
                state.timings = *timings;
                Some(self.end(choice, *finish))
            }
            Event::CallEnd { .. } | Event::Trace(_) | Event::PromptLogprobs { .. } | Event::EndToken { .. } => None,
        }
    }

    fn text(&mut self, choice: u32, voice: Voice, text: &str) -> Option<Value> {
        // An engine elsewhere may think without being asked.
        self.thinking |= voice == Voice::Reasoning;
        let state = self.choices.get_mut(choice as usize)?;
        let logprobs = std::mem::take(&mut state.waiting);
        let (key, kept, content, thought) = match voice {
            Voice::Content => ("content", &mut state.content_logprobs, json!(text), Value::Null),
            Voice::Reasoning => ("reasoning_content", &mut state.reasoning_logprobs, Value::Null, json!(text)),
        };
        if !self.by_chunks {
            kept.extend_from_slice(&logprobs);
        }
        let mut delta = Map::new();
        delta.insert("content".to_owned(), content);
        self.insert_thought(&mut delta, &thought);
        let logprobs = if self.logprobs { json!({ key: logprobs }) } else { Value::Null };
        Some(self.delta(choice, delta, logprobs, None))
    }

    fn call(&self, choice: u32, call: Value) -> Value {
        let mut delta = Map::new();
        delta.insert("tool_calls".to_owned(), json!([call]));
        self.delta(choice, delta, Value::Null, None)
    }

    fn end(&mut self, choice: u32, finish: Finish) -> Value {
        let mut shown = finish;
        if let Some(state) = self.choices.get_mut(choice as usize) {
            // An answer that ends within a call was cut, by whatever.
            if state.said.is_in_call() && finish != Finish::Aborted {
                shown = Finish::Length;
            }
            state.finish = Some(shown);
        }
        let mut delta = Map::new();
        delta.insert("content".to_owned(), json!(""));
        self.insert_thought(&mut delta, &Value::Null);
        let mut chunk = self.delta(choice, delta, Value::Null, Some(shown));
        if let (Value::Object(chunk), true, false) = (&mut chunk, self.has_ended(), self.usage_apart) {
            chunk.extend(self.totals());
        }
        chunk
    }

    /// Whether every choice has ended.
    fn has_ended(&self) -> bool {
        self.choices.iter().all(|choice| choice.finish.is_some())
    }

    fn whole(&self, at: u32, choice: &Choice) -> Value {
        let said = &choice.said;
        let mut message = Map::new();
        message.insert("role".to_owned(), json!("assistant"));
        message.insert("content".to_owned(), json!(said.content));
        self.insert_thought(&mut message, &json!(said.reasoning));
        let calls = (0_u32..).zip(said.calls().iter().zip(&choice.call_ids)).map(|(index, (call, id))| {
            let function = json!({ "name": call.name, "arguments": call.arguments });
            json!({ "index": index, "id": id, "type": "function", "function": function })
        });
        let calls: Vec<Value> = calls.collect();
        if !calls.is_empty() {
            message.insert("tool_calls".to_owned(), json!(calls));
        }
        let logprobs = match (self.logprobs, self.thinking) {
            (false, _) => Value::Null,
            (true, false) => json!({ "content": choice.content_logprobs }),
            (true, true) => {
                json!({ "content": choice.content_logprobs, "reasoning_content": choice.reasoning_logprobs })
            }
        };
        let finish = choice.finish.map(Finish::name);
        json!({ "index": at, "message": message, "finish_reason": finish, "logprobs": logprobs })
    }

    fn insert_thought(&self, fields: &mut Map<String, Value>, thought: &Value) {
        if self.thinking {
            fields.insert("reasoning_content".to_owned(), thought.clone());
        }
    }

    fn delta(&self, choice: u32, delta: Map<String, Value>, logprobs: Value, finish: Option<Finish>) -> Value {
        let mut chunk = self.head.of("chat.completion.chunk");
        let finish = finish.map(Finish::name);
        let choice = json!({ "index": choice, "delta": delta, "finish_reason": finish, "logprobs": logprobs });
        chunk.insert("choices".to_owned(), json!([choice]));
        chunk.insert("usage".to_owned(), Value::Null);
        Value::Object(chunk)
    }

    /// Counts of all choices together.
    pub fn usage(&self) -> Usage {
        let usage = Usage::from(&together(self.choices.iter().map(|choice| &choice.timings)));
        Usage { completion_tokens_details: usage.completion_tokens_details.filter(|_| self.details), ..usage }
    }

    fn totals(&self) -> impl Iterator<Item = (String, Value)> {
        let timings = || json!(SpeedReport::from(&together(self.choices.iter().map(|choice| &choice.timings))));
        let timings = (!self.elsewhere).then(timings);
        let usage = self.usage().to_json();
        [("usage".to_owned(), usage)].into_iter().chain(timings.map(|timings| ("timings".to_owned(), timings)))
    }
}

impl Chunked for Completion {
    fn tell_by_chunks(&mut self) {
        self.by_chunks = true;
    }

    fn first_chunk(&self, choice: u32) -> Option<Value> {
        let mut delta = Map::new();
        delta.insert("role".to_owned(), json!("assistant"));
        delta.insert("content".to_owned(), if self.thinking { Value::Null } else { json!("") });
        self.insert_thought(&mut delta, &json!(""));
        let mut chunk = self.delta(choice, delta, Value::Null, None);
        if let Some(beside) = &self.beside {
            beside.begin(choice, &mut chunk);
        }
        Some(chunk)
    }

    fn chunk(&mut self, choice: u32, event: &Event) -> Option<Value> {
        let chunk = self.tell(choice, event);
        let Some(mut beside) = self.beside.take() else { return chunk };
        let chunk = beside.hear(choice, event, chunk, || self.delta(choice, Map::new(), Value::Null, None));
        self.beside = Some(beside);
        chunk
    }

    fn has_begun(&self) -> bool {
        self.choices.iter().any(|choice| choice.said != Parsed::default())
    }

    fn abort(&mut self, error: &Error) -> Vec<Value> {
        let begun = self.has_begun();
        let open = (0_u32..).zip(&self.choices).filter(|(_, choice)| choice.finish.is_none()).map(|(at, _)| at);
        let open: Vec<u32> = open.collect();
        let ends: Vec<Value> = open.into_iter().map(|choice| self.end(choice, Finish::Aborted)).collect();
        if begun { ends.into_iter().chain(self.usage_chunk()).collect() } else { vec![error_event(error)] }
    }

    fn usage_chunk(&self) -> Option<Value> {
        if !self.usage_apart || !self.has_ended() {
            return None;
        }
        let mut chunk = self.head.of("chat.completion.chunk");
        chunk.insert("choices".to_owned(), json!([]));
        chunk.extend(self.totals());
        Some(Value::Object(chunk))
    }

    fn response(&self) -> Value {
        let choices: Vec<Value> = (0_u32..).zip(&self.choices).map(|(at, choice)| self.whole(at, choice)).collect();
        let mut response = self.head.of("chat.completion");
        response.insert("choices".to_owned(), json!(choices));
        response.extend(self.totals());
        let mut response = Value::Object(response);
        if let Some(beside) = &self.beside {
            beside.whole(&mut response);
        }
        response
    }
}

/// What a stream says of a failure, in place of a chunk.
pub(crate) fn error_event(error: &Error) -> Value {
    json!({ "error": { "message": error.message(), "type": "server_error", "param": null, "code": "internal_error" } })
}
