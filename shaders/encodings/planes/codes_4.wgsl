// The four nibbles of a word's lower half.
fn nibbles4(u: u32) -> vec4<u32> { return vec4<u32>(u, u >> 4u, u >> 8u, u >> 12u) & vec4<u32>(15u); }
