//! `tiktoken.model`: the ids that tiktoken makes, and a model that has it in place of tokenizer.json.
//!
//! Oracle: `tests/data/tokenizer/kimi`, which `make_kimi.py` beside it made.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lyn::Language;
use lyn::checkpoint::{Checkpoint, MemorySource};
use lyn::platform::block_on;
use lyn::text::Tokenizer;
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn kimi(file: &str) -> Vec<u8> {
    std::fs::read(root().join("tests/data/tokenizer/kimi").join(file)).expect(file)
}

#[test]
fn texts_have_the_ids_that_tiktoken_gives_them() {
    let config = kimi("tokenizer_config.json");
    let tokenizer = Tokenizer::from_tiktoken(&kimi("tiktoken.model"), Some(&config), 1000).expect("a tokenizer");
    let cases: Vec<Value> = serde_json::from_slice(&kimi("cases.json")).expect("JSON");
    assert_eq!(cases.len(), 307);
    for case in &cases {
        let text = case["text"].as_str().expect("a text");
        let ids: Vec<u32> = serde_json::from_value(case["ids"].clone()).expect("ids");
        assert_eq!(tokenizer.encode(text, true).expect(text), ids, "{text:?}");
        assert_eq!(tokenizer.decode(&ids), text);
    }
}

/// A folder of stories with these files beside config, index and weights.
fn language(files: &[(&str, Vec<u8>)]) -> lyn::Result<Option<Language>> {
    let stories = root().join("models/stories");
    let mut source = MemorySource::default();
    for file in ["config.json", "model.safetensors"] {
        source = source.with(file, std::fs::read(stories.join(file)).expect(file));
    }
    for (file, bytes) in files {
        source = source.with(file, bytes.clone());
    }
    block_on(async { Language::open(&Checkpoint::open(Arc::new(source)).await?).await })
}

#[test]
fn a_model_has_either_file() {
    let both = ["tiktoken.model", "tokenizer_config.json"].map(|file| (file, kimi(file)));
    let with_kimi = language(&both).expect("a language").expect("a tokenizer");
    assert_eq!(with_kimi.tokenizer().token_id("<|im_end|>"), Some(798));
    let json = std::fs::read(root().join("models/stories/tokenizer.json")).expect("tokenizer.json");
    let all = [&both[..], &[("tokenizer.json", json)]].concat();
    let with_json = language(&all).expect("a language").expect("a tokenizer");
    assert_eq!(with_json.tokenizer().token_id("<|im_end|>"), None);
    assert!(language(&[]).expect("no file is broken").is_none());
    let broken = language(&[("tiktoken.model", b"not a token".to_vec())]).err().expect("no tokenizer");
    assert_eq!(broken.class(), Some("E-TOK"));
}
