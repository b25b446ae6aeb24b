//! Columns around the tile, one to eleven entries, adversarial data.

use super::ExpertCombine;
use crate::bound::{self, Bound, ROUNDING};
use crate::case::{Case, Data, Random, bits};
use crate::kernel::{Extent, Slot};

pub(crate) fn cases() -> Vec<Case> {
    let shapes =
        [(1, 1, 4), (3, 2, 64), (9, 9, 200), (33, 5, 192), (2, 11, 508), (1, 9, 512), (2, 7, 516), (1, 9, 7168)];
    let shaped = shapes.iter().map(|&(tokens, slots, hidden_size)| case(tokens, slots, hidden_size, Data::Random));
    shaped.chain(Data::ALL.iter().map(|&data| case(3, 9, 136, data))).collect()
}

fn case(tokens: u32, slots: u32, hidden_size: u32, data: Data) -> Case {
    let mut random = Random::new(u64::from(tokens * 1009 + slots * 31 + hidden_size));
    let y = data.floats(&mut random, (tokens * slots * hidden_size) as usize);
    let entries: Vec<(u32, f32)> = (0..tokens * slots).map(|i| (i, 2.5 * random.float())).collect();
    // A row more than the step has: it must stay as it is.
    let x = random.floats(((tokens + 1) * hidden_size) as usize);
    let allowed = (0..x.len()).map(|i| {
        let (token, column) = (i / hidden_size as usize, i % hidden_size as usize);
        let terms = (0..slots as usize).filter_map(|rank| {
            let entry = token * slots as usize + rank;
            let (_, weight) = entries.get(entry)?;
            Some((weight * y[entry * hidden_size as usize + column]).abs())
        });
        let magnitude: f64 = terms.map(f64::from).sum();
        bound::sum(slots, magnitude) + 2.0 * ROUNDING * (magnitude + f64::from(x[i].abs()))
    });
    Case {
        name: format!("tokens {tokens}, slots {slots}, hidden_size {hidden_size}, {data:?}"),
        kernel: Box::new(ExpertCombine { y: Slot(0), entries: Slot(1), x: Slot(2), slots, hidden_size }),
        extent: Extent { tokens, rows: 1, length: 1 },
        bounds: vec![Bound::Floats { allowed: allowed.collect(), nmse: data.nmse(1e-13) }],
        buffers: vec![
            bits(&y),
            entries.iter().flat_map(|(expert, weight)| [*expert, weight.to_bits()]).collect(),
            bits(&x),
        ],
    }
}
