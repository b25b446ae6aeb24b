//! Selections scattered over pages, around k and around a split; several sequences; head counts and ranks around tiles;
//! both forms; scores that are equal, and one that towers.

use super::{MlaSparse, SPLIT, reference::Inputs};
use crate::bound::{self, Bound, ROUNDING, TINY};
use crate::cache_parts::CacheParts;
use crate::cache_row::CacheType;
use crate::cache_write;
use crate::case::{Case, Data, Random, bits, poison};
use crate::common::paging::Paging;
use crate::kernel::{Extent, Slot};

/// A step and the sizes of a model.
#[derive(Clone, Debug)]
struct Setup {
    /// heads, kv_lora_rank, rope_dim
    sizes: [u32; 3],
    k: u32,
    /// sequence and position of each token
    tokens: Vec<(u32, u32)>,
    /// first_token, max_tokens
    range: (u32, u32),
    split: bool,
    data: Data,
    /// One score 88 above the rest, which are 0.
    spike: bool,
    cache_type: CacheType,
    /// Bindings of the cache.
    parts: u32,
}

pub(crate) fn cases() -> Vec<Case> {
    let golden = [4, 32, 16];
    let base = |sizes, k, tokens: &[(u32, u32)]| Setup {
        sizes,
        k,
        tokens: tokens.to_vec(),
        range: (0, u32::MAX),
        split: false,
        data: Data::Random,
        spike: false,
        cache_type: CacheType::F32,
        parts: 1,
    };
    let packed = |cache_type, setup| Setup { cache_type, ..setup };
    let mut setups = vec![
        packed(CacheType::Fp8, base([3, 260, 12], 9, &[(0, 39), (1, 8)])),
        packed(CacheType::Fp8, base([4, 132, 64], 0, &[(0, 140)])),
        packed(CacheType::F16, base([3, 132, 12], 9, &[(0, 39), (1, 8)])),
        Setup { parts: 2, ..base([3, 132, 12], 9, &[(0, 200), (1, 130), (2, 8)]) },
        Setup { parts: 3, ..base([3, 132, 12], 0, &[(0, 299), (1, 130)]) },
        Setup { parts: 3, ..packed(CacheType::F16, base([4, 36, 12], 40, &[(0, 299), (1, 130)])) },
        Setup { parts: 2, ..packed(CacheType::Fp8, base([3, 132, 12], 0, &[(0, 140), (1, 63)])) },
        base(golden, 0, &[(0, 0)]),
        base(golden, 0, &[(0, 299), (1, 63), (0, 300), (2, 127), (1, 64), (3, 128)]),
        base(golden, 8, &[(0, 6), (1, 7), (2, 8), (3, 90)]),
        base(golden, 130, &[(1, 128), (0, 129), (2, 130), (0, 511)]),
        base(golden, 256, &[(0, 400), (1, 255), (2, 3)]),
        base([20, 144, 12], 40, &[(0, 39), (1, 200)]),
        base([6, 36, 4], 0, &[(0, 140), (1, 2), (2, 255)]),
        base([1, 4, 4], 3, &[(0, 500)]),
        base([9, 132, 64], 129, &[(1, 300)]),
        base([3, 516, 8], 0, &[(0, 131), (1, 5)]),
        base([128, 512, 64], 24, &[(0, 100)]),
        Setup { range: (2, 3), ..base(golden, 70, &[(0, 10), (1, 20), (2, 180), (0, 11), (1, 21), (2, 181)]) },
        Setup { spike: true, ..base(golden, 0, &[(0, 200), (1, 40)]) },
        Setup { spike: true, ..base([9, 64, 8], 150, &[(0, 350)]) },
    ];
    setups.extend(Data::ALL.map(|data| Setup { data, ..base([5, 140, 8], 133, &[(0, 180), (1, 70)]) }));
    setups.into_iter().flat_map(|setup| [false, true].map(|split| case(&Setup { split, ..setup.clone() }))).collect()
}

