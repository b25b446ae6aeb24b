//! A cache in several bindings, as long contexts have it. Oracles: the same cache in one, bit for bit, and the goldens.

use std::sync::Arc;

use lyn::checkpoint::{CONFIG_FILE, MemorySource, ModelConfig, SINGLE_FILE, Source, names};
use lyn::engine::{Attention, Trial};
use lyn::generate::{Block, Chunk, Event, Request, SamplingParams, Wanted};
use lyn::gpu::Device;
use lyn::inspect::golden as expected;
use lyn::memory::{CacheType, ContextSize};
use lyn::{Engine, Options, Place, models, platform};
use lyn_conformance::{devices, golden, load_trial};
use lyn_shaders::case::Random;
use serde_json::{Value, json};

/// Every adapter with WebGPU's minimum limits: three bindings of a cache leave no kernel a storage buffer.
fn minimal_devices() -> Vec<(String, Device)> {
    devices().into_iter().filter(|(name, _)| name.ends_with(", minimum limits")).collect()
}

/// A model whose cache of five pages in all is split as if bindings held `shard_bytes`.
fn engine(source: Arc<dyn Source>, device: &Device, cache_type: CacheType, shard_bytes: Option<u64>) -> Engine {
    let options = Options {
        context: ContextSize::Tokens(320),
        cache_type: Some(cache_type),
        chunk: Some(128),
        ..Options::default()
    };
    let trial = Trial { shard_bytes, ..Trial::default() };
    load_trial(source, Place::Gpu(Box::new(device.clone())), &options, trial)
}

/// Ids without meaning.
fn prompt(tokens: u32) -> Vec<u32> {
    (0..tokens).map(|place| 3 + place * 7 % 200).collect()
}

/// Bits of logits: after chunks of a prompt that ends beyond every border, and of a token alone.
fn logits(engine: &mut Engine) -> Vec<Vec<u32>> {
    let (runner, ids) = (engine.runner(), prompt(300));
    platform::block_on(async {
        let sequence = runner.open()?;
        let mut rows = Vec::new();
        for ids in [&ids[..128], &ids[128..256], &ids[256..299], &ids[299..]] {
            runner.step(&[Chunk { sequence, ids, wanted: Wanted::Last }], false).await?;
            rows.push(runner.logits(0).await?.into_iter().map(f32::to_bits).collect());
        }
        lyn::Result::<Vec<Vec<u32>>>::Ok(rows)
    })
    .expect("steps run")
}

#[test]
fn caches_in_several_bindings_give_the_bits_of_whole_ones() {
    // Bytes of a page of latents and rotated keys, of which there are five: 64 rows of 32 + 16 elements, 128 + 16 of the last.
    for (name, cache_type, page_bytes, splits) in [
        ("a_base", CacheType::F32, 64 * 48 * 4, &[(3, 2), (2, 3)][..]),
        ("d_v3_no_q_lora", CacheType::F16, 64 * 48 * 2, &[(3, 2)]),
        ("g_fp8_official", CacheType::Fp8, 64 * (128 + 4 + 2 * 16), &[(2, 3)]),
    ] {
        for (device_name, device) in minimal_devices() {
            let bits = |shard_bytes, parts| {
                let mut engine = engine(golden(name), &device, cache_type, shard_bytes);
                assert_eq!(engine.plan().cache_parts, parts, "{name}: bindings of {shard_bytes:?} bytes");
                logits(&mut engine)
            };
            let whole = bits(None, 1);
            assert!(whole.iter().flatten().all(|&bits| f32::from_bits(bits).is_finite()), "{name}");
            for &(pages, parts) in splits {
                assert!(bits(Some(pages * page_bytes), parts) == whole, "{device_name}: {name} in {parts}: other bits");
            }
        }
    }
}

/// The rows of every stage lie in the last of three parts: four of six sequences take up the others.
#[test]
fn golden_stages_pass_in_the_last_of_three_bindings() {
    let (name, device) = minimal_devices().remove(0);
    for folder in ["a_base", "e_bf16_sharded", "h_mtp", "j_v2_lite"] {
        let trial = Trial { shard_bytes: Some(70 << 10), ..Trial::default() };
        let report = expected::run_trial(golden(folder), Place::Gpu(Box::new(device.clone())), trial, 4);
        let report = platform::block_on(report).expect("a report");
        let failed: Vec<_> = report.stages.iter().filter(|stage| !stage.passed).collect();
        assert!(report.passed(), "{name}: {folder}: {failed:?}");
    }
}

/// Tokens that were found in the cache, and the answer.
fn answer(engine: &mut Engine, blocks: Vec<Block>) -> (u32, Vec<u32>) {
    let sampling = SamplingParams { temperature: 0.0, ..SamplingParams::default() };
    let request = Request { sampling, max_tokens: Some(4), blocks, ..Request::new(prompt(310)) };
    let mut generation = engine.generate(request).expect("a request");
    let mut cached = 0;
    while let Some(event) = platform::block_on(generation.next()).expect("an event") {
        if let Event::End { timings, .. } = event {
            cached = timings.cached_tokens;
        }
    }
    (cached, generation.ids().to_vec())
}

