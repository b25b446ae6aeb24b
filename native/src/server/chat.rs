//! Chat completions: OpenAI's and DeepSeek's, whole or by chunks.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use axum::response::Response;
use lyn::chat::openai::{ChatRequest, Completion};
use lyn::error::{Code, Error};
use lyn::generate::{Event, Request};

use super::answer::Answer;
use super::guard::Visitor;
use super::refusal::{Refusal, ok};
use super::sse::{self, Pieces};
use super::worker::Cut;
use super::{Server, Shared, Who, elsewhere, parsed_bytes, unix_seconds, whole_body};

/// The seed in use, also where the request had none.
pub(crate) const SEED: HeaderName = HeaderName::from_static("x-seed");
/// Fields of the request that meant nothing.
const IGNORED: HeaderName = HeaderName::from_static("x-lyn-ignored-fields");
/// Why there is no thought where one was asked for.
const THINKING: HeaderName = HeaderName::from_static("x-thinking");
/// What ends a stream of server-sent events.
pub(crate) const DONE: &str = "data: [DONE]\n\n";

/// The header with fields that meant nothing, which are also in the log.
pub(crate) fn ignored(fields: &[String]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let fields = fields.join(", ");
    if let (false, Ok(value)) = (fields.is_empty(), HeaderValue::from_str(&fields)) {
        tracing::info!(fields, "fields were ignored");
        headers.insert(IGNORED, value);
    }
    headers
}

/// An answer on its way, for every dialect.
pub(crate) struct Started {
    pub(crate) answer: Answer,
    pub(crate) completion: Completion,
    pub(crate) choices: u32,
    pub(crate) prompt_tokens: u32,
    /// What is said of the answer beside it.
    pub(crate) headers: HeaderMap,
}

/// Asks for the answer to a request.
///
/// # Errors
/// As [`Answer::ask`].
pub(crate) async fn start(server: &Server, visitor: Visitor, request: ChatRequest) -> Result<Started, Refusal> {
    let mut scope = server.guard.scope(visitor.key);
    scope.extend_from_slice(request.user_id.as_deref().unwrap_or_default().as_bytes());
    let mut headers = ignored(request.ignored());
    let choices = request.n.and_then(|n| u32::try_from(n).ok()).unwrap_or(1).max(1);
    let strict = server.settings.compat.is_strict();
    let log = server.settings.log_prompts;
    let fingerprint = server.loaded()?.fingerprint.clone();
    let (answer, (completion, seed, prompt_tokens, no_thought)) =
        Answer::ask(server, visitor.key, choices as usize, move |language| {
            let asked = request.to_request(language)?;
            let id = uuid::Uuid::new_v4().to_string();
            let completion = request.completion(language, &asked, id, unix_seconds()).with_fingerprint(fingerprint);
            let completion = if strict { completion.without_empty_details() } else { completion };
            if log {
                let prompt = language.tokenizer().decode(&asked.request.prompt);
                tracing::warn!(target: "lyn::prompts", prompt, "asked");
            }
            let (seed, prompt) = (asked.request.sampling.seed, asked.request.prompt.len());
            let requests = asked.requests().map(|request| Request { scope: scope.clone(), ..request }).collect();
            let prompt_tokens = u32::try_from(prompt).unwrap_or(u32::MAX);
            Ok((requests, (completion, seed, prompt_tokens, asked.thinking_disabled_by_tools)))
        })
        .await?;
    headers.insert(SEED, HeaderValue::from(seed));
    if no_thought {
        headers.insert(THINKING, HeaderValue::from_static("disabled-by-tools"));
    }
    Ok(Started { answer, completion, choices, prompt_tokens, headers })
}

/// `POST /v1/chat/completions`
pub(crate) async fn completions(
    State(server): State<Shared>,
    Extension(visitor): Who,
    uri: Uri,
    body: Body,
) -> Result<Response, Refusal> {
    server.check_open()?;
    let bytes = whole_body(&server, body).await?;
    if let Some(response) = elsewhere::answer(&server, &bytes).await? {
        return Ok(response);
    }
    server.loaded()?;
    let rules = server.rules(uri.path().starts_with("/beta/"), false);
    let request = parsed_bytes(bytes, move |bytes| ChatRequest::parse_by(&rules, bytes)).await?;
    let streams = request.is_stream();
    let Started { answer, completion, choices, headers, .. } = start(&server, visitor, request).await?;
    let mut response = match streams {
        true => sse::stream(answer, Chunks { completion, choices }),
        false => whole(answer, completion).await?,
    };
    response.headers_mut().extend(headers);
    Ok(response)
}

/// The whole answer.
async fn whole(mut answer: Answer, mut completion: Completion) -> Result<Response, Refusal> {
    while let Some((choice, event)) = answer.next().await? {
        completion.chunk(choice, &event);
    }
    Ok(ok(&completion.response()))
}

/// An answer as chunks.
struct Chunks {
    completion: Completion,
    choices: u32,
}

impl Pieces for Chunks {
    const KIND: &'static str = sse::EVENT_STREAM;
    const KEEP_ALIVE: &'static str = sse::COMMENT;

    fn begin(&mut self) -> String {
        (0..self.choices).map(|choice| sse::data(&self.completion.first_chunk(choice))).collect()
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
}
