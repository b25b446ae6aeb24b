//! How much of dense attention the indexer's selection holds.

use serde::Serialize;

use crate::engine::Engine;
use crate::error::Result;
use crate::generate::{Event, Request, TraceRequest};

/// How much of dense attention lies in what the indexer selects.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DenseShare {
    /// Tokens looked at: those that see more positions than are selected.
    pub tokens: u32,
    /// Mean over tokens and layers, 0 to 1.
    pub mean: f64,
    /// The smallest share of a token in a layer.
    pub worst: f64,
    /// Mean of each layer.
    pub layers: Vec<f64>,
}

/// Reads a text and adds up, for each token that sees more positions than the indexer selects, what dense attention would give to those
/// that it does. None where no token sees more, or attention is dense.
///
/// # Errors
/// `context_overflow`; faults of the device.
pub async fn dense_share(engine: &mut Engine, text: &[u32]) -> Result<Option<DenseShare>> {
    let Some(from) = engine.index_topk().filter(|topk| (*topk as usize) < text.len()) else { return Ok(None) };
    let layers = engine.plan().layers;
    let trace = TraceRequest { layers: (0..layers).collect(), dense: true, from };
    let request = Request { max_tokens: Some(0), trace: Some(trace), ..Request::new(text.to_vec()) };
    let mut sums = vec![(0.0, 0u32); layers as usize];
    let mut worst = 1.0f64;
    let mut reading = engine.generate(request)?;
    while let Some(event) = reading.next().await? {
        let Event::Trace(selections) = event else { continue };
        for selection in selections.iter().filter(|selection| selection.position >= from) {
            let Some(share) = selection.dense_share().map(f64::from) else { continue };
            let (sum, count) = &mut sums[selection.layer as usize];
            (*sum, *count, worst) = (*sum + share, *count + 1, worst.min(share));
        }
    }
    let tokens = sums.iter().map(|(_, count)| *count).max().unwrap_or(0);
    let shares: Vec<f64> = sums.iter().map(|(sum, count)| sum / f64::from((*count).max(1))).collect();
    let mean = shares.iter().sum::<f64>() / f64::from(layers.max(1));
    Ok((tokens > 0).then_some(DenseShare { tokens, mean, worst, layers: shares }))
}
