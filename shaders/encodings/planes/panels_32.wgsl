// 32-bit codes in panels: a piece is 4 weights. A step is the columns that `step_mac` feeds to the kernel's `mac`, ascending,
// from the four rows whose planes begin with the pieces `at` and `high`.
const STEP_VECTORS: u32 = 1u; // vec4s of inputs that a step meets
fn pieces_of(columns4: u32) -> vec2<u32> { return vec2<u32>(columns4, 0u); } // of a row, in each plane
fn step_mac(at: vec4<u32>, high: vec4<u32>, step: u32) {
    let i = at + step * 32u;
    mac(decode4(weight[i.x]), decode4(weight[i.y]), decode4(weight[i.z]), decode4(weight[i.w]), step);
}
