//! Steps: who takes part, what was submitted, and what its results are to each answer.

use super::fetch::Fetch;
use super::{AHEAD, AnswerId, Running, Scheduler, position};
use crate::error::{Code, Result};
use crate::executor::Tapped;
use crate::generate::request::Event;
use crate::generate::runner::{Chunk, Runner, Wanted};
use crate::generate::trace::selections;
use crate::record::Taps;

/// A step whose results the host has not seen.
pub(super) struct Ahead {
    rows: Vec<Row>,
    /// Of greedy rows: (id, flags) for each row.
    pub(super) chosen: Fetch,
    /// Of the rows that the host looks at, which come first.
    pub(super) logits: Fetch,
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

/// A part of a step to be submitted.
struct Part {
    /// Place in `running`.
    place: usize,
    tokens: usize,
    wanted: Wanted,
}

impl Scheduler {
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
    pub(super) async fn submit_step(&mut self, runner: &mut Runner) -> Result<()> {
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
    pub(super) fn may_run_ahead(&self, runner: &Runner) -> bool {
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

    pub(super) async fn run_ahead(&mut self, runner: &mut Runner) -> Result<()> {
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
    pub(super) async fn report_trace(&mut self, layers: u32) -> Result<()> {
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
    pub(super) fn take(&mut self, runner: &mut Runner, ahead: &Ahead) {
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
