//! The formula, in f64.

use super::Linear;
use crate::bound::Terms;

pub(super) fn linear(
    linear: &Linear,
    tokens: u32,
    x: &[f32],
    weight: &[u32],
    scales: &[u32],
    y: &mut [f32],
    terms: Terms,
) {
    let panels = &linear.panels;
    let mut row_weights = vec![0f64; panels.columns as usize];
    for group in 0..panels.groups {
        for row in 0..panels.rows {
            panels.decode_row(weight, scales, (group, row), terms.weight(), &mut row_weights);
            for t in 0..tokens {
                let start = t * linear.x_stride + linear.x_offset + group * linear.x_group;
                let inputs = &x[start as usize..][..row_weights.len()];
                let sum: f64 = row_weights.iter().zip(inputs).map(|(&w, &x)| terms.of(w, f64::from(x))).sum();
                let at = (t * linear.y_stride + linear.y_offset + group * linear.y_group + row) as usize;
                y[at] = if linear.accumulate { (f64::from(y[at]) + sum) as f32 } else { sum as f32 };
            }
        }
    }
}
