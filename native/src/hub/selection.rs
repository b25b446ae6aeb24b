//! Which files of a repository are one model: a folder of safetensors, or a GGUF file with all its parts.
//!
//! The same for what a server lists and for what lies in the cache.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use lyn::checkpoint::{CONFIG_FILE, INDEX_FILE, ONLY_SHARD_FILE, SINGLE_FILE, gguf_part, is_gguf_model};
use lyn::memory::bytes;
use serde::Deserialize;

use super::name::is_safe_path;

/// What lyn reads beside weights in safetensors, where it is there.
const SMALL_FILES: [&str; 12] = [
    CONFIG_FILE,
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "tiktoken.model",
    "chat_template.jinja",
    "chat_template.json",
];
/// What stands before a quantisation in a file's name.
const MARKS: [char; 2] = ['-', '.'];

/// Weights in safetensors: how they are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WeightFiles {
    /// By an index, which names shards.
    Indexed,
    /// In one file, of this name.
    Single(&'static str),
}

/// A GGUF model: one quantisation, in one file or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Quantisation {
    /// `Q8_0`, `UD-Q4_K_XL`, or the file's name where that says nothing.
    pub(crate) label: String,
    /// Paths of all parts, in order.
    pub(crate) parts: Vec<String>,
    /// Bytes of all parts.
    pub(crate) bytes: u64,
}

/// The models among files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Models {
    /// The way to weights in safetensors, if there are some with a config.
    pub(crate) weights: Option<WeightFiles>,
    /// GGUF models, the largest first.
    pub(crate) quantisations: Vec<Quantisation>,
}

impl Models {
    /// Sorts files by what they belong to. Parts whose neighbours are missing are no model.
    pub(crate) fn of<'a>(files: impl IntoIterator<Item = (&'a str, u64)>) -> Models {
        let sizes: HashMap<&str, u64> = files.into_iter().collect();
        let weights = if !sizes.contains_key(CONFIG_FILE) {
            None
        } else if sizes.contains_key(INDEX_FILE) {
            Some(WeightFiles::Indexed)
        } else {
            [SINGLE_FILE, ONLY_SHARD_FILE].into_iter().find(|file| sizes.contains_key(file)).map(WeightFiles::Single)
        };
        // A model in parts is met once, however many of them there are: none of its names is made before.
        let models: BTreeSet<(&str, u32)> = sizes
            .keys()
            .filter(|path| is_gguf_model(path))
            .map(|path| gguf_part(path).unwrap_or((path.strip_suffix(".gguf").unwrap_or(path), 0)))
            .collect();
        let whole = |(name, count): (&str, u32)| {
            let names = (1..=count).map(|number| format!("{name}-{number:05}-of-{count:05}.gguf"));
            let single = (count == 0).then(|| format!("{name}.gguf"));
            let (mut parts, mut bytes) = (vec![], 0_u64);
            for part in single.into_iter().chain(names) {
                bytes = bytes.checked_add(*sizes.get(part.as_str())?)?;
                parts.push(part);
            }
            Some(Quantisation { label: label(name).to_owned(), parts, bytes })
        };
        let mut quantisations: Vec<Quantisation> = models.into_iter().filter_map(whole).collect();
        quantisations.sort_by_key(|quantisation| std::cmp::Reverse(quantisation.bytes));
        Models { weights, quantisations }
    }

    /// The models that `wanted` names: a file, or a quantisation in any case, with or without its maker's mark (`UD-`).
    pub(crate) fn named(&self, wanted: &str) -> Vec<&Quantisation> {
        let all = || self.quantisations.iter();
        let is_file = |path: &String| path == wanted || path.rsplit('/').next() == Some(wanted);
        let files: Vec<_> = all().filter(|found| found.parts.iter().any(is_file)).collect();
        let labels = || all().filter(|found| found.label.eq_ignore_ascii_case(wanted)).collect();
        let marked = || all().filter(|found| unmarked(&found.label).eq_ignore_ascii_case(wanted)).collect();
        [files, labels(), marked()].into_iter().find(|found| !found.is_empty()).unwrap_or_default()
    }

    /// What there is to choose from: `Q8_0 (15.6 GiB), Q4_0 (8.3 GiB)`.
    pub(crate) fn shown(&self) -> String {
        let list: Vec<String> = self
            .quantisations
            .iter()
            .take(40)
            .map(|found| format!("{} ({})", lyn::error::escape(&found.label), bytes(found.bytes)))
            .collect();
        list.join(", ")
    }
}

/// The quantisation in a path without its ending, as people write it: what begins like a type, behind the last mark.
fn label(path: &str) -> &str {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let folder = folder.rsplit('/').next().unwrap_or(folder);
    quantisation_of(name).or_else(|| quantisation_of(folder)).unwrap_or(name)
}

fn quantisation_of(name: &str) -> Option<&str> {
    let starts = std::iter::once(0).chain(name.match_indices(MARKS).map(|(at, mark)| at + mark.len()));
    let mut words = starts.filter_map(|at| name.get(at..));
    let found = words.rfind(|rest| is_type(rest.split(MARKS).next().unwrap_or(rest)))?;
    let before = name.strip_suffix(found)?;
    if before.ends_with("UD-") { name.get(before.len().checked_sub(3)?..) } else { Some(found) }
}

