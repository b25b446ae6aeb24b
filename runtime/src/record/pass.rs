//! One dispatch of a recording, and which of its slots are scratch.

use lyn_shaders::{Kernel, Slot};

/// Slots from here on are a recording's own scratch, until [`Recorder::finish`] gives them memory.
pub(super) const SCRATCH: u32 = 1 << 24;

/// One dispatch.
#[derive(Debug)]
pub struct Pass {
    /// What is computed.
    pub kernel: Box<dyn Kernel>,
    /// Memory of each binding, in the interface's order.
    pub slots: Vec<Slot>,
    /// The decoder layer it belongs to; none for embedding and head.
    pub layer: Option<u32>,
}

/// Whether a slot of a pass is shared scratch, and which: scratch `i` is slot `SCRATCH + i`.
pub(crate) fn scratch_index(slot: Slot) -> Option<usize> {
    (slot.0 >= SCRATCH).then(|| (slot.0 - SCRATCH) as usize)
}
