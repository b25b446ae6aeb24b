//! Model stages against expected values: a checkpoint folder with a `golden.safetensors`, as `tests/data/golden` has.
//!
//! Expected values are f64 results stored as f32. A stage passes within 1e-4 · max(1, max|expected|), logits within 1e-3;
//! selections and experts must be equal but for exchanges that the expected scores cannot tell apart.

mod expected;
mod stages;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use expected::Golden;
use stages::{StageReport, Stages};

use crate::checkpoint::{Checkpoint, Source};
use crate::engine::{Engine, Options, Place, Trial};
use crate::error::{Code, Error, Result};
use crate::generate::{Chunk, Runner, SequenceId, Wanted};
use crate::memory::ContextSize;
use crate::model;
use crate::model::cache::PAGE;
use crate::record::{Tap, Taps};

/// The file of expected values.
pub const FILE: &str = "golden.safetensors";

const TOLERANCE: f64 = 1e-4;
const LOGITS_TOLERANCE: f64 = 1e-3;

/// Every stage of one folder on one device.
#[derive(Clone, Debug, Serialize)]
pub struct GoldenReport {
    /// The device's name, or `host`.
    pub device: String,
    /// Stages, in the order of the model.
    pub stages: Vec<StageReport>,
}

impl GoldenReport {
    /// Whether every stage is within its tolerance.
    pub fn passed(&self) -> bool {
        !self.stages.is_empty() && self.stages.iter().all(|stage| stage.passed)
    }
}

/// Runs the folder's prompt through the model on a device and compares every stage; then its greedy continuations, to the last
/// id, and the multi-token-prediction module where expected values of it are there.
///
/// # Errors
/// What is wrong with the folder or the device; values out of tolerance are in the report.
pub async fn run(folder: Arc<dyn Source>, place: Place) -> Result<GoldenReport> {
    run_trial(folder, place, Trial::default(), 0).await
}

/// As [`run`], with what only tests ask for, and behind the pages of `held` sequences of the whole context.
#[doc(hidden)]
pub async fn run_trial(folder: Arc<dyn Source>, place: Place, trial: Trial, held: u32) -> Result<GoldenReport> {
    let device = place.adapter().map_or_else(|| "host".to_owned(), |info| info.name.clone());
    let golden = Golden::open(Arc::clone(&folder)).await?;
    let checkpoint = Checkpoint::open(folder).await?;
    let conversations = golden.conversations();
    let staged = golden.has("input_ids") || conversations.is_empty();
    let ids = if staged { golden.ids("input_ids").await? } else { vec![] };
    let prediction = golden.has("mtp.logits");
    let count = |tokens: usize| u32::try_from(tokens).unwrap_or(u32::MAX);
    let mut longest = ids.len();
    if golden.has("greedy.ids") {
        longest = longest.max(golden.ids("greedy.ids").await?.len());
    }
    for name in &conversations {
        let (prompt, answer) = golden.conversation(name).await?;
        longest = longest.max(prompt.len() + answer.len());
    }
    let context = count(longest).saturating_add(256).min(checkpoint.config.max_position_embeddings);
    let trial = Trial { all_logits: true, ..trial };
    let options = Options {
        context: ContextSize::Tokens(context),
        chunk: staged.then_some(count(ids.len()).max(1)),
        sequences: 2 + held,
        prediction,
        ..Options::default()
    };
    let mut engine = Engine::load_trial(checkpoint, place, &options, trial, &mut |_| true).await?;
    for _ in 0..held {
        let sequence = engine.runner().open()?;
        engine.runner().sequences_mut().extend(sequence, context as usize)?;
    }
    let mut stages = Stages { golden: &golden, reports: vec![] };
    if staged {
        compare_prompt(&mut engine, &ids, &mut stages).await?;
    }
    if golden.has("greedy.ids") {
        let expected = golden.ids("greedy.ids").await?;
        let logits = golden.floats("greedy.logits").await?;
        let answer = expected.get(ids.len()..).unwrap_or_default();
        compare_greedy(&mut engine, &ids, answer, ("greedy.ids", "greedy.logits"), &logits, &mut stages).await?;
    }
    for name in &conversations {
        let (prompt, answer) = golden.conversation(name).await?;
        let names = (format!("{name}.greedy"), format!("{name}.logits"));
        let logits = if golden.has(&names.1) { golden.floats(&names.1).await? } else { vec![] };
        compare_greedy(&mut engine, &prompt, &answer, (&names.0, &names.1), &logits, &mut stages).await?;
    }
    if prediction {
        compare_prediction(&mut engine, &mut stages).await?;
    }
    Ok(GoldenReport { device, stages: stages.reports })
}

