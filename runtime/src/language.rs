//! What a model knows of text: all of it that needs no device.
//!
//! In: the small files of a checkpoint. Out: prompts as ids, and what answers may consist of. Requests are made ready here,
//! on any thread, while the engine works for others.

use std::sync::Arc;

use crate::chat::{ChatFormat, CheckpointFiles, Conversation, Detected, Grammars, Options, control, encode};
#[cfg(feature = "chat-template")]
use crate::chat::{
    format::template,
    template::{ChatTemplate, Ends},
};
use crate::checkpoint::{Checkpoint, GenerationDefaults, optional_small_file};
use crate::error::{Code, Error, Result};
use crate::generate::Vocabulary;
use crate::text::{MAX_TOKENIZER_BYTES, MAX_TOKENIZER_CONFIG_BYTES, Tokenizer};

/// A model's language.
pub struct Language {
    vocabulary: Arc<Vocabulary>,
    format: Detected,
    /// Where the format is the checkpoint's own template: it, or why it cannot be used. Prompts still go in as they are then.
    #[cfg(feature = "chat-template")]
    template: Option<Result<ChatTemplate>>,
    #[cfg(feature = "chat-template")]
    eos_token: Option<u32>,
    grammars: Grammars,
    bos: Option<u32>,
    defaults: GenerationDefaults,
    model_type: String,
    context: u32,
}

pub(crate) fn no_tokenizer() -> Error {
    let message = "the checkpoint has no tokenizer.json: text can be neither read nor written";
    Error::new(Code::BadCheckpoint, message).with_help("download tokenizer.json into the model's folder")
}

impl Language {
    /// The language of a checkpoint; none where it has no tokenizer.
    ///
    /// # Errors
    /// `bad_checkpoint` where a file is there and broken.
    pub async fn open(checkpoint: &Checkpoint) -> Result<Option<Language>> {
        let source = &**checkpoint.source();
        let Some(bytes) = optional_small_file(source, "tokenizer.json", MAX_TOKENIZER_BYTES).await? else {
            return Ok(None);
        };
        let config = &checkpoint.config;
        let tokenizer = Tokenizer::from_json("tokenizer.json", &bytes, config.vocab_size)?;
        let tokenizer_config = optional_small_file(source, "tokenizer_config.json", MAX_TOKENIZER_CONFIG_BYTES).await?;
        let chat_template = optional_small_file(source, "chat_template.jinja", MAX_TOKENIZER_CONFIG_BYTES).await?;
        let files = CheckpointFiles {
            tokenizer_config: tokenizer_config.as_deref(),
            chat_template: chat_template.as_deref(),
            // A source of plain names cannot have it; then the absent chat template says the same.
            has_dsv32_encoder: source.size("encoding/encoding_dsv32.py").await.is_ok_and(|size| size.is_some()),
        };
        let format = ChatFormat::detect(files, &tokenizer)?;
        #[cfg(feature = "chat-template")]
        let template = match format {
            Detected::Template => template(files)?.map(|(file, source)| ChatTemplate::new(file, &source, &tokenizer)),
            _ => None,
        };
        let ends = [&config.eos_token_ids, &checkpoint.generation.eos_token_ids].into_iter().flatten().copied();
        let eos: Vec<u32> = ends.chain(turn_ids(&tokenizer, format)).collect();
        let allowed: Arc<[bool]> = tokenizer.sampleable().into();
        let tokenizer = Arc::new(tokenizer);
        let grammars = Grammars::new(Arc::clone(&tokenizer), format, Arc::clone(&allowed), &eos);
        Ok(Some(Language {
            vocabulary: Arc::new(Vocabulary { tokenizer, eos, allowed }),
            format,
            #[cfg(feature = "chat-template")]
            template,
            #[cfg(feature = "chat-template")]
            eos_token: config.eos_token_ids.first().copied(),
            grammars,
            bos: config.bos_token_id,
            defaults: checkpoint.generation.clone(),
            model_type: config.model_type.clone(),
            context: config.max_position_embeddings,
        }))
    }

    /// With the context that an engine has room for, instead of all that the model was made for.
    #[must_use]
    pub(crate) fn with_context(self, context: u32) -> Language {
        Language { context, ..self }
    }

    pub(crate) fn vocabulary(&self) -> Arc<Vocabulary> {
        Arc::clone(&self.vocabulary)
    }

    /// The tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.vocabulary.tokenizer
    }

    /// The prompt format that the checkpoint was trained on, or why there is none.
    #[must_use]
    pub fn chat_format(&self) -> Detected {
        self.format
    }

    /// What holds answers to a form: JSON, schemas, calls.
    #[must_use]
    pub fn grammars(&self) -> &Grammars {
        &self.grammars
    }

    /// Sampling that the checkpoint recommends.
    #[must_use]
    pub fn defaults(&self) -> &GenerationDefaults {
        &self.defaults
    }

    /// The config's `model_type`.
    #[must_use]
    pub fn model_type(&self) -> &str {
        &self.model_type
    }

    /// Positions for prompt and answer.
    #[must_use]
    pub fn context(&self) -> u32 {
        self.context
    }

    /// A conversation as ids, in the checkpoint's own format.
    ///
    /// # Errors
    /// `bad_request` where the checkpoint has no format that lyn renders, or a message cannot be rendered.
    pub fn render(&self, conversation: &Conversation, options: Options) -> Result<Vec<u32>> {
        let format: ChatFormat = match self.format {
            Detected::Format(format) => format,
            #[cfg(feature = "chat-template")]
            Detected::Template => return self.render_by_template(conversation, options),
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
    ///
    /// # Errors
    /// `context_overflow`.
    pub fn check_length(&self, bytes: usize) -> Result<()> {
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
    #[must_use]
    pub fn opens_thought(&self, prompt: &[u32]) -> bool {
        let [open, close] = [control::THINK, control::END_THINK].map(|token| self.tokenizer().token_id(token));
        let last = prompt.iter().rev().find(|&&id| Some(id) == open || Some(id) == close);
        last.is_some_and(|&id| Some(id) == open)
    }

    #[cfg(feature = "chat-template")]
    fn render_by_template(&self, conversation: &Conversation, options: Options) -> Result<Vec<u32>> {
        let template = self.template.as_ref().ok_or_else(|| Error::new(Code::Internal, "the chat template is gone"))?;
        let template = template.as_ref().map_err(Clone::clone)?;
        let text = |id: Option<u32>| id.map(|id| self.tokenizer().decode(&[id])).unwrap_or_default();
        let (bos, eos) = (text(self.bos), text(self.eos_token));
        let prompt = template.render(conversation, options, self.tokenizer(), Ends { bos: &bos, eos: &eos })?;
        self.check_length(prompt.text_bytes())?;
        prompt.ids(self.tokenizer())
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

/// Ids that open a turn or a text: where a model writes one, its own turn is over.
fn turn_ids(tokenizer: &Tokenizer, format: Detected) -> Vec<u32> {
    let Detected::Format(_) = format else { return vec![] };
    let tokens = [control::BOS, control::USER, control::ASSISTANT];
    tokens.iter().filter_map(|token| tokenizer.token_id(token)).collect()
}
