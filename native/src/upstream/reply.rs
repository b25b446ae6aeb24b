//! An answer that has begun: its bytes as events.

use std::collections::VecDeque;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use lyn::error::{Error, Result};
use lyn::generate::{Event, Finish};
use lyn::wire::openai::reply::{Normaliser, one_line, upstream};
use serde_json::Value;
use tokio::time::Instant;

use super::error::FailedAttempt;
use super::key::ApiKey;
use super::sse;
use crate::http::connect;

/// Bytes of an answer in one piece.
pub(super) const ANSWER_BYTES: usize = 64 << 20;

/// An answer that has begun.
pub(crate) struct Reply {
    host: String,
    key: Option<ApiKey>,
    body: Incoming,
    idle: Duration,
    /// When the engine has been silent for too long.
    deadline: Instant,
    form: Form,
    normaliser: Normaliser,
    events: VecDeque<(u32, Event)>,
    asked: Instant,
    first: Option<Instant>,
    /// What comes after the events.
    end: Option<Option<FailedAttempt>>,
}

/// What the body is. The first byte tells: headers of engines are not to be relied on.
enum Form {
    Unknown,
    Stream(sse::EventReader),
    Whole(Vec<u8>),
}

impl Reply {
    /// The answer of the engine at `host`, which is silent for `idle` at most. `thinking`: what the request asked for;
    /// `asked`: since when it has been under way.
    pub(super) fn new(
        host: &str,
        key: Option<ApiKey>,
        idle: Duration,
        body: Incoming,
        thinking: Option<bool>,
        asked: Instant,
    ) -> Reply {
        Reply {
            normaliser: Normaliser::new(host, thinking),
            host: host.to_owned(),
            key,
            body,
            idle,
            deadline: Instant::now() + idle,
            form: Form::Unknown,
            events: VecDeque::new(),
            asked,
            first: None,
            end: None,
        }
    }

    /// The next event with its choice; none at the end. Dropping the future loses nothing; dropping the reply ends the
    /// engine's work. Errors: `upstream` where the answer breaks off. Events before it have been returned.
    pub(crate) async fn next(&mut self) -> Result<Option<(u32, Event)>> {
        loop {
            if let Some((choice, mut event)) = self.events.pop_front() {
                let first = *self.first.get_or_insert_with(Instant::now);
                if let Event::End { timings, .. } = &mut event {
                    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
                    timings.first_token_ms = milliseconds(first.duration_since(self.asked));
                    timings.decode_ms = milliseconds(first.elapsed());
                }
                return Ok(Some((choice, event)));
            }
            match &mut self.end {
                Some(failure) => return failure.take().map_or(Ok(None), |failure| Err(failure.error)),
                None => self.read().await,
            }
        }
    }

    /// The event that comes next, where one has come.
    pub(crate) fn peek(&self) -> Option<&Event> {
        self.events.front().map(|(_, event)| event)
    }

    /// The model that the engine says it is.
    pub(crate) fn model(&self) -> Option<&str> {
        self.normaliser.model()
    }

    /// The fingerprint that the engine names.
    pub(crate) fn fingerprint(&self) -> Option<&str> {
        self.normaliser.fingerprint()
    }

    /// Reads up to the first event.
    pub(super) async fn begin(&mut self) -> Result<(), FailedAttempt> {
        while self.events.is_empty() && self.end.is_none() {
            self.read().await;
        }
        match (self.events.front(), &mut self.end) {
            (Some((_, Event::End { finish: Finish::Aborted, .. })), _) => {
                Err(FailedAttempt::passing(gave_up(&self.host)))
            }
            (None, Some(failure)) => failure.take().map_or(Ok(()), Err),
            _ => Ok(()),
        }
    }

