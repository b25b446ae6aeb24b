//! Which tensors a file gets, and which stored rows each consists of.

use super::encode::BlockType;
use super::keys::Architecture;
use super::mix::{Mix, Traits};
use super::rows;
use crate::checkpoint::gguf::{Place, place};
use crate::checkpoint::names::{self, Expected};
use crate::checkpoint::{Checkpoint, TensorRole};
use crate::error::{Code, Error, Result};

/// A tensor of the file.
#[derive(Debug)]
pub(super) struct Target {
    /// Its name there.
    pub(super) name: String,
    /// Slowest first.
    pub(super) shape: Vec<u64>,
    pub(super) kind: BlockType,
    /// What lies in it, one below the other.
    pub(super) parts: Vec<Part>,
    /// From the start of the data.
    pub(super) offset: u64,
}

/// Rows of one stored tensor.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// By lyn's name.
    pub(super) tensor: String,
    /// The first row.
    pub(super) first: u64,
    /// How many rows.
    pub(super) rows: u64,
    /// Columns become rows.
    pub(super) is_transposed: bool,
}

impl Target {
    pub(super) fn columns(&self) -> u64 {
        self.shape.last().copied().unwrap_or(1)
    }

    pub(super) fn row_bytes(&self) -> u64 {
        self.kind.row_bytes(self.columns()).unwrap_or(0)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.shape.iter().rev().skip(1).product::<u64>() * self.row_bytes()
    }
}

/// Modules of multi-token prediction that the file gets.
pub(super) fn prediction_layers(checkpoint: &Checkpoint) -> u32 {
    match Architecture::of(&checkpoint.config).has_prediction {
        true => checkpoint.prediction_layers,
        false => 0,
    }
}

/// All tensors, in the order of their use.
pub(super) fn targets(checkpoint: &Checkpoint, mix: &Mix) -> Result<Vec<Target>> {
    let config = &checkpoint.config;
    let main = config.num_hidden_layers;
    let prediction = main..main + prediction_layers(checkpoint);
    let expected =
        names::expected(config).chain(prediction.flat_map(|layer| names::expected_prediction(config, layer)));
    let model = Traits {
        layers: main + prediction_layers(checkpoint),
        is_tied: config.tie_word_embeddings,
        has_experts: config.layers.iter().any(|layer| layer.moe),
    };
    let mut targets: Vec<Target> = vec![];
    for expected in expected {
        for (name, shape, part) in placed(checkpoint, expected)? {
            match targets.iter_mut().rev().find(|target| target.name == name) {
                // The next expert of a stack.
                Some(stack) => {
                    stack.parts.push(part);
                    stack.shape[0] += 1;
                }
                None => {
                    let columns = shape.last().copied().unwrap_or(1);
                    let kind = match shape.len() {
                        1 => BlockType::F32,
                        _ => mix.matrix(&name, model).that_divides(columns),
                    };
                    targets.push(Target { name, shape, kind, parts: vec![part], offset: 0 });
                }
            }
        }
    }
    let mut offset = 0;
    for target in &mut targets {
        target.offset = offset;
        offset += target.bytes().next_multiple_of(super::container::ALIGNMENT);
    }
    Ok(targets)
}

type Placed = (String, Vec<u64>, Part);

/// Where an expected tensor goes: its name in the file, its shape there, and what is read for it.
fn placed(checkpoint: &Checkpoint, expected: Expected) -> Result<Vec<Placed>> {
    let Expected { name, shape, role } = expected;
    if let Some(layer) = name.strip_suffix(".self_attn.kv_b_proj.weight") {
        return keys_and_values(checkpoint, &name, layer);
    }
    let unknown = || Error::new(Code::Internal, format!("tensor {name} has no name in GGUF"));
    let columns = shape.last().copied().unwrap_or(1);
    let rows = if role == TensorRole::Vector { 1 } else { shape.iter().product::<u64>() / columns.max(1) };
    let part = Part { tensor: name.clone(), first: 0, rows, is_transposed: false };
    Ok(match place(&name).ok_or_else(unknown)? {
        Place::Whole(name) => vec![(name, shape, part)],
        Place::Expert(name, _) => vec![(name, [&[1], shape.as_slice()].concat(), part)],
    })
}

/// `kv_b_proj` as two: of each head the rows of its keys transposed, and the rows of its values.
fn keys_and_values(checkpoint: &Checkpoint, name: &str, layer: &str) -> Result<Vec<Placed>> {
    let config = &checkpoint.config;
    let [heads, rank, nope, value] =
        [config.num_attention_heads, config.kv_lora_rank, config.qk_nope_head_dim, config.v_head_dim].map(u64::from);
    let layer = layer.strip_prefix("model.layers.").unwrap_or(layer);
    let [keys, values] = ["attn_k_b", "attn_v_b"].map(|part| format!("blk.{layer}.{part}.weight"));
    let (key_shape, value_shape) = (vec![heads, rank, nope], vec![heads, value, rank]);
    if !checkpoint.has(name) {
        let whole = |part: &str, rows| {
            let tensor = format!("model.layers.{layer}.self_attn.{part}.weight");
            Part { tensor, first: 0, rows, is_transposed: false }
        };
        return Ok(vec![
            (keys, key_shape, whole("embed_q", heads * rank)),
            (values, value_shape, whole("unembed_out", heads * value)),
        ]);
    }
    let stored = checkpoint.tensor(name)?;
    if rows::columns(stored) != rank {
        return Err(Error::new(Code::Internal, format!("{name}: its shape passed the check")));
    }
    let of_head = |head: u64, first: u64, rows: u64, is_transposed| Part {
        tensor: name.to_owned(),
        first: head * (nope + value) + first,
        rows,
        is_transposed,
    };
    // Heads are put one below the other like experts, each a row of the outermost dimension.
    let mut placed = vec![];
    for head in 0..heads {
        placed.push((keys.clone(), vec![1, rank, nope], of_head(head, 0, nope, true)));
    }
    for head in 0..heads {
        placed.push((values.clone(), vec![1, value, rank], of_head(head, nope, value, false)));
    }
    Ok(placed)
}
