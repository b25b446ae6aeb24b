//! What a trace tells of attention. Oracles: the untraced answer, the references on the host, and properties of selections
//! and weights.

use lyn::engine::Attention;
use lyn::generate::{Chunk, Event, Finish, Request, SamplingParams, Selection, Timings, TraceRequest, Wanted};
use lyn::gpu::Counts;
use lyn::memory::ContextSize;
use lyn::record::{Taps, Trace};
use lyn::{Code, Engine, Options, Place, models, platform};
use lyn_conformance::{golden, load, one_device};

/// How far a weight may be from the references': far above rounding, far below a share that a panel shows.
const WEIGHT: f32 = 1e-4;
const LAYERS: u32 = 6;
const TOPK: u32 = 64;

fn options() -> Options {
    Options { context: ContextSize::Tokens(128), ..Options::default() }
}

fn on_one_adapter(options: &Options) -> Engine {
    load(models::stories(), Place::Gpu(Box::new(one_device())), options)
}

fn request(prompt: &[u32], max_tokens: u32, trace: Option<TraceRequest>) -> Request {
    let sampling = SamplingParams { temperature: 0.0, ..SamplingParams::default() };
    Request { sampling, max_tokens: Some(max_tokens), trace, ..Request::new(prompt.to_vec()) }
}

fn every_layer(dense: bool, from: u32) -> Option<TraceRequest> {
    Some(TraceRequest { layers: (0..LAYERS).collect(), dense, from })
}

/// Ids of an answer, what was reported, and how it ended. Selections come after their token and before the next.
fn traced(engine: &mut Engine, request: Request) -> (Vec<u32>, Vec<Selection>, Finish, Timings) {
    let prompt = u32::try_from(request.prompt.len()).expect("short");
    platform::block_on(async {
        let mut generation = engine.generate(request)?;
        let (mut selections, mut tokens, mut end) = (Vec::<Selection>::new(), prompt, None);
        while let Some(event) = generation.next().await? {
            match event {
                Event::Token { .. } => tokens += 1,
                Event::Trace(found) => {
                    assert!(found.iter().all(|selection| selection.position < tokens), "before its token");
                    let last = found.iter().map(|selection| selection.position).max();
                    assert!(tokens == prompt || last == Some(tokens - 1), "after the next token");
                    selections.extend(found);
                }
                Event::End { finish, timings, .. } => end = Some((finish, timings)),
                _ => {}
            }
        }
        let (finish, timings) = end.expect("an answer ends");
        lyn::Result::<_>::Ok((generation.ids().to_vec(), selections, finish, timings))
    })
    .expect("an answer")
}

/// A selection for each layer and each position of a range, in any order, sorted by both.
fn sorted(mut selections: Vec<Selection>, positions: std::ops::Range<u32>) -> Vec<Selection> {
    selections.sort_by_key(|selection| (selection.position, selection.layer));
    let found = selections.iter().map(|selection| (selection.position, selection.layer));
    let expected = positions.flat_map(|position| (0..LAYERS).map(move |layer| (position, layer)));
    assert!(found.eq(expected), "a selection for each token and layer, once");
    selections
}

/// Weights of all visible positions, which sum to 1; where nothing is left out, all of it is read.
fn check_weights(selection: &Selection) {
    let (place, weights) = ((selection.position, selection.layer), selection.dense.as_ref().expect("asked for"));
    assert_eq!(weights.len(), selection.position as usize + 1, "{place:?}");
    assert!(weights.iter().all(|&weight| (0.0..=1.0).contains(&weight)), "{place:?}: {weights:?}");
    let (sum, share) = (weights.iter().sum::<f32>(), selection.dense_share().expect("weights"));
    assert!((sum - 1.0).abs() < WEIGHT, "{place:?}: sum {sum}");
    if selection.indices.len() == weights.len() {
        assert!((share - 1.0).abs() < WEIGHT, "{place:?}: share {share}");
    } else {
        assert!(share > 0.0 && share < 1.0, "{place:?}: share {share}");
    }
}

fn same_weights(a: &[Selection], b: &[Selection]) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        let pairs = a.dense.iter().flatten().zip(b.dense.iter().flatten());
        let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
        assert!(worst < WEIGHT, "position {}, layer {}: a weight is off by {worst}", a.position, a.layer);
    }
}

