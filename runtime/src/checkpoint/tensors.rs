//! Claims each tensor that the config asks for; what is missing, wrong or left over is an error.
//!
//! In: the stored tensors and the config. Out: the tensors of the model, and names of what is not used. Never: a weight.

use std::collections::{BTreeSet, HashMap};

use super::config::{ModelConfig, Quantization};
use super::dtype::Dtype;
use super::names::{self, Expected, TensorRole};
use super::packed;
use super::stored::{Tensor, Terms};
use crate::error::{Class, Error, Result, quote};

/// Names kept of unused tensors; more are only counted.
const UNUSED_NAMES: usize = 100;

/// Outcome of claiming.
pub(super) struct Claims {
    pub(super) tensors: HashMap<String, (Tensor, TensorRole)>,
    pub(super) prediction_layers: u32,
    pub(super) unused: Vec<String>,
    pub(super) unused_count: usize,
}

/// Where the tensors are listed.
pub(super) struct Listing<'a> {
    /// Named where a tensor is missing.
    pub(super) file: &'a str,
    /// How errors speak of it.
    pub(super) terms: Terms,
}

/// Claims every tensor of the model.
///
/// # Errors
/// [`Class::Missing`], [`Class::Shape`], [`Class::Dtype`], [`Class::Quant`], each for the first such tensor of the model;
/// [`Class::Config`] for one that is left over.
pub(super) fn claim(config: &ModelConfig, listing: &Listing<'_>, stored: HashMap<String, Tensor>) -> Result<Claims> {
    // Inside, names are without the prefix; a name that lacks it belongs to another part of the checkpoint.
    let mut foreign = Vec::new();
    let mut own: HashMap<String, Tensor> = HashMap::with_capacity(stored.len());
    for (name, tensor) in stored {
        match name.strip_prefix(config.tensor_prefix) {
            Some("") | None => foreign.push(name),
            Some(short) if short.len() == name.len() => drop(own.insert(name, tensor)),
            Some(short) => drop(own.insert(short.to_owned(), tensor)),
        }
    }
    packed::gather(config, listing.file, &mut own)?;
    let mut tensors = HashMap::with_capacity(own.len());
    for expected in names::expected(config) {
        for expected in as_stored(config, &own, expected) {
            take(config, listing, &mut own, &expected, &mut tensors)?;
        }
    }
    let prediction_layers = claim_prediction(config, listing, &mut own, &mut tensors)?;
    let mut left: Vec<(String, Tensor)> = own.into_iter().collect();
    left.sort_unstable_by(|a, b| a.0.cmp(&b.0)); // the same folder gives the same message each time
    let prediction = prediction_modules(config, &left);
    let mut unused = Vec::new();
    for (name, tensor) in &left {
        if !may_be_left(config, listing.terms, name, &prediction) {
            return Err(left_over(config, listing.terms, &tensors, name, tensor));
        }
        if !is_copy(config, prediction_layers, name) {
            unused.push(tensor.name.clone());
        }
    }
    unused.extend(foreign);
    unused.sort_unstable();
    let unused_count = unused.len();
    unused.truncate(UNUSED_NAMES);
    Ok(Claims { tensors, prediction_layers, unused, unused_count })
}

/// The tensors that are stored for one that is expected.
fn as_stored(config: &ModelConfig, own: &HashMap<String, Tensor>, expected: Expected) -> Vec<Expected> {
    match names::split_layer(&expected.name) {
        Some((layer, "self_attn.kv_b_proj.weight")) if !own.contains_key(&expected.name) => {
            let halves = names::split_kv_b(config, layer);
            if halves.iter().any(|half| own.contains_key(&half.name)) { halves.into() } else { vec![expected] }
        }
        _ => vec![expected],
    }
}

