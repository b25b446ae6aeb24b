//! Two ways to compute one model's probabilities, held against each other over a text.
//!
//! In: one engine or two, ids. Out: perplexities, the Kullback–Leibler divergence of the second from the first, and how often both
//! would choose the same token. Every probability of the vocabulary counts. Never: more logits in memory than those of one step.

use serde::Serialize;

use crate::engine::Engine;
use crate::error::{Code, Error, Result};
use crate::generate::{Chunk, Event, Request, SequenceId, TraceRequest, Wanted};
use crate::platform::Instant;

/// Two sides: of each the engine, and the positions that attention reads for a token, none for all.
pub struct Pair<'a> {
    engines: Vec<&'a mut Engine>,
    sides: [(usize, Option<u32>); 2],
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Tokens whose probability was compared.
    pub tokens: u32,
    /// exp of the mean negative log probability of the text's tokens, on each side.
    pub perplexity: [f64; 2],
    /// Tokens read in a second, on each side.
    pub tokens_per_second: [f64; 2],
    /// Σ p · ln(p / q) of the first side's p and the second's q, over the vocabulary.
    pub kl: Divergence,
    /// Share of tokens after which both sides find the same one likeliest.
    pub top1_agreement: f64,
    /// The first place where they do not.
    pub first_divergence: Option<Departure>,
}

/// A divergence over all tokens, in nats.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Divergence {
    /// Mean.
    pub mean: f64,
    /// Half of the tokens are below.
    pub median: f64,
    /// 99 of 100 are below.
    pub p99: f64,
    /// The largest.
    pub worst: f64,
    /// Where that is: after so many tokens of the text.
    pub worst_at: u32,
}

/// Where two sides would go different ways.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Departure {
    /// After so many tokens of the text.
    pub at: u32,
    /// The likeliest token of each side.
    pub ids: [u32; 2],
    /// How far the first side prefers its own, in nats.
    pub margin: f64,
}

/// How much of dense attention lies in what the indexer selects.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DenseShare {
    /// Tokens looked at: those that see more positions than are selected.
    pub tokens: u32,
    /// Mean over tokens and layers, 0 to 1.
    pub mean: f64,
    /// The smallest share of a token in a layer.
    pub worst: f64,
    /// Mean of each layer.
    pub layers: Vec<f64>,
}

/// Sums so far.
#[derive(Default)]
struct Totals {
    negative_log: [f64; 2],
    divergences: Vec<f32>,
    sum: f64,
    same: u32,
    first: Option<Departure>,
    worst: (f64, u32),
    seconds: [f64; 2],
    /// Tokens that each side has read.
    read: usize,
}

impl<'a> Pair<'a> {
    /// Two engines: other weights, another adapter, other settings.
    pub fn of(first: &'a mut Engine, second: &'a mut Engine) -> Pair<'a> {
        let sides = [(0, first.index_topk()), (1, second.index_topk())];
        Pair { engines: vec![first, second], sides }
    }

    /// One engine as it is set up, and with dense attention. It needs room for two sequences.
    pub fn with_dense(engine: &'a mut Engine) -> Pair<'a> {
        let sides = [(0, engine.index_topk()), (0, None)];
        Pair { engines: vec![engine], sides }
    }

    fn engine(&mut self, side: usize) -> &mut Engine {
        self.engines[self.sides[side].0]
    }

    fn check(&mut self, window: usize) -> Result<()> {
        let sizes = [0, 1].map(|side| self.engine(side).dims().vocab_size);
        if sizes[0] != sizes[1] {
            let message = format!("vocabularies of {} and {} tokens cannot be compared", sizes[0], sizes[1]);
            return Err(Error::new(Code::BadRequest, message).with_help("compare models of one family"));
        }
        for side in 0..2 {
            let context = self.engine(side).runner().settings().context;
            if window > context as usize {
                let message = format!("windows of {window} tokens; the context holds {context}");
                return Err(Error::new(Code::ContextOverflow, message).with_help("use a smaller --window"));
            }
        }
        Ok(())
    }

    /// Tokens of a step: as many as each side has rows of logits for.
    fn step_tokens(&mut self) -> usize {
        let rows = [0, 1].map(|side| {
            let settings = self.engine(side).runner().settings();
            settings.chunk.min(settings.rows).max(1)
        });
        rows[0].min(rows[1]) as usize
    }

    /// Reads one window on both sides, step by step, so that rows are compared as they come. Its first token is the text's after
    /// `before` others.
    async fn window(
        &mut self,
        text: &[u32],
        before: u32,
        totals: &mut Totals,
        progress: &mut dyn FnMut(u32) -> bool,
    ) -> Result<()> {
        let first = self.engine(0).runner().open()?;
        let second = self.engine(1).runner().open();
        let read = match &second {
            Ok(second) => self.steps(text, before, [first, *second], totals, progress).await,
            Err(error) => Err(error.clone()),
        };
        self.engine(0).runner().close(first);
        if let Ok(second) = second {
            self.engine(1).runner().close(second);
        }
        read
    }

    async fn steps(
        &mut self,
        text: &[u32],
        before: u32,
        sequences: [SequenceId; 2],
        totals: &mut Totals,
        progress: &mut dyn FnMut(u32) -> bool,
    ) -> Result<()> {
        let step = self.step_tokens();
        let mut at = before;
        for (place, ids) in text.chunks(step).enumerate() {
            let mut logits = [vec![], vec![]];
            for side in 0..2 {
                let started = Instant::now();
                logits[side] = self.rows(side, sequences[side], ids).await?;
                totals.seconds[side] += started.elapsed().as_secs_f64();
            }
            totals.read += ids.len();
            let words = [0, 1].map(|side| self.engine(side).runner().row_words());
            let size = self.engine(0).dims().vocab_size as usize;
            // What follows the last token of a window is not looked at.
            let next = text.iter().skip(place * step + 1);
            for (row, next) in (0..ids.len()).zip(next) {
                let rows = [0, 1].map(|side| &logits[side][row * words[side]..][..size]);
                totals.add(rows, *next, at)?;
                at += 1;
            }
            if !progress(at) {
                return Err(Error::new(Code::Cancelled, "stopped"));
            }
        }
        Ok(())
    }

    /// Logits after each of some ids: `[ids, row_words]`.
    async fn rows(&mut self, side: usize, sequence: SequenceId, ids: &[u32]) -> Result<Vec<f32>> {
        let index_topk = self.sides[side].1;
        let runner = self.engine(side).runner();
        runner.set_index_topk(index_topk);
        runner.step(&[Chunk { sequence, ids, wanted: Wanted::All }], false).await?;
        let words = runner.rows(u32::try_from(ids.len()).unwrap_or(u32::MAX))?.await?;
        Ok(bytemuck::cast_vec(words))
    }
}

