//! Two ways to compute one model's probabilities, held against each other over a text.
//!
//! In: one engine or two, ids, and what an engine elsewhere tells of them. Out: perplexities, the Kullback–Leibler divergence of the
//! second side from the first, how often both would choose the same token; what they find of facts in long texts; how fast they
//! are. Never: a connection; more logits in memory than those of one step.

mod known;
mod needles;
mod share;
mod speed;
mod tally;

pub use known::KnownPlace;
pub use needles::{DEPTHS, Haystack, Needle, Probe};
pub use share::{DenseShare, dense_share};
pub use speed::{PROMPT, SpeedRow, crossover};
pub use tally::{Comparison, Departure, Divergence, Estimator, Tally};

use crate::engine::Engine;
use crate::error::{Code, Error, Result};
use crate::generate::{Chunk, SequenceId, Wanted};
use crate::platform::Instant;
use tally::Second;

/// The sides that run here, one or two: of each the engine, and the positions that attention reads for a token, none for all.
pub struct Pair<'a> {
    engines: Vec<&'a mut Engine>,
    sides: Vec<(usize, Option<u32>)>,
}

/// A part of a text, read from its beginning.
pub struct Window {
    /// Ids, behind the token that begins every text.
    pub text: Vec<u32>,
    /// Tokens of the whole text before its first place that is compared.
    pub before: u32,
}

/// What the second side tells of a window, where it does not run here.
pub struct Told {
    /// A place for each token but the first.
    pub places: Vec<KnownPlace>,
    /// How long it took.
    pub seconds: f64,
}

/// A text in windows of at most `window` tokens, each behind the token that begins every text.
pub fn windows(begin: Option<u32>, ids: &[u32], window: u32) -> impl Iterator<Item = Window> {
    let room = (window as usize).max(2) - begin.iter().count();
    ids.chunks(room).enumerate().map(move |(place, part)| {
        // Without a token that begins texts, the first one follows nothing.
        let before = place * room + usize::from(begin.is_none());
        Window {
            text: begin.into_iter().chain(part.iter().copied()).collect(),
            before: u32::try_from(before).unwrap_or(u32::MAX),
        }
    })
}

