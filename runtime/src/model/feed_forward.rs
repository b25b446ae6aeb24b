//! The dense feed-forward layer: down(silu(gate(x)) · up(x)).

use lyn_shaders::swiglu::SwiGlu;

use super::StepRecorder;
use super::weights::DenseWeights;
use crate::record::Columns;

/// x += mlp(normed).
pub(super) fn dense(r: &mut StepRecorder<'_>, mlp: &DenseWeights, normed: Columns, x: Columns) {
    let gate_up = r.linear(normed, &mlp.gate_up); // [tokens, gate | up]
    let hidden = swiglu(r, gate_up, mlp); // [tokens, intermediate_size]
    r.add_linear(hidden, &mlp.down, x); // [tokens, hidden_size]
}

/// silu(gate) · up
fn swiglu(r: &mut StepRecorder<'_>, gate_up: Columns, mlp: &DenseWeights) -> Columns {
    let y = r.tokens(mlp.up.width);
    r.push(SwiGlu {
        gate: gate_up.slot,
        up: gate_up.slot,
        y: y.slot,
        rows: 1,
        width: mlp.up.width,
        stride: gate_up.stride,
        up_offset: mlp.up.first,
    });
    y
}
