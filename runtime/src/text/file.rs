//! `tokenizer.json` as read from disk: structure and ids checked before anything is built from it.
//!
//! Parsed into exactly the fields that this family uses, so that a hostile file costs a small multiple of its size.
//! Padding, truncation and post-processing are ignored: they never touch a prompt here.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::refusal::Refusal;
use super::split::Split;
use crate::error::{Class, quote};

/// Largest accepted `tokenizer.json`, in bytes.
pub(crate) const MAX_TOKENIZER_BYTES: u64 = 32 << 20;
/// Largest accepted `tokenizer_config.json`, in bytes.
pub(crate) const MAX_TOKENIZER_CONFIG_BYTES: u64 = 4 << 20;

const MAX_DEPTH: u32 = 64;
pub(super) const MAX_ENTRIES: usize = 1 << 20;
const MAX_STEPS: usize = 16;
/// Of all added tokens together: the matcher that finds them takes a multiple of it.
const MAX_ADDED_BYTES: usize = 1 << 20;
/// GPT-2's own pattern, which `ByteLevel` applies when `use_regex` is set.
const GPT2_PATTERN: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

fn structure<T>(message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal(Class::Tok, message.into()))
}

/// Refuses a file where what is asked of it does not hold.
pub(super) fn ensure(holds: bool, class: Class, message: impl fmt::Display) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(Refusal(class, message.to_string())) }
}

/// What a file calls its parts, for errors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    pub(super) vocab: &'static str,
    pub(super) merges: &'static str,
    pub(super) added: &'static str,
    /// Added tokens stand at their ids.
    by_id: bool,
}

impl Parts {
    /// Those of tokenizer.json.
    pub(super) const JSON: Parts =
        Parts { vocab: "model.vocab", merges: "model.merges", added: "added_tokens", by_id: false };
    /// Those of a GGUF file's metadata.
    pub(super) const LISTS: Parts = Parts {
        vocab: "tokenizer.ggml.tokens",
        merges: "tokenizer.ggml.merges",
        added: "tokenizer.ggml.tokens",
        by_id: true,
    };
}

/// An entry of `added_tokens`.
#[derive(Debug, Deserialize)]
pub(super) struct Added {
    pub(super) id: u32,
    pub(super) content: String,
    #[serde(default)]
    pub(super) special: bool,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
}

impl Added {
    pub(super) fn new(id: u32, content: String, special: bool) -> Added {
        Added { id, content, special, single_word: false, lstrip: false, rstrip: false }
    }
}

/// What is left of the file after checking.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) vocab: Vec<(String, u32)>,
    pub(super) merging: Merging,
    pub(super) added: Vec<Added>,
    pub(super) splits: Vec<Split>,
}

/// Which pairs of tokens merge.
#[derive(Debug)]
pub(super) enum Merging {
    /// These, the first of them first.
    Pairs {
        pairs: Vec<(String, String)>,
        /// Pieces that are tokens are not merged.
        takes_whole: bool,
    },
    /// Those that together are a token, that of the lowest id first; pieces that are tokens are not merged.
    ByRank,
}

#[derive(Deserialize)]
struct File {
    added_tokens: Option<Entries<Added>>,
    normalizer: Option<Normalizer>,
    pre_tokenizer: Option<PreTokenizer>,
    decoder: Option<Typed>,
    model: Option<Model>,
}

#[derive(Deserialize)]
struct Typed {
    r#type: String,
}

#[derive(Deserialize)]
struct Normalizer {
    r#type: String,
    normalizers: Option<Entries<Typed>>,
}

#[derive(Deserialize)]
struct PreTokenizer {
    r#type: String,
    pretokenizers: Option<Entries<PreTokenizer>>,
    pattern: Option<Pattern>,
    behavior: Option<String>,
    invert: Option<bool>,
    individual_digits: Option<bool>,
    add_prefix_space: Option<bool>,
    use_regex: Option<bool>,
}

#[derive(Deserialize)]
enum Pattern {
    String(String),
    Regex(String),
}

#[derive(Deserialize)]
struct Model {
    r#type: Option<String>,
    dropout: Option<f64>,
    unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    byte_fallback: Option<bool>,
    ignore_merges: Option<bool>,
    vocab: Option<Vocab>,
    merges: Option<Entries<Merge>>,
}

