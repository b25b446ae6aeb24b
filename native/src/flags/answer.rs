//! What an answer is, how its tokens are chosen, and how it is shown.

use std::str::FromStr;

use clap::{Args, ValueEnum};

use super::When;

/// How tokens are chosen.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Sampling")]
pub(crate) struct SamplingArgs {
    /// Sampling temperature, 0 (greedy) to 2; default: the model's
    #[arg(short, long, alias = "temp", value_name = "F")]
    pub(crate) temperature: Option<f32>,
    /// Sample from the N most probable tokens; 0: no limit; default: the model's
    #[arg(long, value_name = "N")]
    pub(crate) top_k: Option<u32>,
    /// Sample from the most probable tokens that together reach probability F; default: the model's
    #[arg(long, value_name = "F")]
    pub(crate) top_p: Option<f32>,
    /// Exclude tokens less probable than F times the most probable one; default: the model's
    #[arg(long, value_name = "F")]
    pub(crate) min_p: Option<f32>,
    /// Penalise tokens that occur in prompt or answer; 1: off; default: the model's
    #[arg(long, value_name = "F")]
    pub(crate) repetition_penalty: Option<f32>,
    /// Subtract F from the logits of tokens that occur in the answer
    #[arg(long, value_name = "F", default_value_t = 0.0)]
    pub(crate) presence_penalty: f32,
    /// Subtract F from the logits of tokens per occurrence in the answer
    #[arg(long, value_name = "F", default_value_t = 0.0)]
    pub(crate) frequency_penalty: f32,
    /// Random seed; same seed, model, adapter and flags: same text; default and -1: random, shown by --stats
    #[arg(short, long, value_name = "N", value_parser = number_or_default::<u64>)]
    pub(crate) seed: Option<OrDefault<u64>>,
}

/// What an answer is and how it is shown.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Answer")]
pub(crate) struct AnswerArgs {
    /// Maximum tokens of the answer; default and -1: as many as the context allows
    #[arg(short = 'n', long, value_name = "N", value_parser = number_or_default::<u32>)]
    pub(crate) max_tokens: Option<OrDefault<u32>>,
    /// Stop before this text; repeatable
    #[arg(long, value_name = "S")]
    pub(crate) stop: Vec<String>,
    /// System message
    #[arg(long, value_name = "S")]
    pub(crate) system: Option<String>,
    /// Let the model reason before it answers
    #[arg(long, value_name = "SWITCH", default_value = "off")]
    pub(crate) thinking: Switch,
    /// Where to print the reasoning
    #[arg(long, value_name = "WHERE", default_value = "stderr")]
    pub(crate) reasoning: ReasoningTo,
    /// Continue past the end-of-text token
    #[arg(long)]
    pub(crate) ignore_eos: bool,
    /// Print token counts and speeds to stderr after the answer; auto: on a terminal only
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub(crate) stats: When,
}

impl SamplingArgs {
    /// The seed; none where it is to be drawn.
    pub(crate) fn seed(&self) -> Option<u64> {
        self.seed.and_then(|given| given.0)
    }
}

impl AnswerArgs {
    /// Tokens of the answer at most; none where only the context limits it.
    pub(crate) fn max_tokens(&self) -> Option<u32> {
        self.max_tokens.and_then(|given| given.0)
    }
}

/// A number, or none for -1, which stands for the default as it does in llama.cpp.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OrDefault<T>(pub(crate) Option<T>);

/// A whole number that fits its type, or -1.
pub(crate) fn number_or_default<T: FromStr + Bounded>(text: &str) -> Result<OrDefault<T>, String> {
    match text {
        "-1" => Ok(OrDefault(None)),
        number => number
            .parse()
            .map(|number| OrDefault(Some(number)))
            .map_err(|_| format!("expected a whole number from 0 to {}, or -1 for the default", T::LARGEST)),
    }
}

/// A type with a largest number.
pub(crate) trait Bounded {
    /// The largest number.
    const LARGEST: u64;
}

impl Bounded for u32 {
    const LARGEST: u64 = u32::MAX as u64;
}

impl Bounded for u64 {
    const LARGEST: u64 = u64::MAX;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReasoningTo {
    Stderr,
    Stdout,
    Hide,
}