impl Drop for Pair<'_> {
    /// An engine is left as it came.
    fn drop(&mut self) {
        let index_topk = self.sides[0].1;
        self.engine(0).runner().set_index_topk(index_topk);
    }
}

/// Reads `ids` in windows of at most `window` tokens, each behind the token that begins every text, and compares what both sides
/// expect at every place. `progress` hears of tokens done; returning false stops.
///
/// # Errors
/// `bad_request` where the sides have different vocabularies or there is nothing to compare; `context_overflow`; `non_finite`;
/// `cancelled`; faults of the devices.
pub async fn run(
    mut pair: Pair<'_>,
    begin: Option<u32>,
    ids: &[u32],
    window: u32,
    progress: &mut dyn FnMut(u32) -> bool,
) -> Result<Comparison> {
    let window = (window as usize).max(2);
    pair.check(window)?;
    let mut totals = Totals::default();
    let mut before = 0u32;
    for part in ids.chunks(window - begin.iter().count()) {
        let text: Vec<u32> = begin.into_iter().chain(part.iter().copied()).collect();
        // Without a token that begins texts, the first one follows nothing.
        let skipped = u32::from(begin.is_none());
        pair.window(&text, before + skipped, &mut totals, progress).await?;
        before += u32::try_from(part.len()).unwrap_or(u32::MAX);
    }
    totals.finish()
}

/// Reads a text and adds up, for each token that sees more positions than the indexer selects, what dense attention would give to those
/// that it does. None where no token sees more, or attention is dense.
///
/// # Errors
/// `context_overflow`; faults of the device.
pub async fn dense_share(engine: &mut Engine, text: &[u32]) -> Result<Option<DenseShare>> {
    let Some(from) = engine.index_topk().filter(|topk| (*topk as usize) < text.len()) else { return Ok(None) };
    let layers = engine.plan().layers;
    let trace = TraceRequest { layers: (0..layers).collect(), dense: true, from };
    let request = Request { max_tokens: Some(0), trace: Some(trace), ..Request::new(text.to_vec()) };
    let mut sums = vec![(0.0, 0u32); layers as usize];
    let mut worst = 1.0f64;
    let mut reading = engine.generate(request)?;
    while let Some(event) = reading.next().await? {
        let Event::Trace(selections) = event else { continue };
        for selection in selections.iter().filter(|selection| selection.position >= from) {
            let Some(share) = selection.dense_share().map(f64::from) else { continue };
            let (sum, count) = &mut sums[selection.layer as usize];
            (*sum, *count, worst) = (*sum + share, *count + 1, worst.min(share));
        }
    }
    let tokens = sums.iter().map(|(_, count)| *count).max().unwrap_or(0);
    let shares: Vec<f64> = sums.iter().map(|(sum, count)| sum / f64::from((*count).max(1))).collect();
    let mean = shares.iter().sum::<f64>() / f64::from(layers.max(1));
    Ok((tokens > 0).then_some(DenseShare { tokens, mean, worst, layers: shares }))
}

