//! Token lists and merges of a GGUF file, written as the files that they stand for: tokenizer.json and tokenizer_config.json.
//!
//! So there is one reader of tokenizers, whose checks hold for both. Here stands only what the lists have of their own.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::json;

use super::metadata::Metadata;
use super::patterns;
use crate::checkpoint::stored::{TextFile, TextFiles, TokenizerFile};
use crate::error::{Class, DAMAGED, Error, Result, quote};

/// Kinds of tokens, by their numbers in `tokenizer.ggml.token_type`.
mod kind {
    pub(super) const NORMAL: i128 = 1;
    pub(super) const UNKNOWN: i128 = 2;
    pub(super) const CONTROL: i128 = 3;
    pub(super) const USER_DEFINED: i128 = 4;
    pub(super) const UNUSED: i128 = 5;
    pub(super) const BYTE: i128 = 6;
}

const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";

/// The files about text; none where the file has no tokenizer.
///
/// # Errors
/// [`Class::Tok`]: lists that do not fit each other, or another kind of tokenizer.
pub(super) fn text(metadata: &Metadata) -> Result<Option<TextFiles>> {
    let wrong = |key: &str, message: String| {
        Error::file(Class::Tok, metadata.file(), format!("{key}: {message}")).with_help(DAMAGED).with_detail("key", key)
    };
    let own = |bytes: Vec<u8>| TextFile { file: metadata.file.clone(), bytes };
    let model = metadata.text("tokenizer.ggml.model")?;
    if model.is_none() && metadata.length(TOKENS).is_none() {
        return Ok(None);
    }
    let config = named_templates(metadata)?;
    let template = metadata.text("tokenizer.chat_template")?.filter(|_| config.is_none());
    let with = |tokenizer| TextFiles {
        tokenizer,
        tokenizer_config: config.map(own),
        chat_template: template.map(|template| own(template.as_bytes().to_vec())),
        has_dsv32_encoder: false,
    };
    if let Some(whole) = metadata.text("tokenizer.huggingface.json")? {
        return Ok(Some(with(TokenizerFile::Json(own(whole.as_bytes().to_vec())))));
    }
    let model = model.ok_or_else(|| wrong("tokenizer.ggml.model", "expected gpt2, found nothing".to_owned()))?;
    if model != "gpt2" {
        return Err(wrong("tokenizer.ggml.model", format!("expected gpt2 (byte-level BPE), found {}", quote(model))));
    }
    let pre = metadata.text("tokenizer.ggml.pre")?;
    let Some((pre, patterns)) = pre.and_then(|pre| Some((pre, patterns::patterns(pre)?))) else {
        let found = pre.map_or_else(|| "nothing".to_owned(), quote);
        let message = format!("expected one of {}, found {found}", patterns::NAMES.join(", "));
        return Err(wrong("tokenizer.ggml.pre", message).with_help("put the model's tokenizer.json beside the file"));
    };
    let absent = |key: &str| wrong(key, "expected a list, found nothing".to_owned());
    let tokens = metadata.texts(TOKENS)?.ok_or_else(|| absent(TOKENS))?;
    let types = metadata.integer_list(TYPES)?.ok_or_else(|| absent(TYPES))?;
    if types.len() != tokens.len() {
        return Err(wrong(
            TYPES,
            format!("expected {} entries, as many as tokens, found {}", tokens.len(), types.len()),
        ));
    }
    let (mut vocab, mut added) = (vec![], vec![]);
    for ((id, content), of_type) in (0u32..).zip(tokens).zip(types) {
        match of_type {
            kind::NORMAL | kind::BYTE => vocab.push((content, id)),
            kind::CONTROL | kind::USER_DEFINED => {
                added.push(json!({ "id": id, "content": content, "special": of_type == kind::CONTROL }));
            }
            kind::UNKNOWN | kind::UNUSED => {}
            other => return Err(wrong(TYPES, format!("token {id}: expected a type from 1 to 6, found {other}"))),
        }
    }
    let mut merges = vec![];
    for (rank, merge) in metadata.texts(MERGES)?.ok_or_else(|| absent(MERGES))?.into_iter().enumerate() {
        // A piece is never empty, and may itself begin with a space.
        let space = merge.char_indices().skip(1).find(|(_, letter)| *letter == ' ');
        let pair = space.and_then(|(at, _)| Some((merge.get(..at)?, merge.get(at.saturating_add(1)..)?)));
        let pair = pair.filter(|(_, right)| !right.is_empty());
        let pair =
            pair.ok_or_else(|| wrong(MERGES, format!("merge {rank}: expected two pieces, found {}", quote(merge))))?;
        merges.push(pair);
    }
    let split = |pattern: &&str| json!({ "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false });
    let mut steps: Vec<_> = patterns.iter().map(split).collect();
    steps.push(json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false }));
    let file = TokenizerJson {
        added_tokens: added,
        pre_tokenizer: json!({ "type": "Sequence", "pretokenizers": steps }),
        decoder: json!({ "type": "ByteLevel" }),
        model: Model { r#type: "BPE", ignore_merges: patterns::takes_whole(pre), vocab: Vocab(vocab), merges },
    };
    let unwritten = |error: serde_json::Error| wrong(TOKENS, error.to_string());
    Ok(Some(with(TokenizerFile::Lists(own(serde_json::to_vec(&file).map_err(unwritten)?)))))
}

/// The chat templates as tokenizer_config.json; none where there is none for conversations with tools.
fn named_templates(metadata: &Metadata) -> Result<Option<Vec<u8>>> {
    let Some(tool_use) = metadata.text("tokenizer.chat_template.tool_use")? else { return Ok(None) };
    let named = [("default", metadata.text("tokenizer.chat_template")?), ("tool_use", Some(tool_use))].into_iter();
    let named = named.filter_map(|(name, template)| Some(json!({ "name": name, "template": template? })));
    Ok(Some(json!({ "chat_template": named.collect::<Vec<_>>() }).to_string().into_bytes()))
}

#[derive(serde::Serialize)]
struct TokenizerJson<'a> {
    added_tokens: Vec<serde_json::Value>,
    pre_tokenizer: serde_json::Value,
    decoder: serde_json::Value,
    model: Model<'a>,
}

#[derive(serde::Serialize)]
struct Model<'a> {
    r#type: &'static str,
    ignore_merges: bool,
    vocab: Vocab<'a>,
    merges: Vec<(&'a str, &'a str)>,
}

/// Written as a map. What stands twice is written twice: the reader refuses it.
struct Vocab<'a>(Vec<(&'a str, u32)>);

impl Serialize for Vocab<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (token, id) in &self.0 {
            map.serialize_entry(token, id)?;
        }
        map.end()
    }
}
