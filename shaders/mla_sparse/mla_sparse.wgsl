// mla_sparse.wgsl: attention of absorbed queries over the selected rows of the cache
//   s[h, j] = scale * (qa[t, h] . c[j] + q_rope[t, h] . r[j]);  p = softmax over j;  out[t, h] = sum over j of p[h, j] * c[j]
// cache row: latents c (kv_lora_rank) then rope key r; j runs over `selected`, or over all visible positions where k = 0.
// Keys are taken in splits of 128 of the selection. params.split = 0: a workgroup takes all splits in order and writes the
// normalised sum; 1: each takes the split of its z and writes its state (merge.wgsl), which `mla_combine` merges to the
// same bits.
// Grid: (groups of 16 heads, tokens, 1 or splits). Bound by FLOPs: 4 * kv_lora_rank + 2 * rope_dim per head and key; a key's
// row is read twice for 16 heads.
// Scores: a lane owns 4 keys x 4 heads; the canonical sum of the linear kernels, with the rope part as the last block. The
// cache's own scales are those of its blocks.
// Values: a lane owns 4 latents of 16 heads, keys ascending. What it has of earlier splits waits in `out`: its registers
// hold one split.
struct Params {
    q_stride4: u32, // q is counted in vec4
    q_rope4: u32,   // first column of head 0's rope part
    head_stride4: u32,
    heads: u32,
    rank4: u32, // kv_lora_rank / 4
    rope4: u32, // rope_dim / 4
    k: u32,     // row length of `selected`; 0: all visible positions
    scale: f32,
    first_token: u32,
    pages_from: u32,
    pages_per_sequence: u32,
    split: u32,  // 1: write states
    splits: u32, // splits of a token that `out` has room for
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>;     // [tokens, q_stride4]
@group(0) @binding(2) var<storage, read> qa: array<vec4<f32>>;    // [tokens, heads, rank4]
@group(0) @binding(3) var<storage, read> cache: array<CacheVector>; // [rows, row_vectors]: cache_row/read_*.wgsl
@group(0) @binding(4) var<storage, read> selected: array<u32>;    // [tokens, k] positions ascending, then padding
@group(0) @binding(5) var<storage, read> step: array<vec4<u32>>;  // common/step.wgsl
@group(0) @binding(6) var<storage, read_write> out: array<f32>;   // [tokens, heads, rank], or [y, z, heads, rank + 2]
const FURTHER: u32 = 7u; // the first of the cache's further bindings: cache_parts/read_*.wgsl

const SPLIT: u32 = 128u; // keys of a split, and lanes
const BLOCK_VECTORS: u32 = 32u; // vec4s of a canonical block
const HEADS: u32 = 16u;  // of a workgroup, in 4 quads
override QUADS: u32 = 4u; // quads that any workgroup needs
const PARTS: u32 = 16u;  // parts of a split, 8 keys each, that one lane reduces

var<workgroup> rows: array<u32, SPLIT>;            // offset of each key in the cache
var<workgroup> weights: array<vec4<f32>, 512>;     // [quad][key]: scores, then exp(score - m)
var<workgroup> part_max: array<vec4<f32>, 64>;     // [quad][part]
var<workgroup> part_sum: array<vec4<f32>, 64>;
var<workgroup> state_m: array<vec4<f32>, 4>;   // of the splits so far
var<workgroup> state_l: array<vec4<f32>, 4>;
var<workgroup> decay_old: array<vec4<f32>, 4>; // what this split makes of them, and of itself
var<workgroup> decay_new: array<vec4<f32>, 4>;

// Four heads' sums over one vec4 of the contraction, in order.
fn mac(sums: vec4<f32>, a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>, v: vec4<f32>) -> vec4<f32> {
    var sum = fma(vec4<f32>(a.x, b.x, c.x, d.x), vec4<f32>(v.x), sums);
    sum = fma(vec4<f32>(a.y, b.y, c.y, d.y), vec4<f32>(v.y), sum);
    sum = fma(vec4<f32>(a.z, b.z, c.z, d.z), vec4<f32>(v.z), sum);
    return fma(vec4<f32>(a.w, b.w, c.w, d.w), vec4<f32>(v.w), sum);
}

fn key_offset(t: u32, sequence: u32, index: u32) -> u32 {
    var position = index;
    if (params.k > 0u) { position = selected[t * params.k + index]; }
    return cache_row(sequence, position) * row_vectors(params.rank4, params.rope4);
}

@compute @workgroup_size(SPLIT)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head = group.x * HEADS;
    let t = params.first_token + group.y;
    let token = step[1u + t];
    var keys = token.y + 1u;
    if (params.k > 0u) { keys = min(keys, params.k); }
    let splits = (keys + SPLIT - 1u) / SPLIT;
    var first = 0u;
    var end = splits;
    if (params.split == 1u) {
        first = group.z;
        end = min(splits, group.z + 1u);
    }
    if (first >= end) { return; } // this token has fewer splits than the one that has most

