//! Files written by hand, right and wrong.

mod cuts;
mod sampling;

use super::header::{FIRST_BYTES, Header, read};
use super::{patterns, vocabulary};
use crate::checkpoint::config::ModelConfig;
use crate::checkpoint::dtype::Dtype;
use crate::checkpoint::parts::{models, part_of, parts};
use crate::checkpoint::source::MemorySource;
use crate::checkpoint::stored::{TextFile, TextFiles, TokenizerFile};
use crate::error::{Class, Result};
use crate::text::Tokenizer;

/// A file in the making.
#[derive(Clone)]
struct Draft {
    start: Vec<u8>,
    keys: Vec<Vec<u8>>,
    tensors: Vec<Vec<u8>>,
    /// Counts where they are not those of the lists.
    counts: Option<(u64, u64)>,
    data: usize,
}

fn string(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text].concat()
}

fn key(name: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    [string(name.as_bytes()), kind.to_le_bytes().to_vec(), value.to_vec()].concat()
}

fn tensor(name: &str, dims: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|dim| dim.to_le_bytes()).collect();
    let rank = u32::try_from(dims.len() / 8).unwrap();
    [
        string(name.as_bytes()),
        rank.to_le_bytes().to_vec(),
        dims,
        kind.to_le_bytes().to_vec(),
        offset.to_le_bytes().to_vec(),
    ]
    .concat()
}

/// Two tensors, of 64 and 256 values.
fn draft() -> Draft {
    Draft {
        start: [b"GGUF".to_vec(), 3u32.to_le_bytes().to_vec()].concat(),
        keys: vec![
            key("general.architecture", 8, &string(b"deepseek2")),
            key("a", 4, &7u32.to_le_bytes()),
            key(
                "b",
                9,
                &[&8u32.to_le_bytes()[..], &2u64.to_le_bytes(), &string(b"x"), &string("å".as_bytes())].concat(),
            ),
            key("c", 6, &1e-6f32.to_le_bytes()),
            key(
                "d",
                9,
                &[&5u32.to_le_bytes()[..], &2u64.to_le_bytes(), &(-3i32).to_le_bytes(), &5i32.to_le_bytes()].concat(),
            ),
        ],
        tensors: vec![tensor("t.weight", &[32, 2], 8, 0), tensor("u.weight", &[256], 2, 96)],
        counts: None,
        data: 96 + 144,
    }
}

impl Draft {
    fn bytes(&self) -> Vec<u8> {
        let (tensors, keys) = self.counts.unwrap_or((self.tensors.len() as u64, self.keys.len() as u64));
        let mut bytes = self.start.clone();
        bytes.extend(tensors.to_le_bytes());
        bytes.extend(keys.to_le_bytes());
        bytes.extend(self.keys.concat());
        bytes.extend(self.tensors.concat());
        bytes.resize(bytes.len().next_multiple_of(32).saturating_add(self.data), 0);
        bytes
    }
}

fn open(bytes: Vec<u8>) -> Result<Header> {
    let source = MemorySource::new().with("m.gguf", bytes);
    pollster::block_on(read(&source, "m.gguf"))
}

/// Oracle: the specification, by hand.
#[test]
fn metadata_and_tensors_are_those_of_the_file() {
    for version in [2u32, 3] {
        let mut draft = draft();
        draft.start.splice(4..8, version.to_le_bytes());
        let header = open(draft.bytes()).unwrap();
        let metadata = &header.metadata;
        assert_eq!(metadata.text("general.architecture").unwrap(), Some("deepseek2"));
        assert_eq!((metadata.integer("a").unwrap(), metadata.integer("none").unwrap()), (Some(7), None));
        assert_eq!(metadata.texts("b").unwrap().unwrap(), ["x", "å"]);
        assert_eq!(metadata.number("c").unwrap(), Some(1e-6));
        assert_eq!(metadata.integer_list("d").unwrap().unwrap(), [-3, 5]);
        assert!(metadata.integer("d").is_err() && metadata.text("a").is_err() && metadata.texts("d").is_err());
        let [first, second] = &header.tensors[..] else { panic!("two tensors") };
        assert_eq!((first.shape.as_slice(), first.dtype, first.bytes), (&[2, 32][..], Dtype::Q8_0, 68));
        assert_eq!((second.shape.as_slice(), second.dtype, second.bytes), (&[256][..], Dtype::Q4_0, 144));
        assert_eq!((first.offset % 32, second.offset - first.offset), (0, 96));
    }
}

