//! The formula, in f64.

use super::AttentionWeights;
use crate::common;
use crate::kernel::floats;

/// What the kernel reads.
pub(super) struct Inputs<'a> {
    kernel: &'a AttentionWeights,
    q: &'a [f32],
    qa: &'a [f32],
    cache: Vec<&'a [u32]>,
    step: &'a [u32],
}

impl<'a> Inputs<'a> {
    /// Names for the words of slots, in the order of the interface.
    pub(super) fn new(kernel: &'a AttentionWeights, reads: &[&'a [u32]]) -> Self {
        let (q, qa) = (floats(reads[0]), floats(reads[1]));
        Inputs { kernel, q, qa, cache: kernel.cache.among(reads, 2), step: reads[3] }
    }

    /// scale · Σ term(query, key) of one head for each visible position; `term` is the product, or its magnitude.
    pub(super) fn scores(&self, t: u32, head: u32, term: impl Fn(f64, f64) -> f64) -> Vec<f64> {
        let kernel = self.kernel;
        let (rank, rope) = (kernel.kv_lora_rank as usize, kernel.rope_dim as usize);
        let latent = &self.qa[(t * kernel.heads + head) as usize * rank..][..rank];
        let at = t * kernel.q_stride + kernel.q_offset + head * kernel.head_stride + kernel.nope_dim;
        let query: Vec<f64> = latent.iter().chain(&self.q[at as usize..][..rope]).map(|&x| f64::from(x)).collect();
        let [_, own, sequence, _] = common::step_entry(self.step, 1 + t);
        let row = kernel.row();
        let score = |position| {
            let place = kernel.pages.row(self.step, sequence, position);
            let key = kernel.cache.read(&row, &self.cache, place);
            let sum: f64 = query.iter().zip(&key).map(|(&q, &k)| term(q, f64::from(k))).sum();
            sum * f64::from(kernel.scale)
        };
        (0..=own).map(score).collect()
    }

    /// The weights of one token's visible positions; later elements of `out` stay.
    pub(super) fn weights(&self, t: u32, out: &mut [f32]) {
        let kernel = self.kernel;
        let mut mean: Vec<f64> = Vec::new();
        for head in kernel.heads() {
            let weights = softmax(&self.scores(t, head, |q, k| q * k));
            mean.resize(weights.len(), 0.0);
            mean.iter_mut().zip(weights).for_each(|(mean, weight)| *mean += weight / f64::from(kernel.heads));
        }
        for (out, weight) in out.iter_mut().zip(mean) {
            let before = if kernel.first_head == 0 { 0.0 } else { f64::from(*out) };
            *out = (before + weight) as f32;
        }
    }
}

/// exp(s) / Σ exp(s).
pub(super) fn softmax(scores: &[f64]) -> Vec<f64> {
    let m = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exps: Vec<f64> = scores.iter().map(|score| (score - m).exp()).collect();
    let sum: f64 = exps.iter().sum();
    exps.into_iter().map(|exp| exp / sum).collect()
}
