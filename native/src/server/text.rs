//! Completions of texts, with a hole or without: no chat format.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::Uri;
use lyn::wire::openai::{PromptField, TextRequest};

use super::answer::Answer;
use super::body::{parsed_bytes, whole_body};
use super::chat::{ignored, made_with};
use super::guard::Who;
use super::refusal::Handled;
use super::shared::{Shared, unix_seconds};
use super::{elsewhere, told};
use crate::upstream::Kind;

/// `POST /v1/completions`
pub(crate) async fn completions(State(server): State<Shared>, Extension(key): Who, uri: Uri, body: Body) -> Handled {
    server.check_open()?;
    let bytes = whole_body(&server, body).await?;
    if let Some(response) = elsewhere::respond(&server, key, Kind::Text, &bytes).await? {
        return Ok(response);
    }
    let fingerprint = server.loaded()?.fingerprint.clone();
    let rules = server.rules(uri.path().starts_with("/beta/"), false);
    let request = parsed_bytes(bytes, move |bytes| TextRequest::parse_by(&rules, bytes)).await?;
    let user = request.user_id.clone();
    let mut headers = ignored(request.ignored());
    let streams = request.is_stream();
    let (answers, log) = (answers(&request), server.settings.log_prompts);
    let asking = Answer::ask(&server, key, user.as_deref(), answers, move |language| {
        let asked = request.to_requests(language)?;
        let id = uuid::Uuid::new_v4().to_string();
        let completion = request.completion(language, &asked, id, unix_seconds()).with_fingerprint(fingerprint);
        if log {
            let prompts: Vec<String> =
                asked.requests.iter().map(|request| language.tokenizer().decode(&request.prompt)).collect();
            tracing::warn!(target: "lyn::prompts", ?prompts, "asked");
        }
        let made_with = made_with(asked.requests.first());
        Ok((asked.requests, (completion, made_with)))
    });
    let (answer, (completion, made_with)) = asking.await?;
    headers.extend(made_with);
    told::respond(answer, completion, u32::try_from(answers).unwrap_or(u32::MAX), streams, headers).await
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
