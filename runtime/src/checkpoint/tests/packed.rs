//! Oracle: what compressed-tensors and mlx-lm write, and each way in which it can be wrong.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::LISTING;
use crate::checkpoint::names;
use crate::checkpoint::tensors::claim;
use crate::checkpoint::{Dtype, ModelConfig, Tensor};

type Stored = HashMap<String, Tensor>;

fn parse(fields: &Value) -> crate::Result<ModelConfig> {
    let mut config = json!({
        "model_type": "deepseek_v3", "vocab_size": 16, "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 64,
        "num_attention_heads": 2, "q_lora_rank": null, "kv_lora_rank": 32, "qk_nope_head_dim": 32, "qk_rope_head_dim": 4,
        "v_head_dim": 32, "max_position_embeddings": 64, "first_k_dense_replace": 1, "moe_intermediate_size": 32,
        "n_routed_experts": 2, "n_shared_experts": 1, "num_experts_per_tok": 1,
    });
    config.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    ModelConfig::parse(config.to_string().as_bytes())
}

fn tensor(name: &str, dtype: Dtype, shape: &[u64]) -> Tensor {
    Tensor {
        name: name.to_owned(),
        file: "f".into(),
        dtype,
        shape: shape.to_vec(),
        offset: 64,
        bytes: 64,
        packed: None,
    }
}

fn put(stored: &mut Stored, name: &str, dtype: Dtype, shape: &[u64]) {
    stored.insert(name.to_owned(), tensor(name, dtype, shape));
}

fn whole(config: &ModelConfig) -> Stored {
    names::expected(config)
        .map(|expected| (expected.name.clone(), tensor(&expected.name, Dtype::BF16, &expected.shape)))
        .collect()
}

const EXPERT: &str = "model.layers.1.mlp.experts.1.up_proj";

fn weights(fields: Value) -> Value {
    let mut own = json!({
        "type": "int", "num_bits": 4, "group_size": 32, "strategy": "group", "symmetric": true, "actorder": null,
        "dynamic": false,
    });
    own.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    json!({ "quantization_config": {
        "quant_method": "compressed-tensors", "format": "pack-quantized",
        "config_groups": { "group_0": { "targets": ["Linear"], "weights": own, "input_activations": null } },
        "ignore": ["lm_head", "re:.*[("],
    }})
}

/// Routed experts packed, the rest as it was.
fn compressed(config: &ModelConfig) -> Stored {
    let mut stored = whole(config);
    for expert in 0..2 {
        for (part, rows, words, groups) in [("gate_proj", 32, 8, 2), ("up_proj", 32, 8, 2), ("down_proj", 64, 4, 1)] {
            let module = format!("model.layers.1.mlp.experts.{expert}.{part}");
            stored.remove(&format!("{module}.weight"));
            put(&mut stored, &format!("{module}.weight_packed"), Dtype::I32, &[rows, words]);
            put(&mut stored, &format!("{module}.weight_scale"), Dtype::BF16, &[rows, groups]);
            put(&mut stored, &format!("{module}.weight_shape"), Dtype::I32, &[2]);
        }
    }
    stored
}

#[test]
fn packed_experts_are_claimed_beside_plain_weights() {
    let config = parse(&weights(json!({}))).unwrap();
    let claims = claim(&config, &LISTING, compressed(&config)).unwrap();
    let (tensor, _) = &claims.tensors[&format!("{EXPERT}.weight")];
    assert_eq!((tensor.dtype, tensor.shape.as_slice(), tensor.stored_bytes()), (Dtype::INT4, &[32, 64][..], 128));
    assert_eq!(tensor.packed.as_ref().unwrap().scales.name, format!("{EXPERT}.weight_scale"));
    let (plain, _) = &claims.tensors[&names::layer(1, "mlp.shared_experts.up_proj")];
    assert_eq!((plain.dtype, claims.unused_count), (Dtype::BF16, 0));
}

