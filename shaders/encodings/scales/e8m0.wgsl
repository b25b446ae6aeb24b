// Scales that are powers of two, 2^(e - 127), four to a word; e is 1 .. 254. As scale_f32.wgsl.
fn weight_scale(at: u32, stride: u32, block: u32) -> f32 {
    return bitcast<f32>(extractBits(scales[at + block / 4u * stride], block % 4u * 8u, 8u) << 23u);
}
