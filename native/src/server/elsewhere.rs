//! Requests that another engine answers: asked there, and told here as any answer is.
//!
//! In: a request in DeepSeek's form. Out: the events of its answer. Never: an id, a header or a key of the other side, but the
//! model that it names, in `x-upstream-model`.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use bytes::Bytes;
use lyn::generate::{Event, Voice};
use lyn::wire::openai::{Completion, TextAsked, TextCompletion};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::answer::Answer;
use super::body::parsed_bytes;
use super::guard::KeyId;
use super::refusal::Refusal;
use super::relay::{Relay, Starting};
use super::shared::{Server, unix_seconds};
use super::sse::SILENCE;
use super::told;
use crate::upstream::profile::wanted;
use crate::upstream::route::{PARTS, RoutePart, UpstreamRoute};
use crate::upstream::{Kind, Reply};

/// The header with the model that the other side names.
const MODEL: HeaderName = HeaderName::from_static("x-upstream-model");

/// A request on its way to another engine.
pub(super) struct Elsewhere {
    route: UpstreamRoute,
    kind: Kind,
    /// The request in DeepSeek's form, with whatever else its client has put into it.
    body: Map<String, Value>,
}

/// An answer on its way from another engine.
pub(super) struct Begun {
    pub(super) answer: Answer,
    pub(super) headers: HeaderMap,
    /// Whether it is told as one with a thought.
    thinking: bool,
    fingerprint: Option<String>,
}

/// The response to a request that a route leads to another engine; none where the engine here is asked. Errors: 400 where
/// the body is no JSON object; as [`Elsewhere::ask`].
pub(super) async fn respond(
    server: &Server,
    key: Option<KeyId>,
    kind: Kind,
    body: &Bytes,
) -> Result<Option<Response>, Refusal> {
    if server.settings.routes.is_empty() {
        return Ok(None);
    }
    let (body, _): (Map<String, Value>, _) = parsed_bytes(body.clone(), |bytes| lyn::json::read(bytes)).await?;
    let Some(asking) = lead(server, kind, body) else { return Ok(None) };
    let begun = asking.ask(server, key).await?;
    let (choices, streams) = (asking.choices(), asking.is("stream"));
    let response = match kind {
        Kind::Chat => {
            let told = asking.completion(&begun);
            told::respond(begun.answer, told, choices, streams, begun.headers).await?
        }
        Kind::Text => {
            let told = asking.text_completion(&begun);
            told::respond(begun.answer, told, choices, streams, begun.headers).await?
        }
    };
    Ok(Some(response))
}

/// The request, where a route leads it to another engine.
pub(super) fn lead(server: &Server, kind: Kind, body: Map<String, Value>) -> Option<Elsewhere> {
    let (routes, part) = (&server.settings.routes, part(&body));
    let model = body.get("model").and_then(Value::as_str).unwrap_or_default();
    for route in routes.shadows(model, part) {
        copy(server, route, kind, &body);
    }
    let route = routes.decide(model, part, server.admission.is_full())?;
    tracing::debug!(host = route.upstream.address().shown(), "another engine is asked");
    Some(Elsewhere { route, kind, body })
}

/// Where a conversation stands among all: by its user, else by how it begins, so that all of its turns go the same way.
fn part(body: &Map<String, Value>) -> RoutePart {
    let user = ["user_id", "user"].iter().find_map(|name| body.get(*name)?.as_str());
    let mut digest = Sha256::new();
    match (user, body.get("messages").and_then(Value::as_array)) {
        (Some(user), _) => digest.update(user),
        (None, Some(messages)) => {
            let is_user = |message: &Value| message.get("role").and_then(Value::as_str) == Some("user");
            let first = messages.iter().position(is_user).map_or(messages.len(), |at| at + 1);
            for message in messages.iter().take(first) {
                digest.update(message.to_string());
            }
        }
        (None, None) => digest.update(body.get("prompt").map(Value::to_string).unwrap_or_default()),
    }
    let number = digest.finalize().iter().take(8).fold(0_u64, |number, &byte| number << 8 | u64::from(byte));
    RoutePart::try_from(number % u64::from(PARTS)).unwrap_or(0)
}

/// Bytes of a copy, and the time that it has.
const COPY_BYTES: usize = 1 << 20;
const COPY_TIME: Duration = Duration::from_secs(600);

/// Has another engine answer the same request, to count what comes of it. Nobody waits for that, and where there are too many
/// such copies, or one is too long, it is not made: that counts as an error of the route.
fn copy(server: &Server, route: UpstreamRoute, kind: Kind, body: &Map<String, Value>) {
    let mut meter = server.metrics.route(&route.name, route.upstream.address().shown());
    let room = Arc::clone(&server.copies).try_acquire_owned();
    let (Ok(room), true) = (room, body.values().map(weight).sum::<usize>() <= COPY_BYTES) else {
        return meter.fail();
    };
    let body = renamed(&route, kind, body);
    tokio::spawn(async move {
        let _room = room;
        let answering = async {
            let mut reply = route.upstream.ask(kind, body).await?;
            while let Some((_, event)) = reply.next().await? {
                meter.hear(&event);
            }
            Ok::<(), lyn::Error>(())
        };
        let answered = tokio::time::timeout(COPY_TIME, answering).await;
        if !matches!(answered, Ok(Ok(()))) {
            meter.fail();
        }
    });
}

