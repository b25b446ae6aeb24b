// Weight format f32 in panels: a piece is 4 weights. `piece_mac` feeds pieces of four rows to the kernel's `mac`, k ascending.
const PIECE_VECTORS: u32 = 1u; // vec4s of inputs that a piece meets
fn piece_mac(a: vec4<u32>, b: vec4<u32>, c: vec4<u32>, d: vec4<u32>, k4: u32) {
    mac(bitcast<vec4<f32>>(a), bitcast<vec4<f32>>(b), bitcast<vec4<f32>>(c), bitcast<vec4<f32>>(d), k4);
}
