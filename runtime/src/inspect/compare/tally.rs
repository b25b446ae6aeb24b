//! What is added up over the places of a text: logarithms, divergences, agreement.

use serde::Serialize;

use super::known::KnownPlace;
use crate::error::{Code, Error, Result};

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Tokens whose probability was compared.
    pub tokens: u32,
    /// exp of the mean negative log probability of the text's tokens, on each side. The second is a lower bound where
    /// `unknown_tokens` is not 0.
    pub perplexity: [f64; 2],
    /// Tokens of the text whose own probability the second side did not tell.
    pub unknown_tokens: u32,
    /// Tokens read in a second, on each side.
    pub tokens_per_second: [f64; 2],
    /// Σ p · ln(p / q) of the first side's p and the second's q.
    pub kl: Divergence,
    /// Share of tokens after which both sides find the same one likeliest.
    pub top1_agreement: f64,
    /// The first place where they do not.
    pub first_divergence: Option<Departure>,
}

/// A divergence over all tokens, in nats.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Divergence {
    /// Over what it was summed.
    pub estimator: Estimator,
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

/// Over what a divergence was summed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Estimator {
    /// The whole vocabulary.
    #[default]
    Vocabulary,
    /// The tokens that the second side told, and all others as one: never above the divergence over the vocabulary.
    LowerBound,
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

/// Sums so far.
#[derive(Default)]
pub struct Tally {
    negative_log: [f64; 2],
    unknown: u32,
    estimator: Estimator,
    divergences: Vec<f32>,
    sum: f64,
    same: u32,
    first: Option<Departure>,
    worst: (f64, u32),
    pub(super) seconds: [f64; 2],
    /// Tokens that each side has read.
    pub(super) read: usize,
}

/// What the second side expects at a place.
pub(super) enum Second<'a> {
    /// Logits of the vocabulary.
    Row(&'a [f32]),
    /// As far as it was told.
    Told(&'a KnownPlace),
}

/// A row of logits, summed up.
pub(super) struct Summary<'a> {
    logits: &'a [f32],
    /// The likeliest id.
    pub(super) likeliest: u32,
    /// The logarithm of the sum of all exponentials.
    log_sum: f64,
}

impl<'a> Summary<'a> {
    pub(super) fn of(logits: &'a [f32]) -> Result<Summary<'a>> {
        let (likeliest, highest) = (0..).zip(logits).fold((0, f32::NEG_INFINITY), |best, (id, &logit)| {
            // Of equals the first, as greedy decoding chooses.
            if logit > best.1 { (id, logit) } else { best }
        });
        let highest = f64::from(highest);
        let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) - highest).exp()).sum();
        let log_sum = highest + sum.ln();
        match log_sum.is_finite() {
            true => Ok(Summary { logits, likeliest, log_sum }),
            false => Err(Error::new(Code::NonFinite, "logits are NaN or infinite")),
        }
    }

    /// The log probability of a token; −∞ for one that the vocabulary does not have.
    pub(super) fn log(&self, id: u32) -> f64 {
        f64::from(self.logits.get(id as usize).copied().unwrap_or(f32::NEG_INFINITY)) - self.log_sum
    }

    /// Σ p · ln(p / q) over the vocabulary.
    fn divergence(&self, other: &Summary<'_>) -> f64 {
        let logs = self.logits.iter().zip(other.logits);
        logs.map(|(&a, &b)| {
            let (a, b) = (f64::from(a) - self.log_sum, f64::from(b) - other.log_sum);
            a.exp() * (a - b)
        })
        .sum()
    }
}

