//! How a layer's experts lie in memory, and what the kernels over them share.
//!
//! In: sizes of a layer. Out: places of weights for uploader, kernels and references; WGSL parts. Never: a dispatch.
//!
//! Experts fill shards, buffers of at most the binding limit; a shard holds whole experts. Each kernel runs once for each
//! shard and does the entries whose expert lies in it.

pub(crate) mod data;
pub(crate) mod reference;

use crate::encodings::{Encoding, Panels};
use crate::kernel::{Extent, Field, Slot, Variant, params};

/// WGSL: `Params` of the expert kernels, `find_expert`, `place_of`.
pub(crate) const SHARD: &str = include_str!("shard.wgsl");
/// WGSL: `tile_entries`.
pub(crate) const TILE: &str = include_str!("tile.wgsl");

/// Entries of one tile: the entries that share a decoded weight.
pub const TILE_ENTRIES: u32 = 8;

/// Tiles that `entries` entries over `experts` experts can need, the shared expert counted: an expert that has c > 0 of
/// them fills ⌈c / 8⌉ ≤ (c + 7) / 8.
#[must_use]
pub const fn max_tiles(entries: u32, experts: u32) -> u32 {
    let used = if entries < experts { entries } else { experts };
    (entries + (TILE_ENTRIES - 1) * used) / TILE_ENTRIES
}

/// Sizes and layout of a layer's experts.
///
/// One expert's gate_up matrix is the panels of gate, then those of up (`gate_up_panels` each); its down matrix is the
/// panels of `down_panels`. In a shard, routed expert e starts at `(e - first_expert)` times the words of a routed expert;
/// the shared expert, whose width may differ, follows the routed ones: at `experts` times these words. Scales lie
/// likewise, and a shard's gate_up and down weights are two pairs of slots. An expert is addressed here as a [`ExpertPlace`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpertPanels {
    /// How gate and up of all of them are packed.
    pub gate_up_encoding: &'static Encoding,
    /// How down of all of them is packed.
    pub down_encoding: &'static Encoding,
    /// Columns of gate and up, rows of down; a multiple of 4, as the widths.
    pub hidden_size: u32,
    /// Rows of gate and of up, columns of down, of a routed expert: `moe_intermediate_size`.
    pub width: u32,
    /// The same of the shared expert: `n_shared_experts · moe_intermediate_size`; 0 where there is none.
    pub shared_width: u32,
    /// Routed experts of the layer, all shards; as an expert's number it means the shared one.
    pub total_experts: u32,
}

/// Where in its shard an expert lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpertPlace {
    /// Routed experts before it in the shard.
    pub before: u32,
    /// Whether it is the shared expert.
    pub shared: bool,
}

impl ExpertPlace {
    /// Where the expert begins in its shard, counted in words, of which a routed expert has `each`.
    pub(crate) const fn first(self, each: u64) -> u64 {
        self.before as u64 * each
    }
}

impl ExpertPanels {
    /// Rows of gate and of up: the width of the shared or of a routed expert.
    #[must_use]
    pub const fn width_of(&self, shared: bool) -> u32 {
        if shared { self.shared_width } else { self.width }
    }

    /// Elements from one row of `hidden` to the next: the larger width.
    #[must_use]
    pub const fn hidden_stride(&self) -> u32 {
        if self.width > self.shared_width { self.width } else { self.shared_width }
    }

    /// One expert's gate panels, or its up panels: `[width, hidden_size]`.
    #[must_use]
    pub const fn gate_up_panels(&self, shared: bool) -> Panels {
        panels(self.gate_up_encoding, self.width_of(shared), self.hidden_size)
    }

    /// One expert's down panels: `[hidden_size, width]`.
    #[must_use]
    pub const fn down_panels(&self, shared: bool) -> Panels {
        panels(self.down_encoding, self.hidden_size, self.width_of(shared))
    }

