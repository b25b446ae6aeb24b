//! `tiktoken.model` as read from disk: a line for each token, in base64, and its rank, which is its id and says what merges first.
//!
//! Kimi-K2 and its relatives come with it, and with code that says how texts are cut before merges. Nobody's code is run: the
//! cut is theirs. Tokens that stand for themselves are in `tokenizer_config.json`.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use super::alphabet::Alphabet;
use super::file::{Added, MAX_ENTRIES, MAX_TOKENIZER_BYTES, Merging, Parsed, Parts, check_added, check_kind, ensure};
use super::refusal::Refusal;
use super::split::Split;
use crate::error::{Class, escape, quote};

/// How texts are cut for Kimi-K2 and Moonlight: each match is a piece.
pub(crate) const KIMI_K2: &str = r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Work of finding the parts of all tokens: the squares of their lengths. Kimi's own take some ten million.
const MAX_SQUARES: usize = 1 << 30;

/// Reads and checks a whole file; no id of the result is ≥ `vocab_size`, and none belongs to two tokens.
pub(super) fn parse(bytes: &[u8], added: Vec<Added>, vocab_size: u32) -> Result<Parsed, Refusal> {
    let limit = format_args!("expected at most {MAX_TOKENIZER_BYTES} bytes, found {}", bytes.len());
    ensure(bytes.len() as u64 <= MAX_TOKENIZER_BYTES, Class::Limit, limit)?;
    check_kind(bytes, "lines of tokens and ranks")?;
    let alphabet = Alphabet::new();
    let (mut vocab, mut squares) = (vec![], 0_usize);
    for (number, line) in (1_usize..).zip(bytes.split(|&byte| byte == b'\n')) {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let read = || {
            let line = std::str::from_utf8(line).ok()?;
            let (token, rank) = line.split_once(' ')?;
            let token = from_base64(token).filter(|token| !token.is_empty())?;
            Some((token, rank.trim_start().parse::<u32>().ok()?))
        };
        let Some((token, rank)) = read() else {
            let found = quote(&String::from_utf8_lossy(line.get(..80).unwrap_or(line)));
            let message = format!("line {number}: expected a token in base64, a space and its rank, found {found}");
            return Err(Refusal(Class::Tok, message));
        };
        let limit = format_args!("line {number}: expected at most {MAX_ENTRIES} tokens");
        ensure(vocab.len() < MAX_ENTRIES, Class::Limit, limit)?;
        let limit = format_args!("line {number}: expected a rank below vocab_size {vocab_size}, found {rank}");
        ensure(rank < vocab_size, Class::Vocab, limit)?;
        squares = squares.saturating_add(token.len().saturating_mul(token.len()));
        let limit = format_args!(
            "line {number}: expected short tokens, found so many long ones that merging them takes too much work"
        );
        ensure(squares <= MAX_SQUARES, Class::Limit, limit)?;
        vocab.push((token.iter().map(|&byte| alphabet.character(byte)).collect::<String>(), rank));
    }
    ensure(!vocab.is_empty(), Class::Tok, "expected tokens, found none")?;
    let (mut ids, mut taken) = (HashMap::with_capacity(vocab.len()), HashMap::with_capacity(vocab.len()));
    for (token, id) in &vocab {
        let twice = format_args!("token {} has two ranks", quote(token));
        ensure(ids.insert(token.as_str(), *id).is_none(), Class::Tok, twice)?;
        let shared = format_args!("rank {id} is that of two tokens");
        ensure(taken.insert(*id, ()).is_none(), Class::Vocab, shared)?;
    }
    check_added(&added, Parts::JSON, &ids, vocab_size)?;
    Ok(Parsed { vocab, merging: Merging::ByRank, added, splits: vec![Split::new(KIMI_K2)?] })
}

#[derive(Deserialize)]
struct Config {
    added_tokens_decoder: Option<BTreeMap<String, Content>>,
}

#[derive(Deserialize)]
struct Content {
    content: String,
    #[serde(default)]
    special: bool,
}

