//! The embedded model against transformers: ids, text, logits. Oracle: `models/stories/golden.json` and its tensors.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use lyn::checkpoint::{Checkpoint, FolderSource, MemorySource, Source, read_header};
use lyn::generate::{Chunk, Event, Finish, Request, SamplingParams, Voice, Wanted};
use lyn::memory::ContextSize;
use lyn::quantize::{Conversion, Mix};
use lyn::{Engine, Options, Place, Result, models, platform};
use lyn_conformance::{full_devices, load, one_device};

/// Where the two best logits are nearer than this, two right implementations may choose differently.
const MARGIN: f64 = 1e-3;
/// How far a logit may be from transformers' float32 result.
const LOGITS: f64 = 1e-3;

#[derive(serde::Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    prompt: String,
    ids: Vec<u32>,
    /// Up to the token that ends the text, if it came.
    greedy: Vec<u32>,
    text: String,
    stopped: bool,
    /// Gap of the two best logits at each step.
    margins: Vec<f64>,
    #[serde(skip)]
    logits: Vec<f32>,
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/stories");
    let text = std::fs::read(folder.join("golden.json")).expect("models/stories/golden.json");
    let mut golden: Golden = serde_json::from_slice(&text).expect("a list of cases");
    let source = FolderSource::new(folder).expect("models/stories");
    platform::block_on(async {
        let tensors = read_header(&source, "golden.safetensors").await?;
        let tensors: BTreeMap<_, _> = tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        for case in &mut golden.cases {
            let tensor = tensors[format!("{}.logits", case.name).as_str()];
            let length = usize::try_from(tensor.bytes).expect("8 KiB");
            let bytes = source.read("golden.safetensors", tensor.offset, length).await?;
            case.logits = bytemuck::pod_collect_to_vec(&bytes);
        }
        Result::<()>::Ok(())
    })
    .expect("golden.safetensors");
    assert_eq!(golden.cases.len(), 9, "prompts");
    golden.cases
}

fn options() -> Options {
    Options { context: ContextSize::Tokens(1024), sequences: 2, ..Options::default() }
}

/// Where ids first leave the expected ones at a step whose choice was not close.
fn departure(case: &Case, got: &[u32]) -> Option<String> {
    let step = (0..case.greedy.len()).find(|&step| got.get(step) != Some(&case.greedy[step]))?;
    (case.margins[step] >= MARGIN).then(|| {
        let (expected, margin) = (case.greedy[step], case.margins[step]);
        format!("{}: step {step}: {:?} instead of {expected}, margin {margin}", case.name, got.get(step))
    })
}

/// Token by token through the runner: logits after the prompt, then greedy ids.
fn by_steps(what: &str, engine: &mut Engine, case: &Case) {
    let chunk = engine.runner().settings().chunk as usize;
    let (logits, ids) = platform::block_on(async {
        let runner = engine.runner();
        let sequence = runner.open()?;
        let mut parts = case.ids.chunks(chunk).peekable();
        while let Some(ids) = parts.next() {
            let wanted = if parts.peek().is_none() { Wanted::Last } else { Wanted::None };
            runner.step(&[Chunk { sequence, ids, wanted }], wanted == Wanted::Last).await?;
        }
        let logits = runner.logits(0).await?;
        let mut ids = vec![runner.chosen()?.await?[0]];
        while ids.len() < case.greedy.len() {
            let last = [ids[ids.len() - 1]];
            runner.step(&[Chunk { sequence, ids: &last, wanted: Wanted::Last }], true).await?;
            ids.push(runner.chosen()?.await?[0]);
        }
        runner.close(sequence);
        Result::<(Vec<f32>, Vec<u32>)>::Ok((logits, ids))
    })
    .expect("steps run");
    assert_eq!(logits.len(), case.logits.len(), "{what}: {}", case.name);
    for (id, (&got, &expected)) in logits.iter().zip(&case.logits).enumerate() {
        let error = (f64::from(got) - f64::from(expected)).abs();
        assert!(error <= LOGITS, "{what}: {}: logit {id}: {got} instead of {expected}, error {error:e}", case.name);
    }
    assert_eq!(departure(case, &ids), None, "{what}, step by step");
}

/// An answer through the engine: ids, text with its thought as the model wrote it, and why it ended.
fn answer(engine: &mut Engine, request: Request) -> (Vec<u32>, String, Finish) {
    platform::block_on(async {
        let mut generation = engine.generate(request)?;
        let (mut text, mut finish, mut thinking) = (String::new(), None, false);
        while let Some(event) = generation.next().await? {
            match event {
                Event::Text { voice, text: more } => {
                    if std::mem::replace(&mut thinking, voice == Voice::Reasoning) && !thinking {
                        text.push_str("</think>");
                    }
                    text.push_str(&more);
                }
                Event::End { finish: why, .. } => finish = Some(why),
                _ => {}
            }
        }
        Result::<_>::Ok((generation.ids().to_vec(), text, finish.expect("an answer ends")))
    })
    .expect("an answer")
}

fn greedy(prompt: &[u32], max_tokens: usize) -> Request {
    Request {
        sampling: SamplingParams { temperature: 0.0, ..SamplingParams::default() },
        max_tokens: Some(u32::try_from(max_tokens).expect("few")),
        ..Request::new(prompt.to_vec())
    }
}

