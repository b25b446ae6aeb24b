//! What may be told of an answer beside its text, by the names of vLLM and llama.cpp: ids of tokens, log probabilities of the
//! prompt, how far its reading has come. Chats and texts are told alike.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::logprobs::finite;
use crate::generate::{Event, Logprobs};
use crate::text::Tokenizer;

/// Whose fields these are: those of a prompt are in other places of the two kinds of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A chat has one prompt.
    Chat,
    /// Texts have a prompt for each choice.
    Text,
}

/// What a request wants to be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    pub(super) token_ids: bool,
    pub(super) progress: bool,
    pub(super) prompt_logprobs: Option<usize>,
    /// Whether the answer comes by chunks; then nothing is kept for a whole one.
    pub(super) streams: bool,
}

/// The facts, as they become known.
pub(super) struct Beside {
    kind: Kind,
    wishes: Wishes,
    tokenizer: Arc<Tokenizer>,
    choices: Vec<Choice>,
}

#[derive(Default)]
struct Choice {
    prompt: Vec<u32>,
    scored: Vec<Logprobs>,
    /// Ids of the answer; in a stream those that have not been told.
    ids: Vec<u32>,
}

impl Beside {
    /// For answers to these prompts; none where nothing is wanted.
    pub(super) fn new<'p>(
        kind: Kind,
        wishes: Wishes,
        tokenizer: &Arc<Tokenizer>,
        prompts: impl Iterator<Item = &'p [u32]>,
    ) -> Option<Beside> {
        if wishes == (Wishes { streams: wishes.streams, ..Wishes::default() }) {
            return None;
        }
        let choice = |prompt: &[u32]| Choice { prompt: prompt.to_vec(), ..Choice::default() };
        Some(Beside { kind, wishes, tokenizer: Arc::clone(tokenizer), choices: prompts.map(choice).collect() })
    }

    /// Whether chunks have ids.
    pub(super) fn tells_ids(&self) -> bool {
        self.wishes.token_ids && self.wishes.streams
    }

    /// Adds to the first chunk of a choice.
    pub(super) fn begin(&self, choice: u32, chunk: &mut Value) {
        let Some(state) = self.choices.get(choice as usize).filter(|_| self.tells_ids()) else { return };
        let place = if self.kind == Kind::Chat { chunk.as_object_mut() } else { first_choice(chunk) };
        if let Some(place) = place {
            place.insert("prompt_token_ids".to_owned(), json!(state.prompt));
        }
    }

    /// Takes an event of a choice and adds to its chunk. Progress makes a chunk of its own, out of a `blank` one.
    pub(super) fn hear(
        &mut self,
        choice: u32,
        event: &Event,
        chunk: Option<Value>,
        blank: impl FnOnce() -> Value,
    ) -> Option<Value> {
        let tells_ids = self.tells_ids();
        let wishes = self.wishes;
        let Some(state) = self.choices.get_mut(choice as usize) else { return chunk };
        match event {
            Event::Prompt { done, total, cached, elapsed_ms } if wishes.progress && wishes.streams => {
                let mut blank = blank();
                if let Some(fields) = blank.as_object_mut() {
                    let progress =
                        json!({ "total": total, "cache": cached, "processed": done, "time_ms": elapsed_ms.round() });
                    fields.insert("prompt_progress".to_owned(), progress);
                }
                return Some(blank);
            }
            Event::Token { id, .. } | Event::EndToken { id, .. } if wishes.token_ids => state.ids.push(*id),
            Event::PromptLogprobs { logprobs, .. } if wishes.prompt_logprobs.is_some() => {
                state.scored.extend_from_slice(logprobs);
            }
            _ => {}
        }
        let mut chunk = chunk?;
        if let (true, Some(fields)) = (tells_ids, first_choice(&mut chunk)) {
            fields.insert("token_ids".to_owned(), json!(std::mem::take(&mut state.ids)));
        }
        Some(chunk)
    }

    /// Adds to a whole answer.
    pub(super) fn whole(&self, answer: &mut Value) {
        let choices = answer.get_mut("choices").and_then(Value::as_array_mut);
        for (choice, state) in choices.into_iter().flatten().zip(&self.choices) {
            let Some(fields) = choice.as_object_mut() else { continue };
            if self.wishes.token_ids {
                fields.insert("token_ids".to_owned(), json!(state.ids));
            }
            if self.kind == Kind::Text {
                self.tell_prompt(state, fields);
            }
        }
        if let (Kind::Chat, Some(state), Some(fields)) = (self.kind, self.choices.first(), answer.as_object_mut()) {
            self.tell_prompt(state, fields);
        }
    }

    fn tell_prompt(&self, state: &Choice, fields: &mut Map<String, Value>) {
        if self.wishes.token_ids {
            fields.insert("prompt_token_ids".to_owned(), json!(state.prompt));
        }
        if let Some(count) = self.wishes.prompt_logprobs {
            let entries = state.prompt.iter().skip(1).zip(&state.scored);
            let entries = entries.map(|(&id, at)| self.candidates(id, at, count));
            // Nothing is before the first.
            fields.insert(
                "prompt_logprobs".to_owned(),
                json!([Value::Null].into_iter().chain(entries).collect::<Vec<_>>()),
            );
        }
    }

    /// The token of the prompt and the most probable ones in its place, by their ids.
    fn candidates(&self, id: u32, logprobs: &Logprobs, count: usize) -> Value {
        let entry = |id: u32, logprob: f32, rank: u32| {
            let text = String::from_utf8_lossy(self.tokenizer.piece_bytes(id)).into_owned();
            (id.to_string(), json!({ "logprob": finite(logprob), "rank": rank, "decoded_token": text }))
        };
        let own = entry(id, logprobs.sampled, logprobs.rank);
        let top = (1..).zip(&logprobs.top).take(count).map(|(rank, &(id, logprob))| entry(id, logprob, rank));
        // Its own rank goes before the place among equals.
        let all: Map<String, Value> = top.chain([own]).collect();
        Value::Object(all)
    }
}

fn first_choice(chunk: &mut Value) -> Option<&mut Map<String, Value>> {
    chunk.get_mut("choices")?.get_mut(0)?.as_object_mut()
}