fn case(setup: &Setup) -> Case {
    let &Setup { sizes: [heads, kv_lora_rank, rope_dim], k, ref tokens, range, split, data, spike, .. } = setup;
    let mut random = Random::new(u64::from(heads * 1000 + kv_lora_rank + k * 7) + tokens.len() as u64);
    let mut lengths = vec![0u32; tokens.iter().map(|&(sequence, _)| sequence as usize + 1).max().unwrap_or(0)];
    for &(sequence, position) in tokens {
        let length = &mut lengths[sequence as usize];
        *length = (*length).max(position + 1);
    }
    let Paging { step, pages, rows, extent } = Paging::scattered(&mut random, tokens);
    let count = extent.tokens;
    let mut selected = Vec::new();
    for &(_, position) in tokens.iter().filter(|_| k > 0) {
        let mut chosen = random.shuffle(position + 1);
        chosen.truncate(k as usize);
        chosen.sort_unstable();
        chosen.resize(k as usize, u32::MAX);
        selected.extend(chosen);
    }

    let width = kv_lora_rank + rope_dim;
    let scale = 3.0 / (width as f32).sqrt();
    let (nope_dim, q_offset) = (8, 4);
    let head_stride = nope_dim + rope_dim + 4;
    let q_stride = q_offset + heads * head_stride;
    let query = if data == Data::Equal { data } else { Data::Random };
    let mut q = query.floats(&mut random, (count * q_stride) as usize);
    let mut qa = query.floats(&mut random, (count * heads * kv_lora_rank) as usize);
    if spike {
        q.fill(0.0);
        qa.iter_mut()
            .enumerate()
            .for_each(|(i, x)| *x = if i % kv_lora_rank as usize == 0 { 1.0 / scale } else { 0.0 });
    }
    // Rows of positions that do not exist are poison: they must not be read.
    let row = cache_write::row(kv_lora_rank, rope_dim / 2, setup.cache_type);
    let mut cache = poison((rows * row.words()) as usize);
    for (sequence, &length) in (0..).zip(&lengths) {
        let mut values = data.floats(&mut random, (length * width) as usize);
        for (position, values) in (0..).zip(values.chunks_mut(width as usize)) {
            if spike {
                values[0] = if position == length / 2 { 88.0 } else { 0.0 };
            }
            row.write(&mut cache, pages.row(&step, sequence, position), values);
        }
    }
    if k > 0 && spike {
        selected[0] = lengths[0] / 2; // the towering key is among the chosen, once
        for (i, place) in selected.iter_mut().enumerate().skip(1) {
            *place = lengths[0] / 2 + i as u32;
        }
    }

    let splits = super::splits(super::keys(k, extent.length)) + 1;
    let (first_token, max_tokens) = (range.0, range.1.min(count));
    let out = if split { max_tokens * splits * heads * (kv_lora_rank + 2) } else { count * heads * kv_lora_rank };
    let (cache_parts, mut caches) = CacheParts::cut(&row, &cache, setup.parts, (Slot(2), 6));
    let kernel = MlaSparse {
        q: Slot(0),
        qa: Slot(1),
        cache: cache_parts,
        selected: if k > 0 { Slot(3) } else { Slot(4) },
        step: Slot(4),
        pages,
        out: Slot(5),
        q_stride,
        q_offset,
        head_stride,
        nope_dim,
        heads,
        kv_lora_rank,
        rope_dim,
        k,
        scale,
        first_token,
        max_tokens,
        split,
        splits,
        cache_type: setup.cache_type,
    };
    let first = std::mem::take(&mut caches[0]);
    let mut buffers = vec![bits(&q), bits(&qa), first, selected, step, poison(out as usize)];
    buffers.extend(caches.into_iter().skip(1));
    let nmse = if spike { f64::INFINITY } else { data.nmse(1e-9) };
    let bounds = vec![Bound::Floats { allowed: allowed(&kernel, &buffers, &extent), nmse }];
    Case { name: format!("{setup:?}"), kernel: Box::new(kernel), buffers, extent, bounds }
}

