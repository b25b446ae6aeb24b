//! Ranks around the workgroup's width, both pairings, several sequences on scattered pages, adversarial rows.

use super::CacheWrite;
use crate::bound::{self, Bound, ROUNDING, TINY};
use crate::cache_parts::CacheParts;
use crate::cache_row::CacheType;
use crate::case::{Case, Data, Random, bits, poison};
use crate::common::paging::Paging;
use crate::common::{pair_places, position, sequence, turn};
use crate::kernel::Slot;
use crate::rope::cases::table;

pub(crate) fn cases() -> Vec<Case> {
    // A prompt of one sequence, single tokens of others, page ends, in one step.
    let mixed = [(1, 63), (0, 0), (2, 64), (2, 65), (2, 66), (0, 1), (3, 200), (4, 127), (5, 128)];
    let shapes = [(1, 1), (4, 2), (31, 3), (32, 16), (127, 8), (128, 32), (129, 130), (512, 32)];
    let mut cases = Vec::new();
    for (kv_lora_rank, pairs) in shapes {
        cases.push(case(&mixed, kv_lora_rank, pairs, kv_lora_rank % 2 == 0, Data::Random));
        cases.push(case(&[(0, 70)], kv_lora_rank, pairs, kv_lora_rank % 2 == 1, Data::Random));
    }
    cases.extend(Data::ALL.map(|data| case(&mixed[..3], 200, 16, true, data)));
    for cache_type in [CacheType::F16, CacheType::Fp8] {
        cases.push(case_in((cache_type, 1), &mixed, 132, 6, false, Data::Random));
        cases.extend([Data::Zeros, Data::Wide].map(|data| case_in((cache_type, 1), &mixed[..3], 260, 6, true, data)));
    }
    for (cache_type, parts) in [(CacheType::F32, 2), (CacheType::F32, 3), (CacheType::F16, 2), (CacheType::Fp8, 3)] {
        cases.push(case_in((cache_type, parts), &mixed, 132, 6, false, Data::Random));
    }
    cases
}

fn case(tokens: &[(u32, u32)], kv_lora_rank: u32, pairs: u32, interleaved: bool, data: Data) -> Case {
    case_in((CacheType::F32, 1), tokens, kv_lora_rank, pairs, interleaved, data)
}

/// In a type, and in so many parts.
fn case_in(
    (cache_type, parts): (CacheType, u32),
    tokens: &[(u32, u32)],
    kv_lora_rank: u32,
    pairs: u32,
    interleaved: bool,
    data: Data,
) -> Case {
    let mut random = Random::new(u64::from(kv_lora_rank * 1009 + pairs));
    let paging = Paging::scattered(&mut random, tokens);
    let (width, offset) = (kv_lora_rank + 2 * pairs, 5);
    let stride = offset + width + 3;
    let kv = data.floats(&mut random, (tokens.len() + 1) * stride as usize);
    let weight = random.floats(kv_lora_rank as usize);
    let table = table(paging.extent.length, pairs);
    let row = super::row(kv_lora_rank, pairs, cache_type);
    let cache = poison((paging.rows * row.words()) as usize);
    let (cache_parts, caches) = CacheParts::cut(&row, &cache, parts, (Slot(4), 5));
    let kernel = CacheWrite {
        kv: Slot(0),
        weight: Slot(1),
        table: Slot(2),
        step: Slot(3),
        pages: paging.pages,
        cache: cache_parts,
        stride,
        offset,
        kv_lora_rank,
        pairs,
        interleaved,
        eps: 1e-6,
        cache_type,
    };
    // Latents as in `rms_norm`: relative, and what flushed inputs leave at 1/√eps. Keys as in `rope`.
    let relative = (4.0 + f64::from(kv_lora_rank).sqrt()) * ROUNDING + 8.0 * ROUNDING;
    let flushed = TINY * (1.0 + 1e3);
    let mut allowed = vec![0.0; (paging.rows * width) as usize];
    let mut case = Case {
        name: format!(
            "{cache_type} in {parts}, tokens {}, kv_lora_rank {kv_lora_rank}, pairs {pairs}, interleaved {interleaved}, {data:?}",
            tokens.len()
        ),
        kernel: Box::new(kernel),
        buffers: [vec![bits(&kv), bits(&weight), bits(&table), paging.step], caches].concat(),
        extent: paging.extent,
        bounds: vec![],
    };
    let expected = case.expected().concat();
    let step = &case.buffers[3];
    for t in 0..paging.extent.tokens {
        let place = position(step, t);
        let written = paging.pages.row(step, sequence(step, t), place);
        let (start, values) = ((written * width) as usize, row.read(&expected, written));
        for (d, value) in (start..).zip(&values[..kv_lora_rank as usize]) {
            allowed[d] = f64::from(value.abs()) * relative + flushed;
        }
        let key = &kv[(t * stride + offset + kv_lora_rank) as usize..];
        for pair in 0..pairs {
            let (a, b) = pair_places(pair, pairs, interleaved);
            let bound = bound::rotate(key[a].into(), key[b].into(), (0.0, 0.0), turn(&table, pairs, place, pair));
            let out = start + kv_lora_rank as usize;
            (allowed[out + a], allowed[out + b]) = bound;
        }
        // Where a value lies between two that can be stored, an error of any size may decide.
        allowed[start..].iter_mut().zip(row.steps(&values)).for_each(|(allowed, step)| *allowed += step);
    }
    let nmse = data.nmse([1e-12, 1e-8, 2e-4][cache_type as usize]);
    let each = cache_parts.cut_rows(&row, &allowed);
    case.bounds.extend(each.map(|allowed| Bound::Rows { row, allowed, nmse }));
    case
}
