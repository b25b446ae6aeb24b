//! Oracle: what DeepSeek's published files hold beside the main model, and what they may not.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::LISTING;
use crate::checkpoint::names::{self, TensorRole};
use crate::checkpoint::stored::Terms;
use crate::checkpoint::tensors::{Claims, Listing, claim};
use crate::checkpoint::{Dtype, ModelConfig, Tensor};

type Stored = HashMap<String, Tensor>;

fn config(fields: &Value) -> ModelConfig {
    let mut config = json!({
        "model_type": "deepseek_v32", "vocab_size": 16, "hidden_size": 8, "num_hidden_layers": 2, "intermediate_size": 12,
        "num_attention_heads": 2, "q_lora_rank": 20, "kv_lora_rank": 24, "qk_nope_head_dim": 6, "qk_rope_head_dim": 4,
        "v_head_dim": 10, "max_position_embeddings": 64, "index_n_heads": 5, "index_head_dim": 8, "index_topk": 7,
        "first_k_dense_replace": 1, "moe_intermediate_size": 4, "n_routed_experts": 2, "n_shared_experts": 1,
        "num_experts_per_tok": 1,
    });
    config.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    ModelConfig::parse(config.to_string().as_bytes()).unwrap()
}

fn tensor(name: &str, dtype: Dtype, shape: &[u64]) -> Tensor {
    Tensor { name: name.to_owned(), file: "f".into(), dtype, shape: shape.to_vec(), offset: 0, bytes: 0, packed: None }
}

fn put(stored: &mut Stored, name: &str, dtype: Dtype, shape: &[u64]) {
    stored.insert(name.to_owned(), tensor(name, dtype, shape));
}

/// Every tensor that the config asks for, under this prefix.
fn whole(config: &ModelConfig, prefix: &str) -> Stored {
    let mut stored = Stored::new();
    for expected in names::expected(config) {
        put(&mut stored, &format!("{prefix}{}", expected.name), Dtype::BF16, &expected.shape);
    }
    stored
}

fn add_module(stored: &mut Stored, config: &ModelConfig, index: u32) {
    for expected in names::expected_prediction(config, index) {
        put(stored, &expected.name, Dtype::BF16, &expected.shape);
    }
    for copy in ["embed_tokens", "shared_head.head"] {
        put(stored, &names::layer(index, copy), Dtype::BF16, &[16, 8]);
    }
}

fn claimed(config: &ModelConfig, stored: &Stored) -> Result<Claims, String> {
    claim(config, &LISTING, stored.clone()).map_err(|error| error.message().to_owned())
}

#[test]
fn all_that_is_asked_for_is_claimed() {
    let config = config(&json!({}));
    let stored = whole(&config, "");
    let claims = claimed(&config, &stored).unwrap();
    assert_eq!((claims.tensors.len(), claims.unused_count, claims.prediction_layers), (stored.len(), 0, 0));
    let role = |name: &str| claims.tensors[name].1;
    assert_eq!(role(names::EMBED), TensorRole::PlainMatrix);
    assert_eq!(role(names::NORM), TensorRole::Vector);
    assert_eq!(role(&names::layer(0, "self_attn.o_proj")), TensorRole::Matrix);
    assert_eq!(role(&names::layer(1, "mlp.gate")), TensorRole::PlainMatrix);
    assert_eq!(role(&names::indexer_norm_bias(0)), TensorRole::Vector);
    let shape = |name: &str| claims.tensors[name].0.shape.clone();
    // [heads · (nope + rope), rank], [rank + rope, hidden], [heads · (nope + value), rank], [hidden, heads · value]
    assert_eq!(shape(&names::layer(0, "self_attn.q_b_proj")), [20, 20]);
    assert_eq!(shape(&names::layer(0, "self_attn.kv_a_proj_with_mqa")), [28, 8]);
    assert_eq!(shape(&names::layer(0, "self_attn.kv_b_proj")), [32, 24]);
    assert_eq!(shape(&names::layer(0, "self_attn.o_proj")), [8, 20]);
    assert_eq!(shape(&names::layer(0, "self_attn.indexer.wq_b")), [40, 20]);
    assert_eq!(shape(&names::layer(0, "mlp.down_proj")), [8, 12]);
    assert_eq!(shape(&names::expert(1, 1, "up_proj")), [4, 8]);
    assert_eq!(shape(&names::layer(1, "mlp.shared_experts.down_proj")), [8, 4]);
    assert!(!claims.tensors.contains_key(&names::layer(0, "mlp.gate")), "the first layer is dense");
}

