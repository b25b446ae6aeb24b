//! Lifetimes of scratch tensors → few shared slots.
//!
//! WebGPU forbids one buffer as `read` and `read_write` in one dispatch even at disjoint ranges, so scratch tensors are
//! buffers of their own; two whose lifetimes do not meet share one.

use super::pass::{Pass, scratch_index};
use super::taps::Tap;

/// For each scratch tensor the shared slot it gets, and the words of each shared slot.
pub(super) fn lay_out(passes: &[Pass], taps: &[Tap], words: &[u64]) -> (Vec<u32>, Vec<u64>) {
    let mut lives: Vec<Option<(usize, usize)>> = vec![None; words.len()];
    let mut use_at = |slot, at: usize| {
        if let Some(i) = scratch_index(slot) {
            let life = lives[i].get_or_insert((at, at));
            life.1 = life.1.max(at);
        }
    };
    for (at, pass) in passes.iter().enumerate() {
        pass.slots.iter().for_each(|&slot| use_at(slot, at));
    }
    // A tap reads after `after` passes, that is before pass `after` may write the same memory.
    taps.iter().for_each(|tap| use_at(tap.columns.slot, tap.after.saturating_sub(1)));

    let mut order: Vec<usize> = (0..words.len()).filter(|&i| lives[i].is_some()).collect();
    order.sort_by_key(|&i| lives[i]);
    let (mut places, mut shared) = (vec![0; words.len()], Vec::<(u64, usize)>::new());
    for i in order {
        let Some((first, last)) = lives[i] else { continue };
        // Among free slots the one that wastes or grows least.
        let free = shared.iter().enumerate().filter(|(_, slot)| slot.1 < first);
        let best = free.min_by_key(|(_, slot)| slot.0.abs_diff(words[i])).map(|(place, _)| place);
        let place = best.unwrap_or_else(|| {
            shared.push((0, 0));
            shared.len() - 1
        });
        shared[place] = (shared[place].0.max(words[i]), last);
        places[i] = u32::try_from(place).expect("fewer slots than tensors");
    }
    (places, shared.into_iter().map(|(words, _)| words).collect())
}
