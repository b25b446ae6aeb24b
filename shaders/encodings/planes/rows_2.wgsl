// 2-bit codes of a row. As rows_32.wgsl.
fn row_pieces(columns4: u32) -> u32 { return (columns4 + 15u) / 16u; }
fn row_weights4(first: u32, columns4: u32, i: u32) -> vec4<f32> {
    return decode4(pairs4(weight[first + i / 16u][i / 4u % 4u] >> (i % 4u * 8u)));
}
