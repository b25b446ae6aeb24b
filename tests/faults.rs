//! Faults that a runtime must survive: a lost device, limits, contexts, weights that are not numbers, many shards.
//!
//! Oracle: the error's code, and for shards the bits of the unsplit model. Nothing may panic or hang.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use lyn::checkpoint::{MemorySource, Source, read_header};
use lyn::engine::Trial;
use lyn::generate::{Chunk, Event, Request, SamplingParams, Wanted};
use lyn::gpu::{self, Device};
use lyn::memory::ContextSize;
use lyn::{Code, Engine, Error, Options, Place, Progress, Result, models, platform};
use lyn_conformance::{full_devices, golden, load, load_trial, one_device};
use lyn_shaders::case::Random;

/// Loss must be noticed within this; the poller's own patience with a hanging driver is longer.
const PATIENCE: Duration = Duration::from_secs(45);

/// Runs in a thread of its own, so that a hang is a failure.
fn bounded<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = channel();
    std::thread::spawn(move || sender.send(work()));
    receiver.recv_timeout(PATIENCE).unwrap_or_else(|e| panic!("{what}: it panicked or hangs: {e}"))
}

fn options() -> Options {
    Options { context: ContextSize::Tokens(512), chunk: Some(64), sequences: 2, ..Options::default() }
}

fn place(device: &Device) -> Place {
    Place::Gpu(Box::new(device.clone()))
}

fn request(prompt: Vec<u32>, temperature: f32) -> Request {
    Request {
        sampling: SamplingParams { temperature, seed: 1, ..SamplingParams::default() },
        max_tokens: Some(200),
        ignore_eos: true,
        ..Request::new(prompt)
    }
}

/// Events until an error; `each` sees them.
fn until_error(engine: &mut Engine, request: Request, mut each: impl FnMut(&Event)) -> Option<Error> {
    platform::block_on(async {
        let mut generation = match engine.generate(request) {
            Ok(generation) => generation,
            Err(error) => return Some(error),
        };
        loop {
            match generation.next().await {
                Ok(Some(event)) => each(&event),
                Ok(None) => return None,
                Err(error) => return Some(error),
            }
        }
    })
}

fn code(error: Option<Error>) -> Option<Code> {
    error.map(|error| error.code())
}

#[test]
fn a_device_lost_while_idle_ends_the_next_request() {
    let code = bounded("idle", || {
        let device = one_device();
        let mut engine = load(models::stories(), place(&device), &options());
        device.destroy();
        code(until_error(&mut engine, request(vec![0, 5, 6], 0.0), |event| {
            assert!(!matches!(event, Event::Token { .. }), "a token from a lost device");
        }))
    });
    assert_eq!(code, Some(Code::DeviceLost));
}

#[test]
fn a_device_lost_at_any_event_ends_the_answer() {
    let mut random = Random::new(4);
    for (temperature, ignore_eos) in [(0.0, false), (0.0, true), (0.8, true)] {
        for _ in 0..2 {
            let last = 1 + random.below(25);
            let what = format!("temperature {temperature}, after {last} events");
            let (code, late) = bounded(&what, move || {
                let device = one_device();
                let mut engine = load(models::stories(), place(&device), &Options { chunk: Some(2), ..options() });
                let (mut seen, mut late) = (0, 0);
                // "Once upon a time" goes on for longer than that; its prompt is read in three chunks.
                let request = Request { ignore_eos, ..request(vec![0, 440, 450, 275, 415], temperature) };
                let error = until_error(&mut engine, request, |event| {
                    seen += 1;
                    late += u32::from(seen > last && matches!(event, Event::Token { .. }));
                    if seen == last {
                        device.destroy();
                    }
                });
                (code(error), late)
            });
            assert_eq!(code, Some(Code::DeviceLost), "{what}");
            // What had been computed and read back before the loss may still come.
            assert!(late <= 2, "{what}: {late} tokens after the loss");
        }
    }
}

#[test]
fn a_device_lost_at_any_moment_ends_the_answer() {
    let mut random = Random::new(9);
    for _ in 0..4 {
        let delay = Duration::from_millis(u64::from(random.below(400)));
        let what = format!("after {delay:?}");
        let code = bounded(&what, move || {
            let device = one_device();
            let mut engine = load(models::stories(), place(&device), &options());
            let other = device.clone();
            std::thread::spawn(move || {
                std::thread::sleep(delay);
                other.destroy();
            });
            code(until_error(&mut engine, request((0..300).map(|i| 5 + i).collect(), 0.0), |_| {}))
        });
        assert_eq!(code, Some(Code::DeviceLost), "{what}");
    }
}

