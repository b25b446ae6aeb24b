//! Weights as slots: which tensors each part of the model has, by the names of the checkpoint, and where they lie.

use lyn_shaders::Slot;
use lyn_shaders::encodings::Encoding;
use lyn_shaders::experts::{ExpertPanels, ExpertShard};

use super::attention::LayerAttention;
use super::cache::CacheRoom;
use super::dims::Dims;
use crate::checkpoint::{RouterConfig, names};
use crate::error::{Code, Error, Result, quote};
use crate::layout::{ExpertMatrix, Layout, LinearWeights, TableShard};
use crate::record::ColumnRange;

/// All weights of a model.
#[derive(Clone, Debug)]
pub struct Weights {
    /// `model.embed_tokens`, by shards of rows.
    pub embedding: Vec<TableShard>,
    /// Decoder layers.
    pub layers: Vec<LayerWeights>,
    /// `model.norm`: `[hidden_size]`
    pub norm: Slot,
    /// `lm_head`: `[vocab_size, hidden_size]`
    pub head: LinearWeights,
    /// Multi-token prediction; empty unless asked for.
    pub prediction: Vec<PredictionWeights>,
}

/// One decoder layer.
#[derive(Clone, Debug)]
pub struct LayerWeights {
    /// `input_layernorm`: `[hidden_size]`
    pub input_norm: Slot,
    /// `post_attention_layernorm`: `[hidden_size]`
    pub post_attention_norm: Slot,
    /// `self_attn`
    pub attention: LayerAttention,
    /// `mlp`
    pub feed_forward: FeedForward,
}

/// The second half of a layer.
#[derive(Clone, Debug)]
pub enum FeedForward {
    /// One SwiGLU.
    Dense(DenseWeights),
    /// Routed experts, and shared ones.
    Experts(Box<ExpertsWeights>),
}

/// A SwiGLU.
#[derive(Clone, Debug)]
pub struct DenseWeights {
    /// `gate_proj`, `up_proj`
    pub(crate) gate_up: LinearWeights,
    /// Columns of `gate_up`: `up_proj`; those of `gate_proj` are as many, from the first on.
    pub(crate) up: ColumnRange,
    /// `down_proj`
    pub(crate) down: LinearWeights,
}

/// Routed experts and the shared one.
#[derive(Clone, Debug)]
pub struct ExpertsWeights {
    /// `gate`: `[n_routed_experts, hidden_size]`
    pub router: LinearWeights,
    /// `gate.e_score_correction_bias`: `[n_routed_experts]`
    pub(crate) bias: Option<Slot>,
    /// Layout of the shards.
    pub(crate) panels: ExpertPanels,
    /// Gate and up matrices.
    pub(crate) gate_up: GateUp,
    /// Down matrices, whole experts to a shard.
    pub(crate) down: Vec<ExpertShard>,
    /// The shared expert where its number format is not that of the routed ones.
    pub(crate) shared_apart: Option<DenseWeights>,
}

/// Gate and up matrices of experts, whole experts to a shard.
#[derive(Clone, Debug)]
pub(crate) enum GateUp {
    /// Side by side: one pass.
    Beside(Vec<ExpertShard>),
    /// In different number formats: as two matrices of the kind of down, `[moe_intermediate_size, hidden_size]` each.
    Apart([(ExpertPanels, Vec<ExpertShard>); 2]),
}

/// A multi-token-prediction module.
#[derive(Clone, Debug)]
pub struct PredictionWeights {
    /// `enorm`: `[hidden_size]`
    pub embedding_norm: Slot,
    /// `hnorm`: `[hidden_size]`
    pub hidden_norm: Slot,
    /// `eh_proj`: `[hidden_size, 2 · hidden_size]`
    pub projection: LinearWeights,
    /// Its decoder layer.
    pub layer: LayerWeights,
    /// `shared_head.norm`: `[hidden_size]`
    pub head_norm: Slot,
}

impl Weights {
    /// Lays out the weights of a checkpoint, with multi-token prediction where it is wanted and there, and room for every
    /// layer's rows of the cache.
    ///
    /// # Errors
    /// `bad_checkpoint` for tensors that cannot lie side by side.
    pub(crate) fn lay_out(layout: &mut Layout<'_>, dims: &Dims, cache: CacheRoom, prediction: bool) -> Result<Weights> {
        let checkpoint = layout.checkpoint;
        let embedding = layout.table(names::EMBED)?;
        let layers = (0..dims.num_hidden_layers).map(|layer| LayerWeights::lay_out(layout, dims, layer, cache));
        let layers = layers.collect::<Result<_>>()?;
        let norm = layout.vector(names::NORM.to_owned())?;
        let head = layout.matrix(names::head(&checkpoint.config).to_owned())?;
        let modules = if prediction { checkpoint.prediction_layers } else { 0 };
        let modules =
            (0..modules).map(|module| PredictionWeights::lay_out(layout, dims, dims.num_hidden_layers + module, cache));
        Ok(Weights { embedding, layers, norm, head, prediction: modules.collect::<Result<_>>()? })
    }
}