/// A header longer than the first piece is read whole, and cut anywhere it is refused.
#[test]
fn long_headers_and_cut_ones() {
    let mut long = draft();
    let list: Vec<u8> = (0..200_000u32).flat_map(|id| string(format!("token{id}").as_bytes())).collect();
    long.keys.push(key("tokens", 9, &[&8u32.to_le_bytes()[..], &200_000u64.to_le_bytes(), &list].concat()));
    let bytes = long.bytes();
    assert!(bytes.len() as u64 > 2 * FIRST_BYTES);
    let header = open(bytes).unwrap();
    assert_eq!(header.metadata.texts("tokens").unwrap().unwrap()[199_999], "token199999");
    let whole = draft().bytes();
    for end in 0..whole.len() - 1 {
        let error = open(whole[..end].to_vec()).expect_err("a cut file");
        assert_eq!(error.code(), crate::Code::BadCheckpoint, "{end}: {error}");
    }
    assert!(open([whole, vec![1; 100]].concat()).is_ok(), "bytes after the last tensor are nobody's");
}

/// Oracle: the list of malformed files of the specification.
#[test]
fn malformed_headers_are_refused() {
    type Change = fn(&mut Draft);
    let cases: &[(Class, &str, Change)] = &[
        (Class::Kind, "before GGUF", |d| d.start[..4].copy_from_slice(b"tjgg")),
        (Class::Kind, "first bytes", |d| d.start[..4].copy_from_slice(b"abcd")),
        (Class::Kind, "version 2 or 3, found 0", |d| d.start[4] = 0),
        (Class::Kind, "found 1", |d| d.start[4] = 1),
        (Class::Kind, "found 4", |d| d.start[4] = 4),
        (Class::Kind, "big-endian", |d| d.start[4..8].copy_from_slice(&[0, 0, 0, 3])),
        (Class::Limit, "131072 tensors", |d| d.counts = Some((131_073, 5))),
        (Class::Limit, "4096 metadata keys", |d| d.counts = Some((2, 4097))),
        (Class::Len, "the file is cut", |d| d.counts = Some((2000, 5))),
        (Class::Limit, "256 bytes", |d| d.keys.push(key(&"k".repeat(257), 4, &[0; 4]))),
        (Class::Limit, "16777216 bytes", |d| d.keys.push(key("k", 8, &(u64::MAX).to_le_bytes()))),
        (Class::Len, "the file is cut", |d| d.keys.push(key("k", 8, &(1u64 << 20).to_le_bytes()))),
        (Class::Entry, "key is empty", |d| d.keys.push(key("", 4, &[0; 4]))),
        (Class::Dup, "\"a\" twice", |d| d.keys.push(key("a", 4, &[0; 4]))),
        (Class::Entry, "UTF-8", |d| d.keys.push(key("k", 8, &string(&[0xff])))),
        (Class::Entry, "UTF-8", |d| d.keys.push([string(&[0xff]), 4u32.to_le_bytes().to_vec(), vec![0; 4]].concat())),
        (Class::Entry, "unknown type 13", |d| d.keys.push(key("k", 13, &[0; 8]))),
        (Class::Entry, "list of lists", |d| {
            d.keys.push(key("k", 9, &[&9u32.to_le_bytes()[..], &1u64.to_le_bytes(), &[0; 12]].concat()))
        }),
        (Class::Limit, "elements of \"k\"", |d| {
            d.keys.push(key("k", 9, &[&0u32.to_le_bytes()[..], &(5u64 << 20).to_le_bytes()].concat()))
        }),
        (Class::Len, "elements of \"k\"", |d| {
            d.keys.push(key("k", 9, &[&0u32.to_le_bytes()[..], &(1u64 << 20).to_le_bytes()].concat()))
        }),
        (Class::Entry, "0 or 1", |d| d.keys.push(key("k", 7, &[2]))),
        (Class::Entry, "0 or 1", |d| {
            d.keys.push(key("k", 9, &[&7u32.to_le_bytes()[..], &1u64.to_le_bytes(), &[2]].concat()))
        }),
        (Class::Entry, "general.alignment", |d| d.keys.push(key("general.alignment", 4, &0u32.to_le_bytes()))),
        (Class::Entry, "general.alignment", |d| d.keys.push(key("general.alignment", 4, &48u32.to_le_bytes()))),
        (Class::Entry, "general.alignment", |d| d.keys.push(key("general.alignment", 4, &4u32.to_le_bytes()))),
        (Class::Entry, "general.alignment", |d| d.keys.push(key("general.alignment", 4, &(1u32 << 17).to_le_bytes()))),
        (Class::Entry, "general.alignment", |d| d.keys.push(key("general.alignment", 8, &string(b"32")))),
        (Class::Entry, "general.alignment", |d| d.keys.push(key("general.alignment", 10, &32u64.to_le_bytes()))),
        (Class::Entry, "general.alignment", |d| d.keys.push(key("general.alignment", 5, &32i32.to_le_bytes()))),
        (Class::Entry, "name is empty", |d| d.tensors.push(tensor("", &[32], 0, 0))),
        (Class::Limit, "63 bytes", |d| d.tensors.push(tensor(&"n".repeat(64), &[32], 0, 0))),
        (Class::Dup, "twice", |d| d.tensors[1] = tensor("t.weight", &[32], 8, 96)),
        (Class::Shape, "found 0", |d| d.tensors.push(tensor("v", &[], 0, 0))),
        (Class::Shape, "found 5", |d| d.tensors.push(tensor("v", &[1; 5], 0, 0))),
        (Class::Shape, "2^40 elements", |d| d.tensors.push(tensor("v", &[0], 0, 0))),
        (Class::Shape, "2^40 elements", |d| d.tensors.push(tensor("v", &[1 << 63], 0, 0))),
        (Class::Shape, "2^40 elements", |d| d.tensors.push(tensor("v", &[1 << 20, 1 << 20], 0, 0))),
        (Class::Shape, "2^40 elements", |d| d.tensors.push(tensor("v", &[1 << 32, 1 << 32], 0, 0))),
        (Class::Dtype, "Q4_2", |d| d.tensors.push(tensor("v", &[32], 4, 0))),
        (Class::Dtype, "unknown type 60", |d| d.tensors.push(tensor("v", &[32], 60, 0))),
        (Class::Dtype, "I32", |d| d.tensors.push(tensor("v", &[32], 26, 0))),
        (Class::Dtype, "ik_llama.cpp", |d| d.tensors.push(tensor("v", &[32], 139, 0))),
        (Class::Shape, "blocks of 32", |d| d.tensors.push(tensor("v", &[48], 2, 0))),
        (Class::Offset, "no multiple", |d| d.tensors[1] = tensor("u", &[256], 2, 100)),
        (Class::Offset, "the offset is wrong", |d| d.tensors[1] = tensor("u", &[256], 2, 128)),
        (Class::Offset, "the offset is wrong", |d| d.tensors[1] = tensor("u", &[256], 2, u64::MAX - 31)),
        (Class::Cover, "within the bytes of tensor \"t.weight\"", |d| d.tensors[1] = tensor("u", &[256], 2, 64)),
    ];
    for (class, says, change) in cases {
        let mut draft = draft();
        change(&mut draft);
        let error = open(draft.bytes()).expect_err(says);
        let text = error.to_string();
        assert!(text.contains(says) && text.contains("m.gguf"), "expected {says:?}, found {text}");
        assert_eq!(error.details().get("class").and_then(|class| class.as_str()), Some(class.name()), "{text}");
    }
    for (number, name) in [
        (9, "Q8_1"),
        (15, "Q8_K"),
        (16, "IQ2_XXS"),
        (17, "IQ2_XS"),
        (18, "IQ3_XXS"),
        (19, "IQ1_S"),
        (21, "IQ3_S"),
        (22, "IQ2_S"),
        (29, "IQ1_M"),
        (34, "TQ1_0"),
        (35, "TQ2_0"),
        (40, "NVFP4"),
        (41, "Q1_0"),
    ] {
        let mut unsupported = draft();
        unsupported.tensors.push(tensor("v.weight", &[256], number, 0));
        let error = open(unsupported.bytes()).expect_err(name);
        let text = error.to_string();
        assert_eq!((error.code(), error.class()), (crate::Code::UnsupportedModel, Some("E-ARCH")), "{text}");
        assert!([name, "Q4_0", "v.weight"].iter().all(|part| text.contains(part)), "{name}: {text}");
        assert!(error.help().concat().contains("Q4_K_M"), "{name}: a way out, not {:?}", error.help());
    }
    let error = open(vec![]).expect_err("empty");
    assert!(error.to_string().contains("empty"), "{error}");
}

