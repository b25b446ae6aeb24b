//! Metadata in the words of config.json, which [`ModelConfig`] reads and checks as it does a file's.
//!
//! In: metadata, and which tensors there are. Out: the members of a config.json of the same model, and the key of each, by which
//! errors name it. Ranges are checked there; here only what has no such place: lists, sums, token ids, and what a key left out
//! stands for.
//!
//! [`ModelConfig`]: crate::checkpoint::ModelConfig

use std::collections::BTreeMap;

use super::metadata::Metadata;
use crate::checkpoint::fields::Keys;
use crate::error::{Class, Error, Result, quote};
use crate::json::Json;

/// Layers at most, those of multi-token prediction included.
const LAYERS: u32 = 1024;
/// Files of GLM-4.7-Flash and GLM-5 have this many tokens. Some of their first files left out that they score by sigmoid.
const GLM_TOKENS: u32 = 154_880;

/// Kinds of model by `general.architecture`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Architecture {
    /// V2, V3, R1, Kimi-K2, GLM-4.7-Flash, Youtu; V3.2 without its indexer.
    Deepseek2,
    /// V3.2
    Deepseek32,
    /// GLM-5
    GlmDsa,
}

impl Architecture {
    fn of(metadata: &Metadata) -> Result<(Architecture, &str)> {
        let key = "general.architecture";
        let name = metadata.text(key)?.ok_or_else(|| metadata.wrong(key, "expected a name, found nothing"))?;
        let kind = match name {
            "deepseek2" => Architecture::Deepseek2,
            "deepseek32" => Architecture::Deepseek32,
            "glm-dsa" => Architecture::GlmDsa,
            other => {
                let what = match other {
                    "clip" => ", an image encoder, which is used beside a language model",
                    _ => "",
                };
                let message = format!(
                    "{key}: {} is not of this family{what}; expected deepseek2, deepseek32 or glm-dsa",
                    quote(other)
                );
                return Err(Error::file(Class::Arch, metadata.file(), message));
            }
        };
        Ok((kind, name))
    }
}

/// The members of a config.json.
pub(super) struct Members<'a> {
    metadata: &'a Metadata,
    architecture: &'a str,
    members: BTreeMap<String, Json>,
    keys: Keys,
}

/// What a layer has only if it owns an indexer.
const INDEXER_TENSORS: [&str; 5] = [
    "indexer.attn_k.weight",
    "indexer.attn_q_b.weight",
    "indexer.k_norm.weight",
    "indexer.k_norm.bias",
    "indexer.proj.weight",
];

/// Turns metadata into members.
///
/// # Errors
/// [`Class::Arch`] for another family; [`Class::Config`] for a key that is missing, of a wrong kind, or without meaning.
pub(super) fn members<'a>(metadata: &'a Metadata, has: &dyn Fn(&str) -> bool) -> Result<Members<'a>> {
    if let Some(other) = metadata.text("general.type")?.filter(|kind| *kind != "model") {
        let message = format!("general.type: {} is used beside a model; expected model", quote(other));
        return Err(Error::file(Class::Arch, metadata.file(), message).with_help("give the file of the model itself"));
    }
    let (kind, architecture) = Architecture::of(metadata)?;
    let mut to = Members { metadata, architecture, members: BTreeMap::new(), keys: Keys::new() };
    if let Some(version) = metadata.integer("general.quantization_version")?.filter(|version| *version > 2) {
        return Err(metadata.wrong("general.quantization_version", format_args!("expected at most 2, found {version}")));
    }
    for (member, key) in [
        ("hidden_size", "embedding_length"),
        ("intermediate_size", "feed_forward_length"),
        ("max_position_embeddings", "context_length"),
        ("num_attention_heads", "attention.head_count"),
        ("kv_lora_rank", "attention.kv_lora_rank"),
        ("qk_rope_head_dim", "rope.dimension_count"),
    ] {
        let value = to.required(key)?;
        to.put(member, key, value);
    }
    to.layers()?;
    to.heads()?;
    let rank = to.integer("attention.q_lora_rank")?.filter(|rank| *rank != 0);
    to.put("q_lora_rank", "attention.q_lora_rank", rank.map_or(Json::Null, number));
    for (member, key, default) in
        [("rms_norm_eps", "attention.layer_norm_rms_epsilon", None), ("rope_theta", "rope.freq_base", Some(10_000.0))]
    {
        let value = to.number(key)?.or(default);
        let value = value.ok_or_else(|| to.wrong(key, "expected a number, found nothing"))?;
        to.put(member, key, float(value));
    }
    let tokens = metadata.length("tokenizer.ggml.tokens");
    let vocabulary = match to.integer("vocab_size")? {
        Some(size) => Some(size),
        None => tokens.map(|tokens| tokens as i128),
    };
    let vocabulary =
        vocabulary.ok_or_else(|| to.wrong("vocab_size", "expected a number, found nothing, and no tokens"))?;
    if vocabulary < 1 {
        return Err(to.wrong("vocab_size", format_args!("expected 1 or more, found {vocabulary}")));
    }
    to.put("vocab_size", "vocab_size", number(vocabulary));
    to.flag("tie_word_embeddings", !has("output.weight"));
    let softmax = to.experts(kind, vocabulary, has)?;
    if kind != Architecture::Deepseek2 {
        to.indexer(kind, has)?;
    }
    to.yarn()?;
    let model_type = match kind {
        Architecture::Deepseek32 => "deepseek_v32",
        Architecture::GlmDsa => "glm_moe_dsa",
        Architecture::Deepseek2 if softmax == Some(true) => "deepseek_v2",
        Architecture::Deepseek2 if softmax.is_none() => "youtu",
        Architecture::Deepseek2 => "deepseek_v3",
    };
    to.word("model_type", model_type);
    to.tokens(vocabulary)?;
    Ok(to)
}

