//! A request handed on to another engine, and its answer as if it were ours.
//!
//! In: the body of a chat completion, checked as JSON. Out: status, headers and body for any HTTP server. Never: an id, a
//! header or a key of the other side, but the model that it names, in `x-upstream-model`.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use lyn::error::{Code, Error, Result};
use serde_json::{Map, Value, json};

use super::client::{Reply, Upstream};
use super::events::Event;
use super::profile::wanted;
use super::shape::{Head, Shape};

/// The header with the model that the other side names.
pub(crate) const MODEL_HEADER: HeaderName = HeaderName::from_static("x-upstream-model");
/// Silence after which a stream shows that it lives.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// A body in pieces.
pub(crate) type Pieces = Pin<Box<dyn Stream<Item = std::result::Result<Bytes, Infallible>> + Send>>;

/// An HTTP answer without a server.
pub(crate) struct Proxied {
    /// Of the answer.
    pub(crate) status: StatusCode,
    /// Its headers, the content's type among them.
    pub(crate) headers: HeaderMap,
    /// Its body. Dropping it ends the work of the other side.
    pub(crate) body: Pieces,
}

type Starting = Pin<Box<dyn Future<Output = Result<Reply>> + Send>>;

/// Hands a request on. A refusal is an answer too, in the envelope of ours.
///
/// A stream that has not begun within `keep_alive` begins with comments: from then on a refusal is an event.
pub(crate) async fn proxy(upstream: Arc<Upstream>, mut body: Map<String, Value>, keep_alive: Duration) -> Proxied {
    let head = Head::new(body.get("model").and_then(Value::as_str).unwrap_or_default());
    let is_stream = body.get("stream") == Some(&Value::Bool(true));
    let include_usage = body.get("stream_options").and_then(|options| options.get("include_usage")?.as_bool());
    let thinking = wanted(&body);
    let shape = Shape::new(head, thinking, include_usage == Some(true));
    if let Some(model) = upstream.address().model() {
        // The client's id may have been its switch: the id that takes its place is none.
        if let Some(on) = thinking {
            body.insert("thinking".to_owned(), json!({ "type": if on { "enabled" } else { "disabled" } }));
        }
        body.insert("model".to_owned(), json!(model));
    }
    let mut starting: Starting = Box::pin(async move { upstream.chat(body).await });
    if !is_stream {
        return match whole(starting, shape).await {
            Ok((model, answer)) => json_answer(StatusCode::OK, model.as_deref(), &answer),
            Err(error) => refused(&error),
        };
    }
    match tokio::time::timeout(keep_alive, &mut starting).await {
        Ok(Ok(reply)) => stream(Source::Reply(Box::new(reply)), shape, keep_alive),
        Ok(Err(error)) => refused(&error),
        Err(_) => stream(Source::Starting(starting), shape, keep_alive),
    }
}

