//! A model's config as the metadata of a GGUF file: the inverse of `checkpoint/gguf/config.rs`.
//!
//! What the format has no word for is not looked for here: the keys are read back by the reader, and what comes out differently
//! is refused by name.

use serde_json::json;

use super::FILE;
use super::container::{Keys, Value, header};
use crate::checkpoint::gguf::{SAMPLING, read_config};
use crate::checkpoint::{GenerationDefaults, GroupScore, LayerIndexer, MemorySource, ModelConfig, Scoring};
use crate::error::{Code, Error, Result};

/// The architecture, and what it decides.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Architecture {
    pub(super) name: &'static str,
    /// Whether its files hold modules of multi-token prediction.
    pub(super) has_prediction: bool,
}

impl Architecture {
    pub(super) fn of(config: &ModelConfig) -> Architecture {
        match config.indexer {
            None => Architecture { name: "deepseek2", has_prediction: false },
            Some(indexer) if indexer.rope_interleave => Architecture { name: "glm-dsa", has_prediction: true },
            Some(_) => Architecture { name: "deepseek32", has_prediction: true },
        }
    }
}

/// The keys that say what the model computes. `prediction_layers`: modules of multi-token prediction in the file.
pub(super) fn keys(config: &ModelConfig, prediction_layers: u32) -> Keys {
    let name = Architecture::of(config).name;
    let mut keys = vec![("general.architecture".to_owned(), Value::Text(name.to_owned()))];
    let mut put = |key: &str, value: Value| keys.push((format!("{name}.{key}"), value));
    let rope = config.qk_rope_head_dim;
    for (key, value) in [
        ("block_count", config.num_hidden_layers + prediction_layers),
        ("context_length", config.max_position_embeddings),
        ("embedding_length", config.hidden_size),
        ("feed_forward_length", config.intermediate_size),
        ("attention.head_count", config.num_attention_heads),
        // All heads share one latent.
        ("attention.head_count_kv", 1),
        ("attention.kv_lora_rank", config.kv_lora_rank),
        ("attention.key_length", config.kv_lora_rank + rope),
        ("attention.value_length", config.kv_lora_rank),
        ("attention.key_length_mla", config.qk_nope_head_dim + rope),
        ("attention.value_length_mla", config.v_head_dim),
        ("rope.dimension_count", rope),
        ("vocab_size", config.vocab_size),
        (
            "leading_dense_block_count",
            config.layers.iter().take_while(|layer| !layer.moe).count().try_into().unwrap_or(0),
        ),
    ] {
        put(key, Value::U32(value));
    }
    if let Some(rank) = config.q_lora_rank {
        put("attention.q_lora_rank", Value::U32(rank));
    }
    put("attention.layer_norm_rms_epsilon", single(config.rms_norm_eps));
    put("rope.freq_base", single(config.rope.theta));
    if prediction_layers > 0 {
        put("nextn_predict_layers", Value::U32(prediction_layers));
    }
    match config.router {
        Some(router) => {
            let gating = if router.scoring == Scoring::Softmax { 1 } else { 2 };
            for (key, value) in [
                ("expert_count", router.n_routed_experts),
                ("expert_used_count", router.num_experts_per_tok),
                ("expert_shared_count", router.n_shared_experts),
                ("expert_feed_forward_length", router.moe_intermediate_size),
                ("expert_group_count", router.n_group),
                ("expert_group_used_count", router.topk_group),
                ("expert_gating_func", gating),
            ] {
                put(key, Value::U32(value));
            }
            put("expert_weights_scale", single(router.routed_scaling_factor));
            put("expert_weights_norm", Value::Bool(router.norm_topk_prob));
        }
        // llama.cpp asks for these of every model.
        None => {
            put("expert_shared_count", Value::U32(0));
            put("expert_feed_forward_length", Value::U32(config.intermediate_size));
        }
    }
    if let Some(indexer) = config.indexer {
        put("attention.indexer.head_count", Value::U32(indexer.n_heads));
        put("attention.indexer.key_length", Value::U32(indexer.head_dim));
        put("attention.indexer.top_k", Value::U32(indexer.topk));
        let main = config.layers.iter().take(config.num_hidden_layers as usize);
        let full: Vec<bool> = main.map(|layer| layer.indexer == Some(LayerIndexer::Full)).collect();
        if full.contains(&false) {
            put("attention.indexer.types", Value::Bools(full));
        }
    }
    if let Some(yarn) = config.rope.scaling {
        put("rope.scaling.type", Value::Text("yarn".to_owned()));
        put("rope.scaling.factor", single(yarn.factor));
        put("rope.scaling.original_context_length", Value::U32(yarn.original_max_position_embeddings));
        put("rope.scaling.yarn_beta_fast", single(yarn.beta_fast));
        put("rope.scaling.yarn_beta_slow", single(yarn.beta_slow));
        if let Some(scale) = yarn.mscale_all_dim {
            put("rope.scaling.yarn_log_multiplier", single(0.1 * scale));
        }
    }
    if let Some(id) = config.bos_token_id {
        keys.push(("tokenizer.ggml.bos_token_id".to_owned(), Value::U32(id)));
    }
    // One key each for the first three tokens that end an answer; a list, which Ollama has, for more.
    for (name, id) in ["eos", "eot", "eom"].into_iter().zip(&config.eos_token_ids) {
        keys.push((format!("tokenizer.ggml.{name}_token_id"), Value::U32(*id)));
    }
    if let Some(more) = config.eos_token_ids.get(3..).filter(|more| !more.is_empty()) {
        let ids = more.iter().map(|id| id.cast_signed()).collect();
        keys.push(("tokenizer.ggml.eos_token_ids".to_owned(), Value::I32s(ids)));
    }
    keys
}

