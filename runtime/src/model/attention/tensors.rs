//! What latent attention has in memory: which tensors of a checkpoint, by name, and which rows of the cache.

use lyn_shaders::{Slot, cache_write, index_key_write};

use crate::checkpoint::names;
use crate::error::Result;
use crate::layout::{Layout, LinearWeights, StoredRows, TableShard};
use crate::model::cache::{CacheRoom, CacheTensor};
use crate::model::dims::Dims;
use crate::record::ColumnRange;

/// Multi-head latent attention: its weights, and its rows of the cache.
#[derive(Clone, Debug)]
pub struct Latent {
    /// From the normed hidden: `q_a_proj` (or `q_proj`), `kv_a_proj_with_mqa`, and the indexer's `wk`, `weights_proj`.
    pub down: LinearWeights,
    /// Columns of `down`: the q latent, or the queries where there is none.
    pub query: ColumnRange,
    /// Columns of `down`: the kv latent, then the rope key.
    pub kv: ColumnRange,
    /// From the q latent; none where queries are projected directly.
    pub up: Option<Up>,
    /// `kv_a_layernorm`: `[kv_lora_rank]`
    pub kv_norm: Slot,
    /// The indexer; none where the layer owns none.
    pub indexer: Option<Indexer>,
    /// What brings queries into the space of the latents.
    pub key_up: KeyUp,
    /// The value rows of `kv_b_proj`, a row group for each head: `[heads, v_head_dim, kv_lora_rank]`.
    pub value_up: LinearWeights,
    /// `o_proj`: `[hidden_size, heads · v_head_dim]`
    pub output: LinearWeights,
    /// Of each position `[kv_lora_rank + qk_rope_head_dim]`
    pub latents: CacheTensor,
}

/// The key half of `kv_b_proj`, as the files have it.
#[derive(Clone, Debug)]
pub enum KeyUp {
    /// Row-major `[heads · qk_nope_head_dim, kv_lora_rank]`: contracted over rows.
    Rows(TableShard),
    /// Transposed, a row group for each head, `[heads, kv_lora_rank, qk_nope_head_dim]`: as any linear layer.
    Transposed(LinearWeights),
}

/// The query side behind the q latent.
#[derive(Clone, Debug)]
pub struct Up {
    /// `q_a_layernorm`: `[q_lora_rank]`
    pub(crate) norm: Slot,
    /// `q_b_proj`, and the indexer's `wq_b`.
    pub(crate) matrix: LinearWeights,
    /// Columns of `matrix`: the queries.
    pub(crate) query: ColumnRange,
}

/// The indexer: where its projections lie among attention's, its LayerNorm, and its rows of the cache.
#[derive(Clone, Debug)]
pub struct Indexer {
    /// Columns of [`Up::matrix`]: `wq_b`.
    pub query: ColumnRange,
    /// Columns of [`Latent::down`]: `wk`.
    pub key: ColumnRange,
    /// Columns of [`Latent::down`]: `weights_proj`.
    pub head_weights: ColumnRange,
    /// `indexer.k_norm.weight`: `[index_head_dim]`
    pub key_norm: Slot,
    /// `indexer.k_norm.bias`: `[index_head_dim]`
    pub key_norm_bias: Slot,
    /// Of each position `[index_head_dim]`, in panels
    pub keys: CacheTensor,
}

impl Latent {
    /// Memory for a layer's attention, with its rows of the cache.
    pub(super) fn lay_out(layout: &mut Layout<'_>, dims: &Dims, layer: u32, cache: CacheRoom) -> Result<Latent> {
        let name = |part: &str| names::layer(layer, &format!("self_attn.{part}"));
        let cached = |layout: &mut Layout<'_>, what: &str, row| {
            CacheTensor::lay_out(layout, &format!("layer {layer} {what} cache"), row, cache.pages)
        };
        let indexer = dims.indexer.as_ref().filter(|_| dims.owns_indexer(layer));
        let mut down = vec![name(if dims.q_lora_rank.is_some() { "q_a_proj" } else { "q_proj" })];
        down.push(name("kv_a_proj_with_mqa"));
        let mut up = vec![name("q_b_proj")];
        if indexer.is_some() {
            down.extend([name("indexer.wk"), name("indexer.weights_proj")]);
            up.push(name("indexer.wq_b"));
        }
        let (down, down_parts) = layout.matrices(&down)?;
        let (up, index_query) = match dims.q_lora_rank {
            Some(_) => {
                let norm = layout.vector(name("q_a_layernorm"))?;
                let (matrix, parts) = layout.matrices(&up)?;
                (Some(Up { norm, matrix, query: parts[0] }), parts.get(1).copied())
            }
            None => (None, None),
        };
        let indexer = match (indexer, index_query, down_parts.as_slice()) {
            (Some(sizes), Some(query), &[_, _, key, head_weights]) => Some(Indexer {
                query,
                key,
                head_weights,
                key_norm: layout.vector(name("indexer.k_norm"))?,
                key_norm_bias: layout.vector(names::indexer_norm_bias(layer))?,
                keys: cached(layout, "index key", index_key_write::row(sizes.head_dim, cache.cache_type)),
            }),
            _ => None,
        };
        let latents = cache_write::row(dims.kv_lora_rank, dims.rope_pairs, cache.cache_type);
        let (key_up, value_up) = key_and_value(layout, dims, layer)?;
        Ok(Latent {
            down,
            query: down_parts[0],
            kv: down_parts[1],
            up,
            indexer,
            key_up,
            value_up,
            kv_norm: layout.vector(name("kv_a_layernorm"))?,
            output: layout.matrix(name("o_proj"))?,
            latents: cached(layout, "latent", latents),
        })
    }
}

/// `kv_b_proj` holds for each head key rows, then value rows. The absorbed form contracts the first over rows, so that they stay
/// row-major, and the second over columns, as any linear layer. Files that have two tensors in its place have the first transposed.
fn key_and_value(layout: &mut Layout<'_>, dims: &Dims, layer: u32) -> Result<(KeyUp, LinearWeights)> {
    let name = |part: &str| names::layer(layer, &format!("self_attn.{part}"));
    let (keys, values) = (dims.qk_nope_head_dim, dims.v_head_dim);
    let of_heads = |part: &str, first_row, rows, group_stride| StoredRows {
        tensor: name(part),
        groups: dims.heads,
        rows,
        first_row,
        group_stride,
    };
    if layout.checkpoint.has(&name("embed_q")) {
        let keys = layout.panel_groups(of_heads("embed_q", 0, dims.kv_lora_rank, dims.kv_lora_rank))?;
        let values = layout.panel_groups(of_heads("unembed_out", 0, values, values))?;
        return Ok((KeyUp::Transposed(keys), values));
    }
    let key_up = layout.row_groups(of_heads("kv_b_proj", 0, keys, keys + values))?;
    Ok((KeyUp::Rows(key_up), layout.panel_groups(of_heads("kv_b_proj", keys, values, keys + values))?))
}
