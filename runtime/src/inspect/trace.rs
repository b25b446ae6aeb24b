//! The lines of a trace file, `lyn.trace/1`: JSON Lines that the terminal writes and the attention panel reads. The format is
//! documented in `docs/sparse-attention.md`.
//!
//! In: what a generation reported. Out: lines without their line break. Never: a file.

use serde::{Serialize, Serializer};
use serde_json::json;

use crate::engine::Engine;
use crate::generate::Selection;
use crate::text::Tokenizer;

/// The name of the format.
pub const SCHEMA: &str = "lyn.trace/1";

#[derive(Serialize)]
struct Line<'a> {
    position: u32,
    layer: u32,
    indices: &'a [u32],
    #[serde(serialize_with = "short")]
    scores: &'a [f32],
    #[serde(serialize_with = "short", skip_serializing_if = "<[f32]>::is_empty")]
    dense: &'a [f32],
}

/// The first line: which model, how many positions attention reads (`null`: all), and the layers traced.
pub fn header(engine: &Engine, layers: &[u32]) -> String {
    let plan = engine.plan();
    let header = json!({
        "schema": SCHEMA, "model_type": plan.model_type, "num_hidden_layers": plan.layers,
        "index_topk": engine.index_topk(), "layers": layers,
    });
    header.to_string()
}

/// The line of a token: its place, its id, and the text of that id alone, where a broken character is U+FFFD.
pub fn token(position: u32, id: u32, tokenizer: &Tokenizer) -> String {
    json!({ "position": position, "id": id, "text": tokenizer.decode(&[id]) }).to_string()
}

/// The line of a selection. Scores and weights have six significant digits.
pub fn selection(selection: &Selection) -> String {
    let Selection { layer, position, indices, scores, dense } = selection;
    let dense = dense.as_deref().unwrap_or_default();
    // Numbers, texts and lists of them: nothing that JSON cannot hold.
    serde_json::to_string(&Line { position: *position, layer: *layer, indices, scores, dense }).unwrap_or_default()
}

/// Floats with six significant digits, which every f32 can hold.
fn short<S: Serializer>(values: &[f32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(|value| format!("{value:.5e}").parse().unwrap_or(*value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_their_fields_in_order_and_short_numbers() {
        let made = Selection {
            layer: 2,
            position: 3,
            indices: vec![0, 3],
            scores: vec![4.785_794, -1.0e-12],
            dense: Some(vec![0.5, 0.123_456_79, 0.0, 1.0 / 3.0]),
        };
        let line =
            r#"{"position":3,"layer":2,"indices":[0,3],"scores":[4.78579,-1e-12],"dense":[0.5,0.123457,0.0,0.333333]}"#;
        assert_eq!(selection(&made), line);
        let made = Selection { scores: vec![], dense: None, ..made };
        assert_eq!(selection(&made), r#"{"position":3,"layer":2,"indices":[0,3],"scores":[]}"#);
    }
}
