// Scales that are powers of two, 2^(e - 127), four to a word; e is 1 .. 254.
fn weight_scale(i: u32) -> f32 {
    return bitcast<f32>(extractBits(scales[i / 4u], i % 4u * 8u, 8u) << 23u);
}
