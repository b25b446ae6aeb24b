//! An answer over HTTP, whole or by pieces: events as they come, a sign of life in silence. Each dialect writes its own.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::unfold;
use lyn::generate::Event;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::answer::Answer;
use super::cut::Cut;
use super::refusal::{Handled, ok};

/// Silence before a sign of life.
pub(super) const SILENCE: Duration = Duration::from_secs(10);
/// Tells nginx not to hold events back.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// How a dialect writes an answer. Each text of one by pieces is whole events, or empty.
pub(crate) trait StreamFormat: Send + 'static {
    /// The media type of pieces.
    const KIND: &'static str = "text/event-stream; charset=utf-8";
    /// The sign of life: a comment that means nothing.
    const KEEP_ALIVE: &'static str = ": keep-alive\n\n";

    /// Before all events.
    fn begin(&mut self) -> String {
        String::new()
    }
    /// For an event of a choice.
    fn event(&mut self, choice: u32, event: &Event) -> String;
    /// After all events; with what cut the answer, where something did.
    fn end(&mut self, cut: Option<Cut>) -> String;
    /// Takes an event of an answer that is told whole.
    fn take(&mut self, choice: u32, event: &Event) {
        self.event(choice, event);
    }
    /// The whole answer, after all events.
    fn whole(&mut self) -> Value;
}

/// One event.
pub(crate) fn data(value: &Value) -> String {
    format!("data: {value}\n\n")
}

/// Events that go by their names, which are also their types.
pub(crate) fn named(events: &[Value]) -> String {
    let name = |event: &Value| event.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", name(event))).collect()
}

enum State {
    Begin,
    Going,
    Ended,
}

/// The response to a request, by pieces where it asked for them, with more headers. Errors: what cut an answer that was to
/// be whole.
pub(crate) async fn respond<F: StreamFormat>(
    mut answer: Answer,
    mut format: F,
    streams: bool,
    headers: HeaderMap,
) -> Handled {
    let mut response = if streams {
        stream(answer, format)
    } else {
        while let Some((choice, event)) = answer.next().await? {
            format.take(choice, &event);
        }
        ok(&format.whole())
    };
    response.headers_mut().extend(headers);
    Ok(response)
}

/// The response by pieces. Dropping it drops the answer, and its work ends.
fn stream<P: StreamFormat>(answer: Answer, pieces: P) -> Response {
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

async fn next<P: StreamFormat>(answer: &mut Answer, pieces: &mut P) -> (String, State) {
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

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use lyn::generate::Voice;
    use tokio::sync::watch;

    use super::*;
    use crate::server::admission::Admission;
    use crate::server::feed::feed;

    /// A dialect of bare texts.
    struct Bare;

    impl StreamFormat for Bare {
        fn begin(&mut self) -> String {
            "begin ".to_owned()
        }

        fn event(&mut self, _: u32, event: &Event) -> String {
            if let Event::Text { text, .. } = event { text.clone() } else { String::new() }
        }

        fn end(&mut self, cut: Option<Cut>) -> String {
            cut.map_or("end", |cut| cut.reason()).to_owned()
        }

        fn whole(&mut self) -> Value {
            Value::Null
        }
    }

    /// c52: an engine that is silent for 25 s gives two signs of life, and events without text are silence too.
    #[tokio::test(start_paused = true)]
    async fn silence_is_filled_with_comments() {
        let (mut writers, reader) = feed(1);
        let ticket = Admission::new(1, None).enter(None, 1).unwrap();
        let body = stream(Answer::new(reader, ticket, watch::Sender::new(false).subscribe()), Bare).into_body();
        let all = tokio::spawn(async { body.collect().await.unwrap().to_bytes() });
        let writer = writers.remove(0);
        for done in 0..5 {
            tokio::time::sleep(Duration::from_secs(5)).await;
            assert!(writer.send(Event::Prompt { done, total: 5, cached: 0, elapsed_ms: 1.0 }));
        }
        assert!(writer.send(Event::Text { voice: Voice::Content, text: "text ".to_owned() }));
        writer.end(Err(Cut::Late));
        assert_eq!(all.await.unwrap(), "begin : keep-alive\n\n: keep-alive\n\ntext request_timeout");
    }
}
