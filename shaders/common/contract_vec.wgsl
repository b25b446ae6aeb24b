// The canonical sum, the same in every linear kernel whatever the batch, of one input row with 4 rows of a matrix in panels:
// blocks (groups of the encoding) ascending; in a block a fresh accumulator and one fma per column ascending; then
// total = fma(scale, accumulator, total), and with minima total = fma(minimum, sum of the block's inputs, total).
// The kernel gives `input(i)`, vec4 i of its inputs, and binds `weight` and `scales`.
// Where a matrix in panels begins.
struct Place {
    piece: u32,       // its first 16-byte piece in `weight`
    scale: u32,       // the first word of its scales in `scales`
    scale_lanes: u32, // 1: the rows of a panel share their scales; 32: each has its own
}

var<private> sums: vec4<f32>;
var<private> inputs: f32;   // their sum in the block
var<private> row: u32;      // vec4 index of the input row
var<private> columns4: u32; // its length in vec4

fn mac(a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>, k4: u32) {
    // Columns beyond the last have zero weights: any finite input serves.
    let v = input(row + min(k4, columns4 - 1u));
    sums = fma(vec4<f32>(a.x, b.x, c.x, d.x), vec4<f32>(v.x), sums);
    sums = fma(vec4<f32>(a.y, b.y, c.y, d.y), vec4<f32>(v.y), sums);
    sums = fma(vec4<f32>(a.z, b.z, c.z, d.z), vec4<f32>(v.z), sums);
    sums = fma(vec4<f32>(a.w, b.w, c.w, d.w), vec4<f32>(v.w), sums);
    if (HAS_MINIMUM == 1u) { inputs = (((inputs + v.x) + v.y) + v.z) + v.w; }
}

// Row `lane` of 4 panels.
fn contract(place: Place, panel: vec4<u32>, lane: u32) -> vec4<f32> {
    let steps = (columns4 + STEP_VECTORS - 1u) / STEP_VECTORS;
    let block_steps = GROUP_VECTORS / STEP_VECTORS;
    let blocks = (steps + block_steps - 1u) / block_steps;
    let pieces = pieces_of(columns4);
    let low_of = place.piece + panel * (pieces.x + pieces.y) * 32u + lane;
    let high_of = low_of + pieces.x * 32u;
    let scale_of = place.scale + panel * scale_words(blocks) * place.scale_lanes + lane % place.scale_lanes;
    var totals = vec4<f32>(0.0);
    for (var block = 0u; block < blocks; block += 1u) {
        sums = vec4<f32>(0.0);
        inputs = 0.0;
        let end = min((block + 1u) * block_steps, steps);
        for (var step = block * block_steps; step < end; step += 1u) { step_mac(low_of, high_of, step); }
        let scale = scales4(scale_of, place.scale_lanes, block);
        totals = fma(scale, sums, totals);
        if (HAS_MINIMUM == 1u) { totals = fma(minima4(scale_of, place.scale_lanes, block), vec4<f32>(inputs), totals); }
    }
    return totals;
}
