//! Completions of texts, with a hole or without: no chat format.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Uri};
use axum::response::Response;
use lyn::generate::Request;
use lyn::wire::openai::{PromptField, TextRequest};

use super::answer::Answer;
use super::body::{parsed_bytes, whole_body};
use super::chat::{SEED, ignored, loosened};
use super::guard::Who;
use super::refusal::Refusal;
use super::shared::{Shared, unix_seconds};
use super::{elsewhere, told};
use crate::upstream::Kind;

/// `POST /v1/completions`
pub(crate) async fn completions(
    State(server): State<Shared>,
    Extension(visitor): Who,
    uri: Uri,
    body: Body,
) -> Result<Response, Refusal> {
    server.check_open()?;
    let bytes = whole_body(&server, body).await?;
    if let Some(asking) = elsewhere::route(&server, Kind::Text, &bytes).await? {
        let begun = asking.ask(&server, visitor).await?;
        let completion = asking.text_completion(&begun);
        let mut response = told::respond(begun.answer, completion, asking.choices(), asking.is_stream()).await?;
        response.headers_mut().extend(begun.headers);
        return Ok(response);
    }
    let fingerprint = server.loaded()?.fingerprint.clone();
    let rules = server.rules(uri.path().starts_with("/beta/"), false);
    let request = parsed_bytes(bytes, move |bytes| TextRequest::parse_by(&rules, bytes)).await?;
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
        let loose = loosened(asked.requests.first());
        let requests = asked.requests.into_iter().map(|request| Request { scope: scope.clone(), ..request });
        Ok((requests.collect(), (completion, seed, loose)))
    });
    let (answer, (completion, seed, loose)) = asking.await?;
    let choices = u32::try_from(answers).unwrap_or(u32::MAX);
    let mut response = told::respond(answer, completion, choices, streams).await?;
    response.headers_mut().extend(headers);
    response.headers_mut().extend(loose);
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
