//! The answer to a text completion as JSON: by chunks while it is made, or whole.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::completion::{error_event, finite};
use super::usage::{add, together};
use super::{TextAsked, Usage};
use crate::error::Error;
use crate::generate::{self, Event, Finish, Known, SpelledToken};
use crate::text::Tokenizer;

/// The answers to one request, in the order of [`TextAsked::requests`].
///
/// Every [`Event`] of an answer goes through [`TextCompletion::chunk`], whether it is streamed or not.
pub struct TextCompletion {
    id: String,
    created: u64,
    model: String,
    fingerprint: Option<String>,
    usage_apart: bool,
    logprobs: bool,
    /// What was told is not told again.
    by_chunks: bool,
    /// There where log probabilities of ids are reported.
    tokenizer: Option<Arc<Tokenizer>>,
    /// Answers to each prompt.
    answers: usize,
    choices: Vec<Choice>,
}

#[derive(Default)]
struct Choice {
    /// With the prompt, where that is echoed.
    text: String,
    /// Characters of the text, with those that have not been released.
    characters: usize,
    listed: Listed,
    /// Of tokens whose text has not been released.
    waiting: Listed,
    timings: generate::Timings,
    finish: Option<Finish>,
}

/// Log probabilities, a row for each kind of fact.
#[derive(Default)]
struct Listed {
    tokens: Vec<Value>,
    token_logprobs: Vec<Value>,
    top_logprobs: Vec<Value>,
    text_offset: Vec<Value>,
}

impl Listed {
    fn rows(&mut self) -> [&mut Vec<Value>; 4] {
        [&mut self.tokens, &mut self.token_logprobs, &mut self.top_logprobs, &mut self.text_offset]
    }

    fn push(&mut self, SpelledToken { bytes, logprob, top }: &SpelledToken, offset: usize) {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let top: Map<String, Value> =
            top.iter().map(|(bytes, logprob)| (text(bytes), json!(finite(*logprob)))).collect();
        self.tokens.push(json!(text(bytes)));
        self.token_logprobs.push(json!(logprob.map(finite)));
        self.top_logprobs.push(Value::Object(top));
        self.text_offset.push(json!(offset));
    }

    fn take_from(&mut self, other: &mut Listed) {
        for (mine, theirs) in self.rows().into_iter().zip(other.rows()) {
            mine.append(theirs);
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "tokens": self.tokens, "token_logprobs": self.token_logprobs, "top_logprobs": self.top_logprobs,
            "text_offset": self.text_offset,
        })
    }
}

impl Choice {
    /// Takes a token with its log probabilities.
    fn list(&mut self, token: &SpelledToken) {
        self.waiting.push(token, self.characters);
        // Each character begins with one byte that continues none.
        let begun = token.bytes.iter().filter(|&&byte| byte & 0xc0 != 0x80).count();
        self.characters = self.characters.saturating_add(begun);
    }
}

impl TextCompletion {
    /// Answers without text yet. `created`: Unix seconds.
    #[must_use]
    pub fn new(id: impl Into<String>, created: u64, model: impl Into<String>, asked: &TextAsked) -> TextCompletion {
        let choice =
            |echo: &String| Choice { text: echo.clone(), characters: echo.chars().count(), ..Choice::default() };
        TextCompletion {
            id: id.into(),
            created,
            model: model.into(),
            fingerprint: None,
            usage_apart: false,
            logprobs: false,
            by_chunks: false,
            tokenizer: None,
            answers: asked.answers.max(1) as usize,
            choices: asked.echoes.iter().map(choice).collect(),
        }
    }

    /// Names what made the answer: `system_fingerprint`.
    #[must_use]
    pub fn with_fingerprint(self, fingerprint: impl Into<String>) -> TextCompletion {
        TextCompletion { fingerprint: Some(fingerprint.into()), ..self }
    }

    /// Sends counts in a chunk of their own, after the last: `stream_options.include_usage`.
    #[must_use]
    pub fn with_usage_apart(self) -> TextCompletion {
        TextCompletion { usage_apart: true, ..self }
    }

    /// Reports the log probabilities that come with tokens. `tokenizer`: whose ids they are.
    #[must_use]
    pub fn with_logprobs(self, tokenizer: impl Into<Option<Arc<Tokenizer>>>) -> TextCompletion {
        TextCompletion { logprobs: true, tokenizer: tokenizer.into(), ..self }
    }

    /// Tells the answers of an engine elsewhere, with those counts only that it knows.
    #[must_use]
    pub fn of_elsewhere(mut self) -> TextCompletion {
        self.choices.iter_mut().for_each(|choice| choice.timings.known = Known::NOTHING);
        self
    }

    /// From now on log probabilities are kept until they are told by a chunk: [`TextCompletion::response`] lacks them.
    pub fn tell_by_chunks(&mut self) {
        self.by_chunks = true;
    }

    /// The chunk before all others of a choice: its prompt, where that is echoed.
    #[must_use]
    pub fn first_chunk(&self, choice: u32) -> Option<Value> {
        let echo = &self.choices.get(choice as usize)?.text;
        (!echo.is_empty()).then(|| self.part(choice, echo, Value::Null, None))
    }

