//! The gated activation between the two halves of a dense feed-forward layer.

pub(crate) mod cases;
mod reference;

use crate::common;
use crate::kernel::{Extent, Interface, Kernel, Slot, floats, floats_mut, params, read, write};
/// y[t, d] = silu(gate[t, d]) · up[t, d], silu(z) = z / (1 + e⁻ᶻ).
#[derive(Clone, Debug)]
pub struct SwiGlu {
    /// `[tokens, stride]`: gate from column 0, up from `up_offset`
    pub gate_up: Slot,
    /// `[tokens, width]`
    pub y: Slot,
    /// Elements of gate, of up and of y in a row.
    pub width: u32,
    /// Elements from one row of `gate_up` to the next.
    pub stride: u32,
    /// First column of up.
    pub up_offset: u32,
}

params! { width: u32, stride: u32, up_offset: u32 }

pub(crate) static INTERFACE: Interface = Interface {
    name: "swiglu",
    parts: &[include_str!("swiglu.wgsl"), common::SIGMOID],
    bindings: &[read("gate_up"), write("y")],
    params: Params::FIELDS,
};

impl Kernel for SwiGlu {
    fn interface(&self) -> &'static Interface {
        &INTERFACE
    }

    fn slots(&self) -> Vec<Slot> {
        vec![self.gate_up, self.y]
    }

    fn params(&self) -> Vec<u8> {
        let SwiGlu { width, stride, up_offset, .. } = *self;
        Params { width, stride, up_offset }.bytes()
    }

    fn workgroups(&self, extent: &Extent) -> [u32; 3] {
        [self.width.div_ceil(128), extent.tokens, 1]
    }

    fn reference(&self, extent: &Extent, reads: &[&[u32]], writes: &mut [&mut [u32]]) {
        let (gate_up, y, width) = (floats(reads[0]), floats_mut(writes[0]), self.width as usize);
        let rows = gate_up.chunks_exact(self.stride as usize).zip(y.chunks_exact_mut(width));
        for (gate_up, y) in rows.take(extent.tokens as usize) {
            let (gate, up) = (&gate_up[..width], &gate_up[self.up_offset as usize..][..width]);
            reference::swiglu(gate, up, y);
        }
    }
}
