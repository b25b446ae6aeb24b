// linear_tile.wgsl: y[t, n] (+)= sum over k of w[n, k] * x[t, k], for many tokens
// linear_vec's formula, layouts and canonical sum, bit for bit; see there.
// Grid: (tiles of 8 tokens, tiles of 128 rows, groups); a lane owns row `lane` of 4 panels for 8 tokens.
// Bound by FLOPs: each weight is decoded once for 8 tokens.
struct Params {
    rows: u32,        // of one group
    columns4: u32,    // columns / 4
    panels: u32,      // of one group
    scale_lanes: u32, // 1: the rows of a panel share their scales; 32: each has its own
    x_stride4: u32,   // x and its offsets are counted in vec4
    x_offset4: u32,
    x_group4: u32,
    y_stride: u32,
    y_offset: u32,
    y_group: u32,
    accumulate: u32,  // 1: add to y
    tokens_capacity: u32, // rows of x and y
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;      // [tokens, x_stride4]
@group(0) @binding(2) var<storage, read> weight: array<vec4<u32>>; // [groups, panels, pieces, 32]
@group(0) @binding(3) var<storage, read> scales: array<u32>;       // [groups, panels, words, scale_lanes]
@group(0) @binding(4) var<storage, read_write> y: array<f32>;      // [tokens, y_stride]

fn input(i: u32) -> vec4<f32> { return x[i]; }

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first = group.y * 4u;
    let last = params.panels - 1u;
    let panel = group.z * params.panels + vec4<u32>(first, min(first + 1u, last), min(first + 2u, last), min(first + 3u, last));
    let token = group.x * 8u;
    let tokens = params.tokens_capacity;
    let x_first = params.x_offset4 + group.z * params.x_group4;
    columns4 = params.columns4;
    rows = x_first + min(vec4<u32>(token, token + 1u, token + 2u, token + 3u), vec4<u32>(tokens - 1u)) * params.x_stride4;
    rows2 = x_first + min(vec4<u32>(token + 4u, token + 5u, token + 6u, token + 7u), vec4<u32>(tokens - 1u)) * params.x_stride4;
    contract(Place(0u, 0u, params.scale_lanes), panel, lane);

    let row = first * 32u + lane;
    store_token(token + 0u, row, group.z, totals0);
    store_token(token + 1u, row, group.z, totals1);
    store_token(token + 2u, row, group.z, totals2);
    store_token(token + 3u, row, group.z, totals3);
    store_token(token + 4u, row, group.z, totals4);
    store_token(token + 5u, row, group.z, totals5);
    store_token(token + 6u, row, group.z, totals6);
    store_token(token + 7u, row, group.z, totals7);
}

fn store_token(token: u32, row: u32, group: u32, value: vec4<f32>) {
    if (token >= params.tokens_capacity) { return; }
    let out = token * params.y_stride + params.y_offset + group * params.y_group + row;
    store(row, out, value.x);
    store(row + 32u, out + 32u, value.y);
    store(row + 64u, out + 64u, value.z);
    store(row + 96u, out + 96u, value.w);
}

fn store(row: u32, at: u32, value: f32) {
    if (row >= params.rows) { return; }
    if (params.accumulate == 1u) { y[at] += value; } else { y[at] = value; }
}
