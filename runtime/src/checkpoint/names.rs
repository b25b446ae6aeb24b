//! Names of tensors: the one place that knows them (those of DeepSeek's published files).
//!
//! In: a config. Out: every tensor the model needs, with its shape and what may be stored there. Names are without the
//! config's `tensor_prefix`, which `tensors.rs` takes off. Never: a list of all names at once; a layer at a time.

use super::config::{LayerIndexer, ModelConfig, SCALE_BLOCK};

/// Embedding, `[vocab_size, hidden_size]`; of tied models the head too.
pub const EMBED: &str = "model.embed_tokens.weight";
/// Weight of the last norm, `[hidden_size]`.
pub const NORM: &str = "model.norm.weight";
/// Head, `[vocab_size, hidden_size]`, of models that are not tied.
pub const HEAD: &str = "lm_head.weight";

/// A layer's weight: `layer(3, "self_attn.o_proj")`.
pub fn layer(layer: u32, part: &str) -> String {
    format!("model.layers.{layer}.{part}.weight")
}

/// Bias of the indexer's key norm, `[index_head_dim]`.
pub(crate) fn indexer_norm_bias(layer: u32) -> String {
    format!("model.layers.{layer}.self_attn.indexer.k_norm.bias")
}

/// The bias that takes part in choosing experts, `[n_routed_experts]`.
pub fn router_bias(layer: u32) -> String {
    format!("model.layers.{layer}.mlp.gate.e_score_correction_bias")
}

/// A routed expert's weight: `expert(3, 17, "up_proj")`.
pub fn expert(layer: u32, expert: u32, part: &str) -> String {
    format!("model.layers.{layer}.mlp.experts.{expert}.{part}.weight")
}

/// The head's tensor: the embedding, where they are tied.
pub fn head(config: &ModelConfig) -> &'static str {
    if config.tie_word_embeddings { EMBED } else { HEAD }
}

/// The scales of an FP8 weight, `[ceil(out / 128), ceil(in / 128)]`.
pub fn scale(weight: &str) -> String {
    format!("{weight}_scale_inv")
}

/// The layer that a name belongs to, and the rest of the name.
pub(crate) fn split_layer(name: &str) -> Option<(u32, &str)> {
    let (layer, part) = name.strip_prefix("model.layers.")?.split_once('.')?;
    Some((layer.parse().ok()?, part))
}

/// Shape of the scales of a weight `[out, in]`.
pub(super) fn scale_shape(weight: &[u64]) -> Vec<u64> {
    weight.iter().map(|size| size.div_ceil(u64::from(SCALE_BLOCK))).collect()
}

/// What may be stored for a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TensorRole {
    /// A linear's weight `[out, in]`: F32, F16, BF16, F8_E4M3 with scales, or blocks of GGUF.
    Matrix,
    /// A weight that is no FP8: F32, F16, BF16, or blocks of GGUF.
    PlainMatrix,
    /// A norm's weight or a bias: F32, F16 or BF16, all finite.
    Vector,
    /// Scales of an FP8 weight: F32, or exponent bytes U8 or F8_E8M0.
    Scale,
}

impl TensorRole {
    pub(super) const fn is_matrix(self) -> bool {
        matches!(self, TensorRole::Matrix | TensorRole::PlainMatrix)
    }
}

/// A tensor that the model needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Its name, without the config's prefix.
    pub name: String,
    /// Its shape, slowest first.
    pub shape: Vec<u64>,
    /// What may be stored there.
    pub role: TensorRole,
}

fn one(name: String, shape: &[u64], role: TensorRole) -> Expected {
    Expected { name, shape: shape.to_vec(), role }
}

/// Every tensor of the main model, in the order of its use; scales are not listed, each follows from its weight.
pub fn expected(config: &ModelConfig) -> impl Iterator<Item = Expected> + '_ {
    let hidden = u64::from(config.hidden_size);
    let vocabulary = [u64::from(config.vocab_size), hidden];
    let head = (!config.tie_word_embeddings).then(|| one(HEAD.to_owned(), &vocabulary, TensorRole::PlainMatrix));
    std::iter::once(one(EMBED.to_owned(), &vocabulary, TensorRole::PlainMatrix))
        .chain((0..config.num_hidden_layers).flat_map(|index| expected_layer(config, index)))
        .chain(std::iter::once(one(NORM.to_owned(), &[hidden], TensorRole::Vector)))
        .chain(head)
}

