//! The prose: one step of a model, recorded kernel by kernel. Mathematics: DeepSeek-V3.2's, and its relatives' by config.
//!
//! In: [`Dims`], weights and caches as slots, the shape of a step. Out: a [`Recording`].
//! Never: a device, a file, index arithmetic of a shader, or a branch on a model's name.

mod attention;
pub mod cache;
pub mod dims;
mod experts;
mod feed_forward;
mod indexer;
pub mod rope;
pub mod weights;

use lyn_shaders::Slot;
use lyn_shaders::advance::Advance;
use lyn_shaders::argmax::Argmax;
use lyn_shaders::embed::Embed;
use lyn_shaders::gather_rows::GatherRows;
use lyn_shaders::linear::{Linear, Rows};
use lyn_shaders::rms_norm::RmsNorm;

use crate::record::{Recorder, Recording, Taps};
pub use attention::queries_at_once;
pub use cache::{Cache, LayerCache};
pub use dims::Dims;
use indexer::Selected;
use weights::{FeedForward, LayerWeights, LinearWeights, Weights};

/// What a step's tensors are for all layers.
#[derive(Clone, Copy, Debug)]
pub struct StepSlots {
    /// `[1 + tokens, 4]`: what changes from step to step; see `common/step.wgsl`.
    pub step: Slot,
    /// `[sequences, pages_per_sequence]`
    pub pages: Slot,
    /// `[context, qk_rope_head_dim / 2, 2]`: cos and sin.
    pub rope_table: Slot,
    /// `[rows, vocab_size]`
    pub logits: Slot,
    /// `[rows, 2]`: the greedy choice and its flags.
    pub chosen: Slot,
}

/// What a recording is made for. Equal shapes share one recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Tokens at most.
    pub tokens: u32,
    /// Rows of logits at most.
    pub rows: u32,
    /// Positions at most: bounds score rows and attention splits.
    pub length: u32,
    /// Positions that attention reads for each token; none: all visible ones.
    pub index_topk: Option<u32>,
    /// Whether some token may see more than `index_topk` positions, so that the indexer has to choose; or its choice is
    /// looked at.
    pub select: bool,
    /// Whether the step chooses the likeliest ids and feeds them to the next step, on the GPU.
    pub greedy: bool,
    /// Which tensors can be read.
    pub taps: Taps,
}

/// Everything that a step is recorded from.
#[derive(Clone, Copy)]
pub struct Parts<'a> {
    /// Sizes.
    pub dims: &'a Dims,
    /// Weights.
    pub weights: &'a Weights,
    /// Caches.
    pub cache: &'a Cache,
    /// Tensors of the step.
    pub slots: StepSlots,
    /// What the recording is made for.
    pub shape: Shape,
}

/// One step: embedding, layers, final norm, head; with `greedy` also the choice of the next ids.
#[must_use]
pub fn step(parts: Parts<'_>) -> Recording {
    let Parts { dims, weights, slots, shape, .. } = parts;
    let mut recorder = Recorder::new(shape.taps);
    let r = &mut recorder;
    let x = r.scratch(elements(shape.tokens, dims.hidden_size)); // residual stream [tokens, hidden_size]
    embed(r, parts, x);
    let mut selected = None; // shared by the layers that own no indexer
    for (i, (layer, cache)) in (0..).zip(weights.layers.iter().zip(&parts.cache.layers)) {
        r.enter_layer(Some(i));
        decoder_layer(r, parts, layer, cache, x, &mut selected);
    }
    r.enter_layer(None);
    r.tap("final_input", x, Rows::Tokens, dims.hidden_size, 0..dims.hidden_size);
    let last = r.scratch(elements(shape.rows, dims.hidden_size)); // [rows, hidden_size]
    r.push(GatherRows { x, step: slots.step, y: last, dim: dims.hidden_size });
    head(r, parts, last, weights.norm, slots.logits, "");
    if shape.greedy {
        r.push(Argmax {
            logits: slots.logits,
            chosen: slots.chosen,
            vocab_size: dims.vocab_size,
            limit: dims.vocab_limit,
        });
        r.push(Advance { chosen: slots.chosen, step: slots.step });
    }
    recorder.finish()
}

/// One step of the multi-token-prediction module: `next` ids come through the step, `hidden` is the main model's output
/// after its final norm. Its logits predict the token after the next.
#[must_use]
pub fn predict_step(
    parts: Parts<'_>,
    module: &weights::PredictionWeights,
    cache: &LayerCache,
    hidden: Slot,
) -> Recording {
    let Parts { dims, slots, shape, .. } = parts;
    let size = dims.hidden_size;
    let mut recorder = Recorder::new(shape.taps);
    let r = &mut recorder;
    let embedded = r.scratch(elements(shape.tokens, size)); // [tokens, hidden_size]
    embed(r, parts, embedded);
    let both = r.scratch(elements(shape.tokens, 2 * size)); // [tokens, embedding | hidden]
    let norm = |x, weight, y_offset| RmsNorm {
        x,
        weight,
        y: both,
        rows: Rows::Tokens,
        dim: size,
        x_stride: size,
        x_offset: 0,
        y_stride: 2 * size,
        y_offset,
        eps: dims.rms_norm_eps,
    };
    r.push(norm(embedded, module.embedding_norm, 0));
    r.push(norm(hidden, module.hidden_norm, size));
    let x = r.scratch(elements(shape.tokens, size)); // residual stream [tokens, hidden_size]
    linear(r, shape, &module.projection, Input::new(both, 2 * size), x, Rows::Tokens, false);
    r.tap("mtp.eh_proj", x, Rows::Tokens, size, 0..size);
    r.enter_layer(Some(dims.num_hidden_layers));
    decoder_layer(r, parts, &module.layer, cache, x, &mut None);
    r.enter_layer(None);
    r.tap("mtp.output", x, Rows::Tokens, size, 0..size);
    let last = r.scratch(elements(shape.rows, size)); // [rows, hidden_size]
    r.push(GatherRows { x, step: slots.step, y: last, dim: size });
    head(r, parts, last, module.head_norm, slots.logits, "mtp.");
    recorder.finish()
}

