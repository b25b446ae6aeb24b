// f16 scales, two to a word. As scale_f32.wgsl.
fn weight_scale(at: u32, stride: u32, block: u32) -> f32 {
    let pair = unpack2x16float(scales[at + block / 2u * stride]);
    return select(pair.y, pair.x, block % 2u == 0u);
}