/// Every tensor of the layer of multi-token prediction at `index`, counted on from the main layers. Its copies of
/// embedding and head are those of the main model and are not read.
pub fn expected_prediction(config: &ModelConfig, index: u32) -> Vec<Expected> {
    let hidden = u64::from(config.hidden_size);
    let mut list = vec![
        one(layer(index, "enorm"), &[hidden], TensorRole::Vector),
        one(layer(index, "hnorm"), &[hidden], TensorRole::Vector),
        one(layer(index, "eh_proj"), &[hidden, hidden.saturating_mul(2)], TensorRole::PlainMatrix),
    ];
    list.extend(expected_layer(config, index));
    list.push(one(layer(index, "shared_head.norm"), &[hidden], TensorRole::Vector));
    list
}

/// What some files have in place of a layer's `kv_b_proj`: the rows of the keys, transposed for each head, and those of the values.
pub(super) fn split_kv_b(config: &ModelConfig, index: u32) -> [Expected; 2] {
    let [heads, rank, nope, value] =
        [config.num_attention_heads, config.kv_lora_rank, config.qk_nope_head_dim, config.v_head_dim].map(u64::from);
    [
        one(layer(index, "self_attn.embed_q"), &[heads, rank, nope], TensorRole::Matrix),
        one(layer(index, "self_attn.unembed_out"), &[heads, value, rank], TensorRole::Matrix),
    ]
}

/// Every tensor of one decoder layer.
fn expected_layer(config: &ModelConfig, index: u32) -> Vec<Expected> {
    let size = |size: u32| u64::from(size);
    let times = |a: u64, b: u64| a.saturating_mul(b); // the config's ranges keep these far below 64 bits
    let Some(kind) = config.layers.get(index as usize) else {
        return vec![];
    };
    let heads = size(config.num_attention_heads);
    let (hidden, kv_rank, rope) = (size(config.hidden_size), size(config.kv_lora_rank), size(config.qk_rope_head_dim));
    let (nope, value) = (size(config.qk_nope_head_dim), size(config.v_head_dim));
    let query = times(heads, nope.saturating_add(rope));
    let mut list = Vec::new();
    let mut add = |part: &str, shape: &[u64], role| list.push(one(layer(index, part), shape, role));

    add("input_layernorm", &[hidden], TensorRole::Vector);
    match config.q_lora_rank.map(size) {
        None => add("self_attn.q_proj", &[query, hidden], TensorRole::Matrix),
        Some(rank) => {
            add("self_attn.q_a_proj", &[rank, hidden], TensorRole::Matrix);
            add("self_attn.q_a_layernorm", &[rank], TensorRole::Vector);
            add("self_attn.q_b_proj", &[query, rank], TensorRole::Matrix);
        }
    }
    add("self_attn.kv_a_proj_with_mqa", &[kv_rank.saturating_add(rope), hidden], TensorRole::Matrix);
    add("self_attn.kv_a_layernorm", &[kv_rank], TensorRole::Vector);
    add("self_attn.kv_b_proj", &[times(heads, nope.saturating_add(value)), kv_rank], TensorRole::Matrix);
    add("self_attn.o_proj", &[hidden, times(heads, value)], TensorRole::Matrix);
    add("post_attention_layernorm", &[hidden], TensorRole::Vector);

    if let (Some(indexer), Some(LayerIndexer::Full), Some(rank)) = (&config.indexer, kind.indexer, config.q_lora_rank) {
        let (heads, dim) = (size(indexer.n_heads), size(indexer.head_dim));
        add("self_attn.indexer.wq_b", &[times(heads, dim), size(rank)], TensorRole::Matrix);
        add("self_attn.indexer.wk", &[dim, hidden], TensorRole::Matrix);
        add("self_attn.indexer.k_norm", &[dim], TensorRole::Vector);
        add("self_attn.indexer.weights_proj", &[heads, hidden], TensorRole::PlainMatrix);
        list.push(one(indexer_norm_bias(index), &[dim], TensorRole::Vector));
    }
    let feed_forward = |prefix: &str, width: u64| {
        let name = |part| layer(index, &format!("{prefix}.{part}"));
        [
            one(name("gate_proj"), &[width, hidden], TensorRole::Matrix),
            one(name("up_proj"), &[width, hidden], TensorRole::Matrix),
            one(name("down_proj"), &[hidden, width], TensorRole::Matrix),
        ]
    };
    match config.router.filter(|_| kind.moe) {
        None => list.extend(feed_forward("mlp", size(config.intermediate_size))),
        Some(router) => {
            let (experts, width) = (size(router.n_routed_experts), size(router.moe_intermediate_size));
            list.push(one(layer(index, "mlp.gate"), &[experts, hidden], TensorRole::PlainMatrix));
            if router.has_bias {
                list.push(one(router_bias(index), &[experts], TensorRole::Vector));
            }
            for expert in 0..router.n_routed_experts {
                list.extend(feed_forward(&format!("mlp.experts.{expert}"), width));
            }
            list.extend(feed_forward("mlp.shared_experts", times(size(router.n_shared_experts), width)));
        }
    }
    list
}
