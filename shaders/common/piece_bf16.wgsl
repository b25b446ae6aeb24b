// Weight format bf16 in panels: a piece is 8 weights.
const PIECE_VECTORS: u32 = 2u;
fn piece_mac(a: vec4<u32>, b: vec4<u32>, c: vec4<u32>, d: vec4<u32>, k4: u32) {
    mac(bf16x4(a.xy), bf16x4(b.xy), bf16x4(c.xy), bf16x4(d.xy), k4);
    mac(bf16x4(a.zw), bf16x4(b.zw), bf16x4(c.zw), bf16x4(d.zw), k4 + 1u);
}
