//! Which prompt format a checkpoint was trained on.

use std::sync::Arc;

use serde::Deserialize;

use super::CallSyntax;
use crate::chat::control;
use crate::checkpoint::TextFile;
use crate::error::{Class, Error, Result, escape};
use crate::text::{MAX_TOKENIZER_CONFIG_BYTES, Tokenizer};

/// A prompt format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChatFormat {
    /// V3.2-Exp (and V3.1-Terminus, whose template is the same in all that we know).
    Exp,
    /// V3.1: opens an assistant turn only after a user turn.
    V31,
    /// V3.2 of December 2025.
    Dsml,
}

/// The files of a checkpoint that say how it was trained to chat.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CheckpointFiles<'a> {
    /// What `tokenizer_config.json` says.
    pub(crate) tokenizer_config: Option<&'a TextFile>,
    /// What `chat_template.jinja` says, which goes before the one in `tokenizer_config.json`.
    pub(crate) chat_template: Option<&'a TextFile>,
    /// Whether `encoding/encoding_dsv32.py` is there; it is never read.
    pub(crate) has_dsv32_encoder: bool,
    /// Whether there is no format without a template: a GGUF file may have lost it, and only V3.2 never had one.
    pub(crate) needs_template: bool,
}

/// What `ChatFormat::detect` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detected {
    /// A format that lyn renders.
    Format(ChatFormat),
    /// None of these; the checkpoint's own template renders it. Calls in answers are known as such if their syntax is.
    Template(Option<CallSyntax>),
    /// None: prompts go in as they are. The text says why, for the user.
    Raw(&'static str),
}

impl Detected {
    /// The format, where it is one that lyn renders itself.
    #[must_use]
    pub fn format(self) -> Option<ChatFormat> {
        match self {
            Detected::Format(format) => Some(format),
            _ => None,
        }
    }

    /// How calls in answers are spelled, where that is known.
    #[must_use]
    pub fn calls(self) -> Option<CallSyntax> {
        match self {
            Detected::Format(format) => Some(format.into()),
            Detected::Template(calls) => calls,
            Detected::Raw(_) => None,
        }
    }

    /// Whether the checkpoint's own template renders it.
    #[must_use]
    pub fn is_own_template(self) -> bool {
        matches!(self, Detected::Template(_))
    }

    /// The name of the format; for the checkpoint's own template, that of its calls, or `template`; none where prompts go in as
    /// they are.
    #[must_use]
    pub fn name(self) -> Option<String> {
        match self {
            Detected::Format(format) => Some(format!("{format:?}").to_lowercase()),
            Detected::Template(Some(calls)) => Some(format!("{calls:?}").to_lowercase()),
            Detected::Template(None) => Some("template".to_owned()),
            Detected::Raw(_) => None,
        }
    }
}

