//! The second half of an expert, in a decode form and a tile form with the same bits.

pub(crate) mod cases;
mod reference;

use crate::bound::Terms;
use crate::common;
use crate::experts::{self, ExpertPanels, ExpertShard};
use crate::kernel::{Extent, Interface, Kernel, Slot, Variant, floats_mut, read, write};

/// `y[i] = down_e hidden[i / sharing]` for each entry i whose expert e is in the shard; the rows of other experts stay as they are.
#[derive(Clone, Debug)]
pub struct ExpertDown {
    /// `[tokens · slots / sharing, hidden_stride]`, see [`ExpertPanels::hidden_stride`]
    pub hidden: Slot,
    /// `[tokens, slots]` of two words: expert, and the bits of its weight
    pub entries: Slot,
    /// The weights that this dispatch uses.
    pub shard: ExpertShard,
    /// `[tokens · slots, hidden_size]`
    pub y: Slot,
    /// Sizes and encoding of the layer's experts.
    pub panels: ExpertPanels,
    /// Entries of a token.
    pub slots: u32,
    /// Entries that read one row of `hidden`: 1, or those of a token.
    pub sharing: u32,
    /// `order` and `tiles` of [`ExpertBin`](crate::expert_bin::ExpertBin): the tile form, with the same bits, faster where
    /// experts have several entries. Without: one workgroup column for each entry.
    pub binned: Option<(Slot, Slot)>,
    /// Tokens that the buffers have room for; no step has more.
    pub capacity: u32,
}

pub(crate) static VEC: Interface = Interface {
    name: "expert_down",
    parts: &[include_str!("expert_down.wgsl"), experts::SHARD, common::CONTRACT_VEC],
    bindings: &[read("hidden"), read("entries"), read("weight"), read("scales"), write("y")],
    params: experts::PARAMS,
};

pub(crate) static TILE: Interface = Interface {
    name: "expert_down_tile",
    parts: &[include_str!("expert_down_tile.wgsl"), experts::SHARD, experts::TILE, common::CONTRACT_TILE],
    bindings: &[read("hidden"), read("order"), read("tiles"), read("weight"), read("scales"), write("y")],
    params: experts::PARAMS,
};

impl Kernel for ExpertDown {
    fn interface(&self) -> &'static Interface {
        if self.binned.is_some() { &TILE } else { &VEC }
    }

    fn variant(&self) -> Variant {
        experts::variant(&self.panels.down_panels(false))
    }

    fn slots(&self) -> Vec<Slot> {
        let ExpertShard { weight, scales, .. } = self.shard;
        match self.binned {
            Some((order, tiles)) => vec![self.hidden, order, tiles, weight, scales, self.y],
            None => vec![self.hidden, self.entries, weight, scales, self.y],
        }
    }

    fn params(&self) -> Vec<u8> {
        let (words, scales) = (self.panels.down_words(false), self.panels.down_scale_words(false));
        experts::params(&self.panels, &self.shard, self.sharing, words, scales)
    }

    fn workgroups(&self, extent: &Extent) -> [u32; 3] {
        let row_tiles = self.panels.hidden_size.div_ceil(128);
        let entries = experts::entries(extent, self.capacity, self.slots);
        experts::workgroups(&self.panels, row_tiles, entries, self.binned.is_some())
    }

    fn reference(&self, extent: &Extent, reads: &[&[u32]], writes: &mut [&mut [u32]]) {
        let y = floats_mut(writes[0]);
        reference::down(self, extent, reads, Terms::Products, |at, sum| y[at] = sum as f32);
    }
}
