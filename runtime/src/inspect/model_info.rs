//! What a surface shows of a loaded model: its sizes, what it can do, and how it is sampled where nobody says otherwise.

use serde::Serialize;

use crate::chat::{Detected, control};
use crate::engine::Engine;

/// Sizes and abilities of a loaded model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelInfo {
    /// The config's `model_type`.
    pub model_type: String,
    /// Decoder layers.
    pub num_hidden_layers: u32,
    /// Tokens that the model knows.
    pub vocab_size: u32,
    /// Positions that the model was made for.
    pub max_position_embeddings: u32,
    /// Positions that attention reads for each token; none: all visible ones.
    pub index_topk: Option<u32>,
    /// Whether the model has an indexer.
    pub sparse: bool,
    /// Whether the checkpoint has a chat format that lyn renders.
    pub chat: bool,
    /// Whether that format can open a thought.
    pub thinking: bool,
    /// Positions that the engine has room for.
    pub context: u32,
    /// Sampling that the checkpoint recommends.
    pub defaults: SamplingDefaults,
}

/// Sampling that a checkpoint recommends, with the usual values where it says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SamplingDefaults {
    /// 0: the likeliest token each time.
    pub temperature: f64,
    /// The share of the likeliest tokens that are drawn from.
    pub top_p: f64,
}

impl ModelInfo {
    /// The model of an engine.
    pub fn of(engine: &Engine) -> ModelInfo {
        let (plan, dims, defaults) = (engine.plan(), engine.dims(), engine.defaults());
        let chat = !matches!(engine.chat_format(), Detected::Raw(_));
        let thinks = engine.tokenizer().is_ok_and(|tokenizer| tokenizer.token_id(control::THINK).is_some());
        ModelInfo {
            model_type: plan.model_type.clone(),
            num_hidden_layers: plan.layers,
            vocab_size: dims.vocab_size,
            max_position_embeddings: plan.max_position_embeddings,
            index_topk: engine.index_topk(),
            sparse: dims.indexer.is_some(),
            chat,
            thinking: chat && thinks,
            context: plan.context,
            defaults: SamplingDefaults {
                temperature: match defaults.do_sample {
                    Some(false) => 0.0,
                    _ => defaults.temperature.unwrap_or(1.0),
                },
                top_p: defaults.top_p.unwrap_or(1.0),
            },
        }
    }
}
