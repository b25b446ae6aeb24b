//! Names of a GGUF file in lyn's.
//!
//! `blk.3.attn_q_a.weight` is `model.layers.3.self_attn.q_a_proj.weight`; a tensor of stacked experts becomes one entry per expert.

use std::collections::HashMap;
use std::sync::Arc;

use super::header::{Entry, Header};
use crate::checkpoint::names;
use crate::checkpoint::stored::{Tensor, tensor_error};
use crate::error::{Class, Result};

/// Parts of a layer that keep their shape: theirs, ours.
const PARTS: [(&str, &str); 29] = [
    ("attn_norm", "input_layernorm"),
    ("ffn_norm", "post_attention_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_q_a", "self_attn.q_a_proj"),
    ("attn_q_a_norm", "self_attn.q_a_layernorm"),
    ("attn_q_b", "self_attn.q_b_proj"),
    ("attn_kv_a_mqa", "self_attn.kv_a_proj_with_mqa"),
    ("attn_kv_a_norm", "self_attn.kv_a_layernorm"),
    ("attn_kv_b", "self_attn.kv_b_proj"),
    ("attn_k_b", "self_attn.embed_q"),
    ("attn_v_b", "self_attn.unembed_out"),
    ("attn_output", "self_attn.o_proj"),
    ("indexer.attn_q_b", "self_attn.indexer.wq_b"),
    ("indexer.attn_k", "self_attn.indexer.wk"),
    ("indexer.k_norm", "self_attn.indexer.k_norm"),
    ("indexer.proj", "self_attn.indexer.weights_proj"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
    ("ffn_gate_inp", "mlp.gate"),
    ("ffn_gate_shexp", "mlp.shared_experts.gate_proj"),
    ("ffn_up_shexp", "mlp.shared_experts.up_proj"),
    ("ffn_down_shexp", "mlp.shared_experts.down_proj"),
    ("nextn.eh_proj", "eh_proj"),
    ("nextn.enorm", "enorm"),
    ("nextn.hnorm", "hnorm"),
    ("nextn.shared_head_norm", "shared_head.norm"),
    ("nextn.embed_tokens", "embed_tokens"),
    ("nextn.shared_head_head", "shared_head.head"),
];

/// Stacked experts: theirs, and ours one below the other in each expert.
const STACKED: [(&str, &[&str]); 4] = [
    ("ffn_gate_exps", &["gate_proj"]),
    ("ffn_up_exps", &["up_proj"]),
    ("ffn_down_exps", &["down_proj"]),
    ("ffn_gate_up_exps", &["gate_proj", "up_proj"]),
];

/// Where a tensor of lyn's name lies in such a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It is a tensor of its own.
    Whole(String),
    /// It is an expert of this tensor.
    Expert(String, u32),
}

/// The inverse of what reading does; none for a name that no file has.
pub(crate) fn place(name: &str) -> Option<Place> {
    match name {
        names::EMBED => return Some(Place::Whole("token_embd.weight".to_owned())),
        names::NORM => return Some(Place::Whole("output_norm.weight".to_owned())),
        names::HEAD => return Some(Place::Whole("output.weight".to_owned())),
        _ => {}
    }
    let (layer, part) = names::split_layer(name)?;
    if name == names::router_bias(layer) {
        return Some(Place::Whole(format!("blk.{layer}.exp_probs_b.bias")));
    }
    let (part, suffix) = part.rsplit_once('.')?;
    if let Some((expert, part)) = part.strip_prefix("mlp.experts.").and_then(|rest| rest.split_once('.')) {
        let (theirs, _) = STACKED.iter().find(|(_, ours)| *ours == [part])?;
        return Some(Place::Expert(format!("blk.{layer}.{theirs}.{suffix}"), expert.parse().ok()?));
    }
    let (theirs, _) = PARTS.iter().find(|(_, ours)| *ours == part)?;
    Some(Place::Whole(format!("blk.{layer}.{theirs}.{suffix}")))
}

/// What such a file calls one of lyn's tensors, and which expert of it that is.
pub(super) fn stored(name: &str) -> (String, Option<u32>) {
    match place(name) {
        Some(Place::Whole(name)) => (name, None),
        Some(Place::Expert(name, expert)) => (name, Some(expert)),
        None => (name.to_owned(), None),
    }
}

