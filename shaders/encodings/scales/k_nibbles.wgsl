// Nibbles (scale, minimum) times two f16 that 16 groups of 16 columns share; the minimum is subtracted. Words: the f16 of scales
// and of minima; then four groups each. As scale_f32.wgsl.
fn weight_scale(at: u32, stride: u32, block: u32) -> f32 {
    let first = at + block / 16u * 5u * stride;
    let bytes = scales[first + (1u + block % 16u / 4u) * stride];
    return unpack2x16float(scales[first]).x * f32(extractBits(bytes, block % 4u * 8u, 4u));
}
fn weight_minimum(at: u32, stride: u32, block: u32) -> f32 {
    let first = at + block / 16u * 5u * stride;
    let bytes = scales[first + (1u + block % 16u / 4u) * stride];
    return -unpack2x16float(scales[first]).y * f32(extractBits(bytes, block % 4u * 8u + 4u, 4u));
}
