//! Multi-head latent attention in the absorbed form: queries meet cached latents; no per-head key or value exists.

use lyn_shaders::Slot;
use lyn_shaders::absorb::Absorb;
use lyn_shaders::attention_weights::{self, AttentionWeights};
use lyn_shaders::cache_write::CacheWrite;
use lyn_shaders::linear::Rows;
use lyn_shaders::mla_combine::MlaCombine;
use lyn_shaders::mla_sparse::MlaSparse;
use lyn_shaders::rms_norm::RmsNorm;
use lyn_shaders::rope::{Rope, RopeSegment};

use super::cache::LayerCache;
use super::indexer::Selected;
use super::weights::LayerWeights;
use super::{Input, Parts, Recorder, elements, indexer, linear};
use crate::record::{SCORES, SELECTED, WEIGHTS};

/// Keys of one split of the selection.
const SPLIT: u32 = 128;
/// Partial results of attention and score rows are made for so many queries at a time that they stay below this.
pub(super) const QUERY_SCRATCH_BYTES: u64 = 32 << 20;
/// eps of the two latent norms: a constant of the architecture, not the config's `rms_norm_eps`.
const LATENT_EPS: f32 = 1e-6;

/// x += attention(normed). Writes the cache rows of this step's tokens first, then reads the selected ones.
pub(super) fn attention(
    r: &mut Recorder,
    parts: Parts<'_>,
    layer: &LayerWeights,
    cache: &LayerCache,
    normed: Slot,
    x: Slot,
    selected: &mut Option<Selected>,
) {
    let Parts { dims, shape, slots, .. } = parts;
    let w = &layer.attention;
    let down = r.scratch(elements(shape.tokens, w.down.width)); // [tokens, q latent or q | kv latent, rope key | indexer's]
    linear(r, shape, &w.down, Input::new(normed, dims.hidden_size), down, Rows::Tokens, false);

    // Queries: through the q latent, which the indexer shares, or directly.
    let (q, q_stride, q_offset, indexer_offset) = match (&w.up, dims.q_lora_rank) {
        (Some(up), Some(q_lora_rank)) => {
            let latent = r.scratch(elements(shape.tokens, q_lora_rank)); // [tokens, q_lora_rank]
            r.push(RmsNorm {
                x: down,
                weight: up.norm,
                y: latent,
                rows: Rows::Tokens,
                dim: q_lora_rank,
                x_stride: w.down.width,
                x_offset: w.down.parts[0],
                y_stride: q_lora_rank,
                y_offset: 0,
                eps: LATENT_EPS,
            });
            r.tap("q_latent", latent, Rows::Tokens, q_lora_rank, 0..q_lora_rank);
            let q = r.scratch(elements(shape.tokens, up.matrix.width)); // [tokens, q | indexer q]
            linear(r, shape, &up.matrix, Input::new(latent, q_lora_rank), q, Rows::Tokens, false);
            (q, up.matrix.width, up.matrix.parts[0], up.matrix.parts.get(1).copied())
        }
        _ => (down, w.down.width, w.down.parts[0], None),
    };

    r.push(CacheWrite {
        kv: down,
        weight: w.kv_norm,
        table: slots.rope_table,
        step: slots.step,
        pages: slots.pages,
        cache: cache.latents,
        stride: w.down.width,
        offset: w.down.parts[1],
        kv_lora_rank: dims.kv_lora_rank,
        pairs: dims.rope_pairs,
        interleaved: dims.rope_interleave,
        eps: LATENT_EPS,
        pages_per_sequence: parts.cache.pages_per_sequence,
    });
    let indexer = dims.indexer.as_ref().zip(w.indexer.as_ref());
    let queries = RopeSegment {
        offset: q_offset,
        heads: dims.heads,
        head_stride: dims.q_head_dim(),
        rope_offset: dims.qk_nope_head_dim,
        interleaved: dims.rope_interleave,
    };
    let index_queries = match (indexer, indexer_offset) {
        (Some((sizes, _)), Some(offset)) => RopeSegment {
            offset,
            heads: sizes.heads,
            head_stride: sizes.head_dim,
            rope_offset: 0,
            interleaved: sizes.rope_interleave,
        },
        _ => RopeSegment { offset: 0, heads: 0, head_stride: 0, rope_offset: 0, interleaved: false },
    };
    r.push(Rope {
        x: q,
        table: slots.rope_table,
        step: slots.step,
        stride: q_stride,
        pairs: dims.rope_pairs,
        segments: [queries, index_queries],
    });
    r.tap("q", q, Rows::Tokens, q_stride, q_offset..q_offset + dims.heads * dims.q_head_dim());

    if let (Some((sizes, weights)), Some(q_offset)) = (indexer, indexer_offset) {
        let inputs =
            indexer::Inputs { down, down_stride: w.down.width, down_parts: &w.down.parts, q, q_stride, q_offset };
        *selected = indexer::select(r, parts, sizes, weights, cache, &inputs);
    }
    if let (Some(selected), Some(k)) = (*selected, shape.index_topk) {
        r.tap(SCORES, selected.scores, Rows::Tokens, shape.length, 0..shape.length);
        r.tap(SELECTED, selected.list, Rows::Tokens, k, 0..k);
    }

    let width = dims.heads * dims.kv_lora_rank;
    let absorbed = r.scratch(elements(shape.tokens, width)); // [tokens, heads, kv_lora_rank]
    r.push(Absorb {
        q,
        weight: w.key_up.weight,
        scales: w.key_up.scales,
        y: absorbed,
        q_stride,
        q_offset,
        head_stride: dims.q_head_dim(),
        heads: dims.heads,
        nope_dim: dims.qk_nope_head_dim,
        kv_lora_rank: dims.kv_lora_rank,
        source_rows: dims.qk_nope_head_dim + dims.v_head_dim,
        encoding: w.key_up.encoding,
        capacity: shape.tokens,
    });
    let attended = r.scratch(elements(shape.tokens, width)); // [tokens, heads, kv_lora_rank]
    let read = Reading { q, q_stride, q_offset, absorbed, selected: selected.map(|it| it.list), attended };
    if r.weighs() {
        weigh(r, parts, cache, &read);
    }
    attend(r, parts, cache, &read);
    let values = r.scratch(elements(shape.tokens, w.value_up.width)); // [tokens, heads, v_head_dim]
    let latents = Input { x: attended, stride: width, offset: 0, group: dims.kv_lora_rank };
    linear(r, shape, &w.value_up, latents, values, Rows::Tokens, false);
    linear(r, shape, &w.output, Input::new(values, w.value_up.width), x, Rows::Tokens, true);
}

