//! Where texts are cut by `tokenizer.ggml.pre`.

use std::collections::BTreeMap;

use super::{json_of, open, with_vocabulary};
use crate::checkpoint::gguf::vocabulary;
use crate::text::Tokenizer;

/// A text in the letters that byte-level vocabularies use: bytes that are no printable ASCII or Latin-1 stand behind U+0100, in order.
fn letters(bytes: &[u8]) -> String {
    let is_plain = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let moved: Vec<u8> = (0..=255).filter(|&byte| !is_plain(byte)).collect();
    let letter = |byte| match moved.iter().position(|&other| other == byte) {
        None => char::from(byte),
        Some(place) => ('\u{100}'..).nth(place).unwrap(),
    };
    bytes.iter().copied().map(letter).collect()
}

/// Oracle: `tests/data/tokenizer/youtu.json`, made by `make_youtu.py` beside it. Every byte and every piece is a token, and this
/// pre-tokenizer takes tokens whole: so the ids are the pieces.
#[test]
fn youtu_cuts_as_its_patterns_say() {
    let cases = include_str!("../../../../../tests/data/tokenizer/youtu.json");
    let cases: Vec<BTreeMap<String, serde_json::Value>> = serde_json::from_str(cases).unwrap();
    assert!(cases.len() > 300);
    let pieces = |case: &BTreeMap<String, serde_json::Value>| -> Vec<String> {
        serde_json::from_value::<Vec<String>>(case["pieces"].clone())
            .unwrap()
            .iter()
            .map(|text| letters(text.as_bytes()))
            .collect()
    };
    let mut tokens: Vec<String> = cases.iter().flat_map(pieces).collect();
    tokens.extend((0..=255).map(|byte| letters(&[byte])));
    tokens.sort_unstable();
    tokens.dedup();
    let names: Vec<&str> = tokens.iter().map(String::as_str).collect();
    let draft = with_vocabulary(&names, &vec![1; names.len()], &[], "youtu");
    let text = vocabulary::text(&open(draft.bytes()).unwrap().metadata).unwrap().unwrap();
    let size = u32::try_from(names.len()).unwrap();
    let tokenizer = Tokenizer::from_json("m.gguf", &json_of(text), size).unwrap();
    for case in &cases {
        let text = case["text"].as_str().unwrap();
        let expected: Vec<u32> =
            pieces(case).iter().map(|piece| tokens.binary_search(piece).unwrap().try_into().unwrap()).collect();
        assert_eq!(tokenizer.encode(text, false).unwrap(), expected, "{text:?}");
    }
}