/// Bounds of every element of `out`; 0 where nothing is written.
///
/// A score s is off by Δ = scale · (bound of its sum) and two roundings. p = exp(s − m) is then off by a factor within
/// e^±δ, δ = Δ + roundings of the difference + exp's 3 + 2|x| ulp. In the normalised form the shader's m cancels, and each
/// merge of splits multiplies by one more exp of a part of the same difference; so δ gets 3 ulp and two roundings for each
/// split. The mean of c with weights p·(1 + ε), |ε| ≤ e^δ − 1, is off by at most Σ p·|ε|·(|c| + |mean|) / Σ p·e^−δ, and
/// never by more than twice the largest |c|. Sums, over at most 128 keys at a time, and the division add their own.
fn allowed(kernel: &MlaSparse, buffers: &[Vec<u32>], extent: &Extent) -> Vec<f64> {
    let reads = [0, 1, 2, kernel.selected.0 as usize, 4].into_iter().chain(6..buffers.len());
    let reads: Vec<&[u32]> = reads.map(|i| buffers[i].as_slice()).collect();
    let inputs = Inputs::new(kernel, &reads);
    let (rank, width) = (kernel.kv_lora_rank as usize, kernel.kv_lora_rank + kernel.rope_dim);
    let mut allowed = vec![0f64; buffers[5].len()];
    for local in 0..super::tokens(extent, kernel.first_token, kernel.max_tokens) {
        let t = kernel.first_token + local;
        let keys = inputs.keys(t);
        for head in 0..kernel.heads {
            let scores = inputs.scores(t, head, &keys, |q, k| q * k);
            let sizes = inputs.scores(t, head, &keys, |q, k| (q * k).abs());
            let scale = f64::from(kernel.scale);
            let errors: Vec<f64> = (scores.iter().zip(sizes))
                .map(|(s, size)| bound::sum(width, size / scale) * scale + 3.0 * ROUNDING * s.abs() + TINY)
                .collect();
            if kernel.split {
                let size = SPLIT as usize;
                let splits = scores.chunks(size).zip(errors.chunks(size)).zip(keys.chunks(size));
                for (split, ((scores, errors), keys)) in (0..).zip(splits) {
                    let row = (local * kernel.splits + split) * kernel.heads + head;
                    let out = &mut allowed[row as usize * (rank + 2)..][..rank + 2];
                    state_bounds(scores, errors, keys, out);
                }
            } else {
                let out = &mut allowed[(t * kernel.heads + head) as usize * rank..][..rank];
                mean_bounds(scores.as_slice(), &errors, &keys, out);
            }
        }
    }
    allowed
}

/// Relative error of exp(x) for x within `error` of its reference, as an exponent.
fn exponent(x: f64, error: f64) -> f64 {
    error + ROUNDING * x.abs() + 2.0 * ROUNDING * (3.0 + 2.0 * x.abs())
}

fn state_bounds(scores: &[f64], errors: &[f64], keys: &[Vec<f32>], out: &mut [f64]) {
    let rank = out.len() - 2;
    let m = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let m_error = errors.iter().copied().fold(0.0, f64::max);
    let weights: Vec<(f64, f64)> = (scores.iter().zip(errors))
        .map(|(s, e)| ((s - m).exp(), exponent(s - m, e + m_error).exp_m1()))
        .map(|(p, relative)| (p, (p * relative).min(1.0) + 2.0 * TINY))
        .collect();
    let count = scores.len() as u32;
    let (l, l_error) = weights.iter().fold((0.0, 0.0), |(l, e), (p, error)| (l + p + error, e + error));
    for (c, out) in out[..rank].iter_mut().enumerate() {
        let terms = weights.iter().zip(keys).map(|((p, e), key)| (p, e, f64::from(key[c]).abs()));
        let (size, error) = terms.fold((0.0, 0.0), |(s, e), (p, error, c)| (s + (p + error) * c, e + error * c));
        *out = error + bound::sum(count, size);
    }
    out[rank] = m_error;
    out[rank + 1] = l_error + bound::sum(count, l);
}

fn mean_bounds(scores: &[f64], errors: &[f64], keys: &[Vec<f32>], out: &mut [f64]) {
    let splits = scores.len().div_ceil(SPLIT as usize) as f64;
    let m = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<(f64, f64)> = (scores.iter().zip(errors))
        .map(|(s, e)| ((s - m).exp(), exponent(s - m, *e) + splits * 8.0 * ROUNDING))
        .collect();
    let l: f64 = weights.iter().map(|(p, _)| p).sum();
    let least: f64 = weights.iter().map(|(p, d)| p * (-d).exp()).sum();
    for (c, out) in out.iter_mut().enumerate() {
        let column = || keys.iter().map(|key| f64::from(key[c]).abs());
        let size: f64 = weights.iter().zip(column()).map(|((p, _), c)| p * c).sum::<f64>() / l;
        let largest = column().fold(0.0, f64::max);
        let moved: f64 =
            weights.iter().zip(column()).map(|((p, d), c)| (p * d.exp_m1() + 2.0 * TINY) * (c + size)).sum();
        // Two sums, one of them in the divisor, over 128 keys at most and then over splits; division and product.
        let sums = 2.0 * bound::sum(SPLIT + splits as u32, size) + 4.0 * ROUNDING * size;
        *out = (moved / least).min(2.0 * largest) + sums;
    }
}