#[derive(Deserialize)]
struct TokenizerConfig {
    chat_template: Option<Template>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a string or a list of named templates")]
enum Template {
    One(String),
    Named(Vec<NamedTemplate>),
}

#[derive(Deserialize)]
struct NamedTemplate {
    name: String,
    template: String,
}

impl ChatFormat {
    /// Reads the checkpoint's files: DeepSeek's encoder, no template, or one with DSML's markers means DSML; a template with
    /// V3.1's calls means exp. A format counts only if the tokenizer has its control tokens.
    ///
    /// # Errors
    /// `bad_checkpoint` when a file is there and cannot be read.
    pub(crate) fn detect(files: CheckpointFiles<'_>, tokenizer: &Tokenizer) -> Result<Detected> {
        let format = match Templates::of(files)?.map(Templates::offering) {
            _ if files.has_dsv32_encoder => ChatFormat::Dsml,
            None if files.needs_template => return Ok(Detected::Raw("the GGUF file has no chat template")),
            None => ChatFormat::Dsml,
            Some(text) if text.contains("｜DSML｜") => ChatFormat::Dsml,
            // V3 and R1 call tools another way, and their turns hold no think tokens.
            Some(text) if text.contains("<｜tool▁outputs▁begin｜>") => {
                return Ok(Detected::Template(None));
            }
            Some(text) if text.contains("tool▁calls▁begin") => {
                // V3.2-Exp added the flag for conversations of systems only; V3.1's last condition asks for a user turn.
                let only_after_user = text.contains("add_generation_prompt and ns.is_last_user");
                if only_after_user && !text.contains("is_only_sys") { ChatFormat::V31 } else { ChatFormat::Exp }
            }
            Some(text) => return Ok(Detected::Template(CallSyntax::of_template(&text, tokenizer))),
        };
        let needed = if format == ChatFormat::Dsml { &control::ALL[..6] } else { &control::ALL[..] };
        if needed.iter().any(|token| tokenizer.token_id(token).is_none()) {
            return Ok(Detected::Raw("its tokenizer lacks the control tokens of a chat format"));
        }
        Ok(Detected::Format(format))
    }
}

/// The chat templates of a checkpoint, as they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Templates {
    /// The file that holds them.
    pub(crate) file: Arc<str>,
    /// The one named `default`, or the only one.
    pub(crate) plain: Option<String>,
    /// The one named `tool_use`, for conversations with tools.
    pub(crate) tool_use: Option<String>,
}

impl Templates {
    /// Those of the files; none where there is neither a plain one nor one for tools.
    ///
    /// # Errors
    /// `bad_checkpoint` where a file is no text, no JSON, or too long.
    pub(crate) fn of(files: CheckpointFiles<'_>) -> Result<Option<Templates>> {
        if let Some(TextFile { file, bytes }) = files.chat_template {
            let text = std::str::from_utf8(bytes).map_err(|_| Error::file(Class::Template, file, "expected UTF-8"))?;
            return Ok(Some(Templates { file: file.clone(), plain: Some(text.to_owned()), tool_use: None }));
        }
        let Some(TextFile { file, bytes }) = files.tokenizer_config else { return Ok(None) };
        if bytes.len() as u64 > MAX_TOKENIZER_CONFIG_BYTES {
            let limit = format!("expected at most {MAX_TOKENIZER_CONFIG_BYTES} bytes, found {}", bytes.len());
            return Err(Error::file(Class::Limit, file, limit));
        }
        let config: TokenizerConfig = serde_json::from_slice(bytes)
            .map_err(|error| Error::file(Class::Json, file, escape(&error.to_string())))?;
        let (plain, tool_use) = match config.chat_template {
            None => (None, None),
            Some(Template::One(text)) => (Some(text), None),
            Some(Template::Named(mut list)) => {
                let mut named = |name: &str| {
                    list.iter_mut().find(|named| named.name == name).map(|named| std::mem::take(&mut named.template))
                };
                (named("default"), named("tool_use"))
            }
        };
        Ok((plain.is_some() || tool_use.is_some()).then(|| Templates { file: file.clone(), plain, tool_use }))
    }

    /// The one that tells the model of tools.
    fn offering(self) -> String {
        self.tool_use.or(self.plain).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tokenizer(tokens: &[&str]) -> Tokenizer {
        let added: Vec<_> = (1..).zip(tokens).map(|(id, token)| json!({"id": id, "content": token})).collect();
        let file = json!({
            "added_tokens": added, "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []},
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false},
        });
        Tokenizer::from_json("tokenizer.json", file.to_string().as_bytes(), 100).unwrap()
    }

    fn config(bytes: &[u8]) -> TextFile {
        TextFile { file: "tokenizer_config.json".into(), bytes: bytes.to_vec() }
    }

    fn detect(template: Option<&str>, encoder: bool, tokens: &[&str]) -> Detected {
        let config = config(json!({"bos_token": "x", "chat_template": template}).to_string().as_bytes());
        let files = CheckpointFiles {
            tokenizer_config: Some(&config),
            has_dsv32_encoder: encoder,
            ..CheckpointFiles::default()
        };
        ChatFormat::detect(files, &tokenizer(tokens)).unwrap()
    }

