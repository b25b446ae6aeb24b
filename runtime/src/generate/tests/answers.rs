//! Oracles: the same answer alone, or chosen in another way; counts by hand.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::checkpoint::{MemorySource, Source};
use crate::engine::{Engine, Options};
use crate::error::Code;
use crate::generate::{
    Block, Chunk, Event, Finish, Form, Free, Key, Lexicon, Request, SamplingParams, TraceRequest, Wanted,
};
use crate::memory::ContextSize;
use crate::platform::block_on;

const CONTEXT: u32 = 192;

fn engine_of(source: Arc<dyn Source>, sequences: u32) -> Engine {
    let context = ContextSize::Tokens(CONTEXT);
    let options = Options { device: "cpu".to_owned(), context, sequences, chunk: Some(8), ..Options::default() };
    block_on(Engine::load(source, &options, &mut |_| true)).unwrap()
}

pub(super) fn engine(sequences: u32) -> Engine {
    engine_of(crate::models::stories(), sequences)
}

pub(super) fn prompt(tokens: u32) -> Vec<u32> {
    (0..tokens).map(|place| 300 + place * 7 % 500).collect()
}

pub(super) fn greedy(prompt: Vec<u32>, max_tokens: u32) -> Request {
    let sampling = SamplingParams { temperature: 0.0, ..SamplingParams::default() };
    Request { sampling, max_tokens: Some(max_tokens), ..Request::new(prompt) }
}

fn ids(engine: &mut Engine, request: Request) -> Vec<u32> {
    let mut generation = engine.generate(request).unwrap();
    while block_on(generation.next()).unwrap().is_some() {}
    generation.ids().to_vec()
}

/// A refused step leaves every sequence as it was.
#[test]
fn a_step_is_refused_before_anything_changes() {
    let mut engine = engine(2);
    let vocabulary = engine.dims().vocab_size;
    let runner = engine.runner();
    let (first, second) = (runner.open().unwrap(), runner.open().unwrap());
    let (capacity, rows) = (runner.settings().tokens() as usize, runner.settings().rows);
    let chunk = |sequence, ids, wanted| Chunk { sequence, ids, wanted };
    let (full, beyond) = (vec![5; capacity], vec![5; capacity + 1]);
    let some = [5_u32; 4];
    let (unknown, last) = ([5, vocabulary], [5, vocabulary - 1]);
    for (chunks, code, message) in [
        (vec![], Code::Internal, format!("a step of 0 tokens; it holds 1 to {capacity}")),
        (
            vec![chunk(first, &beyond, Wanted::Last)],
            Code::Internal,
            format!("a step of {} tokens; it holds 1 to {capacity}", capacity + 1),
        ),
        (
            vec![chunk(first, &some, Wanted::All), chunk(second, &some, Wanted::Last)],
            Code::Internal,
            format!("5 rows of logits; a step has {rows} at most"),
        ),
        (
            vec![chunk(first, &some, Wanted::None), chunk(second, &unknown, Wanted::Last)],
            Code::BadRequest,
            format!("token id {vocabulary}; the model has {vocabulary}"),
        ),
    ] {
        let error = block_on(runner.step(&chunks, false)).unwrap_err();
        assert_eq!((error.code(), error.message()), (code, &*message));
        assert_eq!((runner.length(first), runner.length(second)), (0, 0));
    }
    assert!(rows < 5, "of each sequence one");
    block_on(runner.step(&[chunk(first, &last, Wanted::None)], false)).unwrap();
    while runner.length(first) + u32::try_from(capacity).unwrap() <= CONTEXT {
        block_on(runner.step(&[chunk(first, &full, Wanted::None)], false)).unwrap();
    }
    let before = runner.length(first);
    let left = CONTEXT - before;
    let much = &full[1..];
    assert!((left as usize) < much.len(), "it does not fit any more");
    let error = block_on(runner.step(&[chunk(second, &[5], Wanted::Last), chunk(first, much, Wanted::None)], false));
    assert_eq!(error.unwrap_err().code(), Code::ContextOverflow);
    assert_eq!((runner.length(first), runner.length(second)), (before, 0));
    block_on(runner.step(&[chunk(first, &full[..left as usize], Wanted::Last)], true)).unwrap();
    assert_eq!(runner.length(first), CONTEXT);
    assert_eq!(block_on(runner.again()).unwrap_err().code(), Code::ContextOverflow);
    block_on(runner.settle()).unwrap();
}

