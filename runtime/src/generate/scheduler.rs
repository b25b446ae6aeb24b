//! Who runs next: answers share steps, and the rows of what their texts have in common.
//!
//! In: requests. Out: what happened to each, in order. A step holds the next token of every answer that decodes and a share
//! of the rest of it for every prompt, so that a long prompt delays the others by one step at most. Greedy decoding feeds
//! its choices to the next step on the GPU and runs one step ahead of what the host has seen.
//! Never: text of a prompt, HTTP, or a clock that decides anything: an answer does not depend on its neighbours.

mod fetch;
mod step;

use std::collections::VecDeque;
use std::sync::Arc;

use fetch::{Export, Fetch};
use step::Ahead;

use super::answer::{Answer, Vocabulary};
use super::pages::{Block, Key};
use super::request::{Event, Request, Timings};
use super::runner::Runner;
use super::sequences::SequenceId;
use crate::error::{Code, Error, Result};
use crate::model::cache::PAGE;
use crate::record::Taps;

/// Steps in flight while decoding greedily: one computes while the host looks at the other.
const AHEAD: usize = 2;

/// An answer of a scheduler; no two ever have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AnswerId(u64);

/// How busy a scheduler is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Occupancy {
    /// Answers that take part in steps.
    pub running: u32,
    /// Answers that wait for a place.
    pub waiting: u32,
    /// Pages of the cache that answers use.
    pub pages_used: u32,
    /// Pages of the cache.
    pub pages: u32,
}

/// Makes answers, many at once.
pub(crate) struct Scheduler {
    vocabulary: Arc<Vocabulary>,
    waiting: VecDeque<Waiting>,
    running: Vec<Running>,
    in_flight: VecDeque<Ahead>,
    events: VecDeque<(AnswerId, Result<Event>)>,
    next_id: u64,
    /// Blocks on their way out; none where nobody keeps them.
    exports: Option<Vec<Export>>,
}

struct Waiting {
    id: AnswerId,
    answer: Answer,
    /// Of the full blocks of its prompt.
    keys: Vec<Key>,
}

/// An answer with a sequence.
struct Running {
    id: AnswerId,
    answer: Answer,
    sequence: SequenceId,
    /// Tokens whose rows are in the cache, or will be after the steps in flight, as far as the host knows them.
    done: usize,
    /// Of the full blocks of its tokens, as far as they were needed.
    keys: Vec<Key>,
    /// Blocks that others can find.
    published: usize,
    /// Counts the times that steps in flight went on from a wrong id: their results are of an older one.
    epoch: u32,
    /// Steps that begin before this position are not traced: nobody asked, or they were traced before.
    trace_from: usize,
    taps: Taps,
}

impl Running {
    fn rest(&self) -> usize {
        self.answer.tokens.len() - self.done
    }

    fn is_reading(&self) -> bool {
        self.done < self.answer.prompt_length()
    }

    fn taps_at(&self, position: usize) -> Taps {
        if position < self.trace_from { Taps::None } else { self.taps }
    }

    /// Lets others find the blocks that are full by now; `exports` gets those that nobody knew.
    fn publish(&mut self, runner: &mut Runner, exports: Option<&mut Vec<Export>>) -> Result<()> {
        let full = self.done / PAGE as usize;
        while self.keys.len() < full {
            let from = self.keys.len() * PAGE as usize;
            let last = self.keys.last().copied().unwrap_or_else(|| Key::root(&self.answer.request.scope));
            self.keys.push(last.next(&self.answer.tokens[from..from + PAGE as usize]));
        }
        let published = self.published..full;
        self.published = self.published.max(full);
        let is_new = |&block: &usize| runner.sequences_mut().publish(self.sequence, block, self.keys[block]);
        let new: Vec<usize> = published.filter(is_new).collect();
        let Some(exports) = exports else { return Ok(()) };
        for block in new {
            let ids = self.answer.tokens[block * PAGE as usize..][..PAGE as usize].to_vec();
            let parts = runner.read_page(self.sequence, block)?.into_iter().map(Fetch::Away).collect();
            exports.push(Export { key: self.keys[block], ids, scope: self.answer.request.scope.clone(), parts });
        }
        Ok(())
    }
}

impl Scheduler {
    pub(crate) fn new(vocabulary: Arc<Vocabulary>) -> Scheduler {
        Scheduler {
            vocabulary,
            waiting: VecDeque::new(),
            running: Vec::new(),
            in_flight: VecDeque::new(),
            events: VecDeque::new(),
            next_id: 0,
            exports: None,
        }
    }

