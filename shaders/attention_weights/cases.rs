//! Lengths around the workgroup's width, several sequences over scattered pages, odd head counts and ranks, scores that are
//! equal, and one that towers.

use super::{AttentionWeights, reference};
use crate::bound::{self, Bound, ROUNDING, TINY};
use crate::cache_parts::CacheParts;
use crate::cache_row::CacheType;
use crate::cache_write;
use crate::case::{Case, Data, Random, bits, poison};
use crate::common::paging::Paging;
use crate::common::{PAGE, position};
use crate::kernel::Slot;

pub(crate) fn cases() -> Vec<Case> {
    let golden = [4, 32, 16];
    let mut cases = vec![
        case(golden, 0, &[(0, 0)], Data::Random, false),
        case(golden, 0, &[(0, 126), (1, 127), (2, 128), (0, 125), (3, 1)], Data::Random, false),
        case(golden, 0, &[(0, 255), (1, 256), (2, 700)], Data::Random, false),
        case([1, 4, 4], 0, &[(0, 300)], Data::Random, false),
        case([9, 132, 12], 0, &[(0, 63), (1, 64), (0, 200)], Data::Random, false),
        case([9, 132, 12], 4, &[(0, 63), (1, 64), (0, 200)], Data::Random, false),
        case([9, 132, 12], 8, &[(0, 63), (1, 64), (0, 200)], Data::Random, false),
        case([128, 512, 64], 124, &[(0, 1500)], Data::Random, false),
        case(golden, 0, &[(0, 200), (1, 40)], Data::Random, true),
    ];
    cases.extend(Data::ALL.map(|data| case([6, 140, 8], 4, &[(0, 180), (1, 70)], data, false)));
    for cache_type in [CacheType::F16, CacheType::Fp8] {
        cases.push(case_in((cache_type, 1), [5, 132, 12], 4, &[(0, 63), (1, 64)], Data::Random, false));
    }
    for (cache_type, parts) in [(CacheType::F32, 2), (CacheType::F16, 3)] {
        let tokens = [(0, 200), (1, 64)];
        cases.push(case_in((cache_type, parts), [5, 132, 12], 0, &tokens, Data::Random, false));
    }
    cases
}

/// `sizes`: heads, `kv_lora_rank`, `rope_dim`. `tokens`: sequence and position. `spike`: in each page position 7 scores 88,
/// the others 0.
fn case(sizes: [u32; 3], first_head: u32, tokens: &[(u32, u32)], data: Data, spike: bool) -> Case {
    case_in((CacheType::F32, 1), sizes, first_head, tokens, data, spike)
}

/// In a type, and in so many parts.
fn case_in(
    (cache_type, parts): (CacheType, u32),
    sizes: [u32; 3],
    first_head: u32,
    tokens: &[(u32, u32)],
    data: Data,
    spike: bool,
) -> Case {
    let [heads, kv_lora_rank, rope_dim] = sizes;
    let mut random = Random::new(u64::from(heads * 1000 + kv_lora_rank + tokens[0].1));
    let paging = Paging::scattered(&mut random, tokens);
    let (count, width) = (paging.extent.tokens, kv_lora_rank + rope_dim);
    let scale = 3.0 / (width as f32).sqrt();
    let (nope_dim, q_offset) = (8, 4);
    let head_stride = nope_dim + rope_dim + 4;
    let q_stride = q_offset + heads * head_stride;
    let query = if data == Data::Equal { data } else { Data::Random };
    let mut q = query.floats(&mut random, (count * q_stride) as usize);
    let mut qa = query.floats(&mut random, (count * heads * kv_lora_rank) as usize);
    if spike {
        q.fill(0.0);
        let first = |i| i % kv_lora_rank as usize == 0;
        qa.iter_mut().enumerate().for_each(|(i, x)| *x = if first(i) { 1.0 / scale } else { 0.0 });
    }
    // Rows that no token sees are poison: they must not be read.
    let packed = cache_write::row(kv_lora_rank, rope_dim / 2, cache_type);
    let mut cache = poison((paging.rows * packed.words()) as usize);
    for row in paging.visible_rows() {
        let mut values = data.floats(&mut random, width as usize);
        if spike {
            values[0] = if row % PAGE == 7 { 88.0 } else { 0.0 };
        }
        packed.write(&mut cache, row, &values);
    }
    let (cache_parts, mut caches) = CacheParts::cut(&packed, &cache, parts, (Slot(2), 5));
    let kernel = AttentionWeights {
        q: Slot(0),
        qa: Slot(1),
        cache: cache_parts,
        step: Slot(3),
        pages: paging.pages,
        out: Slot(4),
        q_stride,
        q_offset,
        head_stride,
        nope_dim,
        heads,
        kv_lora_rank,
        rope_dim,
        first_head,
        scale,
        out_stride: paging.extent.length + 3,
        cache_type,
    };
    let mut out = poison((count * kernel.out_stride) as usize);
    if first_head > 0 {
        out.fill_with(|| random.float().abs().to_bits());
    }
    let first = std::mem::take(&mut caches[0]);
    let buffers: Vec<_> =
        [bits(&q), bits(&qa), first, paging.step, out].into_iter().chain(caches.into_iter().skip(1)).collect();
    let nmse = if spike { f64::INFINITY } else { data.nmse(1e-9) };
    let bounds = vec![Bound::Floats { allowed: allowed(&kernel, &buffers), nmse }];
    let name = format!(
        "{cache_type} in {parts}, sizes {sizes:?} from head {first_head}, tokens {tokens:?}, {data:?}{}",
        if spike { ", spike" } else { "" }
    );
    Case { name, kernel: Box::new(kernel), buffers, extent: paging.extent, bounds }
}

