// Weight format fp8 e4m3 with f32 scales of blocks: a piece is 16 weights, four in each word.
// Normals are re-biased as f32 bits; the eight subnormals come out of a second exponent trick, so that no f32 subnormal,
// which WGSL lets a GPU flush, ever appears. Exact for all 254 codes that are numbers.
const PIECE_VECTORS: u32 = 4u;

fn fp8x4(u: u32) -> vec4<f32> {
    let bytes = vec4<u32>(u, u >> 8u, u >> 16u, u >> 24u);
    var magnitude = bitcast<vec4<f32>>(((bytes & vec4<u32>(0x7fu)) << vec4<u32>(20u)) + vec4<u32>(0x3c000000u));
    let subnormal = (bytes & vec4<u32>(0x78u)) == vec4<u32>(0u);
    magnitude = select(magnitude, fma(magnitude, vec4<f32>(2.0), vec4<f32>(-0.015625)), subnormal);
    return bitcast<vec4<f32>>(bitcast<vec4<u32>>(magnitude) | ((bytes & vec4<u32>(0x80u)) << vec4<u32>(24u)));
}
fn piece_mac(a: vec4<u32>, b: vec4<u32>, c: vec4<u32>, d: vec4<u32>, k4: u32) {
    mac(fp8x4(a.x), fp8x4(b.x), fp8x4(c.x), fp8x4(d.x), k4);
    mac(fp8x4(a.y), fp8x4(b.y), fp8x4(c.y), fp8x4(d.y), k4 + 1u);
    mac(fp8x4(a.z), fp8x4(b.z), fp8x4(c.z), fp8x4(d.z), k4 + 2u);
    mac(fp8x4(a.w), fp8x4(b.w), fp8x4(c.w), fp8x4(d.w), k4 + 3u);
}
fn row_weights4(i: u32) -> vec4<f32> {
    let piece = weight[i / 4u];
    let word = select(select(piece.w, piece.z, i % 4u == 2u), select(piece.y, piece.x, i % 4u == 0u), i % 4u < 2u);
    return fp8x4(word);
}
fn weight_scale(i: u32) -> f32 { return scales[i]; }
