//! The weighted sum of a token's experts, added to the residual stream.

pub(crate) mod cases;
mod reference;

use crate::kernel::{Extent, Interface, Kernel, Slot, floats, floats_mut, params, read, write};

/// `x[t] += Σ weight[t, i] · y[t, i]` over the entries i of token t in rank order.
#[derive(Clone, Debug)]
pub struct ExpertCombine {
    /// `[tokens · slots, hidden_size]`
    pub y: Slot,
    /// `[tokens, slots]` of two words: expert, and the bits of its weight
    pub entries: Slot,
    /// `[tokens, hidden_size]`, the residual stream, in place
    pub x: Slot,
    /// Entries of a token.
    pub slots: u32,
    /// Columns, a multiple of 4.
    pub hidden_size: u32,
}

params! { slots: u32, columns4: u32 }

pub(crate) static INTERFACE: Interface = Interface {
    name: "expert_combine",
    parts: &[include_str!("expert_combine.wgsl")],
    bindings: &[read("y"), read("entries"), write("x")],
    params: Params::FIELDS,
};

impl Kernel for ExpertCombine {
    fn interface(&self) -> &'static Interface {
        &INTERFACE
    }

    fn slots(&self) -> Vec<Slot> {
        vec![self.y, self.entries, self.x]
    }

    fn params(&self) -> Vec<u8> {
        Params { slots: self.slots, columns4: self.hidden_size / 4 }.bytes()
    }

    fn workgroups(&self, extent: &Extent) -> [u32; 3] {
        [self.hidden_size.div_ceil(512), extent.tokens, 1]
    }

    fn reference(&self, extent: &Extent, reads: &[&[u32]], writes: &mut [&mut [u32]]) {
        let (y, x) = (floats(reads[0]), floats_mut(writes[0]));
        let (slots, hidden_size) = (self.slots as usize, self.hidden_size as usize);
        for t in 0..extent.tokens as usize {
            let entries = reads[1][2 * t * slots..][..2 * slots].chunks_exact(2);
            let weights: Vec<f32> = entries.map(|entry| f32::from_bits(entry[1])).collect();
            let y = &y[t * slots * hidden_size..][..slots * hidden_size];
            reference::combine(&weights, y, &mut x[t * hidden_size..][..hidden_size]);
        }
    }
}
