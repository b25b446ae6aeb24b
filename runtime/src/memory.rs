//! What a model will use, worked out from headers before weights are read.

use lyn_shaders::cache_row::CacheRow;
pub use lyn_shaders::cache_row::CacheType;
use lyn_shaders::{Extent, cache_write, index_key_write};
use serde::Serialize;

use crate::checkpoint::{Checkpoint, ModelConfig};
use crate::error::{Code, Error, Result};
use crate::layout::{Contents, Layout};
use crate::limits::Limits;
use crate::model::cache::PAGE;
use crate::model::{self, Dims, Parts, Settings, Shape, Tensors};
use crate::record::Recording;

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
    /// Bytes of the files that are read.
    pub stored_bytes: u64,
    /// Weights, as they lie in memory.
    pub weights_bytes: u64,
    /// Cache of all layers.
    pub cache_bytes: u64,
    /// How it is packed.
    #[serde(serialize_with = "name_of")]
    pub cache_type: CacheType,
    /// Whether f32 was left for it because it does not fit.
    pub cache_narrowed: bool,
    /// Bindings that a layer's cache takes at most.
    pub cache_parts: u32,
    /// Tensors of a step, those that its passes share included: as its recordings ask for.
    pub scratch_bytes: u64,
    /// All of these.
    pub total_bytes: u64,
    /// Memory that is there; none where the adapter does not say.
    pub available_bytes: Option<u64>,
    /// The verdict.
    pub fit: Fit,
    /// The limit of the adapter that it exceeds, however much memory there is.
    pub limit: Option<String>,
    /// Where it does not fit: the longest context that would, in whole pages.
    #[serde(skip)]
    pub fitting_context: Option<u32>,
    /// Where it does not fit: the widest of narrower cache types that would, with the same context.
    #[serde(skip)]
    pub fitting_cache_type: Option<CacheType>,
}

/// Whether a plan fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// With room to spare.
    Fits,
    /// Less than a tenth is left.
    Tight,
    /// It does not: it exceeds the memory, or a limit of the adapter.
    DoesNotFit,
    /// The adapter does not say how much memory it has.
    Unknown,
}

/// What a layer keeps of each position, where it has an indexer of its own: two rows; else the first of them.
pub fn cache_rows(config: &ModelConfig, cache_type: CacheType) -> Vec<CacheRow> {
    let latents = cache_write::row(config.kv_lora_rank, config.qk_rope_head_dim / 2, cache_type);
    let keys = config.indexer.as_ref().map(|indexer| index_key_write::row(indexer.head_dim, cache_type));
    std::iter::once(latents).chain(keys).collect()
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
/// Memory is not saved below it.
const LEAST_AUTO_CONTEXT: u32 = 512;

/// What a plan is made for.
pub(crate) struct Wanted<'a> {
    /// Positions.
    pub(crate) context: ContextSize,
    /// How the cache is packed; none: the plan chooses.
    pub(crate) cache_type: Option<CacheType>,
    /// Everything else; context and cache type are the plan's to choose.
    pub(crate) settings: Settings,
    /// Whether multi-token prediction is loaded too.
    pub prediction: bool,
    /// Bytes of a tensor at most, where it can be split.
    pub shard_bytes: u64,
    /// What the adapter allows.
    pub limits: Limits,
    /// The adapter, for errors.
    pub place: &'a str,
    /// Memory that is there; none where the adapter does not say.
    pub available_bytes: Option<u64>,
}

/// A plan, and the memory that it speaks of.
pub(crate) struct Planned<'a> {
    pub(crate) plan: Plan,
    pub(crate) layout: Layout<'a>,
    pub(crate) tensors: Tensors,
    pub(crate) settings: Settings,
}

impl Wanted<'_> {
    /// Refuses a recording that the adapter cannot run, whatever fills it.
    fn exceeded(&self, recording: &Recording, shape: &Shape) -> Result<()> {
        let Shape { tokens, rows, length, .. } = *shape;
        self.limits.scratch(self.place, recording)?;
        self.limits.passes(self.place, recording, &Extent { tokens, rows, length })
    }
}

