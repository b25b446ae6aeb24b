//! Oracles: the configs that DeepSeek, Moonshot and Zhipu publish, read by hand; the ranges that the kernels hold.

use serde_json::{Value, json};

use crate::checkpoint::config::*;
/// A config of every required field.
fn base() -> Value {
    json!({
        "model_type": "deepseek_v32", "vocab_size": 16, "hidden_size": 8, "num_hidden_layers": 3, "intermediate_size": 12,
        "num_attention_heads": 2, "q_lora_rank": 20, "kv_lora_rank": 24, "qk_nope_head_dim": 6, "qk_rope_head_dim": 4,
        "v_head_dim": 10, "max_position_embeddings": 64, "index_n_heads": 5, "index_head_dim": 8, "index_topk": 7,
        "first_k_dense_replace": 1, "moe_intermediate_size": 4, "n_routed_experts": 8, "n_shared_experts": 1,
        "num_experts_per_tok": 2,
    })
}

/// The base with other fields; null takes one away.
fn config(fields: &Value) -> Value {
    let mut config = base();
    for (name, value) in fields.as_object().unwrap() {
        match value {
            Value::Null => drop(config.as_object_mut().unwrap().shift_remove(name)),
            value => config[name] = value.clone(),
        }
    }
    config
}

fn parsed(fields: &Value) -> ModelConfig {
    let read = ModelConfig::parse(config(fields).to_string().as_bytes());
    assert!(read.is_ok(), "{fields}: {:?}", read.err());
    read.unwrap()
}

fn refusal(fields: &Value) -> String {
    let error = ModelConfig::parse(config(fields).to_string().as_bytes()).map(|_| ()).expect_err(&fields.to_string());
    error.message().to_owned()
}

fn layer(moe: bool, indexer: Option<LayerIndexer>) -> LayerKind {
    LayerKind { moe, indexer }
}

#[test]
fn fields_are_where_they_belong_and_absent_ones_have_defaults() {
    let full = Some(LayerIndexer::Full);
    let plain = ModelConfig {
        model_type: "deepseek_v32".to_owned(),
        tensor_prefix: "",
        vocab_size: 16,
        hidden_size: 8,
        num_hidden_layers: 3,
        intermediate_size: 12,
        num_attention_heads: 2,
        q_lora_rank: Some(20),
        kv_lora_rank: 24,
        qk_nope_head_dim: 6,
        qk_rope_head_dim: 4,
        v_head_dim: 10,
        rms_norm_eps: 1e-6,
        max_position_embeddings: 64,
        tie_word_embeddings: false,
        num_nextn_predict_layers: 0,
        rope: RopeConfig { theta: 10_000.0, interleave: true, scaling: None },
        indexer: Some(IndexerConfig { n_heads: 5, head_dim: 8, topk: 7, rope_interleave: false }),
        router: Some(RouterConfig {
            n_routed_experts: 8,
            num_experts_per_tok: 2,
            n_group: 1,
            topk_group: 1,
            scoring: Scoring::Sigmoid,
            group_score: GroupScore::TopTwoSum,
            has_bias: true,
            norm_topk_prob: true,
            routed_scaling_factor: 1.0,
            n_shared_experts: 1,
            moe_intermediate_size: 4,
        }),
        quantization: None,
        layers: vec![layer(false, full), layer(true, full), layer(true, full)],
        bos_token_id: None,
        eos_token_ids: vec![],
    };
    assert_eq!(parsed(&json!({})), plain);
    let told = parsed(&json!({
        "rms_norm_eps": 0.001, "tie_word_embeddings": true, "num_nextn_predict_layers": 1, "rope_theta": 5000,
        "rope_interleave": false, "indexer_rope_interleave": true, "n_group": 4, "topk_group": 2, "scoring_func": "softmax",
        "topk_method": "group_limited_greedy", "norm_topk_prob": false, "routed_scaling_factor": 2.5, "n_shared_experts": 3,
        "bos_token_id": 3, "eos_token_id": [4, 15], "attention_bias": false, "hidden_act": "silu",
        "quantization_config": {
            "quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128], "scale_fmt": "ue8m0",
        },
    }));
    let expected = ModelConfig {
        rms_norm_eps: 0.001,
        tie_word_embeddings: true,
        num_nextn_predict_layers: 1,
        rope: RopeConfig { theta: 5000.0, interleave: false, scaling: None },
        indexer: plain.indexer.map(|indexer| IndexerConfig { rope_interleave: true, ..indexer }),
        router: plain.router.map(|router| RouterConfig {
            n_group: 4,
            topk_group: 2,
            scoring: Scoring::Softmax,
            group_score: GroupScore::Max,
            has_bias: false,
            norm_topk_prob: false,
            routed_scaling_factor: 2.5,
            n_shared_experts: 3,
            ..router
        }),
        quantization: Some(Quantization::Fp8 { power_of_two_scales: true }),
        layers: vec![layer(false, full), layer(true, full), layer(true, full), layer(true, full)],
        bos_token_id: Some(3),
        eos_token_ids: vec![4, 15],
        ..plain
    };
    assert_eq!(told, expected);
    assert_eq!(told.layers_with_prediction(), 4);
}

