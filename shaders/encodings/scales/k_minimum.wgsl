// Bytes (scale, minimum) times two f16 that 8 groups of 32 columns share; the minimum is subtracted. Words: the f16 of scales and
// of minima; then two groups each. As scale_f32.wgsl.
fn weight_scale(at: u32, stride: u32, block: u32) -> f32 {
    let first = at + block / 8u * 5u * stride;
    let bytes = scales[first + (1u + block % 8u / 2u) * stride];
    return unpack2x16float(scales[first]).x * f32(extractBits(bytes, block % 2u * 16u, 8u));
}
fn weight_minimum(at: u32, stride: u32, block: u32) -> f32 {
    let first = at + block / 8u * 5u * stride;
    let bytes = scales[first + (1u + block % 8u / 2u) * stride];
    return -unpack2x16float(scales[first]).y * f32(extractBits(bytes, block % 2u * 16u + 8u, 8u));
}