/// Through the engine, whose greedy steps run ahead of the host.
fn by_engine(what: &str, engine: &mut Engine, case: &Case) {
    let ids = engine.tokenizer().expect("a tokenizer").encode(&case.prompt, true).expect("ids");
    assert_eq!(ids, case.ids, "{what}: {}: ids of the prompt", case.name);
    let (mut ids, text, finish) =
        answer(engine, Request { thinking: case.prompt.ends_with("<think>"), ..greedy(&case.ids, case.greedy.len()) });
    let mut expected = case.text.as_str();
    if case.stopped {
        // The token that ends a text is in the list, and neither in the answer's ids nor in its text.
        let end = *case.greedy.last().expect("ids");
        let name = engine.tokenizer().expect("a tokenizer").decode(&[end]);
        expected = expected.strip_suffix(&name).unwrap_or(expected);
        ids.push(end);
    }
    assert_eq!(departure(case, &ids), None, "{what}, engine");
    if ids == case.greedy {
        assert_eq!(text, expected, "{what}: {}: text", case.name);
        let why = if case.stopped { Finish::Stop } else { Finish::Length };
        assert_eq!(finish, why, "{what}: {}: why it ended", case.name);
    }
}

#[test]
fn every_adapter_tells_what_transformers_does() {
    let cases = cases();
    for (name, device) in full_devices() {
        let mut engine = load(models::stories(), Place::Gpu(Box::new(device)), &options());
        for case in &cases {
            by_steps(&name, &mut engine, case);
            by_engine(&name, &mut engine, case);
        }
    }
}

/// The references, on the prompts that they read in seconds.
#[test]
fn the_host_tells_what_transformers_does() {
    let mut engine = load(models::stories(), Place::Host, &options());
    for case in cases().iter().filter(|case| case.ids.len() + case.greedy.len() < 80) {
        by_steps("host", &mut engine, case);
    }
}

/// The embedded model as a GGUF file, with 8 bits for each weight.
fn in_eight_bits() -> Arc<MemorySource> {
    let written = platform::block_on(async {
        let checkpoint = Checkpoint::open(models::stories()).await?;
        let conversion = Conversion::new(checkpoint, Mix::named("q8_0").expect("a mix"), "stories").await?;
        let mut file = vec![0; usize::try_from(conversion.file_bytes()).expect("5 MB")];
        file[..conversion.header().len()].copy_from_slice(conversion.header());
        for piece in conversion.pieces() {
            let start = usize::try_from(piece.offset).expect("5 MB");
            let bytes = conversion.encode(&piece).await?;
            file[start..start + bytes.len()].copy_from_slice(&bytes);
        }
        Result::<Vec<u8>>::Ok(file)
    });
    Arc::new(MemorySource::new().with("stories-Q8_0.gguf", written.expect("a file")))
}

/// Logits move by up to 0.4 then, but no choice of the nine.
#[test]
fn eight_bits_choose_what_sixteen_do() {
    let mut engine = load(in_eight_bits(), Place::Gpu(Box::new(one_device())), &options());
    for case in &cases() {
        by_engine("Q8_0", &mut engine, case);
    }
}

fn on_one_adapter() -> Engine {
    load(models::stories(), Place::Gpu(Box::new(one_device())), &options())
}

#[test]
fn a_seed_decides_a_sampled_answer() {
    let mut engine = on_one_adapter();
    let prompt = engine.raw_prompt("Once upon a time").expect("ids");
    let mut sampled = |seed| {
        let sampling = SamplingParams { temperature: 0.8, seed, ..SamplingParams::default() };
        answer(&mut engine, Request { sampling, ..greedy(&prompt, 32) })
    };
    let first = sampled(7);
    assert_eq!(first, sampled(7), "one seed, one answer");
    assert_ne!(first.1, sampled(8).1, "another seed, another answer");
}

#[test]
fn stop_texts_and_limits_end_an_answer() {
    let mut engine = on_one_adapter();
    let prompt = engine.raw_prompt("Once upon a time").expect("ids");
    let (ids, whole, finish) = answer(&mut engine, greedy(&prompt, 24));
    assert_eq!((ids.len(), finish), (24, Finish::Length), "max_tokens");
    for count in [0, 1, 2, 3] {
        let (ids, text, finish) = answer(&mut engine, greedy(&prompt, count));
        assert_eq!((ids.len(), finish), (count, Finish::Length), "max_tokens {count}");
        assert!(whole.starts_with(&text), "{text:?} begins {whole:?}");
    }

    // Every text of the answer that reaches from one token into the next, at every border.
    let pieces: Vec<String> = ids.iter().map(|&id| engine.tokenizer().expect("one").decode(&[id])).collect();
    assert_eq!(pieces.concat(), whole, "pieces of an English text");
    for border in [2, 5, 11] {
        let (left, right) = (&pieces[border - 1], &pieces[border]);
        let stop = format!("{}{}", &left[left.len() - 1..], &right[..1]);
        let at = whole.find(&stop).expect("it is in the text");
        let request = Request { stop: vec!["never said".to_owned(), stop.clone()], ..greedy(&prompt, 24) };
        let (_, text, finish) = answer(&mut engine, request);
        assert_eq!((text.as_str(), finish), (&whole[..at], Finish::Stop), "stop {stop:?}");
    }
    // An answer after a stopped one is not changed by the steps that had run ahead.
    assert_eq!(answer(&mut engine, greedy(&prompt, 24)).1, whole, "the answer after");
}