/// Whatever a byte says, reading ends with an answer, and takes no memory that the file does not hold.
#[test]
fn any_byte_may_be_wrong() {
    let whole = draft().bytes();
    for at in 0..whole.len() - 240 {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            let _ = open(bytes);
        }
    }
}

/// What a file of V3.2 with two layers says.
fn model() -> Draft {
    let number = |name: &str, value: u32| key(&format!("deepseek32.{name}"), 4, &value.to_le_bytes());
    let float = |name: &str, value: f32| key(&format!("deepseek32.{name}"), 6, &value.to_le_bytes());
    let mut model = draft();
    model.keys = vec![
        key("general.architecture", 8, &string(b"deepseek32")),
        number("embedding_length", 64),
        number("feed_forward_length", 96),
        number("context_length", 512),
        number("attention.head_count", 4),
        number("attention.kv_lora_rank", 32),
        number("attention.q_lora_rank", 48),
        number("attention.key_length_mla", 44),
        number("attention.value_length_mla", 24),
        number("rope.dimension_count", 16),
        number("block_count", 3),
        number("nextn_predict_layers", 1),
        number("leading_dense_block_count", 1),
        float("attention.layer_norm_rms_epsilon", 1e-6),
        float("rope.freq_base", 10000.0),
        number("vocab_size", 100),
        number("expert_count", 8),
        number("expert_used_count", 2),
        number("expert_shared_count", 1),
        number("expert_feed_forward_length", 32),
        number("expert_gating_func", 2),
        float("expert_weights_scale", 2.5),
        key("deepseek32.expert_weights_norm", 7, &[1]),
        number("attention.indexer.head_count", 4),
        number("attention.indexer.key_length", 64),
        number("attention.indexer.top_k", 8),
    ];
    model
}

