//! What a model knows of text: all of it that needs no device.
//!
//! In: the small files of a checkpoint. Out: prompts as ids, and what answers may consist of. Requests are made ready here,
//! on any thread, while the engine works for others.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::chat::formats::Templates;
use crate::chat::formats::template::{Ends, OwnTemplates};
use crate::chat::{
    CallSyntax, ChatFormat, CheckpointFiles, Content, Conversation, Detected, Grammars, Message, OutputParser,
    RenderOptions, Role, control, encode,
};
use crate::checkpoint::{Checkpoint, GenerationDefaults, TextFile, TokenizerFile};
use crate::error::{Code, Error, Result, quote};
use crate::generate::{Request, Vocabulary};
use crate::text::Tokenizer;

/// A model's language.
pub struct Language {
    vocabulary: Arc<Vocabulary>,
    format: Detected,
    /// Where the format is the checkpoint's own.
    templates: Option<OwnTemplates>,
    eos_token: Option<u32>,
    grammars: Grammars,
    tokenizer_info: Map<String, Value>,
    bos: Option<u32>,
    defaults: GenerationDefaults,
    model_type: String,
    context: u32,
}

/// The error of a checkpoint without a tokenizer, where text is to be read or written.
pub fn no_tokenizer() -> Error {
    let message = "the checkpoint has no tokenizer: text cannot be tokenized";
    Error::new(Code::BadCheckpoint, message).with_help("download the model's tokenizer.json into its folder")
}

impl Language {
    /// The language of a checkpoint; none where it has no tokenizer.
    ///
    /// # Errors
    /// `bad_checkpoint` where a file is there and broken.
    pub async fn open(checkpoint: &Checkpoint) -> Result<Option<Language>> {
        let Some(text) = checkpoint.text().await? else { return Ok(None) };
        let config = &checkpoint.config;
        let tokenizer = match &text.tokenizer {
            TokenizerFile::Json(TextFile { file, bytes }) => Tokenizer::from_json(file, bytes, config.vocab_size)?,
            TokenizerFile::Lists(TextFile { file, bytes }) => Tokenizer::from_lists(file, bytes, config.vocab_size)?,
            TokenizerFile::Tiktoken(TextFile { bytes, .. }) => {
                let added = text.tokenizer_config.as_ref().map(|file| &*file.bytes);
                Tokenizer::from_tiktoken(bytes, added, config.vocab_size)?
            }
        };
        let files = CheckpointFiles {
            tokenizer_config: text.tokenizer_config.as_ref(),
            chat_template: text.chat_template.as_ref(),
            has_dsv32_encoder: text.has_dsv32_encoder,
            needs_template: checkpoint.source().gguf().is_some() && config.indexer.is_none(),
        };
        let format = ChatFormat::detect(files, &tokenizer)?;
        let templates = Templates::of(files)?.filter(|_| format.is_own_template()).map(OwnTemplates::new);
        let tokenizer_info = tokenizer_info(files, config.bos_token_id, &config.eos_token_ids, &tokenizer)?;
        let ends = [&config.eos_token_ids, &checkpoint.generation.eos_token_ids].into_iter().flatten().copied();
        let eos: Vec<u32> = ends.chain(ids_of(&tokenizer, calls_of(format, CallSyntax::turns))).collect();
        let allowed: Arc<[bool]> = tokenizer.sampleable().into();
        let tokenizer = Arc::new(tokenizer);
        let grammars = Grammars::new(Arc::clone(&tokenizer), format, Arc::clone(&allowed), &eos);
        let markup =
            ids_of(&tokenizer, [control::THINK, control::END_THINK].iter().chain(calls_of(format, CallSyntax::tokens)));
        let parser = move |request: &Request| {
            let parser = OutputParser::new(format.calls().filter(|_| request.calls), request.thinking);
            let parser = parser.calling(Arc::clone(&request.functions));
            Box::new(if request.may_think { parser.may_think() } else { parser }) as _
        };
        Ok(Some(Language {
            vocabulary: Arc::new(Vocabulary { tokenizer, eos, markup, allowed, parser: Box::new(parser) }),
            format,
            templates,
            eos_token: config.eos_token_ids.first().copied(),
            grammars,
            tokenizer_info,
            bos: config.bos_token_id,
            defaults: checkpoint.generation.clone(),
            model_type: config.model_type.clone(),
            context: config.max_position_embeddings,
        }))
    }

