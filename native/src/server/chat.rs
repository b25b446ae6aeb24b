//! Chat completions: OpenAI's and DeepSeek's, whole or by chunks.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use axum::response::Response;
use lyn::Engine;
use lyn::chat::openai::{ChatRequest, Completion};
use lyn::error::{Code, Error};
use lyn::generate::{Event, Request};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::answer::Answer;
use super::guard::Visitor;
use super::refusal::{Refusal, ok};
use super::sse::{self, Pieces};
use super::worker::Cut;
use super::{Server, Shared, Who, elsewhere, parsed_bytes, unix_seconds, whole_body};
use crate::cli::VERSION;

/// The seed in use, also where the request had none.
const SEED: HeaderName = HeaderName::from_static("x-seed");
/// Fields of the request that meant nothing.
const IGNORED: HeaderName = HeaderName::from_static("x-lyn-ignored-fields");
/// Why there is no thought where one was asked for.
const THINKING: HeaderName = HeaderName::from_static("x-thinking");
/// What ends a stream of server-sent events.
pub(crate) const DONE: &str = "data: [DONE]\n\n";

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
    let mut headers = HeaderMap::new();
    let ignored = request.ignored().join(", ");
    if let (false, Ok(ignored)) = (ignored.is_empty(), HeaderValue::from_str(&ignored)) {
        tracing::info!(fields = %ignored.to_str().unwrap_or_default(), "fields were ignored");
        headers.insert(IGNORED, ignored);
    }
    let choices = request.n.and_then(|n| u32::try_from(n).ok()).unwrap_or(1).max(1);
    let strict = server.settings.compat.is_strict();
    let log = server.settings.log_prompts;
    let (answer, (completion, seed, prompt_tokens, no_thought)) =
        Answer::ask(server, visitor.key, choices as usize, move |engine| {
            let asked = request.to_request(engine.language()?)?;
            let id = uuid::Uuid::new_v4().to_string();
            let completion = request.completion(engine.language()?, &asked, id, unix_seconds());
            let completion = completion.with_fingerprint(fingerprint(engine));
            let completion = if strict { completion.without_empty_details() } else { completion };
            if log {
                let prompt = engine.tokenizer()?.decode(&asked.request.prompt);
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

/// What made an answer: model, version, adapter and the choices that change numbers.
pub(crate) fn fingerprint(engine: &Engine) -> String {
    let adapter = engine.adapter().map(|adapter| (&adapter.name, &adapter.driver, &adapter.backend));
    let facts = json!([engine.plan(), engine.index_topk(), VERSION, adapter]);
    let digest = Sha256::digest(facts.to_string());
    let hex: String = digest.iter().take(5).map(|byte| format!("{byte:02x}")).collect();
    let backend = engine.adapter().map_or("host".to_owned(), |adapter| adapter.backend.to_string().to_lowercase());
    format!("fp_{hex}_{backend}")
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
    server.check_ready()?;
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
