// Weight format f16, two in each word. unpack2x16float is core WGSL: no feature needed.
fn f16x4(u: vec2<u32>) -> vec4<f32> { return vec4<f32>(unpack2x16float(u.x), unpack2x16float(u.y)); }
fn row_weights4(i: u32) -> vec4<f32> {
    let piece = weight[i / 2u];
    return f16x4(select(piece.zw, piece.xy, i % 2u == 0u));
}
fn weight_scale(i: u32) -> f32 { return 1.0; }
