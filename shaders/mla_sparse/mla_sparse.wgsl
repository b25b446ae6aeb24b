// mla_sparse.wgsl: attention of absorbed queries over the selected rows of the cache
//   s[h, j] = scale * (qa[t, h] . c[j] + q_rope[t, h] . r[j]);  p = softmax over j;  out[t, h] = sum over j of p[h, j] * c[j]
// cache row: latents c (kv_lora_rank) then rope key r; j runs over `selected`, or over all visible positions where k = 0.
// Keys are taken in splits of 128 of the selection. params.split = 0: a workgroup takes all splits in order and writes the
// normalised sum; 1: each takes the split of its z and writes its state (merge.wgsl), which `mla_combine` merges to the
// same bits.
// Grid: (groups of 8 heads x chunks of 512 latents, tokens, 1 or splits). Bound by FLOPs: 4 * (kv_lora_rank + rope / 2)
// per head and key; a key's row is read twice per 8 heads.
// Scores: a lane owns a key, queries are read at an address all lanes share; the canonical sum of the linear kernels, with
// the rope part as the last block. Values: a lane owns 4 latents of 8 heads, keys ascending.
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
    pages_per_sequence: u32,
    split: u32,  // 1: write states
    splits: u32, // splits of a token that `out` has room for
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>;     // [tokens, q_stride4]
@group(0) @binding(2) var<storage, read> qa: array<vec4<f32>>;    // [tokens, heads, rank4]
@group(0) @binding(3) var<storage, read> cache: array<vec4<f32>>; // [rows, rank4 + rope4]
@group(0) @binding(4) var<storage, read> selected: array<u32>;    // [tokens, k] positions ascending, then padding
@group(0) @binding(5) var<storage, read> step: array<vec4<u32>>;  // common/step.wgsl
@group(0) @binding(6) var<storage, read> pages: array<u32>;       // [sequences, pages_per_sequence]
@group(0) @binding(7) var<storage, read_write> out: array<f32>;   // [tokens, heads, rank], or [y, z, heads, rank + 2]

const SPLIT: u32 = 128u; // keys of a split, and lanes
const BLOCK4: u32 = 32u; // vec4s of a canonical block
const PARTS: u32 = 16u;  // parts of a split that are reduced by one lane each

var<workgroup> rows: array<u32, SPLIT>;                 // offset of each key in the cache
var<workgroup> weights: array<vec4<f32>, 256>;          // [half of the heads][key]: scores, then exp(score - m)
var<workgroup> part_max: array<vec4<f32>, 32>;          // [half][part]
var<workgroup> part_sum: array<vec4<f32>, 32>;

// Four heads' sums over one vec4 of the contraction, in order.
fn mac(sums: vec4<f32>, a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>, v: vec4<f32>) -> vec4<f32> {
    var sum = fma(vec4<f32>(a.x, b.x, c.x, d.x), vec4<f32>(v.x), sums);
    sum = fma(vec4<f32>(a.y, b.y, c.y, d.y), vec4<f32>(v.y), sum);
    sum = fma(vec4<f32>(a.z, b.z, c.z, d.z), vec4<f32>(v.z), sum);
    return fma(vec4<f32>(a.w, b.w, c.w, d.w), vec4<f32>(v.w), sum);
}
fn decay4(x: vec4<f32>) -> vec4<f32> { return vec4<f32>(decay(x.x), decay(x.y), decay(x.z), decay(x.w)); }