/// The sampling that the checkpoint recommends.
pub(super) fn sampling(defaults: &GenerationDefaults) -> Keys {
    // The format has no word for greedy, which is temperature 0.
    let temperature = if defaults.do_sample == Some(false) { Some(0.0) } else { defaults.temperature };
    let value = |member: &str| match member {
        "temperature" => temperature.map(single),
        "top_k" => defaults.top_k.map(|count| Value::I32(count.try_into().unwrap_or(i32::MAX))),
        "top_p" => defaults.top_p.map(single),
        "min_p" => defaults.min_p.map(single),
        "repetition_penalty" => defaults.repetition_penalty.map(single),
        _ => None,
    };
    SAMPLING.into_iter().filter_map(|(member, key)| Some((key.to_owned(), value(member)?))).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "the format's numbers are f32")]
fn single(value: f64) -> Value {
    Value::F32(value as f32)
}

/// Reads the keys back and refuses them where another model comes out: the format cannot say what this one is.
pub(super) async fn check(keys: &Keys, config: &ModelConfig, has: &dyn Fn(&str) -> bool) -> Result<()> {
    let source = MemorySource::new().with(FILE, header(keys, &[]));
    let read = read_config(&source, FILE, has).await?;
    match difference(config, &read) {
        None => Ok(()),
        Some((field, expected, found)) => {
            let message = format!(
                "config.json: {field}: {expected}: GGUF has no key for this value; the file would be read as {found}"
            );
            Err(Error::new(Code::UnsupportedModel, message)
                .with_help("run the checkpoint as it is: no GGUF file can hold this model"))
        }
    }
}

/// The first field that differs, and both its values.
fn difference(config: &ModelConfig, read: &ModelConfig) -> Option<(String, String, String)> {
    let pairs = [
        ("vocab_size", config.vocab_size.into(), read.vocab_size.into()),
        ("hidden_size", config.hidden_size.into(), read.hidden_size.into()),
        ("num_hidden_layers", config.num_hidden_layers.into(), read.num_hidden_layers.into()),
        ("intermediate_size", config.intermediate_size.into(), read.intermediate_size.into()),
        ("num_attention_heads", config.num_attention_heads.into(), read.num_attention_heads.into()),
        ("q_lora_rank", config.q_lora_rank.unwrap_or(0).into(), read.q_lora_rank.unwrap_or(0).into()),
        ("kv_lora_rank", config.kv_lora_rank.into(), read.kv_lora_rank.into()),
        ("qk_nope_head_dim", config.qk_nope_head_dim.into(), read.qk_nope_head_dim.into()),
        ("qk_rope_head_dim", config.qk_rope_head_dim.into(), read.qk_rope_head_dim.into()),
        ("v_head_dim", config.v_head_dim.into(), read.v_head_dim.into()),
        ("rms_norm_eps", config.rms_norm_eps, read.rms_norm_eps),
        ("max_position_embeddings", config.max_position_embeddings.into(), read.max_position_embeddings.into()),
        ("rope_theta", config.rope.theta, read.rope.theta),
    ];
    if let Some((field, expected, found)) = pairs.into_iter().find(|(_, expected, found)| !near(*expected, *found)) {
        return Some((field.to_owned(), expected.to_string(), found.to_string()));
    }
    let told = told(config).into_iter().zip(told(read));
    if let Some(((field, expected), (_, found))) = told.into_iter().find(|(one, other)| one != other) {
        return Some((field.to_owned(), expected.to_string(), found.to_string()));
    }
    let layers = config.layers.iter().zip(&read.layers).take(config.num_hidden_layers as usize);
    let (place, (expected, found)) = layers.enumerate().find(|(_, (expected, found))| expected != found)?;
    let [expected, found] = [expected, found].map(|layer| parts_of(layer.moe, layer.indexer));
    Some((format!("layer {place}"), expected, found))
}