/// The whole answer, and the model that the other side names.
async fn whole(starting: Starting, mut shape: Shape) -> Result<(Option<String>, Value)> {
    let mut reply = starting.await?;
    let mut failure = None;
    loop {
        match reply.next().await {
            Ok(Some(event)) => drop(shape.chunks(event)),
            Ok(None) => break,
            // Half an answer is no answer to someone who has seen nothing yet.
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    shape.set_fingerprint(reply.fingerprint());
    match failure {
        Some(error) => Err(error),
        None => Ok((reply.model().map(str::to_owned), shape.response())),
    }
}

/// Where a stream's events come from.
enum Source {
    Starting(Starting),
    Reply(Box<Reply>),
    /// Everything has been said.
    Ended,
}

struct State {
    source: Source,
    shape: Shape,
    keep_alive: Duration,
}

fn stream(source: Source, mut shape: Shape, keep_alive: Duration) -> Proxied {
    let mut headers = headers("text/event-stream; charset=utf-8");
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    if let Source::Reply(reply) = &source {
        name_model(&mut headers, reply.model());
        shape.set_fingerprint(reply.fingerprint());
    }
    let state = State { source, shape, keep_alive };
    let pieces = unfold(state, |mut state| async move {
        let piece = state.piece().await?;
        Some((Ok(piece), state))
    });
    Proxied { status: StatusCode::OK, headers, body: Box::pin(pieces) }
}

/// What a wait for the other side brought.
enum Came {
    Nothing,
    Begun(Box<Reply>),
    Event(Event),
    End,
    Failed(Error),
}

impl State {
    /// The next piece of the body; none at its end.
    async fn piece(&mut self) -> Option<Bytes> {
        loop {
            let coming = async {
                match &mut self.source {
                    Source::Ended => Came::End,
                    Source::Starting(starting) => {
                        starting.await.map_or_else(Came::Failed, |reply| Came::Begun(Box::new(reply)))
                    }
                    Source::Reply(reply) => match reply.next().await {
                        Ok(event) => event.map_or(Came::End, Came::Event),
                        Err(error) => Came::Failed(error),
                    },
                }
            };
            let came = tokio::time::timeout(self.keep_alive, coming).await.unwrap_or(Came::Nothing);
            let chunks = match came {
                Came::Nothing => return Some(Bytes::from_static(b": keep-alive\n\n")),
                Came::Begun(reply) => {
                    self.shape.set_fingerprint(reply.fingerprint());
                    self.source = Source::Reply(reply);
                    continue;
                }
                Came::Event(event) => self.shape.chunks(event),
                Came::End if matches!(self.source, Source::Ended) => return None,
                Came::End => self.end(None),
                Came::Failed(error) => self.end(Some(&error)),
            };
            let mut text: String = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
            if matches!(self.source, Source::Ended) {
                text += "data: [DONE]\n\n";
            }
            if !text.is_empty() {
                return Some(Bytes::from(text));
            }
        }
    }

    /// The last chunks. Where something usable has been said, a failure is an end that keeps it.
    fn end(&mut self, failure: Option<&Error>) -> Vec<Value> {
        self.source = Source::Ended;
        match failure {
            Some(error) if !self.shape.has_begun() => vec![envelope(error)],
            _ => self.shape.end(),
        }
    }
}

/// Status of an error for clients of ours. A key or a balance that the other side refuses is none of theirs.
fn status(error: &Error) -> StatusCode {
    let told = error.details().get("status").and_then(Value::as_u64).unwrap_or(502);
    match (error.code(), told) {
        (Code::BadRequest, _) => StatusCode::BAD_REQUEST,
        (Code::Upstream, 400 | 404 | 413 | 422 | 429 | 503 | 504) => {
            u16::try_from(told).ok().and_then(|told| StatusCode::from_u16(told).ok()).unwrap_or(StatusCode::BAD_GATEWAY)
        }
        (Code::Upstream, 408) => StatusCode::GATEWAY_TIMEOUT,
        (Code::Upstream, _) => StatusCode::BAD_GATEWAY,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// An error as clients of OpenAI's API read it.
fn envelope(error: &Error) -> Value {
    let (kind, code) = match status(error).as_u16() {
        404 => ("invalid_request_error", "model_not_found"),
        429 => ("rate_limit_error", "rate_limit_exceeded"),
        400..500 => ("invalid_request_error", "invalid_request_error"),
        503 => ("server_error", "overloaded"),
        _ => ("server_error", "upstream_error"),
    };
    json!({ "error": { "message": error.message(), "type": kind, "param": null, "code": code } })
}

fn refused(error: &Error) -> Proxied {
    let mut answer = json_answer(status(error), None, &envelope(error));
    if let Some(ms) = error.details().get("retry_after_ms").and_then(Value::as_u64) {
        answer.headers.insert(RETRY_AFTER, HeaderValue::from(ms.div_ceil(1000)));
        answer.headers.insert(HeaderName::from_static("retry-after-ms"), HeaderValue::from(ms));
    } else if error.code() == Code::Upstream && status(error).is_server_error() {
        // It has been tried as often as makes sense.
        answer.headers.insert(HeaderName::from_static("x-should-retry"), HeaderValue::from_static("false"));
    }
    answer
}

fn json_answer(status: StatusCode, model: Option<&str>, answer: &Value) -> Proxied {
    let mut headers = headers("application/json; charset=utf-8");
    name_model(&mut headers, model);
    let text = Bytes::from(answer.to_string());
    headers.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
    let body = Box::pin(futures_util::stream::once(async move { Ok(text) }));
    Proxied { status, headers, body }
}

fn headers(kind: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))])
}

fn name_model(headers: &mut HeaderMap, model: Option<&str>) {
    if let Some(value) = model.and_then(|model| HeaderValue::from_str(model).ok()) {
        headers.insert(MODEL_HEADER, value);
    }
}
