//! Widths around the workgroup's, shards whose borders no block shares, every encoding.

use super::Embed;
use crate::bound::Bound;
use crate::case::{Case, Random, poison};
use crate::encodings::data::{bound_scales, random_rows, random_scales};
use crate::encodings::{Encoding, encodings};
use crate::kernel::{Extent, Slot};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for encoding in encodings() {
        if encoding.group.rows == 1 {
            cases.push(case(encoding, 3, 64, 0, 300));
            cases.push(case(encoding, 9, 1056, 100, 77));
            continue;
        }
        for (tokens, hidden_size) in [(1, 4), (3, 64), (7, 132), (9, 512), (2, 516)] {
            cases.push(case(encoding, tokens, hidden_size, 0, 300));
        }
        cases.push(case(encoding, 33, 144, 100, 77));
        cases.push(case(encoding, 1, 7168, 250, 50));
    }
    cases
}

/// A table of 300 rows, of which the shard has some; buffers with room for two tokens more than the step has.
fn case(encoding: &'static Encoding, tokens: u32, hidden_size: u32, first_row: u32, rows: u32) -> Case {
    const VOCAB: u32 = 300;
    let hidden_size = hidden_size.next_multiple_of(encoding.column_step());
    let mut random = Random::new(u64::from(tokens * 1000 + hidden_size + first_row));
    let mut step = vec![tokens, 1, 1, 0];
    for t in 0..tokens + 2 {
        // The shard's first and last rows are among them, and rows of other shards.
        let id = match t {
            0 => first_row,
            1 => first_row + rows - 1,
            2 => first_row.saturating_sub(1),
            3 => (first_row + rows).min(VOCAB - 1),
            _ => random.below(VOCAB),
        };
        step.extend([id, t, 0, 0]);
    }
    let weight = random_rows(&mut random, encoding, rows, hidden_size);
    let scales = random_scales(&mut random, encoding, VOCAB, hidden_size);
    Case {
        name: format!("{encoding:?}, tokens {tokens}, hidden_size {hidden_size}, rows {first_row}+{rows}"),
        kernel: Box::new(Embed {
            step: Slot(0),
            weight: Slot(1),
            scales: Slot(2),
            x: Slot(3),
            encoding,
            first_row,
            rows,
            hidden_size,
        }),
        buffers: vec![step, weight, bound_scales(scales), poison(((tokens + 2) * hidden_size) as usize)],
        extent: Extent { tokens, rows: 1, length: 1 },
        bounds: vec![Bound::Bits],
    }
}
