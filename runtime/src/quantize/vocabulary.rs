//! A tokenizer as the metadata of a GGUF file: the inverse of `checkpoint/gguf/vocabulary.rs`.

use std::collections::HashMap;

use serde_json::Value as Json;

use super::container::{Keys, Value};
use crate::checkpoint::gguf::{NAMES, patterns, takes_whole};
use crate::checkpoint::{Checkpoint, TextFile, TokenizerFile};
use crate::error::{Class, Error, Result, quote};
use crate::language::Language;
use crate::text::Lists;

/// Kinds of tokens, by their numbers in the file.
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;

/// Cut differently by every pair of pre-tokenizers that the format has a name for: digits, Han, kana, Hangul, Thai, accents composed
/// and not, cases within a word, contractions, runs of signs, spaces of every kind and number.
const PROBE: &str = "Once upon 1 time, 12 and 123, 1234567 Ⅷ ٣٤٥ x²: don't WE'LL they’re I'M camelCase HTMLParser XMLHttp2 \
    café cafe\u{301} Ünïcödé straße ДОМ дом Ελλάδα עברית العربية ไทย हिन्दी 漢字と仮名カタカナー 한국어 中文字符，标点。「引」 \
    a+b==c //!? ((x)) $5.00 #tag @me _under_ --- … “quote” 😀👍🏽 \u{200d} end  two   three\t\ttabs \n new\n\n lines \r\n\r\n  x \u{3000}y\u{a0}z \n";

/// The keys about text, and what the user should know of them; none where the checkpoint has no tokenizer.
///
/// # Errors
/// `bad_checkpoint` for a tokenizer that lyn does not read either.
pub(super) async fn keys(checkpoint: &Checkpoint, notes: &mut Vec<String>) -> Result<Keys> {
    let (Some(files), Some(language)) = (checkpoint.text().await?, Language::open(checkpoint).await?) else {
        notes.push(
            "the checkpoint has no tokenizer: lyn runs the file on token ids, llama.cpp does not load it".to_owned(),
        );
        return Ok(vec![]);
    };
    let size = checkpoint.config.vocab_size;
    let (TokenizerFile::Json(TextFile { bytes: file, .. }) | TokenizerFile::Lists(TextFile { bytes: file, .. })) =
        &files.tokenizer
    else {
        notes.push(
            "tiktoken.model has no merges, which GGUF lists: the file has no tokenizer; lyn runs it on token ids"
                .to_owned(),
        );
        return Ok(vec![]);
    };
    let lists = Lists::read("tokenizer.json", file, size)?;
    let known = NAMES.into_iter().filter(|name| takes_whole(name) == lists.ignore_merges);
    let pre = known.into_iter().find(|name| patterns(name).is_some_and(|patterns| lists.cuts_as(patterns, PROBE)));
    let mut keys = vec![];
    let mut put = |key: &str, value: Value| keys.push((format!("tokenizer.{key}"), value));
    put("ggml.model", Value::Text("gpt2".to_owned()));
    put("ggml.pre", Value::Text(pre.unwrap_or("default").to_owned()));
    if pre.is_none() {
        let whole = String::from_utf8_lossy(file).into_owned();
        put("huggingface.json", Value::Text(whole));
        let note = "GGUF has no name for how this tokenizer cuts text: the file holds the whole tokenizer.json, which lyn \
            follows; llama.cpp may give other ids";
        notes.push(note.to_owned());
    }
    let (tokens, types) = tokens(&lists, size)?;
    put("ggml.tokens", Value::Texts(tokens));
    put("ggml.token_type", Value::I32s(types));
    put("ggml.merges", Value::Texts(lists.merges.iter().map(|(left, right)| format!("{left} {right}")).collect()));
    let info = language.tokenizer_info();
    put("ggml.add_bos_token", Value::Bool(info.get("add_bos_token").and_then(Json::as_bool).unwrap_or(false)));
    if let Some(template) = info.get("chat_template").and_then(Json::as_str) {
        put("chat_template", Value::Text(template.to_owned()));
    }
    Ok(keys)
}

/// Texts and kinds of all ids.
fn tokens(lists: &Lists, size: u32) -> Result<(Vec<String>, Vec<i32>)> {
    let mut by_id: HashMap<u32, (&str, i32)> = HashMap::new();
    by_id.extend(lists.vocab.iter().map(|(token, id)| (*id, (token.as_str(), NORMAL))));
    by_id.extend(lists.added.iter().map(|(id, text, is_special)| {
        let is_control = *is_special || looks_special(text);
        (*id, (text.as_str(), if is_control { CONTROL } else { USER_DEFINED }))
    }));
    let (mut tokens, mut types) = (vec![], vec![]);
    for id in 0..size {
        let (token, kind) = match by_id.get(&id) {
            Some((token, kind)) => ((*token).to_owned(), *kind),
            // Rows of the embedding that no text has.
            None => (format!("[PAD{id}]"), UNUSED),
        };
        tokens.push(token);
        types.push(kind);
    }
    if let Some((left, right)) = lists.merges.iter().find(|(left, right)| left.contains(' ') || right.contains(' ')) {
        let message =
            format!("the merge of {} and {}: a piece with a space has no place in GGUF", quote(left), quote(right));
        return Err(Error::file(Class::Tok, "tokenizer.json", message));
    }
    Ok((tokens, types))
}

/// Texts that every writer of these files calls control tokens, whatever tokenizer.json says.
fn looks_special(text: &str) -> bool {
    ["<|", "<｜"].iter().any(|start| text.starts_with(start)) && ["|>", "｜>"].iter().any(|end| text.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lists(steps: &[&str]) -> Lists {
        let split =
            |pattern: &&str| json!({ "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated" });
        let mut steps: Vec<Json> = steps.iter().map(split).collect();
        steps.push(json!({ "type": "ByteLevel", "add_prefix_space": false, "use_regex": false }));
        let file = json!({
            "added_tokens": [
                { "id": 2, "content": "<think>", "special": false },
                { "id": 3, "content": "<｜User｜>", "special": false },
                { "id": 4, "content": "[gMASK]", "special": true },
            ],
            "model": { "type": "BPE", "vocab": { "a": 0, "b": 1, "<think>": 2 }, "merges": [] },
            "pre_tokenizer": { "type": "Sequence", "pretokenizers": steps },
        });
        Lists::read("tokenizer.json", file.to_string().as_bytes(), 6).unwrap()
    }

    /// The probe tells every pre-tokenizer from every other, and from one that cuts nothing.
    #[test]
    fn each_pre_tokenizer_is_recognised() {
        for name in NAMES {
            let lists = lists(patterns(name).unwrap());
            let same: Vec<_> =
                NAMES.into_iter().filter(|other| lists.cuts_as(patterns(other).unwrap(), PROBE)).collect();
            assert_eq!(same, [name]);
        }
        assert!(!NAMES.into_iter().any(|name| lists(&[]).cuts_as(patterns(name).unwrap(), PROBE)));
    }

    #[test]
    fn tokens_have_their_kinds() {
        let (tokens, types) = tokens(&lists(&[]), 6).unwrap();
        assert_eq!(tokens, ["a", "b", "<think>", "<｜User｜>", "[gMASK]", "[PAD5]"]);
        assert_eq!(types, [NORMAL, NORMAL, USER_DEFINED, CONTROL, CONTROL, UNUSED]);
    }
}
