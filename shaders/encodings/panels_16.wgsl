// 16-bit codes in panels: a piece is 8 weights. As panels_32.wgsl.
const PIECE_VECTORS: u32 = 2u;
fn piece_mac(a: vec4<u32>, b: vec4<u32>, c: vec4<u32>, d: vec4<u32>, k4: u32) {
    mac(decode4(a.xy), decode4(b.xy), decode4(c.xy), decode4(d.xy), k4);
    mac(decode4(a.zw), decode4(b.zw), decode4(c.zw), decode4(d.zw), k4 + 1u);
}
