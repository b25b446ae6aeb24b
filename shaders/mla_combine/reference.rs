//! The formula, in f64; `term` is the value, or its magnitude where a bound is wanted.

use super::MlaCombine;
use crate::common;
use crate::mla_sparse::{keys, splits};

pub(super) fn combine(
    combine: &MlaCombine,
    tokens: u32,
    partial: &[f32],
    step: &[u32],
    out: &mut [f32],
    term: impl Fn(f64) -> f64,
) {
    let rank = combine.kv_lora_rank as usize;
    for local in 0..tokens {
        let t = combine.first_token + local;
        let [_, position, ..] = common::step_entry(step, 1 + t);
        let splits = splits(keys(combine.k, position + 1)).min(combine.splits);
        for head in 0..combine.heads {
            let states: Vec<&[f32]> = (0..splits)
                .map(|split| ((local * combine.splits + split) * combine.heads + head) as usize * (rank + 2))
                .map(|at| &partial[at..][..rank + 2])
                .collect();
            let m = states.iter().map(|state| f64::from(state[rank])).fold(f64::NEG_INFINITY, f64::max);
            let mut sums = vec![0f64; rank];
            let mut l = 0.0;
            for state in states {
                let weight = (f64::from(state[rank]) - m).exp();
                l += weight * f64::from(state[rank + 1]);
                sums.iter_mut().zip(state).for_each(|(sum, &o)| *sum += weight * term(f64::from(o)));
            }
            let out = &mut out[(t * combine.heads + head) as usize * rank..][..rank];
            out.iter_mut().zip(sums).for_each(|(out, sum)| *out = (sum / l) as f32);
        }
    }
}
