//! The formula, in f64; `term` is the product, or its magnitude where a bound is wanted.

use super::Linear;

pub(super) fn linear(
    linear: &Linear,
    tokens: u32,
    x: &[f32],
    weight: &[u32],
    scales: &[u32],
    y: &mut [f32],
    term: impl Fn(f64, f64) -> f64,
) {
    let panels = &linear.panels;
    let mut row_weights = vec![0f64; panels.columns as usize];
    for group in 0..panels.groups {
        for row in 0..panels.rows {
            panels.decode_row(weight, scales, 0, group, row, &mut row_weights);
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