#[test]
fn a_closed_engine_frees_its_device_and_tells_who_waits() {
    let code = bounded("waiting for the loss", || {
        let device = one_device();
        let engine = load(models::stories(), place(&device), &options());
        let (first, second) = (engine.device_lost(), device.lost());
        let waits = std::thread::spawn(move || platform::block_on(first).code());
        std::thread::sleep(Duration::from_millis(50));
        assert!(!waits.is_finished(), "the device is well");
        engine.close();
        assert_eq!(platform::block_on(second).code(), Code::DeviceLost);
        waits.join().expect("no panic")
    });
    assert_eq!(code, Code::DeviceLost);
}

#[test]
fn a_reset_engine_reads_the_prompt_again() {
    let mut engine = load(models::stories(), Place::Gpu(Box::new(one_device())), &options());
    let prompt: Vec<u32> = (0..70).map(|i| 400 + i * 7).collect();
    let mut answer = |reset: bool| {
        if reset {
            engine.reset();
        }
        let mut generation =
            engine.generate(Request { max_tokens: Some(4), ..request(prompt.clone(), 0.0) }).expect("fits");
        while platform::block_on(generation.next()).expect("answers").is_some() {}
        (generation.ids().to_vec(), generation.timings().cached_tokens)
    };
    let (ids, cached) = answer(false);
    assert_eq!(cached, 0);
    assert_eq!(answer(false), (ids.clone(), 64), "a page");
    assert_eq!(answer(true), (ids, 0));
}

#[test]
fn loading_says_its_stages_and_stops_in_each() {
    let checkpoint = || platform::block_on(lyn::checkpoint::Checkpoint::open(models::stories()));
    let device = one_device();
    let load = |go_on: &mut dyn FnMut(Progress) -> bool| {
        platform::block_on(Engine::load_on(checkpoint()?, place(&device), &options(), go_on)).map(drop)
    };
    let mut seen = Vec::new();
    load(&mut |progress| {
        seen.push(progress);
        true
    })
    .expect("loads");
    let compile = seen.iter().position(|stage| matches!(stage, Progress::Compile { .. })).expect("pipelines are made");
    let (uploads, compiles) = seen.split_at(compile);
    assert!(matches!(uploads.last(), Some(Progress::Upload { done_bytes, total_bytes }) if done_bytes == total_bytes));
    for (expected, stage) in (0..).zip(compiles) {
        assert!(matches!(stage, Progress::Compile { done, total } if *done == expected && *total > 10), "{stage:?}");
    }
    assert!(matches!(compiles.last(), Some(Progress::Compile { done, total }) if done == total));
    for stop_at in [1, compile + 1, compile + 3] {
        let mut calls = 0;
        let stopped = load(&mut |_| {
            calls += 1;
            calls < stop_at
        });
        assert_eq!(stopped.map_err(|error| error.code()), Err(Code::Cancelled), "at {stop_at}");
        assert_eq!(calls, stop_at);
    }
}

#[test]
fn a_device_lost_while_loading_ends_the_loading() {
    let mut random = Random::new(2);
    for _ in 0..3 {
        let share = f64::from(random.below(1000)) / 1000.0;
        let code = bounded("loading", move || {
            let device = one_device();
            platform::block_on(async {
                let checkpoint = lyn::checkpoint::Checkpoint::open(models::stories()).await?;
                let mut progress = |progress| {
                    if let Progress::Upload { done_bytes, total_bytes } = progress {
                        #[expect(clippy::cast_precision_loss, reason = "megabytes")]
                        let done = done_bytes as f64 / total_bytes as f64;
                        if done >= share {
                            device.destroy();
                        }
                    }
                    true
                };
                Engine::load_on(checkpoint, place(&device), &options(), &mut progress).await.map(drop)
            })
            .err()
            .map(|error| error.code())
        });
        assert_eq!(code, Some(Code::DeviceLost), "at {share} of the weights");
    }
}

