//! The dense feed-forward layer: down(silu(gate(x)) · up(x)).

use lyn_shaders::Slot;
use lyn_shaders::linear::Rows;
use lyn_shaders::swiglu::SwiGlu;

use super::weights::DenseWeights;
use super::{Input, Parts, Recorder, elements, linear};

/// x += mlp(normed).
pub(super) fn dense(r: &mut Recorder, Parts { dims, shape, .. }: Parts<'_>, mlp: &DenseWeights, normed: Slot, x: Slot) {
    let gate_up = r.scratch(elements(shape.tokens, mlp.gate_up.width)); // [tokens, gate | up]
    linear(r, shape, &mlp.gate_up, Input::new(normed, dims.hidden_size), gate_up, Rows::Tokens, false);
    let hidden = r.scratch(elements(shape.tokens, mlp.width)); // [tokens, intermediate_size]
    r.push(SwiGlu { gate_up, y: hidden, width: mlp.width, stride: mlp.gate_up.width, up_offset: mlp.gate_up.parts[1] });
    linear(r, shape, &mlp.down, Input::new(hidden, mlp.width), x, Rows::Tokens, true);
}