#[test]
fn a_trace_changes_nothing_and_can_be_made_again() {
    let mut engine = on_one_adapter(&options());
    let prompt = engine.raw_prompt("Once upon a time").expect("ids");
    let plain = traced(&mut engine, request(&prompt, 80, None));
    assert!(plain.1.is_empty(), "nobody asked");
    let (ids, selections, finish, _) = traced(&mut engine, request(&prompt, 80, every_layer(true, 0)));
    assert_eq!((&ids, finish), (&plain.0, plain.2), "the traced answer");
    let whole = [prompt.as_slice(), &ids].concat();
    let length = u32::try_from(whole.len()).expect("short");
    assert!(length > TOPK + 10, "an answer longer than what attention reads");

    // The last token of an answer is not read.
    let selections = sorted(selections, 0..length - 1);
    for selection in &selections {
        let visible = selection.position + 1;
        assert_eq!(selection.indices.len(), visible.min(TOPK) as usize);
        assert!(selection.indices.is_sorted_by(|a, b| a < b) && selection.indices.last() < Some(&visible));
        assert_eq!(selection.scores.len(), selection.indices.len());
        check_weights(selection);
    }

    // The same of the whole text as a prompt, bit for bit; of some layers, from some position on.
    for (from, known) in [(0, 0), (30, 30), (length, length - 1), (u32::MAX, length - 1)] {
        let (ids, again, finish, timings) = traced(&mut engine, request(&whole, 0, every_layer(true, from)));
        assert_eq!((ids.len(), finish, timings.prompt_tokens), (0, Finish::Length, length), "from {from}");
        assert_eq!(timings.cached_tokens, known / 64 * 64, "from {from}: tokens not read again, by pages");
        let again = sorted(again, from.min(length)..length);
        let earlier = selections.iter().filter(|selection| selection.position >= from);
        assert!(earlier.eq(again.iter().filter(|selection| selection.position < length - 1)), "from {from}");
    }
    let some = Some(TraceRequest { layers: vec![3, 1, 3], dense: false, from: length - 5 });
    let (_, again, ..) = traced(&mut engine, request(&whole, 0, some));
    let places: Vec<_> = again.iter().map(|selection| (selection.position, selection.layer)).collect();
    let expected: Vec<_> = [1, 3].into_iter().flat_map(|l| (length - 5..length).map(move |p| (p, l))).collect();
    assert_eq!(places, expected);
    assert!(again.iter().all(|selection| selection.dense.is_none() && selection.dense_share().is_none()));

    // An answer goes on from a text that was traced; and a trace may begin in the middle of an answer.
    assert_eq!(traced(&mut engine, request(&prompt, 80, None)).0, ids);
    let (answer, late, ..) = traced(&mut engine, request(&prompt, 80, every_layer(true, length - 9)));
    assert_eq!(answer, ids);
    let late = sorted(late, length - 9..length - 1);
    assert!(late.iter().eq(selections.iter().filter(|selection| selection.position >= length - 9)));

    // Sampling on the host, whose steps do not run ahead.
    let sampled = |trace| Request {
        sampling: SamplingParams { temperature: 0.8, seed: 7, ..SamplingParams::default() },
        ..request(&prompt, 20, trace)
    };
    let plain = traced(&mut engine, sampled(None)).0;
    let (ids, selections, ..) = traced(&mut engine, sampled(every_layer(false, 0)));
    assert_eq!(ids, plain, "the traced answer, sampled");
    sorted(selections, 0..u32::try_from(prompt.len() + ids.len()).expect("short") - 1);
}

#[test]
fn host_and_adapter_weigh_alike() {
    let mut engine = on_one_adapter(&options());
    let text =
        "One day, a little girl named Lily found a needle in her room. She knew it was difficult to play with it.";
    let prompt = engine.raw_prompt(&text.repeat(3)).expect("ids");
    let prompt = &prompt[..70.min(prompt.len())];
    let length = u32::try_from(prompt.len()).expect("short");
    let (_, gpu, ..) = traced(&mut engine, request(prompt, 0, every_layer(true, 0)));
    let mut host = load(models::stories(), Place::Host, &options());
    let (_, host, ..) = traced(&mut host, request(prompt, 0, every_layer(true, 0)));
    same_weights(&sorted(gpu, 0..length), &sorted(host, 0..length));
}

#[test]
fn dense_attention_reads_everything() {
    let mut sparse = on_one_adapter(&options());
    let prompt: Vec<u32> = sparse.raw_prompt(&"The cat sat on the mat. ".repeat(20)).expect("ids")[..100].to_vec();
    let (_, sparse, ..) = traced(&mut sparse, request(&prompt, 0, every_layer(true, 0)));
    let mut dense = on_one_adapter(&Options { attention: Attention::Dense, ..options() });
    let (_, dense, ..) = traced(&mut dense, request(&prompt, 0, every_layer(true, 0)));
    let (sparse, dense) = (sorted(sparse, 0..100), sorted(dense, 0..100));
    for (sparse, dense) in sparse.iter().zip(&dense) {
        assert!(dense.indices.iter().copied().eq(0..=dense.position), "every visible position");
        assert!(dense.scores.is_empty(), "no indexer was asked");
        check_weights(dense);
        // The first layer's input is the same text, whatever attention reads.
        assert!(dense.layer > 0 || dense.dense == sparse.dense, "position {}", dense.position);
    }
    let mut wide = on_one_adapter(&Options { index_topk: Some(100), ..options() });
    let (_, wide, ..) = traced(&mut wide, request(&prompt, 0, every_layer(true, 0)));
    for (wide, dense) in sorted(wide, 0..100).iter().zip(&dense) {
        assert_eq!((&wide.indices, wide.scores.len()), (&dense.indices, dense.indices.len()), "topk = length");
        assert_eq!(wide.dense, dense.dense, "topk = length is dense attention");
        check_weights(wide);
    }
}