    /// From now on blocks that become known wait for [`Scheduler::take_blocks`].
    pub(crate) fn keep_blocks(&mut self) {
        self.exports.get_or_insert_default();
    }

    /// The blocks that became known, as far as their rows have been read.
    pub(crate) fn take_blocks(&mut self) -> Vec<Block> {
        let mut blocks = Vec::new();
        for export in self.exports.iter_mut().flat_map(|exports| exports.extract_if(.., Export::is_over)) {
            let words: Vec<u32> = export.parts.iter().flat_map(|part| part.words()).copied().collect();
            // A read that failed has no words: the device is lost, which the next step says.
            if export.parts.iter().all(|part| !part.words().is_empty()) {
                blocks.push(Block { key: export.key, ids: export.ids, scope: export.scope, words });
            }
        }
        blocks
    }

    /// The blocks of a prompt that are not in the cache, from where it ends: keys and ids.
    pub(crate) fn missing_blocks(request: &Request, runner: &Runner) -> Vec<(Key, Vec<u32>)> {
        let keys = Key::root(&request.scope).chain(&request.prompt);
        let ids = request.prompt.chunks_exact(PAGE as usize).map(<[u32]>::to_vec);
        let blocks = keys.into_iter().zip(ids).take(most_hits(request));
        blocks.skip_while(|(key, _)| runner.sequences().find(key).is_some()).collect()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty() && self.events.is_empty()
    }

    pub(crate) fn occupancy(&self, runner: &Runner) -> Occupancy {
        let (pages, available) = runner.sequences().pages();
        Occupancy {
            running: position(self.running.len()),
            waiting: position(self.waiting.len()),
            pages_used: pages - available,
            pages,
        }
    }

    /// Counts and times of an answer that has not ended.
    pub(crate) fn timings(&self, id: AnswerId) -> Option<Timings> {
        let running = self.running.iter().map(|running| (running.id, &running.answer));
        let waiting = self.waiting.iter().map(|waiting| (waiting.id, &waiting.answer));
        running.chain(waiting).find(|(other, _)| *other == id).map(|(_, answer)| answer.timings())
    }

    /// What happened since this was last asked.
    pub(crate) fn take_events(&mut self) -> Vec<(AnswerId, Result<Event>)> {
        std::mem::take(&mut self.events).into()
    }

    /// The next thing that happened to one answer.
    pub(crate) fn next_of(&mut self, id: AnswerId) -> Option<Result<Event>> {
        let place = self.events.iter().position(|(other, _)| *other == id)?;
        self.events.remove(place).map(|(_, event)| event)
    }

    /// Puts an answer into the queue.
    pub(crate) fn submit(&mut self, request: Request, runner: &Runner) -> Result<AnswerId> {
        if let Some(trace) = &request.trace {
            let layers = runner.dims().num_hidden_layers;
            if let Some(layer) = trace.layers.iter().find(|&&layer| layer >= layers) {
                return Err(Error::new(Code::BadRequest, format!("a trace of layer {layer}; the model has {layers}")));
            }
        }
        let answer = Answer::new(Arc::clone(&self.vocabulary), request, runner.settings())?;
        let keys = Key::root(&answer.request.scope).chain(&answer.tokens);
        let id = AnswerId(self.next_id);
        self.next_id += 1;
        self.waiting.push_back(Waiting { id, answer, keys });
        Ok(id)
    }

    /// Ends an answer. What was submitted is still computed, into pages that are free by then.
    pub(crate) fn cancel(&mut self, id: AnswerId, runner: &mut Runner) {
        self.waiting.retain(|waiting| waiting.id != id);
        self.events.retain(|(other, _)| *other != id);
        if let Some(place) = self.running.iter().position(|running| running.id == id) {
            runner.sequences_mut().close(self.running.remove(place).sequence);
        }
    }

    /// Ends everything: the device is gone, or what is cached is of no use any more.
    pub(crate) fn clear(&mut self, runner: &mut Runner) {
        self.waiting.clear();
        self.events.clear();
        self.in_flight.clear();
        self.exports.iter_mut().for_each(Vec::clear);
        self.running.drain(..).for_each(|running| runner.sequences_mut().close(running.sequence));
        runner.sequences_mut().forget();
    }

