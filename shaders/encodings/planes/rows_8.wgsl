// 8-bit codes of a row. As rows_32.wgsl.
fn row_pieces(columns4: u32) -> u32 { return (columns4 + 3u) / 4u; }
fn row_weights4(first: u32, columns4: u32, i: u32) -> vec4<f32> {
    return decode4(codes4(weight[first + i / 4u][i % 4u]));
}
