//! Speeds: reading prompts, decoding, at depth, sparse and dense. Fixed synthetic tokens; warm-up is not timed.

use serde::Serialize;

use crate::engine::Engine;
use crate::error::{Code, Error, Result};
use crate::generate::{Chunk, SequenceId, Wanted};
use crate::platform::Instant;

/// What to measure.
#[derive(Clone, Debug)]
pub struct BenchOptions {
    /// Prompt lengths to read.
    pub prompts: Vec<u32>,
    /// Tokens to decode.
    pub generate: Vec<u32>,
    /// Positions already in the cache.
    pub depths: Vec<u32>,
    /// Runs of each test.
    pub repetitions: u32,
    /// Measure [`Row::outside_passes`] too, in more steps.
    pub outside_passes: bool,
}

/// Measurements of one engine.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The adapter, or `host`.
    pub adapter: String,
    /// Its driver.
    pub driver: String,
    /// `sparse` or `dense`.
    pub attention: &'static str,
    /// One for each test.
    pub rows: Vec<Row>,
}

/// One test.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// `pp512 @ d0`: 512 prompt tokens; `tg128 @ d0`: 128 decoded tokens; after so many positions.
    pub test: String,
    /// Mean over the runs.
    pub tokens_per_second: f64,
    /// Standard deviation over the runs.
    pub deviation: f64,
    /// Wall time for a token, mean.
    pub ms_per_token: f64,
    /// Dispatches of one step.
    pub dispatches: u64,
    /// Largest number of dispatches of one layer in one step.
    pub dispatches_per_layer: usize,
    /// Time that encoding and submitting took in our thread, for each dispatch, driver included; none for prompts, whose
    /// steps are submitted in parts that may wait for each other.
    pub encode_us_per_dispatch: Option<f64>,
    /// Share of a step's wall time in which no pass ran, from the adapter's timestamps; none where it has none, or
    /// was not asked.
    pub outside_passes: Option<f64>,
}

/// Runs every test.
///
/// # Errors
/// `context_overflow` where depth and test exceed the context; faults of the device.
pub async fn run(engine: &mut Engine, options: &BenchOptions) -> Result<Report> {
    let (adapter, driver) = engine.adapter().map_or_else(
        || ("host".to_owned(), String::new()),
        |info| (info.name.clone(), format!("{} {}", info.backend, info.driver)),
    );
    let attention = if engine.runner().settings().index_topk.is_some() { "sparse" } else { "dense" };
    let mut rows = Vec::new();
    for &depth in &options.depths {
        for &tokens in options.prompts.iter().filter(|&&tokens| tokens > 0) {
            rows.push(measure(engine, Test { depth, tokens, decode: false }, options).await?);
        }
        for &tokens in options.generate.iter().filter(|&&tokens| tokens > 0) {
            rows.push(measure(engine, Test { depth, tokens, decode: true }, options).await?);
        }
    }
    Ok(Report { adapter, driver, attention, rows })
}

#[derive(Clone, Copy)]
struct Test {
    depth: u32,
    tokens: u32,
    decode: bool,
}

async fn measure(engine: &mut Engine, test: Test, options: &BenchOptions) -> Result<Row> {
    let context = engine.runner().settings().context;
    let needed = test.depth + test.tokens + 1;
    if needed > context {
        let message = format!("a test of {needed} positions; the context holds {context}");
        return Err(Error::new(Code::ContextOverflow, message));
    }
    let sequence = engine.runner().open()?;
    let row = at_depth(engine, sequence, test, options).await;
    engine.runner().close(sequence);
    row
}