/// What a whole cache gives out comes into a split one, and the other way round.
#[test]
fn blocks_are_the_same_of_whole_and_split_caches() {
    let (_, device) = minimal_devices().remove(0);
    let mut read = [None, Some(2 * 64 * 80 * 4)].map(|shard_bytes| {
        let mut engine = engine(models::stories(), &device, CacheType::F32, shard_bytes);
        engine.keep_blocks();
        let (_, ids) = answer(&mut engine, vec![]);
        let blocks = engine.take_blocks();
        (engine, ids, blocks)
    });
    let [whole, split] = &mut read;
    assert_eq!((whole.0.plan().cache_parts, split.0.plan().cache_parts), (1, 3));
    assert_eq!((&whole.1, whole.2.len()), (&split.1, 4));
    for (one, other) in whole.2.iter().zip(&split.2) {
        assert!(one.key == other.key && one.words == other.words, "other rows");
    }
    let (blocks, expected) = (split.2.clone(), whole.1.clone());
    for (engine, ..) in [split, whole] {
        engine.reset();
        assert_eq!(answer(engine, blocks.clone()), (256, expected.clone()));
    }
}

/// One small layer with the cache rows of DeepSeek-V3.2, and random weights.
fn one_layer() -> Arc<dyn Source> {
    platform::block_on(async {
        let stories = models::stories();
        let file = async |name: &str| {
            let size = stories.size(name).await?.unwrap_or(0);
            stories.read(name, 0, usize::try_from(size).expect("a small file")).await
        };
        let mut config: Value = serde_json::from_slice(&file(CONFIG_FILE).await?).expect("a config");
        for (field, value) in [
            ("num_hidden_layers", 1),
            ("num_attention_heads", 2),
            ("num_key_value_heads", 2),
            ("index_n_heads", 2),
            ("max_position_embeddings", 131_072),
            ("kv_lora_rank", 512),
            ("qk_rope_head_dim", 64),
            ("index_head_dim", 128),
            ("index_topk", 2048),
        ] {
            config[field] = json!(value);
        }
        let config = config.to_string().into_bytes();
        let (mut header, mut data, mut random) = (serde_json::Map::new(), Vec::new(), Random::new(1));
        for tensor in names::expected(&ModelConfig::parse(&config)?) {
            let start = data.len();
            for _ in 0..tensor.shape.iter().product::<u64>() {
                data.extend((random.float() * 0.2).to_bits().to_le_bytes().into_iter().skip(2));
            }
            let entry = json!({ "dtype": "BF16", "shape": tensor.shape, "data_offsets": [start, data.len()] });
            header.insert(tensor.name, entry);
        }
        let header = Value::Object(header).to_string().into_bytes();
        let weights = [(header.len() as u64).to_le_bytes().as_slice(), &header, &data].concat();
        let mut source = MemorySource::new().with(CONFIG_FILE, config).with(SINGLE_FILE, weights);
        for name in ["tokenizer.json", "tokenizer_config.json", "generation_config.json"] {
            source = source.with(name, file(name).await?);
        }
        lyn::Result::<Arc<dyn Source>>::Ok(Arc::new(source))
    })
    .expect("a model")
}

/// The bits of a number between 1/4 and 1: positive in the first third of 2048 pages, negative in the second, of either sign in
/// the last, so that their mean is that of the right pages.
fn number(page: usize, random: u32) -> u32 {
    let sign = 1 << 31;
    (random & 0x00ff_ffff) | 0x3e80_0000 | [0, sign, random & sign][(page / 683).min(2)]
}

/// 131,009 positions of DeepSeek-V3.2's row in f32, all but the last from blocks, in the bindings that WebGPU guarantees.
/// Oracle: the same blocks read by the references on the host, which has them in one.
#[test]
fn a_context_of_131072_tokens_is_read_from_three_bindings() {
    let (source, (name, device)) = (one_layer(), minimal_devices().remove(0));
    let read = |place, parts| {
        let options = Options {
            context: ContextSize::Max,
            cache_type: Some(CacheType::F32),
            attention: Attention::Dense,
            chunk: Some(1),
            ..Options::default()
        };
        let mut engine = load_trial(Arc::clone(&source), place, &options, Trial::default());
        assert_eq!(engine.plan().cache_parts, parts);
        let sampling = SamplingParams { temperature: 0.0, logprobs: Some(20), ..SamplingParams::default() };
        let ids = (0..131_009).map(|place| 3 + place * 7 % 2000).collect();
        let mut request = Request { sampling, max_tokens: Some(1), ..Request::new(ids) };
        let mut random = Random::new(2);
        let mut block = |(page, (key, ids))| {
            let words = (0..64 * (512 + 64 + 128)).map(|_| number(page, random.word())).collect();
            Block { key, ids, scope: vec![], words }
        };
        request.blocks = engine.missing_blocks(&request).into_iter().enumerate().map(&mut block).collect();
        let mut generation = engine.generate(request).expect("a request");
        let (mut likeliest, mut cached) = (vec![], 0);
        while let Some(event) = platform::block_on(generation.next()).expect("an event") {
            match event {
                Event::Token { logprobs: Some(logprobs), .. } => likeliest = logprobs.top,
                Event::End { timings, .. } => cached = timings.cached_tokens,
                _ => {}
            }
        }
        assert_eq!((cached, likeliest.len()), (131_008, 20));
        likeliest
    };
    let (got, expected) = (read(Place::Gpu(Box::new(device)), 3), read(Place::Host, 1));
    for (got, expected) in got.iter().zip(&expected) {
        assert!((got.1 - expected.1).abs() < 1e-3, "{name}: {got:?} instead of {expected:?}");
    }
}
