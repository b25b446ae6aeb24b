// Weight format bf16, two in each word; a bf16 is the upper half of an f32.
fn bf16x4(u: vec2<u32>) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4<u32>(u.x << 16u, u.x & 0xffff0000u, u.y << 16u, u.y & 0xffff0000u));
}
fn row_weights4(i: u32) -> vec4<f32> {
    let piece = weight[i / 2u];
    return bf16x4(select(piece.zw, piece.xy, i % 2u == 0u));
}
fn weight_scale(i: u32) -> f32 { return 1.0; }
