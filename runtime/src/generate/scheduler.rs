//! Who runs next: answers share steps, and the rows of what their texts have in common.
//!
//! In: requests. Out: what happened to each, in order. A step holds the next token of every answer that decodes and a share
//! of the rest of it for every prompt, so that a long prompt delays the others by one step at most. Greedy decoding feeds
//! its choices to the next step on the GPU and runs one step ahead of what the host has seen.
//! Never: text of a prompt, HTTP, or a clock that decides anything: an answer does not depend on its neighbours.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::answer::{Answer, Vocabulary};
use super::pages::{Block, Key};
use super::request::{Event, Request, Timings};
use super::runner::{Chunk, Runner, Wanted};
use super::sequences::SequenceId;
use super::trace::selections;
use crate::error::{Code, Error, Result};
use crate::executor::{Read, Tapped};
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

/// A new block whose rows are being read.
struct Export {
    key: Key,
    ids: Vec<u32>,
    scope: Vec<u8>,
    parts: Vec<Fetch>,
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

/// A step whose results the host has not seen.
struct Ahead {
    rows: Vec<Row>,
    /// Of greedy rows: (id, flags) for each row.
    chosen: Fetch,
    /// Of the rows that the host looks at, which come first.
    logits: Fetch,
    tapped: Option<Tapped>,
    /// Where its one answer is traced: position of the first token, and how many there are.
    traced: Option<(u32, u32)>,
}

/// The part of an answer in a step.
#[derive(Clone, Copy)]
struct Row {
    answer: AnswerId,
    epoch: u32,
    /// Tokens of the prompt that are read after this step; none where it decodes.
    prompt_done: Option<usize>,
    scored: Option<Scored>,
    choice: Option<Choice>,
}

/// Rows of logits that say how probable tokens of the prompt are.
#[derive(Clone, Copy)]
struct Scored {
    /// The first row among the step's logits.
    row: usize,
    /// The place in the prompt of the token that it is about.
    first: usize,
    count: usize,
}

/// Who chooses the id that follows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// The GPU; the row among the step's logits.
    Greedy(usize),
    /// The host, likewise.
    Sampled(usize),
}

/// Words that are on their way, then at hand.
enum Fetch {
    Away(Read),
    Here(Vec<u32>),
}

impl Fetch {
    async fn arrive(&mut self) -> Result<()> {
        if let Fetch::Away(read) = self {
            *self = Fetch::Here(read.await?);
        }
        Ok(())
    }

    /// Whether the words are at hand, without waiting.
    fn has_arrived(&mut self) -> Result<bool> {
        if let Fetch::Away(read) = self {
            let mut context = Context::from_waker(Waker::noop());
            match Pin::new(read).poll(&mut context) {
                Poll::Pending => return Ok(false),
                Poll::Ready(words) => *self = Fetch::Here(words?),
            }
        }
        Ok(true)
    }

    fn words(&self) -> &[u32] {
        match self {
            Fetch::Away(_) => &[],
            Fetch::Here(words) => words,
        }
    }
}

impl Export {
    /// Whether all parts are at hand, or will never be.
    fn is_over(&mut self) -> bool {
        self.parts.iter_mut().all(|part| part.has_arrived().unwrap_or(true))
    }
}

/// A part of a step to be submitted.
struct Part {
    /// Place in `running`.
    place: usize,
    tokens: usize,
    wanted: Wanted,
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

    /// Who takes part in the next step, and with how many tokens. Those who decode come first; prompts share what is left,
    /// short ones taking less than their share.
    fn parts(&self, runner: &Runner) -> Vec<Part> {
        let room = runner.settings().chunk.max(runner.settings().sequences) as usize;
        let mut order: Vec<usize> = (0..self.running.len()).filter(|&place| self.running[place].rest() > 0).collect();
        order.sort_by_key(|&place| self.running[place].rest());
        let (mut room, mut left, mut parts) = (room, order.len(), Vec::new());
        let mut rows = runner.settings().rows as usize;
        for place in order {
            let running = &self.running[place];
            let mut tokens = running.rest().min((room / left).max(1)).min(room);
            let scores = !running.answer.unscored(running.done).is_empty();
            if scores {
                // A row for each token, and one is left for everybody after it.
                tokens = tokens.min((rows + 1).saturating_sub(left).max(1));
            }
            let taps = running.taps_at(running.done);
            tokens = tokens.min(runner.chunk(taps) as usize);
            if taps == Taps::None && running.done < running.trace_from {
                tokens = tokens.min(running.trace_from - running.done);
            }
            left -= 1;
            room -= tokens;
            if tokens > 0 {
                let last = tokens == running.rest() && running.answer.budget_left() > 0;
                let (wanted, taken) = match (scores, last) {
                    (true, _) => (Wanted::All, tokens),
                    (false, true) => (Wanted::Last, 1),
                    (false, false) => (Wanted::None, 0),
                };
                rows = rows.saturating_sub(taken);
                parts.push(Part { place, tokens, wanted });
            }
        }
        // Rows that the host reads come first, so that one copy holds them.
        parts.sort_by_key(|part| match part.wanted {
            Wanted::All => 0,
            Wanted::Last => 1 + u8::from(self.running[part.place].answer.greedy),
            Wanted::None => 3,
        });
        parts
    }