fn number(value: i128) -> Json {
    Json::Number(value.to_string())
}

fn float(value: f64) -> Json {
    Json::Number(value.to_string())
}

impl<'a> Members<'a> {
    /// As a config.json would have them.
    pub(super) fn as_json(&self) -> &BTreeMap<String, Json> {
        &self.members
    }

    /// The metadata key of each member, for errors.
    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    fn wrong(&self, key: &str, message: impl std::fmt::Display) -> Error {
        self.metadata.wrong(&self.name(key), message)
    }

    fn integer(&self, key: &str) -> Result<Option<i128>> {
        self.metadata.integer(&self.name(key))
    }

    fn number(&self, key: &str) -> Result<Option<f64>> {
        let value = self.metadata.number(&self.name(key))?;
        match value.filter(|value| !value.is_finite()) {
            None => Ok(value),
            Some(value) => Err(self.wrong(key, format_args!("expected a finite number, found {value}"))),
        }
    }

    fn required(&self, key: &str) -> Result<Json> {
        let value = self.integer(key)?;
        value.map(number).ok_or_else(|| self.wrong(key, "expected a whole number, found nothing"))
    }

    /// A whole number from 0 to 2^31.
    fn count(&self, key: &str, default: u32) -> Result<u32> {
        let Some(value) = self.integer(key)? else { return Ok(default) };
        let count = u32::try_from(value).ok().filter(|count| *count <= 1 << 31);
        count.ok_or_else(|| self.wrong(key, format_args!("expected a whole number from 0 to 2^31, found {value}")))
    }

    fn put(&mut self, member: &str, key: &str, value: Json) {
        self.call(member, key);
        self.members.insert(member.to_owned(), value);
    }

    /// Names a member's key to errors.
    fn call(&mut self, member: &str, key: &str) {
        let name = self.name(key);
        self.keys.insert(member.to_owned(), name);
    }

    fn word(&mut self, member: &str, word: &str) {
        self.members.insert(member.to_owned(), Json::String(word.to_owned()));
    }

    fn flag(&mut self, member: &str, value: bool) {
        self.members.insert(member.to_owned(), Json::Bool(value));
    }

    /// Main layers, and those of multi-token prediction, which files count among them.
    fn layers(&mut self) -> Result<()> {
        self.required("block_count")?;
        let all = self.count("block_count", 0)?;
        let ahead = self.count("nextn_predict_layers", 0)?;
        if !(1..=LAYERS).contains(&all) {
            return Err(self.wrong("block_count", format_args!("expected 1 to {LAYERS} layers, found {all}")));
        }
        let main = all.checked_sub(ahead).filter(|main| *main > 0);
        let main = main.ok_or_else(|| {
            self.wrong("nextn_predict_layers", format_args!("expected fewer than the {all} layers, found {ahead}"))
        })?;
        self.put("num_hidden_layers", "block_count", number(main.into()));
        self.put("num_nextn_predict_layers", "nextn_predict_layers", number(ahead.into()));
        let dense = self.count("leading_dense_block_count", 0)?;
        self.put("first_k_dense_replace", "leading_dense_block_count", number(dense.into()));
        Ok(())
    }

