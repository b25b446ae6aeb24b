//! Fields of config.json and generation_config.json become a [`ModelConfig`] and [`GenerationDefaults`].

use super::{
    CONFIG_FILE, GENERATION_FILE, GenerationDefaults, GroupScore, IndexerConfig, LayerIndexer, LayerKind, ModelConfig,
    RopeConfig, RouterConfig, Scoring, Yarn,
};
use crate::checkpoint::fields::{Fields, parse_object};
use crate::error::{Class, Error, Result, quote};
use crate::json::Json;

/// What a `model_type` stands for where its config says nothing.
#[derive(Clone, Copy)]
struct Family {
    moe: bool,
    /// Sparse attention, with this `indexer_rope_interleave`.
    indexer: Option<bool>,
    /// Softmax router without normalisation.
    v2: bool,
}

fn family(model_type: &str) -> Option<Family> {
    let dense = Family { moe: true, indexer: None, v2: false };
    Some(match model_type {
        "deepseek_v32" => Family { indexer: Some(false), ..dense },
        "glm_moe_dsa" => Family { indexer: Some(true), ..dense },
        "deepseek_v3" | "kimi_k2" | "glm4_moe_lite" => dense,
        "deepseek_v2" => Family { v2: true, ..dense },
        // Under the second name in the code that was published beside the first weights.
        "youtu" | "youtu_llm" => Family { moe: false, ..dense },
        _ => return None,
    })
}

// The largest sizes believed: far above any known model, small enough that products of two fit 32 bits.
const DIM: u32 = 1 << 20;
const HEADS: u32 = 1024;
const HEAD_DIM: u32 = 4096;
const LAYERS: u32 = 1024;
/// The router's kernel ranks this many in workgroup memory.
const EXPERTS: u32 = lyn_shaders::route::MAX_EXPERTS;

impl ModelConfig {
    /// Reads the bytes of config.json.
    ///
    /// # Errors
    /// [`Class::Json`]: not one strict JSON object. [`Class::Arch`]: another family of models. [`Class::Config`]: a field
    /// that is absent, of a wrong type, out of range, or beyond what the kernels do. [`Class::Quant`]: another quantisation.
    pub fn parse(bytes: &[u8]) -> Result<ModelConfig> {
        ModelConfig::read(&Fields::new(CONFIG_FILE, &parse_object(CONFIG_FILE, bytes)?))
    }

    /// Reads the fields of a config.json, which a file holds in one form or another.
    pub(in crate::checkpoint) fn read(whole: &Fields<'_>) -> Result<ModelConfig> {
        // Kimi-K2.5 and its like nest the language model's config beside that of their vision tower.
        let nested = whole.object("text_config", Class::Config)?;
        let (fields, tensor_prefix) = match &nested {
            Some(text) => (text, "language_model."),
            None => (whole, ""),
        };
        let foreign =
            |what: std::fmt::Arguments<'_>| Error::file(Class::Arch, whole.file(), format_args!("model_type: {what}"));
        let model_type = match fields.get("model_type") {
            Some(Json::String(name)) => name.clone(),
            other => {
                let found = other.map_or_else(|| "nothing".to_owned(), ToString::to_string);
                return Err(foreign(format_args!("expected a name, found {found}")));
            }
        };
        let family = family(&model_type);
        let family = family.ok_or_else(|| foreign(format_args!("{} is not of this family", quote(&model_type))))?;
        let vocab_size = fields.size("vocab_size", 1..=1 << 22)?;
        let num_hidden_layers = fields.size("num_hidden_layers", 1..=LAYERS)?;
        let qk_rope_head_dim = fields.size("qk_rope_head_dim", 1..=HEAD_DIM)?;
        let message = format_args!("expected a multiple of 4, found {qk_rope_head_dim}");
        fields.ensure(qk_rope_head_dim.is_multiple_of(4), "qk_rope_head_dim", message)?;
        let message = "expected a whole number or null, found nothing";
        fields.ensure(fields.has("q_lora_rank"), "q_lora_rank", message)?;
        let num_nextn_predict_layers = fields.size_or("num_nextn_predict_layers", 0..=8, 0)?;
        // What surrounds the nested config may hold what concerns the whole.
        let outer = |name| if fields.has(name) { fields } else { whole };
        let router = if family.moe { Some(router(fields, family)?) } else { None };
        let mut config = ModelConfig {
            model_type,
            tensor_prefix,
            vocab_size,
            hidden_size: fields.size("hidden_size", 1..=DIM)?,
            num_hidden_layers,
            intermediate_size: fields.size("intermediate_size", 1..=DIM)?,
            num_attention_heads: fields.size("num_attention_heads", 1..=HEADS)?,
            q_lora_rank: fields.get("q_lora_rank").map(|_| fields.size("q_lora_rank", 1..=DIM)).transpose()?,
            kv_lora_rank: fields.size("kv_lora_rank", 1..=DIM)?,
            qk_nope_head_dim: fields.size("qk_nope_head_dim", 1..=HEAD_DIM)?,
            qk_rope_head_dim,
            v_head_dim: fields.size("v_head_dim", 1..=HEAD_DIM)?,
            rms_norm_eps: fields.number("rms_norm_eps", f64::MIN_POSITIVE..=0.1)?.unwrap_or(1e-6),
            max_position_embeddings: fields.size("max_position_embeddings", 1..=1 << 26)?,
            tie_word_embeddings: fields.flag("tie_word_embeddings", false)?,
            num_nextn_predict_layers,
            rope: rope(fields)?,
            indexer: family.indexer.map(|interleave| indexer(fields, qk_rope_head_dim, interleave)).transpose()?,
            router,
            quantization: super::quantization::parse(outer("quantization"), outer("quantization_config"))?,
            layers: vec![],
            bos_token_id: outer("bos_token_id").token_ids("bos_token_id", vocab_size)?.first().copied(),
            eos_token_ids: outer("eos_token_id").token_ids("eos_token_id", vocab_size)?,
        };
        config.layers = layers(fields, &config)?;
        config.check_kernels(fields)?;
        Ok(config)
    }

