//! The answer of another engine on its way to a connection.

use std::pin::Pin;

use lyn::error::Result;
use lyn::generate::{Event, Finish, Known, Timings};

use crate::upstream::Reply;

/// An answer that has not begun.
pub(super) type Starting = Pin<Box<dyn Future<Output = Result<Reply>> + Send>>;

enum Source {
    Starting(Starting),
    Reply(Box<Reply>),
}

/// The events of another engine's answer. Dropping it ends the work there.
pub(super) struct Relay {
    source: Source,
    /// Choices that have not ended.
    open: Vec<u32>,
}

impl Relay {
    /// The events of an answer with so many choices that has begun, or of one that will.
    pub(super) fn new(reply: Result<Reply, Starting>, choices: u32) -> Relay {
        let source = reply.map_or_else(Source::Starting, |reply| Source::Reply(Box::new(reply)));
        Relay { source, open: (0..choices).collect() }
    }

    /// The next event with its choice; none after the last. Safe to drop and call again. Errors: `upstream`.
    pub(super) async fn next(&mut self) -> Result<Option<(u32, Event)>> {
        let reply = loop {
            match &mut self.source {
                Source::Reply(reply) => break reply,
                Source::Starting(starting) => self.source = Source::Reply(Box::new(starting.await?)),
            }
        };
        let next = reply.next().await?;
        if let Some((choice, Event::End { .. })) = &next {
            self.open.retain(|open| open != choice);
        }
        // An engine that makes fewer answers than it was asked for has not made these.
        let missing = || {
            let timings = Timings { known: Known::NOTHING, ..Timings::default() };
            Some((self.open.pop()?, Event::End { finish: Finish::Aborted, stop: None, timings }))
        };
        Ok(next.or_else(missing))
    }
}
