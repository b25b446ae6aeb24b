// 32-bit codes in panels: a piece is 4 weights. `piece_mac` feeds pieces of four rows to the kernel's `mac`, k ascending.
const PIECE_VECTORS: u32 = 1u; // vec4s of inputs that a piece meets
fn piece_mac(a: vec4<u32>, b: vec4<u32>, c: vec4<u32>, d: vec4<u32>, k4: u32) {
    mac(decode4(a), decode4(b), decode4(c), decode4(d), k4);
}