fn unmarked(label: &str) -> &str {
    label.strip_prefix("UD-").unwrap_or(label)
}

/// Whether a word is how types of GGUF are spelled: `Q4_K_M`, `iq4_nl`, `BF16`, `MXFP4_MOE`.
fn is_type(word: &str) -> bool {
    let word = word.to_ascii_uppercase();
    let kinds = ["IQ", "TQ", "Q", "BF", "FP", "F", "MXFP", "NVFP"];
    let rest = kinds
        .iter()
        .filter_map(|kind| word.strip_prefix(kind))
        .find(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    rest.is_some_and(|rest| rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
}

/// Whether a file of the top folder belongs to weights in safetensors, apart from the weights.
pub(crate) fn is_small_file(path: &str) -> bool {
    SMALL_FILES.contains(&path)
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The shards that an index names. Errors: what is wrong with it.
pub(crate) fn shards(index: &[u8]) -> Result<BTreeSet<String>, String> {
    let index: Index = serde_json::from_slice(index).map_err(|error| error.to_string())?;
    let shards: BTreeSet<String> = index.weight_map.into_values().collect();
    match shards.iter().find(|shard| !is_safe_path(shard) || shard.contains('/') || !shard.ends_with(".safetensors")) {
        Some(other) => Err(format!("{} is not the name of a shard", lyn::error::quote(other))),
        None => Ok(shards),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_those_of_everyday_files() {
        for (path, expected) in [
            ("DeepSeek-V2-Lite-Chat.Q4_K_M", "Q4_K_M"),
            ("GLM-4.7-Flash-UD-Q4_K_XL", "UD-Q4_K_XL"),
            ("moonlight-16b-a3b-instruct-q8_0", "q8_0"),
            ("x-i1-IQ4_NL", "IQ4_NL"),
            ("Q8_0/GLM-5-Q8_0", "Q8_0"),
            ("BF16/model", "BF16"),
            ("gpt-oss-MXFP4_MOE", "MXFP4_MOE"),
            ("Kimi-K2-Instruct-F16", "F16"),
            ("youtu-llm-2b", "youtu-llm-2b"),
            ("model", "model"),
        ] {
            assert_eq!(label(path), expected, "{path}");
        }
    }

    #[test]
    fn parts_are_one_model_and_encoders_none() {
        let models = Models::of([
            ("a-Q8_0.gguf", 8),
            ("Q4_K_M/a-Q4_K_M-00001-of-00002.gguf", 3),
            ("Q4_K_M/a-Q4_K_M-00002-of-00002.gguf", 2),
            ("a-BF16-00001-of-00002.gguf", 9),
            ("mmproj-F16.gguf", 1),
            ("a.imatrix.gguf", 1),
            ("README.md", 1),
        ]);
        let found: Vec<_> =
            models.quantisations.iter().map(|it| (it.label.as_str(), it.parts.len(), it.bytes)).collect();
        assert_eq!(found, [("Q8_0", 1, 8), ("Q4_K_M", 2, 5)], "a model without its second part is none");
        assert_eq!(models.weights, None);
        for wanted in ["q4_k_m", "Q4_K_M/a-Q4_K_M-00001-of-00002.gguf", "a-Q4_K_M-00002-of-00002.gguf"] {
            assert_eq!(models.named(wanted)[0].label, "Q4_K_M", "{wanted}");
        }
        assert!(models.named("Q4").is_empty() && models.named("mmproj-F16.gguf").is_empty());
        assert_eq!(models.shown(), "Q8_0 (0.0 KiB), Q4_K_M (0.0 KiB)");
    }

    #[test]
    fn a_maker_s_mark_may_be_left_out() {
        let models = Models::of([("a-UD-Q4_K_XL.gguf", 8), ("a-Q4_K_M.gguf", 7)]);
        assert_eq!(models.named("q4_k_xl")[0].label, "UD-Q4_K_XL");
        let both = Models::of([("a-UD-Q2_K.gguf", 8), ("a-Q2_K.gguf", 7)]);
        assert_eq!(both.named("Q2_K")[0].label, "Q2_K");
    }

    #[test]
    fn safetensors_are_found_by_their_index() {
        assert_eq!(Models::of([("model.safetensors", 1)]).weights, None, "a config is missing");
        let single = Models::of([("config.json", 1), ("model.safetensors", 1)]);
        assert_eq!(single.weights, Some(WeightFiles::Single("model.safetensors")));
        let indexed = Models::of([("config.json", 1), ("model.safetensors.index.json", 1), ("x.bin", 1)]);
        assert_eq!(indexed.weights, Some(WeightFiles::Indexed));
        let index =
            br#"{"metadata":{},"weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors","c":"m-1.safetensors"}}"#;
        assert_eq!(shards(index).unwrap().into_iter().collect::<Vec<_>>(), ["m-1.safetensors", "m-2.safetensors"]);
        for wrong in [
            "",
            "{}",
            r#"{"weight_map":{"a":"../m.safetensors"}}"#,
            r#"{"weight_map":{"a":"x/m.safetensors"}}"#,
            r#"{"weight_map":{"a":"m.bin"}}"#,
        ] {
            assert!(shards(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
