//! Anthropic's messages over HTTP.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderName;
use axum::response::IntoResponse;
use lyn::error::Code;
use lyn::generate::Event;
use lyn::wire::anthropic::{AnthropicMessage, chat_request};
use serde_json::{Value, json};

use super::body::parsed;
use super::chat::{self, Started};
use super::cut::Cut;
use super::dialect::ClientDialect;
use super::guard::Who;
use super::refusal::{Handled, ok};
use super::shared::Shared;
use super::sse::{self, StreamFormat};

/// Where they look for a request's id.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// `POST /v1/messages`
pub(crate) async fn messages(State(server): State<Shared>, Extension(key): Who, body: Body) -> Handled {
    server.check_open()?;
    // Names of other makers' models mean the one that is here.
    let rules = server.rules(true, true);
    let request = parsed(&server, body, move |bytes| chat_request(&rules, bytes, false)).await?;
    let message = AnthropicMessage::new(request.model.clone().unwrap_or_default());
    let streams = request.is_stream();
    let Started { answer, headers, .. } = chat::start(&server, key, request, true).await?;
    sse::respond(answer, message, streams, headers).await
}

/// `POST /v1/messages/count_tokens`
pub(crate) async fn count_tokens(State(server): State<Shared>, body: Body) -> Handled {
    server.check_open()?;
    let rules = server.rules(true, true);
    let request = parsed(&server, body, move |bytes| chat_request(&rules, bytes, true)).await?;
    let headers = chat::ignored(request.ignored());
    let counted = server.with_language(move |language| match request.to_request(language) {
        Ok(asked) => Ok(json!(asked.request.prompt.len())),
        // What is too long to be answered can be counted.
        Err(error) if error.code() == Code::ContextOverflow => {
            error.details().get("prompt_tokens").cloned().ok_or(error)
        }
        Err(error) => Err(error),
    });
    Ok((headers, ok(&json!({ "input_tokens": counted.await? }))).into_response())
}

impl StreamFormat for AnthropicMessage {
    const KEEP_ALIVE: &'static str = "event: ping\ndata: {\"type\":\"ping\"}\n\n";

    fn event(&mut self, _choice: u32, event: &Event) -> String {
        sse::named(&self.events(event))
    }

    fn end(&mut self, cut: Option<Cut>) -> String {
        cut.map_or(String::new(), |cut| sse::named(&[ClientDialect::Anthropic.envelope(&cut.into(), None)]))
    }

    fn whole(&mut self) -> Value {
        AnthropicMessage::whole(self)
    }
}
