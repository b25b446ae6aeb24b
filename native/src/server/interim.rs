//! One answer at a time, with the face that the engine's own scheduler will have.

use std::collections::VecDeque;

use lyn::error::Result;
use lyn::generate::{Event, Request};

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct AnswerId(u64);

pub(crate) struct Engine {
    engine: lyn::Engine,
    waiting: VecDeque<(AnswerId, Request)>,
    next: u64,
}

impl Engine {
    pub(crate) fn new(engine: lyn::Engine) -> Engine {
        Engine { engine, waiting: VecDeque::new(), next: 0 }
    }

    pub(crate) fn engine(&self) -> &lyn::Engine {
        &self.engine
    }

    pub(crate) fn submit(&mut self, request: Request) -> Result<AnswerId> {
        self.next += 1;
        self.waiting.push_back((AnswerId(self.next), request));
        Ok(AnswerId(self.next))
    }

    pub(crate) async fn step(&mut self) -> Result<Vec<(AnswerId, Result<Event>)>> {
        let Some((id, request)) = self.waiting.pop_front() else { return Ok(vec![]) };
        let mut events = vec![];
        let mut generation = match self.engine.generate(request) {
            Ok(generation) => generation,
            Err(error) => return Ok(vec![(id, Err(error))]),
        };
        while let Some(event) = generation.next().await? {
            events.push((id, Ok(event)));
        }
        Ok(events)
    }

    pub(crate) fn cancel(&mut self, id: AnswerId) {
        self.waiting.retain(|(waiting, _)| *waiting != id);
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }
}
