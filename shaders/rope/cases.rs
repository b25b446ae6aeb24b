//! Both pairings, one and two segments, head counts around the workgroup's width, far positions, adversarial rows.

use super::{Rope, RopeSegment};
use crate::bound::{self, Bound};
use crate::case::{Case, Data, Random, bits};
use crate::common::paging::Paging;
use crate::common::{pair_places, position, turn};
use crate::kernel::Slot;

pub(crate) fn cases() -> Vec<Case> {
    let shapes: [(&[u32], u32, u32, u32); 8] = [
        (&[0], 1, 1, 0),
        (&[1, 0, 5], 3, 1, 2),
        (&[4095], 8, 2, 3),
        (&[7, 8], 32, 4, 0),
        (&[163_839, 0, 1, 4095], 2, 3, 5),
        (&[2, 9, 4], 31, 5, 1),
        (&[3], 43, 3, 3),
        (&[11, 12, 13, 14, 15, 16, 17, 18, 19], 32, 128, 64),
    ];
    let mut cases = Vec::new();
    for (positions, pairs, heads, more_heads) in shapes {
        for interleaved in [true, false] {
            cases.push(case(positions, pairs, [heads, more_heads], interleaved, Data::Random));
        }
    }
    cases.extend(Data::ALL.map(|data| case(&[3, 77], 16, [2, 3], true, data)));
    cases
}

/// A table of angles that no two entries share: cos and sin of position · 10000^(−pair / pairs).
pub(crate) fn table(positions: u32, pairs: u32) -> Vec<f32> {
    let turns = (0..positions * pairs).flat_map(|i| {
        let angle = f64::from(i / pairs) * 1e4f64.powf(-f64::from(i % pairs) / f64::from(pairs));
        [angle.cos() as f32, angle.sin() as f32]
    });
    turns.collect()
}

fn case(positions: &[u32], pairs: u32, heads: [u32; 2], interleaved: bool, data: Data) -> Case {
    let mut random = Random::new(u64::from(positions[0] * 31 + pairs * 7 + heads[0]));
    let tokens: Vec<(u32, u32)> = (0..).zip(positions).map(|(t, &position)| (t % 2, position)).collect();
    let paging = Paging::scattered(&mut random, &tokens);
    // Rotated dims last in the first segment, as in MLA, and first in the second, as in the indexer; the second segment
    // is paired the other way. Columns before, between and after must stay as they are, and so must a row too many.
    let first = RopeSegment { offset: 3, heads: heads[0], head_stride: 2 * pairs + 5, rope_offset: 5, interleaved };
    let second = RopeSegment {
        offset: first.offset + heads[0] * first.head_stride + 2,
        heads: heads[1],
        head_stride: 2 * pairs + 3,
        rope_offset: 0,
        interleaved: !interleaved,
    };
    let stride = second.offset + heads[1] * second.head_stride + 1;
    let x = data.floats(&mut random, (positions.len() + 1) * stride as usize);
    let table = table(paging.extent.length, pairs);
    let mut allowed = vec![0.0; x.len()];
    for t in 0..paging.extent.tokens {
        for segment in [first, second] {
            for head in 0..segment.heads {
                let start = t * stride + segment.offset + head * segment.head_stride + segment.rope_offset;
                for pair in 0..pairs {
                    let (a, b) = pair_places(pair, pairs, segment.interleaved);
                    let (a, b) = (start as usize + a, start as usize + b);
                    let turn = turn(&table, pairs, position(&paging.step, t), pair);
                    (allowed[a], allowed[b]) = bound::rotate(x[a].into(), x[b].into(), (0.0, 0.0), turn);
                }
            }
        }
    }
    let kernel = Rope { x: Slot(2), table: Slot(0), step: Slot(1), stride, pairs, segments: [first, second] };
    Case {
        name: format!("positions {positions:?}, pairs {pairs}, heads {heads:?}, interleaved {interleaved}, {data:?}"),
        kernel: Box::new(kernel),
        buffers: vec![bits(&table), paging.step, bits(&x)],
        extent: paging.extent,
        bounds: vec![Bound::Floats { allowed, nmse: data.nmse(1e-13) }],
    }
}
