//! Completions of texts, with a hole or without: no chat format.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Uri};
use axum::response::Response;
use lyn::chat::openai::{PromptField, TextCompletion, TextRequest};
use lyn::error::{Code, Error};
use lyn::generate::{Event, Request};

use super::answer::Answer;
use super::chat::{DONE, SEED, ignored};
use super::refusal::{Refusal, ok};
use super::sse::{self, Pieces};
use super::worker::Cut;
use super::{Shared, Who, parsed, unix_seconds};

/// `POST /v1/completions`
pub(crate) async fn completions(
    State(server): State<Shared>,
    Extension(visitor): Who,
    uri: Uri,
    body: Body,
) -> Result<Response, Refusal> {
    let fingerprint = server.loaded()?.fingerprint.clone();
    let rules = server.rules(uri.path().starts_with("/beta/"), false);
    let request = parsed(&server, body, move |bytes| TextRequest::parse_by(&rules, bytes)).await?;
    let mut scope = server.guard.scope(visitor.key);
    scope.extend_from_slice(request.user_id.as_deref().unwrap_or_default().as_bytes());
    let headers = ignored(request.ignored());
    let streams = request.is_stream();
    let (answers, log) = (answers(&request), server.settings.log_prompts);
    let asking = Answer::ask(&server, visitor.key, answers, move |language| {
        let asked = request.to_requests(language)?;
        let id = uuid::Uuid::new_v4().to_string();
        let completion = request.completion(language, &asked, id, unix_seconds()).with_fingerprint(fingerprint);
        if log {
            let prompts: Vec<String> =
                asked.requests.iter().map(|request| language.tokenizer().decode(&request.prompt)).collect();
            tracing::warn!(target: "lyn::prompts", ?prompts, "asked");
        }
        let seed = asked.requests.first().map_or(0, |request| request.sampling.seed);
        let requests = asked.requests.into_iter().map(|request| Request { scope: scope.clone(), ..request });
        Ok((requests.collect(), (completion, seed)))
    });
    let (mut answer, (mut completion, seed)) = asking.await?;
    let mut response = if streams {
        let choices = u32::try_from(answers).unwrap_or(u32::MAX);
        sse::stream(answer, Chunks { completion, choices })
    } else {
        while let Some((choice, event)) = answer.next().await? {
            completion.chunk(choice, &event);
        }
        ok(&completion.response())
    };
    response.headers_mut().extend(headers);
    response.headers_mut().insert(SEED, HeaderValue::from(seed));
    Ok(response)
}

/// How many answers a request asks for.
fn answers(request: &TextRequest) -> usize {
    let prompts = match &request.prompt {
        PromptField::Text(_) | PromptField::Ids(_) => 1,
        PromptField::Texts(texts) => texts.len(),
        PromptField::ManyIds(many) => many.len(),
    };
    prompts.saturating_mul(request.n.and_then(|n| usize::try_from(n).ok()).unwrap_or(1).max(1))
}

/// Answers as chunks.
struct Chunks {
    completion: TextCompletion,
    choices: u32,
}

impl Pieces for Chunks {
    const KIND: &'static str = sse::EVENT_STREAM;
    const KEEP_ALIVE: &'static str = sse::COMMENT;

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
            Some(_) if self.completion.has_begun() => {
                let cause = Error::new(Code::Cancelled, "the answer was cut");
                self.completion.abort(&cause).iter().map(sse::data).collect()
            }
            Some(cut) => sse::data(&Refusal::from(cut).to_json()),
        };
        last + DONE
    }
}