impl<'a> Planned<'a> {
    /// Lays a model out for the context wanted, or for the largest that fits.
    ///
    /// # Errors
    /// `bad_request` for a context that the model does not have; `bad_checkpoint` for tensors that cannot be laid out.
    pub(crate) fn new(checkpoint: &'a Checkpoint, dims: &Dims, wanted: &Wanted<'_>) -> Result<Planned<'a>> {
        let most = checkpoint.config.max_position_embeddings;
        let mut tokens = match wanted.context {
            ContextSize::Auto => most.min(AUTO_CONTEXT),
            ContextSize::Max => most,
            ContextSize::Tokens(tokens) if (1..=most).contains(&tokens) => tokens,
            ContextSize::Tokens(tokens) => {
                let message = format!("a context of {tokens} tokens; the model allows 1 to {most}");
                return Err(Error::new(Code::BadRequest, message).with_help(format!("--context {most}")));
            }
        };
        let mut planned = Planned::for_context(checkpoint, dims, wanted, tokens)?;
        while planned.plan.fit == Fit::DoesNotFit && wanted.context == ContextSize::Auto && tokens > LEAST_AUTO_CONTEXT
        {
            tokens /= 2;
            planned = Planned::for_context(checkpoint, dims, wanted, tokens)?;
        }
        if planned.plan.fit == Fit::DoesNotFit {
            let cache_type = planned.plan.cache_type;
            planned.plan.fitting_context = Planned::fitting(checkpoint, dims, wanted, (cache_type, tokens))?;
            let narrower = CacheType::ALL.into_iter().filter(|&other| other as usize > cache_type as usize);
            for narrower in narrower {
                if Planned::packed(checkpoint, dims, wanted, (narrower, tokens))?.plan.fit != Fit::DoesNotFit {
                    planned.plan.fitting_cache_type = Some(narrower);
                    break;
                }
            }
        }
        Ok(planned)
    }

    /// With the cache type that is wanted; without one in f32, or in f16 where that makes it fit.
    fn for_context(checkpoint: &'a Checkpoint, dims: &Dims, wanted: &Wanted<'_>, tokens: u32) -> Result<Planned<'a>> {
        let wide = Planned::packed(checkpoint, dims, wanted, (wanted.cache_type.unwrap_or_default(), tokens))?;
        if wide.plan.fit != Fit::DoesNotFit || wanted.cache_type.is_some() {
            return Ok(wide);
        }
        let mut narrow = Planned::packed(checkpoint, dims, wanted, (CacheType::F16, tokens))?;
        narrow.plan.cache_narrowed = true;
        Ok(if narrow.plan.fit == Fit::DoesNotFit { wide } else { narrow })
    }

    /// The longest context below `tokens`, in whole pages, that fits.
    fn fitting(
        checkpoint: &'a Checkpoint,
        dims: &Dims,
        wanted: &Wanted<'_>,
        (cache_type, tokens): (CacheType, u32),
    ) -> Result<Option<u32>> {
        let (mut fits, mut too_many) = (0, tokens.div_ceil(PAGE));
        while fits + 1 < too_many {
            let pages = fits.midpoint(too_many);
            match Planned::packed(checkpoint, dims, wanted, (cache_type, pages * PAGE))?.plan.fit {
                Fit::DoesNotFit => too_many = pages,
                _ => fits = pages,
            }
        }
        Ok((fits > 0).then_some(fits * PAGE))
    }

    fn packed(
        checkpoint: &'a Checkpoint,
        dims: &Dims,
        wanted: &Wanted<'_>,
        (cache_type, context): (CacheType, u32),
    ) -> Result<Planned<'a>> {
        let (config, totals) = (&checkpoint.config, checkpoint.totals(false));
        let settings = Settings { context, cache_type, ..wanted.settings };
        let mut layout = Layout::new(checkpoint, wanted.shard_bytes);
        let tensors = Tensors::lay_out(&mut layout, dims, &settings, wanted.prediction)?;
        let page_bytes =
            tensors.cache().map(|tensor| tensor.page_words().saturating_mul(4)).fold(0, u64::saturating_add);
        let cache_parts = tensors.cache().map(|tensor| tensor.parts.slots().len()).max().unwrap_or(1);
        let cache_bytes = page_bytes.saturating_mul(settings.pages().into());
        let weights_bytes = layout.bytes_of(|laid| !matches!(laid.contents, Contents::Zeros));
        let mut limit = layout.within(|name, words| wanted.limits.tensor(wanted.place, name, words)).err();
        let recordings = settings.shapes(dims).map(|shape| {
            let recording = model::step(Parts { dims, tensors: &tensors, shape });
            if limit.is_none() {
                limit = wanted.exceeded(&recording, &shape).err();
            }
            recording
        });
        let shared = Recording::scratch_of(recordings).saturating_mul(4);
        let total_bytes = layout.bytes_of(|_| true).saturating_add(shared);
        let scratch_bytes = total_bytes.saturating_sub(weights_bytes).saturating_sub(cache_bytes);
        let fit = match wanted.available_bytes {
            _ if limit.is_some() => Fit::DoesNotFit,
            None => Fit::Unknown,
            Some(available) if total_bytes > available => Fit::DoesNotFit,
            Some(available) if total_bytes > available / 10 * 9 => Fit::Tight,
            Some(_) => Fit::Fits,
        };
        let plan = Plan {
            model_type: config.model_type.clone(),
            layers: config.num_hidden_layers,
            parameters: totals.parameters,
            formats: totals.bytes_by_dtype.iter().map(|(dtype, &bytes)| (dtype.name().to_owned(), bytes)).collect(),
            context,
            sequences: settings.sequences,
            max_position_embeddings: config.max_position_embeddings,
            chunk: settings.chunk,
            stored_bytes: totals.stored_bytes,
            weights_bytes,
            cache_bytes,
            cache_type,
            cache_narrowed: false,
            cache_parts: u32::try_from(cache_parts).unwrap_or(u32::MAX),
            scratch_bytes,
            total_bytes,
            available_bytes: wanted.available_bytes,
            fit,
            limit: limit.map(|error| error.message().to_owned()),
            fitting_context: None,
            fitting_cache_type: None,
        };
        Ok(Planned { plan, layout, tensors, settings })
    }
}