/// Whether a step is timed changes nothing that it computes.
#[test]
fn a_timed_step_is_a_step() {
    let mut engine = engine(1);
    let runner = engine.runner();
    let mut row = |timed: bool| {
        let sequence = runner.open().unwrap();
        for ids in [&prompt(5)[..], &prompt(2)] {
            let chunks = [Chunk { sequence, ids, wanted: Wanted::Last }];
            if timed {
                assert_eq!(block_on(runner.step_timed(&chunks)).unwrap(), None, "the host has no such clock");
            } else {
                block_on(runner.step(&chunks, true)).unwrap();
            }
        }
        let (length, row) = (runner.length(sequence), block_on(runner.logits(0)).unwrap());
        let chosen = block_on(runner.chosen().unwrap()).unwrap();
        runner.close(sequence);
        (length, row, chosen)
    };
    // The timed one first: nothing is there that it could find.
    let (timed, plain) = (row(true), row(false));
    assert_eq!((plain.0, plain.1.len()), (7, 2048));
    assert!(plain == timed, "the same logits and the same choice");
    assert_eq!(block_on(runner.step_timed(&[])).unwrap_err().code(), Code::Internal);
}

#[test]
fn an_answer_that_cannot_be_is_refused_by_its_field() {
    let mut engine = engine(1);
    let tokenizer = engine.tokenizer().unwrap();
    let lexicon = Lexicon::new(tokenizer, &tokenizer.sampleable(), &[1]).unwrap();
    let form = Form { free: vec![Free::Without("x".to_owned())], ..Form::default() };
    let constraint = Some(lexicon.constraint(&form).unwrap());
    let base = || greedy(prompt(4), 1);
    let layers = engine.dims().num_hidden_layers;
    let trace = |layer| Some(TraceRequest { layers: vec![0, layer], ..TraceRequest::default() });
    let whole = |max_tokens| Request { max_tokens, ..greedy(prompt(CONTEXT), 0) };
    for (request, refusal) in [
        (base(), None),
        (Request { ignore_eos: true, ..base() }, None),
        (Request { constraint: constraint.clone(), ..base() }, None),
        (
            Request { ignore_eos: true, constraint, ..base() },
            Some((
                Code::BadRequest,
                "ignore_eos cannot be combined with structured output, which determines where the answer ends"
                    .to_owned(),
            )),
        ),
        (Request { prompt_logprobs: Some(20), ..base() }, None),
        (
            Request { prompt_logprobs: Some(21), ..base() },
            Some((Code::BadRequest, "prompt_logprobs: expected at most 20".to_owned())),
        ),
        (Request { trace: trace(layers - 1), ..base() }, None),
        (
            Request { trace: trace(layers), ..base() },
            Some((Code::BadRequest, format!("a trace of layer {layers}; the model has {layers}"))),
        ),
        (
            Request { stop: vec!["x".to_owned(); 17], ..base() },
            Some((Code::BadRequest, "Invalid stop value, at most 16 stop sequences".to_owned())),
        ),
        (greedy(vec![], 1), Some((Code::BadRequest, "the prompt is empty".to_owned()))),
        // Nothing need follow a text that fills the context.
        (whole(Some(0)), None),
        (
            whole(Some(1)),
            Some((Code::ContextOverflow, format!("the prompt has {CONTEXT} tokens, the context holds {CONTEXT}"))),
        ),
        (
            whole(None),
            Some((Code::ContextOverflow, format!("the prompt has {CONTEXT} tokens, the context holds {CONTEXT}"))),
        ),
    ] {
        let found = engine.generate(request).err();
        let found = found.map(|error| (error.code(), error.message().to_owned()));
        assert_eq!(found, refusal);
    }
}