/// Each row: names beside the model's own, and which of them is refused for what.
#[test]
fn what_is_left_over_is_unused_or_a_sign_of_another_model() {
    let beyond = "a layer beyond num_hidden_layers, 2, and not of multi-token prediction";
    let other = "not required by config.json";
    for (tied, names, refusal) in [
        (false, &["x.y"][..], None),
        (false, &["model.layers.0.self_attn.rotary_emb.inv_freq"], None),
        (false, &["model.other.weight"], None),
        (true, &["lm_head.weight"], None),
        (true, &["lm_head.bias"], Some((0, "E-CONFIG", other))),
        (false, &["lm_head.bias"], Some((0, "E-CONFIG", other))),
        (false, &["model.norm.bias"], Some((0, "E-CONFIG", other))),
        (false, &["model.embed_tokens.scale"], Some((0, "E-CONFIG", other))),
        (false, &["model.layers.0.mlp.x.weight"], Some((0, "E-CONFIG", other))),
        (false, &["model.layers.1.enorm.weight"], Some((0, "E-CONFIG", other))),
        (false, &["model.layers.2.mlp.x.weight"], Some((0, "E-CONFIG", beyond))),
        (false, &["model.layers.2.enorm.weight", "model.layers.2.mlp.x.weight"], None),
        (false, &["model.layers.2.hnorm.weight", "model.layers.2.mlp.x.weight"], None),
        (false, &["model.layers.2.eh_proj.weight"], None),
        (false, &["model.layers.2.shared_head.norm.weight"], None),
        (false, &["model.layers.2.embed_tokens.weight"], None),
        (false, &["model.layers.2.enorm.weight", "model.layers.3.mlp.x.weight"], Some((1, "E-CONFIG", beyond))),
        (
            false,
            &["model.layers.0.self_attn.o_proj.weight_scale_inv"],
            Some((0, "E-QUANT", "scales of a weight that is BF16 and needs none")),
        ),
        (false, &["model.layers.0.self_attn.x.weight_scale_inv"], Some((0, "E-CONFIG", other))),
    ] {
        let config = config(&json!({ "tie_word_embeddings": tied }));
        let mut stored = whole(&config, "");
        names.iter().for_each(|name| put(&mut stored, name, Dtype::BF16, &[8]));
        match (claimed(&config, &stored), refusal) {
            (Ok(claims), None) => {
                let mut names = names.to_vec();
                names.sort_unstable();
                assert_eq!(
                    (claims.unused, claims.unused_count),
                    (names.iter().map(|&n| n.to_owned()).collect(), names.len())
                );
            }
            (Err(found), Some((place, class, says))) => {
                assert_eq!(found, format!("{class}: f: tensor \"{}\": {says}", names[place]));
            }
            (found, _) => assert!(found.is_ok() == refusal.is_none(), "{names:?}: {:?}", found.err()),
        }
    }
}

/// A GGUF file has nothing that is not used.
#[test]
fn where_all_is_known_a_module_of_prediction_is_whole_or_absent() {
    let config = config(&json!({ "num_nextn_predict_layers": 1 }));
    let listing = Listing { terms: Terms { strict: true, ..LISTING.terms }, ..LISTING };
    let mut stored = whole(&config, "");
    let modules = |stored: &Stored| claim(&config, &listing, stored.clone()).map(|claims| claims.prediction_layers);
    assert_eq!(modules(&stored).unwrap(), 0);
    add_module(&mut stored, &config, 2);
    assert_eq!(modules(&stored).unwrap(), 1);
    stored.remove(&names::layer(2, "input_layernorm"));
    let error = modules(&stored).unwrap_err();
    assert_eq!(
        (error.class(), error.details()["tensor"].as_str()),
        (Some("E-MISSING"), Some("model.layers.2.input_layernorm.weight"))
    );
    put(&mut stored, "x.y", Dtype::BF16, &[8]);
    add_module(&mut stored, &config, 2);
    assert!(modules(&stored).unwrap_err().message().contains("\"x.y\": not required"));
}

