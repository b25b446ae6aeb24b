//! All tensors of a model in a device's memory, and the shapes of its steps.
//!
//! In: a layout, sizes, how many tokens, rows and positions there are to be. Out: slots by their place in the model, and the
//! shapes that recordings are made for.

use lyn_shaders::cache_row::CacheType;
use lyn_shaders::common::PageTable;
use lyn_shaders::{Extent, Slot};

use super::cache::{CacheRoom, CacheTensor, PAGE};
use super::dims::Dims;
use super::weights::Weights;
use crate::error::Result;
use crate::layout::Layout;
use crate::record::Taps;

/// How much room there is, and what attention reads.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Positions that a sequence can have.
    pub context: u32,
    /// Sequences at once.
    pub sequences: u32,
    /// Tokens of a step at most: longer prompts are read in chunks.
    pub chunk: u32,
    /// Rows of logits of a step at most: a row is as long as the vocabulary.
    pub rows: u32,
    /// Positions that attention reads for each token; none: all visible ones.
    pub index_topk: Option<u32>,
    /// How the cache is packed.
    pub cache_type: CacheType,
}

/// What a step's tensors are for all layers.
#[derive(Clone, Copy, Debug)]
pub struct StepSlots {
    /// `[1 + tokens, 4]`, then the pages: what changes from step to step; see `common/step.wgsl`.
    pub step: Slot,
    /// The pages in it.
    pub pages: PageTable,
    /// `[context, qk_rope_head_dim / 2, 2]`: cos and sin.
    pub(crate) rope_table: Slot,
    /// `[rows, vocab_size]`
    pub(crate) logits: Slot,
    /// `[rows, 2]`: the greedy choice and its flags.
    pub(crate) chosen: Slot,
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

/// Every tensor that outlives a step.
#[derive(Clone, Debug)]
pub struct Tensors {
    /// Weights, and what each layer's attention keeps of positions.
    pub weights: Weights,
    /// Tensors of a step that all layers share.
    pub slots: StepSlots,
}

/// Everything that a step is recorded from.
#[derive(Clone, Copy)]
pub(crate) struct Parts<'a> {
    /// Sizes.
    pub dims: &'a Dims,
    /// Tensors.
    pub tensors: &'a Tensors,
    /// What the recording is made for.
    pub shape: Shape,
}

impl Settings {
    /// Pages that a sequence can have.
    pub(crate) const fn pages_per_sequence(&self) -> u32 {
        self.context.div_ceil(PAGE)
    }

    /// Pages of all sequences.
    pub(crate) const fn pages(&self) -> u32 {
        self.pages_per_sequence().saturating_mul(self.sequences)
    }

    /// Tokens of a step at most.
    pub fn tokens(&self) -> u32 {
        self.chunk.max(self.sequences)
    }

    /// The shape for a step of this extent.
    pub fn shape(&self, dims: &Dims, extent: &Extent, greedy: bool, taps: Taps) -> Shape {
        let room = |count: u32, most: u32| count.max(1).checked_next_power_of_two().unwrap_or(most).min(most);
        let index_topk = self.index_topk.filter(|_| dims.indexer.is_some());
        Shape {
            tokens: room(extent.tokens, self.tokens()),
            rows: room(extent.rows, self.rows),
            length: self.pages_per_sequence() * PAGE,
            index_topk,
            // Scores are wanted even where every visible position is kept.
            select: index_topk.is_some_and(|k| extent.length > k || taps != Taps::None),
            greedy,
            taps,
        }
    }

    /// Every shape of an untraced step with as many rows as there can be, of short and of long sequences: what scratch is counted
    /// from.
    pub(crate) fn shapes<'a>(&'a self, dims: &'a Dims) -> impl Iterator<Item = Shape> + 'a {
        let powers = std::iter::successors(Some(1_u32), |tokens| tokens.checked_mul(2));
        let smaller = powers.take_while(|&tokens| tokens < self.tokens());
        smaller.chain([self.tokens()]).flat_map(|tokens| {
            [1, self.context].map(|length| {
                let extent = Extent { tokens, rows: self.rows.min(tokens), length };
                self.shape(dims, &extent, true, Taps::None)
            })
        })
    }
}

impl StepSlots {
    /// Memory for a step's own tensors.
    pub(crate) fn lay_out(layout: &mut Layout<'_>, dims: &Dims, weights: &Weights, settings: &Settings) -> StepSlots {
        let (rows, positions) = (u64::from(settings.rows), u64::from(settings.pages_per_sequence() * PAGE));
        StepSlots {
            step: layout.zeros(
                "step",
                (1 + u64::from(settings.tokens())) * 4 + u64::from(settings.pages()).next_multiple_of(4),
            ),
            pages: PageTable::behind(settings.tokens(), settings.pages_per_sequence()),
            rope_table: layout.zeros("rope table", positions * u64::from(dims.rope_pairs) * 2),
            logits: layout.zeros("logits", rows * u64::from(weights.head.width)),
            chosen: layout.zeros("chosen", rows * 2),
        }
    }
}

impl Tensors {
    /// Memory for weights, and beside them for the caches and steps of these settings.
    pub(crate) fn lay_out(
        layout: &mut Layout<'_>,
        dims: &Dims,
        settings: &Settings,
        prediction: bool,
    ) -> Result<Tensors> {
        let cache = CacheRoom { pages: settings.pages(), cache_type: settings.cache_type };
        let weights = Weights::lay_out(layout, dims, cache, prediction)?;
        let slots = StepSlots::lay_out(layout, dims, &weights, settings);
        Ok(Tensors { weights, slots })
    }

    /// The cache of the main model, layer by layer.
    pub(crate) fn cache(&self) -> impl Iterator<Item = CacheTensor> + '_ {
        self.weights.layers.iter().flat_map(|layer| layer.attention.cache())
    }
}