    // This lane's keys of a split are key, key + 32, key + 64, key + 96; its heads a quad. Heads beyond the last repeat it.
    let key = lane % 32u;
    let quad = lane / 32u;
    let own = min(head + quad * 4u + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.heads - 1u));
    let qa_row = (t * params.heads + own) * params.rank4;
    let q_row = t * params.q_stride4 + params.q_rope4 + own * params.head_stride4;
    let rank4 = select(0u, params.rank4, quad < QUADS); // no scores for quads without heads
    if (lane < QUADS) {
        state_m[lane] = vec4<f32>(NO_SCORE);
        state_l[lane] = vec4<f32>(0.0);
    }
    for (var split = first; split < end; split += 1u) {
        let count = min(SPLIT, keys - split * SPLIT);
        // Beyond the last key it is repeated; the weight there is 0 and no value is read.
        rows[lane] = key_offset(t, token.z, split * SPLIT + min(lane, count - 1u));
        workgroupBarrier();
        let key0 = rows[key];
        let key1 = rows[key + 32u];
        let key2 = rows[key + 64u];
        let key3 = rows[key + 96u];
        var score0 = vec4<f32>(0.0);
        var score1 = vec4<f32>(0.0);
        var score2 = vec4<f32>(0.0);
        var score3 = vec4<f32>(0.0);
        for (var block = 0u; block < rank4; block += BLOCK_VECTORS) {
            var sum0 = vec4<f32>(0.0);
            var sum1 = vec4<f32>(0.0);
            var sum2 = vec4<f32>(0.0);
            var sum3 = vec4<f32>(0.0);
            let block_end = min(block + BLOCK_VECTORS, rank4);
            for (var i = block; i < block_end; i += 1u) {
                let a = qa[qa_row.x + i];
                let b = qa[qa_row.y + i];
                let c = qa[qa_row.z + i];
                let d = qa[qa_row.w + i];
                sum0 = mac(sum0, a, b, c, d, cached(key0 + i));
                sum1 = mac(sum1, a, b, c, d, cached(key1 + i));
                sum2 = mac(sum2, a, b, c, d, cached(key2 + i));
                sum3 = mac(sum3, a, b, c, d, cached(key3 + i));
            }
            let scale = params.rank4 + block / BLOCK_VECTORS;
            score0 = fma(vec4<f32>(cached_scale(key0 + scale)), sum0, score0);
            score1 = fma(vec4<f32>(cached_scale(key1 + scale)), sum1, score1);
            score2 = fma(vec4<f32>(cached_scale(key2 + scale)), sum2, score2);
            score3 = fma(vec4<f32>(cached_scale(key3 + scale)), sum3, score3);
        }
        var rope0 = vec4<f32>(0.0);
        var rope1 = vec4<f32>(0.0);
        var rope2 = vec4<f32>(0.0);
        var rope3 = vec4<f32>(0.0);
        for (var i = 0u; i < params.rope4; i += 1u) {
            let a = q[q_row.x + i];
            let b = q[q_row.y + i];
            let c = q[q_row.z + i];
            let d = q[q_row.w + i];
            rope0 = mac(rope0, a, b, c, d, cached_rest(key0, params.rank4, i));
            rope1 = mac(rope1, a, b, c, d, cached_rest(key1, params.rank4, i));
            rope2 = mac(rope2, a, b, c, d, cached_rest(key2, params.rank4, i));
            rope3 = mac(rope3, a, b, c, d, cached_rest(key3, params.rank4, i));
        }
        score0 = select(vec4<f32>(NO_SCORE), params.scale * (score0 + rope0), key < count);
        score1 = select(vec4<f32>(NO_SCORE), params.scale * (score1 + rope1), key + 32u < count);
        score2 = select(vec4<f32>(NO_SCORE), params.scale * (score2 + rope2), key + 64u < count);
        score3 = select(vec4<f32>(NO_SCORE), params.scale * (score3 + rope3), key + 96u < count);
        let place = quad * SPLIT + key;
        weights[place] = score0;
        weights[place + 32u] = score1;
        weights[place + 64u] = score2;
        weights[place + 96u] = score3;
        workgroupBarrier();

        if (lane < QUADS * PARTS) {
            var largest = weights[lane * 8u];
            for (var i = 1u; i < 8u; i += 1u) { largest = max(largest, weights[lane * 8u + i]); }
            part_max[lane] = largest;
        }
        workgroupBarrier();
        let m = largest_of(quad);
        weights[place] = select(vec4<f32>(0.0), decay4(score0 - m), key < count);
        weights[place + 32u] = select(vec4<f32>(0.0), decay4(score1 - m), key + 32u < count);
        weights[place + 64u] = select(vec4<f32>(0.0), decay4(score2 - m), key + 64u < count);
        weights[place + 96u] = select(vec4<f32>(0.0), decay4(score3 - m), key + 96u < count);
        if (lane < QUADS) {
            let split_m = largest_of(lane);
            let next = max(state_m[lane], split_m);
            decay_old[lane] = decay4(state_m[lane] - next);
            decay_new[lane] = decay4(split_m - next);
            state_m[lane] = next;
        }
        workgroupBarrier();

        if (lane < QUADS * PARTS) {
            var sum = weights[lane * 8u];
            for (var i = 1u; i < 8u; i += 1u) { sum += weights[lane * 8u + i]; }
            part_sum[lane] = sum;
        }
        for (var column = lane; column < params.rank4; column += SPLIT) { values(group, column, count, split > first); }
        workgroupBarrier(); // part_sum is there, and rows and weights may be replaced
        if (lane < QUADS) {
            var sum = part_sum[lane * PARTS];
            for (var i = 1u; i < PARTS; i += 1u) { sum += part_sum[lane * PARTS + i]; }
            state_l[lane] = merged(state_l[lane], decay_old[lane], sum, decay_new[lane]);
        }
    }

    workgroupBarrier();
    if (params.split == 1u) {
        for (var i = lane; i < HEADS; i += SPLIT) {
            if (head + i < params.heads) {
                let at = out_row(group, head + i) + params.rank4 * 4u;
                out[at] = state_m[i / 4u][i % 4u];
                out[at + 1u] = state_l[i / 4u][i % 4u];
            }
        }
        return;
    }
    for (var column = lane; column < params.rank4; column += SPLIT) {
        for (var i = 0u; i < min(HEADS, params.heads - head); i += 1u) {
            let at = out_row(group, head + i) + column * 4u;
            let value = load(at) * (1.0 / state_l[i / 4u][i % 4u]);
            put(at, value);
        }
    }
}

