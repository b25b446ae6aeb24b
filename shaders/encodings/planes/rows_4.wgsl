// 4-bit codes of a row. As rows_32.wgsl.
fn row_pieces(columns4: u32) -> u32 { return (columns4 + 7u) / 8u; }
fn row_weights4(first: u32, columns4: u32, i: u32) -> vec4<f32> {
    return decode4(nibbles4(weight[first + i / 8u][i / 2u % 4u] >> (i % 2u * 16u)));
}