fn config_of(draft: &Draft) -> Result<ModelConfig> {
    let header = open(draft.bytes())?;
    let has = |name: &str| {
        [
            "output.weight",
            "blk.0.attn_norm.weight",
            "blk.0.exp_probs_b.bias",
            "blk.0.indexer.attn_k.weight",
            "blk.1.indexer.attn_k.weight",
        ]
        .contains(&name)
    };
    super::config_of(&header, &has)
}

/// Oracle: the same model's config.json, by hand.
#[test]
fn metadata_is_a_config() {
    let expected = serde_json::json!({
        "model_type": "deepseek_v32", "hidden_size": 64, "intermediate_size": 96, "max_position_embeddings": 512,
        "num_attention_heads": 4, "kv_lora_rank": 32, "q_lora_rank": 48, "qk_nope_head_dim": 28, "qk_rope_head_dim": 16,
        "v_head_dim": 24, "num_hidden_layers": 2, "num_nextn_predict_layers": 1, "first_k_dense_replace": 1,
        "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "vocab_size": 100, "n_routed_experts": 8, "num_experts_per_tok": 2,
        "n_shared_experts": 1, "moe_intermediate_size": 32, "scoring_func": "sigmoid", "topk_method": "noaux_tc",
        "routed_scaling_factor": 2.5, "norm_topk_prob": true, "index_n_heads": 4, "index_head_dim": 64, "index_topk": 8,
    });
    assert_eq!(config_of(&model()).unwrap(), ModelConfig::parse(expected.to_string().as_bytes()).unwrap());
}

