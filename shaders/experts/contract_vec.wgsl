// The canonical sum, as in linear_vec.wgsl, of one input row with 4 rows of an expert; `input(i)` gives vec4 i of inputs.
const BLOCK_VECTORS: u32 = 32u; // 128 columns

var<private> sums: vec4<f32>;
var<private> row: u32;      // vec4 index of the input row
var<private> columns4: u32; // its length in vec4

fn mac(a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>, k4: u32) {
    // Columns beyond the last have zero weights: any finite input serves.
    let v = input(row + min(k4, columns4 - 1u));
    sums = fma(vec4<f32>(a.x, b.x, c.x, d.x), vec4<f32>(v.x), sums);
    sums = fma(vec4<f32>(a.y, b.y, c.y, d.y), vec4<f32>(v.y), sums);
    sums = fma(vec4<f32>(a.z, b.z, c.z, d.z), vec4<f32>(v.z), sums);
    sums = fma(vec4<f32>(a.w, b.w, c.w, d.w), vec4<f32>(v.w), sums);
}

// Row `lane` of 4 panels of the expert that has `before` experts before it.
fn contract(before: u32, panel: vec4<u32>, lane: u32) -> vec4<f32> {
    let pieces = (columns4 + PIECE_VECTORS - 1u) / PIECE_VECTORS;
    let block_pieces = BLOCK_VECTORS / PIECE_VECTORS;
    let blocks = (pieces + block_pieces - 1u) / block_pieces;
    let piece_of = before * params.expert_pieces + panel * pieces * 32u + lane;
    let scale_of = before * params.expert_scales + panel * blocks;
    var totals = vec4<f32>(0.0);
    for (var block = 0u; block < blocks; block += 1u) {
        sums = vec4<f32>(0.0);
        let end = min((block + 1u) * block_pieces, pieces);
        for (var piece = block * block_pieces; piece < end; piece += 1u) {
            let at = piece_of + piece * 32u;
            piece_mac(weight[at.x], weight[at.y], weight[at.z], weight[at.w], piece * PIECE_VECTORS);
        }
        let s = scale_of + block;
        let scale = vec4<f32>(weight_scale(s.x), weight_scale(s.y), weight_scale(s.z), weight_scale(s.w));
        totals = fma(scale, sums, totals);
    }
    return totals;
}
