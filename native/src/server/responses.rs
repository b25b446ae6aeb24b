//! OpenAI's Responses: the same conversation as items, and an answer that nobody keeps.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use lyn::error::{Code, Error};
use lyn::generate::Event;
use lyn::wire::openai::{self, ResponsesRequest};
use serde_json::Value;

use super::body::parsed;
use super::chat::{self, Started};
use super::cut::Cut;
use super::guard::Who;
use super::refusal::{Handled, Refusal};
use super::shared::{Shared, unix_seconds};
use super::sse::{self, StreamFormat};

/// `POST /v1/responses`
pub(crate) async fn create(State(server): State<Shared>, Extension(key): Who, body: Body) -> Handled {
    server.check_open()?;
    let shared = Shared::clone(&server);
    let parse = move |bytes: &[u8]| {
        let request = ResponsesRequest::parse(shared.settings.compat, bytes)?;
        // Models of other engines have whatever names they like.
        let elsewhere = shared.may_lead_elsewhere(request.model.as_deref());
        let chat = request.to_chat(&shared.rules(false, elsewhere))?;
        Ok((request, chat))
    };
    let (request, chat) = parsed(&server, body, parse).await?;
    let model = request.model.clone().unwrap_or_else(|| server.settings.models.loaded.clone());
    let mut told = openai::Response::new(unix_seconds(), model, &request);
    if chat.logprobs == Some(true) {
        let language = server.loaded().and_then(|loaded| Ok(loaded.language()?));
        told = told.with_logprobs(language.ok().map(|language| language.tokenizer().clone()));
    }
    let streams = chat.is_stream();
    let Started { answer, headers, .. } = chat::start(&server, key, chat, false).await?;
    sse::respond(answer, Events(told), streams, headers).await
}

/// An answer by named events.
struct Events(openai::Response);

impl StreamFormat for Events {
    fn begin(&mut self) -> String {
        sse::named(&self.0.begin())
    }

    fn event(&mut self, _choice: u32, event: &Event) -> String {
        sse::named(&self.0.events(event))
    }

    fn end(&mut self, cut: Option<Cut>) -> String {
        let Some(cut) = cut else { return String::new() };
        let refusal = Refusal::from(cut);
        sse::named(&self.0.fail("server_error", &Error::new(Code::Internal, refusal.message())))
    }

    fn whole(&mut self) -> Value {
        self.0.whole()
    }
}