/// A list of at most [`MAX_ENTRIES`].
struct Entries<T>(Vec<T>);
struct Vocab(Vec<(String, u32)>);
struct Merge(String, String);

fn collect<T, E: serde::de::Error>(mut next: impl FnMut() -> Result<Option<T>, E>) -> Result<Vec<T>, E> {
    let mut entries = vec![];
    while let Some(entry) = next()? {
        entries.push(entry);
        if entries.len() > MAX_ENTRIES {
            return Err(E::custom(format_args!("more than {MAX_ENTRIES} entries")));
        }
    }
    Ok(entries)
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
            type Value = Entries<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                collect(|| list.next_element()).map(Entries)
            }
        }
        deserializer.deserialize_seq(List(std::marker::PhantomData))
    }
}

impl<'de> Deserialize<'de> for Vocab {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Vocab;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of tokens to ids")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                collect(|| map.next_entry()).map(Vocab)
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pair;
        impl<'de> Visitor<'de> for Pair {
            type Value = Merge;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("two pieces: \"a b\" or [\"a\", \"b\"]")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Merge, E> {
                match text.split_once(' ') {
                    Some((left, right)) if !right.contains(' ') => Ok(Merge(left.to_owned(), right.to_owned())),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Merge, A::Error> {
                let (left, right) = (list.next_element()?, list.next_element()?);
                match (left, right, list.next_element::<serde::de::IgnoredAny>()?) {
                    (Some(left), Some(right), None) => Ok(Merge(left, right)),
                    _ => Err(A::Error::invalid_length(3, &self)),
                }
            }
        }
        deserializer.deserialize_any(Pair)
    }
}

/// Reads and checks a whole file; no id of the result is ≥ `vocab_size`, and none belongs to two tokens.
pub(super) fn parse(bytes: &[u8], parts: Parts, vocab_size: u32) -> Result<Parsed, Refusal> {
    let limit = format_args!("expected at most {MAX_TOKENIZER_BYTES} bytes, found {}", bytes.len());
    ensure(bytes.len() as u64 <= MAX_TOKENIZER_BYTES, Class::Limit, limit)?;
    ensure(!bytes.trim_ascii_start().is_empty(), Class::Json, "expected JSON, found an empty file")?;
    check_kind(bytes, "JSON")?;
    let file = read(bytes)?;
    if let Some(normalizer) = &file.normalizer {
        let count = normalizer.normalizers.as_ref().map_or(1, |list| list.0.len());
        let none = normalizer.r#type == "Sequence" && count == 0;
        ensure(none, Class::Limit, format_args!("normalizer: at most 0 steps are accepted, found {count}"))?;
    }
    if let Some(Typed { r#type: other }) = file.decoder.filter(|decoder| decoder.r#type != "ByteLevel") {
        return structure(format!("decoder.type: expected \"ByteLevel\", found {}", quote(&other)));
    }
    let Some(model) = file.model else { return structure("model: expected a BPE model, found null") };
    let merges = model_merges(&model, parts)?;
    let takes_whole = model.ignore_merges.unwrap_or(false);
    let vocab = model.vocab.map(|vocab| vocab.0).unwrap_or_default();
    let ids = unique_ids(&vocab, parts, vocab_size)?;
    for (index, (left, right)) in merges.iter().enumerate() {
        let merged = format!("{left}{right}");
        if let Some(unknown) = [left, right, &merged].into_iter().find(|piece| !ids.contains_key(piece.as_str())) {
            let (merges, unknown) = (parts.merges, quote(unknown));
            return structure(format!("{merges}[{index}]: expected pieces of the vocabulary, found {unknown}"));
        }
    }
    let added = file.added_tokens.map(|list| list.0).unwrap_or_default();
    check_added(&added, parts, &ids, vocab_size)?;
    let mut splits = vec![];
    let Some(pre_tokenizer) = file.pre_tokenizer else {
        return structure("pre_tokenizer: expected ByteLevel, found null");
    };
    pre_tokenizer.into_splits(&mut splits)?;
    Ok(Parsed { vocab, merging: Merging::Pairs { pairs: merges, takes_whole }, added, splits })
}

/// Names files that are something else altogether.
pub(super) fn check_kind(bytes: &[u8], expected: &str) -> Result<(), Refusal> {
    let first = bytes.trim_ascii_start();
    let found = match first {
        _ if first.starts_with(b"version https://git-lfs") => {
            "a git-lfs pointer: fetch the file itself with git lfs pull"
        }
        [b'<', ..] => "an HTML or XML page",
        [b'P', b'K', 3, 4, ..] => "a zip archive",
        [b'G', b'G', b'U', b'F', ..] => "a GGUF file",
        [0x80, 2..=5, ..] => "a pickle",
        [0, ..] => "zeros",
        _ => return Ok(()),
    };
    Err(Refusal(Class::Kind, format!("expected {expected}, found {found}")))
}

fn read(bytes: &[u8]) -> Result<File, Refusal> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        Refusal(Class::Json, format!("expected UTF-8, found an invalid byte at offset {}", error.valid_up_to()))
    })?;
    check_depth(text)?;
    let mut json = serde_json::Deserializer::from_str(text);
    let file = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let class = match error.inner().classify() {
            serde_json::error::Category::Data if path.starts_with("model.vocab.") || is_added_id(&path) => Class::Vocab,
            serde_json::error::Category::Data => Class::Tok,
            _ => Class::Json,
        };
        let place = if path == "." { String::new() } else { format!("{}: ", crate::error::escape(&path)) };
        Refusal(class, format!("{place}{}", crate::error::escape(&error.inner().to_string())))
    })?;
    json.end().map_err(|error| Refusal(Class::Json, error.to_string()))?;
    Ok(file)
}