    /// Head sizes: since May 2025 `*_mla` are those of a head, and `key_length` is that of the latent.
    fn heads(&mut self) -> Result<()> {
        let key = match self.integer("attention.key_length_mla")? {
            Some(_) => "attention.key_length_mla",
            None => "attention.key_length",
        };
        let (length, rope) = (self.count(key, 0)?, self.count("rope.dimension_count", 0)?);
        let nope = length.checked_sub(rope).filter(|nope| *nope > 0);
        let nope = nope.ok_or_else(|| {
            self.wrong(key, format_args!("expected more than the {rope} dimensions that rotate, found {length}"))
        })?;
        let name = format!("{key} less rope.dimension_count");
        self.put("qk_nope_head_dim", &name, number(nope.into()));
        let key = match self.integer("attention.value_length_mla")? {
            Some(_) => "attention.value_length_mla",
            None => "attention.value_length",
        };
        let value = self.required(key)?;
        self.put("v_head_dim", key, value);
        self.call("num_attention_heads times v_head_dim", &format!("attention.head_count times {key}"));
        // Not needed beside the others, and counts all the same.
        for key in ["attention.key_length", "attention.value_length", "attention.head_count_kv"] {
            self.count(key, 0)?;
        }
        Ok(())
    }

    /// The router; whether it scores by softmax, none where every layer is dense.
    fn experts(&mut self, kind: Architecture, vocabulary: i128, has: &dyn Fn(&str) -> bool) -> Result<Option<bool>> {
        let experts = self.count("expert_count", 0)?;
        if experts == 0 && kind == Architecture::Deepseek2 {
            return Ok(None);
        }
        for (member, key) in [
            ("n_routed_experts", "expert_count"),
            ("num_experts_per_tok", "expert_used_count"),
            ("n_shared_experts", "expert_shared_count"),
            ("moe_intermediate_size", "expert_feed_forward_length"),
        ] {
            let value = self.required(key)?;
            self.put(member, key, value);
        }
        let glm = vocabulary == i128::from(GLM_TOKENS);
        let gating = "expert_gating_func";
        let softmax = match self.count(gating, 0)? {
            0 => kind != Architecture::GlmDsa && !glm,
            1 => true,
            2 => false,
            other => return Err(self.wrong(gating, format_args!("expected 1 (softmax) or 2 (sigmoid), found {other}"))),
        };
        if softmax && glm {
            tracing::warn!(
                "this file says that GLM scores experts by softmax, a fault of early converters: download it again"
            );
        }
        let mut groups = [self.count("expert_group_count", 0)?, self.count("expert_group_used_count", 0)?];
        // Files of V3 and R1 from before these keys.
        if groups[0] == 0 && kind == Architecture::Deepseek2 && !softmax && experts == 256 {
            groups = [8, 4];
        }
        let [count, used] = groups.map(|groups| groups.max(1));
        self.put("n_group", "expert_group_count", number(count.into()));
        self.put("topk_group", "expert_group_used_count", number(used.into()));
        let main = (0..LAYERS).take_while(|layer| has(&format!("blk.{layer}.attn_norm.weight")));
        let bias = main
            .into_iter()
            .any(|layer| ["exp_probs_b.bias", "exp_probs_b"].iter().any(|name| has(&format!("blk.{layer}.{name}"))));
        let method = match (bias, count) {
            (true, _) => "noaux_tc",
            (false, 1) => "greedy",
            (false, _) => "group_limited_greedy",
        };
        self.word("topk_method", method);
        self.word("scoring_func", if softmax { "softmax" } else { "sigmoid" });
        let scale = self.number("expert_weights_scale")?.filter(|scale| *scale != 0.0).unwrap_or(1.0);
        self.put("routed_scaling_factor", "expert_weights_scale", float(scale));
        let norm = self.metadata.bool(&self.name("expert_weights_norm"))?.unwrap_or(false);
        self.flag("norm_topk_prob", norm);
        Ok(Some(softmax))
    }

