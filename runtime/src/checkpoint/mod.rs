//! A checkpoint's files become named tensors of a known model.
//!
//! In: a [`Source`] with config.json and safetensors files, all of it untrusted. Out: a [`Checkpoint`]: the config, where
//! each tensor lies, and reads of at most [`SLICE_BYTES`]. Never: a panic, a memory size taken from a file before it is
//! bounded, code or names of files that a checkpoint brings, a write. Order of work: config, index, headers against the
//! real file sizes, names and shapes against the config; only then may weights be read.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::string_slice
)]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

mod block_scales;
mod config;
mod described;
mod dtype;
mod fields;
mod files;
pub(crate) mod gguf;
pub mod names;
mod packed;
mod parts;
mod safetensors;
mod source;
mod stored;
mod tensors;
#[cfg(test)]
mod tests;
mod values;

pub(crate) use block_scales::check as check_block_scales;
pub use config::{
    Affine, CONFIG_FILE, GenerationDefaults, GroupScore, LayerIndexer, ModelConfig, Quantization, Scoring,
};
pub(crate) use config::{RouterConfig, Yarn};
pub(crate) use dtype::Dtype;
pub use files::{CONFIG_BYTES, other_encoding, small_file};
pub use names::TensorRole;
pub use parts::{is_model as is_gguf_model, models as gguf_models, part_of as gguf_part, parts as gguf_parts};
pub use safetensors::{HEADER_BYTES, INDEX_FILE, ONLY_SHARD_FILE, SHARDS, SINGLE_FILE, read_header};
#[cfg(not(target_arch = "wasm32"))]
pub use source::FolderSource;
pub use source::{BoxFuture, MemorySource, Source};

pub(crate) use stored::{Tensor, TextFile, TextFiles, TokenizerFile};

use crate::error::{Class, Code, Error, Result, quote};
use fields::Fields;
use stored::Stored;

/// Most bytes of one read of a weight.
pub const SLICE_BYTES: usize = 16 << 20;

/// A checkpoint whose every tensor is known to be there with the right shape and type.
///
/// ```no_run
/// # async fn example() -> lyn::Result<()> {
/// use lyn::checkpoint::{Checkpoint, FolderSource, names};
/// let checkpoint = Checkpoint::open(std::sync::Arc::new(FolderSource::new("models/stories")?)).await?;
/// let norm = checkpoint.read_f32(names::NORM).await?; // [hidden_size]
/// assert_eq!(norm.len(), checkpoint.config.hidden_size as usize);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Checkpoint {
    /// The model's sizes and switches.
    pub config: ModelConfig,
    /// What generation_config.json proposes.
    pub generation: GenerationDefaults,
    /// Stored names of tensors that no part of the model uses, sorted; the first hundred.
    pub unused: Vec<String>,
    /// How many tensors are not used.
    pub unused_count: usize,
    /// Modules of multi-token prediction that are whole in the files, counted from the first.
    pub prediction_layers: u32,
    source: Arc<dyn Source>,
    tensors: Arc<HashMap<String, (Tensor, TensorRole)>>,
}

/// Sums over tensors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Elements of weights and vectors; scales are no parameters.
    pub parameters: u64,
    /// Bytes as stored, scales included.
    pub stored_bytes: u64,
    /// Stored bytes for each element type.
    pub bytes_by_dtype: BTreeMap<Dtype, u64>,
}

impl Checkpoint {
    /// Opens a checkpoint: reads its config, its index and its headers, and no weight.
    ///
    /// # Errors
    /// [`Code::BadCheckpoint`], [`Code::UnsupportedModel`], [`Code::MissingTensor`], each with the file, the tensor or
    /// field, what was found and what was expected.
    pub async fn open(source: Arc<dyn Source>) -> Result<Checkpoint> {
        let opened = match source.gguf() {
            Some(file) => gguf::open(&*source, file).await?,
            None => safetensors::open(&*source).await?,
        };
        let checkpoint = Checkpoint::claimed(opened, source)?;
        if checkpoint.unused_count > 0 {
            tracing::warn!(count = checkpoint.unused_count, "tensors of the checkpoint are not used");
        }
        Ok(checkpoint)
    }

    /// The checkpoint that a config.json speaks of, which lies in `file`, in the types that its publisher uses: enough for a plan,
    /// without any weights.
    ///
    /// # Errors
    /// As [`ModelConfig::parse`]; [`Code::BadCheckpoint`] where only the files say how weights are packed.
    pub fn described_by(file: &str, config: &[u8]) -> Result<Checkpoint> {
        let source = MemorySource::new().with(CONFIG_FILE, config.to_vec());
        let config = ModelConfig::read(&Fields::new(file, &fields::parse_object(file, config)?))?;
        Checkpoint::claimed(described::stored(file, config)?, Arc::new(source))
    }

