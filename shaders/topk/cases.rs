//! Lengths around k and the lanes' ranges, the longest context, and every kind of tie; exact.

use super::TopK;
use crate::bound::Bound;
use crate::case::{Case, POISON, Random, poison};
use crate::common::paging::Paging;
use crate::kernel::Slot;

/// What a row of scores looks like.
#[derive(Clone, Copy, Debug)]
enum Row {
    Random,
    Equal,
    /// Two values, the larger one in a few places or in most.
    Two(u32),
    Ascending,
    Descending,
    Zeros,
    Subnormal,
    /// ± the largest finite number, and infinities.
    Extreme,
    /// All keys share their upper 22 bits.
    Clustered,
    /// Mostly NaN of both signs.
    NotANumber,
}

const ROWS: [Row; 11] = [
    Row::Random,
    Row::Equal,
    Row::Two(10),
    Row::Two(90),
    Row::Ascending,
    Row::Descending,
    Row::Zeros,
    Row::Subnormal,
    Row::Extreme,
    Row::Clustered,
    Row::NotANumber,
];

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for k in [1, 7, 64, 300] {
        let lengths = [1, k.max(2) - 1, k, k + 1, 2 * k + 1, 127, 128, 129, 257];
        cases.extend(ROWS.map(|row| case(&lengths, k, 0, 32, row)));
    }
    // A window of a step: its tokens read rows from 0 and write their own rows, the others stay.
    for (first_token, max_tokens) in [(0, 2), (2, 2), (3, 9), (5, 4), (6, 1)] {
        cases.push(case(&[40, 9, 2, 33, 17], 8, first_token, max_tokens, Row::Random));
    }
    for row in ROWS {
        cases.push(case(&[2047, 2048, 2049, 4097], 2048, 0, 8, row));
    }
    for row in [Row::Random, Row::Equal, Row::Clustered] {
        cases.push(case(&[(1 << 17) + 1], 2048, 0, 1, row));
    }
    cases.push(case(&[163_840], 2048, 0, 1, Row::Two(1)));
    cases.push(case(&[163_840], 1, 0, 1, Row::Random));
    cases.push(case(&[163_840], 163_839, 0, 1, Row::Random));
    cases
}

fn case(lengths: &[u32], k: u32, first_token: u32, max_tokens: u32, row: Row) -> Case {
    let mut random = Random::new(u64::from(lengths[0] * 77 + k));
    let tokens: Vec<(u32, u32)> = (0..).zip(lengths).map(|(t, length)| (t, length - 1)).collect();
    let paging = Paging::scattered(&mut random, &tokens);
    let score_stride = paging.extent.length + 3;
    let mut scores = poison((max_tokens * score_stride) as usize);
    // Scores of later positions are larger than all: they must not be seen. Rows that need no scores have none.
    for (local, &length) in lengths.iter().skip(first_token as usize).take(max_tokens as usize).enumerate() {
        let out = &mut scores[local * score_stride as usize..][..score_stride as usize];
        out[length as usize..].fill(f32::MAX.to_bits());
        if length > k {
            fill(row, &mut random, &mut out[..length as usize]);
        }
    }
    let kernel = TopK { scores: Slot(0), step: Slot(1), selected: Slot(2), k, score_stride, first_token, max_tokens };
    Case {
        name: format!("lengths {lengths:?}, k {k}, tokens {first_token}..+{max_tokens}, {row:?}"),
        kernel: Box::new(kernel),
        buffers: vec![scores, paging.step, poison((lengths.len() + 1) * k as usize)],
        extent: paging.extent,
        bounds: vec![Bound::Bits],
    }
}

fn fill(row: Row, random: &mut Random, out: &mut [u32]) {
    let length = out.len() as u32;
    for (i, word) in (0..).zip(out) {
        let signed_zero = random.below(2) << 31;
        *word = match row {
            Row::Random => random.float().to_bits(),
            Row::Equal => 0.25f32.to_bits(),
            Row::Two(percent) => (if random.below(100) < percent { 1.5f32 } else { -2.0 }).to_bits(),
            Row::Ascending => (i as f32 - length as f32 / 2.0).to_bits(),
            Row::Descending => (length as f32 / 2.0 - i as f32).to_bits(),
            Row::Zeros => match random.below(10) {
                0 => 1e-30f32.to_bits(),
                1 => (-1e-30f32).to_bits(),
                _ => signed_zero,
            },
            Row::Subnormal => signed_zero | random.below(5),
            Row::Extreme => [f32::MAX, f32::MIN, f32::INFINITY, f32::NEG_INFINITY][random.below(4) as usize].to_bits(),
            Row::Clustered => 1f32.to_bits() | random.below(1 << 10),
            Row::NotANumber => match random.below(20) {
                0 => random.float().to_bits(),
                1 => f32::NEG_INFINITY.to_bits(),
                _ => POISON | signed_zero,
            },
        };
    }
}