/// Each family's defaults, where its config says nothing.
#[test]
fn a_family_stands_for_what_its_config_leaves_out() {
    for (family, indexer, moe, v2) in [
        ("deepseek_v32", Some(false), true, false),
        ("glm_moe_dsa", Some(true), true, false),
        ("deepseek_v3", None, true, false),
        ("kimi_k2", None, true, false),
        ("glm4_moe_lite", None, true, false),
        ("deepseek_v2", None, true, true),
        ("youtu", None, false, false),
        ("youtu_llm", None, false, false),
    ] {
        let config = parsed(&json!({ "model_type": family }));
        assert_eq!(config.indexer.map(|indexer| indexer.rope_interleave), indexer, "{family}");
        assert_eq!(config.layers[2], layer(moe, indexer.map(|_| LayerIndexer::Full)), "{family}");
        let router =
            config.router.map(|router| (router.scoring, router.has_bias, router.norm_topk_prob, router.group_score));
        let expected = match v2 {
            true => (Scoring::Softmax, false, false, GroupScore::Max),
            false => (Scoring::Sigmoid, true, true, GroupScore::TopTwoSum),
        };
        assert_eq!(router, moe.then_some(expected), "{family}");
    }
    // DeepSeek-V2 never normalises, and its groups play no part unless they are named.
    let v2 = |fields: Value| {
        let mut all = json!({ "model_type": "deepseek_v2", "n_group": 4, "topk_group": 2 });
        all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let router = parsed(&all).router.unwrap();
        (router.norm_topk_prob, router.has_bias, router.n_group, router.topk_group)
    };
    assert_eq!(v2(json!({ "norm_topk_prob": true })), (false, false, 1, 1));
    assert_eq!(v2(json!({ "topk_method": "greedy" })), (false, false, 1, 1));
    assert_eq!(v2(json!({ "topk_method": "group_limited_greedy" })), (false, false, 4, 2));
    assert_eq!(v2(json!({ "topk_method": "noaux_tc" })), (false, true, 4, 2));
    assert_eq!(
        refusal(&json!({ "model_type": "llama" })),
        "E-ARCH: config.json: model_type: \"llama\" is not of this family"
    );
    assert_eq!(
        refusal(&json!({ "model_type": null })),
        "E-ARCH: config.json: model_type: expected a name, found nothing"
    );
    assert_eq!(refusal(&json!({ "model_type": 5 })), "E-ARCH: config.json: model_type: expected a name, found 5");
}