    fn indexer(&mut self, kind: Architecture, has: &dyn Fn(&str) -> bool) -> Result<()> {
        for (member, key) in [
            ("index_n_heads", "attention.indexer.head_count"),
            ("index_head_dim", "attention.indexer.key_length"),
            ("index_topk", "attention.indexer.top_k"),
        ] {
            let value = self.required(key)?;
            self.put(member, key, value);
        }
        self.flag("indexer_rope_interleave", kind == Architecture::GlmDsa);
        let main = self.count("block_count", 0)?.saturating_sub(self.count("nextn_predict_layers", 0)?);
        let key = "attention.indexer.types";
        let full = match self.metadata.integer_list(&self.name(key))? {
            Some(list) if list.len() < main as usize => {
                return Err(self.wrong(key, format_args!("expected {main} entries, found {}", list.len())));
            }
            Some(list) => list.into_iter().take(main as usize).map(|own| own != 0).collect(),
            None => {
                let owns = |layer| INDEXER_TENSORS.iter().any(|name| has(&format!("blk.{layer}.{name}")));
                (0..main).map(owns).collect::<Vec<_>>()
            }
        };
        let word = |full: bool| Json::String(if full { "full" } else { "shared" }.to_owned());
        self.put("indexer_types", key, Json::List(full.into_iter().map(word).collect()));
        Ok(())
    }

    fn yarn(&mut self) -> Result<()> {
        let key = "rope.scaling.type";
        match self.metadata.text(&self.name(key))? {
            // Others take such a file's scaling to be linear, which no model of the family has.
            None if self.number("rope.scaling.factor")?.is_some_and(|factor| factor != 0.0 && factor != 1.0) => {
                return Err(self.wrong(key, "expected yarn beside rope.scaling.factor, found nothing"));
            }
            None | Some("none" | "") => return Ok(()),
            Some("yarn") => {}
            Some(other) => return Err(self.wrong(key, format_args!("expected yarn or none, found {}", quote(other)))),
        }
        let mut own = BTreeMap::new();
        own.insert("type".to_owned(), Json::String("yarn".to_owned()));
        let original = self.required("rope.scaling.original_context_length")?;
        self.call("rope_scaling.original_max_position_embeddings", "rope.scaling.original_context_length");
        own.insert("original_max_position_embeddings".to_owned(), original);
        for (member, key) in [
            ("factor", "rope.scaling.factor"),
            ("beta_fast", "rope.scaling.yarn_beta_fast"),
            ("beta_slow", "rope.scaling.yarn_beta_slow"),
        ] {
            self.call(&format!("rope_scaling.{member}"), key);
            if let Some(value) = self.number(key)? {
                own.insert(member.to_owned(), float(value));
            }
        }
        // Written as a tenth of what config.json has, in an f32.
        if let Some(tenth) = self.number("rope.scaling.yarn_log_multiplier")?.filter(|tenth| *tenth != 0.0) {
            let scale = float((tenth * 1e7).round() / 1e6);
            self.call("rope_scaling.mscale", "rope.scaling.yarn_log_multiplier");
            own.insert("mscale".to_owned(), scale.clone());
            own.insert("mscale_all_dim".to_owned(), scale);
        }
        self.put("rope_scaling", key, Json::Object(own));
        Ok(())
    }

    /// Tokens that begin and end an answer.
    fn tokens(&mut self, vocabulary: i128) -> Result<()> {
        let metadata = self.metadata;
        let below = |key: &str, id: i128| match (0..vocabulary).contains(&id) {
            true => Ok(number(id)),
            false => Err(metadata.wrong(key, format_args!("expected a token id below {vocabulary}, found {id}"))),
        };
        let token = |name: &str| {
            let key = format!("tokenizer.ggml.{name}_token_id");
            metadata.integer(&key)?.map(|id| below(&key, id)).transpose()
        };
        self.members.extend(token("bos")?.map(|id| ("bos_token_id".to_owned(), id)));
        token("padding")?;
        let mut ends = vec![];
        for name in ["eos", "eot", "eom"] {
            ends.extend(token(name)?);
        }
        // Ollama's list.
        let key = "tokenizer.ggml.eos_token_ids";
        for id in metadata.integer_list(key)?.unwrap_or_default() {
            ends.push(below(key, id)?);
        }
        ends.dedup();
        if !ends.is_empty() {
            self.members.insert("eos_token_id".to_owned(), Json::List(ends));
        }
        // Prompts in a chat format bring their own.
        for name in ["bos", "eos"] {
            metadata.bool(&format!("tokenizer.ggml.add_{name}_token"))?;
        }
        Ok(())
    }
}
