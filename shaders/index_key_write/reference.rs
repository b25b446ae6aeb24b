//! The formula, in f64.

use crate::common::{pair_places, rotate, turn};

pub(super) fn layer_norm(k: &[f32], weight: &[f32], bias: &[f32], eps: f32) -> Vec<f64> {
    let (mean, variance) = moments(k);
    let scale = 1.0 / (variance + f64::from(eps)).sqrt();
    let scaled = k.iter().map(|&k| (f64::from(k) - mean) * scale);
    scaled.zip(weight).zip(bias).map(|((x, &w), &b)| x * f64::from(w) + f64::from(b)).collect()
}

/// Mean and biased variance.
pub(super) fn moments(k: &[f32]) -> (f64, f64) {
    let count = k.len() as f64;
    let mean = k.iter().map(|&k| f64::from(k)).sum::<f64>() / count;
    (mean, k.iter().map(|&k| (f64::from(k) - mean).powi(2)).sum::<f64>() / count)
}

/// Rotates the first dims; `turns` are (cos, sin) of each pair.
pub(super) fn rope(x: &mut [f64], turns: &[f32], interleaved: bool) {
    let pairs = turns.len() as u32 / 2;
    for pair in 0..pairs {
        let (a, b) = pair_places(pair, pairs, interleaved);
        (x[a], x[b]) = rotate(x[a], x[b], turn(turns, pairs, 0, pair));
    }
}
