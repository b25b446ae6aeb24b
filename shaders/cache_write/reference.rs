//! The formula, in f64; `turns` are (cos, sin) of each pair.

use crate::common::{pair_places, rotate, turn};

pub(super) fn cache_row(kv: &[f32], weight: &[f32], turns: &[f32], interleaved: bool, eps: f32, out: &mut [f32]) {
    let (latent, key) = kv.split_at(weight.len());
    let (out_latent, out_key) = out.split_at_mut(weight.len());
    let squares: f64 = latent.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
    let scale = 1.0 / (squares / latent.len() as f64 + f64::from(eps)).sqrt();
    for ((out, &x), &w) in out_latent.iter_mut().zip(latent).zip(weight) {
        *out = (f64::from(x) * scale * f64::from(w)) as f32;
    }
    let pairs = key.len() as u32 / 2;
    for pair in 0..pairs {
        let (a, b) = pair_places(pair, pairs, interleaved);
        let (rotated_a, rotated_b) = rotate(f64::from(key[a]), f64::from(key[b]), turn(turns, pairs, 0, pair));
        (out_key[a], out_key[b]) = (rotated_a as f32, rotated_b as f32);
    }
}