impl<'a> Pair<'a> {
    /// Two engines: other weights, another adapter, other settings.
    ///
    /// # Errors
    /// `bad_request` where they have different vocabularies.
    pub fn of(first: &'a mut Engine, second: &'a mut Engine) -> Result<Pair<'a>> {
        let sizes = [first.dims().vocab_size, second.dims().vocab_size];
        if sizes[0] != sizes[1] {
            let message = format!("vocabularies of {} and {} tokens cannot be compared", sizes[0], sizes[1]);
            return Err(Error::new(Code::BadRequest, message).with_help("compare models of one family"));
        }
        let sides = vec![(0, first.index_topk()), (1, second.index_topk())];
        Ok(Pair { engines: vec![first, second], sides })
    }

    /// One engine as it is set up, and with dense attention. It needs room for two sequences.
    pub fn with_dense(engine: &'a mut Engine) -> Pair<'a> {
        let sides = vec![(0, engine.index_topk()), (0, None)];
        Pair { engines: vec![engine], sides }
    }

    /// One engine, whose other side is elsewhere.
    pub fn alone(engine: &'a mut Engine) -> Pair<'a> {
        let sides = vec![(0, engine.index_topk())];
        Pair { engines: vec![engine], sides }
    }

    /// Sides that run here.
    pub fn sides(&self) -> usize {
        self.sides.len()
    }

    /// Tokens that fit into every side's context.
    pub fn context(&mut self) -> u32 {
        (0..self.sides()).map(|side| self.engine(side).runner().settings().context).min().unwrap_or(0)
    }

    /// The engine of a side, with its attention.
    fn engine(&mut self, side: usize) -> &mut Engine {
        let (engine, index_topk) = self.sides[side];
        let engine = &mut *self.engines[engine];
        engine.runner().set_index_topk(index_topk);
        engine
    }

    /// Refuses texts that a context does not hold.
    fn check(&mut self, tokens: usize) -> Result<()> {
        let context = self.context();
        if tokens > context as usize {
            let message = format!("a text of {tokens} tokens; the context holds {context}");
            return Err(Error::new(Code::ContextOverflow, message).with_help("use shorter texts: --window, --needles"));
        }
        Ok(())
    }

    /// Tokens of a step: as many as each side has rows of logits for.
    fn step_tokens(&mut self) -> usize {
        let rows = (0..self.sides()).map(|side| {
            let settings = self.engine(side).runner().settings();
            settings.chunk.min(settings.rows).max(1)
        });
        rows.min().unwrap_or(1) as usize
    }

    /// Reads one window on every side, step by step, so that rows are compared as they come. `told`: what the second side says of
    /// it, where that is elsewhere. `progress` hears of tokens done; returning false stops.
    ///
    /// # Errors
    /// `context_overflow`, `non_finite`, `cancelled`; `internal` where a second side is missing; faults of the devices.
    pub async fn read(
        &mut self,
        window: &Window,
        told: Option<&Told>,
        tally: &mut Tally,
        progress: &mut dyn FnMut(u32) -> bool,
    ) -> Result<()> {
        self.check(window.text.len())?;
        let second = self.sides() == 2;
        if second == told.is_some() || told.is_some_and(|told| told.places.len() + 1 != window.text.len()) {
            return Err(Error::new(Code::Internal, "a window has one second side, of all its places"));
        }
        let opened: Vec<Result<SequenceId>> = (0..self.sides()).map(|side| self.engine(side).runner().open()).collect();
        let sequences: Result<Vec<SequenceId>> = opened.iter().cloned().collect();
        let read = match sequences {
            Ok(sequences) => self.steps(window, &sequences, told, tally, progress).await,
            Err(error) => Err(error),
        };
        for (side, sequence) in opened.into_iter().enumerate() {
            if let Ok(sequence) = sequence {
                self.engine(side).runner().close(sequence);
            }
        }
        read
    }

    async fn steps(
        &mut self,
        window: &Window,
        sequences: &[SequenceId],
        told: Option<&Told>,
        tally: &mut Tally,
        progress: &mut dyn FnMut(u32) -> bool,
    ) -> Result<()> {
        let step = self.step_tokens();
        tally.seconds[1] += told.map_or(0.0, |told| told.seconds);
        let mut at = window.before;
        for (place, ids) in window.text.chunks(step).enumerate() {
            let mut logits = [vec![], vec![]];
            let mut words = [0, 0];
            for (side, &sequence) in sequences.iter().enumerate() {
                let started = Instant::now();
                logits[side] = self.rows(side, sequence, ids).await?;
                tally.seconds[side] += started.elapsed().as_secs_f64();
                words[side] = self.engine(side).runner().row_words();
            }
            tally.read += ids.len();
            let size = self.engine(0).dims().vocab_size as usize;
            let first = place * step;
            // What follows the last token of a window is not looked at.
            let next = window.text.iter().skip(first + 1);
            for (row, next) in (0..ids.len()).zip(next) {
                let logits = |side: usize| &logits[side][row * words[side]..][..size];
                let second = told.and_then(|told| told.places.get(first + row));
                let second = second.map_or_else(|| Second::Row(logits(1)), Second::Told);
                tally.add(logits(0), second, *next, at)?;
                at += 1;
            }
            if !progress(at) {
                return Err(stopped());
            }
        }
        Ok(())
    }

    /// Logits after each of some ids: `[ids, row_words]`.
    async fn rows(&mut self, side: usize, sequence: SequenceId, ids: &[u32]) -> Result<Vec<f32>> {
        let runner = self.engine(side).runner();
        runner.step(&[Chunk { sequence, ids, wanted: Wanted::All }], false).await?;
        let words = runner.rows(u32::try_from(ids.len()).unwrap_or(u32::MAX))?.await?;
        Ok(bytemuck::cast_vec(words))
    }
}

impl Drop for Pair<'_> {
    /// An engine is left as it came.
    fn drop(&mut self) {
        self.engine(0);
    }
}

fn stopped() -> Error {
    Error::new(Code::Cancelled, "stopped")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_the_text_once() {
        let ids: Vec<u32> = (10..17).collect();
        let of = |begin: Option<u32>| -> Vec<(Vec<u32>, u32)> {
            windows(begin, &ids, 4).map(|window| (window.text, window.before)).collect()
        };
        assert_eq!(
            of(Some(1)),
            [(vec![1, 10, 11, 12], 0), (vec![1, 13, 14, 15], 3), (vec![1, 16], 6)],
            "each token is expected after those before it"
        );
        assert_eq!(of(None), [(vec![10, 11, 12, 13], 1), (vec![14, 15, 16], 5)], "the first follows nothing");
    }
}
