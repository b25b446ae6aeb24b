// The four codes of a word.
fn codes4(u: u32) -> vec4<u32> { return vec4<u32>(u, u >> 8u, u >> 16u, u >> 24u) & vec4<u32>(0xffu); }
