// Weight format f16 in panels: a piece is 8 weights.
const PIECE_VECTORS: u32 = 2u;
fn piece_mac(a: vec4<u32>, b: vec4<u32>, c: vec4<u32>, d: vec4<u32>, k4: u32) {
    mac(f16x4(a.xy), f16x4(b.xy), f16x4(c.xy), f16x4(d.xy), k4);
    mac(f16x4(a.zw), f16x4(b.zw), f16x4(c.zw), f16x4(d.zw), k4 + 1u);
}