fn largest_of(quad: u32) -> vec4<f32> {
    var m = part_max[quad * PARTS];
    for (var i = 1u; i < PARTS; i += 1u) { m = max(m, part_max[quad * PARTS + i]); }
    return m;
}

// One split's weighted sum of 4 latents for 16 heads, merged into what is there.
fn values(group: vec3<u32>, column: u32, count: u32, later: bool) {
    var v0 = vec4<f32>(0.0);
    var v1 = vec4<f32>(0.0);
    var v2 = vec4<f32>(0.0);
    var v3 = vec4<f32>(0.0);
    var v4 = vec4<f32>(0.0);
    var v5 = vec4<f32>(0.0);
    var v6 = vec4<f32>(0.0);
    var v7 = vec4<f32>(0.0);
    var v8 = vec4<f32>(0.0);
    var v9 = vec4<f32>(0.0);
    var v10 = vec4<f32>(0.0);
    var v11 = vec4<f32>(0.0);
    var v12 = vec4<f32>(0.0);
    var v13 = vec4<f32>(0.0);
    var v14 = vec4<f32>(0.0);
    var v15 = vec4<f32>(0.0);
    let scale = params.rank4 + column / BLOCK_VECTORS;
    for (var j = 0u; j < count; j += 1u) {
        let c = cached(rows[j] + column) * cached_scale(rows[j] + scale);
        let p = weights[j];
        v0 = fma(vec4<f32>(p.x), c, v0);
        v1 = fma(vec4<f32>(p.y), c, v1);
        v2 = fma(vec4<f32>(p.z), c, v2);
        v3 = fma(vec4<f32>(p.w), c, v3);
        if (QUADS > 1u) {
            let p = weights[SPLIT + j];
            v4 = fma(vec4<f32>(p.x), c, v4);
            v5 = fma(vec4<f32>(p.y), c, v5);
            v6 = fma(vec4<f32>(p.z), c, v6);
            v7 = fma(vec4<f32>(p.w), c, v7);
        }
        if (QUADS > 2u) {
            let p = weights[2u * SPLIT + j];
            v8 = fma(vec4<f32>(p.x), c, v8);
            v9 = fma(vec4<f32>(p.y), c, v9);
            v10 = fma(vec4<f32>(p.z), c, v10);
            v11 = fma(vec4<f32>(p.w), c, v11);
        }
        if (QUADS > 3u) {
            let p = weights[3u * SPLIT + j];
            v12 = fma(vec4<f32>(p.x), c, v12);
            v13 = fma(vec4<f32>(p.y), c, v13);
            v14 = fma(vec4<f32>(p.z), c, v14);
            v15 = fma(vec4<f32>(p.w), c, v15);
        }
    }
    let head = group.x * HEADS;
    store_quad(group, head, 0u, column, later, v0, v1, v2, v3);
    if (QUADS > 1u) { store_quad(group, head + 4u, 1u, column, later, v4, v5, v6, v7); }
    if (QUADS > 2u) { store_quad(group, head + 8u, 2u, column, later, v8, v9, v10, v11); }
    if (QUADS > 3u) { store_quad(group, head + 12u, 3u, column, later, v12, v13, v14, v15); }
}

