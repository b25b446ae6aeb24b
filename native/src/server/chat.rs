//! Chat completions: OpenAI's and DeepSeek's, whole or by chunks.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use lyn::chat::openai::{ChatRequest, Completion, Timings, Usage};
use lyn::generate::{Event, Finish, Request};
use serde_json::json;

use super::answer::Answer;
use super::refusal::{Refusal, ok};
use super::sse::{self, Pieces};
use super::worker::Cut;
use super::{Shared, Who, elsewhere, parsed_bytes, unix_seconds, whole_body};

/// The seed in use, also where the request had none.
const SEED: HeaderName = HeaderName::from_static("x-seed");
/// What ends a stream of server-sent events.
const DONE: &str = "data: [DONE]\n\n";

/// `POST /v1/chat/completions`
pub(crate) async fn completions(
    State(server): State<Shared>,
    Extension(visitor): Who,
    body: Body,
) -> Result<Response, Refusal> {
    server.check_open()?;
    let bytes = whole_body(&server, body).await?;
    if let Some(response) = elsewhere::answer(&server, &bytes).await? {
        return Ok(response);
    }
    server.check_ready()?;
    let request = parsed_bytes(bytes, |bytes| ChatRequest::parse(bytes)).await?;
    let streams = request.is_stream();
    let scope = server.guard.scope(visitor.key);
    let (answer, (completion, seed)) = Answer::ask(&server, visitor.key, 1, move |engine| {
        let wanted = Request { scope, ..request.to_request(engine)? };
        let seed = wanted.sampling.seed;
        let completion = request.completion(engine, uuid::Uuid::new_v4().to_string(), unix_seconds())?;
        Ok((vec![wanted], (completion, seed)))
    })
    .await?;
    let mut response = match streams {
        true => sse::stream(answer, Chunks { completion, said: false }),
        false => whole(answer, completion).await?,
    };
    response.headers_mut().insert(SEED, HeaderValue::from(seed));
    Ok(response)
}

/// The whole answer.
async fn whole(mut answer: Answer, mut completion: Completion) -> Result<Response, Refusal> {
    while let Some((_, event)) = answer.next().await? {
        completion.chunk(&event);
    }
    Ok(ok(&completion.response()))
}

/// An answer as chunks.
struct Chunks {
    completion: Completion,
    /// Some text is on its way to the client.
    said: bool,
}

impl Pieces for Chunks {
    const KIND: &'static str = sse::EVENT_STREAM;
    const KEEP_ALIVE: &'static str = sse::COMMENT;

    fn begin(&mut self) -> String {
        sse::data(&self.completion.first_chunk())
    }

    fn event(&mut self, _choice: u32, event: &Event) -> String {
        if let Event::End { finish, timings } = event {
            return sse::data(&self.completion.last_chunk(*finish, timings.into(), timings.into()));
        }
        let chunk = self.completion.chunk(event);
        self.said |= chunk.is_some();
        chunk.map_or(String::new(), |chunk| sse::data(&chunk))
    }

    fn end(&mut self, cut: Option<Cut>) -> String {
        let last = match cut {
            None => self.completion.usage_chunk().map_or(String::new(), |chunk| sse::data(&chunk)),
            // What was said stays of use: the client learns that the rest is missing.
            Some(_) if self.said => {
                let mut chunk = self.completion.last_chunk(Finish::Length, Usage::default(), Timings::default());
                chunk["choices"][0]["finish_reason"] = json!("insufficient_system_resource");
                sse::data(&chunk)
            }
            Some(cut) => sse::data(&Refusal::from(cut).to_json()),
        };
        last + DONE
    }
}
