// Logistic functions that never form an infinity: exp gets no positive argument.
fn sigmoid(z: f32) -> f32 {
    let e = exp(-abs(z));
    return select(e, 1.0, z >= 0.0) / (1.0 + e);
}

fn silu(z: f32) -> f32 { return z * sigmoid(z); }
