//! The formula, in f64, on the first dims of `x`; `turns` are (cos, sin) of each pair.

use crate::common::{pair_places, rotate, turn};

pub(super) fn rope(x: &mut [f32], turns: &[f32], interleaved: bool) {
    let pairs = turns.len() as u32 / 2;
    for pair in 0..pairs {
        let (a, b) = pair_places(pair, pairs, interleaved);
        let (rotated_a, rotated_b) = rotate(f64::from(x[a]), f64::from(x[b]), turn(turns, pairs, 0, pair));
        (x[a], x[b]) = (rotated_a as f32, rotated_b as f32);
    }
}
