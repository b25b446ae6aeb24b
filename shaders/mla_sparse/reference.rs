//! The formula, in f64.

use super::{MlaSparse, SPLIT, keys};
use crate::common;
use crate::kernel::floats;

/// What the kernel reads.
pub(super) struct Inputs<'a> {
    kernel: &'a MlaSparse,
    q: &'a [f32],
    qa: &'a [f32],
    cache: Vec<&'a [u32]>,
    selected: &'a [u32],
    step: &'a [u32],
}

impl<'a> Inputs<'a> {
    /// Names for the words of slots, in the order of the interface.
    pub(super) fn new(kernel: &'a MlaSparse, reads: &[&'a [u32]]) -> Self {
        let (q, qa) = (floats(reads[0]), floats(reads[1]));
        Inputs { kernel, q, qa, cache: kernel.cache.among(reads, 2), selected: reads[3], step: reads[4] }
    }

    /// The cache rows of a token's keys, in order: latents and rotated key.
    pub(super) fn keys(&self, t: u32) -> Vec<Vec<f32>> {
        let kernel = self.kernel;
        let [_, position, sequence, _] = common::step_entry(self.step, 1 + t);
        let row = kernel.row();
        (0..keys(kernel.k, position + 1))
            .map(|j| if kernel.k > 0 { self.selected[(t * kernel.k + j) as usize] } else { j })
            .map(|position| kernel.pages.row(self.step, sequence, position))
            .map(|place| kernel.cache.read(&row, &self.cache, place))
            .collect()
    }

    /// scale · Σ term(query, key) of one head for each key; `term` is the product, or its magnitude.
    pub(super) fn scores(&self, t: u32, head: u32, keys: &[Vec<f32>], term: impl Fn(f64, f64) -> f64) -> Vec<f64> {
        let kernel = self.kernel;
        let (rank, rope) = (kernel.kv_lora_rank as usize, kernel.rope_dim as usize);
        let latent = &self.qa[(t * kernel.heads + head) as usize * rank..][..rank];
        let at = t * kernel.q_stride + kernel.q_offset + head * kernel.head_stride + kernel.nope_dim;
        let rotated = &self.q[at as usize..][..rope];
        let query: Vec<f64> = latent.iter().chain(rotated).map(|&x| f64::from(x)).collect();
        keys.iter()
            .map(|key| {
                let sum: f64 = query.iter().zip(key).map(|(&q, &k)| term(q, f64::from(k))).sum();
                sum * f64::from(kernel.scale)
            })
            .collect()
    }
}

/// The output of one token: normalised, or the state of each split.
pub(super) fn token(kernel: &MlaSparse, inputs: &Inputs<'_>, local: u32, out: &mut [f32]) {
    let t = kernel.first_token + local;
    let rank = kernel.kv_lora_rank as usize;
    let keys = inputs.keys(t);
    for head in 0..kernel.heads {
        let scores = inputs.scores(t, head, &keys, |q, k| q * k);
        if kernel.split {
            let splits = scores.chunks(SPLIT as usize).zip(keys.chunks(SPLIT as usize));
            for (split, (scores, keys)) in (0..kernel.splits).zip(splits) {
                let row = (local * kernel.splits + split) * kernel.heads + head;
                let out = &mut out[row as usize * (rank + 2)..][..rank + 2];
                let (m, l) = weighted(scores, keys, 1.0, &mut out[..rank]);
                (out[rank], out[rank + 1]) = (m as f32, l as f32);
            }
        } else {
            let (_, l) = weighted(&scores, &keys, 1.0, &mut []);
            weighted(&scores, &keys, l, &mut out[(t * kernel.heads + head) as usize * rank..][..rank]);
        }
    }
}

/// out = Σ exp(s − m)·c / divisor; returns the largest score m and Σ exp(s − m).
fn weighted(scores: &[f64], keys: &[Vec<f32>], divisor: f64, out: &mut [f32]) -> (f64, f64) {
    let m = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sums = vec![0f64; out.len()];
    let mut l = 0.0;
    for (score, key) in scores.iter().zip(keys) {
        let p = (score - m).exp();
        l += p;
        sums.iter_mut().zip(key).for_each(|(sum, &c)| *sum += p * f64::from(c));
    }
    out.iter_mut().zip(sums).for_each(|(out, sum)| *out = (sum / divisor) as f32);
    (m, l)
}
