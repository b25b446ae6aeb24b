//! What is compared, by which texts.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use crate::flags::{CacheTypeArg, UpstreamAccess};

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// The standard: stories (built in), a folder, a .safetensors or .gguf file, or org/name: see lyn pull
    #[arg(value_name = "A", default_value = "stories", value_hint = ValueHint::AnyPath)]
    pub(crate) first: PathBuf,
    /// What is measured against it; default: A itself. With --upstream, a model id there
    #[arg(value_name = "B", value_hint = ValueHint::AnyPath)]
    pub(crate) second: Option<PathBuf>,
    /// Run B with dense attention
    #[arg(long)]
    pub(crate) dense: bool,
    /// Run B on this adapter; default: that of --device
    #[arg(long, value_name = "SEL")]
    pub(crate) against_device: Option<String>,
    /// Number format of the cache: f32, f16 or fp8; default: f32, or f16 if the context would not fit in f32
    #[arg(long, value_name = "TYPE")]
    pub(crate) cache_type: Option<CacheTypeArg>,
    /// Number format of B's cache; default: that of --cache-type
    #[arg(long, value_name = "TYPE")]
    pub(crate) against_cache_type: Option<CacheTypeArg>,
    /// Text to read; default: a built-in one of about 900 words
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    /// Tokens of a window: how far back a token can look
    #[arg(short, long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(2..))]
    pub(crate) window: u32,
    /// Tokens to read at most
    #[arg(short = 'n', long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(2..=10_000_000))]
    pub(crate) tokens: u32,
    /// Hide facts in texts of these lengths, in tokens, and ask for them; auto: 256, 512, … up to the context, 8192 at most
    #[arg(long, value_name = "N,…|auto", value_parser = lengths)]
    pub(crate) needles: Option<Lengths>,
    /// Measure reading and decoding on both sides after so many tokens; auto: 0, 256, 512, … up to the context, 8192 at most
    #[arg(long, value_name = "N,…|auto", value_parser = lengths)]
    pub(crate) speed: Option<Lengths>,
    /// End with exit code 8 if the mean divergence is larger, in nats
    #[arg(long, value_name = "NATS", value_parser = nats)]
    pub(crate) max_kl: Option<f64>,
    /// Load even if the memory plan does not fit
    ///
    /// A device that then runs out of memory ends the load with out_of_memory; see: lyn plan
    #[arg(long)]
    pub(crate) force: bool,
    /// Compare with another engine, which must report log probabilities of prompts: see docs/performance.md
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url, help_heading = "Upstream")]
    pub(crate) upstream: Option<String>,
    /// Most probable tokens to ask the other engine for at each place; many engines allow 20 at most
    #[arg(
        long, value_name = "N", default_value_t = 20, help_heading = "Upstream",
        value_parser = clap::value_parser!(u32).range(1..=1000)
    )]
    pub(crate) upstream_top: u32,
    #[command(flatten)]
    pub(crate) access: UpstreamAccess,
}

/// Lengths of texts, in tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lengths {
    /// As many as the context holds, each twice the one before.
    Auto,
    /// These, ascending.
    These(Vec<u32>),
}

/// The shortest length of `auto`.
const SHORTEST: u32 = 256;
const MOST_LENGTHS: usize = 32;

impl Lengths {
    /// The lengths in a context.
    pub(super) fn within(&self, context: u32) -> Vec<u32> {
        match self {
            Lengths::Auto if context < SHORTEST => vec![context],
            Lengths::Auto => {
                std::iter::successors(Some(SHORTEST), |n| n.checked_mul(2)).take_while(|n| *n <= context).collect()
            }
            Lengths::These(lengths) => lengths.clone(),
        }
    }

    /// The longest, where they are given.
    pub(super) fn longest(&self) -> Option<u32> {
        match self {
            Lengths::Auto => None,
            Lengths::These(lengths) => lengths.last().copied(),
        }
    }
}

fn lengths(text: &str) -> Result<Lengths, String> {
    if text == "auto" {
        return Ok(Lengths::Auto);
    }
    let lengths: Option<Vec<u32>> = text.split(',').map(|length| length.trim().parse().ok()).collect();
    let mut lengths = lengths.ok_or_else(|| "expected auto, or numbers with commas between them".to_owned())?;
    if lengths.len() > MOST_LENGTHS {
        return Err(format!("expected {MOST_LENGTHS} lengths at most, found {}", lengths.len()));
    }
    lengths.sort_unstable();
    lengths.dedup();
    Ok(Lengths::These(lengths))
}

fn nats(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|nats| *nats >= 0.0).ok_or_else(|| "expected a number from 0".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_double_up_to_the_context_or_are_given() {
        assert_eq!(lengths("auto").unwrap().within(2048), [256, 512, 1024, 2048]);
        assert_eq!(lengths("auto").unwrap().within(2047), [256, 512, 1024]);
        assert_eq!(lengths("auto").unwrap().within(100), [100]);
        let given = lengths("64, 32,64").unwrap();
        assert_eq!((given.within(1), given.longest()), (vec![32, 64], Some(64)));
        assert!(lengths("").is_err() && lengths("1,,2").is_err() && lengths("-1").is_err());
        assert!(lengths(&vec!["1"; 33].join(",")).is_err());
    }
}
