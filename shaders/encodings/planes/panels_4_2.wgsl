// 6-bit codes in panels: nibbles, 32 to a piece, then the upper pairs of bits, 64 to a piece. As panels_32.wgsl; a step is half a
// piece, so that groups of 16 columns end with one.
const STEP_VECTORS: u32 = 4u;
fn pieces_of(columns4: u32) -> vec2<u32> { return vec2<u32>((columns4 + 7u) / 8u, (columns4 + 15u) / 16u); }
fn step_mac(at: vec4<u32>, high: vec4<u32>, step: u32) {
    let i = at + step / 2u * 32u;
    let j = high + step / 4u * 32u;
    let word = step % 4u;
    var upper = vec4<u32>(weight[j.x][word], weight[j.y][word], weight[j.z][word], weight[j.w][word]);
    for (var half = 0u; half < 2u; half += 1u) {
        let at_word = step % 2u * 2u + half;
        let low = vec4<u32>(weight[i.x][at_word], weight[i.y][at_word], weight[i.z][at_word], weight[i.w][at_word]);
        word_mac(low, upper, step * 4u + half * 2u);
        upper = upper >> vec4<u32>(16u);
    }
}
fn word_mac(low: vec4<u32>, upper: vec4<u32>, k4: u32) {
    half_mac(low, upper, k4);
    half_mac(low >> vec4<u32>(16u), upper >> vec4<u32>(8u), k4 + 1u);
}
fn half_mac(low: vec4<u32>, upper: vec4<u32>, k4: u32) {
    mac(weights4(low.x, upper.x), weights4(low.y, upper.y), weights4(low.z, upper.z), weights4(low.w, upper.w), k4);
}
fn weights4(low: u32, high: u32) -> vec4<f32> {
    return decode4(nibbles4(low) | (pairs4(high) << vec4<u32>(4u)));
}