#[test]
fn a_device_lost_during_a_read_fails_the_read_and_another_device_works() {
    let (read, step) = bounded("a read", || {
        let device = one_device();
        let mut engine = load(models::stories(), place(&device), &options());
        let runner = engine.runner();
        platform::block_on(async {
            let sequence = runner.open()?;
            runner.step(&[Chunk { sequence, ids: &[0, 7, 8, 9], wanted: Wanted::Last }], true).await?;
            let read = runner.chosen()?;
            device.destroy();
            let read = read.await.map(drop);
            let step = runner.step(&[Chunk { sequence, ids: &[1], wanted: Wanted::Last }], true).await;
            Result::<_>::Ok((read.err().map(|e| e.code()), step.err().map(|e| e.code())))
        })
        .expect("steps before the loss run")
    });
    // The answer may have been on its way already.
    assert!(matches!(read, None | Some(Code::DeviceLost)), "{read:?}");
    assert_eq!(step, Some(Code::DeviceLost));

    let mut engine = load(models::stories(), place(&one_device()), &options());
    let short = Request { max_tokens: Some(3), ..request(vec![0, 440, 450], 0.0) };
    assert_eq!(code(until_error(&mut engine, short, |_| {})), None, "a device opened afterwards");
}

#[test]
fn a_tensor_beyond_the_binding_limit_is_named_with_its_bytes() {
    for (name, device) in full_devices() {
        let limit = device.info().limits.tensor_bytes();
        let mut executor = gpu::Executor::new(device);
        let error = platform::block_on(executor.allocate("model.embed_tokens", limit / 4 + 1)).expect_err("too large");
        assert_eq!(error.code(), Code::LimitTooSmall, "{name}: {error}");
        for part in ["model.embed_tokens".to_owned(), (limit / 4 * 4 + 4).to_string(), limit.to_string()] {
            assert!(error.to_string().contains(&part), "{name}: {error}: without {part}");
        }
    }
}

/// Oracle: what software drivers must be able to say of the memory they use, which is this machine's.
#[test]
fn backends_tell_the_memory_of_their_devices() {
    for adapter in lyn_conformance::adapters() {
        let (info, memory) = (adapter.info(), adapter.backend_memory().expect("a heap of the device's own"));
        println!("{}: {memory:?}", info.name);
        assert!(memory.total_bytes >= 128 << 20, "{}: {memory:?}", info.name);
        assert!(memory.free_bytes.is_none_or(|free| free <= memory.total_bytes), "{}: {memory:?}", info.name);
        assert_eq!(info.memory.is_none(), info.kind == "software", "{}", info.name);
    }
}

#[test]
fn a_runner_refuses_what_its_context_cannot_hold() {
    let options = Options { context: ContextSize::Tokens(32), sequences: 1, ..options() };
    let mut engine = load(golden("a_base"), place(&one_device()), &options);
    let runner = engine.runner();
    platform::block_on(async {
        let sequence = runner.open()?;
        let ids = [1; 40];
        let over = runner.step(&[Chunk { sequence, ids: &ids[..33], wanted: Wanted::Last }], true).await;
        assert_eq!(over.map_err(|e| e.code()), Err(Code::ContextOverflow));
        assert_eq!(runner.length(sequence), 0, "a refused step leaves the sequence as it was");
        runner.step(&[Chunk { sequence, ids: &ids[..31], wanted: Wanted::Last }], true).await?;
        runner.again().await?;
        assert_eq!(runner.again().await.map_err(|e| e.code()), Err(Code::ContextOverflow));
        assert_eq!(runner.length(sequence), 32);

        // An id that the model does not have is refused too, and changes nothing either.
        runner.truncate(sequence, 10);
        let strange = runner.step(&[Chunk { sequence, ids: &[1, 999_999], wanted: Wanted::Last }], true).await;
        assert_eq!(strange.map_err(|e| e.code()), Err(Code::BadRequest));
        assert_eq!(runner.length(sequence), 10, "a refused step leaves the sequence as it was");
        assert!(runner.open().is_err(), "more sequences than there are");
        Result::<()>::Ok(())
    })
    .expect("steps run");
}

/// The stories with a NaN in the head's row of one id.
fn broken_head() -> Arc<dyn Source> {
    let stories = models::stories();
    platform::block_on(async {
        let mut source = MemorySource::new();
        for file in ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"] {
            let size = stories.size(file).await?.unwrap_or(0);
            source = source.with(file, stories.read(file, 0, usize::try_from(size).expect("small")).await?);
        }
        let file = "model.safetensors";
        let head = read_header(&*stories, file).await?.into_iter().find(|tensor| tensor.name == "lm_head.weight");
        let head = head.expect("the stories have a head");
        let size = stories.size(file).await?.unwrap_or(0);
        let mut bytes = stories.read(file, 0, usize::try_from(size).expect("small")).await?;
        // bf16: 2 bytes, row 100 of 192 columns.
        let at = usize::try_from(head.offset).expect("small") + 2 * 192 * 100;
        bytes[at..at + 2].copy_from_slice(&0x7fc0u16.to_le_bytes());
        Result::<Arc<dyn Source>>::Ok(Arc::new(source.with(file, bytes)))
    })
    .expect("the stories can be read")
}