#[test]
fn a_trace_refuses_what_the_model_does_not_have() {
    let mut engine = on_one_adapter(&options());
    let refused = |engine: &mut Engine, request| engine.generate(request).err().map(|error| error.code());
    let trace = Some(TraceRequest { layers: vec![0, LAYERS], ..TraceRequest::default() });
    assert_eq!(refused(&mut engine, request(&[1, 2], 1, trace)), Some(Code::BadRequest));
    // A text that fills the context may be traced, and cannot be gone on from.
    let full = vec![1; 128];
    assert_eq!(refused(&mut engine, request(&full, 1, None)), Some(Code::ContextOverflow));
    assert_eq!(refused(&mut engine, request(&[1; 129], 0, every_layer(false, 0))), Some(Code::ContextOverflow));
    let (_, selections, ..) = traced(&mut engine, request(&full, 0, every_layer(false, 0)));
    sorted(selections, 0..128);
}

#[test]
fn a_traced_answer_makes_nothing_for_a_token() {
    let mut engine = on_one_adapter(&Options { sequences: 2, ..options() });
    let runner = engine.runner();
    let sequence = runner.open().expect("a free sequence");
    let taps = Taps::Trace(Trace { layers: (0..LAYERS).collect(), dense: true });
    platform::block_on(async {
        runner.step_tapped(&[Chunk { sequence, ids: &[1], wanted: Wanted::Last }], true, taps).await?.read().await?;
        runner.again_tapped(taps).await?.read().await?;
        let before = runner.executor().counts();
        for _ in 0..8 {
            runner.again_tapped(taps).await?.read().await?;
        }
        let after = runner.executor().counts();
        let made = |counts: Counts| (counts.buffers, counts.bind_groups, counts.pipelines);
        assert_eq!(made(after), made(before), "buffers, bind groups, pipelines");
        assert_eq!(after.submissions - before.submissions, 8, "a step with its copies is one submission");
        lyn::Result::<()>::Ok(())
    })
    .expect("steps run");
}

/// Which stages a traced step gives, with the taps' words.
fn stages(name: &str, layers: &[u32], dense: bool) -> Vec<(String, Vec<u32>)> {
    let options = Options { context: ContextSize::Tokens(64), sequences: 2, ..Options::default() };
    let mut engine = load(golden(name), Place::Gpu(Box::new(one_device())), &options);
    let runner = engine.runner();
    let sequence = runner.open().expect("a free sequence");
    let chunk = [Chunk { sequence, ids: &[3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5], wanted: Wanted::Last }];
    let taps = Taps::Trace(Trace { layers: layers.iter().copied().collect(), dense });
    let tapped = platform::block_on(async { runner.step_tapped(&chunk, true, taps).await?.read().await });
    tapped.expect("a step runs").into_iter().map(|(tap, words)| (tap.name, words)).collect()
}

#[test]
fn a_step_keeps_only_what_a_trace_wants() {
    let names = |stages: &[(String, Vec<u32>)]| stages.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let sparse = stages("a_base", &[1], false);
    assert_eq!(names(&sparse), ["layers.1.idx_score", "layers.1.idx_topk"]);
    // Without an indexer there are the weights alone.
    let dense = stages("d_v3_no_q_lora", &[0, 1], true);
    assert_eq!(names(&dense), ["layers.0.attention_weights", "layers.1.attention_weights"]);
    for (name, words) in &dense {
        for (position, row) in words.chunks_exact(words.len() / 11).enumerate() {
            let sum: f32 = row[..=position].iter().map(|&bits| f32::from_bits(bits)).sum();
            assert!((sum - 1.0).abs() < WEIGHT, "{name}: position {position}: sum {sum}");
        }
    }
    // A layer that owns no indexer tells the selection that it shares.
    let stages = stages("i_glm_moe_dsa", &[0, 1, 2, 3, 4], false);
    let of = |stage: &str| stages.iter().filter(|(name, _)| name.ends_with(stage)).map(|(_, w)| w).collect::<Vec<_>>();
    let (lists, scores) = (of("idx_topk"), of("idx_score"));
    assert_eq!((lists.len(), scores.len()), (5, 5));
    // By its config's `index_topk_freq` of 2, layers 0, 1 and 3 own an indexer.
    let shared = |stages: &[&Vec<u32>]| stages.windows(2).map(|pair| pair[0] == pair[1]).collect::<Vec<_>>();
    assert_eq!((shared(&lists), shared(&scores)), (vec![false, true, false, true], vec![false, true, false, true]));
}
