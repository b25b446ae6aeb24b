//! Anthropic's messages: the same conversation in other words.
//!
//! In: Anthropic's requests. Out: its messages, whole or as a stream of its events, its errors and its list of models. Never:
//! a tool that is run here, or a call that is not complete.

mod message;
mod request;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderName;
use axum::response::Response;
use lyn::error::{Code, Result};
use lyn::wire::openai::ChatRequest;
use serde_json::{Value, json};

use self::message::Message;
use self::request::MessagesRequest;
use super::chat::{self, Started};
use super::refusal::{Refusal, ok};
use super::time::timestamp;
use super::{Server, Shared, Who, parsed, sse};

/// Sent by all of Anthropic's clients.
pub(crate) const VERSION: HeaderName = HeaderName::from_static("anthropic-version");
/// Where they look for a request's id.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// A refusal in Anthropic's envelope.
pub(crate) fn envelope(refusal: &Refusal, id: Option<&str>) -> Value {
    let kind = match refusal.status().as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    };
    let message = match refusal.overflow() {
        // Some clients shorten the conversation where they read these words.
        Some((prompt, most)) => format!("prompt is too long: {prompt} tokens > {most} maximum"),
        None => refusal.message().to_owned(),
    };
    let mut body = json!({ "type": "error", "error": { "type": kind, "message": message } });
    if let (Value::Object(fields), Some(id)) = (&mut body, id) {
        fields.insert("request_id".to_owned(), json!(id));
    }
    body
}

/// The same request as a chat completion's.
fn translated(server: &Server, bytes: &[u8], counts: bool) -> Result<ChatRequest> {
    let (request, ignored) = lyn::json::read::<MessagesRequest>(bytes)?;
    // Names of other makers' models mean the one that is here.
    request.into_chat(counts)?.checked(&server.rules(true, true), ignored)
}

/// `POST /v1/messages`
pub(crate) async fn messages(
    State(server): State<Shared>,
    Extension(visitor): Who,
    body: Body,
) -> Result<Response, Refusal> {
    server.check_open()?;
    let rules = Shared::clone(&server);
    let request = parsed(&server, body, move |bytes| translated(&rules, bytes, false)).await?;
    let mut message = Message::new(request.model.clone().unwrap_or_default());
    let streams = request.is_stream();
    let Started { mut answer, headers, .. } = chat::start(&server, visitor, request).await?;
    let mut response = if streams {
        sse::stream(answer, message)
    } else {
        while let Some((_, event)) = answer.next().await? {
            message.take(&event);
        }
        ok(&message.whole())
    };
    response.headers_mut().extend(headers);
    Ok(response)
}

/// `POST /v1/messages/count_tokens`
pub(crate) async fn count_tokens(State(server): State<Shared>, body: Body) -> Result<Response, Refusal> {
    server.check_open()?;
    let rules = Shared::clone(&server);
    let request = parsed(&server, body, move |bytes| translated(&rules, bytes, true)).await?;
    let headers = chat::ignored(request.ignored());
    let counted = server.with_language(move |language| match request.to_request(language) {
        Ok(asked) => Ok(json!(asked.request.prompt.len())),
        // What is too long to be answered can be counted.
        Err(error) if error.code() == Code::ContextOverflow => {
            error.details().get("prompt_tokens").cloned().ok_or(error)
        }
        Err(error) => Err(error),
    });
    let mut response = ok(&json!({ "input_tokens": counted.await? }));
    response.headers_mut().extend(headers);
    Ok(response)
}

/// A model as Anthropic's clients know it.
pub(crate) fn model(server: &Server, id: &str) -> Value {
    let context = server.worker.loaded().ok().and_then(|loaded| loaded.model.get("context").cloned());
    json!({
        "type": "model", "id": id, "display_name": id, "created_at": timestamp(server.started, None),
        "max_input_tokens": context, "max_tokens": context,
    })
}

/// All models, on one page.
pub(crate) fn models(server: &Server, ids: &[&str]) -> Value {
    let data: Vec<Value> = ids.iter().map(|id| model(server, id)).collect();
    json!({ "data": data, "has_more": false, "first_id": ids.first(), "last_id": ids.last() })
}
