//! Mixture of experts: the router's choice stays on the GPU and drives the expert matmuls.

use lyn_shaders::Slot;
use lyn_shaders::expert_bin::ExpertBin;
use lyn_shaders::expert_combine::ExpertCombine;
use lyn_shaders::expert_down::ExpertDown;
use lyn_shaders::expert_gate_up::ExpertGateUp;
use lyn_shaders::experts::{ExpertPanels, ExpertShard, max_tiles};
use lyn_shaders::route::Route;
use lyn_shaders::swiglu::SwiGlu;

use super::dims::RouterDims;
use super::weights::{ExpertsWeights, GateUp};
use super::{StepRecorder, feed_forward};
use crate::record::{ColumnRange, Columns};

/// Tokens from which experts are binned, so that each weight is decoded once for several tokens; the same bits.
const BIN_FROM: u32 = 5;

/// x += Σ weight · expert(normed) + shared(normed).
pub(super) fn routed_and_shared(r: &mut StepRecorder<'_>, moe: &ExpertsWeights, normed: Columns, x: Columns) {
    let router = r.dims.router.as_ref().expect("a layer has experts only where the config has a router");
    let logits = r.linear(normed, &moe.router); // [tokens, n_routed_experts]
    r.tap("router_logits", logits.part(ColumnRange { first: 0, width: router.experts }));
    let chosen = route(r, router, moe, logits); // entries (expert, weight) of each token
    let hidden = gate_up(r, moe, &chosen, normed); // [tokens · entries, width]
    let y = matrix(r, (&moe.panels, &moe.down), &chosen, hidden, 1); // [tokens · entries, hidden_size]
    r.push(ExpertCombine {
        y,
        entries: chosen.entries,
        x: x.slot,
        slots: chosen.count,
        hidden_size: r.dims.hidden_size,
    });
    if let Some(mlp) = &moe.shared_apart {
        feed_forward::dense(r, mlp, normed, x);
    }
}

/// Which experts each token goes to.
struct Chosen {
    /// `[tokens, count]` of (expert, weight)
    entries: Slot,
    /// Entries of a token: `num_experts_per_tok`, and one for the shared expert where it lies beside the routed ones.
    count: u32,
    /// Entries ordered by expert, and their tiles; none where each is done on its own.
    binned: Option<(Slot, Slot)>,
}

fn route(r: &mut StepRecorder<'_>, router: &RouterDims, moe: &ExpertsWeights, logits: Columns) -> Chosen {
    let shared = moe.panels.shared_width > 0;
    let count = router.experts_per_token + u32::from(shared);
    let entries = r.tokens(2 * count);
    r.push(Route {
        logits: logits.slot,
        bias: moe.bias.unwrap_or(logits.slot),
        entries: entries.slot,
        experts: router.experts,
        experts_per_token: router.experts_per_token,
        n_group: router.n_group,
        topk_group: router.topk_group,
        softmax: router.softmax,
        group_top_two: router.group_top_two,
        has_bias: moe.bias.is_some(),
        normalise: router.normalise,
        scaling: router.scaling,
        shared,
    });
    r.tap("router_entries", entries.part(ColumnRange { first: 0, width: 2 * router.experts_per_token }));
    let entries = entries.slot;
    let tokens = r.shape.tokens;
    let binned = (tokens >= BIN_FROM).then(|| {
        let total_experts = router.experts + u32::from(shared);
        let order = r.scratch(tokens, count);
        let tiles = r.scratch(1 + max_tiles(tokens * count, total_experts), 4);
        r.push(ExpertBin { entries, step: r.slots.step, order, tiles, slots: count, total_experts });
        (order, tiles)
    });
    Chosen { entries, count, binned }
}

/// silu(gate(x)) · up(x) of each entry's expert; each shard does the entries of its own experts.
fn gate_up(r: &mut StepRecorder<'_>, moe: &ExpertsWeights, chosen: &Chosen, x: Columns) -> Slot {
    let hidden = r.scratch(r.shape.tokens * chosen.count, moe.panels.hidden_stride());
    match &moe.gate_up {
        GateUp::Beside(shards) => {
            for &shard in shards {
                r.push(ExpertGateUp {
                    x: x.slot,
                    entries: chosen.entries,
                    shard,
                    hidden,
                    panels: moe.panels,
                    slots: chosen.count,
                    binned: chosen.binned,
                    capacity: r.shape.tokens,
                });
            }
        }
        GateUp::Apart(both) => {
            // The entries of a token read its row.
            let [gate, up] =
                both.each_ref().map(|(panels, shards)| matrix(r, (panels, shards), chosen, x.slot, chosen.count));
            let width = moe.panels.width;
            r.push(SwiGlu { gate, up, y: hidden, rows: chosen.count, width, stride: width, up_offset: 0 });
        }
    }
    hidden
}

/// One matrix of each entry's expert, of rows of x that `sharing` entries read each: `[tokens · entries, rows of the matrix]`.
fn matrix(
    r: &mut StepRecorder<'_>,
    (panels, shards): (&ExpertPanels, &[ExpertShard]),
    chosen: &Chosen,
    x: Slot,
    sharing: u32,
) -> Slot {
    let y = r.scratch(r.shape.tokens * chosen.count, panels.hidden_size);
    for &shard in shards {
        r.push(ExpertDown {
            hidden: x,
            entries: chosen.entries,
            shard,
            y,
            panels: *panels,
            slots: chosen.count,
            sharing,
            binned: chosen.binned,
            capacity: r.shape.tokens,
        });
    }
    y
}