    /// Submits a step from what the host knows.
    async fn submit_step(&mut self, runner: &mut Runner) -> Result<()> {
        let parts = self.parts(runner);
        let Some(first) = parts.first() else { return Ok(()) };
        let (running, tokens) = (&self.running[first.place], first.tokens);
        // Only an answer that runs alone is traced.
        let taps = running.taps_at(running.done);
        let traced = (taps != Taps::None).then(|| (position(running.done), position(tokens)));
        // Rows of logits so far, and of these the ones that the host looks at.
        let (mut chunks, mut rows, mut outputs, mut looked_at) = (Vec::new(), Vec::new(), 0, 0);
        for part in &parts {
            let running = &self.running[part.place];
            // A step that nobody waited for to the end may have left tokens behind.
            runner.sequences_mut().truncate(running.sequence, position(running.done));
            let end = running.done + part.tokens;
            let ids = &running.answer.tokens[running.done..end];
            let chunk = Chunk { sequence: running.sequence, ids, wanted: part.wanted };
            let unscored = running.answer.unscored(running.done);
            let scored = (part.wanted == Wanted::All).then(|| Scored {
                row: outputs,
                first: unscored.start,
                count: unscored.len().min(part.tokens),
            });
            outputs += chunk.rows();
            chunks.push(chunk);
            let chooses = end == running.answer.tokens.len() && running.answer.budget_left() > 0;
            let choice = chooses.then(|| match running.answer.greedy {
                true => Choice::Greedy(outputs - 1),
                false => Choice::Sampled(outputs - 1),
            });
            if scored.is_some() || matches!(choice, Some(Choice::Sampled(_))) {
                looked_at = outputs;
            }
            let prompt_done = running.is_reading().then_some(end);
            rows.push(Row { answer: running.id, epoch: running.epoch, prompt_done, scored, choice });
        }
        let greedy = rows.iter().any(|row| matches!(row.choice, Some(Choice::Greedy(_))));
        let tapped = runner.step_tapped(&chunks, greedy, taps).await?;
        for part in &parts {
            let running = &mut self.running[part.place];
            running.done += part.tokens;
            running.publish(runner, self.exports.as_mut())?;
        }
        let nothing = || Fetch::Here(Vec::new());
        let chosen = match (greedy, outputs) {
            (true, _) => Fetch::Away(runner.chosen()?),
            // The step must be done before the next is encoded, so that a stop acts within one chunk.
            (false, 0) => Fetch::Away(runner.mark()?),
            (false, _) => nothing(),
        };
        let logits = if looked_at > 0 { Fetch::Away(runner.rows(position(looked_at))?) } else { nothing() };
        self.in_flight.push_back(Ahead { rows, chosen, logits, tapped: Some(tapped), traced });
        Ok(())
    }

    /// Whether a step can follow those in flight without the host: all its answers decode greedily, and nobody else waits
    /// for a part in it.
    fn may_run_ahead(&self, runner: &Runner) -> bool {
        let Some(last) = self.in_flight.back() else { return false };
        let in_flight = self.in_flight.len();
        let goes_on = |row: &Row| {
            let running = self.running.iter().find(|running| running.id == row.answer && running.epoch == row.epoch);
            matches!(row.choice, Some(Choice::Greedy(_)))
                && row.prompt_done.is_none()
                && running.is_some_and(|running| running.answer.greedy && running.answer.budget_left() > in_flight)
        };
        let joins = !self.waiting.is_empty() && runner.sequences().has_free();
        in_flight < AHEAD && last.rows.len() == self.running.len() && last.rows.iter().all(goes_on) && !joins
    }

