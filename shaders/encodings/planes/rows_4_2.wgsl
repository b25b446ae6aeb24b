// 6-bit codes of a row: nibbles, then the upper pairs of bits. As rows_32.wgsl.
fn row_pieces(columns4: u32) -> u32 { return (columns4 + 7u) / 8u + (columns4 + 15u) / 16u; }
fn row_weights4(first: u32, columns4: u32, i: u32) -> vec4<f32> {
    let low = weight[first + i / 8u][i / 2u % 4u] >> (i % 2u * 16u);
    let high = weight[first + (columns4 + 7u) / 8u + i / 16u][i / 4u % 4u] >> (i % 4u * 8u);
    return decode4(nibbles4(low) | (pairs4(high) << vec4<u32>(4u)));
}
