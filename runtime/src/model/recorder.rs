//! The verbs of the prose: each takes columns, records a kernel, and returns the columns that it fills.

use lyn_shaders::Slot;
use lyn_shaders::linear::{Linear, Rows};
use lyn_shaders::rms_norm::RmsNorm;

use super::{Dims, Shape, StepSlots};
use crate::layout::LinearWeights;
use crate::record::{Columns, Recorder, Recording, Taps};

/// Tokens from which `linear_tile` beats `linear_vec`; both give the same bits.
const TILE_FROM: u32 = 4;
/// Rows that are made for each query, as scores and partial results, stay below this: then for fewer queries at a time.
const QUERY_SCRATCH_BYTES: u64 = 32 << 20;

/// Records one step of a model.
pub(super) struct StepRecorder<'a> {
    recorder: Recorder,
    pub(super) dims: &'a Dims,
    /// What the recording is made for.
    pub(super) shape: Shape,
    pub(super) slots: StepSlots,
}

impl<'a> StepRecorder<'a> {
    pub(super) fn new(dims: &'a Dims, shape: Shape, slots: StepSlots) -> StepRecorder<'a> {
        StepRecorder { recorder: Recorder::new(shape.taps), dims, shape, slots }
    }

    pub(super) fn finish(self) -> Recording {
        self.recorder.finish()
    }

    pub(super) fn push(&mut self, kernel: impl lyn_shaders::Kernel + 'static) {
        self.recorder.push(kernel);
    }

    /// Passes from here on belong to this layer.
    pub(super) fn enter_layer(&mut self, layer: Option<u32>) {
        self.recorder.enter_layer(layer);
    }

    /// Names columns as they are now, for goldens and traces.
    pub(super) fn tap(&mut self, name: &str, columns: Columns) {
        self.recorder.tap(name, columns);
    }

    /// Whether the weights of dense attention are wanted in this layer.
    pub(super) fn weighs(&self) -> bool {
        self.recorder.weighs()
    }

    /// Whether something is looked at: then each tensor is made as a whole.
    pub(super) fn is_tapped(&self) -> bool {
        self.shape.taps != Taps::None
    }

    /// Rows that a tensor of the step has room for.
    pub(super) fn capacity(&self, rows: Rows) -> u32 {
        match rows {
            Rows::Tokens => self.shape.tokens,
            Rows::Outputs => self.shape.rows,
        }
    }

    /// A tensor of the step `[rows, width]`.
    pub(super) fn tensor(&mut self, rows: Rows, width: u32) -> Columns {
        Columns::whole(self.scratch(self.capacity(rows), width), rows, width)
    }

    /// A tensor of the step `[tokens, width]`.
    pub(super) fn tokens(&mut self, width: u32) -> Columns {
        self.tensor(Rows::Tokens, width)
    }

    /// Memory for `rows` rows of `width` words.
    pub(super) fn scratch(&mut self, rows: u32, width: u32) -> Slot {
        self.recorder.scratch(u64::from(rows) * u64::from(width))
    }

    /// norm(x) · weight, with the model's own eps.
    pub(super) fn norm(&mut self, x: Columns, weight: Slot) -> Columns {
        self.norm_with(x, weight, self.dims.rms_norm_eps)
    }

    /// norm(x) · weight.
    pub(super) fn norm_with(&mut self, x: Columns, weight: Slot, eps: f32) -> Columns {
        let y = self.tensor(x.rows, x.width);
        self.norm_into(x, weight, y, eps);
        y
    }

    /// y = norm(x) · weight.
    pub(super) fn norm_into(&mut self, x: Columns, weight: Slot, y: Columns, eps: f32) {
        self.push(RmsNorm {
            x: x.slot,
            weight,
            y: y.slot,
            rows: x.rows,
            dim: x.width,
            x_stride: x.stride,
            x_offset: x.first,
            y_stride: y.stride,
            y_offset: y.first,
            eps,
        });
    }

    /// weights · x, `[rows, weights.width]`.
    pub(super) fn linear(&mut self, x: Columns, weights: &LinearWeights) -> Columns {
        let y = self.tensor(x.rows, weights.width);
        self.linear_into(x, weights, y);
        y
    }

    /// y = weights · x.
    pub(super) fn linear_into(&mut self, x: Columns, weights: &LinearWeights, y: Columns) {
        self.multiply(x, weights, y, None, false);
    }

    /// y += weights · x.
    pub(super) fn add_linear(&mut self, x: Columns, weights: &LinearWeights, y: Columns) {
        self.multiply(x, weights, y, None, true);
    }

    /// y = weights · x, where a row group of the weights takes the first of every `x_group` columns of x.
    pub(super) fn linear_of_groups(&mut self, x: Columns, weights: &LinearWeights, x_group: u32) -> Columns {
        let y = self.tensor(x.rows, weights.width);
        self.multiply(x, weights, y, Some(x_group), false);
        y
    }

    /// Row groups of the weights, where there are several, take neighbouring columns of x each.
    fn multiply(&mut self, x: Columns, weights: &LinearWeights, y: Columns, x_group: Option<u32>, accumulate: bool) {
        let capacity = self.capacity(x.rows);
        for shard in &weights.shards {
            self.push(Linear {
                x: x.slot,
                weight: shard.weight,
                scales: shard.scales,
                y: y.slot,
                tokens: x.rows,
                capacity,
                panels: shard.panels,
                x_stride: x.stride,
                x_offset: x.first,
                x_group: if shard.panels.groups > 1 { x_group.unwrap_or(shard.panels.columns) } else { 0 },
                y_stride: y.stride,
                y_offset: y.first + shard.offset,
                y_group: shard.panels.rows,
                accumulate,
                tiled: capacity >= TILE_FROM,
            });
        }
    }
}

/// Queries whose scratch of `words` each stays within 32 MiB.
pub(crate) fn queries_at_once(tokens: u32, words: u64) -> u32 {
    let fit = QUERY_SCRATCH_BYTES / (words * 4).max(1);
    tokens.min(u32::try_from(fit).unwrap_or(u32::MAX)).max(1)
}
