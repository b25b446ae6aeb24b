//! The checkpoint that a config.json speaks of, without a file of weights: names, shapes and types as its publisher has them.
//!
//! In: a config. Out: the tensors that would be stored, for `tensors.rs` to claim as it claims those of a container: so a plan can be
//! made before anything is downloaded. Never: a byte of a weight; whoever reads one is refused.

use std::collections::HashMap;
use std::sync::Arc;

use super::config::{Affine, GenerationDefaults, ModelConfig, Quantization};
use super::dtype::Dtype;
use super::names::{self, Expected, TensorRole};
use super::safetensors::{SINGLE_FILE, TERMS};
use super::stored::{Stored, Tensor};
use crate::error::{Class, Error, Result};

/// Most weights that are listed: three times as many as Kimi-K2 has.
const WEIGHTS: usize = 1 << 18;

/// What is stored, by this config.
///
/// # Errors
/// [`Class::Quant`]: packed weights of which only the files say where they are. [`Class::Limit`]: more weights than any model has.
pub(super) fn stored(in_file: &str, config: ModelConfig) -> Result<Stored> {
    if matches!(config.quantization, Some(Quantization::Mlx { .. })) {
        let message = "quantization: which weights MLX has packed, only the files say";
        return Err(Error::file(Class::Quant, in_file, message).with_help("give the folder with the weights"));
    }
    let prediction = config.num_hidden_layers..config.layers_with_prediction();
    let prediction = prediction.flat_map(|layer| names::expected_prediction(&config, layer));
    // A file that is not there: who reads a weight is told so.
    let file: Arc<str> = SINGLE_FILE.into();
    let mut list = Tensors { prefix: config.tensor_prefix, file: file.clone(), tensors: HashMap::new() };
    for (place, expected) in names::expected(&config).chain(prediction).enumerate() {
        if place == WEIGHTS {
            let message = format!("expected at most {WEIGHTS} weights, found more");
            return Err(Error::file(Class::Limit, in_file, message));
        }
        list.weight(&config, &expected);
    }
    let tensors = list.tensors;
    Ok(Stored { config, generation: GenerationDefaults::default(), file, terms: TERMS, tensors })
}

struct Tensors {
    prefix: &'static str,
    file: Arc<str>,
    tensors: HashMap<String, Tensor>,
}

impl Tensors {
    /// What is stored for a weight.
    fn weight(&mut self, config: &ModelConfig, weight: &Expected) {
        let Expected { name, shape, role } = weight;
        match &config.quantization {
            Some(Quantization::Fp8 { .. }) if *role == TensorRole::Matrix => {
                self.add(&names::scale(name), names::scale_shape(shape), Dtype::F32);
                self.add(name, shape.clone(), Dtype::F8_E4M3);
            }
            // What is packed, only the files say; those that Moonshot publishes pack the routed experts.
            Some(Quantization::PackQuantized(Affine { bits, group_size })) if name.contains(".mlp.experts.") => {
                let per_row = |of: u64| {
                    let mut shape = shape.clone();
                    if let Some(columns) = shape.last_mut() {
                        *columns = columns.div_ceil(of);
                    }
                    shape
                };
                let codes_of_word = 32u32.checked_div(*bits).unwrap_or(1).max(1);
                self.add(&format!("{name}_packed"), per_row(codes_of_word.into()), Dtype::I32);
                self.add(&format!("{name}_scale"), per_row((*group_size).into()), Dtype::BF16);
                self.add(&format!("{name}_shape"), vec![2], Dtype::I32);
            }
            // The bias that chooses experts is the one that publishers keep wide.
            _ if name.ends_with("e_score_correction_bias") => self.add(name, shape.clone(), Dtype::F32),
            _ => self.add(name, shape.clone(), Dtype::BF16),
        }
    }

    fn add(&mut self, name: &str, shape: Vec<u64>, dtype: Dtype) {
        let elements = shape.iter().fold(1u64, |all, &size| all.saturating_mul(size));
        let name = format!("{}{name}", self.prefix);
        let bytes = dtype.bytes(elements).unwrap_or(u64::MAX);
        let tensor =
            Tensor { name: name.clone(), file: self.file.clone(), dtype, shape, offset: 0, bytes, packed: None };
        self.tensors.insert(name, tensor);
    }
}