    #[test]
    fn files_say_the_format() {
        let exp = "{%- if ns.is_last_user or ns.is_only_sys %}<｜tool▁calls▁begin｜>{% if add_generation_prompt and not ns.is_tool %}";
        let v31 = "<｜tool▁calls▁begin｜>{%- if add_generation_prompt and ns.is_last_user and not ns.is_tool %}";
        let v3 = "<｜tool▁calls▁begin｜><｜tool▁outputs▁begin｜>";
        let all = &control::ALL;
        assert_eq!(detect(Some(exp), false, all), Detected::Format(ChatFormat::Exp));
        assert_eq!(detect(Some(v31), false, all), Detected::Format(ChatFormat::V31));
        assert_eq!(detect(None, false, all), Detected::Format(ChatFormat::Dsml));
        assert_eq!(detect(Some(v3), true, all), Detected::Format(ChatFormat::Dsml));
        assert_eq!(detect(None, false, &all[..6]), Detected::Format(ChatFormat::Dsml));
        let lost = CheckpointFiles { needs_template: true, ..CheckpointFiles::default() };
        assert!(matches!(ChatFormat::detect(lost, &tokenizer(all)).unwrap(), Detected::Raw(_)));
        for (template, tokens) in [(Some(exp), &all[..6]), (None, &[])] {
            assert!(matches!(detect(template, false, tokens), Detected::Raw(_)), "{template:?}");
        }
        assert_eq!(detect(Some("<' + dsml + '｜DSML｜invoke"), false, all), Detected::Format(ChatFormat::Dsml));
        for template in [v3, "{{ messages }}", "<tool_call>{{ name }}<arg_key>", "<|im_middle|>"] {
            assert_eq!(detect(Some(template), false, all), Detected::Template(None), "{template}");
        }
        for (template, calls) in
            [("<arg_key>{{ key }}</arg_key>", CallSyntax::Glm), ("<|im_middle|>", CallSyntax::Kimi)]
        {
            assert_eq!(detect(Some(template), false, calls.tokens()), Detected::Template(Some(calls)));
            assert_eq!(detect(Some(template), false, &calls.tokens()[1..]), Detected::Template(None));
        }
    }

    #[test]
    fn templates_are_found_where_they_may_be() {
        let named = json!({"chat_template": [
            {"name": "rag", "template": "x"},
            {"name": "tool_use", "template": "tool▁calls▁begin"},
            {"name": "default", "template": "plain"},
        ]});
        let named = config(named.to_string().as_bytes());
        let files = CheckpointFiles { tokenizer_config: Some(&named), ..CheckpointFiles::default() };
        let found = Templates::of(files).unwrap().unwrap();
        assert_eq!((&*found.file, found.plain.as_deref()), ("tokenizer_config.json", Some("plain")));
        assert_eq!(ChatFormat::detect(files, &tokenizer(&control::ALL)).unwrap(), Detected::Format(ChatFormat::Exp));
        assert_eq!(found.offering(), "tool▁calls▁begin");
        let template = TextFile { file: "chat_template.jinja".into(), bytes: b"own".to_vec() };
        let own = CheckpointFiles { chat_template: Some(&template), ..files };
        let expected = Templates { file: "chat_template.jinja".into(), plain: Some("own".to_owned()), tool_use: None };
        assert_eq!(Templates::of(own).unwrap(), Some(expected));
        for (bytes, class) in [(&b"{"[..], "E-JSON"), (&vec![b' '; (4 << 20) + 1][..], "E-LIMIT")] {
            let broken = config(bytes);
            let files = CheckpointFiles { tokenizer_config: Some(&broken), ..CheckpointFiles::default() };
            assert_eq!(Templates::of(files).unwrap_err().class(), Some(class));
        }
    }
}
