//! What is measured of two sides: over a text, in texts with facts, in time.

use lyn::engine::Engine;
use lyn::error::{Code, Error, Result};
use lyn::inspect::compare::{
    self, Comparison, DEPTHS, DenseShare, Haystack, Needle, PROMPT, Pair, Probe, SpeedRow, Tally, Told, Window,
    crossover,
};
use lyn::platform::block_on;
use lyn::text::Tokenizer;
use serde::Serialize;

use super::args::{CompareArgs, Lengths};
use super::elsewhere::OtherEngine;
use crate::App;
use crate::terminal::StageProgress;
use crate::terminal::progress::Unit;

/// The text that both sides read.
pub(super) struct Text<'a> {
    pub(super) tokenizer: &'a Tokenizer,
    /// The token that begins every text.
    pub(super) begin: Option<u32>,
    pub(super) ids: &'a [u32],
}

/// Two sides about to be measured: by what, and where the second is if not here.
pub(super) struct Measuring<'a> {
    pub(super) app: &'a App,
    pub(super) options: &'a CompareArgs,
    pub(super) elsewhere: Option<&'a OtherEngine>,
    pub(super) text: Text<'a>,
}

/// All that was measured.
pub(super) struct Findings {
    pub(super) comparison: Comparison,
    pub(super) dense_share: Option<DenseShare>,
    pub(super) needles: Vec<Searched>,
    pub(super) speeds: Vec<SpeedRow>,
    pub(super) crossover: Option<Crossover>,
}

/// What was found in texts of one length.
#[derive(Serialize)]
pub(super) struct Searched {
    /// Tokens of a text.
    pub(super) length: u32,
    /// Share of facts whose every token would be chosen, on each side.
    pub(super) recall: [f64; 2],
    /// Share of tokens that would be chosen.
    pub(super) token_recall: [f64; 2],
    pub(super) depths: Vec<Depth>,
}

/// What each side made of a fact.
#[derive(Serialize)]
pub(super) struct Depth {
    pub(super) depth: f64,
    pub(super) sides: [Probe; 2],
}

/// From how many tokens on sparse attention is the faster.
#[derive(Serialize)]
pub(super) struct Crossover {
    pub(super) prompt: Option<f64>,
    pub(super) decode: Option<f64>,
    /// The most tokens measured.
    pub(super) within: u32,
}