#[test]
fn a_generation_knows_its_seed_its_ids_and_its_counts() {
    let mut engine = engine(1);
    let sampling = SamplingParams { seed: 77, ..SamplingParams::default() };
    let request = Request { sampling, max_tokens: Some(6), ignore_eos: true, ..Request::new(prompt(20)) };
    let mut generation = engine.generate(request).unwrap();
    assert_eq!((generation.seed(), generation.timings().prompt_tokens), (77, 20));
    let (mut chosen, mut read, mut end) = (vec![], vec![], None);
    while let Some(event) = block_on(generation.next()).unwrap() {
        match event {
            Event::Token { id, .. } => chosen.push(id),
            Event::Prompt { done, total, cached, .. } => read.push((done, total, cached)),
            Event::End { finish, stop, timings } => end = Some((finish, stop, timings)),
            _ => {}
        }
        assert_eq!(generation.ids(), chosen);
    }
    // Steps hold eight tokens.
    assert_eq!(read, [(8, 20, 0), (16, 20, 0), (20, 20, 0)]);
    let (finish, stop, timings) = end.unwrap();
    assert_eq!((finish, stop, chosen.len()), (Finish::Length, None, 6));
    assert_eq!((timings.prompt_tokens, timings.cached_tokens, timings.completion_tokens), (20, 0, 6));
    assert!(timings.first_token_ms >= timings.prompt_ms && timings.prompt_ms > 0.0 && timings.decode_ms > 0.0);
    assert_eq!(generation.timings(), timings);
    assert!(block_on(generation.next()).unwrap().is_none(), "nothing is after the end");
}

/// Without a token to come the prompt is read, and that is all.
#[test]
fn an_answer_of_no_tokens_is_the_reading_of_its_prompt() {
    let mut engine = engine(1);
    let mut generation = engine.generate(greedy(prompt(12), 0)).unwrap();
    let mut told = vec![];
    while let Some(event) = block_on(generation.next()).unwrap() {
        told.push(event);
    }
    assert!(matches!(told[0], Event::Prompt { done: 8, total: 12, cached: 0, .. }), "{told:?}");
    assert!(matches!(told[1], Event::Prompt { done: 12, total: 12, cached: 0, .. }), "{told:?}");
    let Event::End { finish: Finish::Length, timings, .. } = &told[2] else { panic!("{told:?}") };
    assert_eq!((told.len(), timings.completion_tokens, timings.decode_ms), (3, 0, 0.0));
    assert!(timings.prompt_ms > 0.0);
}

/// The likeliest id of the device may be one that never comes: here a placeholder of the vocabulary. The answer is the one that
/// is chosen on the host, where such an id is known.
#[test]
fn an_id_that_may_never_come_is_passed_over() {
    let asked = || greedy(prompt(10), 12);
    let mut plain = engine(1);
    let likeliest = ids(&mut plain, asked());
    for place in [0, 5] {
        let id = likeliest[place];
        let biased = SamplingParams { logit_bias: vec![(id, -100.0)], ..asked().sampling };
        let expected = ids(&mut plain, Request { sampling: biased, ..asked() });
        let first = likeliest.iter().position(|other| *other == id).unwrap();
        assert!(likeliest[..first] == expected[..first] && !expected.contains(&id));
        let mut lacking = engine_of(without(id), 2);
        assert_eq!(ids(&mut lacking, asked()), expected, "the token at {place}");
        // Beside another answer, which has run ahead.
        let (one, two) = (lacking.submit(asked()).unwrap(), lacking.submit(asked()).unwrap());
        let mut said = vec![vec![], vec![]];
        while !lacking.is_idle() {
            for (id, event) in block_on(lacking.step()).unwrap() {
                if let Event::Token { id: token, .. } = event.unwrap() {
                    said[usize::from(id == two)].push(token);
                }
            }
        }
        assert!(one != two && said == [expected.clone(), expected]);
    }
}

