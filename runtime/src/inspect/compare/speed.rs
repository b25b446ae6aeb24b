//! How fast both sides are after more and more tokens, and from where on one of them is the faster.

use serde::Serialize;

use super::Pair;
use crate::error::Result;
use crate::inspect::bench::{self, BenchOptions};

/// Tokens of the prompt that is read at each depth.
pub const PROMPT: u32 = 128;
/// Tokens that are decoded at each depth.
const DECODED: u32 = 16;
const REPETITIONS: u32 = 2;

/// Speeds after so many tokens, in tokens per second.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SpeedRow {
    /// Tokens before.
    pub depth: u32,
    /// Reading a prompt, on each side.
    pub prompt: [f64; 2],
    /// Decoding, on each side.
    pub decode: [f64; 2],
}

impl Pair<'_> {
    /// Measures every side that runs here after `depth` tokens.
    ///
    /// # Errors
    /// `context_overflow` where a context does not hold them; faults of the devices.
    pub async fn speeds(&mut self, depth: u32) -> Result<SpeedRow> {
        let mut row = SpeedRow { depth, prompt: [0.0; 2], decode: [0.0; 2] };
        let (prompts, generate) = (vec![PROMPT], vec![DECODED]);
        let (depths, repetitions) = (vec![depth], REPETITIONS);
        let options = BenchOptions { prompts, generate, depths, repetitions, outside_passes: false };
        for side in 0..self.sides() {
            let found = bench::run(self.engine(side), &options).await?;
            if let [prompt, decode] = &found.rows[..] {
                (row.prompt[side], row.decode[side]) = (prompt.tokens_per_second, decode.tokens_per_second);
            }
        }
        Ok(row)
    }
}

/// The depth from which on one speed stays above another: none where it is not above at the last depth measured. `ratios`: depths in
/// ascending order, and how many times as fast it is there. Between two depths the logarithm of the ratio is taken for a straight
/// line.
pub fn crossover(ratios: &[(u32, f64)]) -> Option<f64> {
    let slower = ratios.iter().rposition(|(_, ratio)| *ratio <= 1.0);
    let Some(slower) = slower else { return ratios.first().map(|(depth, _)| f64::from(*depth)) };
    let (&(left, below), &(right, above)) = (ratios.get(slower)?, ratios.get(slower + 1)?);
    let (left, right, below, above) = (f64::from(left), f64::from(right), below.ln(), above.ln());
    Some(left + (right - left) * (-below / (above - below)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Oracle: by hand.
    #[test]
    fn a_crossover_lies_between_the_depths_around_it() {
        assert_eq!(crossover(&[(0, 0.5), (1000, 0.5), (3000, 2.0)]), Some(2000.0), "half as fast, then twice");
        assert_eq!(crossover(&[(0, 1.0), (512, 4.0)]), Some(0.0), "equal is not yet faster");
        assert_eq!(crossover(&[(0, 1.2), (512, 1.5)]), Some(0.0), "faster everywhere");
        assert_eq!(crossover(&[(0, 1.2), (512, 0.5), (1024, 2.0)]), Some(768.0), "the last time counts");
        assert_eq!(crossover(&[(0, 1.2), (512, 0.9)]), None);
        assert_eq!(crossover(&[]), None);
    }
}