    /// What the kernels compute, and no more.
    fn check_kernels(&self, fields: &Fields<'_>) -> Result<()> {
        fields.word("hidden_act", &[("silu", ())])?;
        for name in ["attention_bias", "mlp_bias"] {
            let message = "expected false, found true: no linear of this family has a bias";
            fields.ensure(!fields.flag(name, false)?, name, message)?;
        }
        let message = "expected a whole number, found null: the indexer reads the query latent";
        fields.ensure(self.indexer.is_none() || self.q_lora_rank.is_some(), "q_lora_rank", message)?;
        // Weights are read in words of four FP8 values along the contraction, so each of these is a multiple of 4.
        let contractions = [
            ("hidden_size", Some(self.hidden_size)),
            ("q_lora_rank", self.q_lora_rank),
            ("kv_lora_rank", Some(self.kv_lora_rank)),
            ("num_attention_heads times v_head_dim", self.num_attention_heads.checked_mul(self.v_head_dim)),
            ("intermediate_size", Some(self.intermediate_size)),
            ("moe_intermediate_size", self.router.map(|router| router.moe_intermediate_size)),
            ("index_head_dim", self.indexer.map(|indexer| indexer.head_dim)),
        ];
        for (name, size) in contractions {
            let size = size.unwrap_or(0);
            let message = format_args!("expected a multiple of 4, found {size}: the kernels read four weights at once");
            fields.ensure(size.is_multiple_of(4), name, message)?;
        }
        Ok(())
    }
}

