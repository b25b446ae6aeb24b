// 16-bit codes in panels: a piece is 8 weights. As panels_32.wgsl.
const STEP_VECTORS: u32 = 2u;
fn pieces_of(columns4: u32) -> vec2<u32> { return vec2<u32>((columns4 + 1u) / 2u, 0u); }
fn step_mac(at: vec4<u32>, high: vec4<u32>, step: u32) {
    let i = at + step * 32u;
    let a = weight[i.x];
    let b = weight[i.y];
    let c = weight[i.z];
    let d = weight[i.w];
    mac(decode4(a.xy), decode4(b.xy), decode4(c.xy), decode4(d.xy), step * 2u);
    mac(decode4(a.zw), decode4(b.zw), decode4(c.zw), decode4(d.zw), step * 2u + 1u);
}
