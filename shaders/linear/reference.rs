//! The formula, in f64; `term` is the product, or its magnitude where a bound is wanted.

use super::Linear;
use crate::format::{BLOCK, Format};

pub(super) fn linear(
    linear: &Linear,
    tokens: u32,
    x: &[f32],
    weight: &[u32],
    scales: &[f32],
    y: &mut [f32],
    term: impl Fn(f64, f64) -> f64,
) {
    let panels = &linear.panels;
    let mut row_weights = vec![0f64; panels.columns as usize];
    for group in 0..panels.groups {
        for row in 0..panels.rows {
            decode_row(linear, weight, scales, group, row, &mut row_weights);
            for t in 0..tokens {
                let start = t * linear.x_stride + linear.x_offset + group * linear.x_group;
                let inputs = &x[start as usize..][..row_weights.len()];
                let sum: f64 = row_weights.iter().zip(inputs).map(|(&w, &x)| term(w, f64::from(x))).sum();
                let at = (t * linear.y_stride + linear.y_offset + group * linear.y_group + row) as usize;
                y[at] = if linear.accumulate { (f64::from(y[at]) + sum) as f32 } else { sum as f32 };
            }
        }
    }
}

/// All weights of one row, scaled: piece by piece, since the host runs whole models through here.
fn decode_row(linear: &Linear, weight: &[u32], scales: &[f32], group: u32, row: u32, out: &mut [f64]) {
    let panels = &linear.panels;
    for (start, piece) in
        (0..).step_by(panels.format.piece() as usize).zip(out.chunks_mut(panels.format.piece() as usize))
    {
        let scale = match panels.format {
            Format::Fp8 => f64::from(scales[crate::format::index(panels.scale_index(group, row, start))]),
            _ => 1.0,
        };
        debug_assert!(BLOCK.is_multiple_of(panels.format.piece()));
        let at = crate::format::index(panels.piece_offset(group, row, start) / 4);
        for (i, out) in piece.iter_mut().enumerate() {
            *out = scale * panels.format.decode(&weight[at..at + 4], i);
        }
    }
}