async fn at_depth(engine: &mut Engine, sequence: SequenceId, test: Test, options: &BenchOptions) -> Result<Row> {
    fill(engine, sequence, test.depth).await?;
    let mut speeds = Vec::new();
    let (mut encode_ns, mut dispatches, mut steps) = (0, 0, 0u64);
    for repetition in 0..=options.repetitions.max(1) {
        let (seconds, run) = once(engine, sequence, test).await?;
        engine.runner().truncate(sequence, test.depth);
        if repetition > 0 {
            speeds.push(f64::from(test.tokens) / seconds);
            encode_ns += run.encode_ns;
            dispatches += run.dispatches;
            steps += run.steps;
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a handful of runs, and counts for display")]
    let (mean, deviation, encode_us) = {
        let count = speeds.len() as f64;
        let mean = speeds.iter().sum::<f64>() / count;
        let variance = speeds.iter().map(|speed| (speed - mean).powi(2)).sum::<f64>() / count;
        (mean, variance.sqrt(), encode_ns as f64 / 1e3 / dispatches.max(1) as f64)
    };
    let per_layer = engine.runner().last_recording().map_or(0, |(recording, extent)| recording.dispatches(&extent).0);
    let outside_passes = match options.outside_passes {
        true => outside_passes(engine, sequence, test).await?,
        false => None,
    };
    let name = if test.decode { "tg" } else { "pp" };
    Ok(Row {
        test: format!("{name}{} @ d{}", test.tokens, test.depth),
        tokens_per_second: mean,
        deviation,
        ms_per_token: 1e3 / mean,
        dispatches: dispatches / steps.max(1),
        dispatches_per_layer: per_layer,
        encode_us_per_dispatch: test.decode.then_some(encode_us),
        outside_passes,
    })
}

struct Run {
    encode_ns: u64,
    dispatches: u64,
    steps: u64,
}

/// Ids without meaning that differ from place to place.
fn synthetic(first: u32, count: u32, vocab_size: u32) -> Vec<u32> {
    (first..first + count).map(|i| i.wrapping_mul(7919) % vocab_size.max(1)).collect()
}

/// Fills the cache to a depth; not timed.
async fn fill(engine: &mut Engine, sequence: SequenceId, depth: u32) -> Result<()> {
    let runner = engine.runner();
    let (chunk, vocab_size) = (runner.settings().chunk, runner.dims().vocab_size);
    for first in (0..depth).step_by(chunk as usize) {
        let ids = synthetic(first, chunk.min(depth - first), vocab_size);
        runner.step(&[Chunk { sequence, ids: &ids, wanted: Wanted::None }], false).await?;
    }
    runner.settle().await
}

/// One run: its seconds, and what was encoded meanwhile.
async fn once(engine: &mut Engine, sequence: SequenceId, test: Test) -> Result<(f64, Run)> {
    let runner = engine.runner();
    let (chunk, vocab_size) = (runner.settings().chunk, runner.dims().vocab_size);
    let before = runner.executor().counts();
    let mut steps = 0;
    let started = Instant::now();
    if test.decode {
        let ids = synthetic(test.depth, 1, vocab_size);
        runner.step(&[Chunk { sequence, ids: &ids, wanted: Wanted::Last }], true).await?;
        let mut in_flight = std::collections::VecDeque::from([runner.chosen()?]);
        for _ in 1..test.tokens {
            runner.again().await?;
            in_flight.push_back(runner.chosen()?);
            // As an answer is made: the host looks at one choice while the next is computed.
            if in_flight.len() > 2
                && let Some(read) = in_flight.pop_front()
            {
                read.await?;
            }
        }
        for read in in_flight {
            read.await?;
        }
        steps += u64::from(test.tokens);
    } else {
        for first in (0..test.tokens).step_by(chunk as usize) {
            let count = chunk.min(test.tokens - first);
            let ids = synthetic(test.depth + first, count, vocab_size);
            let wanted = if first + count == test.tokens { Wanted::Last } else { Wanted::None };
            runner.step(&[Chunk { sequence, ids: &ids, wanted }], true).await?;
            runner.settle().await?;
            steps += 1;
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let after = runner.executor().counts();
    let run =
        Run { encode_ns: after.encode_ns - before.encode_ns, dispatches: after.dispatches - before.dispatches, steps };
    Ok((seconds, run))
}

/// Share of the wall time of single steps in which no pass ran.
async fn outside_passes(engine: &mut Engine, sequence: SequenceId, test: Test) -> Result<Option<f64>> {
    let runner = engine.runner();
    let vocab_size = runner.dims().vocab_size;
    let count = if test.decode { 1 } else { test.tokens.min(runner.settings().chunk) };
    let (mut wall_ns, mut busy_ns) = (0.0, 0.0);
    for _ in 0..8 {
        let ids = synthetic(test.depth, count, vocab_size);
        let started = Instant::now();
        let busy = runner.step_timed(&[Chunk { sequence, ids: &ids, wanted: Wanted::Last }]).await?;
        wall_ns += started.elapsed().as_secs_f64() * 1e9;
        let Some(busy) = busy else { return Ok(None) };
        busy_ns += busy;
        let length = runner.length(sequence) - count;
        runner.truncate(sequence, length);
    }
    Ok(Some((1.0 - busy_ns / wall_ns).max(0.0)))
}