    async fn read(&mut self) {
        let taken = match tokio::time::timeout_at(self.deadline, self.body.frame()).await {
            Err(_) => {
                let error = upstream(&self.host, format!("sent nothing for {} s", self.idle.as_secs()));
                Err(FailedAttempt::last(error.with_detail("status", 504)))
            }
            Ok(Some(Err(error))) => {
                let cause = one_line(&connect::cause(&error));
                Err(FailedAttempt::passing(upstream(&self.host, format!("broke off: {cause}"))))
            }
            Ok(Some(Ok(frame))) => {
                self.deadline = Instant::now() + self.idle;
                frame.into_data().map_or(Ok(()), |data| self.take(&data))
            }
            Ok(None) => self.finish(),
        };
        if let Err(failure) = taken {
            let (left, complete) = self.normaliser.cut();
            self.events.extend(left);
            self.end = Some((!complete).then_some(failure));
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), FailedAttempt> {
        let bytes = match &self.form {
            Form::Unknown => {
                let bytes = bytes.trim_ascii_start();
                match bytes.first() {
                    None => return Ok(()),
                    Some(b'{') => self.form = Form::Whole(vec![]),
                    Some(b'<') => {
                        let what = "sent a web page instead of an answer; check the address";
                        return Err(FailedAttempt::last(upstream(&self.host, what)));
                    }
                    Some(_) => self.form = Form::Stream(sse::EventReader::default()),
                }
                bytes
            }
            _ => bytes,
        };
        match &mut self.form {
            Form::Whole(whole) if whole.len() + bytes.len() <= ANSWER_BYTES => whole.extend_from_slice(bytes),
            Form::Stream(reader) => match reader.push(bytes) {
                Ok(events) => return events.iter().try_for_each(|data| self.event(data)),
                Err(sse::TooLong) => return Err(self.too_long()),
            },
            _ => return Err(self.too_long()),
        }
        Ok(())
    }

    /// The data of one event: a chunk, seldom several, or the mark of the end.
    fn event(&mut self, data: &str) -> Result<(), FailedAttempt> {
        if self.end.is_some() {
            return Ok(());
        }
        let (chunks, done) = match data.trim().strip_suffix("[DONE]") {
            Some(chunks) => (chunks, true),
            None => (data, false),
        };
        for chunk in serde_json::Deserializer::from_str(chunks).into_iter() {
            let chunk: Value = chunk.map_err(|_| {
                let shown = one_line(&ApiKey::hide(self.key.as_ref(), data.as_bytes()));
                FailedAttempt::last(upstream(&self.host, format!("sent {shown} instead of a chunk")))
            })?;
            let events = self.chunk(&chunk)?;
            self.events.extend(events);
        }
        if done { self.close(true) } else { Ok(()) }
    }

    fn chunk(&mut self, chunk: &Value) -> Result<Vec<(u32, Event)>, FailedAttempt> {
        let events = match chunk.get("error") {
            // What it says of a refused key must not show the key.
            Some(Value::Object(_) | Value::String(_)) => {
                let hidden = ApiKey::hide(self.key.as_ref(), chunk.to_string().as_bytes());
                self.normaliser.chunk(&serde_json::from_str(&hidden).unwrap_or(Value::Null))
            }
            _ => self.normaliser.chunk(chunk),
        };
        events.map_err(FailedAttempt::of_stream)
    }

    fn finish(&mut self) -> Result<(), FailedAttempt> {
        match std::mem::replace(&mut self.form, Form::Unknown) {
            Form::Whole(whole) => {
                let answer: Value = serde_json::from_slice(&whole).map_err(|error| {
                    FailedAttempt::passing(upstream(&self.host, format!("sent an answer that is not JSON: {error}")))
                })?;
                let events = self.chunk(&answer)?;
                self.events.extend(events);
                self.close(true)
            }
            Form::Stream(mut reader) => {
                if let Some(data) = reader.finish() {
                    self.event(&data)?;
                }
                if self.end.is_none() { self.close(false) } else { Ok(()) }
            }
            Form::Unknown => Err(FailedAttempt::passing(upstream(&self.host, "sent nothing"))),
        }
    }

    fn close(&mut self, marked: bool) -> Result<(), FailedAttempt> {
        let events = self.normaliser.finish(marked).map_err(FailedAttempt::passing)?;
        self.events.extend(events);
        self.end = Some(None);
        Ok(())
    }

    fn too_long(&self) -> FailedAttempt {
        FailedAttempt::last(upstream(&self.host, "sent more data than an answer can have"))
    }
}

/// An end that says nothing about the answer: the engine ran out of something.
pub(crate) fn gave_up(host: &str) -> Error {
    upstream(host, "gave up in the middle of an answer").with_detail("status", 503)
}
