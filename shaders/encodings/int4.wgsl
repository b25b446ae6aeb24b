// int4: a nibble minus 8. Four of them, in the lower half of a word.
fn decode4(u: u32) -> vec4<f32> {
    return vec4<f32>(vec4<u32>(u, u >> 4u, u >> 8u, u >> 12u) & vec4<u32>(15u)) - vec4<f32>(8.0);
}
