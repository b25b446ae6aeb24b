// Weight format f16: a piece is 8 weights, two in each word. unpack2x16float is core WGSL: no feature needed.
const PIECE_VECTORS: u32 = 2u;

fn f16x4(u: vec2<u32>) -> vec4<f32> { return vec4<f32>(unpack2x16float(u.x), unpack2x16float(u.y)); }
fn piece_mac(a: vec4<u32>, b: vec4<u32>, c: vec4<u32>, d: vec4<u32>, k4: u32) {
    mac(f16x4(a.xy), f16x4(b.xy), f16x4(c.xy), f16x4(d.xy), k4);
    mac(f16x4(a.zw), f16x4(b.zw), f16x4(c.zw), f16x4(d.zw), k4 + 1u);
}
fn row_weights4(i: u32) -> vec4<f32> {
    let piece = weight[i / 2u];
    return f16x4(select(piece.zw, piece.xy, i % 2u == 0u));
}
fn weight_scale(i: u32) -> f32 { return 1.0; }
