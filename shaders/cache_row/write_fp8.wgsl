// Cache rows in fp8: e4m3 with a scale for each block of 128, and bf16.
fn row_words(scaled: u32, rest: u32) -> u32 { return scaled / 4u + (scaled + 127u) / 128u + rest / 2u; }
const VECTOR_WORDS: u32 = 1u;

// The exponent of the smallest power of two by which the largest of a block is at most 448 = 1.75 * 2^8, as f32 has it.
fn scale_exponent(largest: f32) -> u32 {
    let bits = bitcast<u32>(largest);
    return max((bits >> 23u) + select(0u, 1u, (bits & 0x7fffffu) > 0x600000u), 35u) - 8u;
}

// The nearest e4m3, ties to even.
fn e4m3_bits(value: f32) -> u32 {
    let magnitude = min(abs(value), 448.0);
    let bits = bitcast<u32>(magnitude);
    let normal = (bits + 0x7ffffu + ((bits >> 20u) & 1u) - 0x3c000000u) >> 20u;
    let small = u32(round(magnitude * 512.0)); // multiples of 2^-9
    return select(normal, small, magnitude < 0.015625) | ((bitcast<u32>(value) >> 24u) & 0x80u);
}

// The nearest bf16, ties to even.
fn bf16_bits(value: f32) -> u32 {
    let bits = bitcast<u32>(value);
    return (bits + 0x7fffu + ((bits >> 16u) & 1u)) >> 16u;
}

// Block `block` of the scaled elements, from `staged`, which is 0 beyond the last; all lanes call it.
fn write_scaled(row: u32, scaled: u32, block: u32, lane: u32) {
    let exponent = scale_exponent(workgroup_max(lane, abs(staged[lane])));
    let inverse = bitcast<f32>((254u - exponent) << 23u);
    let d = 4u * lane;
    if (d < WORKGROUP && block * WORKGROUP + d < scaled) {
        let codes = e4m3_bits(staged[d] * inverse) | (e4m3_bits(staged[d + 1u] * inverse) << 8u)
            | (e4m3_bits(staged[d + 2u] * inverse) << 16u) | (e4m3_bits(staged[d + 3u] * inverse) << 24u);
        put_word(row_word(row, (block * WORKGROUP + d) / 4u), codes);
    }
    if (lane == 0u) { put_word(row_word(row, scaled / 4u + block), exponent << 23u); }
}

// Elements 2 * pair and the next of the rest.
fn write_rest(row: u32, scaled: u32, pair: u32, values: vec2<f32>) {
    let at = scaled / 4u + (scaled + 127u) / 128u + pair;
    put_word(row_word(row, at), bf16_bits(values.x) | (bf16_bits(values.y) << 16u));
}
