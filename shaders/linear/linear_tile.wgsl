// linear_tile.wgsl: y[t, n] (+)= sum over k of w[n, k] * x[t, k], for many tokens
// linear_vec's formula, layouts and canonical sum, bit for bit; see there.
// Grid: (tiles of 8 tokens, tiles of 128 rows, groups); a lane owns row `lane` of 4 panels for 8 tokens.
// Bound by FLOPs: each weight is decoded once for 8 tokens. Sums are written-out variables: an indexed array would spill.
struct Params {
    rows: u32,        // of one group
    columns4: u32,    // columns / 4
    pieces: u32,      // 16-byte pieces of a row
    panels: u32,      // of one group
    scale_lanes: u32, // 1: a scale for each panel and block; 32: for each row and block
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
@group(0) @binding(3) var<storage, read> scales: array<f32>;       // [groups, panels, blocks, scale_lanes]
@group(0) @binding(4) var<storage, read_write> y: array<f32>;      // [tokens, y_stride]

const BLOCK_VECTORS: u32 = 32u; // 128 columns

var<private> sums0: vec4<f32>;
var<private> sums1: vec4<f32>;
var<private> sums2: vec4<f32>;
var<private> sums3: vec4<f32>;
var<private> sums4: vec4<f32>;
var<private> sums5: vec4<f32>;
var<private> sums6: vec4<f32>;
var<private> sums7: vec4<f32>;
var<private> x_row: vec4<u32>;  // of tokens 0..3 of the tile, clamped to the last token
var<private> x_row2: vec4<u32>; // of tokens 4..7

fn mac4(sums: vec4<f32>, a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>, v: vec4<f32>) -> vec4<f32> {
    var sum = fma(a, vec4<f32>(v.x), sums);
    sum = fma(b, vec4<f32>(v.y), sum);
    sum = fma(c, vec4<f32>(v.z), sum);
    return fma(d, vec4<f32>(v.w), sum);
}

fn mac(a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>, k4: u32) {
    let k = min(k4, params.columns4 - 1u);
    let column0 = vec4<f32>(a.x, b.x, c.x, d.x);
    let column1 = vec4<f32>(a.y, b.y, c.y, d.y);
    let column2 = vec4<f32>(a.z, b.z, c.z, d.z);
    let column3 = vec4<f32>(a.w, b.w, c.w, d.w);
    sums0 = mac4(sums0, column0, column1, column2, column3, x[x_row.x + k]);
    sums1 = mac4(sums1, column0, column1, column2, column3, x[x_row.y + k]);
    sums2 = mac4(sums2, column0, column1, column2, column3, x[x_row.z + k]);
    sums3 = mac4(sums3, column0, column1, column2, column3, x[x_row.w + k]);
    sums4 = mac4(sums4, column0, column1, column2, column3, x[x_row2.x + k]);
    sums5 = mac4(sums5, column0, column1, column2, column3, x[x_row2.y + k]);
    sums6 = mac4(sums6, column0, column1, column2, column3, x[x_row2.z + k]);
    sums7 = mac4(sums7, column0, column1, column2, column3, x[x_row2.w + k]);
}

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let block_pieces = BLOCK_VECTORS / PIECE_VECTORS;
    let blocks = (params.pieces + block_pieces - 1u) / block_pieces;
    let first = group.y * 4u;
    let last = params.panels - 1u;
    let panel = group.z * params.panels + vec4<u32>(first, min(first + 1u, last), min(first + 2u, last), min(first + 3u, last));
    let piece_of = panel * params.pieces * 32u + lane;
    let scale_of = panel * blocks * params.scale_lanes + lane % params.scale_lanes;
    let token = group.x * 8u;
    let tokens = params.tokens_capacity;
    let x_first = params.x_offset4 + group.z * params.x_group4;
    x_row = x_first + min(vec4<u32>(token, token + 1u, token + 2u, token + 3u), vec4<u32>(tokens - 1u)) * params.x_stride4;
    x_row2 = x_first + min(vec4<u32>(token + 4u, token + 5u, token + 6u, token + 7u), vec4<u32>(tokens - 1u)) * params.x_stride4;

    var totals0 = vec4<f32>(0.0);
    var totals1 = vec4<f32>(0.0);
    var totals2 = vec4<f32>(0.0);
    var totals3 = vec4<f32>(0.0);
    var totals4 = vec4<f32>(0.0);
    var totals5 = vec4<f32>(0.0);
    var totals6 = vec4<f32>(0.0);
    var totals7 = vec4<f32>(0.0);
    for (var block = 0u; block < blocks; block += 1u) {
        sums0 = vec4<f32>(0.0);
        sums1 = vec4<f32>(0.0);
        sums2 = vec4<f32>(0.0);
        sums3 = vec4<f32>(0.0);
        sums4 = vec4<f32>(0.0);
        sums5 = vec4<f32>(0.0);
        sums6 = vec4<f32>(0.0);
        sums7 = vec4<f32>(0.0);
        let end = min((block + 1u) * block_pieces, params.pieces);
        for (var piece = block * block_pieces; piece < end; piece += 1u) {
            let at = piece_of + piece * 32u;
            piece_mac(weight[at.x], weight[at.y], weight[at.z], weight[at.w], piece * PIECE_VECTORS);
        }
        let s = scale_of + block * params.scale_lanes;
        let scale = vec4<f32>(weight_scale(s.x), weight_scale(s.y), weight_scale(s.z), weight_scale(s.w));
        totals0 = fma(scale, sums0, totals0);
        totals1 = fma(scale, sums1, totals1);
        totals2 = fma(scale, sums2, totals2);
        totals3 = fma(scale, sums3, totals3);
        totals4 = fma(scale, sums4, totals4);
        totals5 = fma(scale, sums5, totals5);
        totals6 = fma(scale, sums6, totals6);
        totals7 = fma(scale, sums7, totals7);
    }

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