    /// With the context that an engine has room for, instead of all that the model was made for.
    /// Compiles the checkpoint's own chat templates, which otherwise the first conversation does, and renders a greeting:
    /// names that a template does not know show only then.
    ///
    /// # Errors
    /// Of class `E-TEMPLATE`.
    pub fn check_templates(&self) -> Result<()> {
        let Some(templates) = &self.templates else { return Ok(()) };
        templates.check(self.tokenizer())?;
        let greeting =
            Message { role: Role::User, content: Some(Content::Text("Hello".to_owned())), ..Message::default() };
        let greeting = Conversation { messages: vec![greeting], ..Conversation::default() };
        self.render(&greeting, RenderOptions::default()).map(drop)
    }

    pub(crate) fn with_context(self, context: u32) -> Language {
        Language { context, ..self }
    }

    pub(crate) fn vocabulary(&self) -> Arc<Vocabulary> {
        Arc::clone(&self.vocabulary)
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.vocabulary.tokenizer
    }

    /// The token that begins every text.
    pub(crate) fn begin(&self) -> Option<u32> {
        self.bos
    }

    /// The prompt format that the checkpoint was trained on, or why there is none.
    pub fn chat_format(&self) -> Detected {
        self.format
    }

    /// What holds answers to a form: JSON, schemas, calls.
    pub fn grammars(&self) -> &Grammars {
        &self.grammars
    }

    /// What `tokenizer_config.json` says, as far as it is no list or object, the chat template that counts, and the tokens
    /// that begin, end and pad texts, which are always there: null where there is none.
    pub fn tokenizer_info(&self) -> &Map<String, Value> {
        &self.tokenizer_info
    }

    /// Sampling that the checkpoint recommends.
    pub(crate) fn defaults(&self) -> &GenerationDefaults {
        &self.defaults
    }

    pub(crate) fn model_type(&self) -> &str {
        &self.model_type
    }

    /// Positions for prompt and answer.
    pub fn context(&self) -> u32 {
        self.context
    }

    /// A conversation as ids, in the checkpoint's own format.
    ///
    /// # Errors
    /// `bad_request` where the checkpoint has no format that lyn renders, or a message cannot be rendered.
    pub fn render(&self, conversation: &Conversation, options: RenderOptions) -> Result<Vec<u32>> {
        let format: ChatFormat = match self.format {
            Detected::Format(format) => format,
            Detected::Template(_) => return self.render_by_template(conversation, options),
            Detected::Raw(why) => {
                let message = format!("this checkpoint has no chat format: {why}");
                return Err(Error::new(Code::BadRequest, message).with_help("use: lyn generate --raw"));
            }
        };
        let prompt = encode(format, conversation, options)?;
        self.check_length(prompt.text_bytes())?;
        prompt.ids(self.tokenizer())
    }

    /// Refuses a text that cannot fit the context, before it is made tokens.
    pub(crate) fn check_length(&self, bytes: usize) -> Result<()> {
        let (least, context) = (self.tokenizer().least_tokens(bytes), self.context);
        if least <= context as usize {
            return Ok(());
        }
        let message = format!(
            "This model's maximum context length is {context} tokens. However, you requested at least {least} tokens in \
            the messages. Please reduce the length of the messages."
        );
        Err(Error::new(Code::ContextOverflow, message)
            .with_detail("param", "messages")
            .with_detail("prompt_tokens", least)
            .with_detail("context", context))
    }

    /// Whether what follows `prompt` is thought.
    pub(crate) fn opens_thought(&self, prompt: &[u32]) -> bool {
        let [open, close] = [control::THINK, control::END_THINK].map(|token| self.tokenizer().token_id(token));
        let last = prompt.iter().rev().find(|&&id| Some(id) == open || Some(id) == close);
        last.is_some_and(|&id| Some(id) == open)
    }

    fn render_by_template(&self, conversation: &Conversation, options: RenderOptions) -> Result<Vec<u32>> {
        let templates =
            self.templates.as_ref().ok_or_else(|| Error::new(Code::Internal, "the chat template is gone"))?;
        let template = templates.of(conversation, self.tokenizer())?;
        let text = |id: Option<u32>| id.map(|id| self.tokenizer().decode(&[id])).unwrap_or_default();
        let (bos, eos) = (text(self.bos), text(self.eos_token));
        let prompt = template.render(conversation, options, self.tokenizer(), Ends { bos: &bos, eos: &eos })?;
        self.check_length(prompt.text_bytes())?;
        prompt.ids(self.tokenizer())
    }

