//! Weights whose codes and scales are tensors of their own become one tensor each: compressed-tensors and MLX.
//!
//! In: stored tensors by name, the config. Out: the same, `X.weight` packed where its parts were. Never: a weight.

use std::collections::HashMap;

use super::config::{Affine, ModelConfig, Quantization};
use super::dtype::Dtype;
use super::names;
use super::stored::{ScaleTensors, Tensor};
use crate::error::{Class, Error, Result, quote};

/// Puts the parts of packed weights together.
///
/// # Errors
/// [`Class::Quant`]: parts that are missing, of another type, or whose shapes contradict each other or the config.
pub(super) fn gather(config: &ModelConfig, file: &str, own: &mut HashMap<String, Tensor>) -> Result<()> {
    match &config.quantization {
        Some(Quantization::PackQuantized(affine)) => compressed_tensors(*affine, own),
        Some(Quantization::Mlx { default, modules }) => {
            let prefix = config.tensor_prefix;
            mlx(own, |module| match modules.get(&format!("{prefix}{module}")) {
                Some(listed) => *listed,
                None => Some(*default),
            })?;
            for module in modules.keys() {
                let known = module.strip_prefix(prefix).is_some_and(|module| own.contains_key(&weight(module)));
                if !known {
                    let message = format!("quantization.{}: a module without a weight", crate::error::escape(module));
                    return Err(Error::file(Class::Quant, super::CONFIG_FILE, message));
                }
            }
            unstack(file, own)
        }
        _ => Ok(()),
    }
}

fn weight(module: &str) -> String {
    format!("{module}.weight")
}

/// The modules that have a tensor of this name, in order.
fn modules(own: &HashMap<String, Tensor>, part: &str) -> Vec<String> {
    let mut modules: Vec<String> = own.keys().filter_map(|name| name.strip_suffix(part)).map(str::to_owned).collect();
    modules.sort_unstable();
    modules
}

fn compressed_tensors(affine: Affine, own: &mut HashMap<String, Tensor>) -> Result<()> {
    for module in modules(own, ".weight_packed") {
        let mut take = |part: &str| own.remove(&format!("{module}.{part}"));
        let Some(codes) = take("weight_packed") else { continue };
        let missing =
            |part: &str| codes.error(Class::Quant, format_args!("{} is missing", quote(&format!("{module}.{part}"))));
        let scales = take("weight_scale").ok_or_else(|| missing("weight_scale"))?;
        let shape = take("weight_shape").ok_or_else(|| missing("weight_shape"))?;
        for part in ["weight_zero_point", "weight_g_idx", "weight"] {
            if let Some(tensor) = take(part) {
                return Err(tensor.error(Class::Quant, format_args!("not with {}", quote(&codes.name))));
            }
        }
        if shape.shape != [2] || !matches!(shape.dtype, Dtype::I32 | Dtype::I64) {
            let message = format_args!("expected two numbers in I32 or I64, found {} {:?}", shape.dtype, shape.shape);
            return Err(shape.error(Class::Quant, message));
        }
        let packed = together(affine, codes, Dtype::I32, scales, None, Some(shape))?;
        own.insert(weight(&module), packed);
    }
    Ok(())
}

fn mlx(own: &mut HashMap<String, Tensor>, affine: impl Fn(&str) -> Option<Affine>) -> Result<()> {
    for module in modules(own, ".biases") {
        if !own.contains_key(&format!("{module}.scales")) {
            let biases = own.remove(&format!("{module}.biases"));
            let error = biases.map(|biases| biases.error(Class::Quant, "biases without scales"));
            return error.map_or(Ok(()), Err);
        }
    }
    for module in modules(own, ".scales") {
        let Some(scales) = own.remove(&format!("{module}.scales")) else { continue };
        let Some(affine) = affine(&module) else {
            return Err(scales.error(Class::Quant, "config.json says that this module is not quantised"));
        };
        let biases = own.remove(&format!("{module}.biases"));
        let biases = biases.ok_or_else(|| scales.error(Class::Quant, "scales without biases"))?;
        let codes = own.remove(&weight(&module));
        let codes = codes.ok_or_else(|| scales.error(Class::Quant, "scales without a weight"))?;
        if (biases.dtype, &biases.shape) != (scales.dtype, &scales.shape) {
            let message = format_args!(
                "expected {} {:?} as of the scales, found {} {:?}",
                scales.dtype, scales.shape, biases.dtype, biases.shape
            );
            return Err(biases.error(Class::Quant, message));
        }
        let packed = together(affine, codes, Dtype::U32, scales, Some(biases), None)?;
        own.insert(weight(&module), packed);
    }
    Ok(())
}

/// Codes with their scales, as a tensor of weights.
fn together(
    affine: Affine,
    codes: Tensor,
    expected: Dtype,
    scales: Tensor,
    minima: Option<Tensor>,
    shape: Option<Tensor>,
) -> Result<Tensor> {
    let Affine { bits, group_size } = affine;
    if codes.dtype != expected {
        return Err(codes.error(Class::Quant, format_args!("expected {expected}, found {}", codes.dtype)));
    }
    if !scales.dtype.is_plain_float() {
        return Err(scales.error(Class::Quant, format_args!("expected BF16, F16 or F32, found {}", scales.dtype)));
    }
    let wrong = || {
        let message = format_args!(
            "{:?} words and scales of {:?}: not weights of {bits} bits in groups of {group_size}",
            codes.shape, scales.shape
        );
        codes.error(Class::Quant, message)
    };
    let (Some((words, rows)), Some((groups, scale_rows))) = (codes.shape.split_last(), scales.shape.split_last())
    else {
        return Err(wrong());
    };
    let columns = groups.checked_mul(u64::from(group_size)).ok_or_else(wrong)?;
    let row_bits = columns.checked_mul(u64::from(bits)).ok_or_else(wrong)?;
    if rows != scale_rows || words.checked_mul(32) != Some(row_bits) {
        return Err(wrong());
    }
    let dtype = Dtype::packed(bits).ok_or_else(wrong)?;
    let shape_of_weights = [rows, &[columns]].concat();
    let packed = Some(Box::new(ScaleTensors { group: group_size, scales, minima, shape }));
    Ok(Tensor { dtype, shape: shape_of_weights, packed, ..codes })
}

/// `mlp.switch_mlp.gate_proj` `[experts, out, in]` becomes a tensor for each expert.
fn unstack(file: &str, own: &mut HashMap<String, Tensor>) -> Result<()> {
    const STACK: &str = "mlp.switch_mlp.";
    let stacks: Vec<String> = own
        .keys()
        .filter(|name| names::split_layer(name).is_some_and(|(_, part)| part.starts_with(STACK)))
        .cloned()
        .collect();
    for name in stacks {
        let (Some(tensor), Some((layer, part))) = (own.remove(&name), names::split_layer(&name)) else { continue };
        let part = part.strip_prefix(STACK).and_then(|part| part.strip_suffix(".weight"));
        let (Some(part), &[experts, ..]) = (part, tensor.shape.as_slice()) else {
            return Err(tensor.error(Class::Quant, format_args!("expected weights [experts, out, in] in {file}")));
        };
        let experts = u32::try_from(experts).ok().filter(|experts| *experts <= lyn_shaders::route::MAX_EXPERTS);
        let experts = experts.ok_or_else(|| tensor.error(Class::Shape, "more experts than lyn runs"))?;
        for expert in 0..experts {
            own.insert(names::expert(layer, expert, part), tensor.slice(expert, experts));
        }
    }
    Ok(())
}