/// Bounds of every element of `out`; 0 where nothing is written.
///
/// A score s is off by Δ = scale · (bound of its sum), three roundings, and flushing. A weight exp(s − m) / Σ exp(s − m) is
/// then off by a factor within e^±(δ + max δ), δ = Δ + the rounding of the difference + exp's 3 + 2|x| ulp; m cancels. The
/// online sum multiplies what a lane has by one more exp for each of its positions and one at the end: their arguments are
/// parts of one difference, so that each adds 3 ulp and two roundings. A weight is never off by more than 1.
/// The sum over lanes, the division, the sum over heads, and adding to what was there, below 1, add their own.
fn allowed(kernel: &AttentionWeights, buffers: &[Vec<u32>]) -> Vec<f64> {
    let reads: Vec<&[u32]> = buffers[..4].iter().chain(&buffers[5..]).map(Vec::as_slice).collect();
    let inputs = reference::Inputs::new(kernel, &reads);
    let (scale, heads) = (f64::from(kernel.scale), f64::from(kernel.heads));
    let width = kernel.kv_lora_rank + kernel.rope_dim;
    let mut allowed = vec![0f64; buffers[4].len()];
    for (t, row) in (0..buffers[3][0]).zip(allowed.chunks_mut(kernel.out_stride as usize)) {
        let before = if kernel.first_head == 0 { 0.0 } else { 1.0 };
        row[..=position(&buffers[3], t) as usize].fill(2.0 * ROUNDING * before + TINY);
        for head in kernel.heads() {
            let scores = inputs.scores(t, head, |q, k| q * k);
            let sizes = inputs.scores(t, head, |q, k| (q * k).abs());
            let m = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let turns = scores.len().div_ceil(128) as f64 + 1.0;
            let error = |s: f64, size: f64| {
                let score = bound::sum(width, size / scale) * scale + 3.0 * ROUNDING * s.abs() + TINY;
                score + ROUNDING * (s - m).abs() + 2.0 * ROUNDING * (3.0 + 2.0 * (s - m).abs())
            };
            let errors: Vec<f64> = scores.iter().zip(&sizes).map(|(&s, &size)| error(s, size)).collect();
            let largest = errors.iter().copied().fold(0.0, f64::max) + turns * 8.0 * ROUNDING;
            let sums = bound::sum(128 + turns as u32, 1.0) + 12.0 * ROUNDING;
            for ((out, weight), error) in row.iter_mut().zip(reference::softmax(&scores)).zip(errors) {
                let moved = (weight * (error + largest).exp_m1()).min(1.0);
                *out += (moved + weight * sums + 3.0 * TINY) / heads + TINY;
            }
        }
    }
    allowed
}