/// Fields by their names in config.json. Numbers are rounded: the file has them in an f32.
fn told(config: &ModelConfig) -> Vec<(&'static str, serde_json::Value)> {
    let (router, indexer) = (config.router, config.indexer);
    let scaling = config.rope.scaling.map(|yarn| {
        let mut members = json!({
            "type": "yarn", "factor": rounded(yarn.factor),
            "original_max_position_embeddings": yarn.original_max_position_embeddings,
            "beta_fast": rounded(yarn.beta_fast), "beta_slow": rounded(yarn.beta_slow),
        });
        for (name, scale) in [
            ("mscale", yarn.mscale),
            ("mscale_all_dim", yarn.mscale_all_dim),
            ("attention_factor", yarn.attention_factor),
        ] {
            if let Some(scale) = scale {
                members[name] = json!(rounded(scale));
            }
        }
        members
    });
    let scoring = router.map(|router| match router.scoring {
        Scoring::Sigmoid => "sigmoid",
        Scoring::Softmax => "softmax",
    });
    let method = router.map(|router| match (router.has_bias, router.group_score, router.n_group) {
        (true, GroupScore::TopTwoSum, _) => "noaux_tc",
        (true, GroupScore::Max, _) => "group_limited_greedy with e_score_correction_bias",
        (false, GroupScore::TopTwoSum, _) => "noaux_tc without e_score_correction_bias",
        (false, GroupScore::Max, 1) => "greedy",
        (false, GroupScore::Max, _) => "group_limited_greedy",
    });
    vec![
        ("tie_word_embeddings", json!(config.tie_word_embeddings)),
        ("rope_interleave", json!(config.rope.interleave)),
        ("rope_scaling", json!(scaling)),
        ("index_n_heads", json!(indexer.map(|indexer| indexer.n_heads))),
        ("index_head_dim", json!(indexer.map(|indexer| indexer.head_dim))),
        ("index_topk", json!(indexer.map(|indexer| indexer.topk))),
        ("indexer_rope_interleave", json!(indexer.map(|indexer| indexer.rope_interleave))),
        ("n_routed_experts", json!(router.map(|router| router.n_routed_experts))),
        ("num_experts_per_tok", json!(router.map(|router| router.num_experts_per_tok))),
        ("n_shared_experts", json!(router.map(|router| router.n_shared_experts))),
        ("moe_intermediate_size", json!(router.map(|router| router.moe_intermediate_size))),
        ("n_group", json!(router.map(|router| router.n_group))),
        ("topk_group", json!(router.map(|router| router.topk_group))),
        ("scoring_func", json!(scoring)),
        ("topk_method", json!(method)),
        ("norm_topk_prob", json!(router.map(|router| router.norm_topk_prob))),
        ("routed_scaling_factor", json!(router.map(|router| rounded(router.routed_scaling_factor)))),
        ("eos_token_id", json!(config.eos_token_ids)),
        ("bos_token_id", json!(config.bos_token_id)),
    ]
}

/// What a layer is, in words.
fn parts_of(moe: bool, indexer: Option<LayerIndexer>) -> String {
    let feed_forward = if moe { "experts" } else { "a dense feed-forward" };
    let indexer = match indexer {
        None => "no indexer",
        Some(LayerIndexer::Full) => "an indexer of its own",
        Some(LayerIndexer::Shared) => "the selection of a layer before",
    };
    format!("{feed_forward} and {indexer}")
}

/// Whether two numbers are the same in an f32.
fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= a.abs().max(b.abs()) * 1e-6
}

/// A number to as many digits as survive an f32.
fn rounded(value: f64) -> f64 {
    #[expect(clippy::cast_possible_truncation, reason = "to compare")]
    let single = (value * 1e6).round() as f32;
    f64::from(single) / 1e6
}