    /// Takes an event of a choice. Text and the end are chunks; other events are none. The last end among the choices holds
    /// the counts, unless those come apart.
    pub fn chunk(&mut self, choice: u32, event: &Event) -> Option<Value> {
        let tokenizer = self.tokenizer.as_deref();
        let state = self.choices.get_mut(choice as usize)?;
        match event {
            Event::Prompt { total, cached, .. } => {
                (state.timings.prompt_tokens, state.timings.cached_tokens) = (*total, *cached);
                None
            }
            Event::Token { id, logprobs } => {
                state.timings.completion_tokens = state.timings.completion_tokens.saturating_add(1);
                if let Some((tokenizer, logprobs)) = tokenizer.zip(logprobs.as_ref()) {
                    let bytes = |id: u32| tokenizer.piece_bytes(id).to_vec();
                    let top = logprobs.top.iter().map(|&(id, logprob)| (bytes(id), logprob)).collect();
                    state.list(&SpelledToken { bytes: bytes(*id), logprob: Some(logprobs.sampled), top });
                }
                None
            }
            Event::Spelled(token) => {
                if self.logprobs {
                    state.list(token);
                }
                None
            }
            Event::Text { text, .. } => {
                state.text.push_str(text);
                let mut released = std::mem::take(&mut state.waiting);
                let logprobs = if self.logprobs { released.to_json() } else { Value::Null };
                if !self.by_chunks {
                    state.listed.take_from(&mut released);
                }
                Some(self.part(choice, text, logprobs, None))
            }
            Event::End { finish, timings, .. } => {
                state.timings = *timings;
                Some(self.end(choice, *finish))
            }
            Event::Call { .. } | Event::Arguments { .. } | Event::CallEnd { .. } | Event::Trace(_) => None,
        }
    }

    fn end(&mut self, choice: u32, finish: Finish) -> Value {
        if let Some(state) = self.choices.get_mut(choice as usize) {
            state.finish = Some(finish);
        }
        let mut chunk = self.part(choice, "", Value::Null, Some(finish));
        if let (Value::Object(chunk), true, false) = (&mut chunk, self.has_ended(), self.usage_apart) {
            chunk.insert("usage".to_owned(), self.usage().to_json());
        }
        chunk
    }

    /// Whether every choice has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.choices.iter().all(|choice| choice.finish.is_some())
    }

    /// Whether a token of any choice has come: then an answer that fails is cut, and not an error.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.choices.iter().any(|choice| choice.timings.completion_tokens > 0)
    }

    /// Ends all choices that have not ended, because of an error. What is left to send: the ends, where something had been
    /// told; else an error.
    pub fn abort(&mut self, error: &Error) -> Vec<Value> {
        let begun = self.has_begun();
        let open = (0_u32..).zip(&self.choices).filter(|(_, choice)| choice.finish.is_none()).map(|(at, _)| at);
        let open: Vec<u32> = open.collect();
        let ends: Vec<Value> = open.into_iter().map(|choice| self.end(choice, Finish::Aborted)).collect();
        if begun { ends.into_iter().chain(self.usage_chunk()).collect() } else { vec![error_event(error)] }
    }

    /// The chunk of counts after the last one, where they come apart.
    #[must_use]
    pub fn usage_chunk(&self) -> Option<Value> {
        let chunk = || self.whole(&[]);
        (self.usage_apart && self.has_ended()).then(chunk)
    }

    /// The whole answer. Before its end `finish_reason` is null.
    #[must_use]
    pub fn response(&self) -> Value {
        let choice = |(index, choice): (u32, &Choice)| {
            let logprobs = if self.logprobs { choice.listed.to_json() } else { Value::Null };
            let finish = choice.finish.map(Finish::name);
            json!({ "text": choice.text, "index": index, "logprobs": logprobs, "finish_reason": finish })
        };
        self.whole(&(0_u32..).zip(&self.choices).map(choice).collect::<Vec<_>>())
    }

    fn whole(&self, choices: &[Value]) -> Value {
        let mut whole = self.head();
        whole.insert("choices".to_owned(), json!(choices));
        whole.insert("usage".to_owned(), self.usage().to_json());
        Value::Object(whole)
    }

    fn part(&self, choice: u32, text: &str, logprobs: Value, finish: Option<Finish>) -> Value {
        let mut chunk = self.head();
        let finish = finish.map(Finish::name);
        let choice = json!({ "text": text, "index": choice, "logprobs": logprobs, "finish_reason": finish });
        chunk.insert("choices".to_owned(), json!([choice]));
        chunk.insert("usage".to_owned(), Value::Null);
        Value::Object(chunk)
    }

    fn head(&self) -> Map<String, Value> {
        let mut head = Map::new();
        head.insert("id".to_owned(), json!(self.id));
        head.insert("object".to_owned(), json!("text_completion"));
        head.insert("created".to_owned(), json!(self.created));
        head.insert("model".to_owned(), json!(self.model));
        if let Some(fingerprint) = &self.fingerprint {
            head.insert("system_fingerprint".to_owned(), json!(fingerprint));
        }
        head
    }

    /// Counts of all answers: each prompt counts once.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let prompts =
            self.choices.chunks(self.answers).map(|group| together(group.iter().map(|choice| &choice.timings)));
        Usage { completion_tokens_details: None, ..Usage::from(&prompts.reduce(add).unwrap_or_default()) }
    }
}