/// Oracle: the table of keys in the specification.
#[test]
fn metadata_that_makes_no_model_is_refused() {
    type Change = fn(&mut Draft);
    fn put(draft: &mut Draft, name: &str, kind: u32, value: &[u8]) {
        let start = string(name.as_bytes());
        draft.keys.retain(|key| !key.starts_with(&start));
        draft.keys.push(key(name, kind, value));
    }
    let cases: &[(&str, Change)] = &[
        ("general.architecture: expected a name", |d| drop(d.keys.remove(0))),
        ("\"llama\" is not of this family", |d| put(d, "general.architecture", 8, &string(b"llama"))),
        ("an image encoder", |d| put(d, "general.architecture", 8, &string(b"clip"))),
        ("embedding_length: expected a whole number, found nothing", |d| drop(d.keys.remove(1))),
        ("embedding_length: expected a whole number, found a text", |d| {
            put(d, "deepseek32.embedding_length", 8, &string(b"64"))
        }),
        ("deepseek32.block_count: expected a whole number, found nothing", |d| drop(d.keys.remove(10))),
        ("deepseek32.vocab_size: expected 1 or more, found 0", |d| {
            put(d, "deepseek32.vocab_size", 4, &0u32.to_le_bytes())
        }),
        ("deepseek32.expert_count: expected a whole number in 1..=512, found 0", |d| {
            put(d, "deepseek32.expert_count", 4, &0u32.to_le_bytes())
        }),
        ("deepseek32.rope.scaling.type: expected yarn beside rope.scaling.factor, found nothing", |d| {
            put(d, "deepseek32.rope.scaling.factor", 6, &8f32.to_le_bytes())
        }),
        ("general.type: \"adapter\" is used beside a model", |d| put(d, "general.type", 8, &string(b"adapter"))),
        ("tokenizer.ggml.padding_token_id: expected a token id below 100, found 100", |d| {
            put(d, "tokenizer.ggml.padding_token_id", 4, &100u32.to_le_bytes())
        }),
        ("tokenizer.ggml.eot_token_id: expected a token id below 100, found 4000000000", |d| {
            put(d, "tokenizer.ggml.eot_token_id", 4, &4_000_000_000u32.to_le_bytes())
        }),
        ("tokenizer.ggml.eos_token_ids: expected a token id below 100, found -1", |d| {
            put(d, "tokenizer.ggml.eos_token_ids", 9, &list(5, &[(-1i32).to_le_bytes().to_vec()]))
        }),
        ("tokenizer.ggml.add_bos_token: expected true or false, found a text", |d| {
            put(d, "tokenizer.ggml.add_bos_token", 8, &string(b"true"))
        }),
        ("deepseek32.attention.key_length: expected a whole number, found a text", |d| {
            put(d, "deepseek32.attention.key_length", 8, &string(b"44"))
        }),
        ("m.gguf: deepseek32.embedding_length: expected a whole number in", |d| {
            put(d, "deepseek32.embedding_length", 4, &0u32.to_le_bytes())
        }),
        ("m.gguf: deepseek32.expert_used_count: expected a whole number in 1..=8, found 9", |d| {
            put(d, "deepseek32.expert_used_count", 4, &9u32.to_le_bytes())
        }),
        ("m.gguf: deepseek32.rope.scaling.factor: expected a number, found nothing", |d| {
            put(d, "deepseek32.rope.scaling.type", 8, &string(b"yarn"));
            put(d, "deepseek32.rope.scaling.original_context_length", 4, &64u32.to_le_bytes());
        }),
        ("block_count: expected 1 to 1024 layers, found 0", |d| {
            put(d, "deepseek32.block_count", 4, &0u32.to_le_bytes())
        }),
        ("block_count: expected 1 to 1024 layers, found 1025", |d| {
            put(d, "deepseek32.block_count", 4, &1025u32.to_le_bytes())
        }),
        ("nextn_predict_layers: expected fewer than the 3 layers", |d| {
            put(d, "deepseek32.nextn_predict_layers", 4, &3u32.to_le_bytes())
        }),
        ("key_length_mla: expected more than the 16 dimensions", |d| {
            put(d, "deepseek32.attention.key_length_mla", 4, &16u32.to_le_bytes())
        }),
        ("head_count: expected the same number for every layer", |d| {
            let list =
                [&4u32.to_le_bytes()[..], &2u64.to_le_bytes(), &4u32.to_le_bytes(), &5u32.to_le_bytes()].concat();
            put(d, "deepseek32.attention.head_count", 9, &list);
        }),
        ("expert_gating_func: expected 1 (softmax) or 2 (sigmoid), found 3", |d| {
            put(d, "deepseek32.expert_gating_func", 4, &3u32.to_le_bytes())
        }),
        ("rope.scaling.type: expected yarn or none", |d| put(d, "deepseek32.rope.scaling.type", 8, &string(b"linear"))),
        ("finite number, found NaN", |d| put(d, "deepseek32.rope.freq_base", 6, &f32::NAN.to_le_bytes())),
        ("m.gguf: deepseek32.attention.layer_norm_rms_epsilon: expected a number from", |d| {
            put(d, "deepseek32.attention.layer_norm_rms_epsilon", 6, &(-1.0f32).to_le_bytes())
        }),
        ("expert_count: expected a whole number from 0", |d| {
            put(d, "deepseek32.expert_count", 5, &(-8i32).to_le_bytes())
        }),
        ("quantization_version: expected at most 2, found 3", |d| {
            put(d, "general.quantization_version", 4, &3u32.to_le_bytes())
        }),
        ("indexer.types: expected 2 entries, found 1", |d| {
            put(
                d,
                "deepseek32.attention.indexer.types",
                9,
                &[&7u32.to_le_bytes()[..], &1u64.to_le_bytes(), &[1]].concat(),
            );
        }),
    ];
    for (says, change) in cases {
        let mut draft = model();
        change(&mut draft);
        let error = config_of(&draft).expect_err(says);
        assert!(error.to_string().contains(says), "expected {says:?}, found {error}");
        let named = ["key", "class"].map(|name| error.details().get(name).and_then(|value| value.as_str()));
        assert!(
            named[1] == Some("E-ARCH")
                || named[0].is_some_and(|key| error.message().contains(&format!("m.gguf: {key}: "))),
            "{named:?}: {error}"
        );
    }
    // A list that says the same for every layer is one number.
    let mut same = model();
    let list = [&4u32.to_le_bytes()[..], &2u64.to_le_bytes(), &4u32.to_le_bytes(), &4u32.to_le_bytes()].concat();
    put(&mut same, "deepseek32.attention.head_count", 9, &list);
    assert_eq!(config_of(&same).unwrap().num_attention_heads, 4);
}

