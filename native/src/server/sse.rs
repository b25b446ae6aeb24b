//! An answer by pieces, over HTTP: events as they come, a sign of life in silence. Each dialect writes its own pieces.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::unfold;
use lyn::generate::Event;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::answer::Answer;
use super::worker::Cut;

/// Silence before a sign of life.
const SILENCE: Duration = Duration::from_secs(10);
/// Tells nginx not to hold events back.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// How a dialect writes an answer by pieces. Each text is whole events, or empty.
pub(crate) trait Pieces: Send + 'static {
    /// The media type.
    const KIND: &'static str;
    /// The sign of life.
    const KEEP_ALIVE: &'static str;

    /// Before all events.
    fn begin(&mut self) -> String;
    /// For an event of a choice.
    fn event(&mut self, choice: u32, event: &Event) -> String;
    /// After all events; with what cut the answer, where something did.
    fn end(&mut self, cut: Option<Cut>) -> String;
}

/// Server-sent events with JSON in each.
pub(crate) const EVENT_STREAM: &str = "text/event-stream; charset=utf-8";
/// The comment that means nothing.
pub(crate) const COMMENT: &str = ": keep-alive\n\n";

/// One event.
pub(crate) fn data(value: &Value) -> String {
    format!("data: {value}\n\n")
}

enum State {
    Begin,
    Going,
    Ended,
}

/// The response. Dropping it drops the answer, and its work ends.
pub(crate) fn stream<P: Pieces>(answer: Answer, pieces: P) -> Response {
    let body = unfold((State::Begin, answer, pieces), |(state, mut answer, mut pieces)| async move {
        let (text, state) = match state {
            State::Begin => (pieces.begin(), State::Going),
            State::Going => next(&mut answer, &mut pieces).await,
            State::Ended => return None,
        };
        Some((Ok::<_, Infallible>(Bytes::from(text)), (state, answer, pieces)))
    });
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(P::KIND));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(BUFFERING, HeaderValue::from_static("no"));
    response
}

async fn next<P: Pieces>(answer: &mut Answer, pieces: &mut P) -> (String, State) {
    let silent = Instant::now() + SILENCE;
    loop {
        let text = match timeout_at(silent, answer.next()).await {
            Err(_) => return (P::KEEP_ALIVE.to_owned(), State::Going),
            Ok(Ok(Some((choice, event)))) => pieces.event(choice, &event),
            Ok(Ok(None)) => return (pieces.end(None), State::Ended),
            Ok(Err(cut)) => return (pieces.end(Some(cut)), State::Ended),
        };
        // Some events are nobody's text; silence goes on.
        if !text.is_empty() {
            return (text, State::Going);
        }
    }
}
