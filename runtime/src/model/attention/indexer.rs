//! The lightning indexer: scores every visible position cheaply, keeps the best `index_topk`.

use lyn_shaders::Slot;
use lyn_shaders::index_key_write::IndexKeyWrite;
use lyn_shaders::index_score::IndexScore;
use lyn_shaders::topk::TopK;

use super::tensors::Indexer;
use crate::model::cache::CacheTensor;
use crate::model::dims::IndexerDims;
use crate::model::recorder::{StepRecorder, queries_at_once};
use crate::record::{Columns, SCORES, SELECTED};

/// eps of the key's LayerNorm: a constant of the architecture.
const KEY_NORM_EPS: f32 = 1e-6;

/// The indexer's projections, where attention's layers made them.
pub(super) struct Inputs {
    /// `[tokens, index_n_heads, index_head_dim]`, rotated
    pub(super) queries: Columns,
    /// `[tokens, index_head_dim]`
    pub(super) key: Columns,
    /// `[tokens, index_n_heads]`
    pub(super) head_weights: Columns,
}

/// Which positions attention reads, and why.
#[derive(Clone, Copy, Debug)]
pub(super) struct Selected {
    /// `[tokens, index_topk]`, positions ascending.
    pub(super) list: Columns,
    /// `[tokens, length]` where something is tapped; else of the last tokens only.
    scores: Columns,
}

impl Selected {
    /// Shows the choice in the layer that reads by it.
    pub(super) fn tap(&self, r: &mut StepRecorder<'_>) {
        r.tap(SCORES, self.scores);
        r.tap(SELECTED, self.list);
    }
}

/// Writes this step's index keys; returns the selection where something has to be left out.
pub(super) fn select(
    r: &mut StepRecorder<'_>,
    indexer: &IndexerDims,
    weights: &Indexer,
    inputs: &Inputs,
) -> Option<Selected> {
    write_keys(r, indexer, weights, inputs.key);
    r.tap("idx_q", inputs.queries);
    r.tap("idx_w", inputs.head_weights);
    match r.shape.index_topk {
        Some(k) if r.shape.select => Some(choose(r, indexer, weights.keys, inputs, k)),
        _ => None, // every visible position is kept
    }
}

/// cache[position] = rope(layer_norm(key))
fn write_keys(r: &mut StepRecorder<'_>, indexer: &IndexerDims, weights: &Indexer, key: Columns) {
    r.push(IndexKeyWrite {
        k: key.slot,
        weight: weights.key_norm,
        bias: weights.key_norm_bias,
        table: r.slots.rope_table,
        step: r.slots.step,
        pages: r.slots.pages,
        cache: weights.keys.parts,
        stride: key.stride,
        offset: key.first,
        head_dim: indexer.head_dim,
        pairs: r.dims.rope_pairs,
        interleaved: indexer.rope_interleave,
        eps: KEY_NORM_EPS,
        cache_type: weights.keys.row.cache_type,
    });
}

/// The k best of score[position] = Σ_head weight · relu(query · key), for as many tokens at a time as scores have room for.
fn choose(r: &mut StepRecorder<'_>, indexer: &IndexerDims, keys: CacheTensor, inputs: &Inputs, k: u32) -> Selected {
    let (tokens, length) = (r.shape.tokens, r.shape.length);
    let list = r.tokens(k);
    // What is to be looked at is one tensor.
    let max_tokens = if r.is_tapped() { tokens } else { queries_at_once(tokens, u64::from(length)) };
    let scores: Slot = r.scratch(max_tokens, length); // [max_tokens, length]
    for first_token in (0..tokens).step_by(max_tokens as usize) {
        r.push(IndexScore {
            q: inputs.queries.slot,
            w: inputs.head_weights.slot,
            cache: keys.parts,
            step: r.slots.step,
            pages: r.slots.pages,
            scores,
            q_stride: inputs.queries.stride,
            q_offset: inputs.queries.first,
            w_stride: inputs.head_weights.stride,
            w_offset: inputs.head_weights.first,
            heads: indexer.heads,
            head_dim: indexer.head_dim,
            scale: indexer.scale,
            score_stride: length,
            first_token,
            max_tokens,
            cache_type: keys.row.cache_type,
        });
        r.push(TopK {
            scores,
            step: r.slots.step,
            selected: list.slot,
            k,
            score_stride: length,
            first_token,
            max_tokens,
        });
    }
    Selected { list, scores: Columns::whole(scores, list.rows, length) }
}
