//! Mixture of experts: the router's choice stays on the GPU and drives the expert matmuls.

use lyn_shaders::Slot;
use lyn_shaders::expert_bin::ExpertBin;
use lyn_shaders::expert_combine::ExpertCombine;
use lyn_shaders::expert_down::ExpertDown;
use lyn_shaders::expert_gate_up::ExpertGateUp;
use lyn_shaders::experts::max_tiles;
use lyn_shaders::linear::Rows;
use lyn_shaders::route::Route;

use super::weights::ExpertsWeights;
use super::{Input, Parts, Recorder, elements, feed_forward, linear};

/// Tokens from which experts are binned, so that each weight is decoded once for several tokens; the same bits.
const BIN_FROM: u32 = 5;

/// x += Σ weight · expert(normed) + shared(normed).
pub(super) fn routed_and_shared(r: &mut Recorder, parts: Parts<'_>, moe: &ExpertsWeights, normed: Slot, x: Slot) {
    let Parts { dims, shape, slots, .. } = parts;
    let Some(router) = &dims.router else { return };
    let logits = r.scratch(elements(shape.tokens, moe.router.width)); // [tokens, n_routed_experts]
    linear(r, shape, &moe.router, Input::new(normed, dims.hidden_size), logits, Rows::Tokens, false);
    r.tap("router_logits", logits, Rows::Tokens, moe.router.width, 0..router.experts);
    let shared = moe.panels.shared_width > 0;
    let count = router.experts_per_token + u32::from(shared); // entries of a token
    let entries = r.scratch(elements(shape.tokens, 2 * count)); // [tokens, entries] of (expert, weight)
    r.push(Route {
        logits,
        bias: moe.bias.unwrap_or(logits),
        entries,
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
    r.tap("router_entries", entries, Rows::Tokens, 2 * count, 0..2 * router.experts_per_token);

    let binned = (shape.tokens >= BIN_FROM).then(|| {
        let order = r.scratch(elements(shape.tokens, count));
        let total = router.experts + u32::from(shared);
        let tiles = r.scratch(elements(1 + max_tiles(shape.tokens * count, total), 4));
        r.push(ExpertBin { entries, step: slots.step, order, tiles, slots: count, total_experts: total });
        (order, tiles)
    });
    let width = moe.panels.width.max(moe.panels.shared_width);
    let hidden = r.scratch(elements(shape.tokens * count, width)); // [tokens · entries, width]
    for &shard in &moe.gate_up {
        r.push(ExpertGateUp {
            x: normed,
            entries,
            shard,
            hidden,
            panels: moe.panels,
            slots: count,
            binned,
            capacity: shape.tokens,
        });
    }
    let y = r.scratch(elements(shape.tokens * count, dims.hidden_size)); // [tokens · entries, hidden_size]
    for &shard in &moe.down {
        r.push(ExpertDown {
            hidden,
            entries,
            shard,
            y,
            panels: moe.panels,
            slots: count,
            binned,
            capacity: shape.tokens,
        });
    }
    r.push(ExpertCombine { y, entries, x, slots: count, hidden_size: dims.hidden_size });
    if let Some(mlp) = &moe.shared_apart {
        feed_forward::dense(r, parts, mlp, normed, x);
    }
}