#[test]
fn parts_are_known_by_their_names() {
    assert_eq!(part_of("a-b-00002-of-00003.gguf"), Some(("a-b", 3)));
    for whole in ["a.gguf", "a-1-of-3.gguf", "a-00001-of-00000.gguf", "a-0000x-of-00002.gguf", "a-00001-of-00002.bin"] {
        assert_eq!(part_of(whole), None, "{whole}");
    }
    assert_eq!(parts("a.gguf").collect::<Vec<_>>(), ["a.gguf"]);
    assert_eq!(parts("a-00002-of-00002.gguf").collect::<Vec<_>>(), ["a-00001-of-00002.gguf", "a-00002-of-00002.gguf"]);
}

#[test]
fn a_folder_s_models_are_known_by_the_names_in_it() {
    let found = |names: &[&str]| models(names.iter().copied()).into_iter().collect::<Vec<_>>();
    let none: [&str; 0] = [];
    assert_eq!(
        found(&["a.gguf", "mmproj-a.gguf", "a-MMPROJ-F16.gguf", "a.imatrix.gguf", "tokenizer.json", "a.bin"]),
        ["a.gguf"]
    );
    // A part whose first is absent stands for the same model: who opens it says what is missing.
    assert_eq!(found(&["a-00003-of-00003.gguf", "a-00002-of-00003.gguf"]), ["a-00001-of-00003.gguf"]);
    assert_eq!(found(&["b.gguf", "a.gguf"]), ["a.gguf", "b.gguf"]);
    // Published with its original's config, but without the weights that it was written for.
    assert_eq!(found(&["config.json", "a.gguf"]), ["a.gguf"]);
    assert_eq!(found(&["config.json", "model.safetensors", "a.gguf"]), none);
    assert_eq!(found(&["config.json", "mmproj-a.gguf"]), none);
}

fn list(kind: u32, elements: &[Vec<u8>]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &(elements.len() as u64).to_le_bytes(), &elements.concat()].concat()
}

fn with_vocabulary(tokens: &[&str], types: &[i32], merges: &[&str], pre: &str) -> Draft {
    let texts = |texts: &[&str]| list(8, &texts.iter().map(|text| string(text.as_bytes())).collect::<Vec<_>>());
    let mut draft = draft();
    draft.keys.extend([
        key("tokenizer.ggml.model", 8, &string(b"gpt2")),
        key("tokenizer.ggml.pre", 8, &string(pre.as_bytes())),
        key("tokenizer.ggml.tokens", 9, &texts(tokens)),
        key(
            "tokenizer.ggml.token_type",
            9,
            &list(5, &types.iter().map(|kind| kind.to_le_bytes().to_vec()).collect::<Vec<_>>()),
        ),
        key("tokenizer.ggml.merges", 9, &texts(merges)),
    ]);
    draft
}

fn vocabulary_of(draft: &Draft) -> Result<serde_json::Value> {
    let header = open(draft.bytes())?;
    Ok(serde_json::from_slice(&json_of(vocabulary::text(&header.metadata)?.expect("a tokenizer"))).expect("JSON"))
}

fn json_of(text: TextFiles) -> Vec<u8> {
    let TokenizerFile::Lists(file) = text.tokenizer else { panic!("a GGUF file's lists are a tokenizer.json") };
    assert_eq!(&*file.file, "m.gguf");
    file.bytes
}

