// Cache rows in f16: a vector is four elements in two words.
alias CacheVector = vec2<u32>;
fn row_vectors(scaled4: u32, rest4: u32) -> u32 { return scaled4 + rest4; }
fn cached(at: u32) -> vec4<f32> {
    let words = cache_vector(at);
    return vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y));
}
fn cached_rest(row: u32, scaled4: u32, i: u32) -> vec4<f32> { return cached(row + scaled4 + i); }
fn cached_scale(at: u32) -> f32 { return 1.0; }