#[test]
fn parts_of_compressed_tensors_that_do_not_fit_are_refused() {
    let config = parse(&weights(json!({}))).unwrap();
    let name = |part: &str| format!("{EXPERT}.{part}");
    type Change = fn(&mut Stored, &dyn Fn(&str) -> String);
    let changes: [(Change, &str); 11] = [
        (|stored, name| drop(stored.remove(&name("weight_scale"))), "weight_scale\" is missing"),
        (|stored, name| drop(stored.remove(&name("weight_shape"))), "weight_shape\" is missing"),
        (|stored, name| drop(stored.remove(&name("weight_packed"))), "expected [32, 64], found nothing"),
        (|stored, name| put(stored, &name("weight_zero_point"), Dtype::I32, &[4, 2]), "weight_zero_point\": not with"),
        (|stored, name| put(stored, &name("weight_g_idx"), Dtype::I32, &[64]), "weight_g_idx\": not with"),
        (|stored, name| put(stored, &name("weight"), Dtype::BF16, &[32, 64]), "weight\": not with"),
        (|stored, name| put(stored, &name("weight_packed"), Dtype::U8, &[32, 8]), "expected I32, found U8"),
        (
            |stored, name| put(stored, &name("weight_packed"), Dtype::I32, &[32, 9]),
            "[32, 9] words and scales of [32, 2]",
        ),
        (|stored, name| put(stored, &name("weight_scale"), Dtype::BF16, &[31, 2]), "scales of [31, 2]"),
        (|stored, name| put(stored, &name("weight_scale"), Dtype::U8, &[32, 2]), "expected BF16, F16 or F32, found U8"),
        (|stored, name| put(stored, &name("weight_shape"), Dtype::I32, &[3]), "expected two numbers"),
    ];
    for (change, says) in changes {
        let mut stored = compressed(&config);
        change(&mut stored, &name);
        let error = claim(&config, &LISTING, stored).err().unwrap_or_else(|| panic!("{says}: accepted"));
        assert!(error.to_string().contains(says) && error.to_string().contains("E-"), "{says}: {error}");
        assert!(error.to_string().contains(EXPERT), "{error}");
    }
    // A shape that is another model's.
    let mut stored = compressed(&config);
    put(&mut stored, &name("weight_packed"), Dtype::I32, &[32, 4]);
    put(&mut stored, &name("weight_scale"), Dtype::BF16, &[32, 1]);
    let error = claim(&config, &LISTING, stored).err().unwrap().to_string();
    assert!(error.contains("expected shape [32, 64], found [32, 32]"), "{error}");
}

#[test]
fn formats_that_are_not_run_are_refused_by_name() {
    for (fields, says) in [
        (weights(json!({ "symmetric": false })), "symmetric"),
        (weights(json!({ "strategy": "channel" })), "strategy"),
        (weights(json!({ "strategy": null })), "strategy"),
        (weights(json!({ "actorder": "group" })), "actorder"),
        (weights(json!({ "dynamic": true })), "dynamic"),
        (weights(json!({ "num_bits": 3 })), "num_bits"),
        (weights(json!({ "group_size": 16 })), "group_size"),
        (weights(json!({ "type": "float" })), "type"),
        (
            json!({ "quantization_config": { "quant_method": "compressed-tensors", "format": "nvfp4-pack-quantized" } }),
            "nvfp4-pack-quantized",
        ),
        (json!({ "quantization_config": { "quant_method": "compressed-tensors" } }), "format"),
        (
            json!({ "quantization_config": { "quant_method": "compressed-tensors", "format": "pack-quantized",
            "config_groups": { "a": { "weights": {}, "input_activations": { "num_bits": 8 } } } } }),
            "input_activations",
        ),
        (
            json!({ "quantization_config": { "quant_method": "compressed-tensors", "format": "pack-quantized",
            "config_groups": {} } }),
            "config_groups",
        ),
        (json!({ "quantization_config": { "quant_method": "awq", "bits": 4 } }), "awq"),
        (json!({ "quantization_config": { "quant_method": "bitsandbytes" } }), "bitsandbytes"),
        (json!({ "quantization_config": { "quant_method": "fp8" } }), "weight_block_size"),
        (json!({ "quantization": { "bits": 4, "group_size": 32, "mode": "mxfp4" } }), "mxfp4"),
    ] {
        let error = parse(&fields).err().unwrap_or_else(|| panic!("{says}: accepted")).to_string();
        assert!(error.contains("E-QUANT") && error.contains(says) && error.contains("config.json"), "{says}: {error}");
    }
    // Without a word in the config, by the tensors.
    let config = parse(&json!({})).unwrap();
    for (part, form) in [
        ("qweight", "AWQ or GPTQ"),
        ("g_idx", "GPTQ"),
        ("trellis", "EXL3"),
        ("weight_scale_2", "NVFP4"),
        ("weight_packed", "compressed-tensors without"),
        ("scales", "MLX without"),
    ] {
        let mut stored = whole(&config);
        stored.remove(&format!("{EXPERT}.weight"));
        put(&mut stored, &format!("{EXPERT}.{part}"), Dtype::I32, &[8, 8]);
        let error = claim(&config, &LISTING, stored).err().unwrap();
        assert!(error.help().concat().contains("take a GGUF or MLX quantisation"), "{error}");
        let error = error.to_string();
        assert!(error.contains("E-QUANT") && error.contains(form) && error.contains(EXPERT), "{error}");
    }
}

/// MLX as mlx-lm writes it: experts stacked, everything else under its own name; `attention` unpacked.
fn mlx(config: &ModelConfig) -> Stored {
    let mut stored = whole(config);
    stored.retain(|name, _| !name.contains(".experts."));
    // Words of codes, and groups, of a row.
    let mut pack = |module: &str, rows: &[u64], words: u64, groups: u64| {
        let with = |last| [rows, &[last]].concat();
        put(&mut stored, &format!("{module}.weight"), Dtype::U32, &with(words));
        put(&mut stored, &format!("{module}.scales"), Dtype::F16, &with(groups));
        put(&mut stored, &format!("{module}.biases"), Dtype::F16, &with(groups));
    };
    pack("lm_head", &[16], 12, 1);
    pack("model.layers.1.mlp.switch_mlp.gate_proj", &[2, 32], 8, 2);
    pack("model.layers.1.mlp.switch_mlp.up_proj", &[2, 32], 8, 2);
    pack("model.layers.1.mlp.switch_mlp.down_proj", &[2, 64], 4, 1);
    stored
}

