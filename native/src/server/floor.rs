//! The answers that an engine makes: how long each may take, and who is told what comes of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lyn::Engine;
use lyn::error::{Code, Error, Result};
use lyn::generate::{AnswerId, Block, Event, Occupancy, Request};
use lyn::platform::block_on;
use sha2::{Digest, Sha256};

use super::cut::Cut;
use super::feed::{Reader, Writer, feed};
use super::loaded::ServedModel;
use super::metrics::Metrics;
use crate::block_store::BlockStore;

/// How long answers may take; none: as long as they like.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AnswerLimits {
    /// Until the prompt is read.
    pub(crate) queue: Option<Duration>,
    /// In all.
    pub(crate) total: Option<Duration>,
}

/// An engine with the answers that it makes.
pub(super) struct Floor {
    pub(super) engine: Engine,
    blocks: Option<Arc<BlockStore>>,
    limits: AnswerLimits,
    metrics: Arc<Metrics>,
    running: HashMap<AnswerId, Running>,
}

/// An answer in the making or waiting.
struct Running {
    writer: Writer,
    accepted: Instant,
    /// When its prompt was begun.
    started: Option<Instant>,
    first_token: Option<Instant>,
    tokens: u32,
}

impl Floor {
    /// Without answers.
    pub(super) fn new(model: ServedModel, limits: AnswerLimits, metrics: Arc<Metrics>) -> Floor {
        Floor { engine: model.engine, blocks: model.blocks, limits, metrics, running: HashMap::new() }
    }

    /// Accepts all of these, or none.
    pub(super) fn accept(&mut self, requests: Vec<Request>, accepted: Instant) -> Result<Reader> {
        let mut ids = vec![];
        for request in requests {
            match self.engine.submit(request) {
                Ok(id) => ids.push(id),
                Err(error) => {
                    ids.iter().for_each(|&id| self.engine.cancel(id));
                    return Err(error);
                }
            }
        }
        let (writers, reader) = feed(u32::try_from(ids.len()).unwrap_or(u32::MAX));
        for (id, writer) in ids.into_iter().zip(writers) {
            self.running.insert(id, Running { writer, accepted, started: None, first_token: None, tokens: 0 });
        }
        Ok(reader)
    }

    /// Ends what nobody waits for any more and what took too long. Whether there is still work.
    pub(super) fn tidy(&mut self) -> bool {
        let late = |since: Instant, limit: Option<Duration>| limit.is_some_and(|limit| since.elapsed() > limit);
        let cuts: Vec<(AnswerId, Option<Cut>)> = self
            .running
            .iter()
            .filter_map(|(&id, answer)| match answer {
                _ if answer.writer.is_abandoned() => Some((id, None)),
                _ if late(answer.accepted, self.limits.total) => Some((id, Some(Cut::Late))),
                _ if answer.started.is_none() && late(answer.accepted, self.limits.queue) => {
                    Some((id, Some(Cut::Waited)))
                }
                _ => None,
            })
            .collect();
        for (id, cut) in cuts {
            self.engine.cancel(id);
            self.finish(id, cut.map_or(Ending::Abandoned, Ending::Cut));
        }
        self.metrics.occupancy(&self.engine.occupancy());
        !self.running.is_empty()
    }

    pub(super) fn step(&mut self) -> Result<()> {
        for (id, event) in block_on(self.engine.step())? {
            match event {
                Ok(event) => self.pass_on(id, event),
                Err(error) => self.finish(id, Ending::Cut(Cut::Failed(error))),
            }
        }
        if let Some(store) = &self.blocks {
            for Block { key, ids, scope, words } in self.engine.take_blocks() {
                store.save(*key.bytes(), ids, words, Sha256::digest(scope).into());
            }
        }
        if self.engine.is_idle() && !self.running.is_empty() {
            // A promise broke: these would wait for ever.
            self.end_all(&Cut::Failed(Error::new(Code::Internal, "an answer was lost")));
        }
        Ok(())
    }

    fn pass_on(&mut self, id: AnswerId, event: Event) {
        let Some(answer) = self.running.get_mut(&id) else { return };
        let now = Instant::now();
        if answer.started.is_none() {
            answer.started = Some(now);
        }
        let mut ended = None;
        match &event {
            Event::Token { .. } => {
                answer.tokens += 1;
                self.metrics.generation_tokens.increment(1);
                if answer.first_token.is_none() {
                    answer.first_token = Some(now);
                    self.metrics.first_token_seconds.record(now.duration_since(answer.accepted).as_secs_f64());
                }
            }
            Event::End { timings, .. } => {
                let uncounted = timings.completion_tokens.saturating_sub(answer.tokens);
                self.metrics.generation_tokens.increment(uncounted.into());
                self.metrics.finished(timings);
                self.metrics.queue_seconds.record(timings.queue_ms / 1e3);
                if let (Some(first), 2..) = (answer.first_token, timings.completion_tokens) {
                    let seconds = now.duration_since(first).as_secs_f64();
                    self.metrics.token_seconds.record(seconds / f64::from(timings.completion_tokens - 1));
                }
                ended = Some(Ending::Whole);
            }
            _ => {}
        }
        if !answer.writer.send(event) {
            self.engine.cancel(id);
            let unread = if answer.writer.is_abandoned() { Ending::Abandoned } else { Ending::Cut(Cut::Unread) };
            ended.get_or_insert(unread);
        }
        if let Some(ended) = ended {
            self.finish(id, ended);
        }
    }

    fn finish(&mut self, id: AnswerId, ending: Ending) {
        let Some(answer) = self.running.remove(&id) else { return };
        self.metrics.answer_seconds.record(answer.accepted.elapsed().as_secs_f64());
        let end = match ending {
            Ending::Whole => Ok(()),
            Ending::Abandoned => {
                self.metrics.aborted("client_gone");
                Err(Cut::Unread)
            }
            Ending::Cut(cut) => {
                self.metrics.aborted(cut.reason());
                Err(cut)
            }
        };
        answer.writer.end(end);
    }

    /// Ends all answers. The engine may be broken.
    pub(super) fn end_all(&mut self, cut: &Cut) {
        let ids: Vec<AnswerId> = self.running.keys().copied().collect();
        for id in ids {
            self.finish(id, Ending::Cut(cut.clone()));
        }
        self.metrics.occupancy(&Occupancy::default());
    }
}

enum Ending {
    Whole,
    Abandoned,
    Cut(Cut),
}
