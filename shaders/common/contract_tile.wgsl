// The canonical sum, as in contract_vec.wgsl and bit for bit the same, for 8 input rows: each weight is decoded once for 8.
// Where a matrix in panels begins.
struct Place {
    piece: u32,       // its first 16-byte piece in `weight`
    scale: u32,       // its first scale in `scales`
    scale_lanes: u32, // 1: a scale for each panel and block; 32: for each row and block
}

// Written-out variables: an indexed array would spill.
var<private> sums0: vec4<f32>;
var<private> sums1: vec4<f32>;
var<private> sums2: vec4<f32>;
var<private> sums3: vec4<f32>;
var<private> sums4: vec4<f32>;
var<private> sums5: vec4<f32>;
var<private> sums6: vec4<f32>;
var<private> sums7: vec4<f32>;
var<private> totals0: vec4<f32>;
var<private> totals1: vec4<f32>;
var<private> totals2: vec4<f32>;
var<private> totals3: vec4<f32>;
var<private> totals4: vec4<f32>;
var<private> totals5: vec4<f32>;
var<private> totals6: vec4<f32>;
var<private> totals7: vec4<f32>;
var<private> rows: vec4<u32>;  // vec4 indices of input rows 0..3 of the tile
var<private> rows2: vec4<u32>; // of rows 4..7
var<private> columns4: u32;    // their length in vec4

fn mac(a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>, k4: u32) {
    let k = min(k4, columns4 - 1u); // columns beyond the last have zero weights
    let column0 = vec4<f32>(a.x, b.x, c.x, d.x);
    let column1 = vec4<f32>(a.y, b.y, c.y, d.y);
    let column2 = vec4<f32>(a.z, b.z, c.z, d.z);
    let column3 = vec4<f32>(a.w, b.w, c.w, d.w);
    sums0 = mac4(sums0, column0, column1, column2, column3, input(rows.x + k));
    sums1 = mac4(sums1, column0, column1, column2, column3, input(rows.y + k));
    sums2 = mac4(sums2, column0, column1, column2, column3, input(rows.z + k));
    sums3 = mac4(sums3, column0, column1, column2, column3, input(rows.w + k));
    sums4 = mac4(sums4, column0, column1, column2, column3, input(rows2.x + k));
    sums5 = mac4(sums5, column0, column1, column2, column3, input(rows2.y + k));
    sums6 = mac4(sums6, column0, column1, column2, column3, input(rows2.z + k));
    sums7 = mac4(sums7, column0, column1, column2, column3, input(rows2.w + k));
}

// Row `lane` of 4 panels, into totals0 .. totals7.
fn contract(place: Place, panel: vec4<u32>, lane: u32) {
    let pieces = (columns4 + PIECE_VECTORS - 1u) / PIECE_VECTORS;
    let block_pieces = GROUP_VECTORS / PIECE_VECTORS;
    let blocks = (pieces + block_pieces - 1u) / block_pieces;
    let piece_of = place.piece + panel * pieces * 32u + lane;
    let scale_of = place.scale + panel * blocks * place.scale_lanes + lane % place.scale_lanes;
    totals0 = vec4<f32>(0.0);
    totals1 = vec4<f32>(0.0);
    totals2 = vec4<f32>(0.0);
    totals3 = vec4<f32>(0.0);
    totals4 = vec4<f32>(0.0);
    totals5 = vec4<f32>(0.0);
    totals6 = vec4<f32>(0.0);
    totals7 = vec4<f32>(0.0);
    for (var block = 0u; block < blocks; block += 1u) {
        sums0 = vec4<f32>(0.0);
        sums1 = vec4<f32>(0.0);
        sums2 = vec4<f32>(0.0);
        sums3 = vec4<f32>(0.0);
        sums4 = vec4<f32>(0.0);
        sums5 = vec4<f32>(0.0);
        sums6 = vec4<f32>(0.0);
        sums7 = vec4<f32>(0.0);
        let end = min((block + 1u) * block_pieces, pieces);
        for (var piece = block * block_pieces; piece < end; piece += 1u) {
            let at = piece_of + piece * 32u;
            piece_mac(weight[at.x], weight[at.y], weight[at.z], weight[at.w], piece * PIECE_VECTORS);
        }
        let s = scale_of + block * place.scale_lanes;
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
}
