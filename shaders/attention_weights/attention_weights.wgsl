// attention_weights.wgsl: what dense attention weighs, averaged over heads; 4 heads of it
//   s[h, p] = scale * (qa[t, h] . c[p] + q_rope[t, h] . r[p])
//   out[t, p] (+)= 1 / heads * sum over h of softmax_p(s[h])[p], h from first_head; added to what is there unless that is 0
// cache row: latents c (kv_lora_rank) then rope key r; p runs over all visible positions, 0 to position(t).
// Grid: (tokens). A lane owns positions lane, lane + 128, … and reads their rows twice: for the largest score and the sum
// (online, merge.wgsl), then for the weights. For inspection only: simple rather than fast.
// 4 heads and no more, because llvmpipe ends all loops of an invocation after 65,535 turns in sum: here that is a context
// of 29,000 tokens with rows of 576.
struct Params {
    q_stride4: u32, // q is counted in vec4
    q_rope4: u32,   // first column of head 0's rope part
    head_stride4: u32,
    heads: u32,
    rank4: u32, // kv_lora_rank / 4
    rope4: u32, // rope_dim / 4
    first_head: u32,
    scale: f32,
    out_stride: u32,
    pages_from: u32,
    pages_per_sequence: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>;     // [tokens, q_stride4]
@group(0) @binding(2) var<storage, read> qa: array<vec4<f32>>;    // [tokens, heads, rank4]
@group(0) @binding(3) var<storage, read> cache: array<CacheVector>; // [rows, row_vectors]: cache_row/read_*.wgsl
@group(0) @binding(4) var<storage, read> step: array<vec4<u32>>;  // common/step.wgsl
@group(0) @binding(5) var<storage, read_write> out: array<f32>;   // [tokens, out_stride]
const FURTHER: u32 = 6u; // the first of the cache's further bindings: cache_parts/read_*.wgsl

const LANE: vec4<u32> = vec4<u32>(0u, 1u, 2u, 3u);

// Scores of 4 heads; heads beyond the last repeat it.
fn scores(t: u32, key: u32) -> vec4<f32> {
    let own = min(params.first_head + LANE, vec4<u32>(params.heads - 1u));
    let qa_row = (t * params.heads + own) * params.rank4;
    let q_row = t * params.q_stride4 + params.q_rope4 + own * params.head_stride4;
    var a = vec4<f32>(0.0);
    var b = vec4<f32>(0.0);
    var c = vec4<f32>(0.0);
    var d = vec4<f32>(0.0);
    for (var i = 0u; i < params.rank4; i += 1u) {
        let k = cached(key + i) * cached_scale(key + params.rank4 + i / 32u);
        a = fma(qa[qa_row.x + i], k, a);
        b = fma(qa[qa_row.y + i], k, b);
        c = fma(qa[qa_row.z + i], k, c);
        d = fma(qa[qa_row.w + i], k, d);
    }
    for (var i = 0u; i < params.rope4; i += 1u) {
        let k = cached_rest(key, params.rank4, i);
        a = fma(q[q_row.x + i], k, a);
        b = fma(q[q_row.y + i], k, b);
        c = fma(q[q_row.z + i], k, c);
        d = fma(q[q_row.w + i], k, d);
    }
    return params.scale * vec4<f32>(total(a), total(b), total(c), total(d));
}
fn total(v: vec4<f32>) -> f32 { return (v.x + v.y) + (v.z + v.w); }

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let t = group.x;
    let token = step[1u + t];
    let width = row_vectors(params.rank4, params.rope4);
    var m = vec4<f32>(NO_SCORE);
    var l = vec4<f32>(0.0);
    for (var p = lane; p <= token.y; p += WORKGROUP) {
        let s = scores(t, cache_row(token.z, p) * width);
        let next = max(m, s);
        l = merged(l, decay4(m - next), vec4<f32>(1.0), decay4(s - next));
        m = next;
    }
    let largest = vec4<f32>(
        workgroup_max(lane, m.x), workgroup_max(lane, m.y), workgroup_max(lane, m.z), workgroup_max(lane, m.w),
    );
    l *= decay4(m - largest);
    let sum = vec4<f32>(
        workgroup_sum(lane, l.x), workgroup_sum(lane, l.y), workgroup_sum(lane, l.z), workgroup_sum(lane, l.w),
    );
    let there = params.first_head + LANE < vec4<u32>(params.heads);
    let share = select(vec4<f32>(0.0), 1.0 / (sum * f32(params.heads)), there);
    for (var p = lane; p <= token.y; p += WORKGROUP) {
        let at = t * params.out_stride + p;
        let weight = total(decay4(scores(t, cache_row(token.z, p) * width) - largest) * share);
        out[at] = select(out[at] + weight, weight, params.first_head == 0u);
    }
}
