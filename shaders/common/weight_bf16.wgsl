// Weight format bf16: a piece is 8 weights, two in each word; a bf16 is the upper half of an f32.
const PIECE_VECTORS: u32 = 2u;

fn bf16x4(u: vec2<u32>) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4<u32>(u.x << 16u, u.x & 0xffff0000u, u.y << 16u, u.y & 0xffff0000u));
}
fn piece_mac(a: vec4<u32>, b: vec4<u32>, c: vec4<u32>, d: vec4<u32>, k4: u32) {
    mac(bf16x4(a.xy), bf16x4(b.xy), bf16x4(c.xy), bf16x4(d.xy), k4);
    mac(bf16x4(a.zw), bf16x4(b.zw), bf16x4(c.zw), bf16x4(d.zw), k4 + 1u);
}
fn row_weights4(i: u32) -> vec4<f32> {
    let piece = weight[i / 2u];
    return bf16x4(select(piece.zw, piece.xy, i % 2u == 0u));
}
fn weight_scale(i: u32) -> f32 { return 1.0; }