/// A config inside another: what concerns the whole may be around it.
#[test]
fn a_nested_config_is_the_language_model_s() {
    let mut inner = base();
    inner["eos_token_id"] = json!(5);
    let quantization = json!({ "quant_method": "fp8", "weight_block_size": [128, 128] });
    let whole = json!({
        "model_type": "kimi_k25", "text_config": inner, "bos_token_id": 2, "eos_token_id": 3, "vocab_size": 99,
        "quantization_config": quantization,
    });
    let config = ModelConfig::parse(whole.to_string().as_bytes()).unwrap();
    assert_eq!((config.tensor_prefix, config.vocab_size, config.bos_token_id), ("language_model.", 16, Some(2)));
    assert_eq!(config.eos_token_ids, [5], "the inner one goes first");
    assert_eq!(config.quantization, Some(Quantization::Fp8 { power_of_two_scales: false }));
    let broken = json!({ "text_config": { "model_type": "deepseek_v3", "vocab_size": 0 } });
    let error = ModelConfig::parse(broken.to_string().as_bytes()).unwrap_err();
    let message = "E-CONFIG: config.json: text_config.vocab_size: expected a whole number in 1..=4194304, found 0";
    assert_eq!((error.message(), &error.details()["field"]), (message, &json!("text_config.vocab_size")));
}

/// Layers, one letter for the feed-forward and one for the indexer: `dF mS`.
fn layers(fields: &Value) -> String {
    let shown = |kind: &LayerKind| {
        let indexer = match kind.indexer {
            None => "-",
            Some(LayerIndexer::Full) => "F",
            Some(LayerIndexer::Shared) => "S",
        };
        format!("{}{indexer}", if kind.moe { "m" } else { "d" })
    };
    parsed(fields).layers.iter().map(shown).collect::<Vec<_>>().join(" ")
}

