// rope.wgsl: pairs (a, b) of x[t] -> (a cos - b sin, b cos + a sin), angles of position(t)
// x: [tokens, stride], in place; up to two segments of heads, each with its own place, width and pairing.
// Grid: (128 pairs of one token, tokens). Launch-bound: 16 bytes per pair, and the table stays in the cache.
struct Params {
    stride: u32,
    pairs: u32,        // of one head
    offset0: u32,      // segment 0: first column
    heads0: u32,
    head_stride0: u32,
    rope_offset0: u32, // first rotated dim of a head
    interleaved0: u32, // 1: pairs are neighbours; 0: one in each half
    offset1: u32,      // segment 1
    heads1: u32,
    head_stride1: u32,
    rope_offset1: u32,
    interleaved1: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> table: array<vec2<f32>>; // [positions, pairs] of (cos, sin)
@group(0) @binding(2) var<storage, read> step: array<vec4<u32>>;  // [1 + tokens]
@group(0) @binding(3) var<storage, read_write> x: array<f32>;     // [tokens, stride]

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let work = group.x * 128u + lane;
    let pair = work % params.pairs;
    var head = work / params.pairs;
    let row = group.y * params.stride;
    let turn = table[step[1u + group.y].y * params.pairs + pair];
    if (head < params.heads0) {
        rotate_pair(row + params.offset0 + head * params.head_stride0 + params.rope_offset0, pair, params.interleaved0, turn);
        return;
    }
    head -= params.heads0;
    if (head < params.heads1) {
        rotate_pair(row + params.offset1 + head * params.head_stride1 + params.rope_offset1, pair, params.interleaved1, turn);
    }
}

fn rotate_pair(start: u32, pair: u32, interleaved: u32, turn: vec2<f32>) {
    let a = start + first_of_pair(pair, interleaved);
    let b = start + second_of_pair(pair, params.pairs, interleaved);
    let rotated = rotate(x[a], x[b], turn);
    x[a] = rotated.x;
    x[b] = rotated.y;
}
