//! Weights as slots: what `weights.rs` at the root of the crate loads and the prose names.

use lyn_shaders::experts::{ExpertPanels, ExpertShard};
use lyn_shaders::{Encoding, Panels, Slot};

use crate::record::Part;

/// All weights of a model.
#[derive(Clone, Debug)]
pub struct Weights {
    /// `model.embed_tokens`, by shards of rows.
    pub embedding: Vec<TableShard>,
    /// Decoder layers.
    pub layers: Vec<LayerWeights>,
    /// `model.norm`: `[hidden_size]`
    pub norm: Slot,
    /// `lm_head`: `[vocab_size, hidden_size]`
    pub head: LinearWeights,
    /// Multi-token prediction; empty unless asked for.
    pub prediction: Vec<PredictionWeights>,
}

/// Some rows of a row-major table.
#[derive(Clone, Debug)]
pub struct TableShard {
    /// `[rows, hidden_size]`, row-major
    pub weight: Slot,
    /// Scales of the whole table; one word where the encoding has none.
    pub scales: Slot,
    /// How they are packed.
    pub encoding: &'static Encoding,
    /// First row here.
    pub first_row: u32,
    /// Rows here.
    pub rows: u32,
}

/// One or several matrices over the same input, one below the other.
#[derive(Clone, Debug)]
pub struct LinearWeights {
    /// Panels, split by encoding and by the largest binding.
    pub shards: Vec<LinearShard>,
    /// Columns of the output. Where several matrices lie side by side, their owner has the [`Part`] of each.
    pub width: u32,
}

/// Some rows of a [`LinearWeights`].
#[derive(Clone, Debug)]
pub struct LinearShard {
    /// Panels.
    pub weight: Slot,
    /// Their scales; else one word.
    pub scales: Slot,
    /// Their sizes.
    pub panels: Panels,
    /// Column of the output where they begin.
    pub offset: u32,
}

/// One decoder layer.
#[derive(Clone, Debug)]
pub struct LayerWeights {
    /// `input_layernorm`: `[hidden_size]`
    pub input_norm: Slot,
    /// `post_attention_layernorm`: `[hidden_size]`
    pub post_attention_norm: Slot,
    /// `self_attn`
    pub attention: AttentionWeights,
    /// `mlp`
    pub feed_forward: FeedForward,
}

/// Multi-head latent attention.
#[derive(Clone, Debug)]
pub struct AttentionWeights {
    /// From the normed hidden: `q_a_proj` (or `q_proj`), `kv_a_proj_with_mqa`, and the indexer's `wk`, `weights_proj`.
    pub down: LinearWeights,
    /// Columns of `down`: the q latent, or the queries where there is none.
    pub query: Part,
    /// Columns of `down`: the kv latent, then the rope key.
    pub kv: Part,
    /// From the q latent; none where queries are projected directly.
    pub up: Option<UpWeights>,
    /// `kv_a_layernorm`: `[kv_lora_rank]`
    pub kv_norm: Slot,
    /// The indexer's own vectors; none where the layer owns no indexer.
    pub indexer: Option<IndexerWeights>,
    /// The key rows of `kv_b_proj`, row-major `[heads · qk_nope_head_dim, kv_lora_rank]`: contracted over rows.
    pub key_up: TableShard,
    /// The value rows of `kv_b_proj`, a row group for each head: `[heads, v_head_dim, kv_lora_rank]`.
    pub value_up: LinearWeights,
    /// `o_proj`: `[hidden_size, heads · v_head_dim]`
    pub output: LinearWeights,
}

/// The query side behind the q latent.
#[derive(Clone, Debug)]
pub struct UpWeights {
    /// `q_a_layernorm`: `[q_lora_rank]`
    pub norm: Slot,
    /// `q_b_proj`, and the indexer's `wq_b`.
    pub matrix: LinearWeights,
    /// Columns of `matrix`: the queries.
    pub query: Part,
}

/// The indexer's own: where its projections lie among attention's, and its LayerNorm.
#[derive(Clone, Debug)]
pub struct IndexerWeights {
    /// Columns of [`UpWeights::matrix`]: `wq_b`.
    pub query: Part,
    /// Columns of [`AttentionWeights::down`]: `wk`.
    pub key: Part,
    /// Columns of [`AttentionWeights::down`]: `weights_proj`.
    pub head_weights: Part,
    /// `indexer.k_norm.weight`: `[index_head_dim]`
    pub key_norm: Slot,
    /// `indexer.k_norm.bias`: `[index_head_dim]`
    pub key_norm_bias: Slot,
}

/// The second half of a layer.
#[derive(Clone, Debug)]
pub enum FeedForward {
    /// One SwiGLU.
    Dense(DenseWeights),
    /// Routed experts, and shared ones.
    Experts(Box<ExpertsWeights>),
}

/// A SwiGLU.
#[derive(Clone, Debug)]
pub struct DenseWeights {
    /// `gate_proj`, `up_proj`
    pub gate_up: LinearWeights,
    /// Columns of `gate_up`: `up_proj`; those of `gate_proj` are as many, from the first on.
    pub up: Part,
    /// `down_proj`
    pub down: LinearWeights,
}

/// Routed experts and the shared one.
#[derive(Clone, Debug)]
pub struct ExpertsWeights {
    /// `gate`: `[n_routed_experts, hidden_size]`
    pub router: LinearWeights,
    /// `gate.e_score_correction_bias`: `[n_routed_experts]`
    pub bias: Option<Slot>,
    /// Layout of the shards.
    pub panels: ExpertPanels,
    /// Gate and up matrices, whole experts to a shard.
    pub gate_up: Vec<ExpertShard>,
    /// Down matrices, whole experts to a shard.
    pub down: Vec<ExpertShard>,
    /// The shared expert where its encoding is not that of the routed ones.
    pub shared_apart: Option<DenseWeights>,
}

/// A multi-token-prediction module.
#[derive(Clone, Debug)]
pub struct PredictionWeights {
    /// `enorm`: `[hidden_size]`
    pub embedding_norm: Slot,
    /// `hnorm`: `[hidden_size]`
    pub hidden_norm: Slot,
    /// `eh_proj`: `[hidden_size, 2 · hidden_size]`
    pub projection: LinearWeights,
    /// Its decoder layer.
    pub layer: LayerWeights,
    /// `shared_head.norm`: `[hidden_size]`
    pub head_norm: Slot,
}
