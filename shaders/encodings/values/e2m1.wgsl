// e2m1: 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives.
fn decode4(codes: vec4<u32>) -> vec4<f32> {
    // Twice the magnitude is a nibble of this word.
    let doubled = (vec4<u32>(0xc8643210u) >> ((codes & vec4<u32>(7u)) * 4u)) & vec4<u32>(15u);
    let magnitude = vec4<f32>(doubled) * 0.5;
    return select(magnitude, -magnitude, (codes & vec4<u32>(8u)) != vec4<u32>(0u));
}