#[test]
fn modules_of_prediction_count_as_far_as_they_are_whole() {
    let config = config(&json!({ "num_nextn_predict_layers": 2 }));
    let main = whole(&config, "");
    // (modules there, one tensor that is missing, modules that count, whether names are left over)
    for (modules, missing, whole, unused) in [
        (&[][..], None, 0, false),
        (&[2], None, 1, false),
        (&[2, 3], None, 2, false),
        (&[3], None, 0, true),
        (&[2, 3], Some(names::layer(3, "hnorm")), 1, true),
        (&[2, 3], Some(names::layer(2, "hnorm")), 0, true),
        (&[2], Some(names::layer(2, "embed_tokens")), 1, false),
    ] {
        let mut stored = main.clone();
        modules.iter().for_each(|&index| add_module(&mut stored, &config, index));
        if let Some(name) = &missing {
            assert!(stored.remove(name).is_some());
        }
        let claims = claimed(&config, &stored).unwrap();
        assert_eq!((claims.prediction_layers, claims.unused_count > 0), (whole, unused), "{modules:?} {missing:?}");
        // Nothing is lost: claimed, unused, or a copy of a whole module.
        let copies = 2 * whole as usize - usize::from(missing.as_deref() == Some(&*names::layer(2, "embed_tokens")));
        assert_eq!(claims.tensors.len() + claims.unused_count + copies, stored.len(), "{modules:?} {missing:?}");
    }
}

#[test]
fn a_prefix_tells_the_language_model_s_tensors_from_others() {
    let inner = json!({
        "model_type": "deepseek_v3", "vocab_size": 16, "hidden_size": 8, "num_hidden_layers": 1, "intermediate_size": 12,
        "num_attention_heads": 2, "q_lora_rank": null, "kv_lora_rank": 24, "qk_nope_head_dim": 6, "qk_rope_head_dim": 4,
        "v_head_dim": 10, "max_position_embeddings": 64, "first_k_dense_replace": 1, "moe_intermediate_size": 4,
        "n_routed_experts": 2, "n_shared_experts": 1, "num_experts_per_tok": 1,
    });
    let config = ModelConfig::parse(json!({ "text_config": inner }).to_string().as_bytes()).unwrap();
    let mut stored = whole(&config, "language_model.");
    for name in ["vision.x", "language_model.", "model.norm.bias"] {
        put(&mut stored, name, Dtype::U8, &[1]);
    }
    let claims = claimed(&config, &stored).unwrap();
    assert_eq!(claims.unused, ["language_model.", "model.norm.bias", "vision.x"]);
    assert_eq!(claims.tensors[names::NORM].0.name, "language_model.model.norm.weight");
    stored.remove("language_model.model.norm.weight");
    let missing = claimed(&config, &stored).err().unwrap();
    assert_eq!(missing, "E-MISSING: f: tensor \"language_model.model.norm.weight\": expected [8], found nothing");
}

#[test]
fn of_many_unused_names_a_hundred_are_kept() {
    let config = config(&json!({}));
    let mut stored = whole(&config, "");
    (0..150).for_each(|place| put(&mut stored, &format!("x{place:03}"), Dtype::U8, &[1]));
    let claims = claimed(&config, &stored).unwrap();
    assert_eq!((claims.unused_count, claims.unused.len(), claims.unused[99].as_str()), (150, 100, "x099"));
}

