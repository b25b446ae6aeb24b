//! OpenAI's two completions, of chats and of texts, told alike: whole, or as chunks in server-sent events.

use axum::response::Response;
use lyn::error::{Code, Error};
use lyn::generate::Event;
use lyn::wire::openai::{Completion, TextCompletion};
use serde_json::Value;

use super::answer::Answer;
use super::cut::Cut;
use super::refusal::{Refusal, ok};
use super::sse::{self, Pieces};

/// What ends a stream of server-sent events.
const DONE: &str = "data: [DONE]\n\n";

/// A completion of either kind.
pub(crate) trait Told: Send + 'static {
    /// It is told by chunks, and keeps nothing for the whole.
    fn by_chunks(&mut self);
    /// The chunk before all text of a choice, where there is one.
    fn begin(&self, choice: u32) -> Option<Value>;
    /// The chunk of an event, where it is one.
    fn hear(&mut self, choice: u32, event: &Event) -> Option<Value>;
    /// The last chunk of all: counts, where they come apart.
    fn counts(&self) -> Option<Value>;
    /// The last chunks of an answer that is cut; none where nothing was said.
    fn cut(&mut self) -> Option<Vec<Value>>;
    /// The whole answer.
    fn whole(&self) -> Value;
}

fn cause() -> Error {
    Error::new(Code::Cancelled, "the answer was cut")
}

impl Told for Completion {
    fn by_chunks(&mut self) {
        self.tell_by_chunks();
    }

    fn begin(&self, choice: u32) -> Option<Value> {
        Some(self.first_chunk(choice))
    }

    fn hear(&mut self, choice: u32, event: &Event) -> Option<Value> {
        self.chunk(choice, event)
    }

    fn counts(&self) -> Option<Value> {
        self.usage_chunk()
    }

    fn cut(&mut self) -> Option<Vec<Value>> {
        self.has_begun().then(|| self.abort(&cause()))
    }

    fn whole(&self) -> Value {
        self.response()
    }
}

impl Told for TextCompletion {
    fn by_chunks(&mut self) {
        self.tell_by_chunks();
    }

    fn begin(&self, choice: u32) -> Option<Value> {
        self.first_chunk(choice)
    }

    fn hear(&mut self, choice: u32, event: &Event) -> Option<Value> {
        self.chunk(choice, event)
    }

    fn counts(&self) -> Option<Value> {
        self.usage_chunk()
    }

    fn cut(&mut self) -> Option<Vec<Value>> {
        self.has_begun().then(|| self.abort(&cause()))
    }

    fn whole(&self) -> Value {
        self.response()
    }
}

/// The response to a request with so many choices: by chunks where it asked for them.
///
/// # Errors
/// What cut an answer that was to be whole.
pub(crate) async fn respond<T: Told>(
    mut answer: Answer,
    mut completion: T,
    choices: u32,
    streams: bool,
) -> Result<Response, Refusal> {
    if streams {
        completion.by_chunks();
        return Ok(sse::stream(answer, Chunks { completion, choices }));
    }
    while let Some((choice, event)) = answer.next().await? {
        completion.hear(choice, &event);
    }
    Ok(ok(&completion.whole()))
}

/// A completion as chunks.
struct Chunks<T> {
    completion: T,
    choices: u32,
}

impl<T: Told> Pieces for Chunks<T> {
    const KIND: &'static str = sse::EVENT_STREAM;
    const KEEP_ALIVE: &'static str = sse::COMMENT;

    fn begin(&mut self) -> String {
        (0..self.choices).filter_map(|choice| self.completion.begin(choice)).map(|chunk| sse::data(&chunk)).collect()
    }

    fn event(&mut self, choice: u32, event: &Event) -> String {
        self.completion.hear(choice, event).map_or(String::new(), |chunk| sse::data(&chunk))
    }

    fn end(&mut self, cut: Option<Cut>) -> String {
        let last = match cut {
            None => self.completion.counts().map_or(String::new(), |chunk| sse::data(&chunk)),
            Some(cut) => match self.completion.cut() {
                // What was said stays of use: the client learns that the rest is missing.
                Some(chunks) => chunks.iter().map(sse::data).collect(),
                None => sse::data(&Refusal::from(cut).to_json()),
            },
        };
        last + DONE
    }
}
