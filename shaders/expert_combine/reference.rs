//! The formula, in f64.

/// x += Σ weights[i] · y[i] for one token.
pub(super) fn combine(weights: &[f32], y: &[f32], x: &mut [f32]) {
    for (column, x) in x.iter_mut().enumerate() {
        let rows = y[column..].iter().step_by(y.len() / weights.len());
        let sum: f64 = weights.iter().zip(rows).map(|(&weight, &y)| f64::from(weight) * f64::from(y)).sum();
        *x = (f64::from(*x) + sum) as f32;
    }
}