impl Plan {
    /// What would fit instead.
    fn remedy(&self) -> Option<String> {
        let context = self.fitting_context.map(|fitting| format!("--context {fitting}"));
        let cache_type = self.fitting_cache_type.map(|fitting| format!("--cache-type {fitting}"));
        context.into_iter().chain(cache_type).reduce(|one, other| format!("{one} or {other}"))
    }

    /// Refuses a plan that exceeds a limit of the adapter: no memory helps, and nothing can force it.
    ///
    /// # Errors
    /// `limit_too_small` with the tensor or kernel, and the largest context that would fit.
    pub fn check_limits(&self) -> Result<()> {
        let Some(limit) = &self.limit else { return Ok(()) };
        let error = Error::new(Code::LimitTooSmall, limit);
        Err(match self.remedy() {
            Some(remedy) => error.with_help(format!("{remedy} would fit")),
            None => error,
        })
    }

    /// Refuses a plan that does not fit.
    ///
    /// # Errors
    /// As [`Plan::check_limits`]; `out_of_memory` with the total and the largest context that would fit.
    pub fn check(&self) -> Result<()> {
        self.check_limits()?;
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
        let error = Error::new(Code::OutOfMemory, message).with_detail("needed_bytes", self.total_bytes);
        Err(match self.remedy() {
            Some(remedy) => error.with_help(format!("{remedy} would fit, or use --force to try anyway")),
            None => error.with_help("use a smaller model, or use --force to try anyway"),
        })
    }
}

fn name_of<S: serde::Serializer>(cache_type: &CacheType, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_str(cache_type.name())
}

