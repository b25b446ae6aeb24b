//! A folder as Hugging Face has it: config.json, safetensors files, tokenizer.json.

pub(super) mod header;
mod index;

pub use header::HEADER_BYTES;
pub use header::read as read_header;
pub use index::{INDEX_FILE, ONLY_SHARD_FILE, SHARDS, SINGLE_FILE};

use super::config::{CONFIG_FILE, GENERATION_FILE, GenerationDefaults, ModelConfig};
use super::files::{CONFIG_BYTES, optional_small_file, small_file};
use super::source::Source;
use super::stored::{Stored, Terms, TextFile, TextFiles, TokenizerFile};
use crate::error::{Code, Result};
use crate::text::{MAX_TOKENIZER_BYTES, MAX_TOKENIZER_CONFIG_BYTES};

/// Such a folder may hold what other programs use.
pub(super) const TERMS: Terms = Terms {
    config: CONFIG_FILE,
    layers: "num_hidden_layers",
    missing: Code::MissingTensor.default_help(),
    mismatch: "config.json and the weights belong to different models; get both from the same source",
    tensor: |name| (name.to_owned(), None),
    strict: false,
};

/// Reads the config, the index and the headers, and no weight.
pub(super) async fn open(source: &dyn Source) -> Result<Stored> {
    let config = ModelConfig::parse(&small_file(source, CONFIG_FILE, CONFIG_BYTES).await?)?;
    let generation = match optional_small_file(source, GENERATION_FILE, CONFIG_BYTES).await? {
        Some(bytes) => GenerationDefaults::parse(&bytes, config.vocab_size)?,
        None => GenerationDefaults::default(),
    };
    let (file, tensors) = index::read(source).await?;
    Ok(Stored { config, generation, file: file.into(), terms: TERMS, tensors })
}

/// The files about text; none where there is no tokenizer.
pub(super) async fn text(source: &dyn Source) -> Result<Option<TextFiles>> {
    let tokenizer = match text_file(source, "tokenizer.json", MAX_TOKENIZER_BYTES).await? {
        Some(file) => TokenizerFile::Json(file),
        None => match text_file(source, "tiktoken.model", MAX_TOKENIZER_BYTES).await? {
            Some(file) => TokenizerFile::Tiktoken(file),
            None => return Ok(None),
        },
    };
    Ok(Some(TextFiles {
        tokenizer,
        tokenizer_config: text_file(source, "tokenizer_config.json", MAX_TOKENIZER_CONFIG_BYTES).await?,
        chat_template: chat_template(source).await?,
        // A source of plain names cannot have it; then the absent chat template says the same.
        has_dsv32_encoder: source.size("encoding/encoding_dsv32.py").await.is_ok_and(|size| size.is_some()),
    }))
}

/// A chat template in a file of its own.
pub(super) async fn chat_template(source: &dyn Source) -> Result<Option<TextFile>> {
    text_file(source, "chat_template.jinja", MAX_TOKENIZER_CONFIG_BYTES).await
}

async fn text_file(source: &dyn Source, file: &str, most: u64) -> Result<Option<TextFile>> {
    let bytes = optional_small_file(source, file, most).await?;
    Ok(bytes.map(|bytes| TextFile { file: file.into(), bytes }))
}
