// 16-bit codes of a row. As rows_32.wgsl.
fn row_pieces(columns4: u32) -> u32 { return (columns4 + 1u) / 2u; }
fn row_weights4(first: u32, columns4: u32, i: u32) -> vec4<f32> {
    let piece = weight[first + i / 2u];
    return decode4(select(piece.zw, piece.xy, i % 2u == 0u));
}
