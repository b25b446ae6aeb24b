// Signed bytes times an f16 that half the groups of SCALE_BLOCKS share. Words: two f16; then four bytes each. As scale_f32.wgsl.
fn weight_scale(at: u32, stride: u32, block: u32) -> f32 {
    let first = at + block / SCALE_BLOCKS * SCALE_WORDS * stride;
    let place = block % SCALE_BLOCKS;
    let pair = unpack2x16float(scales[first]);
    let bytes = bitcast<i32>(scales[first + (1u + place / 4u) * stride]);
    return select(pair.y, pair.x, place < SCALE_BLOCKS / 2u) * f32(extractBits(bytes, place % 4u * 8u, 8u));
}
