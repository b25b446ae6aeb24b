// 8-bit codes in panels: a piece is 16 weights. As panels_32.wgsl.
const STEP_VECTORS: u32 = 4u;
fn pieces_of(columns4: u32) -> vec2<u32> { return vec2<u32>((columns4 + 3u) / 4u, 0u); }
fn step_mac(at: vec4<u32>, high: vec4<u32>, step: u32) {
    let i = at + step * 32u;
    let a = weight[i.x];
    let b = weight[i.y];
    let c = weight[i.z];
    let d = weight[i.w];
    word_mac(a.x, b.x, c.x, d.x, step * 4u);
    word_mac(a.y, b.y, c.y, d.y, step * 4u + 1u);
    word_mac(a.z, b.z, c.z, d.z, step * 4u + 2u);
    word_mac(a.w, b.w, c.w, d.w, step * 4u + 3u);
}
fn word_mac(a: u32, b: u32, c: u32, d: u32, k4: u32) {
    mac(decode4(codes4(a)), decode4(codes4(b)), decode4(codes4(c)), decode4(codes4(d)), k4);
}