#[test]
fn layers_are_listed_or_follow_from_numbers() {
    for (fields, expected) in [
        (json!({}), "dF mF mF"),
        (json!({ "first_k_dense_replace": 0 }), "mF mF mF"),
        (json!({ "first_k_dense_replace": 3 }), "dF dF dF"),
        (json!({ "first_k_dense_replace": 3, "num_nextn_predict_layers": 2 }), "dF dF dF mF mF"),
        (json!({ "first_k_dense_replace": 0, "moe_layer_freq": 2 }), "mF dF mF"),
        (json!({ "num_hidden_layers": 4, "moe_layer_freq": 2, "num_nextn_predict_layers": 2 }), "dF dF mF dF mF mF"),
        (json!({ "mlp_layer_types": ["sparse", "dense", "sparse"] }), "mF dF mF"),
        (json!({ "mlp_layer_types": ["sparse", "dense", "dense"], "num_nextn_predict_layers": 1 }), "mF dF dF mF"),
        (
            json!({ "mlp_layer_types": ["sparse", "dense", "sparse", "dense"], "num_nextn_predict_layers": 1 }),
            "mF dF mF dF",
        ),
        // A list says it all: numbers beside it need not be there.
        (json!({ "mlp_layer_types": ["dense", "dense", "sparse"], "first_k_dense_replace": null }), "dF dF mF"),
        (json!({ "model_type": "youtu", "first_k_dense_replace": null }), "d- d- d-"),
        (json!({ "model_type": "deepseek_v3" }), "d- m- m-"),
        (json!({ "indexer_types": ["full", "shared", "full"] }), "dF mS mF"),
        (json!({ "indexer_types": ["full", "shared", "shared"], "num_nextn_predict_layers": 1 }), "dF mS mS mF"),
        (
            json!({ "indexer_types": ["full", "shared", "full", "shared"], "num_nextn_predict_layers": 1 }),
            "dF mS mF mS",
        ),
        (json!({ "index_topk_pattern": "FSF" }), "dF mS mF"),
        (json!({ "index_topk_pattern": ["F", "S", "shared"] }), "dF mS mS"),
        (json!({ "index_topk_pattern": ["full", "full", "S"] }), "dF mF mS"),
        // The list of types goes before the pattern, both before the numbers.
        (json!({ "indexer_types": ["full", "full", "shared"], "index_topk_pattern": "FSF" }), "dF mF mS"),
        (json!({ "index_topk_pattern": "FFS", "index_topk_freq": 2 }), "dF mF mS"),
        // Every second from the offset on; what is before it is full.
        (json!({ "num_hidden_layers": 7, "index_topk_freq": 2 }), "dF mF mS mF mS mF mS"),
        (json!({ "num_hidden_layers": 7, "index_topk_freq": 3 }), "dF mF mS mS mF mS mS"),
        (json!({ "num_hidden_layers": 7, "index_topk_freq": 4, "index_skip_topk_offset": 4 }), "dF mF mF mF mS mS mS"),
        (json!({ "num_hidden_layers": 5, "index_topk_freq": 2, "index_skip_topk_offset": 1 }), "dF mS mF mS mF"),
        (json!({ "num_hidden_layers": 4, "index_topk_freq": 4, "num_nextn_predict_layers": 2 }), "dF mF mS mS mF mF"),
        (json!({ "model_type": "deepseek_v3", "index_topk_freq": 2 }), "d- m- m-"),
    ] {
        assert_eq!(layers(&fields), expected, "{fields}");
    }
    let first = "expected the first layer to be full: a shared one needs a full one before it";
    for (fields, field, says) in [
        (json!({ "mlp_layer_types": ["dense"] }), "mlp_layer_types", "expected 3 entries, found 1"),
        (json!({ "mlp_layer_types": vec!["dense"; 4] }), "mlp_layer_types", "expected 3 entries, found 4"),
        (
            json!({ "mlp_layer_types": vec!["dense"; 5], "num_nextn_predict_layers": 1 }),
            "mlp_layer_types",
            "expected 3 entries, found 5",
        ),
        (
            json!({ "mlp_layer_types": ["dense", "wide", "dense"] }),
            "mlp_layer_types",
            "expected a list of dense or sparse",
        ),
        (json!({ "indexer_types": ["full", "shared"] }), "indexer_types", "expected 3 entries, found 2"),
        (json!({ "indexer_types": ["shared", "full", "full"] }), "indexer_types", first),
        (json!({ "index_topk_pattern": "FS" }), "index_topk_pattern", "expected 3 entries, found 2"),
        (json!({ "index_topk_pattern": "SFF" }), "index_topk_pattern", first),
        (json!({ "index_topk_pattern": "FXF" }), "index_topk_pattern", "expected only F and S"),
        (
            json!({ "index_topk_pattern": ["F", "X", "F"] }),
            "index_topk_pattern",
            "expected a list of F or S or full or shared",
        ),
        (json!({ "index_topk_freq": 2, "index_skip_topk_offset": 0 }), "index_skip_topk_offset", first),
        (json!({ "first_k_dense_replace": 4 }), "first_k_dense_replace", "expected a whole number in 0..=3, found 4"),
        (
            json!({ "first_k_dense_replace": null }),
            "first_k_dense_replace",
            "expected a whole number in 0..=3, found nothing",
        ),
        (json!({ "moe_layer_freq": 0 }), "moe_layer_freq", "expected a whole number in 1..=1024, found 0"),
        (json!({ "index_topk_freq": 0 }), "index_topk_freq", "expected a whole number in 1..=1024, found 0"),
    ] {
        assert_eq!(refusal(&fields), format!("E-CONFIG: config.json: {field}: {says}"), "{fields}");
    }
}