    /// Whether the model has tokens for a hole between two texts.
    pub(crate) fn has_hole(&self) -> bool {
        self.around_hole(&[], &[]).is_ok()
    }

    /// A hole between two texts, for a model to fill: without the token that begins every text.
    ///
    /// # Errors
    /// `bad_request` where the vocabulary has no hole.
    pub(crate) fn around_hole(&self, before: &[u32], behind: &[u32]) -> Result<Vec<u32>> {
        around_hole(self.tokenizer(), before, behind)
    }

    /// Plain text as ids, after the token that begins every text.
    ///
    /// # Errors
    /// `bad_request` for text that the tokenizer cannot encode.
    pub fn raw_prompt(&self, text: &str) -> Result<Vec<u32>> {
        self.check_length(text.len())?;
        let mut ids: Vec<u32> = self.bos.into_iter().collect();
        ids.extend(self.tokenizer().encode(text, false)?);
        Ok(ids)
    }
}

fn tokenizer_info(
    files: CheckpointFiles<'_>,
    bos: Option<u32>,
    eos: &[u32],
    tokenizer: &Tokenizer,
) -> Result<Map<String, Value>> {
    // A file that is broken where nobody needs it says nothing.
    let all = files.tokenizer_config.and_then(|own| serde_json::from_slice::<Map<String, Value>>(&own.bytes).ok());
    let plain = |(name, value): (String, Value)| match value {
        // A token may be written with its properties.
        Value::Object(token) if name.ends_with("_token") => Some((name, token.get("content")?.clone())),
        Value::Object(_) | Value::Array(_) => None,
        plain => Some((name, plain)),
    };
    let mut info: Map<String, Value> = all.into_iter().flatten().filter_map(plain).collect();
    let text = |id: Option<u32>| id.map_or(Value::Null, |id| Value::String(tokenizer.decode(&[id])));
    let template = Templates::of(files)?.and_then(|templates| templates.plain).map_or(Value::Null, Value::String);
    info.insert("chat_template".to_owned(), template);
    let defaults = [
        ("tokenizer_class", Value::String("PreTrainedTokenizerFast".to_owned())),
        ("bos_token", text(bos)),
        ("eos_token", text(eos.first().copied())),
        ("pad_token", Value::Null),
    ];
    for (name, value) in defaults {
        let found = info.entry(name).or_insert(Value::Null);
        if found.is_null() {
            *found = value;
        }
    }
    Ok(info)
}

/// What a format's syntax of calls says of tokens; nothing where it is not known.
fn calls_of(format: Detected, tokens: fn(CallSyntax) -> &'static [&'static str]) -> &'static [&'static str] {
    format.calls().map_or(&[], tokens)
}

/// The ids of those tokens that the tokenizer has.
fn ids_of<'t>(tokenizer: &Tokenizer, tokens: impl IntoIterator<Item = &'t &'t str>) -> Vec<u32> {
    tokens.into_iter().filter_map(|token| tokenizer.token_id(token)).collect()
}

/// A hole between two texts: its beginning, its place, its end, as tokens.
fn around_hole(tokenizer: &Tokenizer, before: &[u32], behind: &[u32]) -> Result<Vec<u32>> {
    let token = |name: &str| {
        let lacks = format!("suffix: the model has no token {}, so fill-in-the-middle is not supported", quote(name));
        tokenizer.token_id(name).ok_or_else(|| {
            Error::new(Code::BadRequest, lacks).with_detail("param", "suffix").with_help("leave out suffix")
        })
    };
    let (begin, hole, end) = (token(control::FIM_BEGIN)?, token(control::FIM_HOLE)?, token(control::FIM_END)?);
    Ok([&[begin], before, &[hole], behind, &[end]].concat())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_hole_is_between_its_texts() {
        let added: Vec<_> =
            (10..).zip([control::BOS, control::FIM_BEGIN, control::FIM_HOLE, control::FIM_END]).collect();
        let added: Vec<_> = added.iter().map(|(id, token)| json!({ "id": id, "content": token })).collect();
        let file = json!({
            "added_tokens": added, "model": { "type": "BPE", "vocab": { "a": 0 }, "merges": [] },
            "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "use_regex": false },
        });
        let tokenizer = Tokenizer::from_json("tokenizer.json", file.to_string().as_bytes(), 20).unwrap();
        assert_eq!(around_hole(&tokenizer, &[1, 2], &[3]).unwrap(), [11, 1, 2, 12, 3, 13]);
    }
}
