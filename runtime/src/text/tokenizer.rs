//! Text ↔ ids: added tokens, splits, the byte alphabet, byte-pair merges.
//!
//! All of it is here: it is short, and so it has known bounds of time and memory, keeps the ids of the file, and lets a caller
//! encode text that can never become a control token. The tests hold it against the `tokenizers` crate.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use aho_corasick::{AhoCorasick, MatchKind};

use super::alphabet::Alphabet;
use super::file::{Added, Merging, Parsed, Parts, parse};
use super::merge::{Merges, Scratch};
use super::pieces::Pieces;
use super::refusal::Refusal;
use super::split::Split;
use super::tiktoken;
use crate::cancel;
use crate::error::{Class, Code, DAMAGED, Error, Result, escape};

/// A byte-level BPE tokenizer of the DeepSeek V2 and V3 families.
pub struct Tokenizer {
    merges: Merges,
    splits: Vec<Split>,
    alphabet: Alphabet,
    added: Vec<Added>,
    by_content: HashMap<String, u32>,
    added_matcher: AhoCorasick,
    /// Bytes of id `i`: `bytes[starts[i]..starts[i + 1]]`.
    bytes: Vec<u8>,
    starts: Vec<usize>,
    vocab_size: u32,
    /// Bytes of the longest token.
    longest: usize,
}

/// Pieces whose ids are remembered while a text is encoded, and the bytes of the longest of them.
const MOST_KNOWN: usize = 1 << 14;
const LONGEST_KNOWN: usize = 64;
/// Pieces between two looks whether the ids are still wanted.
const BREATH: usize = 1 << 12;

impl Tokenizer {
    /// Reads `tokenizer.json`. `vocab_size` is the config's: rows of the embedding, above every id.
    ///
    /// # Errors
    /// `bad_checkpoint` with the class of what is wrong: another kind of file, JSON, structure, an id that is not one of
    /// the model's, a pattern outside the linear-time engine, a limit.
    pub fn from_json(file_name: &str, bytes: &[u8], vocab_size: u32) -> Result<Self> {
        Tokenizer::read(file_name, bytes, Parts::JSON, vocab_size)
    }

    /// Reads the lists of a GGUF file, written as a tokenizer.json.
    ///
    /// # Errors
    /// As [`Tokenizer::from_json`], by the keys of the metadata.
    pub fn from_lists(file_name: &str, bytes: &[u8], vocab_size: u32) -> Result<Self> {
        Tokenizer::read(file_name, bytes, Parts::LISTS, vocab_size).map_err(|error| error.with_help(DAMAGED))
    }

    fn read(file_name: &str, bytes: &[u8], parts: Parts, vocab_size: u32) -> Result<Self> {
        let built = parse(bytes, parts, vocab_size).and_then(|parsed| Tokenizer::build(parsed, vocab_size));
        built.map_err(|Refusal(class, message)| Error::file(class, file_name, message))
    }

    /// Reads `tiktoken.model` of Kimi-K2 and its relatives, with the tokens that `tokenizer_config.json` adds.
    ///
    /// # Errors
    /// As [`Tokenizer::from_json`], in the name of the file that is at fault.
    pub fn from_tiktoken(bytes: &[u8], tokenizer_config: Option<&[u8]>, vocab_size: u32) -> Result<Self> {
        let of = |file: &'static str| move |Refusal(class, message): Refusal| Error::file(class, file, message);
        let added = tokenizer_config.map_or(Ok(vec![]), tiktoken::added).map_err(of("tokenizer_config.json"))?;
        let built = tiktoken::parse(bytes, added, vocab_size).and_then(|parsed| Tokenizer::build(parsed, vocab_size));
        built.map_err(of("tiktoken.model"))
    }