fn router(fields: &Fields<'_>, family: Family) -> Result<RouterConfig> {
    let n_routed_experts = fields.size("n_routed_experts", 1..=EXPERTS)?;
    let n_group = fields.size_or("n_group", 1..=n_routed_experts, 1)?;
    let topk_group = fields.size_or("topk_group", 1..=n_group, 1)?;
    let message = format_args!("expected a divisor of the {n_routed_experts} experts, found {n_group}");
    fields.ensure(n_routed_experts.is_multiple_of(n_group), "n_group", message)?;
    let group_size = n_routed_experts.checked_div(n_group).unwrap_or(0);
    let reachable = group_size.saturating_mul(topk_group);
    let scoring = fields.word("scoring_func", &[("sigmoid", Scoring::Sigmoid), ("softmax", Scoring::Softmax)])?;
    let methods = [("noaux_tc", (true, true)), ("group_limited_greedy", (false, true)), ("greedy", (false, false))];
    let (has_bias, grouped) =
        fields.word("topk_method", &methods)?.unwrap_or(if family.v2 { (false, false) } else { (true, true) });
    let message = "expected at least two experts in each group, whose two best are summed";
    fields.ensure(!has_bias || n_group == 1 || group_size > 1, "n_group", message)?;
    Ok(RouterConfig {
        n_routed_experts,
        num_experts_per_tok: fields.size("num_experts_per_tok", 1..=reachable)?,
        n_group: if grouped { n_group } else { 1 },
        topk_group: if grouped { topk_group } else { 1 },
        scoring: scoring.unwrap_or(if family.v2 { Scoring::Softmax } else { Scoring::Sigmoid }),
        group_score: if has_bias { GroupScore::TopTwoSum } else { GroupScore::Max },
        has_bias,
        // DeepSeek-V2's code never normalises, whatever its config says.
        norm_topk_prob: fields.flag("norm_topk_prob", true)? && !family.v2,
        routed_scaling_factor: fields.number("routed_scaling_factor", 0.0..=1e6)?.unwrap_or(1.0),
        n_shared_experts: fields.size("n_shared_experts", 1..=64)?,
        moe_intermediate_size: fields.size("moe_intermediate_size", 1..=DIM)?,
    })
}

fn indexer(fields: &Fields<'_>, qk_rope_head_dim: u32, interleave: bool) -> Result<IndexerConfig> {
    Ok(IndexerConfig {
        n_heads: fields.size("index_n_heads", 1..=HEADS)?,
        head_dim: fields.size("index_head_dim", qk_rope_head_dim..=HEAD_DIM)?,
        topk: fields.size("index_topk", 1..=DIM)?,
        rope_interleave: fields.flag("indexer_rope_interleave", interleave)?,
    })
}

fn rope(fields: &Fields<'_>) -> Result<RopeConfig> {
    let own = match fields.object("rope_parameters", Class::Config)? {
        Some(parameters) => Some(parameters),
        None => fields.object("rope_scaling", Class::Config)?,
    };
    let own = own.as_ref();
    // theta = 1 would make the logarithm in YaRN's correction zero.
    let theta_range = 1.0 + f64::EPSILON..=1e12;
    let theta = own.map(|own| own.number("rope_theta", theta_range.clone())).transpose()?.flatten();
    let theta = match theta {
        Some(theta) => theta,
        None => fields.number("rope_theta", theta_range)?.unwrap_or(10_000.0),
    };
    let types = [("default", false), ("yarn", true)];
    let scaling = match own {
        None => None,
        Some(own) => match own.word("rope_type", &types)?.or(own.word("type", &types)?) {
            Some(true) => Some(yarn(own)?),
            _ => None,
        },
    };
    Ok(RopeConfig { theta, interleave: fields.flag("rope_interleave", true)?, scaling })
}

fn yarn(fields: &Fields<'_>) -> Result<Yarn> {
    let factor = fields.number("factor", 1.0..=1e6)?;
    let scale = |name| Ok::<_, Error>(fields.number(name, 0.0..=1e3)?.filter(|value| *value > 0.0));
    Ok(Yarn {
        factor: factor.ok_or_else(|| fields.error("factor", "expected a number, found nothing"))?,
        original_max_position_embeddings: fields.size("original_max_position_embeddings", 1..=1 << 26)?,
        beta_fast: scale("beta_fast")?.unwrap_or(32.0),
        beta_slow: scale("beta_slow")?.unwrap_or(1.0),
        mscale: scale("mscale")?,
        mscale_all_dim: scale("mscale_all_dim")?,
        attention_factor: scale("attention_factor")?,
    })
}

const FIRST_FULL: &str = "expected the first layer to be full: a shared one needs a full one before it";

