// 8-bit codes in panels: a piece is 16 weights. As panels_32.wgsl.
const PIECE_VECTORS: u32 = 4u;
fn piece_mac(a: vec4<u32>, b: vec4<u32>, c: vec4<u32>, d: vec4<u32>, k4: u32) {
    mac(decode4(a.x), decode4(b.x), decode4(c.x), decode4(d.x), k4);
    mac(decode4(a.y), decode4(b.y), decode4(c.y), decode4(d.y), k4 + 1u);
    mac(decode4(a.z), decode4(b.z), decode4(c.z), decode4(d.z), k4 + 2u);
    mac(decode4(a.w), decode4(b.w), decode4(c.w), decode4(d.w), k4 + 3u);
}