/// Tapped tensors by name.
struct Tapped(BTreeMap<String, Vec<u32>>);

impl Tapped {
    fn new(taps: Vec<(Tap, Vec<u32>)>) -> Tapped {
        Tapped(taps.into_iter().map(|(tap, words)| (tap.name, words)).collect())
    }

    fn words(&self, name: &str) -> Option<&[u32]> {
        self.0.get(name).map(Vec::as_slice)
    }

    fn floats(&self, name: &str) -> Option<&[f32]> {
        self.words(name).map(bytemuck::cast_slice)
    }
}

async fn compare_prompt(engine: &mut Engine, ids: &[u32], stages: &mut Stages<'_>) -> Result<()> {
    let runner = engine.runner();
    let layers = runner.dims().num_hidden_layers;
    let sequence = runner.open()?;
    let chunk = Chunk { sequence, ids, wanted: Wanted::All };
    let taps = Tapped::new(runner.step_tapped(&[chunk], false, Taps::All).await?.read().await?);
    for layer in 0..layers {
        compare_layer(engine, &Layer { prefix: "", layer, taps: &taps }, stages).await?;
        compare_cache(engine, layer, sequence, stages).await?;
    }
    for name in ["final_input", "final_norm", "logits"] {
        stages.floats(name, name, taps.floats(name)).await?;
    }
    engine.runner().close(sequence);
    Ok(())
}

/// The stages of one layer; `prefix` is `mtp.` for the prediction module.
struct Layer<'a> {
    prefix: &'a str,
    layer: u32,
    taps: &'a Tapped,
}

impl Layer<'_> {
    fn report(&self, stage: &str) -> String {
        format!("{}{stage}", self.prefix)
    }

    fn expected(&self, stage: &str) -> String {
        format!("{}layers.{}.{stage}", self.prefix, self.layer)
    }

    fn tapped(&self, stage: &str) -> String {
        format!("layers.{}.{stage}", self.layer)
    }

    fn words(&self, stage: &str) -> Option<&[u32]> {
        self.taps.words(&self.tapped(stage))
    }

    fn floats(&self, stage: &str) -> Option<&[f32]> {
        self.taps.floats(&self.tapped(stage))
    }

    /// What a branch added to the residual stream.
    fn difference(&self, after: &str, before: &str) -> Option<Vec<f32>> {
        let (after, before) = (self.floats(after)?, self.floats(before)?);
        Some(after.iter().zip(before).map(|(after, before)| after - before).collect())
    }

    async fn compare(&self, stage: &str, got: Option<&[f32]>, stages: &mut Stages<'_>) -> Result<()> {
        stages.floats(&self.report(stage), &self.expected(stage), got).await
    }
}

async fn compare_layer(engine: &mut Engine, layer: &Layer<'_>, stages: &mut Stages<'_>) -> Result<()> {
    for stage in ["input", "attn_norm", "q_latent", "q", "idx_q"] {
        layer.compare(stage, layer.floats(stage), stages).await?;
    }
    let scale = engine.runner().dims().indexer.as_ref().map_or(1.0, |indexer| indexer.scale);
    let weights: Option<Vec<f32>> = layer.floats("idx_w").map(|w| w.iter().map(|w| w * scale).collect());
    layer.compare("idx_w", weights.as_deref(), stages).await?;
    if stages.golden.has(&layer.expected("idx_score")) {
        compare_selection(layer, stages).await?;
    }
    let attended = layer.difference("after_attention", "input");
    layer.compare("attn_out", attended.as_deref(), stages).await?;
    for stage in ["ffn_norm", "router_logits"] {
        layer.compare(stage, layer.floats(stage), stages).await?;
    }
    if stages.golden.has(&layer.expected("router_topk")) {
        compare_routing(layer, stages).await?;
    }
    let fed = layer.difference("after_ffn", "after_attention");
    layer.compare("ffn_out", fed.as_deref(), stages).await
}