fn is_added_id(path: &str) -> bool {
    path.starts_with("added_tokens[") && path.ends_with(".id")
}

fn check_depth(text: &str) -> Result<(), Refusal> {
    let (mut depth, mut in_string, mut escaped) = (0_u32, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth = depth.saturating_add(1),
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(Refusal(Class::Json, format!("nested deeper than {MAX_DEPTH}")));
        }
    }
    Ok(())
}

fn model_merges(model: &Model, parts: Parts) -> Result<Vec<(String, String)>, Refusal> {
    // An absent type is BPE when there are merges, as older files have it.
    if let Some(other) = model.r#type.as_ref().filter(|name| *name != "BPE") {
        return structure(format!("model.type: expected \"BPE\", found {}", quote(other)));
    }
    let has_tokens = model.vocab.as_ref().is_some_and(|vocab| !vocab.0.is_empty());
    ensure(has_tokens, Class::Tok, format_args!("{}: expected tokens, found none", parts.vocab))?;
    if let Some(dropout) = model.dropout.filter(|dropout| *dropout != 0.0) {
        return structure(format!("model.dropout: expected none, so that ids are never random, found {dropout}"));
    }
    let affixes = [
        ("unk_token", &model.unk_token),
        ("continuing_subword_prefix", &model.continuing_subword_prefix),
        ("end_of_word_suffix", &model.end_of_word_suffix),
    ];
    for (field, value) in affixes {
        let value = value.as_deref().unwrap_or_default();
        let message = format_args!("model.{field}: a byte-level vocabulary has none, found {}", quote(value));
        ensure(value.is_empty(), Class::Tok, message)?;
    }
    let message = "model.byte_fallback: a byte-level vocabulary has none, found true";
    ensure(model.byte_fallback != Some(true), Class::Tok, message)?;
    let merges = model.merges.as_ref().map(|list| list.0.iter().map(|Merge(a, b)| (a.clone(), b.clone())).collect());
    merges.map_or_else(|| structure("model.merges: expected a list, found none"), Ok)
}

fn unique_ids(vocab: &[(String, u32)], parts: Parts, vocab_size: u32) -> Result<HashMap<&str, u32>, Refusal> {
    let mut ids = HashMap::with_capacity(vocab.len());
    let mut taken = HashSet::with_capacity(vocab.len());
    for (piece, id) in vocab {
        let refuse = |class, what: String| Err(Refusal(class, format!("{}[{}]: {what}", parts.vocab, quote(piece))));
        if *id >= vocab_size {
            return refuse(Class::Vocab, format!("expected an id below vocab_size {vocab_size}, found {id}"));
        }
        if let Some(first) = ids.insert(piece.as_str(), *id) {
            return match parts.by_id {
                true => refuse(Class::Vocab, format!("ids {first} and {id} have the same text")),
                false => refuse(Class::Json, "duplicate key".to_owned()),
            };
        }
        if !taken.insert(*id) {
            return refuse(Class::Vocab, format!("id {id} is already used by another token"));
        }
    }
    Ok(ids)
}

