//! Which model, and how its engine is set up.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};
use lyn::engine::{Attention, Options};
use lyn::memory::{CacheType, ContextSize};

/// A model, as argument.
#[derive(Debug, Args)]
pub(crate) struct ModelArg {
    /// stories (built in), a folder, a .safetensors or .gguf file, or org/name: see lyn pull
    #[arg(value_name = "MODEL", default_value = "stories", value_hint = ValueHint::AnyPath)]
    pub(crate) model: PathBuf,
}

/// How an engine is set up.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Model")]
pub(crate) struct EngineArgs {
    /// stories (built in), a folder, a .safetensors or .gguf file, or org/name: see lyn pull
    #[arg(short, long, default_value = "stories", value_hint = ValueHint::AnyPath)]
    pub(crate) model: PathBuf,
    /// Context length in tokens, prompt plus answer: a number, auto (up to 8192) or max
    #[arg(short, long, value_name = "N", default_value = "auto", value_parser = context)]
    pub(crate) context: ContextSize,
    /// Positions to attend to: those the indexer selects, or all
    ///
    /// A model with an indexer was trained with sparse attention; dense attention changes its answers.
    #[arg(long, value_name = "MODE", default_value = "sparse")]
    pub(crate) attention: AttentionArg,
    /// Positions the indexer selects per token (unrelated to --top-k); default: the model's
    ///
    /// The model was trained with its own number; another one changes its answers.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) index_topk: Option<u32>,
    /// Prompt tokens per step; default: 128 on software adapters, otherwise 256
    ///
    /// Smaller steps need less scratch memory and read prompts more slowly.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) chunk: Option<u32>,
    /// Number format of the cache: f32, f16 or fp8; default: f32, or f16 if the context would not fit in f32
    ///
    /// Narrower caches take a half or less than a third of the memory and change answers slightly: see docs/performance.md.
    #[arg(long, value_name = "TYPE")]
    pub(crate) cache_type: Option<CacheTypeArg>,
    /// Load even if the memory plan does not fit
    ///
    /// A device that then runs out of memory ends the load with out_of_memory; see: lyn plan
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AttentionArg {
    Sparse,
    Dense,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CacheTypeArg {
    F32,
    F16,
    Fp8,
}

impl From<CacheTypeArg> for CacheType {
    fn from(argument: CacheTypeArg) -> CacheType {
        match argument {
            CacheTypeArg::F32 => CacheType::F32,
            CacheTypeArg::F16 => CacheType::F16,
            CacheTypeArg::Fp8 => CacheType::Fp8,
        }
    }
}

impl From<AttentionArg> for Attention {
    fn from(argument: AttentionArg) -> Attention {
        match argument {
            AttentionArg::Sparse => Attention::Sparse,
            AttentionArg::Dense => Attention::Dense,
        }
    }
}

impl EngineArgs {
    /// The engine's options on a device.
    pub(crate) fn options(&self, device: &str) -> Options {
        Options {
            device: device.to_owned(),
            context: self.context,
            cache_type: self.cache_type.map(CacheType::from),
            attention: self.attention.into(),
            index_topk: self.index_topk,
            chunk: self.chunk,
            memory_bytes: crate::model::available_memory(),
            force: self.force,
            ..Options::default()
        }
    }
}

pub(crate) fn context(text: &str) -> Result<ContextSize, String> {
    match text {
        "auto" => Ok(ContextSize::Auto),
        "max" => Ok(ContextSize::Max),
        number => match number.parse() {
            Ok(tokens) if tokens > 0 => Ok(ContextSize::Tokens(tokens)),
            _ => Err("expected a number above 0, auto or max".to_owned()),
        },
    }
}
