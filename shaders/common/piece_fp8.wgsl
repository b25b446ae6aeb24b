// Weight format fp8 in panels: a piece is 16 weights.
const PIECE_VECTORS: u32 = 4u;
fn piece_mac(a: vec4<u32>, b: vec4<u32>, c: vec4<u32>, d: vec4<u32>, k4: u32) {
    mac(fp8x4(a.x), fp8x4(b.x), fp8x4(c.x), fp8x4(d.x), k4);
    mac(fp8x4(a.y), fp8x4(b.y), fp8x4(c.y), fp8x4(d.y), k4 + 1u);
    mac(fp8x4(a.z), fp8x4(b.z), fp8x4(c.z), fp8x4(d.z), k4 + 2u);
    mac(fp8x4(a.w), fp8x4(b.w), fp8x4(c.w), fp8x4(d.w), k4 + 3u);
}
