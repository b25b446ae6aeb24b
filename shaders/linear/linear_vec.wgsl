// linear_vec.wgsl: y[t, n] (+)= sum over k of w[n, k] * x[t, k], for few tokens
// w in panels of 32 rows (format.rs), in row groups g that read x from g * x_group4 and write y from g * y_group.
// Grid: (tiles of 128 rows, tokens, groups); a lane owns row `lane` of 4 panels, and every lane reads the same x.
// Bound by bytes: the weights are read once per token; x comes from the cache.
//
// The canonical sum, the same in every linear kernel whatever the batch: blocks of 128 columns ascending; in a block a
// fresh accumulator and one fma per column ascending; then total = fma(scale, accumulator, total).
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

var<private> sums: vec4<f32>;
var<private> x_row: u32;

fn mac(a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>, k4: u32) {
    // Columns beyond the last have zero weights: any finite x serves.
    let v = x[x_row + min(k4, params.columns4 - 1u)];
    sums = fma(vec4<f32>(a.x, b.x, c.x, d.x), vec4<f32>(v.x), sums);
    sums = fma(vec4<f32>(a.y, b.y, c.y, d.y), vec4<f32>(v.y), sums);
    sums = fma(vec4<f32>(a.z, b.z, c.z, d.z), vec4<f32>(v.z), sums);
    sums = fma(vec4<f32>(a.w, b.w, c.w, d.w), vec4<f32>(v.w), sums);
}

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let block_pieces = BLOCK_VECTORS / PIECE_VECTORS;
    let blocks = (params.pieces + block_pieces - 1u) / block_pieces;
    let first = group.x * 4u;
    let last = params.panels - 1u;
    let panel = group.z * params.panels + vec4<u32>(first, min(first + 1u, last), min(first + 2u, last), min(first + 3u, last));
    let piece_of = panel * params.pieces * 32u + lane;
    let scale_of = panel * blocks * params.scale_lanes + lane % params.scale_lanes;
    x_row = group.y * params.x_stride4 + params.x_offset4 + group.z * params.x_group4;

    var totals = vec4<f32>(0.0);
    for (var block = 0u; block < blocks; block += 1u) {
        sums = vec4<f32>(0.0);
        let end = min((block + 1u) * block_pieces, params.pieces);
        for (var piece = block * block_pieces; piece < end; piece += 1u) {
            let at = piece_of + piece * 32u;
            piece_mac(weight[at.x], weight[at.y], weight[at.z], weight[at.w], piece * PIECE_VECTORS);
        }
        let s = scale_of + block * params.scale_lanes;
        let scale = vec4<f32>(weight_scale(s.x), weight_scale(s.y), weight_scale(s.z), weight_scale(s.w));
        totals = fma(scale, sums, totals);
    }

    let row = first * 32u + lane;
    let out = group.y * params.y_stride + params.y_offset + group.z * params.y_group + row;
    store(row, out, totals.x);
    store(row + 32u, out + 32u, totals.y);
    store(row + 64u, out + 64u, totals.z);
    store(row + 96u, out + 96u, totals.w);
}

fn store(row: u32, at: u32, value: f32) {
    if (row >= params.rows) { return; }
    if (params.accumulate == 1u) { y[at] += value; } else { y[at] = value; }
}
