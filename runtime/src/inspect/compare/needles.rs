//! A fact in a long text, and whether it is found again: random words, said once and asked for at the end.

use std::ops::Range;

use lyn_shaders::case::Random;
use serde::Serialize;

use super::tally::Summary;
use super::{KnownPlace, Pair};
use crate::error::{Code, Error, Result};
use crate::generate::trace::selections;
use crate::generate::{Chunk, SequenceId, TraceRequest, Wanted};
use crate::record::Taps;
use crate::text::Tokenizer;

/// Where facts are hidden: shares of the text before them.
pub const DEPTHS: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];

/// Words that models of every size know.
const WORDS: [&str; 32] = [
    "apple", "bird", "boat", "book", "box", "cake", "car", "cat", "chair", "cow", "dog", "door", "duck", "fish",
    "flower", "frog", "hat", "horse", "house", "key", "lion", "milk", "moon", "mouse", "rabbit", "rain", "river",
    "shoe", "snow", "star", "table", "tree",
];
/// Words of a fact.
const SAID: usize = 5;
const ASK: &str = "\nThe secret words are:";
const REMEMBER: &str = ". Remember them.\n";

/// What texts with facts are made of.
pub struct Haystack<'a> {
    /// Cuts facts into ids.
    pub tokenizer: &'a Tokenizer,
    /// The token that begins every text.
    pub begin: Option<u32>,
    /// Ids of a text to hide facts in, repeated as often as needed.
    pub filler: &'a [u32],
}

/// A text with a fact in it, the question at its end, and the answer.
#[derive(Clone, Debug)]
pub struct Needle {
    /// Share of the filler before the fact.
    pub depth: f64,
    /// The text.
    pub text: Vec<u32>,
    /// Positions of the words where they are said.
    fact: Range<usize>,
}

/// What a side made of a fact.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Probe {
    /// Tokens of the answer.
    pub tokens: u32,
    /// How many of them are the likeliest after those before.
    pub found: u32,
    /// Mean log probability of the answer's tokens, in nats; none where it was not told.
    pub log_probability: Option<f64>,
    /// Mean share of the fact's tokens that the indexer selects when the answer is asked for, over its tokens and the layers; none
    /// where attention is dense or elsewhere.
    pub selected: Option<f64>,
}

impl Haystack<'_> {
    /// A text of `length` tokens with a fact of its own for each length and depth: the same each time.
    ///
    /// # Errors
    /// `bad_request` where the text is too short for the fact, or there is no filler.
    pub fn needle(&self, length: u32, depth: f64) -> Result<Needle> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of 0 to 1")]
        let mut random = Random::new(u64::from(length) << 10 | (depth * 1000.0) as u64);
        let mut words = WORDS.to_vec();
        let said: String = (0..SAID)
            .map(|_| {
                let place = random.below(u32::try_from(words.len()).unwrap_or(u32::MAX));
                format!(" {}", words.swap_remove(place as usize))
            })
            .collect();
        let encode = |text: &str| self.tokenizer.encode(text, false);
        let (ask, words, remember) = (encode(ASK)?, encode(&said)?, encode(REMEMBER)?);
        let own = self.begin.iter().count() + 2 * (ask.len() + words.len()) + remember.len();
        let length = length as usize;
        let filling = length.checked_sub(own).filter(|filling| *filling > 0 && !self.filler.is_empty());
        let Some(filling) = filling else {
            let message = format!("needles: a text of {length} tokens; the fact and its question take {own}");
            return Err(
                Error::new(Code::BadRequest, message).with_help("use longer texts, and a text to hide facts in")
            );
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a share of a length"
        )]
        let before = (filling as f64 * depth) as usize;
        let mut filler = self.filler.iter().copied().cycle();
        let mut text: Vec<u32> = self.begin.into_iter().collect();
        text.extend(filler.by_ref().take(before));
        text.extend(&ask);
        let fact = text.len()..text.len() + words.len();
        text.extend(&words);
        text.extend(remember);
        text.extend(filler.take(filling - before));
        text.extend(ask);
        text.extend(words);
        Ok(Needle { depth, text, fact })
    }
}

impl Needle {
    /// Position of the answer's first token.
    pub fn answer(&self) -> usize {
        self.text.len() - self.fact.len()
    }

    /// What an engine elsewhere makes of it. `places`: one for each token of the answer.
    pub fn told(&self, places: &[KnownPlace]) -> Probe {
        let answer = self.text[self.answer()..].iter().zip(places);
        let found: u32 = answer.map(|(&id, place)| u32::from(place.likeliest() == id)).sum();
        let logs: Option<Vec<f64>> = places.iter().map(|place| place.next).collect();
        self.probe(found, logs.map(|logs| logs.iter().sum()), None)
    }

    fn probe(&self, found: u32, log_sum: Option<f64>, selected: Option<f64>) -> Probe {
        let tokens = u32::try_from(self.fact.len()).unwrap_or(u32::MAX);
        Probe { tokens, found, log_probability: log_sum.map(|sum| sum / f64::from(tokens)), selected }
    }
}

impl Probe {
    /// Whether every token of the answer would be chosen.
    pub fn is_found(&self) -> bool {
        self.found == self.tokens
    }
}

