//! The gated activation between the two halves of a dense feed-forward layer.

pub(crate) mod cases;
mod reference;

use crate::common;
use crate::kernel::{Extent, Interface, Kernel, Slot, floats, floats_mut, params, read, write};
/// y[t, d] = silu(gate[t, d]) · up[t, d], silu(z) = z / (1 + e⁻ᶻ).
#[derive(Clone, Debug)]
pub struct SwiGlu {
    /// `[tokens · rows, stride]`: gate from column 0
    pub gate: Slot,
    /// `[tokens · rows, stride]`: up from `up_offset`; the same slot as gate, or another
    pub up: Slot,
    /// `[tokens · rows, width]`
    pub y: Slot,
    /// Rows of a token.
    pub rows: u32,
    /// Elements of gate, of up and of y in a row.
    pub width: u32,
    /// Elements from one row of gate or up to the next.
    pub stride: u32,
    /// First column of up.
    pub up_offset: u32,
}

params! { width: u32, stride: u32, up_offset: u32 }

pub(crate) static INTERFACE: Interface = Interface {
    name: "swiglu",
    parts: &[include_str!("swiglu.wgsl"), common::SIGMOID],
    bindings: &[read("gate"), read("up"), write("y")],
    params: Params::FIELDS,
};

impl Kernel for SwiGlu {
    fn interface(&self) -> &'static Interface {
        &INTERFACE
    }

    fn slots(&self) -> Vec<Slot> {
        vec![self.gate, self.up, self.y]
    }

    fn params(&self) -> Vec<u8> {
        let SwiGlu { width, stride, up_offset, .. } = *self;
        Params { width, stride, up_offset }.bytes()
    }

    fn workgroups(&self, extent: &Extent) -> [u32; 3] {
        [self.width.div_ceil(128), extent.tokens * self.rows, 1]
    }

    fn reference(&self, extent: &Extent, reads: &[&[u32]], writes: &mut [&mut [u32]]) {
        let (width, stride) = (self.width as usize, self.stride as usize);
        let rows = floats(reads[0]).chunks_exact(stride).zip(floats(reads[1]).chunks_exact(stride));
        let rows = rows.zip(floats_mut(writes[0]).chunks_exact_mut(width));
        for ((gate, up), y) in rows.take((extent.tokens * self.rows) as usize) {
            reference::swiglu(&gate[..width], &up[self.up_offset as usize..][..width], y);
        }
    }
}
