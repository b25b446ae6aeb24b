//! How an engine is set up, and how far its loading has come.

use lyn_shaders::cache_row::CacheType;

use crate::limits::Limits;
use crate::memory::ContextSize;
use crate::model::Dims;

/// Which positions attention reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Attention {
    /// Those that the lightning indexer keeps, where the model has one.
    #[default]
    Sparse,
    /// All visible ones.
    Dense,
}

impl Attention {
    /// Positions that the indexer keeps: `wanted`, else the config's; none where attention reads all.
    pub(super) fn index_topk(self, dims: &Dims, wanted: Option<u32>) -> Option<u32> {
        match (self, &dims.indexer) {
            (Attention::Sparse, Some(indexer)) => Some(wanted.unwrap_or(indexer.topk).max(1)),
            _ => None,
        }
    }
}

/// How to set up an engine.
#[derive(Clone, Debug)]
pub struct Options {
    /// `auto`, an index, part of a name, `discrete`, `integrated`, `software`, `vulkan:1`; or `cpu` for the references.
    pub device: String,
    /// Positions to make room for.
    pub context: ContextSize,
    /// How the cache is packed; none: in f32, or in f16 where the context would not fit in f32.
    pub cache_type: Option<CacheType>,
    /// Which positions attention reads.
    pub attention: Attention,
    /// Positions that the indexer keeps; none: the config's.
    pub index_topk: Option<u32>,
    /// Tokens of a prefill step; none: by adapter.
    pub chunk: Option<u32>,
    /// Sequences at once.
    pub sequences: u32,
    /// Make room for logits of many tokens of a step, within 32 MiB, so that prompts whose log probabilities are asked for
    /// ([`Request::prompt_logprobs`](crate::generate::Request::prompt_logprobs)) are read in few steps.
    pub scores_prompts: bool,
    /// Memory that host and software adapters may use; none: not checked.
    pub memory_bytes: Option<u64>,
    /// Load although the plan does not fit.
    pub force: bool,
    /// Load the multi-token-prediction module too.
    pub prediction: bool,
    /// Check the device's arithmetic before reading weights: see [`self_check`](crate::gpu::self_check).
    pub self_check: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            device: "auto".to_owned(),
            context: ContextSize::Auto,
            cache_type: None,
            attention: Attention::Sparse,
            index_topk: None,
            chunk: None,
            sequences: 1,
            scores_prompts: false,
            memory_bytes: None,
            force: false,
            prediction: false,
            self_check: false,
        }
    }
}

/// What only goldens and tests ask of an engine.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Trial {
    /// Make room for the logits of every token of a step, not only of the last of each sequence.
    pub all_logits: bool,
    /// Split weights and caches as if no binding could be larger: what only large models do.
    pub shard_bytes: Option<u64>,
    /// Limits of the host; none: its own.
    pub limits: Option<Limits>,
}

/// What loading has done so far, in the order of the stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The device's arithmetic is checked, where [`Options::self_check`] asks for it.
    Check,
    /// Weights are read and uploaded.
    Upload {
        /// Bytes so far.
        done_bytes: u64,
        /// Bytes in all.
        total_bytes: u64,
    },
    /// Pipelines for decoding are made.
    Compile {
        /// Pipelines so far.
        done: u32,
        /// Pipelines in all.
        total: u32,
    },
}
