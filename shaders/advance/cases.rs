//! One sequence, several, more rows than lanes, tokens without a row.

use super::Advance;
use crate::bound::Bound;
use crate::case::{Case, Random};
use crate::kernel::{Extent, Slot};

pub(crate) fn cases() -> Vec<Case> {
    [(1, 1), (8, 8), (33, 5), (129, 129), (300, 257)].map(|(tokens, rows)| case(tokens, rows)).into()
}

fn case(tokens: u32, rows: u32) -> Case {
    let mut random = Random::new(u64::from(tokens));
    let mut step = vec![tokens, rows, 500, 17];
    for &token in &random.shuffle(tokens) {
        step.extend([random.word(), random.below(400), random.below(9), token]);
    }
    let chosen = (0..rows).flat_map(|_| [random.below(129_280), random.below(2)]).collect();
    Case {
        name: format!("tokens {tokens}, rows {rows}"),
        kernel: Box::new(Advance { chosen: Slot(0), step: Slot(1) }),
        buffers: vec![chosen, step],
        extent: Extent { tokens, rows, length: 500 },
        bounds: vec![Bound::Bits],
    }
}
