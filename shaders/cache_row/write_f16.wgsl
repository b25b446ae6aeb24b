// Cache rows in f16.
fn row_words(scaled: u32, rest: u32) -> u32 { return (scaled + rest) / 2u; }
const VECTOR_WORDS: u32 = 2u;

// The nearest binary16, ties to even: pack2x16float leaves both open.
fn half_bits(value: f32) -> u32 {
    let magnitude = min(abs(value), 65504.0);
    let bits = bitcast<u32>(magnitude);
    let normal = (bits + 0xfffu + ((bits >> 13u) & 1u) - 0x38000000u) >> 13u;
    let small = u32(round(magnitude * 16777216.0)); // multiples of 2^-24
    return select(normal, small, magnitude < 6.103515625e-5) | ((bitcast<u32>(value) >> 16u) & 0x8000u);
}

// Block `block` of the scaled elements, from `staged`; all lanes call it.
fn write_scaled(row: u32, scaled: u32, block: u32, lane: u32) {
    let d = block * WORKGROUP + 2u * lane;
    if (lane < WORKGROUP / 2u && d < scaled) {
        put_word(row_word(row, d / 2u), half_bits(staged[2u * lane]) | (half_bits(staged[2u * lane + 1u]) << 16u));
    }
}

// Elements 2 * pair and the next of the rest.
fn write_rest(row: u32, scaled: u32, pair: u32, values: vec2<f32>) {
    put_word(row_word(row, scaled / 2u + pair), half_bits(values.x) | (half_bits(values.y) << 16u));
}
