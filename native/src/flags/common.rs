//! Flags of every verb.

use std::path::{Path, PathBuf};

use clap::{ArgAction, Args, ValueEnum, ValueHint};

use super::{AnswerArgs, EngineArgs, SamplingArgs, UpstreamArgs};

/// Global options.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Common {
    /// Adapter: auto, an index, part of a name, discrete, integrated, software, vulkan:1, or cpu (slow host references)
    #[arg(long, global = true, value_name = "SEL", default_value = "auto")]
    pub(crate) device: String,
    /// Print one JSON document to stdout, or JSON Lines when streaming
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print only errors to stderr
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Log details to stderr; -vv logs everything. LYN_LOG sets tracing filters
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// When to use colour; NO_COLOR, CLICOLOR_FORCE and TERM=dumb are honoured
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: When,
    /// Progress display. auto: a bar on a terminal, otherwise a line every 30 s; plain: a line per 10 %
    #[arg(long, global = true, value_name = "MODE", default_value = "auto")]
    pub(crate) progress: ProgressArg,
    /// Read settings from FILE
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
}

/// The flags of a verb that asks an engine, here or elsewhere.
#[derive(Debug, Args)]
pub(crate) struct AskArgs {
    #[command(flatten)]
    pub(crate) answer: AnswerArgs,
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    #[command(flatten)]
    pub(crate) upstream: UpstreamArgs,
}

impl AskArgs {
    /// The model, where it answers here.
    pub(crate) fn model(&self) -> Option<&Path> {
        self.upstream.upstream.is_none().then_some(&self.engine.model)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressArg {
    Auto,
    Bar,
    Plain,
    None,
}