/// Bytes that JSON holds, roughly.
fn weight(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(all) => all.iter().map(|value| 8 + weight(value)).sum(),
        Value::Object(all) => all.iter().map(|(name, value)| name.len() + weight(value)).sum(),
        _ => 8,
    }
}

/// The request with the model that the route asks for there.
fn renamed(route: &UpstreamRoute, kind: Kind, body: &Map<String, Value>) -> Map<String, Value> {
    let mut body = body.clone();
    if let Some(model) = route.upstream.address().model() {
        // The client's id may have been its switch: the id that takes its place is none.
        if let Some(on) = wanted(&body).filter(|_| kind == Kind::Chat) {
            body.insert("thinking".to_owned(), json!({ "type": if on { "enabled" } else { "disabled" } }));
        }
        body.insert("model".to_owned(), json!(model));
    }
    body
}

impl Elsewhere {
    fn text(&self, name: &str) -> Option<&str> {
        self.body.get(name).and_then(Value::as_str)
    }

    fn is(&self, name: &str) -> bool {
        self.body.get(name) == Some(&Value::Bool(true))
    }

    /// How many answers are asked for.
    pub(super) fn choices(&self) -> u32 {
        let prompts = match self.body.get("prompt") {
            // Token ids are one prompt.
            Some(Value::Array(prompts)) if !prompts.first().is_some_and(Value::is_number) => prompts.len(),
            _ => 1,
        };
        let answers = self.body.get("n").and_then(Value::as_u64).unwrap_or(1).max(1);
        u32::try_from(answers.saturating_mul(prompts as u64)).unwrap_or(u32::MAX)
    }

    fn usage_apart(&self) -> bool {
        let options = self.body.get("stream_options");
        self.is("stream") && options.and_then(|options| options.get("include_usage")?.as_bool()) == Some(true)
    }

    /// The chat completion as which the answer is told.
    pub(super) fn completion(&self, begun: &Begun) -> Completion {
        let (id, model) = (uuid::Uuid::new_v4().to_string(), self.text("model").unwrap_or_default());
        let mut told = Completion::new(id, unix_seconds(), model, begun.thinking).with_answers(self.choices());
        told = told.of_elsewhere();
        if self.usage_apart() {
            told = told.with_usage_apart();
        }
        if self.is("logprobs") {
            told = told.with_logprobs(None);
        }
        match &begun.fingerprint {
            Some(fingerprint) => told.with_fingerprint(fingerprint),
            None => told,
        }
    }

    /// The text completion as which the answer is told. What is echoed comes from the other side.
    fn text_completion(&self, begun: &Begun) -> TextCompletion {
        let (id, model) = (uuid::Uuid::new_v4().to_string(), self.text("model").unwrap_or_default());
        let echoes = vec![String::new(); self.choices() as usize];
        let asked = TextAsked { requests: vec![], echoes, added_tokens: 0, answers: self.choices() };
        let mut told = TextCompletion::new(id, unix_seconds(), model, &asked).of_elsewhere();
        if self.usage_apart() {
            told = told.with_usage_apart();
        }
        if self.body.get("logprobs").is_some_and(|logprobs| logprobs.is_number() || *logprobs == Value::Bool(true)) {
            told = told.with_logprobs(None, usize::MAX);
        }
        match &begun.fingerprint {
            Some(fingerprint) => told.with_fingerprint(fingerprint),
            None => told,
        }
    }

