// Rotary position embedding of one pair. The table of (cos, sin) comes from the host: WGSL bounds neither sin nor cos.
fn rotate(a: f32, b: f32, turn: vec2<f32>) -> vec2<f32> {
    return vec2<f32>(fma(a, turn.x, -(b * turn.y)), fma(b, turn.x, a * turn.y));
}

// Places of a pair among 2 * pairs dims: neighbours if interleaved, else one in each half.
fn first_of_pair(pair: u32, interleaved: u32) -> u32 { return pair * (1u + interleaved); }
fn second_of_pair(pair: u32, pairs: u32, interleaved: u32) -> u32 {
    return select(pair + pairs, 2u * pair + 1u, interleaved == 1u);
}
