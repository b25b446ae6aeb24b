//! The formula, in f64.

use crate::common::sigmoid;

pub(super) fn swiglu(gate: &[f32], up: &[f32], y: &mut [f32]) {
    for ((y, &gate), &up) in y.iter_mut().zip(gate).zip(up) {
        let gate = f64::from(gate);
        *y = (gate * sigmoid(gate) * f64::from(up)) as f32;
    }
}