    /// Does one step's worth of work.
    ///
    /// # Errors
    /// `device_lost`, `out_of_memory`: then every answer is gone.
    pub(crate) async fn step(&mut self, runner: &mut Runner) -> Result<()> {
        let done = self.try_step(runner).await;
        if done.is_err() {
            self.clear(runner);
        }
        done
    }

    async fn try_step(&mut self, runner: &mut Runner) -> Result<()> {
        self.admit(runner);
        if self.in_flight.is_empty() {
            self.submit_step(runner).await?;
        }
        while self.may_run_ahead(runner) {
            self.run_ahead(runner).await?;
        }
        if let Some(ahead) = self.in_flight.front_mut() {
            // Awaited in its place: whoever stops waiting here loses nothing.
            ahead.chosen.arrive().await?;
            ahead.logits.arrive().await?;
            self.report_trace(runner.dims().num_hidden_layers).await?;
            if let Some(ahead) = self.in_flight.pop_front() {
                self.take(runner, &ahead);
            }
        }
        Ok(())
    }

    /// Gives places to those who waited longest. An answer whose prompt goes on as one that is being read waits for it,
    /// to find its rows in the cache.
    fn admit(&mut self, runner: &mut Runner) {
        let mut place = 0;
        while let Some(waiting) = self.waiting.get(place) {
            let traced = waiting.answer.request.trace.is_some();
            let alone = self.running.iter().any(|running| running.answer.request.trace.is_some());
            if alone || (traced && !self.running.is_empty()) {
                break;
            }
            let hits = hits(waiting, runner);
            let next = waiting.keys.get(hits.len());
            let is_read = |running: &Running| running.is_reading() && running.keys.get(hits.len()) == next;
            if next.is_some() && hits.len() < most_hits(&waiting.answer.request) && self.running.iter().any(is_read) {
                place += 1;
                continue;
            }
            let promised: u32 = self
                .running
                .iter()
                .map(|running| {
                    let most = running.answer.most_positions().div_ceil(PAGE);
                    most.saturating_sub(position(runner.sequences().pages_of(running.sequence).len()))
                })
                .sum();
            let needed = waiting.answer.most_positions().div_ceil(PAGE);
            let Some(sequence) = runner.sequences_mut().open_on(&hits, needed.saturating_add(promised)) else {
                break;
            };
            let Some(Waiting { id, mut answer, keys }) = self.waiting.remove(place) else { break };
            let wanted = &keys[hits.len()..most_hits(&answer.request).max(hits.len()).min(keys.len())];
            let known = hits.len() + restore(runner, sequence, wanted, answer.take_blocks());
            let cached = known * PAGE as usize;
            answer.admit(u32::try_from(cached).unwrap_or(u32::MAX));
            let trace = answer.request.trace.clone().unwrap_or_default();
            self.running.push(Running {
                id,
                answer,
                sequence,
                done: cached,
                keys,
                published: known,
                epoch: 0,
                trace_from: trace.from as usize,
                taps: trace.taps(),
            });
        }
    }
}

/// The pages that hold the beginning of a prompt. Its last token is always read: its logits are needed.
fn hits(waiting: &Waiting, runner: &Runner) -> Vec<u32> {
    let most = most_hits(&waiting.answer.request);
    waiting.keys.iter().take(most).map_while(|key| runner.sequences().find(key)).collect()
}

/// Puts those of the wanted blocks that the request brought along after the ones that are there; how many. A block that does
/// not fit is no error: its tokens are read.
fn restore(runner: &mut Runner, sequence: SequenceId, wanted: &[Key], blocks: Vec<Block>) -> usize {
    let brought = blocks.iter().skip_while(|block| Some(&block.key) != wanted.first());
    let fitting = brought.zip(wanted).take_while(|(block, key)| block.key == **key);
    fitting.take_while(|(block, key)| runner.restore(sequence, **key, &block.words).unwrap_or(false)).count()
}

/// Blocks of a prompt that need not be read.
fn most_hits(request: &Request) -> usize {
    // Log probabilities come from logits, which the cache does not hold.
    if request.prompt_logprobs.is_some() {
        return 0;
    }
    let traced = request.trace.as_ref().filter(|trace| trace.taps() != Taps::None);
    let most = traced.map_or(usize::MAX, |trace| trace.from as usize);
    request.prompt.len().saturating_sub(1).min(most) / PAGE as usize
}

fn position(tokens: usize) -> u32 {
    u32::try_from(tokens).unwrap_or(u32::MAX)
}
