//! What a container gives: the config, where each tensor lies, and what it says of text.
//!
//! A container is a folder here: `safetensors/`, `gguf/`. It claims nothing: which tensors the model needs is known to
//! `tensors.rs` alone.

use std::collections::HashMap;
use std::sync::Arc;

use super::config::{GenerationDefaults, ModelConfig};
use super::dtype::Dtype;
use crate::error::{Class, Error, quote};

/// An open container.
pub(super) struct Stored {
    pub(super) config: ModelConfig,
    /// Sampling that the checkpoint recommends.
    pub(super) generation: GenerationDefaults,
    /// The file that lists the tensors, named where one is missing.
    pub(super) file: Arc<str>,
    pub(super) terms: Terms,
    /// Every stored tensor, by name.
    pub(super) tensors: HashMap<String, Tensor>,
}

/// How errors speak of a container.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    /// What says which tensors the model has.
    pub(super) config: &'static str,
    /// What that calls the count of the main model's layers.
    pub(super) layers: &'static str,
    /// What to do where a tensor is missing.
    pub(super) missing: &'static str,
    /// What to do where that and the tensors do not fit each other.
    pub(super) mismatch: &'static str,
    /// The stored name of one of lyn's tensors, and which expert of it that is.
    pub(super) tensor: fn(&str) -> (String, Option<u32>),
    /// What nobody knows is an error.
    pub(super) strict: bool,
}

/// What a container says of text, unread.
#[derive(Clone, Debug)]
pub struct TextFiles {
    /// The tokenizer.
    pub tokenizer: TokenizerFile,
    /// What `tokenizer_config.json` says.
    pub tokenizer_config: Option<TextFile>,
    /// What `chat_template.jinja` says.
    pub chat_template: Option<TextFile>,
    /// Whether `encoding/encoding_dsv32.py` is there; it is never read.
    pub has_dsv32_encoder: bool,
}

/// What a small file says, or a part of a larger one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextFile {
    /// The file it lies in, for errors.
    pub file: Arc<str>,
    /// The text, unread.
    pub bytes: Vec<u8>,
}

/// A tokenizer, by the form it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenizerFile {
    /// `tokenizer.json`
    Json(TextFile),
    /// Lists of a GGUF file, written as a tokenizer.json.
    Lists(TextFile),
    /// `tiktoken.model`
    Tiktoken(TextFile),
}

/// A stored tensor: its type, its shape and its place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Name as stored.
    pub name: String,
    /// The file it lies in.
    pub file: Arc<str>,
    /// Element type.
    pub dtype: Dtype,
    /// Dimensions, slowest first.
    pub shape: Vec<u64>,
    /// First byte in the file, at any alignment.
    pub offset: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// What lies beside packed codes; then shape and type are those of the weights.
    pub packed: Option<Box<ScaleTensors>>,
}

/// What lies beside packed codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScaleTensors {
    /// Columns that share a scale.
    pub(crate) group: u32,
    /// One for each group, row by row.
    pub(crate) scales: Tensor,
    /// Likewise, of codes that have minima.
    pub(crate) minima: Option<Tensor>,
    /// Two whole numbers that repeat the shape.
    pub(super) shape: Option<Tensor>,
}

impl Tensor {
    /// Bytes in files, with all that belongs to it.
    pub(crate) fn stored_bytes(&self) -> u64 {
        let beside = self.packed.iter().flat_map(|packed| [Some(&packed.scales), packed.minima.as_ref()]).flatten();
        beside.fold(self.bytes, |bytes, tensor| bytes.saturating_add(tensor.bytes))
    }

    /// Bytes of a row along the last dimension; of a vector, of all of it.
    pub(crate) fn row_bytes(&self) -> u64 {
        let rows = self
            .shape
            .split_last()
            .map_or(1, |(_, rows)| rows.iter().fold(1u64, |all, &size| all.saturating_mul(size)));
        self.bytes.checked_div(rows).unwrap_or(0)
    }

    /// One of `of` equal parts along the first dimension, with its scales.
    pub(super) fn slice(&self, number: u32, of: u32) -> Tensor {
        let bytes = self.bytes.checked_div(u64::from(of)).unwrap_or(0);
        let packed = self.packed.as_ref().map(|packed| {
            Box::new(ScaleTensors {
                group: packed.group,
                scales: packed.scales.slice(number, of),
                minima: packed.minima.as_ref().map(|minima| minima.slice(number, of)),
                shape: packed.shape.clone(),
            })
        });
        Tensor {
            shape: self.shape.iter().skip(1).copied().collect(),
            offset: self.offset.saturating_add(bytes.saturating_mul(number.into())),
            bytes,
            packed,
            ..self.clone()
        }
    }

    pub(crate) fn elements(&self) -> u64 {
        self.shape.iter().fold(1, |product, &dim| product.saturating_mul(dim))
    }

    /// An error about this tensor that names its file.
    pub fn error(&self, class: Class, message: impl std::fmt::Display) -> Error {
        tensor_error(class, &self.file, &self.name, message)
    }
}

pub(super) fn tensor_error(class: Class, file: &str, name: &str, message: impl std::fmt::Display) -> Error {
    Error::file(class, file, format_args!("tensor {}: {message}", quote(name)))
        .with_detail("tensor", crate::error::escape(name))
}
