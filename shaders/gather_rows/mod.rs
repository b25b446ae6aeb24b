//! The rows of x whose logits are wanted.

pub(crate) mod cases;
mod reference;

use crate::kernel::{Extent, Interface, Kernel, Slot, params, read, write};

/// y[r, :] = x[t, :] with t the token that the step names for output row r.
#[derive(Clone, Debug)]
pub struct GatherRows {
    /// `[tokens, dim]`
    pub x: Slot,
    /// The step: which token each output row is of.
    pub step: Slot,
    /// `[rows, dim]`
    pub y: Slot,
    /// Elements of a row.
    pub dim: u32,
}

params! { dim: u32 }

pub(crate) static INTERFACE: Interface = Interface {
    name: "gather_rows",
    parts: &[include_str!("gather_rows.wgsl")],
    bindings: &[read("x"), read("step"), write("y")],
    params: Params::FIELDS,
};

/// Columns of one workgroup.
const TILE: u32 = 128;

impl Kernel for GatherRows {
    fn interface(&self) -> &'static Interface {
        &INTERFACE
    }

    fn slots(&self) -> Vec<Slot> {
        vec![self.x, self.step, self.y]
    }

    fn params(&self) -> Vec<u8> {
        Params { dim: self.dim }.bytes()
    }

    fn workgroups(&self, extent: &Extent) -> [u32; 3] {
        [self.dim.div_ceil(TILE), extent.rows, 1]
    }

    fn reference(&self, extent: &Extent, reads: &[&[u32]], writes: &mut [&mut [u32]]) {
        reference::gather_rows(extent.rows, self.dim as usize, reads[0], reads[1], writes[0]);
    }
}