pub(super) fn check_added(
    added: &[Added],
    parts: Parts,
    ids: &HashMap<&str, u32>,
    vocab_size: u32,
) -> Result<(), Refusal> {
    let mut taken: HashMap<u32, &str> = ids.iter().map(|(piece, id)| (*id, *piece)).collect();
    let (mut contents, name) = (HashSet::new(), parts.added);
    let total = added.iter().fold(0_usize, |total, token| total.saturating_add(token.content.len()));
    let limit = format_args!("{name}: expected at most {MAX_ADDED_BYTES} bytes of text, found {total}");
    ensure(total <= MAX_ADDED_BYTES, Class::Limit, limit)?;
    for (index, token) in (0u64..).zip(added) {
        let Added { id, content, .. } = token;
        let ensure = |holds: bool, class, what: fmt::Arguments<'_>| {
            let place = if parts.by_id { u64::from(*id) } else { index };
            ensure(holds, class, format_args!("{name}[{place}] {}: {what}", quote(content)))
        };
        let unique = !content.is_empty() && contents.insert(content);
        ensure(unique, Class::Tok, format_args!("expected a unique, non-empty text"))?;
        let plain = !(token.single_word || token.lstrip || token.rstrip);
        ensure(plain, Class::Tok, format_args!("single_word, lstrip and rstrip are not supported"))?;
        let limit = format_args!("expected an id below vocab_size {vocab_size}, found {id}");
        ensure(*id < vocab_size, Class::Vocab, limit)?;
        let owner = taken.insert(*id, content).unwrap_or(content);
        ensure(owner == content, Class::Vocab, format_args!("id {id} is taken by {}", quote(owner)))?;
        let own = ids.get(content.as_str()).unwrap_or(id);
        ensure(own == id, Class::Vocab, format_args!("the vocabulary has it under another id"))?;
    }
    Ok(())
}

impl PreTokenizer {
    /// The steps before the byte alphabet; anything that is not one of this family's steps is refused by name.
    fn into_splits(self, out: &mut Vec<Split>) -> Result<(), Refusal> {
        let steps =
            if self.r#type == "Sequence" { self.pretokenizers.map_or(vec![], |list| list.0) } else { vec![self] };
        let limit = format_args!("pre_tokenizer: at most {MAX_STEPS} steps, found {}", steps.len());
        ensure(steps.len() <= MAX_STEPS, Class::Limit, limit)?;
        let last = steps.len().saturating_sub(1);
        let ends = steps.last().is_some_and(|step| step.r#type == "ByteLevel");
        ensure(ends, Class::Tok, "pre_tokenizer: expected ByteLevel as the last step")?;
        for (index, step) in steps.into_iter().enumerate() {
            match (step.r#type.as_str(), step.pattern) {
                ("Split", Some(pattern)) => {
                    let isolates = step.behavior.as_deref() == Some("Isolated") && step.invert != Some(true);
                    let message = "pre_tokenizer: expected Split with behavior \"Isolated\" and no invert";
                    ensure(isolates, Class::Tok, message)?;
                    out.push(match pattern {
                        Pattern::Regex(pattern) => Split::new(&pattern)?,
                        Pattern::String(text) => Split::new(&regex::escape(&text))?,
                    });
                }
                ("Digits", _) if step.individual_digits == Some(true) => out.push(Split::new(r"\p{N}")?),
                ("Digits", _) => out.push(Split::new(r"\p{N}+")?),
                ("ByteLevel", _) if index == last => {
                    let message = "pre_tokenizer: ByteLevel with add_prefix_space is not supported";
                    ensure(step.add_prefix_space != Some(true), Class::Tok, message)?;
                    // Absent means true in the format.
                    if step.use_regex != Some(false) {
                        out.push(Split::new(GPT2_PATTERN)?);
                    }
                }
                (other, _) => return structure(format!("pre_tokenizer: step {} is not supported", quote(other))),
            }
        }
        Ok(())
    }
}