#[test]
fn logits_that_are_not_numbers_end_the_answer() {
    for (name, device) in full_devices() {
        let mut engine = load(broken_head(), place(&device), &options());
        for (path, temperature, ignore_eos) in
            [("greedy", 0.0, false), ("greedy, on the host", 0.0, true), ("sampled", 0.8, false)]
        {
            let request = Request { ignore_eos, ..request(vec![0, 440, 450], temperature) };
            let error = until_error(&mut engine, request, |event| {
                assert!(!matches!(event, Event::Token { .. }), "{name}: {path}: a token from NaN");
            });
            assert_eq!(code(error), Some(Code::NonFinite), "{name}: {path}");
        }
    }
}

#[test]
fn weights_in_many_shards_give_the_bits_of_whole_ones() {
    // Golden, and a limit of about one expert.
    let device = one_device();
    for (name, bytes) in [("a_base", 20 << 10), ("f_fp8_edge_blocks", 40 << 10), ("g_fp8_official", 70 << 10)] {
        let bits = |shard_bytes| {
            let trial = Trial { shard_bytes, ..Trial::default() };
            let mut engine = load_trial(golden(name), place(&device), &options(), trial);
            let runner = engine.runner();
            platform::block_on(async {
                let (sequence, ids) = (runner.open()?, (0..12).map(|i| 3 + 17 * i).collect::<Vec<_>>());
                let mut rows = Vec::new();
                // Tiles and bins for ten tokens, then one at a time.
                for ids in [&ids[..10], &ids[10..11], &ids[11..]] {
                    runner.step(&[Chunk { sequence, ids, wanted: Wanted::Last }], false).await?;
                    rows.push(runner.logits(0).await?.into_iter().map(f32::to_bits).collect::<Vec<_>>());
                }
                let (recording, _) = runner.last_recording().expect("a step ran");
                Result::<_>::Ok((rows, recording.passes.len()))
            })
            .expect("steps run")
        };
        let ((whole, passes), (split, more)) = (bits(None), bits(Some(bytes)));
        println!("{name}: {passes} passes, {more} with shards of {bytes} bytes");
        assert!(more > passes + 10, "{name}: {more} passes instead of {passes}: nothing was split");
        assert!(whole == split, "{name}: other bits with shards of {bytes} bytes");
    }
}

/// Oracle: what the executors hold after steps of every size.
#[test]
fn a_plan_is_what_is_allocated() {
    // The last with its cache in three bindings.
    let models = [("a_base", None), ("d_v3_no_q_lora", None), ("f_fp8_edge_blocks", None), ("h_mtp", None)];
    for (name, shard_bytes) in models.into_iter().chain([("l_youtu_tied", None), ("h_mtp", Some(20 << 10))]) {
        let options = Options {
            device: "cpu".to_owned(),
            context: ContextSize::Tokens(96),
            chunk: Some(6),
            sequences: 3,
            index_topk: Some(4),
            prediction: true,
            ..Options::default()
        };
        let mut places = vec![Place::Host];
        places.extend(full_devices().into_iter().map(|(_, device)| Place::Gpu(Box::new(device))));
        for place in places {
            let trial = Trial { shard_bytes, ..Trial::default() };
            let mut engine = load_trial(golden(name), place, &options, trial);
            let planned = engine.plan().total_bytes;
            assert_eq!(engine.plan().cache_parts, if shard_bytes.is_some() { 3 } else { 1 }, "{name}");
            let runner = engine.runner();
            let sequences = [(); 3].map(|()| runner.open().expect("a sequence"));
            // Twice: only what is longer than `index_topk` is selected from.
            for sizes in
                [[2, 2, 2], [2, 1, 1], [1, 1, 0], [1, 0, 0], [2, 2, 2], [2, 2, 2], [2, 1, 1], [1, 1, 0], [1, 0, 0]]
            {
                let chunks = sequences.into_iter().zip(sizes).filter(|(_, tokens)| *tokens > 0);
                let chunks =
                    chunks.map(|(sequence, tokens)| Chunk { sequence, ids: &[1, 1][..tokens], wanted: Wanted::Last });
                pollster::block_on(runner.step(&chunks.collect::<Vec<_>>(), true)).expect("a step");
            }
            assert_eq!(runner.executor().allocated_bytes(), planned, "{name}");
        }
    }
}
