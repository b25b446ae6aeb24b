// 16-bit codes of a row-major tensor: weights 4i .. 4i + 3.
fn row_weights4(i: u32) -> vec4<f32> {
    let piece = weight[i / 2u];
    return decode4(select(piece.zw, piece.xy, i % 2u == 0u));
}