/// Bytes as people read them: `10.5 GiB`.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Engine, Options};

    fn plan(context: ContextSize, memory_bytes: Option<u64>) -> Plan {
        let checkpoint = pollster::block_on(Checkpoint::open(crate::models::stories())).expect("the model");
        let options = Options { context, cache_type: Some(CacheType::F32), memory_bytes, ..Options::default() };
        Engine::plan_for(&checkpoint, None, &options).expect("a plan")
    }

    /// Oracle: plans of the contexts around the one that the refusal names.
    #[test]
    fn a_refusal_names_the_longest_context_that_fits() {
        let most = plan(ContextSize::Max, None);
        let least = plan(ContextSize::Tokens(PAGE), None);
        assert!(most.max_position_embeddings == most.context && least.total_bytes < most.total_bytes);
        for eighths in 0..8 {
            let available = least.total_bytes + (most.total_bytes - least.total_bytes) / 8 * eighths;
            let refused = plan(ContextSize::Max, Some(available));
            let fitting = refused.fitting_context.expect("a context");
            assert_ne!(plan(ContextSize::Tokens(fitting), Some(available)).fit, Fit::DoesNotFit, "{fitting}");
            assert_eq!(plan(ContextSize::Tokens(fitting + PAGE), Some(available)).fit, Fit::DoesNotFit, "{fitting}");
            let error = refused.check().expect_err("too long");
            assert_eq!(error.code(), Code::OutOfMemory);
            assert!(error.help().concat().contains(&format!("--context {fitting} ")), "{:?}", error.help());
        }
        let none = plan(ContextSize::Tokens(PAGE), Some(least.total_bytes - 1));
        assert_eq!((none.fit, none.fitting_context), (Fit::DoesNotFit, None));
        assert!(none.check().expect_err("too large").help().concat().contains("--cache-type f16 would fit"));
        let nothing = plan(ContextSize::Tokens(PAGE), Some(1)).check().expect_err("too large");
        assert!(nothing.help().concat().contains("a smaller model"), "{:?}", nothing.help());
        assert!(plan(ContextSize::Tokens(PAGE), Some(least.total_bytes)).check().is_ok());
    }

    /// Oracle: the halving that `ContextSize::Auto` promises, and nine tenths.
    #[test]
    fn an_automatic_context_is_halved_until_it_fits() {
        let whole = plan(ContextSize::Auto, None);
        assert_eq!((whole.context, whole.fit), (AUTO_CONTEXT.min(whole.max_position_embeddings), Fit::Unknown));
        let half = plan(ContextSize::Tokens(whole.context / 2), None);
        let halved = plan(ContextSize::Auto, Some(half.total_bytes));
        assert_eq!((halved.context, halved.fit), (whole.context / 2, Fit::Tight));
        assert_eq!(plan(ContextSize::Auto, Some(half.total_bytes - 1)).context, whole.context / 4);
        assert_eq!(plan(ContextSize::Auto, Some(1)).context, LEAST_AUTO_CONTEXT);
        assert_eq!(plan(ContextSize::Max, Some(whole.total_bytes * 2)).fit, Fit::Fits);
        assert_eq!(plan(ContextSize::Auto, Some(1)).fit, Fit::DoesNotFit);
    }

    /// Oracle: plans of the types that are named.
    #[test]
    fn memory_that_f32_exceeds_is_planned_in_f16() {
        let checkpoint = pollster::block_on(Checkpoint::open(crate::models::stories())).expect("the model");
        let plan = |cache_type, memory_bytes| {
            let options = Options { context: ContextSize::Max, cache_type, memory_bytes, ..Options::default() };
            Engine::plan_for(&checkpoint, None, &options).expect("a plan")
        };
        let total = |cache_type| plan(Some(cache_type), None).total_bytes;
        let [wide, half, least] = CacheType::ALL.map(total);
        assert!(wide > half && half > least);
        let chosen = |memory| {
            let plan = plan(None, Some(memory));
            (plan.cache_type, plan.cache_narrowed, plan.fit == Fit::DoesNotFit)
        };
        assert_eq!(chosen(wide), (CacheType::F32, false, false));
        assert_eq!(chosen(wide - 1), (CacheType::F16, true, false));
        assert_eq!(chosen(half), (CacheType::F16, true, false));
        assert_eq!(chosen(half - 1), (CacheType::F32, false, true));
        let help = plan(None, Some(half - 1)).check().expect_err("too large").help().concat();
        assert!(help.contains("--cache-type fp8 would fit"), "{help}");
    }

    /// Oracle: by hand.
    #[test]
    fn bytes_have_the_unit_of_their_size() {
        let shown = [
            (512, "0.5 KiB"),
            (1 << 20, "1.0 MiB"),
            ((1 << 20) - 1, "1024.0 KiB"),
            (3 << 29, "1.5 GiB"),
            (1 << 30, "1.0 GiB"),
        ];
        for (count, text) in shown {
            assert_eq!(bytes(count), text);
        }
    }
}