fn quantization(fields: Value) -> Value {
    let mut own = json!({ "group_size": 32, "bits": 4, "mode": "affine", "lm_head": { "group_size": 64, "bits": 6 } });
    own.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    json!({ "quantization": own.clone(), "quantization_config": own })
}

#[test]
fn mlx_modules_have_the_bits_that_their_config_says() {
    for fields in [quantization(json!({})), json!({ "quantization_config": quantization(json!({}))["quantization"] })] {
        let config = parse(&fields).unwrap();
        let claims = claim(&config, &LISTING, mlx(&config)).unwrap();
        let (head, _) = &claims.tensors[names::HEAD];
        assert_eq!((head.dtype, head.shape.as_slice()), (Dtype::INT6, &[16, 64][..]));
        let (tensor, _) = &claims.tensors[&format!("{EXPERT}.weight")];
        // The second of two experts: the second half of each tensor.
        assert_eq!((tensor.dtype, tensor.shape.as_slice(), tensor.offset), (Dtype::INT4, &[32, 64][..], 96));
        let packed = tensor.packed.as_ref().unwrap();
        assert_eq!((packed.scales.offset, packed.scales.shape.as_slice(), packed.scales.bytes), (96, &[32, 2][..], 32));
        assert_eq!(packed.minima.as_ref().unwrap().offset, 96);
        assert_eq!(claims.unused_count, 0);
    }
    // Stacked experts that are not packed.
    let plain = quantization(json!({ "model.layers.1.mlp.switch_mlp.up_proj": false }));
    let config = parse(&plain).unwrap();
    let mut stored = mlx(&config);
    for part in ["scales", "biases"] {
        stored.remove(&format!("model.layers.1.mlp.switch_mlp.up_proj.{part}"));
    }
    put(&mut stored, "model.layers.1.mlp.switch_mlp.up_proj.weight", Dtype::BF16, &[2, 32, 64]);
    let claims = claim(&config, &LISTING, stored).unwrap();
    let (tensor, _) = &claims.tensors[&format!("{EXPERT}.weight")];
    assert_eq!((tensor.dtype, tensor.packed.is_none(), tensor.offset), (Dtype::BF16, true, 96));
}

#[test]
fn parts_of_mlx_that_do_not_fit_are_refused() {
    let config = parse(&quantization(json!({}))).unwrap();
    type Change = fn(&mut Stored);
    let changes: [(Change, &str); 8] = [
        (|stored| put(stored, "lm_head.weight", Dtype::I32, &[16, 12]), "expected U32, found I32"),
        (|stored| drop(stored.remove("lm_head.biases")), "scales without biases"),
        (|stored| drop(stored.remove("lm_head.scales")), "biases without scales"),
        (|stored| drop(stored.remove("lm_head.weight")), "scales without a weight"),
        (|stored| put(stored, "lm_head.weight", Dtype::U32, &[16, 8]), "not weights of 6 bits in groups of 64"),
        (|stored| put(stored, "lm_head.biases", Dtype::BF16, &[16, 1]), "as of the scales"),
        (|stored| put(stored, "lm_head.scales", Dtype::U8, &[16, 1]), "as of the scales"),
        (|stored| put(stored, "model.layers.1.mlp.switch_mlp.up_proj.weight", Dtype::U32, &[1 << 40, 32, 8]), "words"),
    ];
    for (change, says) in changes {
        let mut stored = mlx(&config);
        change(&mut stored);
        let error = claim(&config, &LISTING, stored).err().unwrap_or_else(|| panic!("{says}: accepted")).to_string();
        assert!(error.contains("E-QUANT") && error.contains(says), "{says}: {error}");
    }
    for (fields, says) in [
        (json!({ "bits": 7 }), "bits"),
        (json!({ "bits": 16 }), "bits"),
        (json!({ "group_size": 16 }), "group_size"),
        (json!({ "lm_head": true }), "lm_head"),
        (json!({ "lm_head": { "bits": 4 } }), "lm_head.group_size"),
    ] {
        let error = parse(&quantization(fields)).err().unwrap_or_else(|| panic!("{says}: accepted")).to_string();
        assert!(error.contains("E-QUANT") && error.contains(says), "{says}: {error}");
    }
    for (fields, says) in [
        (json!({ "model.layers.7.mlp.up_proj": { "bits": 4, "group_size": 32 } }), "a module without a weight"),
        (json!({ "lm_head": false }), "this module is not quantised"),
        (json!({ "lm_head": { "bits": 5, "group_size": 64 } }), "not weights of 5 bits"),
    ] {
        let config = parse(&quantization(fields)).unwrap();
        let error =
            claim(&config, &LISTING, mlx(&config)).err().unwrap_or_else(|| panic!("{says}: accepted")).to_string();
        assert!(error.contains("E-QUANT") && error.contains(says), "{says}: {error}");
    }
}