    /// Words of one expert's gate and up together.
    #[must_use]
    pub const fn gate_up_words(&self, shared: bool) -> u64 {
        2 * self.gate_up_panels(shared).words()
    }

    /// Words of the scales of one expert's gate and up together; none for encodings without.
    pub(crate) const fn gate_up_scale_words(&self, shared: bool) -> u64 {
        2 * self.gate_up_panels(shared).scale_words()
    }

    /// Words of one expert's down.
    #[must_use]
    pub const fn down_words(&self, shared: bool) -> u64 {
        self.down_panels(shared).words()
    }

    /// Words of the scales of one expert's down; none for encodings without.
    pub(crate) const fn down_scale_words(&self, shared: bool) -> u64 {
        self.down_panels(shared).scale_words()
    }
}

/// One buffer of a layer's experts, for gate_up or for down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpertShard {
    /// Panels of its experts, see [`ExpertPanels`].
    pub weight: Slot,
    /// Their scales; a slot of one word where the encoding has none.
    pub scales: Slot,
    /// The first routed expert in it.
    pub first_expert: u32,
    /// Routed experts in it.
    pub experts: u32,
    /// Whether the shared expert follows them.
    pub has_shared: bool,
}

impl ExpertShard {
    /// Where an expert lies; nothing if in another shard.
    #[must_use]
    pub const fn place(&self, panels: &ExpertPanels, expert: u32) -> Option<ExpertPlace> {
        let shared = expert == panels.total_experts;
        if shared {
            return if self.has_shared { Some(ExpertPlace { before: self.experts, shared }) } else { None };
        }
        match expert.checked_sub(self.first_expert) {
            Some(before) if before < self.experts => Some(ExpertPlace { before, shared }),
            _ => None,
        }
    }
}

// Of gate_up and down, in both forms.
params! {
    hidden_size: u32, width: u32, shared_width: u32, hidden_stride: u32, sharing: u32, total_experts: u32,
    first_expert: u32, experts: u32, has_shared: u32, expert_pieces: u32, expert_scales: u32,
}

pub(crate) const PARAMS: &[Field] = Params::FIELDS;

/// The bytes of `params`, where `sharing` entries read one input row, for routed experts of `words` words of codes and `scales` of scales.
pub(crate) fn params(panels: &ExpertPanels, shard: &ExpertShard, sharing: u32, words: u64, scales: u64) -> Vec<u8> {
    let params = Params {
        hidden_size: panels.hidden_size,
        width: panels.width,
        shared_width: panels.shared_width,
        hidden_stride: panels.hidden_stride(),
        sharing,
        total_experts: panels.total_experts,
        first_expert: shard.first_expert,
        experts: shard.experts,
        has_shared: u32::from(shard.has_shared),
        expert_pieces: (words / 4) as u32,
        expert_scales: scales as u32,
    };
    params.bytes()
}

const fn panels(encoding: &'static Encoding, rows: u32, columns: u32) -> Panels {
    Panels { encoding, groups: 1, rows, columns, row_scales: false }
}

/// Text and constants of an expert kernel over such matrices.
pub(crate) fn variant(panels: &Panels) -> Variant {
    let mut variant = panels.encoding.panels_variant();
    variant.constants.push(("SCALE_LANES", panels.scale_lanes()));
    variant
}

/// Entries of a step, in buffers that have room for `capacity` tokens.
pub(crate) fn entries(extent: &Extent, capacity: u32, slots: u32) -> u32 {
    extent.tokens.min(capacity) * slots
}

/// The dispatch of an expert kernel over `row_tiles`: one group for each entry, or for each tile that there may be.
pub(crate) fn workgroups(panels: &ExpertPanels, row_tiles: u32, entries: u32, binned: bool) -> [u32; 3] {
    let experts = panels.total_experts + u32::from(panels.shared_width > 0);
    if binned { [max_tiles(entries, experts), row_tiles, 1] } else { [row_tiles, entries, 1] }
}
