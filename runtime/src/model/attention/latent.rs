//! Multi-head latent attention in the absorbed form: queries meet cached latents; no per-head key or value exists.

use lyn_shaders::Slot;
use lyn_shaders::absorb::Absorb;
use lyn_shaders::attention_weights::{self, AttentionWeights as WeighAll};
use lyn_shaders::cache_write::CacheWrite;
use lyn_shaders::mla_combine::MlaCombine;
use lyn_shaders::mla_sparse::{self, MlaSparse};
use lyn_shaders::rope::{Rope, RopeSegment};

use super::indexer::{self, Inputs, Selected};
use super::tensors::{KeyUp, Latent};
use crate::model::cache::CacheTensor;
use crate::model::dims::IndexerDims;
use crate::model::recorder::{StepRecorder, queries_at_once};
use crate::record::{Columns, WEIGHTS};

/// eps of the two latent norms: a constant of the architecture, not the config's `rms_norm_eps`.
const LATENT_EPS: f32 = 1e-6;
/// Workgroups that occupy a large GPU.
const SPREAD_GROUPS: u32 = 256;
/// Scratch for the partial results of one query beyond which keys are not spread.
const SPREAD_BYTES: u64 = 32 << 20;

/// x += attention(normed). Writes the cache rows of this step's tokens first, then reads the selected ones. `selected` is that
/// of the nearest layer before with an indexer, and stays for those behind.
pub(super) fn attention(
    r: &mut StepRecorder<'_>,
    w: &Latent,
    normed: Columns,
    x: Columns,
    selected: &mut Option<Selected>,
) {
    let down = r.linear(normed, &w.down); // [tokens, q latent or q | kv latent, rope key | index key, head weights]
    let up = match &w.up {
        Some(up) => {
            let latent = r.norm_with(down.part(w.query), up.norm, LATENT_EPS); // [tokens, q_lora_rank]
            r.tap("q_latent", latent);
            r.linear(latent, &up.matrix) // [tokens, q | index q]
        }
        None => down,
    };
    let q = up.part(w.up.as_ref().map_or(w.query, |up| up.query)); // [tokens, heads, qk_head_dim]
    let inputs = w.indexer.as_ref().map(|it| Inputs {
        queries: up.part(it.query),               // [tokens, index_n_heads, index_head_dim]
        key: down.part(it.key),                   // [tokens, index_head_dim]
        head_weights: down.part(it.head_weights), // [tokens, index_n_heads]
    });
    write_cache(r, w.latents, down.part(w.kv), w.kv_norm);
    let indexer = r.dims.indexer.as_ref();
    rope(r, q, indexer.zip(inputs.as_ref()));
    r.tap("q", q);
    if let (Some(sizes), Some(weights), Some(inputs)) = (indexer, &w.indexer, &inputs) {
        *selected = indexer::select(r, sizes, weights, inputs); // [tokens, index_topk], positions
    }
    if let Some(selected) = selected {
        selected.tap(r);
    }
    let absorbed = absorb(r, q, &w.key_up); // [tokens, heads, kv_lora_rank]
    let read = Reading { q, absorbed, latents: w.latents, selected: selected.map(|it| it.list) };
    if r.weighs() {
        weigh(r, &read);
    }
    let attended = attend(r, &read); // [tokens, heads, kv_lora_rank]
    let values = r.linear(attended, &w.value_up); // [tokens, heads, v_head_dim]
    r.add_linear(values, &w.output, x); // [tokens, hidden_size]
}

/// cache[position] = norm(latent) | rope(key)
fn write_cache(r: &mut StepRecorder<'_>, latents: CacheTensor, kv: Columns, norm: Slot) {
    r.push(CacheWrite {
        kv: kv.slot,
        weight: norm,
        table: r.slots.rope_table,
        step: r.slots.step,
        pages: r.slots.pages,
        cache: latents.parts,
        stride: kv.stride,
        offset: kv.first,
        kv_lora_rank: r.dims.kv_lora_rank,
        pairs: r.dims.rope_pairs,
        interleaved: r.dims.rope_interleave,
        eps: LATENT_EPS,
        cache_type: latents.row.cache_type,
    });
}

/// Rotates the queries in place, the indexer's beside attention's.
fn rope(r: &mut StepRecorder<'_>, q: Columns, indexer: Option<(&IndexerDims, &Inputs)>) {
    let queries = RopeSegment {
        offset: q.first,
        heads: r.dims.heads,
        head_stride: r.dims.q_head_dim(),
        rope_offset: r.dims.qk_nope_head_dim,
        interleaved: r.dims.rope_interleave,
    };
    let index_queries = indexer.map_or(RopeSegment::NONE, |(indexer, inputs)| RopeSegment {
        offset: inputs.queries.first,
        heads: indexer.heads,
        head_stride: indexer.head_dim,
        rope_offset: 0,
        interleaved: indexer.rope_interleave,
    });
    r.push(Rope {
        x: q.slot,
        table: r.slots.rope_table,
        step: r.slots.step,
        stride: q.stride,
        pairs: r.dims.rope_pairs,
        segments: [queries, index_queries],
    });
}