/// Oracle: a tokenizer.json of the same tokens, by hand.
#[test]
fn lists_of_tokens_are_a_tokenizer() {
    let file = vocabulary_of(&with_vocabulary(
        &["a", "b", "ab", "<x>", "<y>", "[PAD]"],
        &[1, 1, 1, 3, 4, 5],
        &["a b"],
        "deepseek-v3",
    ))
    .unwrap();
    assert_eq!(file["model"]["vocab"], serde_json::json!({ "a": 0, "b": 1, "ab": 2 }));
    assert_eq!(file["model"]["merges"], serde_json::json!([["a", "b"]]));
    let added = serde_json::json!([{ "id": 3, "content": "<x>", "special": true }, { "id": 4, "content": "<y>", "special": false }]);
    assert_eq!(file["added_tokens"], added);
    assert_eq!(file["pre_tokenizer"]["pretokenizers"].as_array().map(Vec::len), Some(4));
    for (draft, says) in [
        (with_vocabulary(&["a"], &[1], &[], "falcon"), "found \"falcon\""),
        (with_vocabulary(&["a"], &[1, 1], &[], "glm4"), "expected 1 entries, as many as tokens, found 2"),
        (with_vocabulary(&["a"], &[7], &[], "glm4"), "token 0: expected a type from 1 to 6, found 7"),
        (with_vocabulary(&["a"], &[1], &["a"], "glm4"), "merge 0: expected two pieces"),
        (with_vocabulary(&["a"], &[1], &["a "], "glm4"), "merge 0: expected two pieces"),
    ] {
        let error = vocabulary_of(&draft).expect_err(says);
        assert!(error.to_string().contains(says), "expected {says:?}, found {error}");
    }
    let none = open(draft().bytes()).unwrap();
    assert!(vocabulary::text(&none.metadata).unwrap().is_none());
}

/// Every pattern is one that the linear-time engine takes.
#[test]
fn every_pre_tokenizer_compiles() {
    for name in patterns::NAMES {
        let draft = with_vocabulary(&["a", "b", "ab"], &[1, 1, 1], &["a b"], name);
        let header = open(draft.bytes()).unwrap();
        let text = vocabulary::text(&header.metadata).unwrap().unwrap();
        let tokenizer =
            Tokenizer::from_lists("m.gguf", &json_of(text), 3).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(tokenizer.encode("abab", false).unwrap(), [2, 2], "{name}");
        assert!(patterns::patterns(name).is_some());
    }
    assert!(patterns::patterns("default").is_none());
}

/// Parts of a model are read whichever is named; what does not fit together is refused.
#[test]
fn a_model_in_parts_is_one_model() {
    let part = |number: u16, count: u16, tensors: i32| {
        let mut part = draft();
        part.keys.truncate(1);
        part.keys.push(key("split.no", 2, &number.to_le_bytes()));
        part.keys.push(key("split.count", 2, &count.to_le_bytes()));
        part.keys.push(key("split.tensors.count", 5, &tensors.to_le_bytes()));
        part.tensors = vec![tensor(&format!("t{number}.weight"), &[32, 2], 8, 0)];
        part.bytes()
    };
    let read = |first: Vec<u8>, second: Option<Vec<u8>>, named: &str| {
        let mut source = MemorySource::new().with("m-00001-of-00002.gguf", first);
        if let Some(second) = second {
            source = source.with("m-00002-of-00002.gguf", second);
        }
        pollster::block_on(super::headers(&source, named))
            .map(|parts| parts.iter().map(|part| part.tensors.len()).sum::<usize>())
    };
    for named in ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"] {
        assert_eq!(read(part(0, 2, 2), Some(part(1, 2, 2)), named).unwrap(), 2);
    }
    let named = "m-00001-of-00002.gguf";
    let other = |name: &str, value: Option<&[u8]>| {
        let mut part = draft();
        part.keys.truncate(1);
        for (key_name, kind, own) in [
            ("general.architecture", 8, string(b"deepseek2")),
            ("split.no", 2, 1u16.to_le_bytes().to_vec()),
            ("split.count", 2, 2u16.to_le_bytes().to_vec()),
            ("split.tensors.count", 5, 2i32.to_le_bytes().to_vec()),
        ] {
            part.keys.retain(|key| !key.starts_with(&string(key_name.as_bytes())));
            let own = if key_name == name { value.map(<[u8]>::to_vec) } else { Some(own) };
            part.keys.extend(own.map(|own| key(key_name, kind, &own)));
        }
        part.tensors = vec![tensor("t1.weight", &[32, 2], 8, 0)];
        part.bytes()
    };
    assert_eq!(read(part(0, 2, 2), Some(other("general.architecture", None)), named).unwrap(), 2);
    for (first, second, says) in [
        (part(0, 2, 2), Some(other("split.count", None)), "split.count: expected 2, found nothing"),
        (part(0, 2, 2), Some(other("split.no", None)), "split.no: expected 1, found nothing"),
        (part(0, 2, 2), Some(other("split.tensors.count", Some(&9i32.to_le_bytes()))), "split.tensors.count: 9, but"),
        (
            part(0, 2, 2),
            Some(other("general.architecture", Some(&string(b"glm-dsa")))),
            "m-00002-of-00002.gguf: general.architecture: expected \"deepseek2\", as in the first part, found \"glm-dsa\"",
        ),
        (part(0, 2, 2), None, "m-00002-of-00002.gguf: no such file, and it is one of 2 parts"),
        (part(0, 3, 2), Some(part(1, 3, 2)), "split.count: expected 2, found 3"),
        (part(0, 2, 2), Some(part(0, 2, 2)), "split.no: expected 1, found 0"),
        (part(0, 2, 3), Some(part(1, 2, 3)), "split.tensors.count: 3, but the parts have 2 tensors"),
    ] {
        let error = read(first, second, named).expect_err(says);
        assert!(error.to_string().contains(says), "expected {says:?}, found {error}");
    }
}

