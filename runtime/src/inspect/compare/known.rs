//! What an engine elsewhere tells of its probabilities: those of a few tokens at each place.

/// The probability that no f32 can hold: what is told below it is 0, rounded.
const LEAST_LOG: f64 = -104.0;
/// How far a sum of rounded probabilities may be from theirs.
const ROUNDING: f64 = 1e-6;
/// How far it may be above 1 before it is no distribution.
const EXCESS: f64 = 1e-2;

/// What is known of one place of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownPlace {
    /// The log probability of the token that comes there in the text, where it was told.
    pub(super) next: Option<f64>,
    /// The most probable tokens and their log probabilities, the most probable first.
    pub(super) top: Vec<(u32, f64)>,
}

impl KnownPlace {
    /// Takes what was told: of the token that comes in the text, and of the most probable ones, in any order.
    ///
    /// # Errors
    /// In words, where these are no probabilities.
    pub fn new(next: Option<f64>, mut top: Vec<(u32, f64)>) -> Result<KnownPlace, String> {
        for &log in top.iter().map(|(_, log)| log).chain(&next) {
            if !log.is_finite() || log > EXCESS {
                return Err(format!("a log probability of {log}; expected a number up to 0"));
            }
        }
        if top.is_empty() {
            return Err("no probable token".to_owned());
        }
        // Of equals the smaller id, as greedy decoding chooses.
        top.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        top.dedup_by_key(|(id, _)| *id);
        let least = |log: f64| log.clamp(LEAST_LOG, 0.0);
        let top: Vec<(u32, f64)> = top.into_iter().map(|(id, log)| (id, least(log))).collect();
        let sum: f64 = top.iter().map(|(_, log)| log.exp()).sum();
        if sum > 1.0 + EXCESS {
            return Err(format!("probabilities that add up to {sum:.3}"));
        }
        Ok(KnownPlace { next: next.map(least), top })
    }

    /// The most probable token.
    pub(super) fn likeliest(&self) -> u32 {
        self.top.first().map_or(0, |(id, _)| *id)
    }

    /// The log probability of the text's token, or what it is at most: no more than the least of those told, and than the rest.
    pub(super) fn next_at_most(&self) -> f64 {
        self.next.unwrap_or_else(|| {
            let least = self.top.last().map_or(0.0, |(_, log)| *log);
            let told: f64 = self.top.iter().map(|(_, log)| log.exp()).sum();
            least.min((1.0 - told).max(ROUNDING).ln())
        })
    }

    /// Σ p · ln(p / q) over the tokens told, with all others as one. By the log sum inequality it is never above the sum over
    /// the vocabulary. `log` is that of p; `next` the token that comes in the text.
    pub(super) fn divergence(&self, next: u32, log: impl Fn(u32) -> f64) -> f64 {
        let own = self.next.filter(|_| self.top.iter().all(|(id, _)| *id != next)).map(|log| (next, log));
        let (mut sum, mut p_rest, mut q_rest) = (0.0, 1.0, 1.0);
        for (id, log_q) in self.top.iter().copied().chain(own) {
            let log_p = log(id);
            let p = log_p.exp();
            if p > 0.0 {
                sum += p * (log_p - log_q);
            }
            (p_rest, q_rest) = (p_rest - p, q_rest - log_q.exp());
        }
        // A rest that rounding may have made is taken for as large as it may be: the bound stays one.
        let q_rest = q_rest.max(ROUNDING);
        if p_rest > 0.0 { sum + p_rest * (p_rest / q_rest).ln() } else { sum }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_distribution_is_refused_in_words() {
        for (next, top, says) in [
            (None, vec![], "no probable token"),
            (None, vec![(1, f64::NAN)], "NaN"),
            (Some(0.5), vec![(1, -1.0)], "0.5"),
            (None, vec![(1, f64::NEG_INFINITY)], "-inf"),
            (None, vec![(1, -0.1), (2, -0.1)], "add up to 1.810"),
        ] {
            let error = KnownPlace::new(next, top).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    /// Oracle: the definition. The whole vocabulary told is the whole divergence, and of itself it is 0.
    #[test]
    fn the_whole_vocabulary_told_is_the_divergence() {
        let (p, q) = ([0.7f64, 0.2, 0.1], [0.1f64, 0.3, 0.6]);
        let place = KnownPlace::new(None, (0..).zip(q.map(f64::ln)).collect()).unwrap();
        assert_eq!(place.likeliest(), 2);
        let whole: f64 = p.iter().zip(q).map(|(p, q)| p * (p / q).ln()).sum();
        assert!((place.divergence(0, |id| p[id as usize].ln()) - whole).abs() < 1e-12);
        assert!(place.divergence(0, |id| q[id as usize].ln()).abs() < 1e-12);
        // A probability of nothing, as llama.cpp writes it, and tokens that the other side does not have.
        let place = KnownPlace::new(Some(-3.4e38), vec![(0, -1e-7), (9, -40.0)]).unwrap();
        let log = |id: u32| if id == 0 { 0.0 } else { f64::NEG_INFINITY };
        assert!(place.divergence(5, log).abs() < 1e-6);
    }
}
