// The canonical sum, the same in every linear kernel whatever the batch, of one input row with 4 rows of a matrix in panels:
// blocks (groups of the encoding) ascending; in a block a fresh accumulator and one fma per column ascending; then
// total = fma(scale, accumulator, total). The kernel gives `input(i)`, vec4 i of its inputs, and binds `weight` and `scales`.
// Where a matrix in panels begins.
struct Place {
    piece: u32,       // its first 16-byte piece in `weight`
    scale: u32,       // its first scale in `scales`
    scale_lanes: u32, // 1: a scale for each panel and block; 32: for each row and block
}

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

// Row `lane` of 4 panels.
fn contract(place: Place, panel: vec4<u32>, lane: u32) -> vec4<f32> {
    let pieces = (columns4 + PIECE_VECTORS - 1u) / PIECE_VECTORS;
    let block_pieces = GROUP_VECTORS / PIECE_VECTORS;
    let blocks = (pieces + block_pieces - 1u) / block_pieces;
    let piece_of = place.piece + panel * pieces * 32u + lane;
    let scale_of = place.scale + panel * blocks * place.scale_lanes + lane % place.scale_lanes;
    var totals = vec4<f32>(0.0);
    for (var block = 0u; block < blocks; block += 1u) {
        sums = vec4<f32>(0.0);
        let end = min((block + 1u) * block_pieces, pieces);
        for (var piece = block * block_pieces; piece < end; piece += 1u) {
            let at = piece_of + piece * 32u;
            piece_mac(weight[at.x], weight[at.y], weight[at.z], weight[at.w], piece * PIECE_VECTORS);
        }
        let s = scale_of + block * place.scale_lanes;
        let scale = vec4<f32>(weight_scale(s.x), weight_scale(s.y), weight_scale(s.z), weight_scale(s.w));
        totals = fma(scale, sums, totals);
    }
    return totals;
}
