//! From one greedy step to the next, on the GPU.

pub(crate) mod cases;
mod reference;

use crate::kernel::{Extent, Interface, Kernel, Slot, params, read, write};

/// Each output row's token gets the chosen id and the next position; the step gets a length and a counter more by one.
#[derive(Clone, Debug)]
pub struct Advance {
    /// `[rows, 2]` words: id and flags, from `argmax` or a sampler.
    pub chosen: Slot,
    /// The step, which becomes the next.
    pub step: Slot,
}

params! { unused: u32 }

pub(crate) static INTERFACE: Interface = Interface {
    name: "advance",
    parts: &[include_str!("advance.wgsl")],
    bindings: &[read("chosen"), write("step")],
    params: Params::FIELDS,
};

impl Kernel for Advance {
    fn interface(&self) -> &'static Interface {
        &INTERFACE
    }

    fn slots(&self) -> Vec<Slot> {
        vec![self.chosen, self.step]
    }

    fn params(&self) -> Vec<u8> {
        Params { unused: 0 }.bytes()
    }

    fn workgroups(&self, extent: &Extent) -> [u32; 3] {
        [u32::from(extent.rows > 0), 1, 1]
    }

    fn reference(&self, extent: &Extent, reads: &[&[u32]], writes: &mut [&mut [u32]]) {
        reference::advance(extent.rows, reads[0], writes[0]);
    }
}