struct Reading {
    q: Slot,
    q_stride: u32,
    q_offset: u32,
    absorbed: Slot,
    selected: Option<Slot>,
    attended: Slot,
}

/// Softmax-weighted latents of the selected positions, or of all visible ones.
fn attend(r: &mut Recorder, parts: Parts<'_>, cache: &LayerCache, read: &Reading) {
    let Parts { dims, shape, slots, .. } = parts;
    let k = read.selected.and(shape.index_topk).unwrap_or(0);
    let keys = if k == 0 { shape.length } else { k.min(shape.length) };
    let splits = keys.div_ceil(SPLIT);
    let groups = dims.heads.div_ceil(8);
    // Few queries leave a GPU idle unless their keys are spread over workgroups; many queries fill it without. Both ways
    // give the same bits, so that the choice may depend on the step.
    let row_words = elements(splits * dims.heads, dims.kv_lora_rank + 2);
    let split = splits > 1 && shape.tokens * groups < SPREAD_GROUPS && row_words * 4 <= QUERY_SCRATCH_BYTES;
    let max_tokens = if split { queries_at_once(shape.tokens, row_words) } else { shape.tokens };
    let partial = if split { r.scratch(u64::from(max_tokens) * row_words) } else { read.attended };
    for first_token in (0..shape.tokens).step_by(max_tokens as usize) {
        r.push(MlaSparse {
            q: read.q,
            qa: read.absorbed,
            cache: cache.latents,
            selected: read.selected.unwrap_or(slots.step),
            step: slots.step,
            pages: slots.pages,
            out: partial,
            q_stride: read.q_stride,
            q_offset: read.q_offset,
            head_stride: dims.q_head_dim(),
            nope_dim: dims.qk_nope_head_dim,
            heads: dims.heads,
            kv_lora_rank: dims.kv_lora_rank,
            rope_dim: dims.rope_pairs * 2,
            k,
            scale: dims.softmax_scale,
            first_token,
            max_tokens,
            pages_per_sequence: parts.cache.pages_per_sequence,
            split,
            splits,
        });
        if split {
            r.push(MlaCombine {
                partial,
                step: slots.step,
                out: read.attended,
                heads: dims.heads,
                kv_lora_rank: dims.kv_lora_rank,
                k,
                splits,
                first_token,
                max_tokens,
            });
        }
    }
}

/// What dense attention would weigh, whatever is selected: to be looked at.
fn weigh(r: &mut Recorder, parts: Parts<'_>, cache: &LayerCache, read: &Reading) {
    let Parts { dims, shape, slots, .. } = parts;
    let weights = r.scratch(elements(shape.tokens, shape.length)); // [tokens, length]
    for first_head in (0..dims.heads).step_by(attention_weights::HEADS as usize) {
        r.push(AttentionWeights {
            q: read.q,
            qa: read.absorbed,
            cache: cache.latents,
            step: slots.step,
            pages: slots.pages,
            out: weights,
            q_stride: read.q_stride,
            q_offset: read.q_offset,
            head_stride: dims.q_head_dim(),
            nope_dim: dims.qk_nope_head_dim,
            heads: dims.heads,
            first_head,
            kv_lora_rank: dims.kv_lora_rank,
            rope_dim: dims.rope_pairs * 2,
            scale: dims.softmax_scale,
            out_stride: shape.length,
            pages_per_sequence: parts.cache.pages_per_sequence,
        });
    }
    r.tap(WEIGHTS, weights, Rows::Tokens, shape.length, 0..shape.length);
}

/// Workgroups that occupy a large GPU.
const SPREAD_GROUPS: u32 = 256;

/// Queries whose scratch of `words` each stays within 32 MiB.
#[must_use]
pub fn queries_at_once(tokens: u32, words: u64) -> u32 {
    let fit = QUERY_SCRATCH_BYTES / (words * 4).max(1);
    tokens.min(u32::try_from(fit).unwrap_or(u32::MAX)).max(1)
}
