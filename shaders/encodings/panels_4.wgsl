// 4-bit codes in panels: a piece is 32 weights. As panels_32.wgsl.
const PIECE_VECTORS: u32 = 8u;
fn piece_mac(a: vec4<u32>, b: vec4<u32>, c: vec4<u32>, d: vec4<u32>, k4: u32) {
    word_mac(a.x, b.x, c.x, d.x, k4);
    word_mac(a.y, b.y, c.y, d.y, k4 + 2u);
    word_mac(a.z, b.z, c.z, d.z, k4 + 4u);
    word_mac(a.w, b.w, c.w, d.w, k4 + 6u);
}
fn word_mac(a: u32, b: u32, c: u32, d: u32, k4: u32) {
    mac(decode4(a), decode4(b), decode4(c), decode4(d), k4);
    mac(decode4(a >> 16u), decode4(b >> 16u), decode4(c >> 16u), decode4(d >> 16u), k4 + 1u);
}