    fn build(parsed: Parsed, vocab_size: u32) -> Result<Self, Refusal> {
        let Parsed { vocab, merging, added, splits } = parsed;
        let alphabet = Alphabet::new();
        // An added token that the vocabulary has too goes by its own text, not by the byte alphabet.
        let of_vocab = vocab.iter().map(|(piece, id)| (*id, alphabet.bytes(piece)));
        let of_added = added.iter().map(|token| (token.id, token.content.as_bytes().to_vec()));
        let texts: BTreeMap<u32, Vec<u8>> = of_vocab.chain(of_added).collect();
        let (mut bytes, mut starts) = (vec![], vec![]);
        for (id, text) in texts {
            let index = usize::try_from(id).unwrap_or(usize::MAX);
            starts.resize(index.saturating_add(1), bytes.len()); // holes are empty
            bytes.extend_from_slice(&text);
        }
        starts.push(bytes.len());
        let by_content = added.iter().map(|token| (token.content.clone(), token.id)).collect();
        let broken = |error: &dyn fmt::Display| Refusal(Class::Tok, escape(&error.to_string()));
        let added_matcher = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(added.iter().map(|token| &token.content))
            .map_err(|error| broken(&error))?;
        let longest = starts.windows(2).filter_map(|pair| pair.last()?.checked_sub(*pair.first()?)).max();
        let merges = match merging {
            Merging::Pairs { pairs, takes_whole } => Merges::new(vocab, &pairs, takes_whole, &alphabet)?,
            Merging::ByRank => Merges::by_rank(vocab, &alphabet)?,
        };
        let longest = longest.unwrap_or(0);
        Ok(Tokenizer { merges, splits, alphabet, added, by_content, added_matcher, bytes, starts, vocab_size, longest })
    }

    /// Ids of `text`. With `parse_special`, the texts of added tokens become those tokens, as Hugging Face does; without
    /// it they are ordinary text, so that text from a user can never become a control token.
    ///
    /// # Errors
    /// `bad_request` when `text` holds a byte that the vocabulary lacks (whole vocabularies lack none).
    pub fn encode(&self, text: &str, parse_special: bool) -> Result<Vec<u32>> {
        let mut ids = vec![];
        let mut plain = 0;
        if parse_special {
            for (range, id) in self.added_in(text) {
                self.encode_plain(text.get(plain..range.start).unwrap_or_default(), &mut ids)?;
                ids.push(id);
                plain = range.end;
            }
        }
        self.encode_plain(text.get(plain..).unwrap_or_default(), &mut ids)?;
        Ok(ids)
    }

    /// Where added tokens stand in `text`, and their ids: from the left, the longest first.
    pub(crate) fn added_in(&self, text: &str) -> impl Iterator<Item = (std::ops::Range<usize>, u32)> {
        let found = self.added_matcher.find_iter(text);
        found.filter_map(|found| Some((found.range(), self.added.get(found.pattern().as_usize())?.id)))
    }

    fn encode_plain(&self, text: &str, ids: &mut Vec<u32>) -> Result<()> {
        if let Some(byte) = text.bytes().find(|&byte| !self.merges.has(byte)) {
            return Err(Error::new(Code::BadRequest, format!("the vocabulary has no token for byte 0x{byte:02x}")));
        }
        // Words repeat: where in `ids` the first of each is.
        let mut known: HashMap<&str, std::ops::Range<usize>> = HashMap::new();
        let mut scratch = Scratch::default();
        let mut until_breath = BREATH;
        split(&self.splits, text, &mut |piece| {
            until_breath = until_breath.saturating_sub(1);
            if until_breath == 0 {
                cancel::check()?;
                until_breath = BREATH;
            }
            if let Some(range) = known.get(piece) {
                ids.extend_from_within(range.clone());
                return Ok(());
            }
            let start = ids.len();
            self.merges.append(piece, &self.alphabet, &mut scratch, ids)?;
            if piece.len() <= LONGEST_KNOWN && known.len() < MOST_KNOWN {
                known.insert(piece, start..ids.len());
            }
            Ok(())
        })
    }

    /// No text of so many bytes has fewer tokens than this.
    pub(crate) fn least_tokens(&self, bytes: usize) -> usize {
        bytes.div_ceil(self.longest.max(1))
    }

    /// Id of the added token with this text: `token_id("</think>")`.
    pub fn token_id(&self, content: &str) -> Option<u32> {
        self.by_content.get(content).copied()
    }