/// Each head's query through its key rows of `kv_b_proj`: what meets a latent as the query would meet its key.
fn absorb(r: &mut StepRecorder<'_>, q: Columns, key_up: &KeyUp) -> Columns {
    let key_up = match key_up {
        KeyUp::Transposed(weights) => return r.linear_of_groups(q, weights, r.dims.q_head_dim()),
        KeyUp::Rows(table) => table,
    };
    // Groups of many rows have their scales in the table of all of kv_b_proj, values included.
    let values = if key_up.encoding.group.rows > 1 { r.dims.v_head_dim } else { 0 };
    let y = r.tokens(r.dims.heads * r.dims.kv_lora_rank);
    r.push(Absorb {
        q: q.slot,
        weight: key_up.weight,
        scales: key_up.scales,
        y: y.slot,
        q_stride: q.stride,
        q_offset: q.first,
        head_stride: r.dims.q_head_dim(),
        heads: r.dims.heads,
        nope_dim: r.dims.qk_nope_head_dim,
        kv_lora_rank: r.dims.kv_lora_rank,
        scale_rows: r.dims.qk_nope_head_dim + values,
        encoding: key_up.encoding,
        capacity: r.shape.tokens,
    });
    y
}

struct Reading {
    /// `[tokens, heads, qk_head_dim]`
    q: Columns,
    /// `[tokens, heads, kv_lora_rank]`
    absorbed: Columns,
    /// The layer's latents with their rope keys.
    latents: CacheTensor,
    /// `[tokens, index_topk]`, positions; none: all visible ones.
    selected: Option<Columns>,
}

/// Softmax-weighted latents of the selected positions, or of all visible ones.
fn attend(r: &mut StepRecorder<'_>, read: &Reading) -> Columns {
    let (dims, tokens) = (r.dims, r.shape.tokens);
    let out = r.tokens(read.absorbed.width);
    let k = read.selected.map_or(0, |selected| selected.width);
    let keys = if k == 0 { r.shape.length } else { k.min(r.shape.length) };
    let (splits, groups) = (mla_sparse::splits(keys), mla_sparse::groups(dims.heads));
    // Few queries leave a GPU idle unless their keys are spread over workgroups; many queries fill it without. Both ways
    // give the same bits, so that the choice may depend on the step.
    let row_words = u64::from(splits * dims.heads) * u64::from(dims.kv_lora_rank + 2);
    let split = splits > 1 && tokens * groups < SPREAD_GROUPS && row_words * 4 <= SPREAD_BYTES;
    let max_tokens = if split { queries_at_once(tokens, row_words) } else { tokens };
    let partial = match split {
        true => r.scratch(max_tokens, splits * dims.heads * (dims.kv_lora_rank + 2)),
        false => out.slot,
    };
    for first_token in (0..tokens).step_by(max_tokens as usize) {
        r.push(MlaSparse {
            q: read.q.slot,
            qa: read.absorbed.slot,
            cache: read.latents.parts,
            selected: read.selected.map_or(r.slots.step, |selected| selected.slot),
            step: r.slots.step,
            pages: r.slots.pages,
            out: partial,
            q_stride: read.q.stride,
            q_offset: read.q.first,
            head_stride: dims.q_head_dim(),
            nope_dim: dims.qk_nope_head_dim,
            heads: dims.heads,
            kv_lora_rank: dims.kv_lora_rank,
            rope_dim: dims.rope_pairs * 2,
            k,
            scale: dims.softmax_scale,
            first_token,
            max_tokens,
            split,
            splits,
            cache_type: read.latents.row.cache_type,
        });
        if split {
            r.push(MlaCombine {
                partial,
                step: r.slots.step,
                out: out.slot,
                heads: dims.heads,
                kv_lora_rank: dims.kv_lora_rank,
                k,
                splits,
                first_token,
                max_tokens,
            });
        }
    }
    out
}

/// What dense attention would weigh, whatever is selected: to be looked at.
fn weigh(r: &mut StepRecorder<'_>, read: &Reading) {
    let dims = r.dims;
    let weights = r.tokens(r.shape.length); // [tokens, length]
    for first_head in (0..dims.heads).step_by(attention_weights::HEADS as usize) {
        r.push(WeighAll {
            q: read.q.slot,
            qa: read.absorbed.slot,
            cache: read.latents.parts,
            step: r.slots.step,
            pages: r.slots.pages,
            out: weights.slot,
            q_stride: read.q.stride,
            q_offset: read.q.first,
            head_stride: dims.q_head_dim(),
            nope_dim: dims.qk_nope_head_dim,
            heads: dims.heads,
            first_head,
            kv_lora_rank: dims.kv_lora_rank,
            rope_dim: dims.rope_pairs * 2,
            scale: dims.softmax_scale,
            out_stride: weights.stride,
            cache_type: read.latents.row.cache_type,
        });
    }
    r.tap(WEIGHTS, weights);
}
