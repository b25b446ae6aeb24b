//! llama.cpp's own completions over HTTP.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderValue;
use lyn::generate::Event;
use lyn::wire::llama_cpp::{LlamaAnswer, LlamaRequest};
use lyn::wire::openai::{Compat, Rules};
use serde_json::Value;

use super::answer::Answer;
use super::body::parsed;
use super::chat::{SEED, ignored};
use super::cut::Cut;
use super::guard::Who;
use super::refusal::{Handled, Refusal};
use super::shared::Shared;
use super::sse::{self, StreamFormat};

/// `POST /completion`
pub(crate) async fn completion(server: State<Shared>, who: Who, body: Body) -> Handled {
    respond(server, who, body, false).await
}

/// `POST /infill`
pub(crate) async fn infill(server: State<Shared>, who: Who, body: Body) -> Handled {
    respond(server, who, body, true).await
}

async fn respond(State(server): State<Shared>, Extension(key): Who, body: Body, fills: bool) -> Handled {
    let request = parsed(&server, body, move |bytes| LlamaRequest::parse(bytes, fills)).await?;
    let language = server.loaded()?.language()?;
    let (mut headers, streams) = (ignored(&request.ignored(&language)), request.is_stream());
    let rules = Rules { compat: Compat::Local, ..server.rules(false, true) };
    let model = server.settings.models.loaded.clone();
    let asking = Answer::ask(&server, key, None, 1, move |language| {
        let (requests, told) = request.to_requests(language, &rules, model)?;
        let seed = requests.first().map_or(0, |asked| asked.sampling.seed);
        Ok((requests, (told, seed)))
    });
    let (answer, (told, seed)) = asking.await?;
    headers.insert(SEED, HeaderValue::from(seed));
    sse::respond(answer, told, streams, headers).await
}

impl StreamFormat for LlamaAnswer {
    fn event(&mut self, _: u32, event: &Event) -> String {
        self.part(event).map_or(String::new(), |part| sse::data(&part))
    }

    fn end(&mut self, cut: Option<Cut>) -> String {
        cut.map_or(String::new(), |cut| sse::data(&Refusal::from(cut).to_json()))
    }

    fn take(&mut self, _: u32, event: &Event) {
        LlamaAnswer::take(self, event);
    }

    fn whole(&mut self) -> Value {
        self.last()
    }
}