/// Each row: a size, its least and its largest value.
#[test]
fn sizes_hold_both_of_their_ends() {
    for (field, least, most) in [
        ("vocab_size", 1, 1 << 22),
        ("num_hidden_layers", 1, 1024),
        ("hidden_size", 4, 1 << 20),
        ("intermediate_size", 4, 1 << 20),
        ("num_attention_heads", 2, 1024),
        ("q_lora_rank", 4, 1 << 20),
        ("kv_lora_rank", 4, 1 << 20),
        ("qk_nope_head_dim", 1, 4096),
        ("qk_rope_head_dim", 4, 8),
        ("v_head_dim", 2, 4096),
        ("max_position_embeddings", 1, 1 << 26),
        ("index_n_heads", 1, 1024),
        ("index_head_dim", 4, 4096),
        ("index_topk", 1, 1 << 20),
        ("n_routed_experts", 2, 512),
        ("n_shared_experts", 1, 64),
        ("num_experts_per_tok", 1, 8),
        ("moe_intermediate_size", 4, 1 << 20),
        ("num_nextn_predict_layers", 0, 8),
        ("n_group", 1, 4),
        ("moe_layer_freq", 1, 1024),
    ] {
        for value in [least, most] {
            parsed(&json!({ field: value }));
        }
    }
    let wanted = |field: &str, range: &str, found: &str| {
        format!("E-CONFIG: config.json: {field}: expected a whole number in {range}, found {found}")
    };
    for (field, value, range) in [
        ("vocab_size", (1 << 22) + 1, "1..=4194304"),
        ("num_hidden_layers", 1025, "1..=1024"),
        ("hidden_size", (1 << 20) + 4, "1..=1048576"),
        ("num_attention_heads", 1025, "1..=1024"),
        ("qk_rope_head_dim", 4100, "1..=4096"),
        ("v_head_dim", 4097, "1..=4096"),
        ("max_position_embeddings", (1 << 26) + 1, "1..=67108864"),
        ("index_head_dim", 3, "4..=4096"),
        ("n_shared_experts", 65, "1..=64"),
        ("num_experts_per_tok", 9, "1..=8"),
        ("num_nextn_predict_layers", 9, "0..=8"),
        ("n_group", 9, "1..=8"),
    ] {
        assert_eq!(refusal(&json!({ field: value })), wanted(field, range, &value.to_string()));
    }
    // Of the groups that are kept all experts may be chosen, and no more.
    let groups = |most: u32| json!({ "n_group": 4, "topk_group": 2, "num_experts_per_tok": most });
    assert_eq!(parsed(&groups(4)).router.unwrap().num_experts_per_tok, 4);
    assert_eq!(refusal(&groups(5)), wanted("num_experts_per_tok", "1..=4", "5"));
    assert_eq!(refusal(&json!({ "n_group": 4, "topk_group": 5 })), wanted("topk_group", "1..=4", "5"));
    for (fields, says) in [
        (json!({ "n_group": 3 }), "n_group: expected a divisor of the 8 experts, found 3"),
        (
            json!({ "n_group": 8, "num_experts_per_tok": 1 }),
            "n_group: expected at least two experts in each group, whose two best are summed",
        ),
        (json!({ "qk_rope_head_dim": 6 }), "qk_rope_head_dim: expected a multiple of 4, found 6"),
        (json!({ "q_lora_rank": null }), "q_lora_rank: expected a whole number or null, found nothing"),
        (
            json!({ "attention_bias": true }),
            "attention_bias: expected false, found true: no linear of this family has a bias",
        ),
        (json!({ "mlp_bias": true }), "mlp_bias: expected false, found true: no linear of this family has a bias"),
        (json!({ "hidden_act": "gelu" }), "hidden_act: expected silu, found the string \"gelu\""),
    ] {
        assert_eq!(refusal(&fields), format!("E-CONFIG: config.json: {says}"), "{fields}");
    }
    parsed(&json!({ "n_group": 8, "num_experts_per_tok": 1, "topk_method": "group_limited_greedy" }));
    for (field, value, name) in [
        ("hidden_size", 10, "hidden_size"),
        ("q_lora_rank", 10, "q_lora_rank"),
        ("kv_lora_rank", 10, "kv_lora_rank"),
        ("v_head_dim", 5, "num_attention_heads times v_head_dim"),
        ("intermediate_size", 10, "intermediate_size"),
        ("moe_intermediate_size", 10, "moe_intermediate_size"),
        ("index_head_dim", 10, "index_head_dim"),
    ] {
        let says = format!("{name}: expected a multiple of 4, found 10: the kernels read four weights at once");
        assert_eq!(refusal(&json!({ field: value })), format!("E-CONFIG: config.json: {says}"));
    }
}

#[test]
fn queries_may_come_from_the_hidden_state_where_no_indexer_reads_their_latent() {
    let mut dense = config(&json!({ "model_type": "deepseek_v3" }));
    dense["q_lora_rank"] = Value::Null;
    assert_eq!(ModelConfig::parse(dense.to_string().as_bytes()).unwrap().q_lora_rank, None);
    dense["model_type"] = json!("deepseek_v32");
    let error = ModelConfig::parse(dense.to_string().as_bytes()).unwrap_err();
    let says =
        "E-CONFIG: config.json: q_lora_rank: expected a whole number, found null: the indexer reads the query latent";
    assert_eq!(error.message(), says);
}

