//! The formula.

use crate::common;

pub(super) fn advance(rows: u32, chosen: &[u32], step: &mut [u32]) {
    for r in 0..rows {
        let [.., token] = common::step_entry(step, 1 + r);
        let at = (1 + token) as usize * 4;
        step[at] = chosen[r as usize * 2];
        step[at + 1] += 1;
    }
    step[2] += 1;
    step[3] += 1;
}