/// x[t] = embedding of token t; each shard of the table writes its own ids' rows.
fn embed(r: &mut Recorder, Parts { dims, weights, slots, .. }: Parts<'_>, x: Slot) {
    for shard in &weights.embedding {
        r.push(Embed {
            step: slots.step,
            weight: shard.weight,
            scales: shard.scales,
            x,
            encoding: shard.encoding,
            first_row: shard.first_row,
            rows: shard.rows,
            hidden_size: dims.hidden_size,
        });
    }
}

/// One decoder layer: x += attention(norm(x)); x += feed_forward(norm(x)).
fn decoder_layer(
    r: &mut Recorder,
    parts: Parts<'_>,
    layer: &LayerWeights,
    cache: &LayerCache,
    x: Slot,
    selected: &mut Option<Selected>,
) {
    let size = parts.dims.hidden_size;
    r.tap("input", x, Rows::Tokens, size, 0..size);
    let normed = rms_norm(r, parts, x, layer.input_norm); // [tokens, hidden_size]
    r.tap("attn_norm", normed, Rows::Tokens, size, 0..size);
    attention::attention(r, parts, layer, cache, normed, x, selected);
    r.tap("after_attention", x, Rows::Tokens, size, 0..size);
    let normed = rms_norm(r, parts, x, layer.post_attention_norm); // [tokens, hidden_size]
    r.tap("ffn_norm", normed, Rows::Tokens, size, 0..size);
    match &layer.feed_forward {
        FeedForward::Dense(mlp) => feed_forward::dense(r, parts, mlp, normed, x),
        FeedForward::Experts(moe) => experts::routed_and_shared(r, parts, moe, normed, x),
    }
    r.tap("after_ffn", x, Rows::Tokens, size, 0..size);
}

/// logits = head(norm(x)), for the rows wanted.
fn head(
    r: &mut Recorder,
    Parts { dims, weights, shape, .. }: Parts<'_>,
    x: Slot,
    norm: Slot,
    logits: Slot,
    prefix: &str,
) {
    let size = dims.hidden_size;
    let normed = r.scratch(elements(shape.rows, size)); // [rows, hidden_size]
    r.push(RmsNorm {
        x,
        weight: norm,
        y: normed,
        rows: Rows::Outputs,
        dim: size,
        x_stride: size,
        x_offset: 0,
        y_stride: size,
        y_offset: 0,
        eps: dims.rms_norm_eps,
    });
    r.tap(&format!("{prefix}final_norm"), normed, Rows::Outputs, size, 0..size);
    linear(r, shape, &weights.head, Input::new(normed, size), logits, Rows::Outputs, false);
    r.tap(&format!("{prefix}logits"), logits, Rows::Outputs, weights.head.width, 0..dims.vocab_size);
}

/// A whole-row norm with the model's own eps.
fn rms_norm(r: &mut Recorder, Parts { dims, shape, .. }: Parts<'_>, x: Slot, weight: Slot) -> Slot {
    let y = r.scratch(elements(shape.tokens, dims.hidden_size));
    let size = dims.hidden_size;
    r.push(RmsNorm {
        x,
        weight,
        y,
        rows: Rows::Tokens,
        dim: size,
        x_stride: size,
        x_offset: 0,
        y_stride: size,
        y_offset: 0,
        eps: dims.rms_norm_eps,
    });
    y
}

/// The left operand of a linear layer: some columns of `[tokens, stride]`.
#[derive(Clone, Copy, Debug)]
struct Input {
    x: Slot,
    stride: u32,
    offset: u32,
    /// Columns from one row group of the weights to the next.
    group: u32,
}

impl Input {
    /// All columns.
    const fn new(x: Slot, stride: u32) -> Input {
        Input { x, stride, offset: 0, group: 0 }
    }
}

/// Tokens from which `linear_tile` beats `linear_vec`; both give the same bits.
const TILE_FROM: u32 = 4;

/// y (+)= weights · x; y is `[tokens, weights.width]`.
fn linear(
    r: &mut Recorder,
    shape: Shape,
    weights: &LinearWeights,
    input: Input,
    y: Slot,
    tokens: Rows,
    accumulate: bool,
) {
    let capacity = match tokens {
        Rows::Tokens => shape.tokens,
        Rows::Outputs => shape.rows,
    };
    for shard in &weights.shards {
        r.push(Linear {
            x: input.x,
            weight: shard.weight,
            scales: shard.scales,
            y,
            tokens,
            capacity,
            panels: shard.panels,
            x_stride: input.stride,
            x_offset: input.offset,
            x_group: input.group,
            y_stride: weights.width,
            y_offset: shard.offset,
            y_group: shard.panels.rows,
            accumulate,
            tiled: capacity >= TILE_FROM,
        });
    }
}

fn elements(rows: u32, width: u32) -> u64 {
    u64::from(rows) * u64::from(width)
}