    /// The bytes that `id` stands for; part of a character for some. Empty for an id without text.
    pub fn piece_bytes(&self, id: u32) -> &[u8] {
        let index = usize::try_from(id).unwrap_or(usize::MAX);
        let end = index.checked_add(1).and_then(|next| self.starts.get(next));
        let range = self.starts.get(index).zip(end).map(|(start, end)| *start..*end);
        range.and_then(|range| self.bytes.get(range)).unwrap_or_default()
    }

    /// The text of `ids`; each maximal broken UTF-8 sequence becomes U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut pieces = Pieces::default();
        let mut text: String = ids.iter().map(|id| pieces.push(self, *id)).collect();
        text.push_str(&pieces.finish());
        text
    }

    /// One past the highest id with text. Ids from here up to `vocab_size` are padding.
    pub fn size(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// Rows of the embedding and of a row of logits, as the config has it.
    pub fn vocab_size(&self) -> u32 {
        self.vocab_size
    }

    /// Whether the file flags `id` as special, so that it is no part of an answer's text.
    pub fn is_special(&self, id: u32) -> bool {
        self.added.iter().any(|token| token.id == id && token.special)
    }

    /// Texts and ids of all added tokens, in the order of the file.
    pub fn added_tokens(&self) -> impl Iterator<Item = (&str, u32)> {
        self.added.iter().map(|token| (token.content.as_str(), token.id))
    }

    /// Which ids may be sampled, `[vocab_size]`: those with text, without the placeholders of DeepSeek's vocabulary.
    pub fn sampleable(&self) -> Vec<bool> {
        let placeholder = |bytes: &[u8]| bytes.starts_with("<｜place▁holder▁".as_bytes());
        let may = |id| !self.piece_bytes(id).is_empty() && !placeholder(self.piece_bytes(id));
        (0..self.vocab_size).map(may).collect()
    }
}