@compute @workgroup_size(SPLIT)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head_groups = (params.heads + 7u) / 8u;
    let head = (group.x % head_groups) * 8u;
    let column = group.x / head_groups * SPLIT + lane; // of vec4
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

    // Heads beyond the last repeat it and are not stored.
    let low = min(vec4<u32>(head, head + 1u, head + 2u, head + 3u), vec4<u32>(params.heads - 1u));
    let high = min(vec4<u32>(head + 4u, head + 5u, head + 6u, head + 7u), vec4<u32>(params.heads - 1u));
    let qa_low = (t * params.heads + low) * params.rank4;
    let qa_high = (t * params.heads + high) * params.rank4;
    let q_low = t * params.q_stride4 + params.q_rope4 + low * params.head_stride4;
    let q_high = t * params.q_stride4 + params.q_rope4 + high * params.head_stride4;

    var m_low = vec4<f32>(NO_SCORE);
    var m_high = vec4<f32>(NO_SCORE);
    var l_low = vec4<f32>(0.0);
    var l_high = vec4<f32>(0.0);
    var o0 = vec4<f32>(0.0);
    var o1 = vec4<f32>(0.0);
    var o2 = vec4<f32>(0.0);
    var o3 = vec4<f32>(0.0);
    var o4 = vec4<f32>(0.0);
    var o5 = vec4<f32>(0.0);
    var o6 = vec4<f32>(0.0);
    var o7 = vec4<f32>(0.0);
    for (var split = first; split < end; split += 1u) {
        let count = min(SPLIT, keys - split * SPLIT);
        // Lanes beyond the last key repeat it; their weight is 0 and no value is read for them.
        var position = split * SPLIT + min(lane, count - 1u);
        if (params.k > 0u) { position = selected[t * params.k + position]; }
        let key = cache_row(token.z, position) * (params.rank4 + params.rope4);

        var score_low = vec4<f32>(0.0);
        var score_high = vec4<f32>(0.0);
        for (var block = 0u; block < params.rank4; block += BLOCK4) {
            var sum_low = vec4<f32>(0.0);
            var sum_high = vec4<f32>(0.0);
            let block_end = min(block + BLOCK4, params.rank4);
            for (var i = block; i < block_end; i += 1u) {
                let c = cache[key + i];
                sum_low = mac(sum_low, qa[qa_low.x + i], qa[qa_low.y + i], qa[qa_low.z + i], qa[qa_low.w + i], c);
                sum_high = mac(sum_high, qa[qa_high.x + i], qa[qa_high.y + i], qa[qa_high.z + i], qa[qa_high.w + i], c);
            }
            score_low += sum_low;
            score_high += sum_high;
        }
        var rope_low = vec4<f32>(0.0);
        var rope_high = vec4<f32>(0.0);
        for (var i = 0u; i < params.rope4; i += 1u) {
            let r = cache[key + params.rank4 + i];
            rope_low = mac(rope_low, q[q_low.x + i], q[q_low.y + i], q[q_low.z + i], q[q_low.w + i], r);
            rope_high = mac(rope_high, q[q_high.x + i], q[q_high.y + i], q[q_high.z + i], q[q_high.w + i], r);
        }
        score_low = select(vec4<f32>(NO_SCORE), params.scale * (score_low + rope_low), lane < count);
        score_high = select(vec4<f32>(NO_SCORE), params.scale * (score_high + rope_high), lane < count);

        rows[lane] = key;
        weights[lane] = score_low;
        weights[SPLIT + lane] = score_high;
        workgroupBarrier();
        if (lane < 2u * PARTS) {
            var largest = weights[lane * 8u];
            for (var i = 1u; i < 8u; i += 1u) { largest = max(largest, weights[lane * 8u + i]); }
            part_max[lane] = largest;
        }
        workgroupBarrier();
        var split_m_low = part_max[0];
        var split_m_high = part_max[PARTS];
        for (var i = 1u; i < PARTS; i += 1u) {
            split_m_low = max(split_m_low, part_max[i]);
            split_m_high = max(split_m_high, part_max[PARTS + i]);
        }
        weights[lane] = select(vec4<f32>(0.0), decay4(score_low - split_m_low), lane < count);
        weights[SPLIT + lane] = select(vec4<f32>(0.0), decay4(score_high - split_m_high), lane < count);
        workgroupBarrier();
        if (lane < 2u * PARTS) {
            var sum = weights[lane * 8u];
            for (var i = 1u; i < 8u; i += 1u) { sum += weights[lane * 8u + i]; }
            part_sum[lane] = sum;
        }
        var v0 = vec4<f32>(0.0);
        var v1 = vec4<f32>(0.0);
        var v2 = vec4<f32>(0.0);
        var v3 = vec4<f32>(0.0);
        var v4 = vec4<f32>(0.0);
        var v5 = vec4<f32>(0.0);
        var v6 = vec4<f32>(0.0);
        var v7 = vec4<f32>(0.0);
        if (column < params.rank4) {
            for (var j = 0u; j < count; j += 1u) {
                let c = cache[rows[j] + column];
                let p_low = weights[j];
                let p_high = weights[SPLIT + j];
                v0 = fma(vec4<f32>(p_low.x), c, v0);
                v1 = fma(vec4<f32>(p_low.y), c, v1);
                v2 = fma(vec4<f32>(p_low.z), c, v2);
                v3 = fma(vec4<f32>(p_low.w), c, v3);
                v4 = fma(vec4<f32>(p_high.x), c, v4);
                v5 = fma(vec4<f32>(p_high.y), c, v5);
                v6 = fma(vec4<f32>(p_high.z), c, v6);
                v7 = fma(vec4<f32>(p_high.w), c, v7);
            }
        }
        workgroupBarrier(); // sums are there, and the weights may be replaced
        var split_l_low = part_sum[0];
        var split_l_high = part_sum[PARTS];
        for (var i = 1u; i < PARTS; i += 1u) {
            split_l_low += part_sum[i];
            split_l_high += part_sum[PARTS + i];
        }

        let next_low = max(m_low, split_m_low);
        let next_high = max(m_high, split_m_high);
        let a_low = decay4(m_low - next_low);
        let a_high = decay4(m_high - next_high);
        let b_low = decay4(split_m_low - next_low);
        let b_high = decay4(split_m_high - next_high);
        m_low = next_low;
        m_high = next_high;
        l_low = merged(l_low, a_low, split_l_low, b_low);
        l_high = merged(l_high, a_high, split_l_high, b_high);
        o0 = merged(o0, vec4<f32>(a_low.x), v0, vec4<f32>(b_low.x));
        o1 = merged(o1, vec4<f32>(a_low.y), v1, vec4<f32>(b_low.y));
        o2 = merged(o2, vec4<f32>(a_low.z), v2, vec4<f32>(b_low.z));
        o3 = merged(o3, vec4<f32>(a_low.w), v3, vec4<f32>(b_low.w));
        o4 = merged(o4, vec4<f32>(a_high.x), v4, vec4<f32>(b_high.x));
        o5 = merged(o5, vec4<f32>(a_high.y), v5, vec4<f32>(b_high.y));
        o6 = merged(o6, vec4<f32>(a_high.z), v6, vec4<f32>(b_high.z));
        o7 = merged(o7, vec4<f32>(a_high.w), v7, vec4<f32>(b_high.w));
    }

    store(group, head, column, o0, m_low.x, l_low.x);
    store(group, head + 1u, column, o1, m_low.y, l_low.y);
    store(group, head + 2u, column, o2, m_low.z, l_low.z);
    store(group, head + 3u, column, o3, m_low.w, l_low.w);
    store(group, head + 4u, column, o4, m_high.x, l_high.x);
    store(group, head + 5u, column, o5, m_high.y, l_high.y);
    store(group, head + 6u, column, o6, m_high.z, l_high.z);
    store(group, head + 7u, column, o7, m_high.w, l_high.w);
}

fn store(group: vec3<u32>, head: u32, column: u32, o: vec4<f32>, m: f32, l: f32) {
    if (head >= params.heads || column >= params.rank4) { return; }
    var row = ((params.first_token + group.y) * params.heads + head) * params.rank4 * 4u;
    var value = o;
    if (params.split == 1u) {
        row = ((group.y * params.splits + group.z) * params.heads + head) * (params.rank4 * 4u + 2u);
        if (column == 0u) {
            out[row + params.rank4 * 4u] = m;
            out[row + params.rank4 * 4u + 1u] = l;
        }
    } else {
        value = o * (1.0 / l);
    }
    let at = row + column * 4u;
    out[at] = value.x;
    out[at + 1u] = value.y;
    out[at + 2u] = value.z;
    out[at + 3u] = value.w;
}