/// Parts that were made one file again keep their keys, with the count 0; llama.cpp's `gguf-split --merge` writes it so.
#[test]
fn a_merged_file_is_one_file() {
    for (count, no, opens) in [(0u16, 0u16, true), (1, 0, true), (2, 0, false), (0, 1, false)] {
        let mut merged = draft();
        merged.keys.push(key("split.no", 2, &no.to_le_bytes()));
        merged.keys.push(key("split.count", 2, &count.to_le_bytes()));
        merged.keys.push(key("split.tensors.count", 5, &2i32.to_le_bytes()));
        let source = MemorySource::new().with("m.gguf", merged.bytes());
        assert_eq!(pollster::block_on(super::headers(&source, "m.gguf")).is_ok(), opens, "{count} {no}");
    }
}

/// Faults of the lists are told by the file's own keys.
#[test]
fn faults_of_a_tokenizer_name_the_file_s_keys() {
    for (tokens, types, merges, size, class, says) in [
        (&["a", "b"][..], &[1, 1][..], &["a b"][..], 2, "E-TOK", "tokenizer.ggml.merges[0]: expected pieces"),
        (&["a", "a"], &[1, 1], &[], 2, "E-VOCAB", "tokenizer.ggml.tokens[\"a\"]: ids 0 and 1 have the same text"),
        (&["a", "b"], &[1, 1], &[], 1, "E-VOCAB", "tokenizer.ggml.tokens[\"b\"]: expected an id below vocab_size 1"),
        (&["a", "<x>", "<x>"], &[1, 3, 3], &[], 3, "E-TOK", "tokenizer.ggml.tokens[2] \"<x>\": expected a unique"),
    ] {
        let header = open(with_vocabulary(tokens, types, merges, "deepseek-v3").bytes()).unwrap();
        let text = vocabulary::text(&header.metadata).unwrap().unwrap();
        let error = Tokenizer::from_lists("m.gguf", &json_of(text), size).map(drop).expect_err(says);
        assert!(error.message().contains(&format!("m.gguf: {says}")), "expected {says:?}, found {error}");
        assert_eq!(error.class(), Some(class), "{error}");
    }
    // Lists that nobody says how to read.
    let mut nameless = with_vocabulary(&["a"], &[1], &[], "deepseek-v3");
    nameless.keys.retain(|key| !key.starts_with(&string(b"tokenizer.ggml.model")));
    let error = vocabulary_of(&nameless).expect_err("no model");
    assert!(error.message().contains("tokenizer.ggml.model: expected gpt2, found nothing"), "{error}");
}

#[test]
fn templates_are_those_of_the_keys() {
    let with = |keys: &[(&str, &str)]| {
        let mut draft = with_vocabulary(&["a"], &[1], &[], "kimi-k2");
        draft.keys.extend(keys.iter().map(|(name, text)| key(name, 8, &string(text.as_bytes()))));
        vocabulary::text(&open(draft.bytes()).unwrap().metadata).unwrap().unwrap()
    };
    let plain = with(&[("tokenizer.chat_template", "one")]);
    let own = TextFile { file: "m.gguf".into(), bytes: b"one".to_vec() };
    assert_eq!((plain.chat_template, plain.tokenizer_config), (Some(own), None));
    let both = with(&[("tokenizer.chat_template", "one"), ("tokenizer.chat_template.tool_use", "two")]);
    let named = serde_json::json!({"chat_template": [
        {"name": "default", "template": "one"}, {"name": "tool_use", "template": "two"},
    ]});
    let config: serde_json::Value = serde_json::from_slice(&both.tokenizer_config.unwrap().bytes).unwrap();
    assert_eq!((both.chat_template, config), (None, named));
}
