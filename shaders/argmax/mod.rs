//! The largest logit of each row: greedy sampling.

pub(crate) mod cases;
mod reference;

use crate::common;
use crate::kernel::{Extent, Interface, Kernel, Slot, floats, params, read, write};

/// `chosen[r] = (argmax of logits[r, ..limit], flags)`: larger first, ties to the lower id, −0 = +0, NaN last.
#[derive(Clone, Debug)]
pub struct Argmax {
    /// `[rows, vocab_size]`
    pub logits: Slot,
    /// `[capacity, 2]` words: id, and flags, of which bit 0 says that a logit is NaN or infinite.
    pub chosen: Slot,
    /// Logits of a row.
    pub vocab_size: u32,
    /// Ids from here on are never chosen nor looked at; 1 to `vocab_size`.
    pub limit: u32,
}

params! { vocab_size: u32, limit: u32 }

pub(crate) static INTERFACE: Interface = Interface {
    name: "argmax",
    parts: &[include_str!("argmax.wgsl"), common::SORT_KEY],
    bindings: &[read("logits"), write("chosen")],
    params: Params::FIELDS,
};

impl Kernel for Argmax {
    fn interface(&self) -> &'static Interface {
        &INTERFACE
    }

    fn slots(&self) -> Vec<Slot> {
        vec![self.logits, self.chosen]
    }

    fn params(&self) -> Vec<u8> {
        Params { vocab_size: self.vocab_size, limit: self.limit }.bytes()
    }

    fn workgroups(&self, extent: &Extent) -> [u32; 3] {
        [extent.rows, 1, 1]
    }

    fn reference(&self, extent: &Extent, reads: &[&[u32]], writes: &mut [&mut [u32]]) {
        let rows = floats(reads[0]).chunks(self.vocab_size as usize).take(extent.rows as usize);
        for (row, chosen) in rows.zip(writes[0].chunks_mut(2)) {
            chosen.copy_from_slice(&reference::argmax(&row[..self.limit as usize]));
        }
    }
}
