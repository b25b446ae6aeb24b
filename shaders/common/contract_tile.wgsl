// The canonical sum, as in contract_vec.wgsl and bit for bit the same, for 8 input rows: each weight is decoded once for 8.
// Where a matrix in panels begins.
struct Place {
    piece: u32,       // its first 16-byte piece in `weight`
    scale: u32,       // the first word of its scales in `scales`
    scale_lanes: u32, // 1: the rows of a panel share their scales; 32: each has its own
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
var<private> inputs: vec4<f32>;  // sums of input rows 0..3 in the block
var<private> inputs2: vec4<f32>; // of rows 4..7
var<private> rows: vec4<u32>;  // vec4 indices of input rows 0..3 of the tile
var<private> rows2: vec4<u32>; // of rows 4..7
var<private> columns4: u32;    // their length in vec4

fn mac(a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>, k4: u32) {
    let k = min(k4, columns4 - 1u); // columns beyond the last have zero weights
    let column0 = vec4<f32>(a.x, b.x, c.x, d.x);
    let column1 = vec4<f32>(a.y, b.y, c.y, d.y);
    let column2 = vec4<f32>(a.z, b.z, c.z, d.z);
    let column3 = vec4<f32>(a.w, b.w, c.w, d.w);
    let v0 = input(rows.x + k);
    let v1 = input(rows.y + k);
    let v2 = input(rows.z + k);
    let v3 = input(rows.w + k);
    let v4 = input(rows2.x + k);
    let v5 = input(rows2.y + k);
    let v6 = input(rows2.z + k);
    let v7 = input(rows2.w + k);
    sums0 = mac4(sums0, column0, column1, column2, column3, v0);
    sums1 = mac4(sums1, column0, column1, column2, column3, v1);
    sums2 = mac4(sums2, column0, column1, column2, column3, v2);
    sums3 = mac4(sums3, column0, column1, column2, column3, v3);
    sums4 = mac4(sums4, column0, column1, column2, column3, v4);
    sums5 = mac4(sums5, column0, column1, column2, column3, v5);
    sums6 = mac4(sums6, column0, column1, column2, column3, v6);
    sums7 = mac4(sums7, column0, column1, column2, column3, v7);
    if (HAS_MINIMUM == 1u) {
        inputs = add4(inputs, v0, v1, v2, v3);
        inputs2 = add4(inputs2, v4, v5, v6, v7);
    }
}

// The sums of four input rows and one vec4 more of each, in order.
fn add4(total: vec4<f32>, a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>) -> vec4<f32> {
    let sum = (total + vec4<f32>(a.x, b.x, c.x, d.x)) + vec4<f32>(a.y, b.y, c.y, d.y);
    return (sum + vec4<f32>(a.z, b.z, c.z, d.z)) + vec4<f32>(a.w, b.w, c.w, d.w);
}

// Row `lane` of 4 panels, into totals0 .. totals7.
fn contract(place: Place, panel: vec4<u32>, lane: u32) {
    let steps = (columns4 + STEP_VECTORS - 1u) / STEP_VECTORS;
    let block_steps = GROUP_VECTORS / STEP_VECTORS;
    let blocks = (steps + block_steps - 1u) / block_steps;
    let pieces = pieces_of(columns4);
    let low_of = place.piece + panel * (pieces.x + pieces.y) * 32u + lane;
    let high_of = low_of + pieces.x * 32u;
    let scale_of = place.scale + panel * scale_words(blocks) * place.scale_lanes + lane % place.scale_lanes;
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
        inputs = vec4<f32>(0.0);
        inputs2 = vec4<f32>(0.0);
        let end = min((block + 1u) * block_steps, steps);
        for (var step = block * block_steps; step < end; step += 1u) { step_mac(low_of, high_of, step); }
        let scale = scales4(scale_of, place.scale_lanes, block);
        totals0 = fma(scale, sums0, totals0);
        totals1 = fma(scale, sums1, totals1);
        totals2 = fma(scale, sums2, totals2);
        totals3 = fma(scale, sums3, totals3);
        totals4 = fma(scale, sums4, totals4);
        totals5 = fma(scale, sums5, totals5);
        totals6 = fma(scale, sums6, totals6);
        totals7 = fma(scale, sums7, totals7);
        if (HAS_MINIMUM == 1u) {
            let minimum = minima4(scale_of, place.scale_lanes, block);
            totals0 = fma(minimum, vec4<f32>(inputs.x), totals0);
            totals1 = fma(minimum, vec4<f32>(inputs.y), totals1);
            totals2 = fma(minimum, vec4<f32>(inputs.z), totals2);
            totals3 = fma(minimum, vec4<f32>(inputs.w), totals3);
            totals4 = fma(minimum, vec4<f32>(inputs2.x), totals4);
            totals5 = fma(minimum, vec4<f32>(inputs2.y), totals5);
            totals6 = fma(minimum, vec4<f32>(inputs2.z), totals6);
            totals7 = fma(minimum, vec4<f32>(inputs2.w), totals7);
        }
    }
}
