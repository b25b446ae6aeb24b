//! What completions of chats and of texts have in common: they come by chunks, or whole.

use serde_json::{Map, Value, json};

use crate::error::Error;
use crate::generate::Event;

/// The answers to one request. Every event goes through [`Chunked::chunk`], whether they are streamed or not.
pub trait Chunked {
    /// From now on what is told by a chunk is not kept: [`Chunked::response`] lacks it.
    fn tell_by_chunks(&mut self);

    /// The chunk before all others of a choice, where there is one: whose it is, or the prompt that is echoed.
    fn first_chunk(&self, choice: u32) -> Option<Value>;

    /// Takes an event of a choice. Text, calls and the end are chunks, and so is what is told of a prompt; other events are
    /// none. The last end among the choices holds the counts, unless those come apart.
    fn chunk(&mut self, choice: u32, event: &Event) -> Option<Value>;

    /// The chunk of counts after the last one, where they come apart.
    fn usage_chunk(&self) -> Option<Value>;

    /// Whether a part of any choice has been told: then an answer that fails is cut, and not an error.
    fn has_begun(&self) -> bool;

    /// Ends all choices that have not ended, because of an error. What is left to send: the ends, where something had been
    /// told; else an error.
    fn abort(&mut self, error: &Error) -> Vec<Value>;

    /// The whole answer. Before its end `finish_reason` is null.
    fn response(&self) -> Value;
}

/// What every chunk begins with, and the whole answer.
#[derive(Default)]
pub(super) struct Head {
    pub(super) id: String,
    /// Unix seconds.
    pub(super) created: u64,
    pub(super) model: String,
    /// `system_fingerprint`: names what made the answer.
    pub(super) fingerprint: Option<String>,
}

impl Head {
    pub(super) fn of(&self, object: &str) -> Map<String, Value> {
        let fields = [
            ("id", Some(json!(self.id))),
            ("object", Some(json!(object))),
            ("created", Some(json!(self.created))),
            ("model", Some(json!(self.model))),
            ("system_fingerprint", self.fingerprint.as_ref().map(|fingerprint| json!(fingerprint))),
        ];
        fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}
