//! One answer between the engine's thread and a connection: room for it, its events, what it has cost so far.

use lyn::Engine;
use lyn::generate::{Event, Request, Timings};

use super::Server;
use super::admission::Ticket;
use super::feed::Reader;
use super::guard::KeyId;
use super::refusal::Refusal;
use super::worker::Cut;

/// An answer in the making. Dropping it ends its work and makes room for another.
pub(crate) struct Answer {
    reader: Reader,
    spent: Timings,
    _ticket: Ticket,
}

impl Answer {
    /// Asks for an answer with so many choices. `prepare` runs beside the engine and makes their requests.
    ///
    /// # Errors
    /// 503 while nobody is served; 503 and 429 where there is no room; what `prepare` and the engine say.
    pub(crate) async fn ask<T: Send + 'static>(
        server: &Server,
        key: Option<KeyId>,
        choices: usize,
        prepare: impl FnOnce(&Engine) -> lyn::Result<(Vec<Request>, T)> + Send + 'static,
    ) -> Result<(Answer, T), Refusal> {
        server.check_ready()?;
        let ticket = server.admission.enter(key, choices)?;
        let (reader, rest) = server.worker.answer(prepare).await?;
        Ok((Answer { reader, spent: Timings::default(), _ticket: ticket }, rest))
    }

    /// The next event with its choice; none after the last.
    ///
    /// # Errors
    /// What cut the answer.
    pub(crate) async fn next(&mut self) -> Result<Option<(u32, Event)>, Cut> {
        let next = self.reader.next().await;
        match &next {
            Ok(Some((_, Event::Prompt { total, cached, .. }))) => {
                self.spent.prompt_tokens = *total;
                self.spent.cached_tokens = *cached;
            }
            Ok(Some((_, Event::Token { .. }))) => self.spent.completion_tokens += 1,
            _ => {}
        }
        next
    }
}
