//! Binning: the entries of a step by expert, for the tile forms of the expert kernels.

pub(crate) mod cases;
pub(crate) mod reference;

use crate::kernel::{Extent, Interface, Kernel, Slot, params, read, write};

/// `order` and `tiles` of a step's entries: entry indices by expert, ascending within an expert, and tiles of at most
/// [`TILE_ENTRIES`](crate::experts::TILE_ENTRIES) neighbours in it that share an expert, experts ascending.
#[derive(Clone, Debug)]
pub struct ExpertBin {
    /// `[tokens, slots]` of two words: expert, and the bits of its weight
    pub entries: Slot,
    /// The step record, for its count of tokens
    pub step: Slot,
    /// `[tokens · slots]` entry indices
    pub order: Slot,
    /// `[1 + max_tiles]` of four words: (number of tiles, 0, 0, 0), then (expert, first in `order`, count, 0); see
    /// [`max_tiles`](crate::experts::max_tiles). Those beyond the number are left as they are.
    pub tiles: Slot,
    /// Entries of a token.
    pub slots: u32,
    /// Experts there are, the shared one included: at most 513.
    pub total_experts: u32,
}

params! { slots: u32, experts: u32 }

pub(crate) static INTERFACE: Interface = Interface {
    name: "expert_bin",
    parts: &[include_str!("expert_bin.wgsl")],
    bindings: &[read("entries"), read("step"), write("order"), write("tiles")],
    params: Params::FIELDS,
};

impl Kernel for ExpertBin {
    fn interface(&self) -> &'static Interface {
        &INTERFACE
    }

    fn slots(&self) -> Vec<Slot> {
        vec![self.entries, self.step, self.order, self.tiles]
    }

    fn params(&self) -> Vec<u8> {
        Params { slots: self.slots, experts: self.total_experts }.bytes()
    }

    fn workgroups(&self, extent: &Extent) -> [u32; 3] {
        [extent.tokens.min(1), 1, 1]
    }

    fn reference(&self, extent: &Extent, reads: &[&[u32]], writes: &mut [&mut [u32]]) {
        let entries = reads[0].chunks_exact(2).take((extent.tokens * self.slots) as usize);
        let (order, tiles) = reference::bin(&entries.map(|entry| entry[0]).collect::<Vec<_>>());
        writes[0][..order.len()].copy_from_slice(&order);
        writes[1][..4].copy_from_slice(&[tiles.len() as u32, 0, 0, 0]);
        for (words, [expert, first, count]) in writes[1][4..].chunks_exact_mut(4).zip(tiles) {
            words.copy_from_slice(&[expert, first, count, 0]);
        }
    }
}
