//! The first half of an expert: gate, up and activation, in a decode form and a tile form with the same bits.

pub(crate) mod cases;
mod reference;

use crate::bound::Terms;
use crate::common;
use crate::experts::{self, ExpertPanels, ExpertShard};
use crate::kernel::{Extent, Interface, Kernel, Slot, Variant, floats_mut, read, write};

/// `hidden[i] = silu(gate_e x[t]) · (up_e x[t])` for each entry i of token t whose expert e is in the shard; what belongs
/// to other experts, and columns beyond an expert's width, stay as they are.
#[derive(Clone, Debug)]
pub struct ExpertGateUp {
    /// `[tokens, hidden_size]`
    pub x: Slot,
    /// `[tokens, slots]` of two words: expert, and the bits of its weight
    pub entries: Slot,
    /// The weights that this dispatch uses.
    pub shard: ExpertShard,
    /// `[tokens · slots, hidden_stride]`, see [`ExpertPanels::hidden_stride`]
    pub hidden: Slot,
    /// Sizes and encoding of the layer's experts.
    pub panels: ExpertPanels,
    /// Entries of a token.
    pub slots: u32,
    /// `order` and `tiles` of [`ExpertBin`](crate::expert_bin::ExpertBin): the tile form, with the same bits, faster where
    /// experts have several entries. Without: one workgroup column for each entry.
    pub binned: Option<(Slot, Slot)>,
    /// Tokens that the buffers have room for; no step has more.
    pub capacity: u32,
}

pub(crate) static VEC: Interface = Interface {
    name: "expert_gate_up",
    parts: &[include_str!("expert_gate_up.wgsl"), experts::SHARD, common::CONTRACT_VEC, common::SIGMOID],
    bindings: &[read("x"), read("entries"), read("weight"), read("scales"), write("hidden")],
    params: experts::PARAMS,
};

pub(crate) static TILE: Interface = Interface {
    name: "expert_gate_up_tile",
    parts: &[
        include_str!("expert_gate_up_tile.wgsl"),
        experts::SHARD,
        experts::TILE,
        common::CONTRACT_TILE,
        common::SIGMOID,
    ],
    bindings: &[read("x"), read("order"), read("tiles"), read("weight"), read("scales"), write("hidden")],
    params: experts::PARAMS,
};

impl Kernel for ExpertGateUp {
    fn interface(&self) -> &'static Interface {
        if self.binned.is_some() { &TILE } else { &VEC }
    }

    fn variant(&self) -> Variant {
        experts::variant(&self.panels.gate_up_panels(false))
    }

    fn slots(&self) -> Vec<Slot> {
        let ExpertShard { weight, scales, .. } = self.shard;
        match self.binned {
            Some((order, tiles)) => vec![self.x, order, tiles, weight, scales, self.hidden],
            None => vec![self.x, self.entries, weight, scales, self.hidden],
        }
    }

    fn params(&self) -> Vec<u8> {
        let (words, scales) = (self.panels.gate_up_words(false), self.panels.gate_up_scale_words(false));
        experts::params(&self.panels, &self.shard, self.slots, words, scales)
    }

    fn workgroups(&self, extent: &Extent) -> [u32; 3] {
        let row_tiles = self.panels.hidden_stride().div_ceil(64);
        let entries = experts::entries(extent, self.capacity, self.slots);
        experts::workgroups(&self.panels, row_tiles, entries, self.binned.is_some())
    }

    fn reference(&self, extent: &Extent, reads: &[&[u32]], writes: &mut [&mut [u32]]) {
        let output = floats_mut(writes[0]);
        reference::gate_up(self, extent, reads, Terms::Products, |at, gate, up| {
            output[at] = (gate * common::sigmoid(gate) * up) as f32;
        });
    }
}
