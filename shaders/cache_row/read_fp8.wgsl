// Cache rows in fp8: a vector is four e4m3 in a word; behind them a scale for each block of 128, then the rest in bf16.
alias CacheVector = u32;
fn scales(scaled4: u32) -> u32 { return (scaled4 + 31u) / 32u; }
fn row_vectors(scaled4: u32, rest4: u32) -> u32 { return scaled4 + scales(scaled4) + 2u * rest4; }
fn cached(at: u32) -> vec4<f32> { return decode4(codes4(cache_vector(at))); }
fn cached_rest(row: u32, scaled4: u32, i: u32) -> vec4<f32> {
    let at = row + scaled4 + scales(scaled4) + 2u * i;
    let words = vec2<u32>(cache_vector(at), cache_vector(at + 1u));
    return bitcast<vec4<f32>>(vec4<u32>(words.x << 16u, words.x & 0xffff0000u, words.y << 16u, words.y & 0xffff0000u));
}
fn cached_scale(at: u32) -> f32 { return bitcast<f32>(cache_vector(at)); }
