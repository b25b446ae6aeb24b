//! A tiny valid checkpoint, built here, and ways to break it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lyn::checkpoint::names::{self, TensorRole};
use lyn::checkpoint::{Checkpoint, MemorySource, ModelConfig};
use lyn::{Error, Result};
use serde_json::{Value, json};

/// A stored tensor before it is written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stored {
    pub(crate) dtype: &'static str,
    pub(crate) shape: Vec<u64>,
    pub(crate) bytes: Vec<u8>,
}

impl Stored {
    pub(crate) fn new(dtype: &'static str, shape: &[u64]) -> Stored {
        let width = match dtype {
            "C64" | "I64" | "F64" => 8,
            "F32" => 4,
            "F16" | "BF16" => 2,
            _ => 1,
        };
        let length = usize::try_from(shape.iter().product::<u64>()).unwrap() * width;
        // Small counting bytes: as F32, BF16 and FP8 they are finite, and a wrong place shows.
        Stored {
            dtype,
            shape: shape.to_vec(),
            bytes: (0..length).map(|place| u8::try_from(place % 60 + 1).unwrap()).collect(),
        }
    }
}

/// A checkpoint as parts that a test may change before it is written.
#[derive(Clone)]
pub(crate) struct Model {
    pub(crate) config: Value,
    pub(crate) tensors: BTreeMap<String, Stored>,
}

pub(crate) fn config() -> Value {
    json!({
        "model_type": "deepseek_v32", "vocab_size": 16, "hidden_size": 8, "num_hidden_layers": 2, "intermediate_size": 12,
        "num_attention_heads": 2, "q_lora_rank": 8, "kv_lora_rank": 8, "qk_nope_head_dim": 4, "qk_rope_head_dim": 4,
        "v_head_dim": 4, "rms_norm_eps": 1e-6, "max_position_embeddings": 64, "rope_theta": 10000, "hidden_act": "silu",
        "index_n_heads": 2, "index_head_dim": 8, "index_topk": 4, "first_k_dense_replace": 1, "moe_intermediate_size": 4,
        "n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2, "n_group": 2, "topk_group": 1,
        "scoring_func": "sigmoid", "topk_method": "noaux_tc", "norm_topk_prob": true, "routed_scaling_factor": 2.5,
        "bos_token_id": 0, "eos_token_id": 1, "attention_bias": false, "torch_dtype": "bfloat16",
    })
}

pub(crate) const QUANTIZATION: &str = r#"{"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}"#;

impl Model {
    /// All weights in BF16.
    pub(crate) fn tiny() -> Model {
        Model::with_config(config())
    }

    /// Linears in FP8, with scales.
    pub(crate) fn fp8() -> Model {
        let mut model = Model::tiny();
        model.config["quantization_config"] = serde_json::from_str(QUANTIZATION).unwrap();
        for expected in names::expected(&ModelConfig::parse(model.config.to_string().as_bytes()).unwrap()) {
            if expected.role == TensorRole::Matrix {
                model.tensors.insert(names::scale(&expected.name), Stored::new("F32", &[1, 1]));
                model.tensors.insert(expected.name, Stored::new("F8_E4M3", &expected.shape));
            }
        }
        model
    }

    pub(crate) fn with_config(config: Value) -> Model {
        let parsed = ModelConfig::parse(config.to_string().as_bytes()).unwrap();
        let tensors = names::expected(&parsed).map(|expected| (expected.name, Stored::new("BF16", &expected.shape)));
        Model { config, tensors: tensors.collect() }
    }

    pub(crate) fn set(mut self, field: &str, value: Value) -> Model {
        self.config[field] = value;
        self
    }

    pub(crate) fn put(mut self, name: &str, tensor: Stored) -> Model {
        self.tensors.insert(name.to_owned(), tensor);
        self
    }

    pub(crate) fn change(mut self, name: &str, change: impl FnOnce(&mut Stored)) -> Model {
        change(self.tensors.get_mut(name).unwrap_or_else(|| panic!("{name} is not in the tiny model")));
        self
    }

    pub(crate) fn files(&self) -> Files {
        let tensors: Vec<(&String, &Stored)> = self.tensors.iter().collect();
        Files::default().with("config.json", self.config.to_string()).with("model.safetensors", safetensors(&tensors))
    }