impl Pair<'_> {
    /// Reads a text with a fact on a side and looks at the answer. `progress` hears of tokens read; returning false stops.
    ///
    /// # Errors
    /// As [`Pair::read`].
    pub async fn probe(
        &mut self,
        side: usize,
        needle: &Needle,
        progress: &mut dyn FnMut(u32) -> bool,
    ) -> Result<Probe> {
        self.check(needle.text.len())?;
        let sequence = self.engine(side).runner().open()?;
        let probe = self.probed(side, sequence, needle, progress).await;
        self.engine(side).runner().close(sequence);
        probe
    }

    async fn probed(
        &mut self,
        side: usize,
        sequence: SequenceId,
        needle: &Needle,
        progress: &mut dyn FnMut(u32) -> bool,
    ) -> Result<Probe> {
        let engine = self.engine(side);
        let layers = if engine.index_topk().is_some() { engine.plan().layers } else { 0 };
        let size = engine.dims().vocab_size as usize;
        let runner = engine.runner();
        let (words, settings) = (runner.row_words(), *runner.settings());
        // The answer's tokens are expected after those before them.
        let (before, asked) = needle.text.split_at(needle.answer() - 1);
        let mut go_on = |ids: &[u32]| match progress(u32::try_from(ids.len()).unwrap_or(u32::MAX)) {
            true => Ok(()),
            false => Err(super::stopped()),
        };
        for ids in before.chunks(settings.chunk as usize) {
            runner.step(&[Chunk { sequence, ids, wanted: Wanted::None }], false).await?;
            runner.settle().await?;
            go_on(ids)?;
        }
        let trace = TraceRequest { layers: (0..layers).collect(), ..TraceRequest::default() };
        let taps = if layers > 0 { trace.taps() } else { Taps::None };
        let step = runner.chunk(taps).min(settings.rows).max(1) as usize;
        let (mut found, mut log_sum, mut shares, mut selected) = (0, 0.0, 0.0, 0u32);
        let mut next = needle.text[needle.answer()..].iter();
        for ids in asked[..needle.fact.len()].chunks(step) {
            let first = runner.length(sequence);
            let tapped = runner.step_tapped(&[Chunk { sequence, ids, wanted: Wanted::All }], false, taps).await?;
            let count = u32::try_from(ids.len()).unwrap_or(u32::MAX);
            let rows: Vec<f32> = bytemuck::cast_vec(runner.rows(count)?.await?);
            for (row, &id) in rows.chunks(words).zip(next.by_ref()) {
                let summary = Summary::of(&row[..size])?;
                found += u32::from(summary.likeliest == id);
                log_sum += summary.log(id);
            }
            for selection in selections(&tapped.read().await?, first, count, &trace, layers) {
                let held = selection.indices.iter().filter(|&&index| needle.fact.contains(&(index as usize))).count();
                #[expect(clippy::cast_precision_loss, reason = "a share of a few tokens")]
                let share = held as f64 / needle.fact.len() as f64;
                (shares, selected) = (shares + share, selected + 1);
            }
            go_on(ids)?;
        }
        Ok(needle.probe(found, Some(log_sum), (selected > 0).then(|| shares / f64::from(selected))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stories() -> Tokenizer {
        let bytes = include_bytes!("../../../../models/stories/tokenizer.json");
        Tokenizer::from_json("tokenizer.json", bytes, 2048).unwrap()
    }

    #[test]
    fn a_fact_is_said_at_its_depth_and_asked_for_at_the_end() {
        let tokenizer = stories();
        let filler = tokenizer.encode("Once there was a dog.", false).unwrap();
        let haystack = Haystack { tokenizer: &tokenizer, begin: Some(1), filler: &filler };
        let texts = DEPTHS.map(|depth| haystack.needle(100, depth).unwrap());
        for needle in &texts {
            assert_eq!((needle.text.len(), needle.text[0]), (100, 1));
            let (words, rest) =
                (tokenizer.decode(&needle.text[needle.fact.clone()]), tokenizer.decode(&needle.text[1..]));
            assert_eq!(words.split_whitespace().count(), SAID, "{words}");
            assert!(
                rest.contains(&format!("{ASK}{words}{REMEMBER}")) && rest.ends_with(&format!("{ASK}{words}")),
                "{rest}"
            );
            assert_eq!(needle.text[needle.fact.clone()], needle.text[needle.answer()..]);
        }
        assert!(texts.is_sorted_by_key(|needle| needle.fact.start) && texts[0].fact.start < 20);
        assert_eq!(haystack.needle(100, 0.5).unwrap().text, texts[2].text, "the same each time");
        assert_eq!(haystack.needle(30, 0.5).unwrap_err().code(), Code::BadRequest);
        assert_eq!(Haystack { filler: &[], ..haystack }.needle(100, 0.5).unwrap_err().code(), Code::BadRequest);
    }

    #[test]
    fn an_answer_elsewhere_is_judged_by_its_likeliest_tokens() {
        let needle = Needle { depth: 0.5, text: vec![7, 8, 9, 7, 8], fact: 0..2 };
        let place = |next: Option<f64>, likeliest| KnownPlace::new(next, vec![(likeliest, -0.5)]).unwrap();
        let probe = needle.told(&[place(Some(-0.5), 7), place(Some(-1.5), 7)]);
        assert_eq!(probe, Probe { tokens: 2, found: 1, log_probability: Some(-1.0), selected: None });
        let probe = needle.told(&[place(None, 7), place(Some(-0.5), 8)]);
        assert!(probe.is_found() && probe.log_probability.is_none(), "not every engine tells of every token");
    }
}