    /// Asks the other engine. Returns when its answer has begun; where the answer comes by chunks, not much later than
    /// that: from then on a refusal is an event. Errors: 503 and 429 where there is no room; what the other engine says.
    pub(super) async fn ask(&self, server: &Server, key: Option<KeyId>) -> Result<Begun, Refusal> {
        let choices = self.choices();
        let ticket = server.passing.enter(key, choices as usize)?;
        let thinking = wanted(&self.body).filter(|_| self.kind == Kind::Chat);
        let body = renamed(&self.route, self.kind, &self.body);
        let meter = server.metrics.route(&self.route.name, self.route.upstream.address().shown());
        let (upstream, kind) = (Arc::clone(&self.route.upstream), self.kind);
        let mut starting: Starting = Box::pin(async move { upstream.ask(kind, body).await });
        let begun = if self.is("stream") {
            tokio::time::timeout(SILENCE, &mut starting).await.ok().transpose()
        } else {
            (&mut starting).await.map(Some)
        };
        let reply = begun.inspect_err(|_| meter.fail())?;
        let mut headers = HeaderMap::new();
        let model = reply.as_ref().and_then(Reply::model).and_then(|model| HeaderValue::from_str(model).ok());
        headers.extend(model.map(|model| (MODEL, model)));
        let fingerprint = reply.as_ref().and_then(Reply::fingerprint).map(str::to_owned);
        let thinks = |event: &Event| matches!(event, Event::Text { voice: Voice::Reasoning, .. });
        let thinking = thinking == Some(true) || reply.as_ref().and_then(Reply::peek).is_some_and(thinks);
        let relay = Relay::new(reply.ok_or(starting), choices);
        let answer = Answer::of_elsewhere(relay, ticket, server.stopping.subscribe(), Some(meter));
        Ok(Begun { answer, headers, thinking, fingerprint })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use http_body_util::BodyExt;
    use lyn::wire::openai::Chunked;
    use lyn::{Code, Error};
    use tokio::sync::watch;

    use super::*;
    use crate::server::admission::Admission;

    /// Answers are long, and clients many: what a stream has told is not kept beside it.
    #[tokio::test]
    async fn a_stream_is_told_by_chunks_and_a_whole_answer_is_not() {
        struct Noting(Arc<AtomicBool>);
        impl Chunked for Noting {
            fn tell_by_chunks(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
            fn first_chunk(&self, _: u32) -> Option<Value> {
                None
            }
            fn chunk(&mut self, _: u32, _: &Event) -> Option<Value> {
                None
            }
            fn usage_chunk(&self) -> Option<Value> {
                None
            }
            fn has_begun(&self) -> bool {
                false
            }
            fn abort(&mut self, _: &Error) -> Vec<Value> {
                vec![]
            }
            fn response(&self) -> Value {
                Value::Null
            }
        }
        for streams in [true, false] {
            let starting: Starting = Box::pin(async { Err(Error::new(Code::Upstream, "a test's own")) });
            let relay = Relay::new(Err(starting), 1);
            let ticket = Admission::new(1, None).enter(None, 1).unwrap();
            let answer = Answer::of_elsewhere(relay, ticket, watch::Sender::new(false).subscribe(), None);
            let by_chunks = Arc::new(AtomicBool::new(false));
            let _ = told::respond(answer, Noting(Arc::clone(&by_chunks)), 1, streams, HeaderMap::new()).await;
            assert_eq!(by_chunks.load(Ordering::Relaxed), streams);
        }
    }

    /// An engine that says nothing for 25 s and then refuses: two signs of life, and an error in place of a chunk.
    #[tokio::test(start_paused = true)]
    async fn a_stream_that_waits_shows_that_it_lives_and_can_still_be_refused() {
        let starting: Starting = Box::pin(async {
            tokio::time::sleep(Duration::from_secs(25)).await;
            Err(Error::new(Code::Upstream, "h answered 400: too long").with_detail("status", 400))
        });
        let relay = Relay::new(Err(starting), 1);
        let ticket = Admission::new(1, None).enter(None, 1).unwrap();
        let answer = Answer::of_elsewhere(relay, ticket, watch::Sender::new(false).subscribe(), None);
        let completion = Completion::new("1", 7, "m", false).of_elsewhere();
        let response = told::respond(answer, completion, 1, true, HeaderMap::new()).await.unwrap();
        let text = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(text.to_vec()).unwrap();
        assert_eq!(text.matches(": keep-alive\n\n").count(), 2, "{text}");
        assert!(
            text.contains("\"message\":\"h answered 400: too long\"") && text.ends_with("data: [DONE]\n\n"),
            "{text}"
        );
    }

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(fields) = value else { panic!("{value} is no object") };
        fields
    }

    /// Oracle: SHA-256 by another implementation, of the user or of the JSON of messages up to the first question.
    #[test]
    fn a_conversation_has_its_place_by_its_user_or_by_how_it_begins() {
        let message = |role: &str, content: &str| json!({ "role": role, "content": content });
        let (system, user, more) = (message("system", "s"), message("user", "a"), message("user", "more"));
        for (body, place) in [
            (json!({ "user": "somebody" }), 2327),
            (json!({ "user": "somebody", "user_id": "someone" }), 8199),
            (json!({ "user": "somebody", "user_id": 5, "messages": [user] }), 2327),
            (json!({ "messages": [user] }), 1760),
            (json!({ "messages": [user, message("assistant", "b"), more] }), 1760),
            (json!({ "messages": [system, user] }), 3138),
            (json!({ "messages": [system, user, more] }), 3138),
            (json!({ "messages": [system, message("assistant", "b")] }), 3419),
            (json!({ "messages": [] }), 1652),
            (json!({ "prompt": "Once" }), 8191),
            (json!({ "prompt": [1, 2] }), 761),
            (json!({}), 1652),
        ] {
            assert_eq!(part(&object(body.clone())), place, "{body}");
        }
    }

    #[test]
    fn a_copy_weighs_what_its_texts_and_names_do() {
        for (value, bytes) in [
            (json!("four"), 4),
            (json!("é"), 2),
            (json!(7), 8),
            (Value::Null, 8),
            (json!([]), 0),
            (json!(["four", 7]), 8 + 4 + 8 + 8),
            (json!({ "name": "four", "x": 7 }), 4 + 4 + 1 + 8),
            (json!({ "a": [{ "b": "c" }] }), 1 + 8 + 1 + 1),
        ] {
            assert_eq!(weight(&value), bytes, "{value}");
        }
    }
}