    /// The same in two shards, tensors dealt out in turn.
    pub(crate) fn sharded(&self) -> (Files, serde_json::Map<String, Value>) {
        let mut shards = [vec![], vec![]];
        let mut map = serde_json::Map::new();
        for (place, tensor) in self.tensors.iter().enumerate() {
            shards[place % 2].push(tensor);
            map.insert(tensor.0.clone(), json!(SHARDS[place % 2]));
        }
        let files = Files::default().with("config.json", self.config.to_string());
        let files = files.with(SHARDS[0], safetensors(&shards[0])).with(SHARDS[1], safetensors(&shards[1]));
        (files, map)
    }
}

pub(crate) const SHARDS: [&str; 2] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];

/// Index text over a weight map; the total is wrong on purpose, which must not matter.
pub(crate) fn index(map: &serde_json::Map<String, Value>) -> String {
    json!({"metadata": {"total_size": 1}, "weight_map": map}).to_string()
}

/// Files by name.
#[derive(Clone, Default)]
pub(crate) struct Files(pub(crate) BTreeMap<String, Vec<u8>>);

impl Files {
    pub(crate) fn with(mut self, file: &str, bytes: impl Into<Vec<u8>>) -> Files {
        self.0.insert(file.to_owned(), bytes.into());
        self
    }

    pub(crate) fn without(mut self, file: &str) -> Files {
        self.0.remove(file);
        self
    }

    /// Opens and scans, as `lyn check` does.
    pub(crate) fn check(&self) -> Result<Checkpoint> {
        let source = self.0.iter().fold(MemorySource::new(), |source, (file, bytes)| source.with(file, bytes.clone()));
        pollster::block_on(async {
            let checkpoint = Checkpoint::open(Arc::new(source)).await?;
            checkpoint.check_values(&mut |_, _| Ok(())).await.map(|()| checkpoint)
        })
    }
}

/// Length, header, data.
pub(crate) fn container(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// Header text and data of tensors in this order.
pub(crate) fn parts(tensors: &[(&String, &Stored)]) -> (serde_json::Map<String, Value>, Vec<u8>) {
    let (mut header, mut data) = (serde_json::Map::new(), vec![]);
    for (name, tensor) in tensors {
        let begin = data.len();
        data.extend_from_slice(&tensor.bytes);
        let entry = json!({"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [begin, data.len()]});
        header.insert((*name).clone(), entry);
    }
    (header, data)
}

pub(crate) fn safetensors(tensors: &[(&String, &Stored)]) -> Vec<u8> {
    let (header, data) = parts(tensors);
    container(&Value::Object(header).to_string(), &data)
}

/// The files are refused with one of `classes`, in one short line that names `file`.
#[track_caller]
pub(crate) fn refused(what: &str, files: &Files, classes: &[&str], file: &str) -> Error {
    if let Some(corpus) = std::env::var_os("LYN_CORPUS") {
        keep(Path::new(&corpus), what, files, classes);
    }
    let Err(error) = files.check() else { panic!("{what}: loaded, expected {classes:?}") };
    let message = error.message();
    assert!(classes.contains(&error.class().unwrap_or_default()), "{what}: expected {classes:?}, got {message}");
    assert!(message.contains(file), "{what}: expected {file} in: {message}");
    assert!(message.len() <= 2048 && !message.contains(char::is_control), "{what}: {message}");
    assert!((1..128).contains(&error.code().exit_code()) && error.code().exit_code() != 101, "{what}");
    error
}

/// Writes a case down as a folder: its files, and beside them what they must give. The browser tests run them again, where
/// `usize` has 32 bits.
fn keep(corpus: &Path, what: &str, files: &Files, classes: &[&str]) {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let folder = corpus.join(format!("{:03}", COUNT.fetch_add(1, Ordering::Relaxed)));
    std::fs::create_dir_all(folder.join("files")).expect("a folder for the corpus");
    for (name, bytes) in &files.0 {
        std::fs::write(folder.join("files").join(name), bytes).expect("a file of the corpus");
    }
    let names: Vec<&String> = files.0.keys().collect();
    let case = json!({"what": what, "files": names, "classes": classes});
    std::fs::write(folder.join("case.json"), case.to_string()).expect("a file of the corpus");
}
