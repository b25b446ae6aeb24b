// 3-bit codes in panels: pairs of bits, 64 to a piece, then the third bits, 128 to a piece. As panels_32.wgsl; a step is a word of
// the first plane, so that groups of 16 columns end with one.
const STEP_VECTORS: u32 = 4u;
fn pieces_of(columns4: u32) -> vec2<u32> { return vec2<u32>((columns4 + 15u) / 16u, (columns4 + 31u) / 32u); }
fn step_mac(at: vec4<u32>, high: vec4<u32>, step: u32) {
    let i = at + step / 4u * 32u;
    let j = high + step / 8u * 32u;
    let word = step % 4u;
    let half = step / 2u % 4u;
    var low = vec4<u32>(weight[i.x][word], weight[i.y][word], weight[i.z][word], weight[i.w][word]);
    let bits = vec4<u32>(weight[j.x][half], weight[j.y][half], weight[j.z][half], weight[j.w][half]);
    var third = bits >> vec4<u32>(step % 2u * 16u);
    for (var k4 = step * 4u; k4 < step * 4u + 4u; k4 += 2u) {
        byte_mac(low, third, k4);
        byte_mac(low >> vec4<u32>(8u), third >> vec4<u32>(4u), k4 + 1u);
        low = low >> vec4<u32>(16u);
        third = third >> vec4<u32>(8u);
    }
}
fn byte_mac(low: vec4<u32>, third: vec4<u32>, k4: u32) {
    mac(weights4(low.x, third.x), weights4(low.y, third.y), weights4(low.z, third.z), weights4(low.w, third.w), k4);
}
fn weights4(low: u32, high: u32) -> vec4<f32> {
    return decode4(pairs4(low) | (bits4(high) << vec4<u32>(2u)));
}
