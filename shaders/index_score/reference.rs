//! The formula, in f64, one key of one token at a time.

use super::IndexScore;
use crate::common;
use crate::index_key_write;
use crate::kernel::Extent;

pub(super) struct Inputs<'a> {
    pub(super) q: &'a [f32],
    pub(super) w: &'a [f32],
    pub(super) cache: Vec<&'a [u32]>,
    pub(super) step: &'a [u32],
}

/// Calls `each` with the place of a score and, for each head, w · scale, q · k and Σ |q| |k|.
pub(super) fn each_score(
    kernel: &IndexScore,
    extent: &Extent,
    inputs: &Inputs<'_>,
    mut each: impl FnMut(usize, &[(f64, f64, f64)]),
) {
    let (heads, head_dim) = (kernel.heads as usize, kernel.head_dim as usize);
    let mut terms = vec![(0.0, 0.0, 0.0); heads];
    let row = index_key_write::row(kernel.head_dim, kernel.cache_type);
    for local in 0..extent.tokens.saturating_sub(kernel.first_token).min(kernel.max_tokens) {
        let t = kernel.first_token + local;
        let q = &inputs.q[(t * kernel.q_stride + kernel.q_offset) as usize..][..heads * head_dim];
        let w = &inputs.w[(t * kernel.w_stride + kernel.w_offset) as usize..][..heads];
        for s in 0..=common::position(inputs.step, t) {
            let sequence = common::sequence(inputs.step, t);
            let place = kernel.pages.row(inputs.step, sequence, s);
            let key: Vec<f64> = kernel.cache.read(&row, &inputs.cache, place).into_iter().map(f64::from).collect();
            for ((term, q), &w) in terms.iter_mut().zip(q.chunks(head_dim)).zip(w) {
                let (mut product, mut magnitude) = (0.0, 0.0);
                for (&q, &k) in q.iter().zip(&key) {
                    product += f64::from(q) * k;
                    magnitude += (f64::from(q) * k).abs();
                }
                *term = (f64::from(w) * f64::from(kernel.scale), product, magnitude);
            }
            each((local * kernel.score_stride + s) as usize, &terms);
        }
    }
}