/// Each row: what is stored in place of a tensor, and what is said.
#[test]
fn a_tensor_of_another_shape_or_type_is_refused() {
    let fp8 = json!({ "quantization_config": { "quant_method": "fp8", "weight_block_size": [128, 128] } });
    let plain_config = json!({});
    let matrix = names::layer(0, "self_attn.o_proj"); // [8, 20]
    let scale = names::scale(&matrix);
    let scales = |dtype, shape: &[u64]| Some((dtype, shape.to_vec()));
    let any = "expected F32, F16, BF16 or F8_E4M3, found";
    let plain = "expected F32, F16 or BF16, found";
    for (quantised, name, dtype, shape, scales, refusal) in [
        (false, &*matrix, Dtype::F16, &[8, 20][..], None, None),
        (
            false,
            &matrix,
            Dtype::BF16,
            &[20, 8],
            None,
            Some(("E-SHAPE", "expected shape [8, 20], found [20, 8]".to_owned())),
        ),
        (false, &matrix, Dtype::I64, &[8, 20], None, Some(("E-DTYPE", format!("{any} I64")))),
        (false, &matrix, Dtype::F8_E5M2, &[8, 20], None, Some(("E-QUANT", format!("{any} F8_E5M2")))),
        (false, &matrix, Dtype::F8_E4M3FNUZ, &[8, 20], None, Some(("E-QUANT", format!("{any} F8_E4M3FNUZ")))),
        (false, names::NORM, Dtype::F8_E5M2, &[8], None, Some(("E-DTYPE", format!("{plain} F8_E5M2")))),
        (true, names::NORM, Dtype::F8_E4M3, &[8], None, Some(("E-DTYPE", format!("{plain} F8_E4M3")))),
        (true, names::EMBED, Dtype::F8_E4M3, &[16, 8], None, Some(("E-DTYPE", format!("{plain} F8_E4M3")))),
        (
            false,
            &matrix,
            Dtype::F8_E4M3,
            &[8, 20],
            None,
            Some(("E-QUANT", "F8_E4M3, but config.json has no quantization_config of fp8".to_owned())),
        ),
        (
            true,
            &matrix,
            Dtype::F8_E4M3,
            &[8, 20],
            None,
            Some(("E-QUANT", format!("F8_E4M3 without its scales \"{scale}\""))),
        ),
        (true, &matrix, Dtype::F8_E4M3, &[8, 20], scales(Dtype::F32, &[1, 1]), None),
        (true, &matrix, Dtype::F8_E4M3, &[8, 20], scales(Dtype::U8, &[1, 1]), None),
        (true, &matrix, Dtype::F8_E4M3, &[8, 20], scales(Dtype::F8_E8M0, &[1, 1]), None),
        (
            true,
            &matrix,
            Dtype::F8_E4M3,
            &[8, 20],
            scales(Dtype::BF16, &[1, 1]),
            Some(("scale", "expected scales in F32, U8 or F8_E8M0, found BF16".to_owned())),
        ),
        (
            true,
            &matrix,
            Dtype::F8_E4M3,
            &[8, 20],
            scales(Dtype::F32, &[1, 2]),
            Some(("scale", "expected shape [1, 1], found [1, 2]".to_owned())),
        ),
    ] {
        let config = config(if quantised { &fp8 } else { &plain_config });
        let mut stored = whole(&config, "");
        put(&mut stored, name, dtype, shape);
        if let Some((dtype, shape)) = scales {
            put(&mut stored, &scale, dtype, &shape);
        }
        let expected = refusal.map(|(class, says)| match class {
            "scale" => format!("E-QUANT: f: tensor \"{scale}\": {says}"),
            class => format!("{class}: f: tensor \"{name}\": {says}"),
        });
        assert_eq!(claimed(&config, &stored).err(), expected);
    }
}

/// Rows and columns of 128 share a scale; a part of them has one of its own.
#[test]
fn scales_cover_the_last_rows_and_columns_too() {
    for (weight, scales) in [([1, 1], [1, 1]), ([128, 128], [1, 1]), ([129, 256], [2, 2]), ([257, 384], [3, 3])] {
        assert_eq!(names::scale_shape(&weight), scales);
    }
    for (name, split) in [
        ("model.layers.3.mlp.gate.weight", Some((3, "mlp.gate.weight"))),
        ("model.layers.12.x", Some((12, "x"))),
        ("model.layers.x.y", None),
        ("model.layers.3", None),
        ("model.norm.weight", None),
    ] {
        assert_eq!(names::split_layer(name), split, "{name}");
    }
}