/// Either spelling, the newer one first; a zero counts as absent.
#[test]
fn rotary_positions_are_stretched_where_asked() {
    let yarn = Yarn {
        factor: 40.0,
        original_max_position_embeddings: 4096,
        beta_fast: 32.0,
        beta_slow: 1.0,
        mscale: None,
        mscale_all_dim: None,
        attention_factor: None,
    };
    let least = json!({ "type": "yarn", "factor": 40, "original_max_position_embeddings": 4096 });
    let all = json!({
        "rope_type": "yarn", "factor": 40, "original_max_position_embeddings": 4096, "beta_fast": 16, "beta_slow": 2,
        "mscale": 0.5, "mscale_all_dim": 0.25, "attention_factor": 1.5, "rope_theta": 500,
    });
    let zeros = json!({
        "type": "yarn", "factor": 40, "original_max_position_embeddings": 4096, "beta_fast": 0, "beta_slow": 0, "mscale": 0,
        "mscale_all_dim": 0, "attention_factor": 0,
    });
    let told = Yarn {
        beta_fast: 16.0,
        beta_slow: 2.0,
        mscale: Some(0.5),
        mscale_all_dim: Some(0.25),
        attention_factor: Some(1.5),
        ..yarn
    };
    for (fields, theta, scaling) in [
        (json!({ "rope_scaling": least }), 10_000.0, Some(yarn)),
        (json!({ "rope_scaling": zeros }), 10_000.0, Some(yarn)),
        (json!({ "rope_parameters": all, "rope_theta": 7, "rope_scaling": least }), 500.0, Some(told)),
        (json!({ "rope_parameters": least, "rope_theta": 7 }), 7.0, Some(yarn)),
        (json!({ "rope_scaling": { "type": "default", "factor": 2 } }), 10_000.0, None),
        (json!({ "rope_parameters": { "rope_theta": 9 } }), 9.0, None),
        // The newer name of the type goes first.
        (json!({ "rope_scaling": { "rope_type": "default", "type": "yarn", "factor": 2 } }), 10_000.0, None),
    ] {
        let rope = parsed(&fields).rope;
        assert_eq!((rope.theta, rope.scaling), (theta, scaling), "{fields}");
    }
    let with = |name: &str, value: Value| {
        let mut own = least.clone();
        own[name] = value;
        refusal(&json!({ "rope_scaling": own }))
    };
    for (name, value, says) in [
        ("factor", json!(0.5), "expected a number from 1 to 1e6, found 0.5"),
        ("factor", Value::Null, "expected a number, found nothing"),
        ("beta_fast", json!(-1), "expected a number from 0 to 1000, found -1"),
        ("mscale", json!(1001), "expected a number from 0 to 1000, found 1001"),
        ("original_max_position_embeddings", json!(0), "expected a whole number in 1..=67108864, found 0"),
        ("rope_theta", json!(1), "expected a number from 1.0000000000000002 to 1e12, found 1"),
    ] {
        assert_eq!(with(name, value), format!("E-CONFIG: config.json: rope_scaling.{name}: {says}"));
    }
    for (fields, says) in [
        (json!({ "rope_theta": 1 }), "rope_theta: expected a number from 1.0000000000000002 to 1e12, found 1"),
        (
            json!({ "rms_norm_eps": 0.2 }),
            "rms_norm_eps: expected a number from 2.2250738585072014e-308 to 0.1, found 0.2",
        ),
        (json!({ "routed_scaling_factor": -1 }), "routed_scaling_factor: expected a number from 0 to 1e6, found -1"),
        (json!({ "rope_scaling": 5 }), "rope_scaling: expected an object, found 5"),
        (json!({ "tie_word_embeddings": 1 }), "tie_word_embeddings: expected true or false, found 1"),
        (json!({ "indexer_types": "full" }), "indexer_types: expected a list, found the string \"full\""),
        (
            json!({ "eos_token_id": [1, 16] }),
            "eos_token_id: expected token ids below vocab_size, 16, found a list of 2",
        ),
        (json!({ "bos_token_id": 16 }), "bos_token_id: expected token ids below vocab_size, 16, found 16"),
    ] {
        assert_eq!(refusal(&fields), format!("E-CONFIG: config.json: {says}"), "{fields}");
    }
}

