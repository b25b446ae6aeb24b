//! Sampling that a file recommends.

use super::{draft, key, open};
use crate::checkpoint::config::GenerationDefaults;
use crate::checkpoint::gguf::sampling::defaults;
use crate::error::Result;

fn read(keys: &[(&str, u32, &[u8])]) -> Result<GenerationDefaults> {
    let mut draft = draft();
    draft.keys.extend(keys.iter().map(|(name, kind, value)| key(&format!("general.sampling.{name}"), *kind, value)));
    defaults(&open(draft.bytes())?.metadata)
}

/// Oracle: the names and types of PyPI's `gguf` 0.19.0.
#[test]
fn keys_of_converters_are_the_defaults_of_requests() {
    let single = |value: f32| value.to_le_bytes();
    let found = read(&[
        ("temp", 6, &single(0.6)),
        ("top_p", 6, &single(0.95)),
        ("top_k", 5, &20i32.to_le_bytes()),
        ("min_p", 6, &single(0.01)),
        ("penalty_repeat", 6, &single(1.05)),
        ("mirostat", 5, &2i32.to_le_bytes()),
    ]);
    let expected = GenerationDefaults {
        temperature: Some(0.6),
        top_p: Some(0.95),
        top_k: Some(20),
        min_p: Some(0.01),
        repetition_penalty: Some(1.05),
        ..GenerationDefaults::default()
    };
    assert_eq!(found.unwrap(), expected);
    assert_eq!(read(&[]).unwrap(), GenerationDefaults::default());
    assert_eq!(read(&[("top_k", 5, &(-1i32).to_le_bytes())]).unwrap().top_k, Some(0), "all");
    for (name, kind, value, says) in [
        ("temp", 6, &single(3.0), "general.sampling.temp: expected a number from 0 to 2, found 3"),
        ("top_p", 6, &single(f32::NAN), "general.sampling.top_p: expected a number"),
        ("min_p", 4, &2u32.to_le_bytes(), "general.sampling.min_p: expected a number from 0 to 1, found 2"),
    ] {
        let error = read(&[(name, kind, value)]).expect_err(says);
        assert!(error.to_string().contains(says), "expected {says:?}, found {error}");
    }
}
