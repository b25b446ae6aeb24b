// Weights 4i .. 4i + 3 of a row, scaled; its scale words begin with `scale`.
fn row_scaled4(first: u32, columns4: u32, scale: u32, i: u32) -> vec4<f32> {
    let block = i / GROUP_VECTORS;
    let scaled = row_weights4(first, columns4, i) * weight_scale(scale, 1u, block);
    if (HAS_MINIMUM == 0u) { return scaled; }
    return scaled + weight_minimum(scale, 1u, block);
}
