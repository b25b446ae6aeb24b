//! Ranks around the workgroup's width, both pairings, several sequences on scattered pages, adversarial rows.

use super::CacheWrite;
use crate::bound::{self, Bound, ROUNDING, TINY};
use crate::case::{Case, Data, Random, bits, poison};
use crate::common::paging::Paging;
use crate::common::{cache_row, pair_places, position, sequence, turn};
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
    cases
}

fn case(tokens: &[(u32, u32)], kv_lora_rank: u32, pairs: u32, interleaved: bool, data: Data) -> Case {
    let mut random = Random::new(u64::from(kv_lora_rank * 1009 + pairs));
    let paging = Paging::scattered(&mut random, tokens);
    let (width, offset) = (kv_lora_rank + 2 * pairs, 5);
    let stride = offset + width + 3;
    let kv = data.floats(&mut random, (tokens.len() + 1) * stride as usize);
    let weight = random.floats(kv_lora_rank as usize);
    let table = table(paging.extent.length, pairs);
    let kernel = CacheWrite {
        kv: Slot(0),
        weight: Slot(1),
        table: Slot(2),
        step: Slot(3),
        pages: Slot(4),
        cache: Slot(5),
        stride,
        offset,
        kv_lora_rank,
        pairs,
        interleaved,
        eps: 1e-6,
        pages_per_sequence: paging.pages_per_sequence,
    };
    // Latents as in `rms_norm`: relative, and what flushed inputs leave at 1/√eps. Keys as in `rope`.
    let relative = (4.0 + f64::from(kv_lora_rank).sqrt()) * ROUNDING + 8.0 * ROUNDING;
    let flushed = TINY * (1.0 + 1e3);
    let cache = poison((paging.rows * width) as usize);
    let mut allowed = vec![0.0; cache.len()];
    let mut case = Case {
        name: format!(
            "tokens {}, kv_lora_rank {kv_lora_rank}, pairs {pairs}, interleaved {interleaved}, {data:?}",
            tokens.len()
        ),
        kernel: Box::new(kernel),
        buffers: vec![bits(&kv), bits(&weight), bits(&table), paging.step, paging.pages, cache],
        extent: paging.extent,
        bounds: vec![],
    };
    let expected = &case.expected()[0];
    let (step, pages) = (&case.buffers[3], &case.buffers[4]);
    for t in 0..paging.extent.tokens {
        let place = position(step, t);
        let start = (cache_row(pages, paging.pages_per_sequence, sequence(step, t), place) * width) as usize;
        for d in start..start + kv_lora_rank as usize {
            allowed[d] = f64::from(f32::from_bits(expected[d])).abs() * relative + flushed;
        }
        let key = &kv[(t * stride + offset + kv_lora_rank) as usize..];
        for pair in 0..pairs {
            let (a, b) = pair_places(pair, pairs, interleaved);
            let bound = bound::rotate(key[a].into(), key[b].into(), (0.0, 0.0), turn(&table, pairs, place, pair));
            let out = start + kv_lora_rank as usize;
            (allowed[out + a], allowed[out + b]) = bound;
        }
    }
    case.bounds.push(Bound::Floats { allowed, nmse: data.nmse(1e-12) });
    case
}