impl LayerWeights {
    fn lay_out(layout: &mut Layout<'_>, dims: &Dims, layer: u32, cache: CacheRoom) -> Result<LayerWeights> {
        let config = &layout.checkpoint.config;
        let experts = config.layers.get(layer as usize).is_some_and(|kind| kind.moe);
        let feed_forward = match config.router.filter(|_| experts) {
            Some(router) => FeedForward::Experts(Box::new(ExpertsWeights::lay_out(layout, dims, &router, layer)?)),
            None => FeedForward::Dense(DenseWeights::lay_out(layout, layer, "mlp")?),
        };
        Ok(LayerWeights {
            input_norm: layout.vector(names::layer(layer, "input_layernorm"))?,
            post_attention_norm: layout.vector(names::layer(layer, "post_attention_layernorm"))?,
            attention: LayerAttention::lay_out(layout, dims, layer, cache)?,
            feed_forward,
        })
    }
}

impl DenseWeights {
    /// `prefix`: `mlp`, `mlp.shared_experts`.
    fn lay_out(layout: &mut Layout<'_>, layer: u32, prefix: &str) -> Result<DenseWeights> {
        let name = |part: &str| names::layer(layer, &format!("{prefix}.{part}"));
        let (gate_up, parts) = layout.matrices(&[name("gate_proj"), name("up_proj")])?;
        Ok(DenseWeights { gate_up, up: parts[1], down: layout.matrix(name("down_proj"))? })
    }
}

impl ExpertsWeights {
    fn lay_out(layout: &mut Layout<'_>, dims: &Dims, router: &RouterConfig, layer: u32) -> Result<ExpertsWeights> {
        const SHARED: &str = "mlp.shared_experts";
        let routed = router.n_routed_experts;
        let name = |expert: u32, part: &str| match expert == routed {
            true => names::layer(layer, &format!("{SHARED}.{part}")),
            false => names::expert(layer, expert, part),
        };
        let mut encodings = Vec::new();
        for part in ["gate_proj", "up_proj", "down_proj"] {
            encodings.push((part, same_encoding(layout, routed, |expert| name(expert, part))?));
        }
        let (gate_encoding, up_encoding, down_encoding) = (encodings[0].1, encodings[1].1, encodings[2].1);
        let has_shared = router.n_shared_experts > 0;
        let mut beside = has_shared && gate_encoding == up_encoding;
        for (part, encoding) in encodings {
            beside = beside && layout.encoding(&name(routed, part))? == encoding;
        }
        let panels = ExpertPanels {
            gate_up_encoding: gate_encoding,
            down_encoding,
            hidden_size: dims.hidden_size,
            width: router.moe_intermediate_size,
            shared_width: if beside { router.n_shared_experts * router.moe_intermediate_size } else { 0 },
            total_experts: routed,
        };
        let gate_up = match gate_encoding == up_encoding {
            true => GateUp::Beside(layout.expert_shards(&panels, ExpertMatrix::GateUp, |expert| {
                vec![name(expert, "gate_proj"), name(expert, "up_proj")]
            })),
            false => GateUp::Apart([("gate_proj", gate_encoding), ("up_proj", up_encoding)].map(|(part, encoding)| {
                let panels = ExpertPanels {
                    down_encoding: encoding,
                    hidden_size: panels.width,
                    width: panels.hidden_size,
                    ..panels
                };
                (panels, layout.expert_shards(&panels, ExpertMatrix::Down, |expert| vec![name(expert, part)]))
            })),
        };
        Ok(ExpertsWeights {
            panels,
            gate_up,
            down: layout.expert_shards(&panels, ExpertMatrix::Down, |expert| vec![name(expert, "down_proj")]),
            router: layout.matrix(names::layer(layer, "mlp.gate"))?,
            bias: match router.has_bias {
                true => Some(layout.vector(names::router_bias(layer))?),
                false => None,
            },
            shared_apart: match has_shared && !beside {
                true => Some(DenseWeights::lay_out(layout, layer, SHARED)?),
                false => None,
            },
        })
    }
}

/// How a matrix of all routed experts of a layer is packed: one kernel runs them all.
fn same_encoding(layout: &Layout<'_>, routed: u32, name: impl Fn(u32) -> String) -> Result<&'static Encoding> {
    let first = layout.encoding(&name(0))?;
    for expert in 1..routed {
        let encoding = layout.encoding(&name(expert))?;
        if encoding != first {
            let tensor = &layout.checkpoint.tensor(&name(expert))?.name;
            let message =
                format!("tensor {}: packed as {encoding:?}, and that of expert 0 as {first:?}", quote(tensor));
            let help = "download a quantisation that packs the experts of a layer alike";
            return Err(Error::new(Code::UnsupportedModel, message).with_help(help));
        }
    }
    Ok(first)
}

impl PredictionWeights {
    fn lay_out(layout: &mut Layout<'_>, dims: &Dims, layer: u32, cache: CacheRoom) -> Result<PredictionWeights> {
        Ok(PredictionWeights {
            embedding_norm: layout.vector(names::layer(layer, "enorm"))?,
            hidden_norm: layout.vector(names::layer(layer, "hnorm"))?,
            projection: layout.matrix(names::layer(layer, "eh_proj"))?,
            head_norm: layout.vector(names::layer(layer, "shared_head.norm"))?,
            layer: LayerWeights::lay_out(layout, dims, layer, cache)?,
        })
    }
}
