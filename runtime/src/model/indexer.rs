//! The lightning indexer: scores every visible position cheaply, keeps the best `index_topk`.

use lyn_shaders::Slot;
use lyn_shaders::index_key_write::IndexKeyWrite;
use lyn_shaders::index_score::IndexScore;
use lyn_shaders::linear::Rows;
use lyn_shaders::topk::TopK;

use super::attention::queries_at_once;
use super::cache::LayerCache;
use super::dims::IndexerDims;
use super::weights::IndexerWeights;
use super::{Parts, Recorder, elements};
use crate::record::Taps;

/// eps of the key's LayerNorm: a constant of the architecture.
const KEY_NORM_EPS: f32 = 1e-6;

/// Where the indexer finds its projections: keys and head weights beside the latents, queries beside attention's.
pub(super) struct Inputs<'a> {
    pub(super) down: Slot,
    pub(super) down_stride: u32,
    /// Columns of `down`: q, kv, indexer key, head weights.
    pub(super) down_parts: &'a [u32],
    pub(super) q: Slot,
    pub(super) q_stride: u32,
    pub(super) q_offset: u32,
}

/// Which positions attention reads, and why.
#[derive(Clone, Copy, Debug)]
pub(super) struct Selected {
    /// `[tokens, index_topk]`, positions ascending.
    pub(super) list: Slot,
    /// `[tokens, length]` where something is tapped; else of the last tokens only.
    pub(super) scores: Slot,
}

/// Writes this step's index keys; returns the selection where something has to be left out.
pub(super) fn select(
    r: &mut Recorder,
    parts: Parts<'_>,
    sizes: &IndexerDims,
    weights: &IndexerWeights,
    cache: &LayerCache,
    inputs: &Inputs<'_>,
) -> Option<Selected> {
    let Parts { slots, shape, .. } = parts;
    let keys = cache.index_keys?;
    let pages_per_sequence = parts.cache.pages_per_sequence;
    r.push(IndexKeyWrite {
        k: inputs.down,
        weight: weights.key_norm,
        bias: weights.key_norm_bias,
        table: slots.rope_table,
        step: slots.step,
        pages: slots.pages,
        cache: keys,
        stride: inputs.down_stride,
        offset: inputs.down_parts[2],
        head_dim: sizes.head_dim,
        pairs: parts.dims.rope_pairs,
        interleaved: sizes.rope_interleave,
        eps: KEY_NORM_EPS,
        pages_per_sequence,
    });
    let (q_first, w_first) = (inputs.q_offset, inputs.down_parts[3]);
    r.tap("idx_q", inputs.q, Rows::Tokens, inputs.q_stride, q_first..q_first + sizes.heads * sizes.head_dim);
    r.tap("idx_w", inputs.down, Rows::Tokens, inputs.down_stride, w_first..w_first + sizes.heads);
    let k = shape.index_topk?;
    if !shape.select {
        return None; // every visible position is kept
    }
    let list = r.scratch(elements(shape.tokens, k));
    // What is to be looked at is one tensor.
    let max_tokens = match shape.taps {
        Taps::None => queries_at_once(shape.tokens, u64::from(shape.length)),
        _ => shape.tokens,
    };
    let scores = r.scratch(elements(max_tokens, shape.length)); // [max_tokens, length]
    for first_token in (0..shape.tokens).step_by(max_tokens as usize) {
        r.push(IndexScore {
            q: inputs.q,
            w: inputs.down,
            cache: keys,
            step: slots.step,
            pages: slots.pages,
            scores,
            q_stride: inputs.q_stride,
            q_offset: q_first,
            w_stride: inputs.down_stride,
            w_offset: w_first,
            heads: sizes.heads,
            head_dim: sizes.head_dim,
            scale: sizes.scale,
            score_stride: shape.length,
            first_token,
            max_tokens,
            pages_per_sequence,
        });
        r.push(TopK {
            scores,
            step: slots.step,
            selected: list,
            k,
            score_stride: shape.length,
            first_token,
            max_tokens,
        });
    }
    Some(Selected { list, scores })
}