/// The tokens that stand for themselves, from `tokenizer_config.json`.
pub(super) fn added(config: &[u8]) -> Result<Vec<Added>, Refusal> {
    let config: Config =
        serde_json::from_slice(config).map_err(|error| Refusal(Class::Json, escape(&error.to_string())))?;
    let added = config.added_tokens_decoder.unwrap_or_default().into_iter().map(|(id, token)| {
        let Ok(number) = id.parse() else {
            let message = format!("added_tokens_decoder: expected ids as keys, found {}", quote(&id));
            return Err(Refusal(Class::Vocab, message));
        };
        Ok(Added::new(number, token.content, token.special))
    });
    added.collect()
}

/// Bytes in the standard alphabet, with their padding.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    let padding = text.len().checked_sub(digits.len())?;
    if padding > 2 || !text.len().is_multiple_of(4) {
        return None;
    }
    let (mut bytes, mut held, mut bits) = (Vec::with_capacity(text.len()), 0_u32, 0_u32);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit.checked_sub(b'A'),
            b'a'..=b'z' => digit.checked_sub(b'a')?.checked_add(26),
            b'0'..=b'9' => digit.checked_sub(b'0')?.checked_add(52),
            b'+' => Some(62),
            b'/' => Some(63),
            _ => None,
        };
        held = (held << 6 | u32::from(value?)) & 0xffff;
        bits = bits.saturating_add(6);
        if bits >= 8 {
            bits = bits.saturating_sub(8);
            bytes.push(u8::try_from(held.checked_shr(bits)? & 0xff).ok()?);
        }
    }
    // What is left over is padding, and no part of a byte.
    (held & 1_u32.checked_shl(bits)?.saturating_sub(1) == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Tokenizer;

    const CONFIG: &[u8] = br#"{"added_tokens_decoder": {
        "300": {"content": "[BOS]", "special": true}, "301": {"content": "<|im_end|>"}}}"#;

    fn base64(bytes: &[u8]) -> String {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for three in bytes.chunks(3) {
            let held = (0..3).fold(0_usize, |held, at| held << 8 | usize::from(three.get(at).copied().unwrap_or(0)));
            for (at, shift) in [18, 12, 6, 0].into_iter().enumerate() {
                let digit = char::from(ALPHABET[held >> shift & 63]);
                text.push(if at <= three.len() { digit } else { '=' });
            }
        }
        text
    }

    /// Every byte, and these.
    fn file(tokens: &[&str]) -> Vec<u8> {
        let bytes = (0..=255_u8).map(|byte| vec![byte]);
        let all = bytes.chain(tokens.iter().map(|token| token.as_bytes().to_vec()));
        let lines: Vec<String> = all.enumerate().map(|(rank, token)| format!("{} {rank}\n", base64(&token))).collect();
        lines.concat().into_bytes()
    }

    fn load(bytes: &[u8]) -> crate::error::Result<Tokenizer> {
        Tokenizer::from_tiktoken(bytes, Some(CONFIG), 310)
    }

    #[test]
    fn pairs_merge_by_the_rank_of_what_they_become() {
        let tokenizer = load(&file(&["aa", "ab", "aab", "bb", "abb", " a", "zq x"])).unwrap();
        for (text, ids) in [
            // Both `aa` have the same rank: the left one first.
            ("aaa", vec![256, 97]),
            ("aab", vec![258]),
            ("aaab", vec![256, 257]),
            ("caab", vec![99, 258]),
            ("abba", vec![260, 97]),
            ("a a", vec![97, 261]),
            ("<|im_end|>", vec![301]),
            ("[BOS]a", vec![300, 97]),
        ] {
            assert_eq!(tokenizer.encode(text, true).unwrap(), ids, "{text}");
            assert_eq!(tokenizer.decode(&ids), text);
        }
        assert_eq!(tokenizer.encode("<|im_end|>", false).unwrap().len(), 10);
        assert!(tokenizer.is_special(300) && !tokenizer.is_special(301));
        assert_eq!(tokenizer.token_id("[BOS]"), Some(300));
    }

    /// As tiktoken has it: `abc` cannot be reached by merges.
    #[test]
    fn a_piece_that_is_a_token_is_taken_whole() {
        let tokenizer = load(&file(&["abc", "bc"])).unwrap();
        assert_eq!(tokenizer.encode("abc", false).unwrap(), [256]);
        let tokenizer = load(&file(&["wxyz"])).unwrap();
        assert_eq!(tokenizer.encode("wxyz", false).unwrap(), [256]);
        assert_eq!(tokenizer.encode("wxyzw", false).unwrap().len(), 5);
    }

    #[test]
    fn files_that_are_none_are_named() {
        let with = |more: &str| [file(&[]), more.as_bytes().to_vec()].concat();
        let long = (0..40).map(|place| format!("{} {}\n", base64(&vec![b'a'; 6000 + place]), 256 + place));
        for (row, bytes, class) in [
            ("empty", vec![], "E-TOK"),
            ("blank", b"\n \n".to_vec(), "E-TOK"),
            ("lfs", b"version https://git-lfs.github.com/spec/v1\n".to_vec(), "E-KIND"),
            ("page", b"<!DOCTYPE html>".to_vec(), "E-KIND"),
            ("JSON", b"{\"model\": 1}".to_vec(), "E-TOK"),
            ("no rank", with("YWI=\n"), "E-TOK"),
            ("a negative rank", with("YWI= -1\n"), "E-TOK"),
            ("no base64", with("a*b= 256\n"), "E-TOK"),
            ("no padding", with("YWI 256\n"), "E-TOK"),
            ("bits left over", with("YWJ= 256\n"), "E-TOK"),
            ("no token", with(" 256\n"), "E-TOK"),
            ("three columns", with("YWI= 256 1\n"), "E-TOK"),
            ("not UTF-8", [file(&[]), b"\xff 256\n".to_vec()].concat(), "E-TOK"),
            ("a token twice", with("YWI= 256\nYWI= 257\n"), "E-TOK"),
            ("a rank twice", with("YWI= 97\n"), "E-VOCAB"),
            ("a rank of the vocabulary's size", with("YWI= 310\n"), "E-VOCAB"),
            ("a rank of an added token", with("YWI= 301\n"), "E-VOCAB"),
            ("long tokens", with(&long.collect::<String>()), "E-LIMIT"),
            ("a large file", vec![b'\n'; usize::try_from(MAX_TOKENIZER_BYTES).unwrap() + 1], "E-LIMIT"),
        ] {
            let error = load(&bytes).expect_err(row);
            assert_eq!(error.class(), Some(class), "{row}: {error}");
            assert!(error.message().contains("tiktoken.model: "), "{row}: {error}");
        }
        assert!(load(&with("YWI= 256\r\n\r\n")).is_ok());
        for (config, class) in [
            (&b"{"[..], "E-JSON"),
            (br#"{"added_tokens_decoder": {"x": {"content": "a"}}}"#, "E-VOCAB"),
            (br#"{"added_tokens_decoder": {"1": 2}}"#, "E-JSON"),
        ] {
            let error = Tokenizer::from_tiktoken(&file(&[]), Some(config), 310).unwrap_err();
            assert_eq!(error.class(), Some(class), "{error}");
            assert!(error.message().contains("tokenizer_config.json: "), "{error}");
        }
        assert!(Tokenizer::from_tiktoken(&file(&[]), None, 256).is_ok());
    }

    #[test]
    fn bytes_come_out_of_base64_as_they_went_in() {
        for length in 0..20_u8 {
            let bytes: Vec<u8> = (0..length).map(|at| at.wrapping_mul(97).wrapping_add(length)).collect();
            assert_eq!(from_base64(&base64(&bytes)), Some(bytes));
        }
        for wrong in ["A", "AA", "AAA", "A===", "====", "AA=A", "AB==", "AAB="] {
            assert_eq!(from_base64(wrong), None, "{wrong}");
        }
    }
}