impl Tally {
    /// Adds what both sides expect at a place, where `next` comes.
    pub(super) fn add(&mut self, first: &[f32], second: Second<'_>, next: u32, at: u32) -> Result<()> {
        let first = Summary::of(first)?;
        let (other, next_log, divergence) = match second {
            Second::Row(row) => {
                let second = Summary::of(row)?;
                (second.likeliest, second.log(next), first.divergence(&second))
            }
            Second::Told(place) => {
                self.estimator = Estimator::LowerBound;
                self.unknown += u32::from(place.next.is_none());
                (place.likeliest(), place.next_at_most(), place.divergence(next, |id| first.log(id)))
            }
        };
        self.negative_log[0] -= first.log(next);
        self.negative_log[1] -= next_log;
        // Below 0 is rounding.
        let divergence = divergence.max(0.0);
        if divergence > self.worst.0 || self.divergences.is_empty() {
            self.worst = (divergence, at);
        }
        #[expect(clippy::cast_possible_truncation, reason = "for quantiles")]
        self.divergences.push(divergence as f32);
        self.sum += divergence;
        let own = first.likeliest;
        self.same += u32::from(own == other);
        if own != other && self.first.is_none() {
            self.first = Some(Departure { at, ids: [own, other], margin: first.log(own) - first.log(other) });
        }
        Ok(())
    }

    /// Means and quantiles of all places.
    ///
    /// # Errors
    /// `bad_request` where there was none.
    pub fn finish(mut self) -> Result<Comparison> {
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
            unknown_tokens: self.unknown,
            tokens_per_second: self.seconds.map(|seconds| read / seconds.max(1e-9)),
            kl: Divergence {
                estimator: self.estimator,
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

    fn logs<const N: usize>(p: [f32; N]) -> [f32; N] {
        p.map(f32::ln)
    }

    /// Oracle: the definition, by hand, of p = (1/2, 1/4, 1/4) and q = (1/4, 1/2, 1/4).
    #[test]
    fn a_divergence_is_that_of_its_definition() {
        let (p, q) = (logs([0.5, 0.25, 0.25]), logs([0.25, 0.5, 0.25]));
        let mut tally = Tally { read: 3, ..Tally::default() };
        tally.add(&p, Second::Row(&q), 0, 7).unwrap();
        // A constant on all logits changes nothing.
        tally.add(&p.map(|x| x + 5.0), Second::Row(&p), 1, 8).unwrap();
        tally.add(&q, Second::Row(&q), 2, 9).unwrap();
        let found = tally.finish().unwrap();
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

    /// Oracle: by hand. Of q = (1/2, 1/4, 1/8, 1/8) the first token and the rest are known.
    #[test]
    fn what_is_told_in_part_bounds_perplexity_and_divergence() {
        let p = logs([0.25, 0.25, 0.25, 0.25]);
        let place = |next: Option<f64>| KnownPlace::new(next, vec![(0, 0.5f64.ln())]).unwrap();
        let mut tally = Tally::default();
        tally.add(&p, Second::Told(&place(None)), 1, 0).unwrap();
        let found = tally.finish().unwrap();
        let buckets = 0.25 * 0.5f64.ln() + 0.75 * 1.5f64.ln();
        assert!((found.kl.mean - buckets).abs() < 1e-6 && found.kl.estimator == Estimator::LowerBound, "{found:?}");
        // No token but the first has more than the half that is left.
        assert!((found.perplexity[1] - 2.0).abs() < 1e-6 && found.unknown_tokens == 1, "{found:?}");
        let mut tally = Tally::default();
        tally.add(&p, Second::Told(&place(Some(0.25f64.ln()))), 1, 0).unwrap();
        let nearer = tally.finish().unwrap();
        let buckets = 0.25 * 0.5f64.ln() + 0.5 * 2f64.ln();
        assert!((nearer.kl.mean - buckets).abs() < 1e-6, "{nearer:?}");
        assert!((nearer.perplexity[1] - 4.0).abs() < 1e-6 && nearer.unknown_tokens == 0, "{nearer:?}");
        let mut tally = Tally::default();
        tally.add(&p, Second::Row(&logs([0.5, 0.25, 0.125, 0.125])), 1, 0).unwrap();
        let whole = tally.finish().unwrap().kl.mean;
        assert!(found.kl.mean < nearer.kl.mean && nearer.kl.mean < whole, "{found:?} {nearer:?} {whole}");
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let error = Tally::default().add(&[0.0, f32::NAN], Second::Row(&[0.0, 1.0]), 0, 0).unwrap_err();
        assert_eq!(error.code(), Code::NonFinite);
        assert_eq!(Tally::default().finish().unwrap_err().code(), Code::BadRequest);
    }
}
