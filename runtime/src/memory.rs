//! What a model will use, worked out from headers before weights are read.

use serde::Serialize;

use crate::checkpoint::Checkpoint;
use crate::error::{Code, Error, Result};
use crate::model::Dims;
use crate::model::cache::bytes_per_position;

/// Memory that a model, a context and a chunk need on an adapter.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The config's `model_type`.
    pub model_type: String,
    /// Decoder layers.
    pub layers: u32,
    /// Parameters, without multi-token prediction.
    pub parameters: u64,
    /// Stored bytes by number format.
    pub formats: Vec<(String, u64)>,
    /// Positions of a sequence.
    pub context: u32,
    /// Sequences at once.
    pub sequences: u32,
    /// Positions that the model was made for.
    pub max_position_embeddings: u32,
    /// Tokens of a prefill step.
    pub chunk: u32,
    /// Weights, as stored.
    pub weights_bytes: u64,
    /// Cache of all layers, f32.
    pub cache_bytes: u64,
    /// Intermediate tensors of a step, an upper estimate.
    pub scratch_bytes: u64,
    /// All of these.
    pub total_bytes: u64,
    /// Memory that is there; none where the adapter does not say.
    pub available_bytes: Option<u64>,
    /// The verdict.
    pub fit: Fit,
}

/// Whether a plan fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// With room to spare.
    Fits,
    /// Less than a tenth is left.
    Tight,
    /// It does not.
    DoesNotFit,
    /// The adapter does not say how much memory it has.
    Unknown,
}

/// How many positions to make room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ContextSize {
    /// Up to 8,192, less where memory or the model allow less.
    #[default]
    Auto,
    /// All that the model was made for.
    Max,
    /// This many.
    Tokens(u32),
}

const AUTO_CONTEXT: u32 = 8192;

impl Plan {
    /// The plan for `sequences` answers at once, each with the whole context.
    ///
    /// # Errors
    /// `bad_request` for a context that the model does not have.
    pub fn new(
        checkpoint: &Checkpoint,
        dims: &Dims,
        context: ContextSize,
        chunk: u32,
        sequences: u32,
        available_bytes: Option<u64>,
    ) -> Result<Plan> {
        let config = &checkpoint.config;
        let most = config.max_position_embeddings;
        let totals = checkpoint.totals(false);
        let weights_bytes = totals.stored_bytes;
        let mut tokens = match context {
            ContextSize::Auto => most.min(AUTO_CONTEXT),
            ContextSize::Max => most,
            ContextSize::Tokens(tokens) if (1..=most).contains(&tokens) => tokens,
            ContextSize::Tokens(tokens) => {
                let message = format!("a context of {tokens} tokens; the model allows 1 to {most}");
                return Err(Error::new(Code::BadRequest, message).with_help(format!("--context {most}")));
            }
        };
        let total = |tokens: u32| {
            let cache = u64::from(tokens) * u64::from(sequences) * bytes_per_position(dims);
            let scratch = scratch_bytes(dims, config.intermediate_size, chunk, tokens);
            (cache, scratch, weights_bytes.saturating_add(cache).saturating_add(scratch))
        };
        if let (ContextSize::Auto, Some(available)) = (context, available_bytes) {
            while total(tokens).2 > available && tokens > 512 {
                tokens /= 2;
            }
        }
        let (cache_bytes, scratch_bytes, total_bytes) = total(tokens);
        let fit = match available_bytes {
            None => Fit::Unknown,
            Some(available) if total_bytes > available => Fit::DoesNotFit,
            Some(available) if total_bytes > available / 10 * 9 => Fit::Tight,
            Some(_) => Fit::Fits,
        };
        Ok(Plan {
            model_type: config.model_type.clone(),
            layers: config.num_hidden_layers,
            parameters: totals.parameters,
            formats: totals.bytes_by_dtype.iter().map(|(dtype, &bytes)| (dtype.name().to_owned(), bytes)).collect(),
            context: tokens,
            sequences,
            max_position_embeddings: most,
            chunk,
            weights_bytes,
            cache_bytes,
            scratch_bytes,
            total_bytes,
            available_bytes,
            fit,
        })
    }

    /// Refuses a plan that does not fit.
    ///
    /// # Errors
    /// `out_of_memory` with the total and the largest context that would fit.
    pub fn check(&self) -> Result<()> {
        let (Fit::DoesNotFit, Some(available)) = (self.fit, self.available_bytes) else { return Ok(()) };
        let message = format!(
            "the model needs {} ({} weights, {} cache for {} tokens, {} scratch); {} are available",
            bytes(self.total_bytes),
            bytes(self.weights_bytes),
            bytes(self.cache_bytes),
            self.context,
            bytes(self.scratch_bytes),
            bytes(available)
        );
        let rest = available.saturating_sub(self.weights_bytes + self.scratch_bytes);
        let fitting = rest / (self.cache_bytes / u64::from(self.context.max(1))).max(1) / 64 * 64;
        let error = Error::new(Code::OutOfMemory, message).with_detail("needed_bytes", self.total_bytes);
        Err(if fitting > 0 {
            error.with_help(format!("--context {fitting} would fit, or --force to try all the same"))
        } else {
            error.with_help("use a smaller model, or --force to try all the same")
        })
    }
}

/// An upper estimate of what a prefill step keeps at once: its widest tensors, before lifetimes are shared.
fn scratch_bytes(dims: &Dims, intermediate_size: u32, chunk: u32, context: u32) -> u64 {
    let entries = dims.router.as_ref().map_or(1, |router| router.experts_per_token + 1);
    let heads = u64::from(dims.heads);
    let per_token = 4 * u64::from(dims.hidden_size)
        + 2 * heads * u64::from(dims.kv_lora_rank)
        + heads * u64::from(dims.q_head_dim() + dims.v_head_dim)
        + 3 * u64::from(intermediate_size)
        + 2 * u64::from(entries) * u64::from(dims.hidden_size);
    let scores = (u64::from(context) * u64::from(chunk)).min(8 << 20);
    4 * (u64::from(chunk) * per_token + scores + u64::from(dims.vocab_size))
}

/// Bytes as people read them: `10.5 GiB`.
#[must_use]
pub fn bytes(count: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let count = count as f64;
    let (value, unit) = match count {
        count if count >= f64::from(1 << 30) => (count / f64::from(1 << 30), "GiB"),
        count if count >= f64::from(1 << 20) => (count / f64::from(1 << 20), "MiB"),
        count => (count / 1024.0, "KiB"),
    };
    format!("{value:.1} {unit}")
}
