// Cache rows in f32.
fn row_words(scaled: u32, rest: u32) -> u32 { return scaled + rest; }
const VECTOR_WORDS: u32 = 4u;

// Block `block` of the scaled elements, from `staged`; all lanes call it.
fn write_scaled(row: u32, scaled: u32, block: u32, lane: u32) {
    let d = block * WORKGROUP + lane;
    if (d < scaled) { put_word(row_word(row, d), bitcast<u32>(staged[lane])); }
}

// Elements 2 * pair and the next of the rest.
fn write_rest(row: u32, scaled: u32, pair: u32, values: vec2<f32>) {
    put_word(row_word(row, scaled + 2u * pair), bitcast<u32>(values.x));
    put_word(row_word(row, scaled + 2u * pair + 1u), bitcast<u32>(values.y));
}
