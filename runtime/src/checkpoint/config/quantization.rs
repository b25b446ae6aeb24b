//! `quantization_config` and MLX's `quantization`: how weights are packed, or by what name they are refused.
//!
//! Which modules are packed is told by their tensors; lists of modules to leave out are not read.

use super::{Affine, Quantization, SCALE_BLOCK};
use crate::checkpoint::fields::Fields;
use crate::error::{Class, Error, Result};
use crate::json::Json;

/// What to do where nothing here runs the format.
const OTHER: &str = "take a GGUF or MLX quantisation of the same model";

/// `mlx` and `other` are the objects that may have `quantization` and `quantization_config`.
pub(super) fn parse(mlx: &Fields<'_>, other: &Fields<'_>) -> Result<Option<Quantization>> {
    // MLX writes its object twice; the one without a method is its own.
    if let Some(own) = mlx.object("quantization", Class::Quant)? {
        return affine_modules(&own).map(Some);
    }
    let Some(own) = other.object("quantization_config", Class::Quant)? else {
        return Ok(None);
    };
    let method = match own.get("quant_method") {
        Some(Json::String(method)) => method.as_str(),
        None if own.has("bits") => return affine_modules(&own).map(Some),
        None => return Err(own.error("quant_method", "expected fp8 or compressed-tensors, found nothing")),
        Some(other) => {
            return Err(own.error("quant_method", format_args!("expected fp8 or compressed-tensors, found {other}")));
        }
    };
    match method {
        "fp8" => fp8(&own).map(Some),
        "compressed-tensors" => compressed_tensors(&own).map(Some),
        other => {
            let message = format_args!("expected fp8 or compressed-tensors, found {}", crate::error::quote(other));
            Err(refuse(own.error("quant_method", message)))
        }
    }
}

fn refuse(error: Error) -> Error {
    error.with_help(OTHER)
}

fn fp8(own: &Fields<'_>) -> Result<Quantization> {
    own.word("fmt", &[("e4m3", ())])?;
    let block = Json::Number(SCALE_BLOCK.to_string());
    match own.get("weight_block_size") {
        Some(Json::List(sizes)) if *sizes == [block.clone(), block] => {}
        Some(_) => return Err(own.error("weight_block_size", "expected [128, 128]")),
        None => {
            let message = "expected [128, 128], found nothing: one scale for a whole tensor is not run";
            return Err(refuse(own.error("weight_block_size", message)));
        }
    }
    let power_of_two_scales = own.word("scale_fmt", &[("ue8m0", true), ("float", false)])?.unwrap_or(false);
    Ok(Quantization::Fp8 { power_of_two_scales })
}

fn compressed_tensors(own: &Fields<'_>) -> Result<Quantization> {
    let refused = |result: Result<()>| result.map_err(refuse);
    refused(
        own.word("format", &[("pack-quantized", ())])
            .and_then(|format| own.ensure(format.is_some(), "format", "expected \"pack-quantized\", found nothing")),
    )?;
    let groups = own.object("config_groups", Class::Quant)?;
    let groups = groups.ok_or_else(|| own.error("config_groups", "expected an object, found nothing"))?;
    let mut all = Vec::new();
    for name in groups.names() {
        let group = groups.object(name, Class::Quant)?;
        let group = group.ok_or_else(|| groups.error(name, "expected an object, found nothing"))?;
        refused(group.ensure(
            group.get("input_activations").is_none(),
            "input_activations",
            "expected null: activations are not quantised here",
        ))?;
        let weights = group.object("weights", Class::Quant)?;
        let weights = weights.ok_or_else(|| group.error("weights", "expected an object, found nothing"))?;
        all.push(group_of_weights(&weights).map_err(refuse)?);
    }
    match all.as_slice() {
        [first, rest @ ..] if rest.iter().all(|other| other == first) => Ok(Quantization::PackQuantized(*first)),
        _ => Err(refuse(own.error("config_groups", "expected groups of modules that are packed alike"))),
    }
}

fn group_of_weights(weights: &Fields<'_>) -> Result<Affine> {
    let named = |name: &str, expected: &str| {
        let found = weights.word(name, &[(expected, ())])?;
        weights.ensure(found.is_some(), name, format_args!("expected {expected:?}, found nothing"))
    };
    named("type", "int")?;
    named("strategy", "group")?;
    weights.ensure(weights.flag("symmetric", false)?, "symmetric", "expected true: zero points are not run")?;
    weights.ensure(!weights.flag("dynamic", false)?, "dynamic", "expected false")?;
    weights.ensure(weights.get("actorder").is_none(), "actorder", "expected null: columns are not reordered here")?;
    let bits = weights.size("num_bits", 1..=64)?;
    weights.ensure(matches!(bits, 4 | 8), "num_bits", format_args!("expected 4 or 8, found {bits}"))?;
    Ok(Affine { bits, group_size: group_size(weights)? })
}

fn group_size(fields: &Fields<'_>) -> Result<u32> {
    let group = fields.size("group_size", 1..=1 << 20)?;
    let message = format_args!("expected 32, 64 or 128, found {group}");
    fields.ensure(matches!(group, 32 | 64 | 128), "group_size", message)?;
    Ok(group)
}

fn affine_modules(own: &Fields<'_>) -> Result<Quantization> {
    if let Err(error) = own.word("mode", &[("affine", ())]) {
        return Err(refuse(error));
    }
    let default = affine(own)?;
    let mut modules = std::collections::BTreeMap::new();
    for name in own.names() {
        let module = match own.get(name) {
            Some(Json::Object(_)) => own.object(name, Class::Quant)?.map(|module| affine(&module)).transpose()?,
            Some(Json::Bool(false)) => None,
            Some(Json::Bool(true)) => {
                return Err(own.error(name, "expected false or an object with bits and group_size, found true"));
            }
            _ => continue,
        };
        modules.insert(name.clone(), module);
    }
    Ok(Quantization::Mlx { default, modules })
}

fn affine(fields: &Fields<'_>) -> Result<Affine> {
    fields.word("mode", &[("affine", ())]).map_err(refuse)?;
    let bits = fields.size("bits", 1..=64)?;
    let message = format_args!("expected 2, 3, 4, 5, 6 or 8, found {bits}");
    fields.ensure(matches!(bits, 2..=6 | 8), "bits", message)?;
    Ok(Affine { bits, group_size: group_size(fields)? })
}
