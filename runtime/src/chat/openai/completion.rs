//! An answer as JSON: by chunks while it is made, or whole.
//!
//! The shapes are DeepSeek's. In the thinking mode every delta has `content` and `reasoning_content`, one of them null; else
//! there is no key `reasoning_content`.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Timings, Usage};
use crate::chat::control;
use crate::generate::{Event, Finish, Logprobs, Voice};
use crate::text::Tokenizer;

/// The answer to one request.
pub struct Completion {
    id: String,
    created: u64,
    model: String,
    thinking: bool,
    /// Counts come in a chunk of their own.
    usage_apart: bool,
    /// There where log probabilities are reported.
    tokenizer: Option<Arc<Tokenizer>>,
    content: Said,
    reasoning: Said,
    /// Log probabilities of tokens whose text has not been released.
    waiting: Vec<Value>,
    end: Option<(Finish, Usage, Timings)>,
}

/// What one voice said.
#[derive(Default)]
struct Said {
    text: String,
    logprobs: Vec<Value>,
}

impl Completion {
    /// An answer without text yet. `created`: Unix seconds; `thinking`: the request's mode.
    #[must_use]
    pub fn new(id: impl Into<String>, created: u64, model: impl Into<String>, thinking: bool) -> Completion {
        Completion {
            id: id.into(),
            created,
            model: model.into(),
            thinking,
            usage_apart: false,
            tokenizer: None,
            content: Said::default(),
            reasoning: Said::default(),
            waiting: vec![],
            end: None,
        }
    }

    /// Sends counts in a chunk of their own, after the last: `stream_options.include_usage`.
    #[must_use]
    pub fn with_usage_apart(self) -> Completion {
        Completion { usage_apart: true, ..self }
    }

    /// Reports the log probabilities that come with tokens.
    #[must_use]
    pub fn with_logprobs(self, tokenizer: Arc<Tokenizer>) -> Completion {
        Completion { tokenizer: Some(tokenizer), ..self }
    }

    /// The chunk before all text: whose it is.
    #[must_use]
    pub fn first_chunk(&self) -> Value {
        let delta = match self.thinking {
            true => json!({ "role": "assistant", "content": null, "reasoning_content": "" }),
            false => json!({ "role": "assistant", "content": "" }),
        };
        self.delta(delta, Value::Null, None)
    }

    /// Takes an event. Text is a chunk; other events are none. The end is remembered for [`Completion::response`].
    pub fn chunk(&mut self, event: &Event) -> Option<Value> {
        match event {
            Event::Token { id, logprobs: Some(logprobs) } => {
                let shown = self.tokenizer.as_ref().and_then(|tokenizer| listed(tokenizer, *id, logprobs));
                self.waiting.extend(shown);
                None
            }
            Event::Text { voice, text } => Some(self.text(*voice, text)),
            Event::End { finish, timings } => {
                self.end = Some((*finish, timings.into(), timings.into()));
                None
            }
            _ => None,
        }
    }

    fn text(&mut self, voice: Voice, text: &str) -> Value {
        let logprobs = std::mem::take(&mut self.waiting);
        let (said, key) = match voice {
            Voice::Content => (&mut self.content, "content"),
            Voice::Reasoning => (&mut self.reasoning, "reasoning_content"),
        };
        said.text.push_str(text);
        said.logprobs.extend_from_slice(&logprobs);
        let delta = match (self.thinking, voice) {
            (false, Voice::Content) => json!({ "content": text }),
            (_, Voice::Content) => json!({ "content": text, "reasoning_content": null }),
            (_, Voice::Reasoning) => json!({ "content": null, "reasoning_content": text }),
        };
        let logprobs = match self.tokenizer {
            Some(_) => json!({ key: logprobs }),
            None => Value::Null,
        };
        self.delta(delta, logprobs, None)
    }

