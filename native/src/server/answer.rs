//! One answer between whoever makes it and a connection: room for it, and its events.

use lyn::Language;
use lyn::generate::{Event, Request};
use tokio::sync::watch;

use super::admission::Ticket;
use super::cut::Cut;
use super::feed::Reader;
use super::guard::KeyId;
use super::metrics::Meter;
use super::refusal::Refusal;
use super::relay::Relay;
use super::shared::Server;

/// An answer in the making. Dropping it ends its work and makes room for another.
pub(crate) struct Answer {
    source: Source,
    stopping: watch::Receiver<bool>,
    /// Figures of its route, where there are routes.
    meter: Option<Meter>,
    /// What was said, where it is to be logged.
    log: Option<String>,
    _ticket: Ticket,
}

/// Who makes it.
enum Source {
    /// The engine here.
    Engine(Reader),
    /// One elsewhere.
    Relay(Relay),
}

impl Answer {
    /// Asks for an answer with so many choices. `prepare` makes their requests, on a thread that may take its time. What
    /// they leave in the cache is for the key alone, and of it for the user that the client names. Errors: 503 while nobody
    /// is served; 503 and 429 where there is no room; what `prepare` and the engine say.
    pub(crate) async fn ask<T: Send + 'static>(
        server: &Server,
        key: Option<KeyId>,
        user: Option<&str>,
        choices: usize,
        prepare: impl FnOnce(&Language) -> lyn::Result<(Vec<Request>, T)> + Send + 'static,
    ) -> Result<(Answer, T), Refusal> {
        let ticket = server.enter(key, choices)?;
        let mut scope = server.guard.scope(key);
        scope.extend_from_slice(user.unwrap_or_default().as_bytes());
        let (requests, rest) = server.with_language(prepare).await?;
        let requests = requests.into_iter().map(|request| Request { scope: scope.clone(), ..request }).collect();
        let reader = server.worker.answer(requests).await?;
        let mut answer = Answer::new(reader, ticket, server.stopping.subscribe());
        answer.log = server.settings.log_prompts.then(String::new);
        let routes = !server.settings.routes.is_empty();
        answer.meter = routes.then(|| server.metrics.route("local", "local"));
        Ok((answer, rest))
    }

    /// An answer that has begun, and is cut when `stopping` says so.
    pub(crate) fn new(reader: Reader, ticket: Ticket, stopping: watch::Receiver<bool>) -> Answer {
        Answer { source: Source::Engine(reader), stopping, meter: None, log: None, _ticket: ticket }
    }

    /// An answer that another engine makes.
    pub(super) fn of_elsewhere(
        relay: Relay,
        ticket: Ticket,
        stopping: watch::Receiver<bool>,
        meter: Option<Meter>,
    ) -> Answer {
        Answer { source: Source::Relay(relay), stopping, meter, log: None, _ticket: ticket }
    }

    /// The next event with its choice; none after the last. Errors: what cut the answer.
    pub(crate) async fn next(&mut self) -> Result<Option<(u32, Event)>, Cut> {
        let source = &mut self.source;
        let coming = async move {
            match source {
                Source::Engine(reader) => reader.next().await,
                Source::Relay(relay) => relay.next().await.map_err(Cut::Failed),
            }
        };
        let next = tokio::select! {
            biased;
            next = coming => next,
            Ok(_) = self.stopping.wait_for(|stopping| *stopping) => return Err(Cut::Stopping),
        };
        if let Some(meter) = &mut self.meter {
            match &next {
                Ok(Some((_, event))) => meter.hear(event),
                Ok(None) => {}
                Err(_) => meter.fail(),
            }
        }
        let next = next?;
        if let (Some(log), Some((_, Event::Text { text, .. }))) = (&mut self.log, &next) {
            log.push_str(text);
        }
        Ok(next)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(text) = &self.log {
            tracing::warn!(target: "lyn::prompts", text, "answered");
        }
    }
}