/// Moves an expected tensor, and its scales, from what is stored to what is claimed.
fn take(
    config: &ModelConfig,
    listing: &Listing<'_>,
    own: &mut HashMap<String, Tensor>,
    expected: &Expected,
    tensors: &mut HashMap<String, (Tensor, TensorRole)>,
) -> Result<()> {
    let Some(tensor) = own.remove(&expected.name) else {
        let Listing { file, terms } = listing;
        let (name, expert) = (terms.tensor)(&expected.name);
        let name = format!("{}{name}", config.tensor_prefix);
        if let Some((part, form)) = foreign_form(own, &expected.name) {
            let message = format!("in {form}, which lyn does not run; expected {}", quote(&name));
            let help = "take a GGUF or MLX quantisation of the same model";
            return Err(part.error(Class::Quant, message).with_help(help));
        }
        let which = expert.map(|expert| format!(" of expert {expert}")).unwrap_or_default();
        let message = format!("tensor {}: expected {:?}{which}, found nothing", quote(&name), expected.shape);
        let error = Error::file(Class::Missing, file, message).with_help(terms.missing);
        return Err(error.with_detail("tensor", crate::error::escape(&name)));
    };
    if tensor.shape != expected.shape {
        let message = format!("expected shape {:?}, found {:?}", expected.shape, tensor.shape);
        return Err(tensor.error(Class::Shape, message).with_help(listing.terms.mismatch));
    }
    let is_fp8 = expected.role == TensorRole::Matrix && tensor.dtype == Dtype::F8_E4M3;
    if is_fp8 {
        let scale_name = names::scale(&expected.name);
        if !matches!(config.quantization, Some(Quantization::Fp8 { .. })) {
            return Err(tensor.error(Class::Quant, "F8_E4M3, but config.json has no quantization_config of fp8"));
        }
        let Some(scale) = own.remove(&scale_name) else {
            return Err(tensor.error(Class::Quant, format_args!("F8_E4M3 without its scales {}", quote(&scale_name))));
        };
        let shape = names::scale_shape(&tensor.shape);
        if scale.shape != shape {
            return Err(scale.error(Class::Quant, format_args!("expected shape {shape:?}, found {:?}", scale.shape)));
        }
        if !matches!(scale.dtype, Dtype::F32 | Dtype::U8 | Dtype::F8_E8M0) {
            let message = format_args!("expected scales in F32, U8 or F8_E8M0, found {}", scale.dtype);
            return Err(scale.error(Class::Quant, message));
        }
        tensors.insert(scale_name, (scale, TensorRole::Scale));
    } else if !(tensor.dtype.is_plain_float() || tensor.dtype.is_quantised_block() && expected.role.is_matrix()) {
        let fp8 = matches!(tensor.dtype, Dtype::F8_E5M2 | Dtype::F8_E4M3FNUZ | Dtype::F8_E5M2FNUZ);
        let class = if fp8 && expected.role == TensorRole::Matrix { Class::Quant } else { Class::Dtype };
        let or_fp8 = if expected.role == TensorRole::Matrix { ", BF16 or F8_E4M3" } else { " or BF16" };
        return Err(tensor.error(class, format_args!("expected F32, F16{or_fp8}, found {}", tensor.dtype)));
    }
    tensors.insert(expected.name.clone(), (tensor, expected.role));
    Ok(())
}

/// A part of a weight in a form of others, and the name of the form.
fn foreign_form<'a>(own: &'a HashMap<String, Tensor>, weight: &str) -> Option<(&'a Tensor, &'static str)> {
    let module = weight.strip_suffix(".weight")?;
    let part = |name: &str| own.get(&format!("{module}.{name}"));
    let marks = [
        ("g_idx", "GPTQ"),
        ("qweight", "AWQ or GPTQ"),
        ("trellis", "EXL3"),
        ("q_weight", "EXL2"),
        ("weight_global_scale", "NVFP4"),
        ("weight_scale_2", "NVFP4"),
        ("weight_packed", "compressed-tensors without its quantization_config"),
        ("scales", "MLX without its quantization in config.json"),
        ("W_q", "HQQ"),
    ];
    marks.into_iter().find_map(|(name, form)| Some((part(name)?, form)))
}

