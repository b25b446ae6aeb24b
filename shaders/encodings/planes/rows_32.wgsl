// 32-bit codes of a row: weights 4i .. 4i + 3 of the row that begins with the piece `first`.
fn row_pieces(columns4: u32) -> u32 { return columns4; }
fn row_weights4(first: u32, columns4: u32, i: u32) -> vec4<f32> { return decode4(weight[first + i]); }