#[test]
fn only_one_kind_of_quantisation_is_known() {
    let own = |fields: Value| {
        let mut own = json!({ "quant_method": "fp8", "weight_block_size": [128, 128] });
        own.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json!({ "quantization_config": own })
    };
    for (fields, powers) in [
        (json!({}), false),
        (json!({ "scale_fmt": "ue8m0" }), true),
        (json!({ "scale_fmt": "float" }), false),
        (json!({ "fmt": "e4m3", "activation_scheme": "dynamic" }), false),
    ] {
        assert_eq!(parsed(&own(fields)).quantization, Some(Quantization::Fp8 { power_of_two_scales: powers }));
    }
    for (fields, name, says) in [
        (json!({ "quant_method": null }), "quant_method", "expected fp8 or compressed-tensors, found nothing"),
        (json!({ "quant_method": "gptq" }), "quant_method", "expected fp8 or compressed-tensors, found \"gptq\""),
        (json!({ "fmt": "e5m2" }), "fmt", "expected e4m3, found the string \"e5m2\""),
        (json!({ "weight_block_size": [128] }), "weight_block_size", "expected [128, 128]"),
        (json!({ "weight_block_size": [128, 64] }), "weight_block_size", "expected [128, 128]"),
        (json!({ "weight_block_size": [128, 128, 128] }), "weight_block_size", "expected [128, 128]"),
        (json!({ "scale_fmt": "x" }), "scale_fmt", "expected ue8m0 or float, found the string \"x\""),
    ] {
        assert_eq!(refusal(&own(fields)), format!("E-QUANT: config.json: quantization_config.{name}: {says}"));
    }
    assert_eq!(
        refusal(&json!({ "quantization_config": 5 })),
        "E-QUANT: config.json: quantization_config: expected an object, found 5"
    );
}

#[test]
fn recommended_sampling_is_read_where_it_is_told() {
    let read = |fields: Value| GenerationDefaults::parse(fields.to_string().as_bytes(), 16);
    assert_eq!(read(json!({ "max_length": 5, "top_k": null })).unwrap(), GenerationDefaults::default());
    let all = read(json!({
        "do_sample": false, "temperature": 0, "top_p": 1, "top_k": 20, "min_p": 0.05, "repetition_penalty": 1.05,
        "eos_token_id": [1, 2],
    }))
    .unwrap();
    let expected = GenerationDefaults {
        do_sample: Some(false),
        temperature: Some(0.0),
        top_p: Some(1.0),
        top_k: Some(20),
        min_p: Some(0.05),
        repetition_penalty: Some(1.05),
        eos_token_ids: vec![1, 2],
    };
    assert_eq!(all, expected);
    assert_eq!(read(json!({ "do_sample": true, "eos_token_id": 15 })).unwrap().do_sample, Some(true));
    assert_eq!(read(json!({ "temperature": 2 })).unwrap().temperature, Some(2.0));
    for (fields, says) in [
        (json!({ "temperature": 2.1 }), "temperature: expected a number from 0 to 2, found 2.1"),
        (json!({ "top_k": -1 }), "top_k: expected a whole number in 0..=4294967295, found -1"),
        (json!({ "repetition_penalty": 0 }), "repetition_penalty: expected a number from 0.01 to 10, found 0"),
        (json!({ "do_sample": 1 }), "do_sample: expected true or false, found 1"),
        (json!({ "eos_token_id": 16 }), "eos_token_id: expected token ids below vocab_size, 16, found 16"),
    ] {
        assert_eq!(read(fields).unwrap_err().message(), format!("E-CONFIG: generation_config.json: {says}"));
    }
    let error = GenerationDefaults::parse(b"[1]", 16).unwrap_err();
    assert_eq!(error.message(), "E-JSON: generation_config.json: expected an object, found a list of 1");
}
