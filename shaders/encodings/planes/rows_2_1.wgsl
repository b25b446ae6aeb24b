// 3-bit codes of a row: pairs of bits, then the third bits. As rows_32.wgsl.
fn row_pieces(columns4: u32) -> u32 { return (columns4 + 15u) / 16u + (columns4 + 31u) / 32u; }
fn row_weights4(first: u32, columns4: u32, i: u32) -> vec4<f32> {
    let low = weight[first + i / 16u][i / 4u % 4u] >> (i % 4u * 8u);
    let high = weight[first + (columns4 + 15u) / 16u + i / 32u][i / 8u % 4u] >> (i % 8u * 4u);
    return decode4(pairs4(low) | (bits4(high) << vec4<u32>(2u)));
}