impl Measuring<'_> {
    /// Measures what the options ask for. `dense`: which side is the only one with dense attention.
    pub(super) fn all(&self, pair: &mut Pair<'_>, dense: Option<usize>) -> Result<Findings> {
        // First: lengths that are too short are known before anything is read.
        let needles = self.needles(pair)?;
        let comparison = self.read(pair)?;
        let needles = self.search(pair, &needles)?;
        let speeds = self.speeds(pair)?;
        let crossover = dense.filter(|_| !speeds.is_empty()).map(|dense| sparse_from(&speeds, dense));
        Ok(Findings { comparison, dense_share: None, needles, speeds, crossover })
    }

    fn read(&self, pair: &mut Pair<'_>) -> Result<Comparison> {
        let Measuring { app, text, .. } = self;
        let _working = app.interrupt.work();
        let mut progress = StageProgress::new(&app.terminal, "comparing", Unit::Tokens);
        let mut tally = Tally::default();
        for window in self.windows() {
            let told = self.elsewhere.map(|it| it.told(app, text.tokenizer, &window.text));
            let told: Option<Told> = told.transpose()?;
            block_on(pair.read(&window, told.as_ref(), &mut tally, &mut |done| {
                progress.update(done.into(), text.ids.len() as u64);
                !app.interrupt.asked()
            }))?;
        }
        tally.finish()
    }

    fn windows(&self) -> impl Iterator<Item = Window> {
        compare::windows(self.text.begin, self.text.ids, self.options.window)
    }

    /// Of the first window: what dense attention would weigh is computed token by token.
    pub(super) fn dense_share(&self, engine: &mut Engine) -> Result<Option<DenseShare>> {
        self.windows().next().map_or(Ok(None), |window| block_on(compare::dense_share(engine, &window.text)))
    }

    /// Texts with facts, by length.
    fn needles(&self, pair: &mut Pair<'_>) -> Result<Vec<(u32, [Needle; DEPTHS.len()])>> {
        let Some(wanted) = &self.options.needles else { return Ok(vec![]) };
        let there = self.elsewhere.map(|it| it.context(self.app)).transpose()?.flatten();
        // An engine elsewhere may want to write a token.
        let context = there.map_or(u32::MAX, |there| there.saturating_sub(1)).min(pair.context());
        let Text { tokenizer, begin, ids } = self.text;
        let haystack = Haystack { tokenizer, begin, filler: ids };
        let of = |length: u32| {
            let [first, second, third, fourth, last] = DEPTHS.map(|depth| haystack.needle(length, depth));
            Ok((length, [first?, second?, third?, fourth?, last?]))
        };
        wanted.within(context).into_iter().map(of).collect()
    }

    fn search(&self, pair: &mut Pair<'_>, needles: &[(u32, [Needle; DEPTHS.len()])]) -> Result<Vec<Searched>> {
        let app = self.app;
        let total: u64 = needles.iter().map(|(length, needles)| u64::from(*length) * 2 * needles.len() as u64).sum();
        let _working = app.interrupt.work();
        let mut progress = StageProgress::new(&app.terminal, "searching", Unit::Tokens);
        let mut done = 0;
        let mut went_on = |tokens: u32| {
            done += u64::from(tokens);
            progress.update(done, total);
            !app.interrupt.asked()
        };
        let mut searched = vec![];
        for (length, needles) in needles {
            let mut depths = vec![];
            for needle in needles {
                let first = block_on(pair.probe(0, needle, &mut went_on))?;
                let second = match self.elsewhere {
                    Some(elsewhere) => self.asked(elsewhere, needle, &mut went_on)?,
                    None => block_on(pair.probe(1, needle, &mut went_on))?,
                };
                depths.push(Depth { depth: needle.depth, sides: [first, second] });
            }
            let (recall, token_recall) =
                ([0, 1].map(|side| recall(&depths, side)), [0, 1].map(|side| token_recall(&depths, side)));
            searched.push(Searched { length: *length, recall, token_recall, depths });
        }
        Ok(searched)
    }

    fn asked(&self, elsewhere: &OtherEngine, needle: &Needle, went_on: &mut dyn FnMut(u32) -> bool) -> Result<Probe> {
        let probe = elsewhere.probe(self.app, self.text.tokenizer, needle)?;
        match went_on(u32::try_from(needle.text.len()).unwrap_or(u32::MAX)) {
            true => Ok(probe),
            false => Err(stopped()),
        }
    }

    fn speeds(&self, pair: &mut Pair<'_>) -> Result<Vec<SpeedRow>> {
        let Some(wanted) = &self.options.speed else { return Ok(vec![]) };
        let depths = match wanted {
            Lengths::Auto => {
                let room = pair.context().saturating_sub(PROMPT + 1);
                [vec![0], wanted.within(room)].concat()
            }
            Lengths::These(depths) => depths.clone(),
        };
        let _working = self.app.interrupt.work();
        let mut progress = StageProgress::new(&self.app.terminal, "measuring", Unit::Pieces);
        let mut rows = vec![];
        for depth in &depths {
            progress.update(rows.len() as u64, depths.len() as u64);
            rows.push(block_on(pair.speeds(*depth))?);
            if self.app.interrupt.asked() {
                return Err(stopped());
            }
        }
        Ok(rows)
    }
}

fn recall(depths: &[Depth], side: usize) -> f64 {
    let found = depths.iter().filter(|depth| depth.sides[side].is_found()).count();
    #[expect(clippy::cast_precision_loss, reason = "a share of a few")]
    let share = found as f64 / depths.len().max(1) as f64;
    share
}

fn token_recall(depths: &[Depth], side: usize) -> f64 {
    let of = |count: fn(&Probe) -> u32| depths.iter().map(|depth| count(&depth.sides[side])).sum::<u32>();
    f64::from(of(|probe| probe.found)) / f64::from(of(|probe| probe.tokens).max(1))
}

fn sparse_from(speeds: &[SpeedRow], dense: usize) -> Crossover {
    let from = |of: fn(&SpeedRow) -> [f64; 2]| {
        let ratios = speeds.iter().map(|row| (row.depth, of(row)[1 - dense] / of(row)[dense].max(1e-9)));
        crossover(&ratios.collect::<Vec<_>>())
    };
    Crossover {
        prompt: from(|row| row.prompt),
        decode: from(|row| row.decode),
        within: speeds.last().map_or(0, |row| row.depth),
    }
}

fn stopped() -> Error {
    Error::new(Code::Cancelled, "stopped")
}
