//! One answer, step by step, for whoever makes one at a time.

use std::sync::Arc;

use super::request::{Event, Request, Timings};
use super::runner::Runner;
use super::scheduler::{AnswerId, Scheduler};
use crate::error::Result;
use crate::text::Tokenizer;

/// An answer in the making. Dropping it stops the work after the steps already submitted.
pub struct Generation<'a> {
    scheduler: &'a mut Scheduler,
    runner: &'a mut Runner,
    tokenizer: Arc<Tokenizer>,
    id: AnswerId,
    seed: u64,
    ids: Vec<u32>,
    timings: Timings,
    ended: bool,
}

impl<'a> Generation<'a> {
    pub(crate) fn new(
        scheduler: &'a mut Scheduler,
        runner: &'a mut Runner,
        tokenizer: Arc<Tokenizer>,
        request: Request,
    ) -> Result<Generation<'a>> {
        let seed = request.sampling.seed;
        let id = scheduler.submit(request, runner)?;
        Ok(Generation {
            scheduler,
            runner,
            tokenizer,
            id,
            seed,
            ids: Vec::new(),
            timings: Timings::default(),
            ended: false,
        })
    }

    /// The seed in use.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Counts and times so far.
    pub fn timings(&self) -> Timings {
        self.scheduler.timings(self.id).unwrap_or(self.timings)
    }

    /// The ids chosen so far.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// The next event; none after [`Event::End`].
    ///
    /// # Errors
    /// `device_lost`, `non_finite`, `out_of_memory`.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.scheduler.next_of(self.id) {
                match &event {
                    Ok(Event::Token { id, .. }) => self.ids.push(*id),
                    Ok(Event::End { timings, .. }) => (self.timings, self.ended) = (*timings, true),
                    Ok(_) => {}
                    Err(_) => self.ended = true,
                }
                return event.map(Some);
            }
            if self.ended {
                return Ok(None);
            }
            if let Err(error) = self.scheduler.step(self.runner).await {
                self.ended = true;
                return Err(error);
            }
        }
    }

    /// The tokenizer of the model.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }
}

impl Drop for Generation<'_> {
    fn drop(&mut self) {
        self.scheduler.cancel(self.id, self.runner);
    }
}
