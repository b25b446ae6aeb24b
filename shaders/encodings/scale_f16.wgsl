// f16 scales, two to a word.
fn weight_scale(i: u32) -> f32 {
    let pair = unpack2x16float(scales[i / 2u]);
    return select(pair.y, pair.x, i % 2u == 0u);
}
