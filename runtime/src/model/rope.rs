//! Rotary tables from f64 on the host: WGSL's sin and cos have no bound on their error beyond ±π.

use crate::checkpoint::Yarn;

/// Rotary embedding.
#[derive(Clone, Debug)]
pub struct RopeDims {
    /// Pairs of rotated dims.
    pub pairs: u32,
    /// Base of the frequencies.
    pub theta: f64,
    /// YaRN's stretching of the context.
    pub yarn: Option<Yarn>,
}

/// Rotary frequencies of the pairs, and the factor on cos and sin (config `rope_scaling`; YaRN, arXiv 2309.00071).
pub(crate) fn frequencies(rope: &RopeDims) -> (Vec<f64>, f64) {
    let dim = f64::from(rope.pairs) * 2.0;
    let base = |j: u32| rope.theta.powf(-2.0 * f64::from(j) / dim);
    let Some(yarn) = &rope.yarn else {
        return ((0..rope.pairs).map(base).collect(), 1.0);
    };
    let original = f64::from(yarn.original_max_position_embeddings);
    let correction =
        |rotations: f64| dim * (original / (2.0 * std::f64::consts::PI * rotations)).ln() / (2.0 * rope.theta.ln());
    let low = correction(yarn.beta_fast).floor().max(0.0);
    let mut high = correction(yarn.beta_slow).ceil().min(dim - 1.0);
    if low == high {
        high += 0.001;
    }
    let frequency = |j: u32| {
        let ramp = ((f64::from(j) - low) / (high - low)).clamp(0.0, 1.0);
        base(j) * (1.0 - ramp) + base(j) / yarn.factor * ramp
    };
    ((0..rope.pairs).map(frequency).collect(), amplitude(yarn))
}

fn mscale(factor: f64, mscale: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { 0.1 * mscale * factor.ln() + 1.0 }
}

/// YaRN's factor on cos and sin.
fn amplitude(yarn: &Yarn) -> f64 {
    let given = |value: Option<f64>| value.filter(|&value| value != 0.0);
    match (yarn.attention_factor, given(yarn.mscale), given(yarn.mscale_all_dim)) {
        (Some(factor), ..) => factor,
        (None, Some(one), Some(all)) => mscale(yarn.factor, one) / mscale(yarn.factor, all),
        _ => mscale(yarn.factor, 1.0),
    }
}

/// YaRN's factor on attention scores.
pub(crate) fn score_factor(yarn: &Yarn) -> f64 {
    yarn.mscale_all_dim.filter(|&all| all != 0.0).map_or(1.0, |all| mscale(yarn.factor, all).powi(2))
}

/// Rows `first..first + positions` of the table `[position, pair]` of (cos, sin).
pub(crate) fn table(rope: &RopeDims, first: u32, positions: u32) -> Vec<f32> {
    let (frequencies, amplitude) = frequencies(rope);
    let mut table = Vec::with_capacity(positions as usize * frequencies.len() * 2);
    for position in first..first + positions {
        for frequency in &frequencies {
            let (sin, cos) = (f64::from(position) * frequency).sin_cos();
            #[expect(clippy::cast_possible_truncation, reason = "the table is f32")]
            table.extend([(cos * amplitude) as f32, (sin * amplitude) as f32]);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::{RopeDims, frequencies};
    use crate::checkpoint::Yarn;

    /// The check values for the published V3.2 config: theta 10000, factor 40, original length 4096.
    #[test]
    fn yarn_frequencies_of_the_published_config() {
        let yarn = Yarn {
            factor: 40.0,
            original_max_position_embeddings: 4096,
            beta_fast: 32.0,
            beta_slow: 1.0,
            mscale: Some(1.0),
            mscale_all_dim: Some(1.0),
            attention_factor: None,
        };
        let (f, amplitude) = frequencies(&RopeDims { pairs: 32, theta: 10_000.0, yarn: Some(yarn) });
        let expected = [
            (0, 1.0),
            (9, 0.074_989_4),
            (11, 0.039_006_9),
            (12, 0.026_879_4),
            (16, 0.0055),
            (23, 3.333_8e-5),
            (31, 3.333_8e-6),
        ];
        for (j, value) in expected {
            assert!((f[j] / value - 1.0).abs() < 1e-5, "pair {j}: {} against {value}", f[j]);
        }
        assert_eq!(amplitude, 1.0);
    }
}
