//! The formula.

use crate::common;

pub(super) fn gather_rows(rows: u32, dim: usize, x: &[u32], step: &[u32], y: &mut [u32]) {
    for (r, out) in (0..rows).zip(y.chunks_mut(dim)) {
        let [.., token] = common::step_entry(step, 1 + r);
        out.copy_from_slice(&x[token as usize * dim..][..dim]);
    }
}
