// 4-bit codes of a row-major tensor: weights 4i .. 4i + 3.
fn row_weights4(i: u32) -> vec4<f32> {
    let piece = weight[i / 8u];
    let at = i / 2u % 4u;
    let word = select(select(piece.w, piece.z, at == 2u), select(piece.y, piece.x, at == 0u), at < 2u);
    return decode4(word >> (i % 2u * 16u));
}