/// The pieces of `text` by all splits, one after the other.
pub(super) fn split<'t>(splits: &[Split], text: &'t str, sink: &mut dyn FnMut(&'t str) -> Result<()>) -> Result<()> {
    match splits.split_first() {
        Some((first, rest)) => first.pieces(text, &mut |piece| split(rest, piece, sink)),
        None if text.is_empty() => Ok(()),
        None => sink(text),
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer")
            .field("size", &self.size())
            .field("vocab_size", &self.vocab_size)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::text::MAX_TOKENIZER_BYTES;

    /// A whole byte vocabulary (ids 0–255), `ab` (256), `abc` (257), and two added tokens (258, 259).
    fn valid() -> Value {
        let alphabet = Alphabet::new();
        let mut vocab: serde_json::Map<String, Value> =
            (0..=255_u8).map(|byte| (alphabet.character(byte).to_string(), json!(byte))).collect();
        vocab.insert("ab".to_owned(), json!(256));
        vocab.insert("abc".to_owned(), json!(257));
        let split = |pattern: &str| json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
        let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "use_regex": false});
        json!({
            "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
            "added_tokens": [
                {"id": 258, "content": "<x>", "special": true, "normalized": false, "single_word": false, "lstrip": false, "rstrip": false},
                {"id": 259, "content": "<x><y>", "special": false},
            ],
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split(r" ?\p{L}+|\s+(?!\S)|\s+"), bytes]},
            "decoder": {"type": "ByteLevel"},
            "model": {"type": "BPE", "dropout": null, "vocab": vocab, "merges": ["a b", ["ab", "c"]]},
        })
    }

    fn load(file: &Value) -> Result<Tokenizer> {
        Tokenizer::from_json("tokenizer.json", file.to_string().as_bytes(), 300)
    }

    /// The file with the value at `pointer` replaced.
    fn with(pointer: &str, value: Value) -> Value {
        let mut file = valid();
        *file.pointer_mut(pointer).unwrap() = value;
        file
    }

    fn with_token(name: &str, id: Value) -> Value {
        let mut file = valid();
        file["model"]["vocab"][name] = id;
        file
    }

    #[track_caller]
    fn refused(row: &str, class: &str, result: Result<Tokenizer>) {
        let error = result.expect_err(row);
        assert_eq!(error.class(), Some(class), "{row}: {error}");
        assert!(error.message().contains("tokenizer.json"), "{row}: {error}");
        assert!(!error.message().contains('\n') && error.message().len() < 2048, "{row}: {error}");
    }

    #[test]
    fn the_valid_file_works() {
        let tokenizer = load(&valid()).unwrap();
        assert_eq!(tokenizer.encode("abcab abd", true).unwrap(), [257, 256, 32, 256, 100]);
        assert_eq!(tokenizer.encode("a<x><y>", true).unwrap(), [97, 259]);
        assert_eq!(tokenizer.encode("<x>", false).unwrap(), [60, 120, 62]);
        assert_eq!(tokenizer.decode(&[257, 258, 0xc3, 299, 0xb8]), "abc<x>ø");
        assert_eq!((tokenizer.size(), tokenizer.sampleable().iter().filter(|may| **may).count()), (260, 260));
    }

    #[test]
    fn files_of_another_kind() {
        let raw = |bytes: &[u8]| Tokenizer::from_json("tokenizer.json", bytes, 300);
        refused("empty", "E-JSON", raw(b""));
        refused("cut", "E-JSON", raw(&valid().to_string().as_bytes()[..2000]));
        refused("list", "E-TOK", raw(b"[]"));
        refused("two", "E-JSON", raw(format!("{}{{}}", valid()).as_bytes()));
        refused("not UTF-8", "E-JSON", raw(b"{\"version\": \"\xff\"}"));
        refused("deep", "E-JSON", raw("[".repeat(100_000).as_bytes()));
        refused("deep", "E-JSON", raw(format!("{{\"x\": {}1{}}}", "[".repeat(64), "]".repeat(64)).as_bytes()));
        refused("big", "E-LIMIT", raw(&vec![b' '; usize::try_from(MAX_TOKENIZER_BYTES).unwrap() + 1]));
        refused("lfs", "E-KIND", raw(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"));
        refused("html", "E-KIND", raw(b"<!DOCTYPE html>"));
        refused("zip", "E-KIND", raw(b"PK\x03\x04"));
        refused("zeros", "E-KIND", raw(&[0; 100]));
    }

    #[test]
    fn models_that_are_none() {
        for (row, model) in [
            ("null", Value::Null),
            ("unknown type", json!({"type": "Oracle", "vocab": {"a": 0}, "merges": []})),
            ("no vocab", json!({"type": "BPE", "merges": []})),
            ("empty vocab", json!({"type": "BPE", "vocab": {}, "merges": []})),
            ("list", json!({"type": "BPE", "vocab": ["a"], "merges": []})),
            ("no merges", json!({"type": "BPE", "vocab": {"a": 0}})),
        ] {
            refused(row, "E-TOK", load(&with("/model", model)));
        }
    }

    #[test]
    fn ids_that_are_none_or_taken() {
        for id in [json!(-1), json!(1.5), json!(1_u64 << 32), json!("7"), json!(u32::MAX), json!(300), json!(65)] {
            refused(&id.to_string(), "E-VOCAB", load(&with_token("zz", id)));
        }
        assert!(load(&with_token("zz", json!(299))).is_ok());
        let twice = valid().to_string().replacen("\"ab\":256", "\"ab\":256,\"ab\":298", 1);
        refused("a key twice", "E-JSON", Tokenizer::from_json("tokenizer.json", twice.as_bytes(), 300));
    }

    #[test]
    fn merges_of_nothing() {
        for merge in [
            json!("a q q"),
            json!("zz a"),
            json!("b a"),
            json!("ab"),
            json!(["a"]),
            json!(["a", "b", "c"]),
            json!(7),
            json!(["a", 7]),
        ] {
            refused(&merge.to_string(), "E-TOK", load(&with("/model/merges/0", merge)));
        }
    }

    #[test]
    fn added_tokens_that_take_ids() {
        for id in [json!(97), json!(259), json!(300), json!(-1), json!(1.5), json!(u64::MAX)] {
            refused(&id.to_string(), "E-VOCAB", load(&with("/added_tokens/0/id", id)));
        }
        refused("known text", "E-VOCAB", load(&with("/added_tokens/0/content", json!("ab"))));
        refused("empty", "E-TOK", load(&with("/added_tokens/0/content", json!(""))));
        refused("twice", "E-TOK", load(&with("/added_tokens/0/content", json!("<x><y>"))));
        refused("long", "E-LIMIT", load(&with("/added_tokens/0/content", json!("x".repeat((1 << 20) + 1)))));
        refused("strips", "E-TOK", load(&with("/added_tokens/0/lstrip", json!(true))));
    }

    #[test]
    fn patterns() {
        let pattern = "/pre_tokenizer/pretokenizers/0/pattern/Regex";
        for bad in ["(", "(?=(a+)+$)", "((a{1000}){1000}){1000}", "\\p{Nonsense}"] {
            refused(bad, "E-REGEX", load(&with(pattern, json!(bad))));
        }
        let slow = load(&with(pattern, json!("(a+)+$"))).unwrap();
        assert_eq!(slow.encode(&("a".repeat(40) + "!"), true).unwrap().len(), 41);
        refused("no split", "E-TOK", load(&with("/pre_tokenizer", Value::Null)));
        refused("unknown step", "E-TOK", load(&with("/pre_tokenizer/pretokenizers/0/type", json!("Bert"))));
    }

    #[test]
    fn what_would_change_texts() {
        let replace = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aaaaaaaaaaaaaaaa"});
        refused(
            "replace",
            "E-LIMIT",
            load(&with("/normalizer", json!({"type": "Sequence", "normalizers": vec![replace; 6]}))),
        );
        refused("dropout", "E-TOK", load(&with("/model/dropout", json!(0.5))));
        let mut ignored = valid();
        ignored["normalizer"] = json!({"type": "Sequence", "normalizers": []});
        ignored["padding"] = json!({"strategy": {"Fixed": 100_000_000}, "pad_id": 0});
        ignored["truncation"] = json!({"max_length": 1});
        ignored["post_processor"] =
            json!({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "[NO]", "type_id": 0}}]});
        ignored["model"]["dropout"] = json!(0.0);
        assert_eq!(load(&ignored).unwrap().encode("abc ", true).unwrap(), [257, 32]);
    }

    /// Damage anywhere is an error or a tokenizer, never a panic; what loads also encodes and decodes.
    #[test]
    fn damaged_files_are_errors() {
        let good = valid().to_string().into_bytes();
        let mut state = 7_u64; // Knuth's MMIX generator
        let mut next = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % below
        };
        let values: [&[u8]; 8] = [b"null", b"-1", b"1e400", b"[]", b"{}", b"\"\"", b"4294967296", b"true"];
        let mut loaded = 0;
        for _ in 0..3000 {
            let mut bytes = good.clone();
            let at = next(bytes.len());
            match next(4) {
                0 => bytes[at] = u8::try_from(next(256)).unwrap(),
                1 => drop(bytes.drain(at..(at + next(40)).min(good.len()))),
                2 => drop(bytes.splice(at..at, good[at..(at + next(40)).min(good.len())].iter().copied())),
                _ => {
                    // A whole value becomes another.
                    let start = bytes[at..].iter().position(|&byte| byte == b':').map_or(0, |place| at + place + 1);
                    let end = bytes[start..].iter().position(|&byte| byte == b',').map_or(start, |place| start + place);
                    drop(bytes.splice(start..end, values[next(values.len())].iter().copied()));
                }
            }
            if let Ok(tokenizer) = Tokenizer::from_json("tokenizer.json", &bytes, 300) {
                loaded += 1;
                if let Ok(ids) = tokenizer.encode("abc <x>ø", true) {
                    assert!(ids.iter().all(|id| *id < 300));
                    let _ = tokenizer.decode(&ids);
                }
            }
        }
        assert!((100..2900).contains(&loaded), "{loaded} of 3000 loaded: the damage is too light or too heavy");
    }

    #[test]
    fn bytes_without_a_token_are_refused_in_texts() {
        let mut file = valid();
        file["model"]["vocab"].as_object_mut().unwrap().remove("d");
        let error = load(&file).unwrap().encode("abd", true).unwrap_err();
        assert_eq!(error.code(), Code::BadRequest);
    }
}
