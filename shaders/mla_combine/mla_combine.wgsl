// mla_combine.wgsl: out[t, h, :] = o / l, the states of a token's splits merged pairwise in ascending order (merge.wgsl)
// Grid: (tiles of 512 elements of a row of out, tokens); a lane owns 4 latents of a head.
// Bound by bytes: kv_lora_rank floats per head and split.
struct Params {
    heads: u32,
    rank4: u32, // kv_lora_rank / 4
    k: u32,     // keys of a token at most; 0: all visible positions
    splits: u32, // splits of a token that `partial` has room for
    first_token: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial: array<f32>;        // [max_tokens, splits, heads, rank + 2]: o, m, l
@group(0) @binding(2) var<storage, read> step: array<vec4<u32>>;     // common/step.wgsl
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>; // [tokens, heads, rank4]

const SPLIT: u32 = 128u;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let width = params.heads * params.rank4;
    let at = group.x * 128u + lane;
    if (at >= width) { return; }
    let head = at / params.rank4;
    let column = at % params.rank4 * 4u;
    let t = params.first_token + group.y;
    var keys = step[1u + t].y + 1u;
    if (params.k > 0u) { keys = min(keys, params.k); }
    let splits = min((keys + SPLIT - 1u) / SPLIT, params.splits);
    let rank = params.rank4 * 4u;

    var m = NO_SCORE;
    var l = vec4<f32>(0.0); // one sum, four times
    var o = vec4<f32>(0.0);
    for (var split = 0u; split < splits; split += 1u) {
        let row = ((group.y * params.splits + split) * params.heads + head) * (rank + 2u);
        let first = row + column;
        let value = vec4<f32>(partial[first], partial[first + 1u], partial[first + 2u], partial[first + 3u]);
        let split_m = partial[row + rank];
        let next = max(m, split_m);
        let a = vec4<f32>(decay(m - next));
        let b = vec4<f32>(decay(split_m - next));
        m = next;
        l = merged(l, a, vec4<f32>(partial[row + rank + 1u]), b);
        o = merged(o, a, value, b);
    }
    out[t * width + at] = o * (1.0 / l);
}