    /// The chunk after all text. It holds the counts, unless those come apart.
    pub fn last_chunk(&mut self, finish: Finish, usage: Usage, timings: Timings) -> Value {
        self.end = Some((finish, usage, timings));
        let delta = match self.thinking {
            true => json!({ "content": "", "reasoning_content": null }),
            false => json!({ "content": "" }),
        };
        let mut chunk = self.delta(delta, Value::Null, Some(finish));
        if let (Value::Object(chunk), false) = (&mut chunk, self.usage_apart) {
            chunk.extend(totals(&usage, &timings));
        }
        chunk
    }

    /// The chunk of counts after the last one, where they come apart.
    #[must_use]
    pub fn usage_chunk(&self) -> Option<Value> {
        let (_, usage, timings) = self.end.as_ref().filter(|_| self.usage_apart)?;
        let mut chunk = self.head("chat.completion.chunk");
        chunk.insert("choices".to_owned(), json!([]));
        chunk.extend(totals(usage, timings));
        Some(Value::Object(chunk))
    }

    /// The whole answer. Before its end `finish_reason` is null and the counts are 0.
    #[must_use]
    pub fn response(&self) -> Value {
        let (content, reasoning) = (&self.content.text, &self.reasoning.text);
        let message = match self.thinking {
            true => json!({ "role": "assistant", "content": content, "reasoning_content": reasoning }),
            false => json!({ "role": "assistant", "content": content }),
        };
        let logprobs = match (&self.tokenizer, self.thinking) {
            (None, _) => Value::Null,
            (Some(_), false) => json!({ "content": self.content.logprobs }),
            (Some(_), true) => {
                json!({ "content": self.content.logprobs, "reasoning_content": self.reasoning.logprobs })
            }
        };
        let finish = self.end.map(|(finish, ..)| finish.name());
        let (usage, timings) = self.end.map(|(_, usage, timings)| (usage, timings)).unwrap_or_default();
        let mut response = self.head("chat.completion");
        let choice = json!({ "index": 0, "message": message, "finish_reason": finish, "logprobs": logprobs });
        response.insert("choices".to_owned(), json!([choice]));
        response.extend(totals(&usage, &timings));
        Value::Object(response)
    }

    fn head(&self, object: &str) -> Map<String, Value> {
        [
            ("id".to_owned(), json!(self.id)),
            ("object".to_owned(), json!(object)),
            ("created".to_owned(), json!(self.created)),
            ("model".to_owned(), json!(self.model)),
        ]
        .into_iter()
        .collect()
    }

    fn delta(&self, delta: Value, logprobs: Value, finish: Option<Finish>) -> Value {
        let mut chunk = self.head("chat.completion.chunk");
        let choice =
            json!({ "index": 0, "delta": delta, "finish_reason": finish.map(Finish::name), "logprobs": logprobs });
        chunk.insert("choices".to_owned(), json!([choice]));
        chunk.insert("usage".to_owned(), Value::Null);
        Value::Object(chunk)
    }
}

fn totals(usage: &Usage, timings: &Timings) -> [(String, Value); 2] {
    [("usage".to_owned(), json!(usage)), ("timings".to_owned(), json!(timings))]
}

/// A token with its log probability; none for tokens that are marks and not text.
fn listed(tokenizer: &Tokenizer, id: u32, logprobs: &Logprobs) -> Option<Value> {
    if tokenizer.is_special(id) || tokenizer.token_id(control::END_THINK) == Some(id) {
        return None;
    }
    let entry = |id: u32, logprob: f32| {
        let bytes = tokenizer.piece_bytes(id);
        // JSON has no infinity.
        let logprob = if logprob.is_finite() { f64::from(logprob) } else { -9999.0 };
        (String::from_utf8_lossy(bytes), logprob, bytes)
    };
    let top = logprobs.top.iter().map(|&(id, logprob)| {
        let (token, logprob, bytes) = entry(id, logprob);
        json!({ "token": token, "logprob": logprob, "bytes": bytes })
    });
    let (top, (token, logprob, bytes)) = (top.collect::<Vec<_>>(), entry(id, logprobs.sampled));
    Some(json!({ "token": token, "logprob": logprob, "bytes": bytes, "top_logprobs": top }))
}
