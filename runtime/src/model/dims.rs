//! Sizes that the prose needs, derived from the config once.

use super::rope::{self, RopeDims};
use crate::checkpoint::{GroupScore, LayerIndexer, ModelConfig, Scoring};

/// Sizes and constants of a model.
#[derive(Clone, Debug)]
pub struct Dims {
    /// Width of the residual stream.
    pub hidden_size: u32,
    /// Rows of the head, padding included.
    pub vocab_size: u32,
    /// Ids from here on are never chosen: rows without text.
    pub vocab_limit: u32,
    /// Decoder layers, without multi-token prediction.
    pub num_hidden_layers: u32,
    /// LayerAttention heads (`num_attention_heads`).
    pub heads: u32,
    /// Width of the q latent; none where queries are projected directly.
    pub q_lora_rank: Option<u32>,
    /// Width of the kv latent.
    pub kv_lora_rank: u32,
    /// Unrotated dims of a head's query.
    pub qk_nope_head_dim: u32,
    /// Pairs of rotated dims: `qk_rope_head_dim / 2`.
    pub rope_pairs: u32,
    /// Value dims of a head.
    pub v_head_dim: u32,
    /// eps of the layers' norms.
    pub rms_norm_eps: f32,
    /// Factor on attention scores, YaRN's correction included.
    pub softmax_scale: f32,
    /// Whether attention rotates neighbours (else halves).
    pub rope_interleave: bool,
    /// Rotary frequencies.
    pub rope: RopeDims,
    /// The lightning indexer; none in dense relatives.
    pub indexer: Option<IndexerDims>,
    /// Which layers own an indexer; a layer without reuses the selection of the nearest one before it.
    pub indexer_layers: Vec<bool>,
    /// The router; none in dense models.
    pub router: Option<RouterDims>,
}

/// The lightning indexer.
#[derive(Clone, Debug)]
pub struct IndexerDims {
    /// `index_n_heads`
    pub heads: u32,
    /// `index_head_dim`
    pub head_dim: u32,
    /// `index_topk`
    pub topk: u32,
    /// Whether it rotates neighbours (else halves).
    pub rope_interleave: bool,
    /// Factor on head weights: heads^-½ · head_dim^-½.
    pub scale: f32,
}

/// The router of a mixture of experts.
#[derive(Clone, Debug)]
pub struct RouterDims {
    /// `n_routed_experts`
    pub experts: u32,
    /// `num_experts_per_tok`
    pub experts_per_token: u32,
    /// Groups of experts.
    pub n_group: u32,
    /// Groups kept.
    pub topk_group: u32,
    /// Softmax of the logits, else sigmoid.
    pub softmax: bool,
    /// A group is worth its best two experts, else its best.
    pub group_top_two: bool,
    /// Whether the weights are normalised to sum 1.
    pub normalise: bool,
    /// `routed_scaling_factor`
    pub scaling: f32,
}

impl Dims {
    /// Sizes of a config; `vocab_limit` is the number of ids that have text.
    #[expect(clippy::cast_possible_truncation, reason = "constants of f32 kernels, computed in f64")]
    pub fn new(config: &ModelConfig, vocab_limit: u32) -> Dims {
        let q_head_dim = config.qk_nope_head_dim + config.qk_rope_head_dim;
        let pairs = config.qk_rope_head_dim / 2;
        let rope = RopeDims { pairs, theta: config.rope.theta, yarn: config.rope.scaling };
        let score_factor = rope.yarn.as_ref().map_or(1.0, rope::score_factor);
        Dims {
            hidden_size: config.hidden_size,
            vocab_size: config.vocab_size,
            vocab_limit: vocab_limit.min(config.vocab_size),
            num_hidden_layers: config.num_hidden_layers,
            heads: config.num_attention_heads,
            q_lora_rank: config.q_lora_rank,
            kv_lora_rank: config.kv_lora_rank,
            qk_nope_head_dim: config.qk_nope_head_dim,
            rope_pairs: rope.pairs,
            v_head_dim: config.v_head_dim,
            rms_norm_eps: config.rms_norm_eps as f32,
            softmax_scale: (f64::from(q_head_dim).powf(-0.5) * score_factor) as f32,
            rope_interleave: config.rope.interleave,
            rope,
            indexer: config.indexer.as_ref().map(|indexer| IndexerDims {
                heads: indexer.n_heads,
                head_dim: indexer.head_dim,
                topk: indexer.topk,
                rope_interleave: indexer.rope_interleave,
                scale: (f64::from(indexer.n_heads) * f64::from(indexer.head_dim)).powf(-0.5) as f32,
            }),
            indexer_layers: config.layers.iter().map(|layer| layer.indexer == Some(LayerIndexer::Full)).collect(),
            router: config.router.as_ref().map(|router| RouterDims {
                experts: router.n_routed_experts,
                experts_per_token: router.num_experts_per_tok,
                n_group: router.n_group,
                topk_group: router.topk_group,
                softmax: router.scoring == Scoring::Softmax,
                group_top_two: router.group_score == GroupScore::TopTwoSum,
                normalise: router.norm_topk_prob,
                scaling: router.routed_scaling_factor as f32,
            }),
        }
    }

    /// Dims of a head's query.
    pub(crate) const fn q_head_dim(&self) -> u32 {
        self.qk_nope_head_dim + self.rope_pairs * 2
    }

    /// Whether a layer owns an indexer.
    pub(crate) fn owns_indexer(&self, layer: u32) -> bool {
        self.indexer.is_some() && self.indexer_layers.get(layer as usize).copied().unwrap_or(false)
    }
}
