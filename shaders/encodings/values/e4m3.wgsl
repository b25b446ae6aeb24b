// e4m3fn, the codes of fp8. Exact for all 254 codes that are numbers.
// Normals are re-biased as f32 bits; the eight subnormals come out of a second exponent trick, so that no f32 subnormal,
// which WGSL lets a GPU flush, ever appears.
fn decode4(codes: vec4<u32>) -> vec4<f32> {
    var magnitude = bitcast<vec4<f32>>(((codes & vec4<u32>(0x7fu)) << vec4<u32>(20u)) + vec4<u32>(0x3c000000u));
    let subnormal = (codes & vec4<u32>(0x78u)) == vec4<u32>(0u);
    magnitude = select(magnitude, fma(magnitude, vec4<f32>(2.0), vec4<f32>(-0.015625)), subnormal);
    return bitcast<vec4<f32>>(bitcast<vec4<u32>>(magnitude) | ((codes & vec4<u32>(0x80u)) << vec4<u32>(24u)));
}
