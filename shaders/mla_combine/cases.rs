//! One split to sixteen, equal and far maxima, tokens with fewer splits than others, part of a step.

use super::{MlaCombine, reference};
use crate::bound::{self, Bound, ROUNDING, TINY};
use crate::case::{Case, Data, Random, bits, poison};
use crate::kernel::{Extent, Slot, floats, floats_mut};
use crate::mla_sparse::{keys, splits};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        case([4, 32], 0, &[0, 127, 128, 1000], (0, 4), 3.0, Data::Random),
        case([6, 36], 300, &[255, 256, 299, 5000], (0, 4), 3.0, Data::Random),
        case([20, 144], 2048, &[4000, 10], (0, 2), 10.0, Data::Random),
        case([128, 512], 2048, &[5000], (0, 1), 3.0, Data::Random),
        case([4, 32], 0, &[400, 10, 700, 300, 200], (1, 3), 3.0, Data::Random),
        case([4, 32], 0, &[1500], (0, 1), 0.0, Data::Random),
        case([4, 32], 0, &[1500], (0, 1), 300.0, Data::Random),
    ];
    cases.extend(Data::ALL.map(|data| case([5, 140], 0, &[500, 30], (0, 2), 3.0, data)));
    cases
}

/// `spread`: maxima of splits are within ± this.
fn case(sizes: [u32; 2], k: u32, positions: &[u32], range: (u32, u32), spread: f32, data: Data) -> Case {
    let ([heads, kv_lora_rank], (first_token, max_tokens)) = (sizes, range);
    let mut random = Random::new(u64::from(heads * 1000 + kv_lora_rank + k + positions[0]));
    let rank = kv_lora_rank as usize;
    let tokens = positions.len() as u32;
    let count = |position: u32| splits(keys(k, position + 1));
    let splits = positions.iter().map(|&position| count(position)).max().unwrap_or(0) + 1;
    let mut step = vec![tokens, 1, 1, 0];
    step.extend(positions.iter().flat_map(|&position| [7, position, 0, 0]));
    // States of splits that a token does not have are poison: they must not be read.
    let mut partial = poison((max_tokens * splits * heads) as usize * (rank + 2));
    let mut rows = partial.chunks_mut(rank + 2);
    for &position in positions.iter().skip(first_token as usize).take(max_tokens as usize) {
        for split in 0..splits {
            for row in rows.by_ref().take(heads as usize) {
                if split < count(position) {
                    let values = data.floats(&mut random, rank);
                    row[..rank].copy_from_slice(&bits(&values));
                    row[rank] = (random.float() * spread).to_bits();
                    row[rank + 1] = (1.0 + random.float().abs() * 127.0).to_bits();
                }
            }
        }
    }
    let kernel = MlaCombine {
        partial: Slot(0),
        step: Slot(1),
        out: Slot(2),
        heads,
        kv_lora_rank,
        k,
        splits,
        first_token,
        max_tokens,
    };
    let out = poison((tokens * heads) as usize * rank);
    let mut magnitude = out.clone();
    let handled = max_tokens.min(tokens - first_token);
    reference::combine(&kernel, handled, floats(&partial), &step, floats_mut(&mut magnitude), f64::abs);
    // A split's weight is a product of decays whose exponents sum to at most 2·spread: 3 ulp for each of `splits` and 2 for
    // each unit of exponent, and a rounding of each difference; twice, since the divisor has them too. Then two sums, the
    // quotient and the product. What flushes is below TINY, a share of at most 1/l ≤ 1.
    let decays = 2.0 * (3.0 * f64::from(splits) + 2.5 * 2.0 * f64::from(spread)) * ROUNDING;
    let allowed = floats(&magnitude)
        .iter()
        .map(|&m| f64::from(m))
        .map(|m| 2.0 * decays.exp_m1() * m + 2.0 * bound::sum(splits, m) + 4.0 * ROUNDING * m + 4.0 * TINY)
        .map(|bound| bound + if data == Data::Subnormal { TINY } else { 0.0 })
        .collect();
    Case {
        name: format!(
            "{heads} × {kv_lora_rank}, k {k}, positions {positions:?} from {first_token}, ±{spread}, {data:?}"
        ),
        kernel: Box::new(kernel),
        buffers: vec![partial, step, out],
        extent: Extent { tokens, rows: 1, length: positions.iter().copied().max().unwrap_or(0) + 1 },
        bounds: vec![Bound::Floats { allowed, nmse: data.nmse(1e-9) }],
    }
}
