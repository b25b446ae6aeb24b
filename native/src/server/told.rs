//! OpenAI's two completions, of chats and of texts, told alike: whole, or as chunks in server-sent events.

use axum::http::HeaderMap;
use lyn::error::{Code, Error};
use lyn::generate::Event;
use lyn::wire::openai::Chunked;
use serde_json::Value;

use super::answer::Answer;
use super::cut::Cut;
use super::refusal::{Handled, Refusal};
use super::sse::{self, StreamFormat};

/// What ends a stream of server-sent events.
const DONE: &str = "data: [DONE]\n\n";

/// The response to a request with so many choices: see [`sse::respond`].
pub(crate) async fn respond<T: Chunked + Send + 'static>(
    answer: Answer,
    mut completion: T,
    choices: u32,
    streams: bool,
    headers: HeaderMap,
) -> Handled {
    if streams {
        completion.tell_by_chunks();
    }
    sse::respond(answer, Chunks { completion, choices }, streams, headers).await
}

/// A completion as chunks.
struct Chunks<T> {
    completion: T,
    choices: u32,
}

impl<T: Chunked + Send + 'static> StreamFormat for Chunks<T> {
    fn begin(&mut self) -> String {
        (0..self.choices)
            .filter_map(|choice| self.completion.first_chunk(choice))
            .map(|chunk| sse::data(&chunk))
            .collect()
    }

    fn event(&mut self, choice: u32, event: &Event) -> String {
        self.completion.chunk(choice, event).map_or(String::new(), |chunk| sse::data(&chunk))
    }

    fn end(&mut self, cut: Option<Cut>) -> String {
        let last = match cut {
            None => self.completion.usage_chunk().map_or(String::new(), |chunk| sse::data(&chunk)),
            // What was said stays of use: the client learns that the rest is missing.
            Some(_) if self.completion.has_begun() => {
                let cause = Error::new(Code::Cancelled, "the answer was cut");
                self.completion.abort(&cause).iter().map(sse::data).collect()
            }
            Some(cut) => sse::data(&Refusal::from(cut).to_json()),
        };
        last + DONE
    }

    fn whole(&mut self) -> Value {
        self.completion.response()
    }
}
