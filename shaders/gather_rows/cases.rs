//! Widths around the workgroup's, fewer rows than tokens, rows in any order.

use super::GatherRows;
use crate::bound::Bound;
use crate::case::{Case, Random, bits, poison};
use crate::kernel::{Extent, Slot};

pub(crate) fn cases() -> Vec<Case> {
    [(1, 1, 1), (3, 1, 127), (5, 5, 128), (9, 4, 129), (64, 33, 576), (2, 2, 7168)].map(case).into()
}

fn case((tokens, rows, dim): (u32, u32, u32)) -> Case {
    let mut random = Random::new(u64::from(tokens * 1000 + dim));
    let x = random.floats((tokens * dim) as usize);
    let mut step = vec![tokens, rows, 1, 0];
    for (t, &token) in (0..).zip(&random.shuffle(tokens)) {
        // Entries that are no output row name a token that does not exist.
        step.extend([0, t, 0, if t < rows { token } else { u32::MAX }]);
    }
    Case {
        name: format!("tokens {tokens}, rows {rows}, dim {dim}"),
        kernel: Box::new(GatherRows { x: Slot(0), step: Slot(1), y: Slot(2), dim }),
        buffers: vec![bits(&x), step, poison((tokens * dim) as usize)],
        extent: Extent { tokens, rows, length: 1 },
        bounds: vec![Bound::Bits],
    }
}
