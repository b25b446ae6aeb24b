// index_key_write.wgsl: cache[row(t)] = rope((k - mean(k)) / sqrt(var(k) + eps) * weight + bias)
// k: [tokens, stride], head_dim columns from column offset; rope turns the first 2 * pairs dims after the norm.
// The cache holds keys in panels of 32 rows: vector v of row r, the words of four elements, is vector
// (r / 32 * vectors of a row + v) * 32 + r % 32, so that lanes that own keys read side by side.
// One workgroup per token. Launch-bound: 1 KB per token.
struct Params {
    stride: u32,
    offset: u32,
    head_dim: u32,
    pairs: u32,
    interleaved: u32, // 1: pairs are neighbours; 0: one in each half
    eps: f32,
    pages_from: u32,
    pages_per_sequence: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> k: array<f32>;           // [tokens, stride]
@group(0) @binding(2) var<storage, read> weight: array<f32>;      // [head_dim]
@group(0) @binding(3) var<storage, read> bias: array<f32>;        // [head_dim]
@group(0) @binding(4) var<storage, read> table: array<vec2<f32>>; // [positions, pairs] of (cos, sin)
@group(0) @binding(5) var<storage, read> step: array<vec4<u32>>;  // common/step.wgsl
@group(0) @binding(6) var<storage, read_write> cache: array<u32>; // [cache rows / 32, vectors, 32]: cache_row/write_*.wgsl
const FURTHER: u32 = 7u; // the first of its further bindings: cache_parts/write_*.wgsl

var<workgroup> staged: array<f32, WORKGROUP>; // a block of the key

fn normed(key: u32, d: u32, mean: f32, scale: f32) -> f32 {
    return fma((k[key + d] - mean) * scale, weight[d], bias[d]);
}

fn row_word(row: u32, word: u32) -> u32 {
    let vectors = row_words(params.head_dim, 0u) / VECTOR_WORDS;
    let vector = (row / 32u * vectors + word / VECTOR_WORDS) * 32u + row % 32u;
    return vector * VECTOR_WORDS + word % VECTOR_WORDS;
}

// Element d of the key: rotated, if it is among the first.
fn element(key: u32, d: u32, turns: u32, mean: f32, scale: f32) -> f32 {
    if (d >= 2u * params.pairs) { return normed(key, d, mean, scale); }
    let pair = select(d % params.pairs, d / 2u, params.interleaved == 1u);
    let a = first_of_pair(pair, params.interleaved);
    let b = second_of_pair(pair, params.pairs, params.interleaved);
    let both = rotate(normed(key, a, mean, scale), normed(key, b, mean, scale), table[turns + pair]);
    return select(both.x, both.y, d == b);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let token = step[1u + group.x];
    let key = group.x * params.stride + params.offset;
    let row = cache_row(token.z, token.y);
    let count = f32(params.head_dim);

    var sum = 0.0;
    for (var d = lane; d < params.head_dim; d += WORKGROUP) { sum += k[key + d]; }
    let mean = workgroup_sum(lane, sum) / count;
    var squares = 0.0;
    for (var d = lane; d < params.head_dim; d += WORKGROUP) {
        let deviation = k[key + d] - mean;
        squares = fma(deviation, deviation, squares);
    }
    let scale = inverseSqrt(workgroup_sum(lane, squares) / count + params.eps);

    for (var block = 0u; block * WORKGROUP < params.head_dim; block += 1u) {
        let d = block * WORKGROUP + lane;
        var value = 0.0;
        if (d < params.head_dim) { value = element(key, d, token.y * params.pairs, mean, scale); }
        workgroupBarrier(); // the block before is written
        staged[lane] = value;
        workgroupBarrier();
        write_scaled(row, params.head_dim, block, lane);
    }
}
