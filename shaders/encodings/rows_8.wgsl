// 8-bit codes of a row-major tensor: weights 4i .. 4i + 3.
fn row_weights4(i: u32) -> vec4<f32> {
    let piece = weight[i / 4u];
    let word = select(select(piece.w, piece.z, i % 4u == 2u), select(piece.y, piece.x, i % 4u == 0u), i % 4u < 2u);
    return decode4(word);
}
