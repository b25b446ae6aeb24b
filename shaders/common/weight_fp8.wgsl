// Weight format fp8 e4m3 with f32 scales of blocks, four weights in each word.
// Normals are re-biased as f32 bits; the eight subnormals come out of a second exponent trick, so that no f32 subnormal,
// which WGSL lets a GPU flush, ever appears. Exact for all 254 codes that are numbers.
fn fp8x4(u: u32) -> vec4<f32> {
    let bytes = vec4<u32>(u, u >> 8u, u >> 16u, u >> 24u);
    var magnitude = bitcast<vec4<f32>>(((bytes & vec4<u32>(0x7fu)) << vec4<u32>(20u)) + vec4<u32>(0x3c000000u));
    let subnormal = (bytes & vec4<u32>(0x78u)) == vec4<u32>(0u);
    magnitude = select(magnitude, fma(magnitude, vec4<f32>(2.0), vec4<f32>(-0.015625)), subnormal);
    return bitcast<vec4<f32>>(bitcast<vec4<u32>>(magnitude) | ((bytes & vec4<u32>(0x80u)) << vec4<u32>(24u)));
}
fn row_weights4(i: u32) -> vec4<f32> {
    let piece = weight[i / 4u];
    let word = select(select(piece.w, piece.z, i % 4u == 2u), select(piece.y, piece.x, i % 4u == 0u), i % 4u < 2u);
    return fp8x4(word);
}
fn weight_scale(i: u32) -> f32 { return scales[i]; }
