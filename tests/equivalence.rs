//! Ways to compute one thing that must give one set of bits: chunks, batches, prefix reuse, dense and split attention.
//!
//! Oracle: the property itself, on the bits of logits, on every adapter. It rests on the kernels' canonical sums.

use lyn::engine::{Attention, Trial};
use lyn::executor::Executor;
use lyn::generate::{Chunk, Runner, SequenceId, Wanted};
use lyn::gpu::{Counts, Device};
use lyn::memory::ContextSize;
use lyn::record::Taps;
use lyn::{Engine, Options, Place, models, platform};
use lyn_conformance::{full_devices, golden, load_trial};
use lyn_shaders::case::Random;

/// Bits of a row of logits.
type Row = Vec<u32>;

struct Model {
    name: &'static str,
    /// Tokens of the prompt.
    tokens: usize,
    /// Whether it has an indexer.
    sparse: bool,
}

const MODELS: &[Model] = &[
    Model { name: "a_base", tokens: 40, sparse: true },
    Model { name: "g_fp8_official", tokens: 26, sparse: true },
    Model { name: "i_glm_moe_dsa", tokens: 26, sparse: true },
    Model { name: "d_v3_no_q_lora", tokens: 26, sparse: false },
    Model { name: "stories", tokens: 76, sparse: true }, // more than its index_topk of 64
];

impl Model {
    fn load(&self, device: &Device, options: &Options) -> Engine {
        let source = if self.name == "stories" { models::stories() } else { golden(self.name) };
        let trial = Trial { all_logits: true, ..Trial::default() };
        load_trial(source, Place::Gpu(Box::new(device.clone())), options, trial)
    }

    fn options(&self) -> Options {
        Options { context: ContextSize::Tokens(256), chunk: Some(256), sequences: 5, ..Options::default() }
    }

    /// Ids without meaning: what is computed must not depend on it.
    fn prompt(&self, engine: &mut Engine, seed: u64) -> Vec<u32> {
        let vocab_size = engine.runner().dims().vocab_size;
        let mut random = Random::new(seed);
        (0..self.tokens).map(|_| random.below(vocab_size)).collect()
    }
}

/// Reads ids in chunks of these sizes, the last one again and again; logits of every id.
fn read(runner: &mut Runner, sequence: SequenceId, ids: &[u32], sizes: &[usize]) -> Vec<Row> {
    let (mut rows, mut rest, mut turn) = (Vec::new(), ids, 0);
    while !rest.is_empty() {
        let size = sizes[turn.min(sizes.len() - 1)].min(rest.len());
        turn += 1;
        let (ids, later) = rest.split_at(size);
        rows.extend(step(runner, &[Chunk { sequence, ids, wanted: Wanted::All }]));
        rest = later;
    }
    rows
}

