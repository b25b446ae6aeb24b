// iq4: a code is a place in a table of 16 signed bytes, close together near zero.
fn table(code: u32) -> i32 {
    // -127 -104 -83 -65, -49 -35 -22 -10, 1 13 25 38, 53 69 89 113; as words, since an indexed array may spill.
    let low = select(0xbfad9881u, 0xf6eaddcfu, code >= 4u);
    let high = select(0x26190d01u, 0x71594535u, code >= 12u);
    return extractBits(bitcast<i32>(select(low, high, code >= 8u)), code % 4u * 8u, 8u);
}
fn decode4(codes: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(vec4<i32>(table(codes.x), table(codes.y), table(codes.z), table(codes.w)));
}