/// The embedded model, with a placeholder for the token `id`.
fn without(id: u32) -> Arc<dyn Source> {
    let stories = crate::models::stories();
    let mut source = MemorySource::new();
    for file in
        ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    {
        let size = block_on(stories.size(file)).unwrap().unwrap();
        let mut bytes = block_on(stories.read(file, 0, usize::try_from(size).unwrap())).unwrap();
        if file == "tokenizer.json" {
            let mut whole: Value = serde_json::from_slice(&bytes).unwrap();
            let model = &mut whole["model"];
            let name = model["vocab"].as_object().unwrap().iter().find(|(_, value)| **value == id).unwrap().0.clone();
            model["vocab"].as_object_mut().unwrap().remove(&name);
            let uses = |merge: &Value| match merge {
                Value::String(pair) => pair.split(' ').any(|part| part == name) || pair.replace(' ', "") == name,
                pair => {
                    let parts: Vec<&str> = pair.as_array().unwrap().iter().map(|part| part.as_str().unwrap()).collect();
                    parts.contains(&&*name) || parts.concat() == name
                }
            };
            model["merges"].as_array_mut().unwrap().retain(|merge| !uses(merge));
            let placeholder = json!({ "id": id, "content": "<｜place▁holder▁no▁1｜>", "special": false });
            whole["added_tokens"].as_array_mut().unwrap().push(placeholder);
            bytes = serde_json::to_vec(&whole).unwrap();
        }
        source = source.with(file, bytes);
    }
    Arc::new(source)
}

/// Whoever waits for a place keeps it, and what is asked about one answer is not told of another.
#[test]
fn answers_that_wait_are_known_and_can_be_ended() {
    let mut engine = engine(1);
    let first = engine.submit(greedy(prompt(9), 3)).unwrap();
    let second = engine.submit(greedy(prompt(30), 3)).unwrap();
    let third = engine.submit(greedy(prompt(5), 2)).unwrap();
    let occupancy = engine.occupancy();
    assert_eq!((occupancy.running, occupancy.waiting, occupancy.pages_used), (0, 3, 0));
    engine.cancel(second);
    let mut ended = vec![];
    while !engine.is_idle() {
        for (id, event) in block_on(engine.step()).unwrap() {
            if let Event::End { timings, .. } = event.unwrap() {
                ended.push((id, timings.prompt_tokens, timings.completion_tokens));
            }
        }
    }
    assert_eq!(ended, [(first, 9, 3), (third, 5, 2)]);
    engine.cancel(first);
    assert_eq!(engine.occupancy().pages_used, 0);
}

/// A traced answer runs alone: it waits for those that run, and others wait for it.
#[test]
fn a_traced_answer_runs_alone() {
    let trace = Some(TraceRequest { layers: vec![0], ..TraceRequest::default() });
    let mut engine = engine(3);
    let plain = engine.submit(greedy(prompt(9), 3)).unwrap();
    let traced = engine.submit(Request { trace, ..greedy(prompt(5), 3) }).unwrap();
    let last = engine.submit(greedy(prompt(7), 3)).unwrap();
    let mut order = vec![];
    let mut most = 0;
    while !engine.is_idle() {
        for (id, event) in block_on(engine.step()).unwrap() {
            order.push(id);
            event.unwrap();
        }
        most = most.max(engine.occupancy().running);
    }
    order.dedup();
    assert_eq!((order, most), (vec![plain, traced, last], 1));
}

