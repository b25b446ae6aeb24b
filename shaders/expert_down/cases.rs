//! The shapes of [`Setup::all`]; the rows of other shards must stay as they are, and hidden is a NaN beyond each width.

use super::{ExpertDown, reference};
use crate::bound::{self, Bound, ROUNDING, Terms};
use crate::case::{Case, bits, poison};
use crate::experts::data::{Setup, down};
use crate::kernel::{Extent, Slot};

pub(crate) fn cases(setups: Vec<Setup>) -> Vec<Case> {
    let mut cases: Vec<Case> = setups.iter().map(|&setup| case(setup, false)).collect();
    // One in which the entries of a token read the same row.
    cases.extend(setups.first().map(|&setup| case(setup, true)));
    cases
}

fn case(setup: Setup, shared_input: bool) -> Case {
    let (mut random, panels) = (setup.random(), setup.panels);
    let room = setup.tokens + 1;
    let (weight, scales) = down(&mut random, &panels, &setup.shard);
    let [entries, order, tiles] = setup.routes();
    let mut hidden = poison((room * setup.slots * panels.hidden_stride()) as usize);
    let rows = hidden.chunks_exact_mut(panels.hidden_stride() as usize).zip(entries.chunks_exact(2));
    for (row, entry) in rows.take((setup.tokens * setup.slots) as usize) {
        // Where entries share a row, experts of either width read it.
        let own = panels.width_of(entry[0] == panels.total_experts);
        let width = if shared_input { panels.hidden_stride() } else { own } as usize;
        row[..width].copy_from_slice(&bits(&setup.data.floats(&mut random, width)));
    }
    let y = poison((room * setup.slots * panels.hidden_size) as usize);
    let kernel = ExpertDown {
        hidden: Slot(2),
        entries: Slot(3),
        shard: setup.shard,
        y: Slot(6),
        panels,
        slots: setup.slots,
        sharing: if shared_input { setup.slots } else { 1 },
        binned: setup.binned.then_some((Slot(4), Slot(5))),
        capacity: room,
    };
    let extent = Extent { tokens: setup.tokens, rows: 1, length: 1 };
    let mut allowed = vec![0.0; y.len()];
    let reads = match setup.binned {
        true => vec![hidden.as_slice(), &order, &tiles, &weight, &scales],
        false => vec![hidden.as_slice(), &entries, &weight, &scales],
    };
    reference::down(&kernel, &extent, &reads, Terms::Magnitudes, |at, magnitude| {
        allowed[at] = bound::sum(panels.hidden_stride(), magnitude) + ROUNDING * magnitude;
    });
    reference::down(&kernel, &extent, &reads, Terms::Flushed, |at, flushed| allowed[at] += flushed);
    Case {
        name: format!("{}{}", setup.name(), if shared_input { ", inputs by token" } else { "" }),
        kernel: Box::new(kernel),
        buffers: vec![weight, scales, hidden, entries, order, tiles, y],
        extent,
        bounds: vec![Bound::Floats { allowed, nmse: setup.data.nmse(1e-11) }],
    }
}
