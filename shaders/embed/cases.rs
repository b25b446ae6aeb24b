//! Widths around the workgroup's, shards whose borders no block shares, four formats.

use super::Embed;
use crate::bound::Bound;
use crate::case::{Case, Random, bits, poison};
use crate::format::{BLOCK, Format};
use crate::kernel::{Extent, Slot};
use crate::linear::cases::random_weight;

/// The cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for format in Format::ALL {
        for (tokens, hidden_size) in [(1, 4), (3, 64), (7, 132), (9, 512), (2, 516)] {
            cases.push(case(format, tokens, hidden_size, 0, 300));
        }
        cases.push(case(format, 33, 144, 100, 77));
        cases.push(case(format, 1, 7168, 250, 50));
    }
    cases
}

/// Row-major weights without gaps, padded to 16 bytes.
#[must_use]
pub fn random_rows(random: &mut Random, format: Format, count: u32) -> Vec<u32> {
    let width = format.bytes() as usize;
    let mut bytes: Vec<u8> = (0..count).flat_map(|_| random_weight(random, format).into_iter().take(width)).collect();
    bytes.resize(bytes.len().next_multiple_of(16), 0);
    bytes.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect()
}

/// A table of 300 rows, of which the shard has some; buffers with room for two tokens more than the step has.
fn case(format: Format, tokens: u32, hidden_size: u32, first_row: u32, rows: u32) -> Case {
    const VOCAB: u32 = 300;
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
    let weight = random_rows(&mut random, format, rows * hidden_size);
    let scales = match format {
        Format::Fp8 => VOCAB.div_ceil(BLOCK) * hidden_size.div_ceil(BLOCK),
        _ => 1,
    };
    let scales: Vec<f32> = (0..scales).map(|_| 0.01 + random.float().abs()).collect();
    Case {
        name: format!("{format:?}, tokens {tokens}, hidden_size {hidden_size}, rows {first_row}+{rows}"),
        kernel: Box::new(Embed {
            step: Slot(0),
            weight: Slot(1),
            scales: Slot(2),
            x: Slot(3),
            format,
            first_row,
            rows,
            hidden_size,
        }),
        buffers: vec![step, weight, bits(&scales), poison(((tokens + 2) * hidden_size) as usize)],
        extent: Extent { tokens, rows: 1, length: 1 },
        bounds: vec![Bound::Bits],
    }
}
