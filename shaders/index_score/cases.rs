//! Heads around the lanes' 8, widths around the block of 128, key counts around panels, pages and tiles, windows of a
//! step, adversarial data. Tokens that share all inputs, in steps of one and of eight, share their order by construction.

use super::{IndexScore, reference};
use crate::bound::{self, Bound, ROUNDING, TINY};
use crate::cache_parts::CacheParts;
use crate::cache_row::CacheType;
use crate::case::{Case, Data, Random, bits, poison};
use crate::common::paging::Paging;
use crate::index_key_write;
use crate::kernel::Slot;

pub(crate) fn cases() -> Vec<Case> {
    // Several sequences, decode and prefill in one step, around the ends of panels, pages and tiles.
    let mixed = [(1, 31), (0, 0), (2, 63), (2, 64), (2, 65), (0, 1), (3, 200), (4, 127), (5, 128), (6, 32)];
    let all = (0, 16);
    let mut cases = Vec::new();
    for (heads, head_dim) in [(1, 4), (2, 32), (7, 64), (8, 128), (9, 124), (16, 132), (3, 260), (17, 256)] {
        cases.push(case(&mixed, heads, head_dim, all, Data::Random));
    }
    // The real sizes, one token and eight.
    cases.push(case(&[(1, 300)], 64, 128, all, Data::Random));
    let eight: Vec<(u32, u32)> = (0..8).map(|t| (1, 250 + t)).collect();
    cases.push(case(&eight, 64, 128, all, Data::Random));
    cases.push(case(&[(0, 66), (0, 70_000)], 1, 4, all, Data::Random));
    for window in [(0, 3), (3, 4), (8, 4), (10, 2), (12, 1)] {
        cases.push(case(&mixed, 4, 32, window, Data::Random));
    }
    cases.extend(Data::ALL.map(|data| case(&mixed[..4], 10, 128, all, data)));
    for cache_type in [CacheType::F16, CacheType::Fp8] {
        cases.push(case_in((cache_type, 1), &mixed, 9, 132, all, Data::Random));
    }
    for (cache_type, parts) in [(CacheType::F32, 2), (CacheType::F32, 3), (CacheType::F16, 3), (CacheType::Fp8, 2)] {
        cases.push(case_in((cache_type, parts), &mixed, 9, 132, all, Data::Random));
    }
    cases
}

fn case(tokens: &[(u32, u32)], heads: u32, head_dim: u32, window: (u32, u32), data: Data) -> Case {
    case_in((CacheType::F32, 1), tokens, heads, head_dim, window, data)
}

/// In a type, and in so many parts.
fn case_in(
    (cache_type, parts): (CacheType, u32),
    tokens: &[(u32, u32)],
    heads: u32,
    head_dim: u32,
    window: (u32, u32),
    data: Data,
) -> Case {
    let mut random = Random::new(u64::from(heads * 1009 + head_dim));
    let paging = Paging::scattered(&mut random, tokens);
    let (q_stride, q_offset) = (heads * head_dim + 12, 8);
    let (w_stride, w_offset) = (heads + 5, 3);
    let score_stride = paging.extent.length + 5;
    let rows = tokens.len() as u32 + 1;
    let q = bits(&data.floats(&mut random, (rows * q_stride) as usize));
    let w = bits(&random.floats((rows * w_stride) as usize));
    // Rows that no token sees are no numbers.
    let packed = index_key_write::row(head_dim, cache_type);
    let mut cache = poison((paging.rows * packed.words()) as usize);
    for row in paging.visible_rows() {
        packed.write(&mut cache, row, &data.floats(&mut random, head_dim as usize));
    }
    let (cache_parts, mut caches) = CacheParts::cut(&packed, &cache, parts, (Slot(2), 5));
    let kernel = IndexScore {
        q: Slot(0),
        w: Slot(1),
        cache: cache_parts,
        step: Slot(3),
        pages: paging.pages,
        scores: Slot(4),
        q_stride,
        q_offset,
        w_stride,
        w_offset,
        heads,
        head_dim,
        scale: 1.0 / (f64::from(heads) * f64::from(head_dim)).sqrt() as f32,
        score_stride,
        first_token: window.0,
        max_tokens: window.1,
        cache_type,
    };
    let scores = poison((window.1 * score_stride) as usize);
    // Each product is a sum over head_dim and enters with its weight; the heads are a sum; w · scale rounds once, and so
    // does the reference. A flushed w or product is at most the rest.
    let mut allowed = vec![0.0; scores.len()];
    let inputs = reference::Inputs {
        q: bytemuck::cast_slice(&q),
        w: bytemuck::cast_slice(&w),
        cache: caches.iter().map(Vec::as_slice).collect(),
        step: &paging.step,
    };
    reference::each_score(&kernel, &paging.extent, &inputs, |at, terms| {
        let products: f64 = terms.iter().map(|&(w, _, magnitude)| w.abs() * bound::sum(head_dim, magnitude)).sum();
        let magnitude: f64 = terms.iter().map(|&(w, product, _)| w.abs() * product.max(0.0)).sum();
        let flushed: f64 = terms.iter().map(|&(_, product, _)| TINY * (1.0 + product.max(0.0))).sum();
        allowed[at] = products + bound::sum(heads, magnitude) + 2.0 * ROUNDING * magnitude + flushed;
    });
    let first = std::mem::take(&mut caches[0]);
    Case {
        name: format!(
            "{cache_type} in {parts}, tokens {tokens:?}, heads {heads}, head_dim {head_dim}, window {}..+{}, {data:?}",
            window.0, window.1
        ),
        kernel: Box::new(kernel),
        buffers: [q, w, first, paging.step, scores].into_iter().chain(caches.into_iter().skip(1)).collect(),
        extent: paging.extent,
        bounds: vec![Bound::Floats { allowed, nmse: data.nmse(1e-11) }],
    }
}