/// One step; the wanted rows in the order of its chunks.
fn step(runner: &mut Runner, chunks: &[Chunk<'_>]) -> Vec<Row> {
    platform::block_on(async {
        runner.step(chunks, false).await?;
        let rows: usize =
            chunks.iter().map(|chunk| if chunk.wanted == Wanted::All { chunk.ids.len() } else { 1 }).sum();
        let mut logits = Vec::new();
        for row in 0..u32::try_from(rows).expect("few rows") {
            logits.push(runner.logits(row).await?.into_iter().map(f32::to_bits).collect());
        }
        lyn::Result::<Vec<Row>>::Ok(logits)
    })
    .expect("a step runs")
}

/// Reads a prompt in a sequence of its own.
fn alone(runner: &mut Runner, ids: &[u32], sizes: &[usize]) -> Vec<Row> {
    let sequence = runner.open().expect("a free sequence");
    let rows = read(runner, sequence, ids, sizes);
    runner.close(sequence);
    rows
}

/// Fails with the first place where two computations differ.
fn same(what: &str, got: &[Row], expected: &[Row]) {
    assert_eq!(got.len(), expected.len(), "{what}: rows");
    for (position, (got, expected)) in got.iter().zip(expected).enumerate() {
        if let Some(id) = (0..expected.len()).find(|&id| got[id] != expected[id]) {
            let differ = (0..expected.len()).filter(|&id| got[id] != expected[id]).count();
            let (a, b) = (f32::from_bits(got[id]), f32::from_bits(expected[id]));
            panic!(
                "{what}: position {position}, id {id}: {a:e} instead of {b:e}; {differ} of {} differ",
                expected.len()
            );
        }
    }
}

fn everywhere(check: impl Fn(&str, &Device, &Model)) {
    for (name, device) in full_devices() {
        for model in MODELS {
            check(&format!("{name}: {}", model.name), &device, model);
        }
    }
}

#[test]
fn chunks_batches_and_reuse_give_one_set_of_bits() {
    everywhere(|what, device, model| {
        let mut engine = model.load(device, &model.options());
        let prompt = model.prompt(&mut engine, 1);
        let others = [model.prompt(&mut engine, 2), model.prompt(&mut engine, 3), model.prompt(&mut engine, 4)];
        let runner = engine.runner();
        let whole = alone(runner, &prompt, &[prompt.len()]);
        assert!(whole.iter().flatten().all(|&bits| f32::from_bits(bits).is_finite()), "{what}: a logit is not finite");
        same(&format!("{what}: again"), &alone(runner, &prompt, &[prompt.len()]), &whole);
        for sizes in [&[1][..], &[3], &[8], &[17, 1, 2]] {
            same(&format!("{what}: chunks of {sizes:?}"), &alone(runner, &prompt, sizes), &whole);
        }
        reuse(what, runner, &prompt, &whole);
        batches(what, runner, &prompt, &whole, &others);
    });
}

/// A sequence cut back and read on gives what a fresh one does, also when others took its pages in between.
fn reuse(what: &str, runner: &mut Runner, prompt: &[u32], whole: &[Row]) {
    let sequence = runner.open().expect("a free sequence");
    let junk: Vec<u32> = prompt.iter().rev().copied().collect();
    for kept in [prompt.len() - 1, 9] {
        let known = read(runner, sequence, &prompt[..kept], &[64]);
        same(&format!("{what}: first {kept}"), &known, &whole[..kept]);
        read(runner, sequence, &junk[..11], &[4]);
        runner.truncate(sequence, u32::try_from(kept).expect("short"));
        let other = runner.open().expect("a free sequence");
        read(runner, other, &junk[..20], &[64]);
        runner.close(other);
        same(&format!("{what}: read on from {kept}"), &read(runner, sequence, &prompt[kept..], &[7]), &whole[kept..]);
        runner.truncate(sequence, 0);
    }
    runner.close(sequence);
}

/// A prompt read in chunks in the company of sequences that decode, in changing order, gives what it gives alone.
fn batches(what: &str, runner: &mut Runner, prompt: &[u32], whole: &[Row], others: &[Vec<u32>; 3]) {
    let others = others.each_ref().map(|other| &other[..26]);
    let expected = others.map(|other| alone(runner, other, &[other.len()]));
    let main = runner.open().expect("a free sequence");
    let company: Vec<_> = others.iter().map(|_| runner.open().expect("a free sequence")).collect();
    for (i, (&sequence, ids)) in company.iter().zip(others).enumerate() {
        let first = 3 + 8 * i;
        same(&format!("{what}: company {i}"), &read(runner, sequence, &ids[..first], &[64]), &expected[i][..first]);
    }
    let (mut done, mut turn) = (0, 0usize);
    while done < prompt.len() {
        let end = (done + [13, 1, 6, 17][turn % 4]).min(prompt.len());
        // (chunk, what it must give)
        let mut parts = vec![(main, &prompt[done..end], &whole[done..end])];
        for (i, &sequence) in company.iter().enumerate().take(turn % 4) {
            let at = runner.length(sequence) as usize;
            if at < others[i].len() {
                parts.push((sequence, &others[i][at..=at], &expected[i][at..=at]));
            }
        }
        let places = parts.len();
        parts.rotate_left(turn % places);
        let chunks: Vec<_> =
            parts.iter().map(|&(sequence, ids, _)| Chunk { sequence, ids, wanted: Wanted::All }).collect();
        let wanted: Vec<Row> = parts.iter().flat_map(|(.., rows)| rows.to_vec()).collect();
        same(&format!("{what}: {places} sequences in step {turn}, position {done}"), &step(runner, &chunks), &wanted);
        (done, turn) = (end, turn + 1);
    }
    company.into_iter().chain([main]).for_each(|sequence| runner.close(sequence));
}

#[test]
fn selecting_every_position_is_dense_attention() {
    everywhere(|what, device, model| {
        if !model.sparse {
            return;
        }
        let dense = Options { attention: Attention::Dense, ..model.options() };
        let mut engine = model.load(device, &dense);
        let prompt = model.prompt(&mut engine, 5);
        let whole = alone(engine.runner(), &prompt, &[prompt.len()]);
        let length = u32::try_from(prompt.len()).expect("short");
        let mut engine = model.load(device, &Options { index_topk: Some(length), ..model.options() });
        let runner = engine.runner();
        same(&format!("{what}: topk = length"), &alone(runner, &prompt, &[prompt.len()]), &whole);

        // With taps the indexer runs even where it has no choice, and attention reads its list.
        let sequence = runner.open().expect("a free sequence");
        let chunk = Chunk { sequence, ids: &prompt, wanted: Wanted::All };
        let taps = platform::block_on(async { runner.step_tapped(&[chunk], false, Taps::All).await?.read().await });
        let taps = taps.expect("a step runs");
        assert!(taps.iter().any(|(tap, _)| tap.name.ends_with(".idx_topk")), "{what}: no selection was made");
        let logits = taps.iter().find(|(tap, _)| tap.name == "logits").expect("logits are tapped");
        let rows: Vec<Row> = logits.1.chunks(logits.1.len() / prompt.len()).map(<[u32]>::to_vec).collect();
        same(&format!("{what}: a list of all positions"), &rows, &whole);

        // Attention can be switched without loading again.
        engine.set_attention(Attention::Dense, None);
        same(&format!("{what}: switched"), &alone(engine.runner(), &prompt, &[prompt.len()]), &whole);

        // The property is not empty: fewer positions give other logits.
        if model.name != "a_base" {
            return;
        }
        let mut fresh = model.load(device, &Options { index_topk: Some(4), ..model.options() });
        let few = alone(fresh.runner(), &prompt, &[prompt.len()]);
        assert_ne!(few, whole, "{what}: a topk of 4 changes nothing");
        engine.set_attention(Attention::Sparse, Some(4));
        same(&format!("{what}: switched to 4"), &alone(engine.runner(), &prompt, &[prompt.len()]), &few);
    });
}

/// Attention is split over workgroups for few queries, and not for many.
#[test]
fn split_attention_gives_the_bits_of_unsplit() {
    let model = Model { name: "stories", tokens: 300, sparse: true };
    for (name, device) in full_devices() {
        let options = Options {
            context: ContextSize::Tokens(512),
            attention: Attention::Dense,
            chunk: Some(512),
            ..model.options()
        };
        let mut engine = model.load(&device, &options);
        let prompt = model.prompt(&mut engine, 6);
        let runner = engine.runner();
        let whole = alone(runner, &prompt, &[prompt.len()]);
        assert!(!combines(runner), "{name}: 300 queries were split");
        let sequence = runner.open().expect("a free sequence");
        same(&format!("{name}: first 120 in 3"), &read(runner, sequence, &prompt[..120], &[40]), &whole[..120]);
        assert!(combines(runner), "{name}: 40 queries were not split");
        for (first, end, size) in [(120, 135, 1), (135, 255, 60), (255, 262, 1), (262, 300, 38)] {
            let rows = read(runner, sequence, &prompt[first..end], &[size]);
            assert!(combines(runner), "{name}: {size} queries were not split");
            same(&format!("{name}: {first} to {end} by {size}"), &rows, &whole[first..end]);
        }
    }
}

/// Whether the last step merged splits of attention.
fn combines(runner: &Runner) -> bool {
    let (recording, _) = runner.last_recording().expect("a step ran");
    recording.passes.iter().any(|pass| pass.kernel.interface().name == "mla_combine")
}

/// Steps that a decode may run ahead of its results.
const AHEAD: usize = 2;

#[test]
fn decoding_makes_nothing_and_dispatches_little() {
    let model = Model { name: "stories", tokens: 150, sparse: true };
    for (name, device) in full_devices() {
        let mut engine = model.load(&device, &model.options());
        let prompt = model.prompt(&mut engine, 7);
        let runner = engine.runner();
        let sequence = runner.open().expect("a free sequence");
        let decode = async |runner: &mut Runner, tokens: usize| {
            let mut reads = std::collections::VecDeque::new();
            for _ in 0..tokens {
                runner.again().await?;
                reads.push_back(runner.chosen()?);
                if reads.len() > AHEAD
                    && let Some(read) = reads.pop_front()
                {
                    read.await?;
                }
            }
            for read in reads {
                read.await?;
            }
            lyn::Result::<()>::Ok(())
        };
        platform::block_on(async {
            runner.step(&[Chunk { sequence, ids: &prompt, wanted: Wanted::Last }], true).await?;
            // A prompt's recording is of another shape; the first token of an answer is submitted by the host.
            let id = runner.chosen()?.await?[0];
            runner.step(&[Chunk { sequence, ids: &[id], wanted: Wanted::Last }], true).await?;
            decode(runner, 4).await?;
            let before = counts(runner);
            decode(runner, 32).await?;
            let after = counts(runner);
            let made = |counts: Counts| (counts.buffers, counts.bind_groups, counts.pipelines);
            assert_eq!(made(after), made(before), "{name}: decoding made buffers, bind groups or pipelines");
            // One submission for a step, one for reading its choice.
            assert_eq!(after.submissions - before.submissions, 64, "{name}: submissions of 32 tokens");

            let (recording, extent) = runner.last_recording().expect("a step ran");
            let (of_layer, all) = recording.dispatches(&extent);
            println!("{name}: {all} dispatches for a token, {of_layer} in a layer");
            assert!(of_layer <= 20, "{name}: {of_layer} dispatches in a layer\n{recording}");
            assert_eq!(after.dispatches - before.dispatches, 32 * all as u64, "{name}: dispatches of 32 tokens");
            lyn::Result::<()>::Ok(())
        })
        .expect("steps run");
    }
}

/// Of a GPU's executor.
fn counts(runner: &Runner) -> Counts {
    match runner.executor() {
        Executor::Gpu(executor) => executor.counts(),
        Executor::Host(_) => unreachable!("a GPU was asked for"),
    }
}