/// The likeliest id, its logit, and the logarithm of the sum of all.
fn summary(logits: &[f32]) -> Result<(u32, f64, f64)> {
    let (id, highest) = (0..).zip(logits).fold((0, f32::NEG_INFINITY), |best, (id, &logit)| {
        // Of equals the first, as greedy decoding chooses.
        if logit > best.1 { (id, logit) } else { best }
    });
    let highest = f64::from(highest);
    let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) - highest).exp()).sum();
    let log_sum = highest + sum.ln();
    match log_sum.is_finite() {
        true => Ok((id, highest, log_sum)),
        false => Err(Error::new(Code::NonFinite, "logits are NaN or infinite")),
    }
}

impl Totals {
    /// Adds what both sides expect at a place, where `next` comes.
    fn add(&mut self, rows: [&[f32]; 2], next: u32, at: u32) -> Result<()> {
        let [first, second] = rows;
        let sums = [summary(first)?, summary(second)?];
        for ((row, (_, _, log_sum)), total) in rows.into_iter().zip(sums).zip(&mut self.negative_log) {
            *total += log_sum - f64::from(row.get(next as usize).copied().unwrap_or(f32::NEG_INFINITY));
        }
        let [(own, highest, log_p), (other, _, log_q)] = sums;
        let mut divergence = 0.0;
        for (&a, &b) in first.iter().zip(second) {
            let (a, b) = (f64::from(a) - log_p, f64::from(b) - log_q);
            divergence += a.exp() * (a - b);
        }
        // Below 0 is rounding.
        let divergence = divergence.max(0.0);
        if divergence > self.worst.0 || self.divergences.is_empty() {
            self.worst = (divergence, at);
        }
        #[expect(clippy::cast_possible_truncation, reason = "for quantiles")]
        self.divergences.push(divergence as f32);
        self.sum += divergence;
        self.same += u32::from(own == other);
        if own != other && self.first.is_none() {
            let margin = highest - f64::from(first.get(other as usize).copied().unwrap_or(f32::NEG_INFINITY));
            self.first = Some(Departure { at, ids: [own, other], margin });
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Comparison> {
        let tokens = u32::try_from(self.divergences.len()).unwrap_or(u32::MAX);
        if tokens == 0 {
            return Err(Error::new(Code::BadRequest, "the text has nothing to compare: it needs two tokens at least"));
        }
        self.divergences.sort_by(f32::total_cmp);
        let quantile = |share: usize| {
            let place = (self.divergences.len() * share).div_ceil(100).max(1) - 1;
            f64::from(self.divergences[place])
        };
        let count = f64::from(tokens);
        #[expect(clippy::cast_precision_loss, reason = "a speed")]
        let read = self.read as f64;
        Ok(Comparison {
            tokens,
            perplexity: self.negative_log.map(|sum| (sum / count).exp()),
            tokens_per_second: self.seconds.map(|seconds| read / seconds.max(1e-9)),
            kl: Divergence {
                mean: self.sum / count,
                median: quantile(50),
                p99: quantile(99),
                worst: self.worst.0,
                worst_at: self.worst.1,
            },
            top1_agreement: f64::from(self.same) / count,
            first_divergence: self.first,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Oracle: the definition, by hand, of p = (1/2, 1/4, 1/4) and q = (1/4, 1/2, 1/4).
    #[test]
    fn a_divergence_is_that_of_its_definition() {
        let logs = |p: [f32; 3]| p.map(f32::ln);
        let (p, q) = (logs([0.5, 0.25, 0.25]), logs([0.25, 0.5, 0.25]));
        let mut totals = Totals { read: 3, ..Totals::default() };
        totals.add([&p, &q], 0, 7).unwrap();
        // A constant on all logits changes nothing.
        totals.add([&p.map(|x| x + 5.0), &p], 1, 8).unwrap();
        totals.add([&q, &q], 2, 9).unwrap();
        let found = totals.finish().unwrap();
        let expected = 0.25 * 2f64.ln();
        assert!((found.kl.worst - expected).abs() < 1e-6 && found.kl.worst_at == 7, "{found:?}");
        assert!((found.kl.mean - expected / 3.0).abs() < 1e-6 && found.kl.median < 1e-6, "{found:?}");
        assert!((found.top1_agreement - 2.0 / 3.0).abs() < 1e-12);
        let perplexities = [(2.0f64 * 4.0 * 4.0).cbrt(), (4.0f64 * 4.0 * 4.0).cbrt()];
        for (found, expected) in found.perplexity.into_iter().zip(perplexities) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
        let departure = found.first_divergence.unwrap();
        assert_eq!((departure.at, departure.ids), (7, [0, 1]));
        assert!((departure.margin - 2f64.ln()).abs() < 1e-6);
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let error = Totals::default().add([&[0.0, f32::NAN], &[0.0, 1.0]], 0, 0).unwrap_err();
        assert_eq!(error.code(), Code::NonFinite);
        assert_eq!(Totals::default().finish().unwrap_err().code(), Code::BadRequest);
    }
}