/// The last token of a prompt is always read, and so are those whose logits are needed.
#[test]
fn blocks_that_need_not_be_read_are_known_by_their_keys() {
    let mut engine = engine(1);
    let plain = |tokens| greedy(prompt(tokens), 1);
    let traced = |from, layers: Vec<u32>| {
        let trace = Some(TraceRequest { layers, from, ..TraceRequest::default() });
        Request { trace, ..plain(130) }
    };
    for (request, blocks) in [
        (plain(63), 0),
        (plain(64), 0),
        (plain(65), 1),
        (plain(128), 1),
        (plain(129), 2),
        (Request { prompt_logprobs: Some(0), ..plain(129) }, 0),
        (traced(63, vec![0]), 0),
        (traced(64, vec![0]), 1),
        (traced(500, vec![0]), 2),
        (traced(0, vec![]), 2),
    ] {
        let missing = engine.missing_blocks(&request);
        assert_eq!(missing.len(), blocks);
        let chain = Key::root(&[]).chain(&request.prompt);
        for (place, (key, ids)) in missing.iter().enumerate() {
            assert_eq!((key, &ids[..]), (&chain[place], &request.prompt[place * 64..][..64]));
        }
    }
    // What was read is known, to those of the same scope only.
    ids(&mut engine, plain(130));
    assert!(engine.missing_blocks(&plain(129)).is_empty());
    let longer = Request { prompt: [prompt(128), vec![7; 65]].concat(), ..plain(1) };
    assert_eq!(engine.missing_blocks(&longer).len(), 1, "only what follows what is known");
    assert_eq!(engine.missing_blocks(&Request { scope: b"x".to_vec(), ..plain(129) }).len(), 2);
    engine.reset();
    assert_eq!(engine.missing_blocks(&plain(129)).len(), 2);
}

/// Tokens of the prompt that were found in the cache, and the answer.
fn cached(engine: &mut Engine, request: Request) -> (u32, Vec<u32>) {
    let mut generation = engine.generate(request).unwrap();
    let mut cached = 0;
    while let Some(event) = block_on(generation.next()).unwrap() {
        if let Event::End { timings, .. } = event {
            cached = timings.cached_tokens;
        }
    }
    (cached, generation.ids().to_vec())
}

/// Blocks go out once, when they are new, and come in where they follow what is there.
#[test]
fn blocks_go_out_once_and_come_in_where_they_fit() {
    let mut engine = engine(1);
    ids(&mut engine, greedy(prompt(65), 1));
    assert!(engine.take_blocks().is_empty(), "nobody keeps them");
    engine.reset();
    engine.keep_blocks();
    let asked = || Request { scope: b"s".to_vec(), ..greedy(prompt(130), 1) };
    let expected = ids(&mut engine, asked());
    let blocks = engine.take_blocks();
    let chain = Key::root(b"s").chain(&prompt(130));
    let named: Vec<(Key, &[u32], &[u8])> =
        blocks.iter().map(|block| (block.key, &block.ids[..], &block.scope[..])).collect();
    let whole = prompt(130);
    assert_eq!(named, [(chain[0], &whole[..64], &b"s"[..]), (chain[1], &whole[64..128], b"s")]);
    assert!(engine.take_blocks().is_empty());
    ids(&mut engine, asked());
    assert!(engine.take_blocks().is_empty(), "nothing is new");
    let short = || Block { words: blocks[0].words[1..].to_vec(), ..blocks[0].clone() };
    for (brought, found) in [
        (blocks.clone(), 128),
        (vec![blocks[0].clone()], 64),
        (vec![blocks[1].clone()], 0),
        (vec![blocks[1].clone(), blocks[0].clone()], 64),
        (vec![short(), blocks[1].clone()], 0),
        (vec![blocks[0].clone(), short()], 64),
    ] {
        engine.reset();
        let request = Request { blocks: brought, ..asked() };
        assert_eq!(cached(&mut engine, request), (found, expected.clone()));
    }
    // Beside what the cache has.
    engine.reset();
    ids(&mut engine, Request { scope: b"s".to_vec(), ..greedy(prompt(65), 1) });
    assert_eq!(cached(&mut engine, Request { blocks: vec![blocks[1].clone()], ..asked() }), (128, expected));
}
