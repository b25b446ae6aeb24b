//! Heads that straddle blocks of scales, ranks around a tile, one token and many, encodings, adversarial queries.

use super::{Absorb, reference};
use crate::bound::{self, Bound, Terms};
use crate::case::{Case, Data, Random, bits, poison};
use crate::encodings::data::{bound_scales, random_rows, random_scales};
use crate::encodings::{Encoding, STORED, encodings};
use crate::kernel::{Extent, Slot, floats, floats_mut};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for encoding in encodings() {
        if encoding.group.rows == 1 {
            for (tokens, rank) in [(1, 132), (3, 1040)] {
                cases.push(case(encoding, (3, 48, 36, rank), tokens, Data::Random));
            }
            continue;
        }
        // heads, nope_dim, value_dim, kv_lora_rank
        for shape in [(1, 4, 4, 4), (4, 32, 32, 32), (3, 128, 128, 132), (6, 36, 20, 144), (2, 192, 64, 260)] {
            for tokens in [1, 2, 3, 9] {
                cases.push(case(encoding, shape, tokens, Data::Random));
            }
        }
        cases.push(case(encoding, (2, 128, 128, 512), 1, Data::Random));
        for data in Data::ALL {
            cases.push(case(encoding, (3, 48, 36, 132), 4, data));
        }
    }
    cases
}

/// Small ones of them.
pub(crate) fn few() -> Vec<Case> {
    STORED.iter().map(|encoding| case(encoding, (4, 32, 32, 32), 2, Data::Random)).collect()
}

fn case(encoding: &'static Encoding, shape: (u32, u32, u32, u32), tokens: u32, data: Data) -> Case {
    let (heads, nope_dim, value_dim, kv_lora_rank) = shape;
    let kv_lora_rank = kv_lora_rank.next_multiple_of(encoding.column_step());
    let mut random = Random::new(u64::from(heads * 10_000 + nope_dim * 100 + kv_lora_rank + tokens));
    let (head_stride, q_offset) = (nope_dim + 8, 4);
    let q_stride = q_offset + heads * head_stride + 4;
    let scale_rows = nope_dim + value_dim;
    let q = data.floats(&mut random, (tokens * q_stride) as usize);
    let weight = random_rows(&mut random, encoding, heads * nope_dim, kv_lora_rank);
    let scales = bound_scales(random_scales(&mut random, encoding, heads * scale_rows, kv_lora_rank));
    let absorb = Absorb {
        q: Slot(0),
        weight: Slot(1),
        scales: Slot(2),
        y: Slot(3),
        q_stride,
        q_offset,
        head_stride,
        heads,
        nope_dim,
        kv_lora_rank,
        scale_rows,
        encoding,
        capacity: tokens,
    };
    let y = poison((tokens * heads * kv_lora_rank) as usize);
    let (mut magnitude, mut flushed) = (y.clone(), y.clone());
    reference::absorb(&absorb, tokens, &q, &weight, &scales, floats_mut(&mut magnitude), Terms::Magnitudes);
    // A subnormal query may be read as zero.
    reference::absorb(&absorb, tokens, &q, &weight, &scales, floats_mut(&mut flushed), Terms::Flushed);
    let parts = floats(&magnitude).iter().zip(floats(&flushed));
    let allowed = parts.map(|(&m, &f)| bound::sum(nope_dim, f64::from(m)) + f64::from(f)).collect();
    Case {
        name: format!("{encoding:?}, tokens {tokens}, {heads} × {nope_dim} (+{value_dim}) → {kv_lora_rank}, {data:?}"),
        kernel: Box::new(absorb),
        buffers: vec![bits(&q), weight, scales, y],
        extent: Extent { tokens, rows: 1, length: 1 },
        bounds: vec![Bound::Floats { allowed, nmse: data.nmse(1e-11) }],
    }
}