/// Scores of visible positions, and which were kept.
async fn compare_selection(layer: &Layer<'_>, stages: &mut Stages<'_>) -> Result<()> {
    let scores = stages.golden.floats(&layer.expected("idx_score")).await?;
    let selected = stages.golden.integers(&layer.expected("idx_topk")).await?;
    // A square matrix's side.
    let rows = scores.len().isqrt();
    let (got_scores, got) = match (layer.floats("idx_score"), layer.words("idx_topk")) {
        (Some(scores), Some(selected)) if rows > 0 => (scores, selected),
        _ => {
            stages.missing(&layer.report("idx_topk"));
            return Ok(());
        }
    };
    let (score_stride, width, k) = (got_scores.len() / rows, selected.len() / rows, got.len() / rows);
    let mut pairs = Vec::new();
    let largest =
        scores.iter().filter(|score| score.is_finite()).fold(1f64, |most, &score| most.max(f64::from(score.abs())));
    let (mut differ, mut wrong) = (0usize, String::new());
    for row in 0..rows {
        let expected_scores = &scores[row * rows..][..=row];
        pairs.extend(got_scores[row * score_stride..][..=row].iter().copied().zip(expected_scores.iter().copied()));
        let mut want: Vec<i64> = selected[row * width..][..width].iter().copied().filter(|&i| i >= 0).collect();
        want.sort_unstable();
        let have: Vec<i64> = got[row * k..][..k].iter().filter(|&&i| i != u32::MAX).map(|&i| i64::from(i)).collect();
        if want != have {
            let cut = want.iter().map(|&i| expected_scores[usize_of(i)]).fold(f32::INFINITY, f32::min);
            let exchanged = want.iter().filter(|i| !have.contains(i)).chain(have.iter().filter(|i| !want.contains(i)));
            let told = exchanged.filter(|&&i| {
                let score = expected_scores.get(usize_of(i)).copied().unwrap_or(f32::INFINITY);
                f64::from((score - cut).abs()) > TOLERANCE * largest
            });
            if have.len() != want.len() || told.count() > 0 {
                differ += 1;
                wrong = format!("{}, row {row}: expected {want:?}, found {have:?}", layer.expected("idx_topk"));
            }
        }
    }
    stages.pairs(&layer.report("idx_score"), &layer.expected("idx_score"), &pairs, TOLERANCE);
    stages.exact(&layer.report("idx_topk"), differ, rows, wrong);
    Ok(())
}