    /// Gives every tensor its owner.
    fn claimed(stored: Stored, source: Arc<dyn Source>) -> Result<Checkpoint> {
        let Stored { config, generation, file, terms, tensors } = stored;
        let tensors::Claims { tensors, prediction_layers, unused, unused_count } =
            tensors::claim(&config, &tensors::Listing { file: &file, terms }, tensors)?;
        Ok(Checkpoint {
            config,
            generation,
            unused,
            unused_count,
            prediction_layers,
            source,
            tensors: Arc::new(tensors),
        })
    }

    /// What the checkpoint says of text; none where it has no tokenizer.
    ///
    /// # Errors
    /// [`Code::BadCheckpoint`] for files that are too large or cannot be read.
    pub async fn text(&self) -> Result<Option<TextFiles>> {
        // What lies beside a GGUF file wins over what is in it.
        let (beside, file) = (safetensors::text(&*self.source).await?, self.source.gguf());
        let (None, Some(file)) = (&beside, file) else { return Ok(beside) };
        let template = safetensors::chat_template(&*self.source).await?;
        let text = gguf::text(&*self.source, file).await?;
        Ok(text.map(|text| TextFiles { chat_template: template.or(text.chat_template), ..text }))
    }

    /// The files.
    pub fn source(&self) -> &Arc<dyn Source> {
        &self.source
    }

    /// A tensor by the name that [`names`] gives it.
    ///
    /// # Errors
    /// [`Code::Internal`]: the config does not ask for it, so nobody should.
    pub fn tensor(&self, name: &str) -> Result<&Tensor> {
        self.entry(name).map(|(tensor, _)| tensor)
    }

    /// Whether the files have a tensor by this name, of those that may stand for each other.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    fn entry(&self, name: &str) -> Result<&(Tensor, TensorRole)> {
        let unknown = || Error::new(Code::Internal, format!("tensor {} is not one of the model", quote(name)));
        self.tensors.get(name).ok_or_else(unknown)
    }

    /// Every tensor of the model under its name from [`names`], in no order.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &Tensor, TensorRole)> {
        self.tensors.iter().map(|(name, (tensor, role))| (name.as_str(), tensor, *role))
    }

    /// `length` bytes of a tensor, from `byte_offset` of its data: at most [`SLICE_BYTES`] at once.
    ///
    /// # Errors
    /// [`Class::Io`] or [`Class::Len`]: the file changed. [`Code::Internal`]: the range is not in the tensor, or too long.
    pub async fn read(&self, tensor: &Tensor, byte_offset: u64, length: usize) -> Result<Vec<u8>> {
        let end = u64::try_from(length).ok().and_then(|length| byte_offset.checked_add(length));
        let start = tensor.offset.checked_add(byte_offset);
        let (Some(start), true) = (start, length <= SLICE_BYTES && end.is_some_and(|end| end <= tensor.bytes)) else {
            let (name, bytes) = (quote(&tensor.name), tensor.bytes);
            let message = format!("{length} bytes from {byte_offset} of tensor {name}, which has {bytes}");
            return Err(Error::new(Code::Internal, message));
        };
        let bytes = self.source.read(&tensor.file, start, length).await?;
        if bytes.len() == length {
            return Ok(bytes);
        }
        Err(tensor.error(Class::Len, format_args!("expected {length} bytes, the source gave {}", bytes.len())))
    }

    /// Sums over the main model; with `prediction`, also over the whole modules of multi-token prediction.
    pub fn totals(&self, prediction: bool) -> Totals {
        let mut totals = Totals::default();
        for (name, (tensor, role)) in self.tensors.iter() {
            let main = names::split_layer(name).is_none_or(|(layer, _)| layer < self.config.num_hidden_layers);
            if main || prediction {
                let parameters = if *role == TensorRole::Scale { 0 } else { tensor.elements() };
                totals.parameters = totals.parameters.saturating_add(parameters);
                let own = tensor.stored_bytes();
                totals.stored_bytes = totals.stored_bytes.saturating_add(own);
                let bytes = totals.bytes_by_dtype.entry(tensor.dtype).or_default();
                *bytes = bytes.saturating_add(own);
            }
        }
        totals
    }
}

/// What lies beside packed codes.
#[cfg(test)]
pub(crate) fn packed_for_tests(group: u32, scales: Tensor, minima: Option<Tensor>) -> Box<stored::ScaleTensors> {
    Box::new(stored::ScaleTensors { group, scales, minima, shape: None })
}

/// A tensor's data in pieces of at most [`SLICE_BYTES`], which cuts no block: (byte offset, length).
pub(crate) fn slices(tensor: &Tensor) -> impl Iterator<Item = (u64, usize)> + use<> {
    let bytes = tensor.bytes;
    let block = usize::try_from(tensor.dtype.block().1).unwrap_or(1).max(1);
    let most = SLICE_BYTES.saturating_sub(SLICE_BYTES.checked_rem(block).unwrap_or(0));
    (0..bytes).step_by(most).map(move |offset| {
        let left = usize::try_from(bytes.saturating_sub(offset)).unwrap_or(most);
        (offset, left.min(most))
    })
}
