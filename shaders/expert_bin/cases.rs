//! Experts with none, one, 8 ± 1 and all entries; batches of 128 entries and lanes' ranges of experts at their borders.

use super::ExpertBin;
use crate::bound::Bound;
use crate::case::{Case, poison};
use crate::experts::data::{Routing, entries};
use crate::experts::max_tiles;
use crate::kernel::{Extent, Slot};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (tokens, slots, experts) in
        [(1, 1, 1), (1, 9, 257), (2, 4, 16), (14, 9, 129), (32, 4, 128), (43, 3, 127), (16, 8, 257), (65, 2, 2)]
    {
        cases.push(case(tokens, slots, experts, Routing::Random));
    }
    for tokens in [7, 8, 9, 17, 257] {
        cases.push(case(tokens, 3, 20, Routing::Same));
    }
    cases.push(case(512, 9, 257, Routing::Random));
    cases.push(case(130, 11, 513, Routing::Random));
    cases
}

/// The last expert is the shared one where there are more than `slots`.
fn case(tokens: u32, slots: u32, experts: u32, routing: Routing) -> Case {
    let shared = experts > slots;
    let entries =
        entries(u64::from(tokens * slots + experts), tokens, slots, experts - u32::from(shared), shared, routing);
    // Room for a token more than the step has.
    let room = (tokens + 1) * slots;
    let mut words: Vec<u32> = entries.into_iter().flat_map(|(expert, weight)| [expert, weight.to_bits()]).collect();
    words.extend(poison(2 * slots as usize));
    let kernel =
        ExpertBin { entries: Slot(0), step: Slot(1), order: Slot(2), tiles: Slot(3), slots, total_experts: experts };
    Case {
        name: format!("{tokens} tokens, {slots} of {experts} experts, {routing:?}"),
        kernel: Box::new(kernel),
        buffers: vec![
            words,
            vec![tokens, 1, 1, 0],
            poison(room as usize),
            poison(4 * (1 + max_tiles(room, experts)) as usize),
        ],
        extent: Extent { tokens, rows: 1, length: 1 },
        bounds: vec![Bound::Bits, Bound::Bits],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expert_bin::reference::bin;

    #[test]
    fn tiles_fit_the_room_for_them() {
        for experts in [1, 2, 20, 257] {
            for tokens in 1..40 {
                for (slots, routing) in [(1, Routing::Random), (experts.min(9), Routing::Random), (1, Routing::Same)] {
                    let entries = entries(1, tokens, slots, experts, false, routing);
                    let chosen: Vec<u32> = entries.into_iter().map(|(expert, _)| expert).collect();
                    assert!(bin(&chosen).1.len() as u32 <= max_tiles(tokens * slots, experts));
                }
            }
        }
        assert_eq!(max_tiles(9, 257), 9, "9 experts with an entry each");
        assert_eq!(max_tiles(26, 2), 5, "17 and 9 entries: 3 + 2 tiles");
    }
}