/// Claims the modules of multi-token prediction that are whole; none of them is needed to run the model. Where nothing may be
/// left over, one that is there in part is an error.
fn claim_prediction(
    config: &ModelConfig,
    listing: &Listing<'_>,
    own: &mut HashMap<String, Tensor>,
    tensors: &mut HashMap<String, (Tensor, TensorRole)>,
) -> Result<u32> {
    let mut whole = 0u32;
    for index in config.num_hidden_layers..config.layers_with_prediction() {
        let expected = names::expected_prediction(config, index).into_iter();
        let expected: Vec<Expected> = expected.flat_map(|expected| as_stored(config, own, expected)).collect();
        let mut stored = HashMap::new();
        for name in expected.iter().flat_map(|expected| [expected.name.clone(), names::scale(&expected.name)]) {
            if let Some(tensor) = own.get(&name) {
                stored.insert(name, tensor.clone());
            }
        }
        let (mut claimed, is_there) = (HashMap::new(), !stored.is_empty());
        let mut all = expected.iter();
        match all.try_for_each(|expected| take(config, listing, &mut stored, expected, &mut claimed)) {
            Err(error) if listing.terms.strict && is_there => return Err(error),
            Err(_) => break,
            Ok(()) => {}
        }
        own.retain(|name, _| !claimed.contains_key(name));
        tensors.extend(claimed);
        whole = whole.saturating_add(1);
    }
    Ok(whole)
}

/// Layers beyond the main ones that hold a part only found in modules of multi-token prediction. Published files carry
/// such a layer, and some configs do not speak of it; any other layer there means that num_hidden_layers is wrong.
fn prediction_modules(config: &ModelConfig, left: &[(String, Tensor)]) -> BTreeSet<u32> {
    let telling = ["enorm.", "hnorm.", "eh_proj.", "shared_head.", "embed_tokens."];
    let layers = left.iter().filter_map(|(name, _)| names::split_layer(name));
    let modules = layers.filter(|(_, part)| telling.iter().any(|start| part.starts_with(start)));
    modules.map(|(layer, _)| layer).filter(|layer| *layer >= config.num_hidden_layers).collect()
}

/// A whole module's copies of embedding and head: known, equal to the main model's, and so not worth a warning.
fn is_copy(config: &ModelConfig, prediction_layers: u32, name: &str) -> bool {
    let whole = config.num_hidden_layers.saturating_add(prediction_layers);
    names::split_layer(name)
        .is_some_and(|(layer, part)| layer < whole && matches!(part, "embed_tokens.weight" | "shared_head.head.weight"))
}

/// Whether a tensor that nothing asked for may be there.
fn may_be_left(config: &ModelConfig, terms: Terms, name: &str, prediction: &BTreeSet<u32>) -> bool {
    if name.ends_with("rotary_emb.inv_freq") {
        return true; // a buffer that old exports carry; frequencies are computed from the config
    }
    match names::split_layer(name) {
        Some((layer, _)) => prediction.contains(&layer),
        None if name == names::HEAD => config.tie_word_embeddings,
        None => {
            !terms.strict
                && !["model.embed_tokens.", "model.norm.", "lm_head."].iter().any(|start| name.starts_with(start))
        }
    }
}

fn left_over(
    config: &ModelConfig,
    terms: Terms,
    tensors: &HashMap<String, (Tensor, TensorRole)>,
    name: &str,
    tensor: &Tensor,
) -> Error {
    if let Some((weight, _)) = name.strip_suffix("_scale_inv").and_then(|weight| tensors.get(weight)) {
        return tensor.error(Class::Quant, format_args!("scales of a weight that is {} and needs none", weight.dtype));
    }
    let what = match names::split_layer(name) {
        Some((layer, _)) if layer >= config.num_hidden_layers => {
            let (layers, count) = (terms.layers, config.num_hidden_layers);
            format!("a layer beyond {layers}, {count}, and not of multi-token prediction")
        }
        _ => format!("not required by {}", terms.config),
    };
    tensor.error(Class::Config, what).with_help(terms.mismatch)
}