/// Adds a file's tensors by lyn's names.
///
/// # Errors
/// [`Class::Dup`]: in another file too. [`Class::Shape`]: stacked experts that cannot be told apart.
pub(super) fn add(header: &Header, tensors: &mut HashMap<String, Tensor>) -> Result<()> {
    for entry in &header.tensors {
        for (name, tensor) in renamed(&header.file, entry)? {
            if let Some(first) = tensors.get(&name) {
                let message = format!("also in {}", crate::error::quote(&first.file));
                return Err(tensor_error(Class::Dup, &header.file, &entry.name, message));
            }
            tensors.insert(name, tensor);
        }
    }
    Ok(())
}

fn renamed(file: &Arc<str>, entry: &Entry) -> Result<Vec<(String, Tensor)>> {
    let whole = |name: String| {
        let Entry { name: stored, shape, dtype, offset, bytes } = entry;
        let tensor = Tensor {
            name: stored.clone(),
            file: file.clone(),
            dtype: *dtype,
            shape: shape.clone(),
            offset: *offset,
            bytes: *bytes,
            packed: None,
        };
        vec![(name, tensor)]
    };
    match entry.name.as_str() {
        "token_embd.weight" => return Ok(whole(names::EMBED.to_owned())),
        "output_norm.weight" => return Ok(whole(names::NORM.to_owned())),
        "output.weight" => return Ok(whole(names::HEAD.to_owned())),
        _ => {}
    }
    // What is not known keeps its name, and `tensors.rs` says that nobody asked for it.
    let unknown = || Ok(whole(entry.name.clone()));
    let Some((layer, part)) = entry.name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) else {
        return unknown();
    };
    let Ok(layer) = layer.parse::<u32>() else { return unknown() };
    // Some old files leave the suffix out.
    if matches!(part, "exp_probs_b" | "exp_probs_b.bias") {
        return Ok(whole(names::router_bias(layer)));
    }
    if part == "indexer.k_norm.bias" {
        return Ok(whole(names::indexer_norm_bias(layer)));
    }
    let Some(part) = part.strip_suffix(".weight") else { return unknown() };
    if let Some((_, ours)) = PARTS.iter().find(|(theirs, _)| *theirs == part) {
        return Ok(whole(names::layer(layer, ours)));
    }
    let Some((_, parts)) = STACKED.iter().find(|(theirs, _)| *theirs == part) else { return unknown() };
    stacked(file, entry, layer, parts)
}

/// One tensor for each expert and part: `[experts, parts · rows, columns]` as it lies.
fn stacked(file: &Arc<str>, entry: &Entry, layer: u32, parts: &[&str]) -> Result<Vec<(String, Tensor)>> {
    let wrong = |message: String| tensor_error(Class::Shape, file, &entry.name, message);
    let &[experts, rows, columns] = entry.shape.as_slice() else {
        return Err(wrong(format!("expected [experts, out, in], found the shape {:?}", entry.shape)));
    };
    let count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
    let experts = u32::try_from(experts).ok().filter(|experts| *experts <= lyn_shaders::route::MAX_EXPERTS);
    let experts = experts.ok_or_else(|| wrong(format!("more experts than lyn runs: {:?}", entry.shape)))?;
    let part_rows = rows.checked_div(count.into()).filter(|_| rows.is_multiple_of(count.into()));
    let part_rows = part_rows
        .ok_or_else(|| wrong(format!("expected {count} equal parts one below the other, found {rows} rows")))?;
    // Rows consist of whole blocks, so that each expert's part begins with one.
    let whole = Tensor {
        name: entry.name.clone(),
        file: file.clone(),
        dtype: entry.dtype,
        shape: vec![experts.into(), count.into(), part_rows, columns],
        offset: entry.offset,
        bytes: entry.bytes,
        packed: None,
    };
    let mut tensors = Vec::new();
    for expert in 0..experts {
        let own = whole.slice(expert, experts);
        for (place, part) in (0..).zip(parts) {
            tensors.push((names::expert(layer, expert, part), own.slice(place, count)));
        }
    }
    Ok(tensors)
}
