//! The prose: one step of a model, recorded kernel by kernel. Mathematics: DeepSeek-V3.2's, and its relatives' by config.
//!
//! In: [`Dims`], weights and caches as slots, the shape of a step. Out: a [`Recording`].
//! Never: a device, a file, index arithmetic of a shader, or a branch on a model's name.

pub(crate) mod attention;
pub(crate) mod cache;
pub(crate) mod dims;
mod experts;
mod feed_forward;
mod recorder;
pub(crate) mod rope;
pub(crate) mod tensors;
pub(crate) mod weights;

use lyn_shaders::Slot;
use lyn_shaders::advance::Advance;
use lyn_shaders::argmax::Argmax;
use lyn_shaders::embed::Embed;
use lyn_shaders::gather_rows::GatherRows;
use lyn_shaders::rms_norm::Rows;

use crate::layout::TableShard;
use crate::record::{ColumnRange, Columns, Recording};
use attention::Shared;
pub(crate) use dims::Dims;
use recorder::StepRecorder;
pub(crate) use recorder::queries_at_once;
pub(crate) use tensors::{Parts, Settings, Tensors};
pub(crate) use tensors::{Shape, StepSlots};
use weights::{FeedForward, LayerWeights, PredictionWeights, Weights};

/// One step: embedding, layers, final norm, head; with `greedy` also the choice of the next ids.
pub(crate) fn step(Parts { dims, tensors, shape }: Parts<'_>) -> Recording {
    let Tensors { weights, slots } = tensors;
    let mut recorder = StepRecorder::new(dims, shape, *slots);
    let r = &mut recorder;
    let x = embed(r, &weights.embedding); // residual stream [tokens, hidden_size]
    let mut shared = Shared::default();
    for (i, layer) in (0..).zip(&weights.layers) {
        r.enter_layer(Some(i));
        decoder_layer(r, layer, x, &mut shared);
    }
    r.enter_layer(None);
    r.tap("final_input", x);
    head(r, weights, weights.norm, x, "");
    if shape.greedy {
        choose_next(r);
    }
    recorder.finish()
}

/// One step of the multi-token-prediction module: `next` ids come through the step, `hidden` is the main model's output
/// after its final norm. Its logits predict the token after the next.
pub(crate) fn predict_step(
    Parts { dims, tensors, shape }: Parts<'_>,
    module: &PredictionWeights,
    hidden: Slot,
) -> Recording {
    let Tensors { weights, slots } = tensors;
    let size = dims.hidden_size;
    let mut recorder = StepRecorder::new(dims, shape, *slots);
    let r = &mut recorder;
    let embedded = embed(r, &weights.embedding); // [tokens, hidden_size]
    let both = r.tokens(2 * size); // [tokens, embedding | hidden]
    let [left, right] = [0, size].map(|first| both.part(ColumnRange { first, width: size }));
    r.norm_into(embedded, module.embedding_norm, left, dims.rms_norm_eps);
    r.norm_into(Columns::whole(hidden, Rows::Tokens, size), module.hidden_norm, right, dims.rms_norm_eps);
    let x = r.linear(both, &module.projection); // residual stream [tokens, hidden_size]
    r.tap("mtp.eh_proj", x);
    r.enter_layer(Some(dims.num_hidden_layers));
    decoder_layer(r, &module.layer, x, &mut Shared::default());
    r.enter_layer(None);
    r.tap("mtp.output", x);
    head(r, weights, module.head_norm, x, "mtp.");
    recorder.finish()
}

/// One decoder layer: x += attention(norm(x)); x += feed_forward(norm(x)).
fn decoder_layer(r: &mut StepRecorder<'_>, layer: &LayerWeights, x: Columns, shared: &mut Shared) {
    r.tap("input", x);
    let normed = r.norm(x, layer.input_norm); // [tokens, hidden_size]
    r.tap("attn_norm", normed);
    layer.attention.record(r, normed, x, shared);
    r.tap("after_attention", x);
    let normed = r.norm(x, layer.post_attention_norm); // [tokens, hidden_size]
    r.tap("ffn_norm", normed);
    match &layer.feed_forward {
        FeedForward::Dense(mlp) => feed_forward::dense(r, mlp, normed, x),
        FeedForward::Experts(moe) => experts::routed_and_shared(r, moe, normed, x),
    }
    r.tap("after_ffn", x);
}

/// x[t] = embedding of token t; each shard of the table writes its own ids' rows.
fn embed(r: &mut StepRecorder<'_>, table: &[TableShard]) -> Columns {
    let x = r.tokens(r.dims.hidden_size);
    for shard in table {
        r.push(Embed {
            step: r.slots.step,
            weight: shard.weight,
            scales: shard.scales,
            x: x.slot,
            encoding: shard.encoding,
            first_row: shard.first_row,
            rows: shard.rows,
            hidden_size: x.width,
        });
    }
    x
}

/// logits = head(norm(x)), for the rows wanted; `prefix` goes before the names of what is tapped.
fn head(r: &mut StepRecorder<'_>, weights: &Weights, norm: Slot, x: Columns, prefix: &str) {
    let last = gather_rows(r, x); // [rows, hidden_size]
    let normed = r.norm(last, norm); // [rows, hidden_size]
    r.tap(&format!("{prefix}final_norm"), normed);
    let logits = Columns::whole(r.slots.logits, Rows::Outputs, weights.head.width);
    r.linear_into(normed, &weights.head, logits); // [rows, vocab_size]
    r.tap(&format!("{prefix}logits"), logits.part(ColumnRange { first: 0, width: r.dims.vocab_size }));
}

/// The rows of the tokens whose logits are wanted.
fn gather_rows(r: &mut StepRecorder<'_>, x: Columns) -> Columns {
    let y = r.tensor(Rows::Outputs, x.width);
    r.push(GatherRows { x: x.slot, step: r.slots.step, y: y.slot, dim: x.width });
    y
}

/// The likeliest ids, which become the next step's tokens.
fn choose_next(r: &mut StepRecorder<'_>) {
    let StepSlots { step, logits, chosen, .. } = r.slots;
    r.push(Argmax { logits, chosen, vocab_size: r.dims.vocab_size, limit: r.dims.vocab_limit });
    r.push(Advance { chosen, step });
}
