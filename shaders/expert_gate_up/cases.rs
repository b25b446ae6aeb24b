//! The shapes of [`Setup::all`]; what other shards and the widths beyond an expert's own hold must stay as it is.

use super::{ExpertGateUp, reference};
use crate::bound::{self, Bound, Terms};
use crate::case::{Case, bits, poison};
use crate::experts::data::{Setup, gate_up};
use crate::kernel::{Extent, Slot};

pub(crate) fn cases(setups: Vec<Setup>) -> Vec<Case> {
    setups.into_iter().map(case).collect()
}

fn case(setup: Setup) -> Case {
    let (mut random, panels) = (setup.random(), setup.panels);
    let room = setup.tokens + 1;
    let (weight, scales) = gate_up(&mut random, &panels, &setup.shard);
    let mut x = bits(&setup.data.floats(&mut random, (setup.tokens * panels.hidden_size) as usize));
    x.extend(poison(panels.hidden_size as usize));
    let [entries, order, tiles] = setup.routes();
    let hidden = poison((room * setup.slots * panels.hidden_stride()) as usize);
    let kernel = ExpertGateUp {
        x: Slot(2),
        entries: Slot(3),
        shard: setup.shard,
        hidden: Slot(6),
        panels,
        slots: setup.slots,
        binned: setup.binned.then_some((Slot(4), Slot(5))),
        capacity: room,
    };
    let extent = Extent { tokens: setup.tokens, rows: 1, length: 1 };
    // Two sums, each with its own bound, through the product.
    let mut allowed = vec![0.0; hidden.len()];
    let mut sums = vec![(0.0, 0.0); hidden.len()];
    let reads = match setup.binned {
        true => vec![x.as_slice(), &order, &tiles, &weight, &scales],
        false => vec![x.as_slice(), &entries, &weight, &scales],
    };
    reference::gate_up(&kernel, &extent, &reads, Terms::Products, |at, gate, up| sums[at] = (gate, up));
    reference::gate_up(&kernel, &extent, &reads, Terms::Magnitudes, |at, gate, up| {
        let error = |magnitude| bound::sum(panels.hidden_size, magnitude);
        allowed[at] = bound::silu_product(sums[at].0, error(gate), sums[at].1, error(up));
    });
    Case {
        name: setup.name(),
        kernel: Box::new(kernel),
        buffers: vec![weight, scales, x, entries, order, tiles, hidden],
        extent,
        bounds: vec![Bound::Floats { allowed, nmse: setup.data.nmse(1e-10) }],
    }
}