fn usize_of(value: i64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// Experts, and their weights by expert.
async fn compare_routing(layer: &Layer<'_>, stages: &mut Stages<'_>) -> Result<()> {
    let experts = stages.golden.integers(&layer.expected("router_topk")).await?;
    let weights = stages.golden.floats(&layer.expected("router_w")).await?;
    let margins = stages.golden.floats(&layer.expected("router_margin")).await?;
    let Some(entries) = layer.words("router_entries").filter(|_| !margins.is_empty()) else {
        stages.missing(&layer.report("router_topk"));
        return Ok(());
    };
    let per_token = experts.len() / margins.len();
    let (mut differ, mut wrong, mut pairs) = (0usize, String::new(), Vec::new());
    for (row, &margin) in margins.iter().enumerate() {
        let sorted = |mut list: Vec<(i64, f32)>| {
            list.sort_unstable_by_key(|entry| entry.0);
            list
        };
        let range = row * per_token..(row + 1) * per_token;
        let want = sorted(experts[range.clone()].iter().copied().zip(weights[range].iter().copied()).collect());
        let have = entries[row * 2 * per_token..][..2 * per_token].chunks_exact(2);
        let have = sorted(have.map(|pair| (i64::from(pair[0]), f32::from_bits(pair[1]))).collect());
        if want.iter().map(|entry| entry.0).eq(have.iter().map(|entry| entry.0)) {
            pairs.extend(have.iter().zip(&want).map(|(have, want)| (have.1, want.1)));
        } else if f64::from(margin) > TOLERANCE {
            differ += 1;
            wrong = format!("{}, row {row}: expected {want:?}, found {have:?}", layer.expected("router_topk"));
        }
    }
    stages.exact(&layer.report("router_topk"), differ, margins.len(), wrong);
    stages.pairs(&layer.report("router_w"), &layer.expected("router_w"), &pairs, TOLERANCE);
    Ok(())
}

/// What lies in the cache of a layer.
async fn compare_cache(engine: &mut Engine, layer: u32, id: SequenceId, stages: &mut Stages<'_>) -> Result<()> {
    let (latents, keys) = cached(engine.runner(), layer, id).await?;
    let dims = engine.runner().dims();
    let (rank, width) = (dims.kv_lora_rank as usize, dims.kv_lora_rank as usize + 2 * dims.rope_pairs as usize);
    let split = |range: std::ops::Range<usize>| -> Vec<f32> {
        latents.chunks_exact(width).flat_map(|row| &row[range.clone()]).copied().collect()
    };
    let name = |stage: &str| format!("layers.{layer}.{stage}");
    stages.floats("kv_latent", &name("kv_latent"), Some(&split(0..rank))).await?;
    stages.floats("k_rope", &name("k_rope"), Some(&split(rank..width))).await?;
    stages.floats("idx_k", &name("idx_k"), Some(&keys)).await
}

/// A greedy continuation, decoded token by token: all of its ids, and as many rows of logits as there are, from the first.
async fn compare_greedy(
    engine: &mut Engine,
    prompt: &[u32],
    expected: &[u32],
    (ids_name, logits_name): (&str, &str),
    logits: &[f32],
    stages: &mut Stages<'_>,
) -> Result<()> {
    let chunk = engine.plan().chunk as usize;
    let runner = engine.runner();
    let vocab_size = runner.dims().vocab_size as usize;
    let sequence = runner.open()?;
    let last = prompt.len().saturating_sub(1) / chunk * chunk;
    let (before, rest) = prompt.split_at(last);
    for ids in before.chunks(chunk) {
        runner.step(&[Chunk { sequence, ids, wanted: Wanted::None }], false).await?;
    }
    let mut ids = rest.to_vec();
    let (mut differ, mut note, mut pairs) = (0, String::new(), Vec::new());
    let mut rows = logits.chunks_exact(vocab_size);
    for (place, &expected) in expected.iter().enumerate() {
        runner.step(&[Chunk { sequence, ids: &ids, wanted: Wanted::Last }], true).await?;
        let found = runner.chosen()?.await?.first().copied().unwrap_or(u32::MAX);
        let row = rows.next();
        if row.is_some() || found != expected {
            let logits = runner.logits(0).await?;
            let of = |id: u32| logits.get(id as usize).copied().map_or(f64::NAN, f64::from);
            // Nearer than logits may be off, two right implementations may choose differently.
            let is_tie = (of(found) - of(expected)).abs() <= LOGITS_TOLERANCE;
            if found != expected && !is_tie {
                differ += 1;
                note = format!("{ids_name}, token {place}: expected {expected}, found {found}");
            }
            pairs.extend(logits.into_iter().zip(row.into_iter().flatten().copied()));
        }
        // Each id is judged after those that were expected before it.
        ids = vec![expected];
    }
    runner.close(sequence);
    stages.exact(ids_name, differ, expected.len(), note);
    stages.absolute(logits_name, logits_name, &pairs, LOGITS_TOLERANCE);
    Ok(())
}

/// Cached rows of a layer for the tokens of a sequence, `[length, width]` each: latents with rope keys, and index keys where the
/// layer owns them.
async fn cached(runner: &mut Runner, layer: u32, id: SequenceId) -> Result<(Vec<f32>, Vec<f32>)> {
    let (mut tensors, length) = (Vec::new(), runner.length(id));
    for (row, pages) in runner.cached(layer, id)? {
        let (mut rows, mut left) = (Vec::new(), length);
        for page in pages {
            let words = page.await?;
            rows.extend((0..left.min(PAGE)).flat_map(|position| row.read(&words, position)));
            left = left.saturating_sub(PAGE);
        }
        tensors.push(rows);
    }
    let mut tensors = tensors.into_iter();
    Ok((tensors.next().unwrap_or_default(), tensors.next().unwrap_or_default()))
}

/// One step of multi-token prediction module 0 over `hidden` `[tokens, hidden_size]` and the tokens that follow, with every
/// stage read.
async fn predict(runner: &mut Runner, chunk: Chunk<'_>, hidden: &[f32]) -> Result<Vec<(Tap, Vec<u32>)>> {
    let (executor, parts, extent) = runner.other_step(chunk, Taps::All)?;
    let Some(module) = parts.tensors.weights.prediction.first() else {
        return Err(Error::new(Code::Internal, "multi-token prediction was not loaded"));
    };
    let words = u64::from(parts.shape.tokens) * u64::from(parts.dims.hidden_size);
    let slot = executor.allocate("hidden", words).await?;
    executor.write(slot, 0, bytemuck::cast_slice(hidden));
    let prepared = executor.prepare(model::predict_step(parts, module, slot)).await?;
    let tapped = executor.run(&prepared, &extent)?.read().await;
    executor.free(slot);
    tapped
}

async fn compare_prediction(engine: &mut Engine, stages: &mut Stages<'_>) -> Result<()> {
    let hidden = stages.golden.floats("mtp.prev_hidden").await?;
    let ids = stages.golden.ids("mtp.next_ids").await?;
    let layer = engine.runner().dims().num_hidden_layers;
    let sequence = engine.runner().open()?;
    let chunk = Chunk { sequence, ids: &ids, wanted: Wanted::All };
    let taps = Tapped::new(predict(engine.runner(), chunk, &hidden).await?);
    stages.floats("mtp.eh_proj", "mtp.eh_proj", taps.floats("mtp.eh_proj")).await?;
    compare_layer(engine, &Layer { prefix: "mtp.", layer, taps: &taps }, stages).await?;
    for name in ["mtp.output", "mtp.logits"] {
        stages.floats(name, name, taps.floats(name)).await?;
    }
    engine.runner().close(sequence);
    Ok(())
}
