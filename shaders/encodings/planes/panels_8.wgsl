// 8-bit codes in panels: a piece is 16 weights. As panels_32.wgsl.
const STEP_VECTORS: u32 = 4u;
fn pieces_of(columns4: u32) -> vec2<u32> { return vec2<u32>((columns4 + 3u) / 4u, 0u); }
fn step_mac(at: vec4<u32>, high: vec4<u32>, step: u32) {
    let i = at + step * 32u;
    // In a loop: see panels_4.wgsl.
    var a = weight[i.x];
    var b = weight[i.y];
    var c = weight[i.z];
    var d = weight[i.w];
    for (var k4 = step * 4u; k4 < step * 4u + 4u; k4 += 2u) {
        word_mac(a.x, b.x, c.x, d.x, k4);
        word_mac(a.y, b.y, c.y, d.y, k4 + 1u);
        a = a.zwxy;
        b = b.zwxy;
        c = c.zwxy;
        d = d.zwxy;
    }
}
fn word_mac(a: u32, b: u32, c: u32, d: u32, k4: u32) {
    mac(decode4(codes4(a)), decode4(codes4(b)), decode4(codes4(c)), decode4(codes4(d)), k4);
}