fn store_quad(
    group: vec3<u32>, head: u32, quad: u32, column: u32, later: bool,
    v0: vec4<f32>, v1: vec4<f32>, v2: vec4<f32>, v3: vec4<f32>,
) {
    let a = decay_old[quad];
    let b = decay_new[quad];
    store(group, head, column, later, v0, a.x, b.x);
    store(group, head + 1u, column, later, v1, a.y, b.y);
    store(group, head + 2u, column, later, v2, a.z, b.z);
    store(group, head + 3u, column, later, v3, a.w, b.w);
}

fn store(group: vec3<u32>, head: u32, column: u32, later: bool, value: vec4<f32>, a: f32, b: f32) {
    if (head >= params.heads) { return; }
    let at = out_row(group, head) + column * 4u;
    if (params.split == 1u) { put(at, value); return; }
    var earlier = vec4<f32>(0.0);
    if (later) { earlier = load(at); }
    put(at, merged(earlier, vec4<f32>(a), value, vec4<f32>(b)));
}

fn out_row(group: vec3<u32>, head: u32) -> u32 {
    if (params.split == 1u) {
        return ((group.y * params.splits + group.z) * params.heads + head) * (params.rank4 * 4u + 2u);
    }
    return ((params.first_token + group.y) * params.heads + head) * params.rank4 * 4u;
}
fn load(at: u32) -> vec4<f32> { return vec4<f32>(out[at], out[at + 1u], out[at + 2u], out[at + 3u]); }
fn put(at: u32, value: vec4<f32>) {
    out[at] = value.x;
    out[at + 1u] = value.y;
    out[at + 2u] = value.z;
    out[at + 3u] = value.w;
}