/// The kind of each layer, main ones first.
fn layers(fields: &Fields<'_>, config: &ModelConfig) -> Result<Vec<LayerKind>> {
    let main = config.num_hidden_layers;
    let all = config.layers_with_prediction();
    // Lists may or may not go on over the prediction layers.
    let fits = |length: usize| u32::try_from(length).is_ok_and(|length| length == main || length == all);
    let wrong_length =
        |name, length: usize| fields.error(name, format_args!("expected {main} entries, found {length}"));
    let sparse = fields.words("mlp_layer_types", &[("dense", false), ("sparse", true)])?;
    let frequency = fields.size_or("moe_layer_freq", 1..=LAYERS, 1)?;
    let first_moe = match (&sparse, config.router) {
        (Some(types), _) if !fits(types.len()) => return Err(wrong_length("mlp_layer_types", types.len())),
        (None, Some(_)) => fields.size("first_k_dense_replace", 0..=main)?,
        _ => 0,
    };
    let kinds = [("full", LayerIndexer::Full), ("shared", LayerIndexer::Shared)];
    let pattern_kinds = [("F", LayerIndexer::Full), ("S", LayerIndexer::Shared), kinds[0], kinds[1]];
    let listed = match (fields.words("indexer_types", &kinds)?, fields.get("index_topk_pattern")) {
        (Some(types), _) => Some(("indexer_types", types)),
        (None, Some(Json::String(letters))) => {
            let letter = |letter| match letter {
                'F' => Some(LayerIndexer::Full),
                'S' => Some(LayerIndexer::Shared),
                _ => None,
            };
            let types: Option<Vec<_>> = letters.chars().map(letter).collect();
            let types = types.ok_or_else(|| fields.error("index_topk_pattern", "expected only F and S"))?;
            Some(("index_topk_pattern", types))
        }
        (None, _) => fields.words("index_topk_pattern", &pattern_kinds)?.map(|types| ("index_topk_pattern", types)),
    };
    if let Some((name, types)) = &listed {
        if !fits(types.len()) {
            return Err(wrong_length(name, types.len()));
        }
        fields.ensure(types.first() == Some(&LayerIndexer::Full), name, FIRST_FULL)?;
    }
    let share_every = fields.size_or("index_topk_freq", 1..=LAYERS, 1)?;
    let share_offset = fields.size_or("index_skip_topk_offset", 0..=LAYERS, 2)?;
    let kind = |layer: u32| {
        let place = layer as usize;
        let is_main = layer < main;
        let moe = match &sparse {
            Some(types) => types.get(place).copied().unwrap_or(true),
            None => layer >= first_moe && (layer.is_multiple_of(frequency) || !is_main),
        };
        let full = match &listed {
            Some((_, types)) => types.get(place).copied().unwrap_or(LayerIndexer::Full),
            None => {
                match layer.saturating_add(1).saturating_sub(share_offset).is_multiple_of(share_every) || !is_main {
                    true => LayerIndexer::Full,
                    false => LayerIndexer::Shared,
                }
            }
        };
        LayerKind { moe: moe && config.router.is_some(), indexer: config.indexer.map(|_| full) }
    };
    let layers: Vec<LayerKind> = (0..all).map(kind).collect();
    let shared = layers.first().is_some_and(|layer| layer.indexer == Some(LayerIndexer::Shared));
    fields.ensure(!shared, "index_skip_topk_offset", FIRST_FULL)?;
    Ok(layers)
}

impl GenerationDefaults {
    /// Reads the bytes of generation_config.json; fields of other samplers are not looked at.
    ///
    /// # Errors
    /// [`Class::Json`], [`Class::Config`] as for config.json.
    pub fn parse(bytes: &[u8], vocab_size: u32) -> Result<GenerationDefaults> {
        GenerationDefaults::read(&Fields::new(GENERATION_FILE, &parse_object(GENERATION_FILE, bytes)?), vocab_size)
    }

    /// Reads the fields of a generation_config.json, which a file holds in one form or another.
    pub(in crate::checkpoint) fn read(fields: &Fields<'_>, vocab_size: u32) -> Result<GenerationDefaults> {
        let given = |name| fields.get(name).map(|_| ());
        Ok(GenerationDefaults {
            do_sample: given("do_sample").map(|()| fields.flag("do_sample", false)).transpose()?,
            temperature: fields.number("temperature", 0.0..=2.0)?,
            top_p: fields.number("top_p", f64::from(f32::MIN_POSITIVE)..=1.0)?,
            top_k: given("top_k").map(|()| fields.size("top_k", 0..=u32::MAX)).transpose()?,
            min_p: fields.number("min_p", 0.0..=1.0)?,
            repetition_penalty: fields.number("repetition_penalty", 0.01..=10.0)?,
            eos_token_ids: fields.token_ids("eos_token_id", vocab_size)?,
        })
    }
}
