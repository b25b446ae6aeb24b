//! Widths around the workgroup's, both pairings, several sequences on scattered pages, adversarial rows.

use super::{IndexKeyWrite, reference};
use crate::bound::{self, Bound, ROUNDING, TINY};
use crate::cache_parts::CacheParts;
use crate::cache_row::CacheType;
use crate::case::{Case, Data, Random, bits, poison};
use crate::common::paging::Paging;
use crate::common::{pair_places, position, sequence, turn};
use crate::kernel::Slot;
use crate::rope::cases::table;

const EPS: f32 = 1e-6;

pub(crate) fn cases() -> Vec<Case> {
    // A prompt of one sequence, single tokens of others, panel and page ends, in one step.
    let mixed = [(1, 31), (0, 0), (2, 63), (2, 64), (2, 65), (0, 1), (3, 200), (4, 32), (5, 128)];
    let mut cases = Vec::new();
    for (head_dim, pairs) in [(4, 1), (32, 8), (64, 32), (124, 1), (128, 32), (132, 31), (260, 128)] {
        cases.push(case(&mixed, head_dim, pairs, false, Data::Random));
        cases.push(case(&[(0, 70)], head_dim, pairs, true, Data::Random));
    }
    cases.extend(Data::ALL.map(|data| case(&mixed[..3], 128, 32, false, data)));
    for cache_type in [CacheType::F16, CacheType::Fp8] {
        cases.push(case_in((cache_type, 1), &mixed, 132, 31, false, Data::Random));
    }
    for (cache_type, parts) in [(CacheType::F32, 2), (CacheType::F32, 3), (CacheType::F16, 2), (CacheType::Fp8, 3)] {
        cases.push(case_in((cache_type, parts), &mixed, 132, 31, false, Data::Random));
    }
    cases
}

fn case(tokens: &[(u32, u32)], head_dim: u32, pairs: u32, interleaved: bool, data: Data) -> Case {
    case_in((CacheType::F32, 1), tokens, head_dim, pairs, interleaved, data)
}

/// In a type, and in so many parts.
fn case_in(
    (cache_type, parts): (CacheType, u32),
    tokens: &[(u32, u32)],
    head_dim: u32,
    pairs: u32,
    interleaved: bool,
    data: Data,
) -> Case {
    let mut random = Random::new(u64::from(head_dim * 1009 + pairs));
    let paging = Paging::scattered(&mut random, tokens);
    let (stride, offset) = (head_dim + 7, 3);
    let k = data.floats(&mut random, (tokens.len() + 1) * stride as usize);
    let (weight, bias) = (random.floats(head_dim as usize), random.floats(head_dim as usize));
    let table = table(paging.extent.length, pairs);
    let packed = super::row(head_dim, cache_type);
    let cache = poison((paging.rows * packed.words()) as usize);
    let mut allowed = vec![0.0; (paging.rows * head_dim) as usize];
    for t in 0..paging.extent.tokens {
        let (sequence, position) = (sequence(&paging.step, t), position(&paging.step, t));
        let row = paging.pages.row(&paging.step, sequence, position);
        let key = &k[(t * stride + offset) as usize..][..head_dim as usize];
        let normed = reference::layer_norm(key, &weight, &bias, EPS);
        let mut errors = norm_bound(key, &weight, &bias);
        for pair in 0..pairs {
            let (a, b) = pair_places(pair, pairs, interleaved);
            let turn = turn(&table, pairs, position, pair);
            (errors[a], errors[b]) = bound::rotate(normed[a], normed[b], (errors[a], errors[b]), turn);
        }
        let mut rotated = normed;
        let turns = &table[2 * (position * pairs) as usize..][..2 * pairs as usize];
        reference::rope(&mut rotated, turns, interleaved);
        let values: Vec<f32> = rotated.into_iter().map(|value| value as f32).collect();
        // Where a value lies between two that can be stored, an error of any size may decide.
        let stored = allowed[(row * head_dim) as usize..].iter_mut().zip(errors).zip(packed.steps(&values));
        stored.for_each(|((allowed, error), step)| *allowed = error + step);
    }
    let (cache_parts, caches) = CacheParts::cut(&packed, &cache, parts, (Slot(5), 6));
    let nmse = data.nmse([1e-12, 1e-8, 2e-4][cache_type as usize]);
    let rows = |allowed| Bound::Rows { row: packed, allowed, nmse };
    let kernel = IndexKeyWrite {
        k: Slot(0),
        weight: Slot(1),
        bias: Slot(2),
        table: Slot(3),
        step: Slot(4),
        pages: paging.pages,
        cache: cache_parts,
        stride,
        offset,
        head_dim,
        pairs,
        interleaved,
        eps: EPS,
        cache_type,
    };
    Case {
        name: format!(
            "{cache_type} in {parts}, tokens {}, head_dim {head_dim}, pairs {pairs}, interleaved {interleaved}, {data:?}",
            tokens.len()
        ),
        kernel: Box::new(kernel),
        buffers: [vec![bits(&k), bits(&weight), bits(&bias), bits(&table), paging.step], caches].concat(),
        extent: paging.extent,
        bounds: cache_parts.cut_rows(&packed, &allowed).map(rows).collect(),
    }
}

/// Bounds of a LayerNorm, part by part. With u = 2⁻²⁴: the mean is a sum and a division (2.5 ulp = 5u); a deviation d
/// inherits that and rounds once; the variance inherits 2|d|·δd + δd² of each and is a sum and a division; its root keeps
/// half of the relative error, and `inverseSqrt` adds 2 ulp = 4u. Then d · scale · weight + bias, a rounding each and one
/// for the reference.
fn norm_bound(k: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f64> {
    let count = k.len() as f64;
    let (mean, variance) = reference::moments(k);
    let magnitude = k.iter().map(|&k| f64::from(k).abs()).sum();
    let mean_error = bound::sum(k.len() as u32, magnitude) / count + 5.0 * ROUNDING * mean.abs() + TINY;
    let deviation_error = |d: f64| mean_error + ROUNDING * d.abs() + 2.0 * TINY;
    let inherited = k.iter().map(|&k| {
        let d = (f64::from(k) - mean).abs();
        (2.0 * d + deviation_error(d)) * deviation_error(d)
    });
    let variance_error =
        inherited.sum::<f64>() / count + bound::sum(k.len() as u32, variance) + 6.0 * ROUNDING * variance;
    let total = variance + f64::from(EPS);
    let scale = 1.0 / total.sqrt();
    let relative = 0.5 * variance_error / total + 0.5 * ROUNDING + 4.0 * ROUNDING;
    let each = k.iter().zip(weight).zip(bias).map(|((&k, &w), &b)| {
        let d = (f64::from(k) - mean).abs();
        let (w, b) = (f64::from(w).abs(), f64::from(b).abs());
        let product = d * scale * w;
        deviation_error(d) * scale * w + product * (relative + 4.0 * ROUNDING) + 2.0 * ROUNDING * b + 3.0 * TINY
    });
    each.collect()
}
