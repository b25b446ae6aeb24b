// index_score.wgsl: scores[t, s] = sum over h of w[t, h] * scale * max(q[t, h] . k[s], 0), for s <= position(t)
// q: [tokens, q_stride], heads * head_dim from column q_offset; w: [tokens, w_stride], heads from column w_offset.
// cache: keys in panels of 32 rows, with scales of their own in fp8; scores: [max_tokens, score_stride] from token first_token.
// Grid: (tiles of 128 keys, tokens). A lane owns key `lane` of 4 panels and takes 8 heads at a time; all lanes read the
// same q. No value of a single head is stored. Bound by FLOPs: 2 * heads * head_dim per key and token, keys from the cache.
//
// Bits depend on q, k and w alone, not on how many tokens a step has: each dot product is the canonical sum of
// linear_vec.wgsl (blocks of 128 dims, in each one fma per dim, ascending), and heads follow one another in order.
struct Params {
    q_stride4: u32,   // q and its offset are counted in vec4
    q_offset4: u32,
    w_stride: u32,
    w_offset: u32,
    heads: u32,
    head_dim4: u32,   // head_dim / 4
    scale: f32,
    score_stride: u32,
    first_token: u32,
    pages_from: u32,
    pages_per_sequence: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>;      // [tokens, q_stride4]
@group(0) @binding(2) var<storage, read> w: array<f32>;            // [tokens, w_stride]
@group(0) @binding(3) var<storage, read> cache: array<CacheVector>; // [cache rows / 32, row_vectors, 32]: cache_row/read_*.wgsl
@group(0) @binding(4) var<storage, read> step: array<vec4<u32>>;   // common/step.wgsl
@group(0) @binding(5) var<storage, read_write> scores: array<f32>; // [max_tokens, score_stride]
const FURTHER: u32 = 6u; // the first of the cache's further bindings: cache_parts/read_*.wgsl

const TILE_KEYS: u32 = 128u;
const TILE_HEADS: u32 = 8u;
const BLOCK_VECTORS: u32 = 32u; // 128 dims

// Adds a head's part; heads beyond the last weigh nothing.
fn add_head(total: vec4<f32>, products: vec4<f32>, w_row: u32, head: u32) -> vec4<f32> {
    let weight = select(0.0, w[w_row + min(head, params.heads - 1u)] * params.scale, head < params.heads);
    return fma(vec4<f32>(weight), max(products, vec4<f32>(0.0)), total);
}

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let token_index = params.first_token + group.y;
    let token = step[1u + token_index];
    let first = group.x * TILE_KEYS;
    let last = token.y;
    if (first > last) { return; }
    // A page holds two panels. A second page beyond the last key is not looked up.
    let panel = cache_row(token.z, first) / 32u;
    let panel2 = cache_row(token.z, select(first, first + PAGE, first + PAGE <= last)) / 32u;
    let dims = params.head_dim4;
    let key = vec4<u32>(panel, panel + 1u, panel2, panel2 + 1u) * row_vectors(dims, 0u) * 32u + lane;
    let q_row = token_index * params.q_stride4 + params.q_offset4;
    let w_row = token_index * params.w_stride + params.w_offset;

    var total = vec4<f32>(0.0);
    for (var head = 0u; head < params.heads; head += TILE_HEADS) {
        let end_head = params.heads - 1u;
        let q0 = q_row + head * dims;
        let q1 = q_row + min(head + 1u, end_head) * dims;
        let q2 = q_row + min(head + 2u, end_head) * dims;
        let q3 = q_row + min(head + 3u, end_head) * dims;
        let q4 = q_row + min(head + 4u, end_head) * dims;
        let q5 = q_row + min(head + 5u, end_head) * dims;
        let q6 = q_row + min(head + 6u, end_head) * dims;
        let q7 = q_row + min(head + 7u, end_head) * dims;
        var product0 = vec4<f32>(0.0);
        var product1 = vec4<f32>(0.0);
        var product2 = vec4<f32>(0.0);
        var product3 = vec4<f32>(0.0);
        var product4 = vec4<f32>(0.0);
        var product5 = vec4<f32>(0.0);
        var product6 = vec4<f32>(0.0);
        var product7 = vec4<f32>(0.0);
        for (var block = 0u; block < dims; block += BLOCK_VECTORS) {
            var sums0 = vec4<f32>(0.0);
            var sums1 = vec4<f32>(0.0);
            var sums2 = vec4<f32>(0.0);
            var sums3 = vec4<f32>(0.0);
            var sums4 = vec4<f32>(0.0);
            var sums5 = vec4<f32>(0.0);
            var sums6 = vec4<f32>(0.0);
            var sums7 = vec4<f32>(0.0);
            let end = min(block + BLOCK_VECTORS, dims);
            for (var d = block; d < end; d += 1u) {
                let at = key + d * 32u;
                let a = cached(at.x);
                let b = cached(at.y);
                let c = cached(at.z);
                let e = cached(at.w);
                let dim0 = vec4<f32>(a.x, b.x, c.x, e.x);
                let dim1 = vec4<f32>(a.y, b.y, c.y, e.y);
                let dim2 = vec4<f32>(a.z, b.z, c.z, e.z);
                let dim3 = vec4<f32>(a.w, b.w, c.w, e.w);
                sums0 = mac4(sums0, dim0, dim1, dim2, dim3, q[q0 + d]);
                sums1 = mac4(sums1, dim0, dim1, dim2, dim3, q[q1 + d]);
                sums2 = mac4(sums2, dim0, dim1, dim2, dim3, q[q2 + d]);
                sums3 = mac4(sums3, dim0, dim1, dim2, dim3, q[q3 + d]);
                sums4 = mac4(sums4, dim0, dim1, dim2, dim3, q[q4 + d]);
                sums5 = mac4(sums5, dim0, dim1, dim2, dim3, q[q5 + d]);
                sums6 = mac4(sums6, dim0, dim1, dim2, dim3, q[q6 + d]);
                sums7 = mac4(sums7, dim0, dim1, dim2, dim3, q[q7 + d]);
            }
            let scale = key + (dims + block / BLOCK_VECTORS) * 32u;
            let scales = vec4<f32>(
                cached_scale(scale.x), cached_scale(scale.y), cached_scale(scale.z), cached_scale(scale.w),
            );
            product0 = fma(scales, sums0, product0);
            product1 = fma(scales, sums1, product1);
            product2 = fma(scales, sums2, product2);
            product3 = fma(scales, sums3, product3);
            product4 = fma(scales, sums4, product4);
            product5 = fma(scales, sums5, product5);
            product6 = fma(scales, sums6, product6);
            product7 = fma(scales, sums7, product7);
        }
        total = add_head(total, product0, w_row, head);
        total = add_head(total, product1, w_row, head + 1u);
        total = add_head(total, product2, w_row, head + 2u);
        total = add_head(total, product3, w_row, head + 3u);
        total = add_head(total, product4, w_row, head + 4u);
        total = add_head(total, product5, w_row, head + 5u);
        total = add_head(total, product6, w_row, head + 6u);
        total = add_head(total, product7, w_row, head + 7u);
    }

    let out = group.y * params.score_stride;
    let s = first + lane;
    if (s <= last) { scores[out + s] = total.x; }
    if (s + 32u <= last) { scores[out + s + 32u] = total.y; }
    if (s + 64u <= last) { scores[out + s + 64u] = total.z; }
    if (s + 96u <= last) { scores[out + s + 96u] = total.w; }
}
