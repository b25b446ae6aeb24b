//! `config.json`: what the checkpoint says about its model, field for field, every range checked.
//!
//! In: the bytes of config.json and generation_config.json. Out: [`ModelConfig`], in which everything that depends on
//! the kind of model has become data: no other room looks at `model_type`. Both spellings are read, the original one and
//! that of transformers 5. Never: a size that a kernel cannot hold, or a product beyond 32 bits.

use std::collections::BTreeMap;

mod parse;
mod quantization;

/// The file read here.
pub const CONFIG_FILE: &str = "config.json";
/// Sampling defaults beside it; may be absent.
pub(crate) const GENERATION_FILE: &str = "generation_config.json";
/// Rows and columns of a weight that share one FP8 scale; no other block size is in use.
pub(crate) const SCALE_BLOCK: u32 = 128;

/// A model's sizes and switches, under the names of config.json.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "a field without a comment is the field of that name in config.json")]
pub struct ModelConfig {
    /// For display only.
    pub model_type: String,
    /// What all tensor names begin with beyond the usual: empty, or `language_model.` in a multimodal checkpoint.
    pub tensor_prefix: &'static str,
    pub vocab_size: u32,
    pub hidden_size: u32,
    /// Layers of the main model; those of multi-token prediction come after.
    pub num_hidden_layers: u32,
    /// Width of a dense feed-forward.
    pub intermediate_size: u32,
    pub num_attention_heads: u32,
    /// `None`: queries come from the hidden state by one projection, `q_proj`.
    pub q_lora_rank: Option<u32>,
    pub kv_lora_rank: u32,
    pub qk_nope_head_dim: u32,
    pub qk_rope_head_dim: u32,
    pub v_head_dim: u32,
    pub rms_norm_eps: f64,
    pub max_position_embeddings: u32,
    /// The head is the embedding.
    pub tie_word_embeddings: bool,
    /// Modules of multi-token prediction that the config speaks of; the files may lack them.
    pub num_nextn_predict_layers: u32,
    pub rope: RopeConfig,
    /// Sparse attention; `None`: attention is dense.
    pub indexer: Option<IndexerConfig>,
    /// Experts; `None`: every feed-forward is dense.
    pub router: Option<RouterConfig>,
    /// FP8 weights; `None`: no weight may be FP8.
    pub quantization: Option<Quantization>,
    /// One for each layer: the main ones, then those of multi-token prediction.
    pub layers: Vec<LayerKind>,
    pub bos_token_id: Option<u32>,
    pub eos_token_ids: Vec<u32>,
}

/// What a layer consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerKind {
    /// Experts in place of a dense feed-forward.
    pub moe: bool,
    /// Where the layer's selection of positions comes from; `None`: dense attention.
    pub indexer: Option<LayerIndexer>,
}

/// Where a layer's selection of positions comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerIndexer {
    /// The layer computes it.
    Full,
    /// It is that of the nearest full layer before; this layer owns no indexer tensors.
    Shared,
}

/// Sizes of the lightning indexer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexerConfig {
    /// `index_n_heads`.
    pub n_heads: u32,
    /// `index_head_dim`; its first `qk_rope_head_dim` dimensions are rotated.
    pub head_dim: u32,
    /// `index_topk`.
    pub topk: u32,
    /// Pairs are neighbours; otherwise they are halves.
    pub rope_interleave: bool,
}

/// How tokens choose experts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RouterConfig {
    pub n_routed_experts: u32,
    pub num_experts_per_tok: u32,
    /// 1 where groups play no part.
    pub n_group: u32,
    pub topk_group: u32,
    pub scoring: Scoring,
    pub group_score: GroupScore,
    /// `e_score_correction_bias` takes part in the choice, not in the weights.
    pub has_bias: bool,
    /// Weights of the chosen experts are divided by their sum.
    pub norm_topk_prob: bool,
    pub routed_scaling_factor: f64,
    pub n_shared_experts: u32,
    /// Width of one expert; the shared ones are one feed-forward of `n_shared_experts` times this.
    pub moe_intermediate_size: u32,
}

/// `scoring_func`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scoring {
    /// Each expert for itself.
    Sigmoid,
    /// Over all experts.
    Softmax,
}

/// Score of a group of experts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupScore {
    /// Sum of the two largest, with the bias.
    TopTwoSum,
    /// The largest.
    Max,
}

/// Rotary positions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RopeConfig {
    /// `rope_theta`, above 1.
    pub theta: f64,
    /// Pairs of the attention's rope dimensions are neighbours; otherwise they are halves.
    pub interleave: bool,
    /// How frequencies are stretched; `None`: not at all.
    pub scaling: Option<Yarn>,
}

/// YaRN's settings, under their names in config.json; a zero counts as absent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Yarn {
    pub factor: f64,
    pub original_max_position_embeddings: u32,
    pub beta_fast: f64,
    pub beta_slow: f64,
    pub mscale: Option<f64>,
    pub mscale_all_dim: Option<f64>,
    pub attention_factor: Option<f64>,
}

/// How some weights are packed. Which ones, the tensors tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Quantization {
    /// FP8 with a scale for each block of 128 × 128.
    Fp8 {
        /// `scale_fmt` is `ue8m0`: scales are powers of two.
        power_of_two_scales: bool,
    },
    /// `pack-quantized` of compressed-tensors: signed whole numbers, and a scale for each group of a row.
    PackQuantized(Affine),
    /// MLX: unsigned whole numbers, and a scale and a bias for each group of a row.
    Mlx {
        /// Of modules that are not listed.
        default: Affine,
        /// By the module's path; none where it is not packed.
        modules: BTreeMap<String, Option<Affine>>,
    },
}

/// Codes of `bits` bits, and scales for groups of `group_size` columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of the config")]
pub struct Affine {
    pub bits: u32,
    pub group_size: u32,
}

/// Sampling defaults of generation_config.json, or of a GGUF file's `general.sampling`; `None` or empty where it says nothing.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "a field without a comment is the field of that name in generation_config.json")]
pub struct GenerationDefaults {
    /// `false`: greedy, whatever the temperature.
    pub do_sample: Option<bool>,
    /// In 0..=100.
    pub temperature: Option<f64>,
    /// In 0..=1.
    pub top_p: Option<f64>,
    /// 0: all.
    pub top_k: Option<u32>,
    /// In 0..=1.
    pub min_p: Option<f64>,
    /// In 0.01..=10.
    pub repetition_penalty: Option<f64>,
    pub eos_token_ids: Vec<u32>,
}

impl ModelConfig {
    /// Layers of the files that the config speaks of: the main ones, then those of multi-token prediction.
    pub(crate) fn layers_with_prediction(&self) -> u32 {
        self.num_hidden_layers.saturating_add(self.num_nextn_predict_layers)
    }
}