    async fn run_ahead(&mut self, runner: &mut Runner) -> Result<()> {
        let Some(last) = self.in_flight.back() else { return Ok(()) };
        let rows = last.rows.clone();
        let alone = self.running.first().filter(|_| rows.len() == 1);
        let first = alone.map_or(0, |running| runner.sequences().length(running.sequence));
        let taps = alone.map_or(Taps::None, |running| running.taps_at(first as usize));
        let traced = (taps != Taps::None).then_some((first, 1));
        let tapped = runner.again_tapped(taps).await?;
        let chosen = Fetch::Away(runner.chosen()?);
        self.in_flight.push_back(Ahead { rows, chosen, logits: Fetch::Here(Vec::new()), tapped: Some(tapped), traced });
        Ok(())
    }

    /// Awaits and reports what attention read in the oldest step.
    async fn report_trace(&mut self, layers: u32) -> Result<()> {
        let Some(ahead) = self.in_flight.front_mut() else { return Ok(()) };
        let (Some((first, tokens)), Some(tapped)) = (ahead.traced, ahead.tapped.take()) else { return Ok(()) };
        let Some(row) = ahead.rows.first().copied() else { return Ok(()) };
        let taps = tapped.read().await?;
        let found = self.running.iter_mut().find(|running| running.id == row.answer && running.epoch == row.epoch);
        if let Some(running) = found {
            let request = running.answer.request.trace.clone().unwrap_or_default();
            let selections = selections(&taps, first, tokens, &request, layers);
            running.trace_from = (first + tokens) as usize;
            running.answer.report(Event::Trace(selections));
        }
        Ok(())
    }

    /// Hands the results of a step to its answers.
    fn take(&mut self, runner: &mut Runner, ahead: &Ahead) {
        for row in &ahead.rows {
            let found = |running: &Running| running.id == row.answer && running.epoch == row.epoch;
            let Some(place) = self.running.iter().position(found) else { continue };
            let outcome = self.advance(runner, place, row, ahead);
            let Some(running) = self.running.get_mut(place) else { continue };
            let id = running.id;
            self.events.extend(running.answer.take_events().into_iter().map(|event| (id, Ok(event))));
            let ended = running.answer.ended;
            if let Err(error) = &outcome {
                // Rows that came with it may be as wrong.
                if error.code() == Code::NonFinite {
                    runner.sequences_mut().forget();
                }
            }
            if let Err(error) = outcome {
                self.events.push_back((id, Err(error)));
            } else if !ended {
                continue;
            }
            runner.sequences_mut().close(self.running.remove(place).sequence);
        }
    }

    /// One answer after its part of a step.
    fn advance(&mut self, runner: &mut Runner, place: usize, row: &Row, ahead: &Ahead) -> Result<()> {
        let Some(running) = self.running.get_mut(place) else { return Ok(()) };
        let (width, vocab_size) = (runner.row_words(), runner.dims().vocab_size as usize);
        let logits = |output: usize| -> &[f32] {
            let words = ahead.logits.words().get(output * width..).unwrap_or(&[]);
            bytemuck::cast_slice(&words[..words.len().min(vocab_size)])
        };
        if let Some(Scored { row, first, count }) = row.scored {
            running.answer.score(first, (row..row + count).map(logits))?;
        }
        if let Some(done) = row.prompt_done {
            running.answer.read(done);
        }
        let (id, logprobs) = match row.choice {
            None => return Ok(()),
            Some(Choice::Greedy(output)) => {
                let words = ahead.chosen.words();
                let word = |place: usize| words.get(2 * output + place).copied().unwrap_or(0);
                match running.answer.judge(word(0), word(1))? {
                    Some(id) => (id, None),
                    None => {
                        // An id that may not be: the row is computed again, to be judged on the host. Steps that ran
                        // ahead went on from a wrong id.
                        running.answer.greedy = false;
                        running.epoch += 1;
                        running.done -= 1;
                        return Ok(());
                    }
                }
            }
            Some(Choice::Sampled(output)) => running.answer.choose(logits(output))?,
        };
        running.answer.accept(id, logprobs);
        let fed = self
            .in_flight
            .front()
            .is_some_and(|next| next.rows.iter().any(|next| next.answer == running.id && next.epoch == running.epoch));
        if fed && !running.answer.ended {
            running.done += 1;
            running.publish(runner, self.exports.as_mut())?;
        }
        Ok(())
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
