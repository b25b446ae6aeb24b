//! Oracles: the executor that loads, asked for the same memory; and the arithmetic of a cache row, by hand.

use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::checkpoint::{BoxFuture, CONFIG_FILE, Checkpoint, ModelConfig, SINGLE_FILE, Source, names};
use crate::engine::{Engine, Options, Place, Trial};
use crate::gpu::{AdapterInfo, DeviceMemory};
use crate::host::Executor;
use crate::memory::{CacheType, ContextSize, Fit, Planned};
use crate::model::{self, Dims, Parts};
use crate::platform::block_on;
use crate::record::scratch_index;

/// The headers of a model without its weights: a file as long as they say, of which only the beginning can be read.
struct Headers {
    config: Vec<u8>,
    header: Vec<u8>,
    data_bytes: u64,
}

impl Headers {
    fn of(config: &serde_json::Value) -> Headers {
        let config = config.to_string().into_bytes();
        let parsed = ModelConfig::parse(&config).expect("a config");
        let (mut header, mut end) = (serde_json::Map::new(), 0);
        for expected in names::expected(&parsed) {
            let (start, bytes) = (end, 2 * expected.shape.iter().product::<u64>());
            end += bytes;
            let entry = json!({ "dtype": "BF16", "shape": expected.shape, "data_offsets": [start, end] });
            header.insert(expected.name, entry);
        }
        let text = serde_json::Value::Object(header).to_string().into_bytes();
        let header = [(text.len() as u64).to_le_bytes().as_slice(), &text].concat();
        Headers { config, header, data_bytes: end }
    }

    fn file(&self, name: &str) -> Option<(&[u8], u64)> {
        match name {
            CONFIG_FILE => Some((&self.config, 0)),
            SINGLE_FILE => Some((&self.header, self.data_bytes)),
            _ => None,
        }
    }
}

impl Source for Headers {
    fn size<'a>(&'a self, file: &'a str) -> BoxFuture<'a, Result<Option<u64>>> {
        Box::pin(async move { Ok(self.file(file).map(|(bytes, more)| bytes.len() as u64 + more)) })
    }

    fn read<'a>(&'a self, file: &'a str, offset: u64, length: usize) -> BoxFuture<'a, Result<Vec<u8>>> {
        Box::pin(async move {
            let start = usize::try_from(offset).expect("small");
            let bytes = self.file(file).and_then(|(bytes, _)| bytes.get(start..)?.get(..length));
            Ok(bytes.expect("only headers are read").to_vec())
        })
    }

    fn gguf(&self) -> Option<&str> {
        None
    }
}

/// DeepSeek-V3.2's config, with two of its layers and sixteen of its experts: rows and steps are those of the whole.
fn v32() -> Checkpoint {
    let config = json!({
        "model_type": "deepseek_v32", "vocab_size": 129_280, "hidden_size": 7168, "num_hidden_layers": 2,
        "intermediate_size": 18_432, "num_attention_heads": 128, "q_lora_rank": 1536, "kv_lora_rank": 512,
        "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "max_position_embeddings": 163_840,
        "index_n_heads": 64, "index_head_dim": 128, "index_topk": 2048, "first_k_dense_replace": 1,
        "moe_intermediate_size": 2048, "n_routed_experts": 16, "n_shared_experts": 1, "num_experts_per_tok": 8,
        "n_group": 8, "topk_group": 4, "routed_scaling_factor": 2.5,
    });
    block_on(Checkpoint::open(Arc::new(Headers::of(&config)))).expect("headers")
}

fn stories() -> Checkpoint {
    block_on(Checkpoint::open(crate::models::stories())).expect("the model")
}

fn limits(binding_bytes: u64) -> Limits {
    Limits { buffer_bytes: binding_bytes.max(256 << 20), binding_bytes, ..Limits::HOST }
}

/// The limits that WebGPU guarantees, of which the binding's decides here.
const WEBGPU: Limits =
    Limits { buffer_bytes: 256 << 20, binding_bytes: 128 << 20, storage_buffers: 8, workgroups: 65_535 };

/// An adapter that nobody has.
fn adapter(limits: Limits) -> AdapterInfo {
    AdapterInfo {
        index: 0,
        name: "Some GPU".to_owned(),
        kind: "discrete",
        backend: "vulkan".to_owned(),
        driver: String::new(),
        shader_f16: false,
        subgroups: (32, 32),
        timestamps: false,
        max_buffer_bytes: limits.buffer_bytes,
        max_binding_bytes: limits.binding_bytes,
        limits,
        memory: None,
    }
}

/// What an executor with these limits says when it is asked for all that a plan counts.
fn load(planned: &Planned<'_>, dims: &Dims, limits: Limits) -> Result<()> {
    let mut executor = Executor::new(limits);
    for laid in &planned.layout.tensors {
        executor.allocate(&laid.name, laid.words)?;
    }
    for shape in planned.settings.shapes(dims) {
        executor.prepare(&model::step(Parts { dims, tensors: &planned.tensors, shape }))?;
    }
    Ok(())
}

#[test]
fn a_plan_refuses_what_loading_would() {
    let checkpoint = stories();
    let dims = Dims::new(&checkpoint.config, u32::MAX);
    let (mut outcomes, mut split) = ([0; 2], 0);
    let contexts = [64, 448, 2048].into_iter().flat_map(|context| CacheType::ALL.map(|it| (context, it)));
    for (context, cache_type) in contexts {
        // 56 pages of 18,432 bytes in f32 are 516,096 by halves, and 350,208 at most by thirds.
        for binding_bytes in [16 << 10, 90_000, 350_208, 350_207, 516_096, 516_095, 1_585_152, 1_585_151, 4 << 20] {
            let limits = limits(binding_bytes);
            let (options, trial) = (
                Options {
                    context: ContextSize::Tokens(context),
                    cache_type: Some(cache_type),
                    sequences: 8,
                    chunk: Some(8),
                    ..Options::default()
                },
                Trial { limits: Some(limits), ..Trial::default() },
            );
            let planned = Engine::planned(&checkpoint, &dims, None, &options, trial).expect("a plan");
            let loaded = load(&planned, &dims, limits).map_err(|error| error.message().to_owned());
            let what = format!("context {context} in {cache_type}, bindings of {binding_bytes} bytes");
            assert_eq!(planned.plan.limit, loaded.clone().err(), "{what}");
            assert_eq!(planned.plan.fit == Fit::DoesNotFit, loaded.is_err(), "{what}");
            outcomes[usize::from(loaded.is_ok())] += 1;
            split += u32::from(loaded.is_ok() && planned.plan.cache_parts > 1);
        }
    }
    assert!(outcomes.iter().all(|&count| count > 3), "refused, accepted: {outcomes:?}");
    assert!(split > 3, "{split} with a split cache are accepted");
}

/// The whole way: a load ends with the plan's own words, and --force does not help.
#[test]
fn loading_ends_as_planned() {
    let limits = limits(1 << 20);
    let options = |context| Options {
        context: ContextSize::Tokens(context),
        cache_type: Some(CacheType::F32),
        force: true,
        ..Options::default()
    };
    let trial = Trial { limits: Some(limits), ..Trial::default() };
    let loading = |context| {
        let (options, mut go_on) = (options(context), |_| true);
        let loaded = block_on(Engine::load_trial(stories(), Place::Host, &options, trial, &mut go_on));
        loaded.map(|engine| engine.plan().clone())
    };
    assert_eq!(loading(512).expect("it fits").limit, None);
    let refused = loading(2048).expect_err("too long");
    assert_eq!(refused.code(), Code::LimitTooSmall);
    let (checkpoint, dims) = (stories(), Dims::new(&stories().config, u32::MAX));
    let plan = Engine::planned(&checkpoint, &dims, None, &options(2048), trial).expect("a plan").plan;
    assert_eq!(plan.limit.as_deref(), Some(refused.message()));
    let fitting = plan.fitting_context.expect("a shorter one");
    assert!(refused.help().concat().contains(&format!("--context {fitting} would fit")), "{:?}", refused.help());
    for (context, fits) in [(fitting, true), (fitting + 64, false)] {
        let plan = Engine::planned(&checkpoint, &dims, None, &options(context), trial).expect("a plan").plan;
        assert_eq!(plan.limit.is_none(), fits, "{context}");
    }
}

/// Oracle: the bytes of a row, in whole pages: 512 latents and 64 rotated dims; as few bindings as hold them, three at most.
#[test]
fn the_cache_of_a_large_model_meets_its_bindings() {
    let checkpoint = v32();
    let mut outcomes = [0; 2];
    let rows = [((512 + 64) * 4, 128 * 4), ((512 + 64) * 2, 128 * 2), (512 + 4 * 4 + 64 * 2, 128 + 4)];
    for (cache_type, (row_bytes, key_bytes)) in CacheType::ALL.into_iter().zip(rows) {
        let large = [8192, 58_240, 58_304, 131_072].map(|context| (context, 128)).into_iter().chain([(131_072, 2048)]);
        for (context, mib) in large.chain([87_360, 87_424, 131_072, 163_840].map(|context| (context, 64))) {
            let info = adapter(limits(mib << 20));
            let options =
                Options { context: ContextSize::Tokens(context), cache_type: Some(cache_type), ..Options::default() };
            let plan = Engine::plan_for(&checkpoint, Some(&info), &options).expect("a plan");
            let (pages, page_bytes) = (u64::from(context) / 64, 64 * row_bytes);
            let parts = pages.div_ceil((mib << 20) / page_bytes).min(3);
            let bytes = pages.div_ceil(parts) * page_bytes;
            let expected = (bytes > mib << 20).then(|| {
                format!(
                    "layer 0 latent cache, part 1 of 3, needs one {bytes}-byte binding; \"Some GPU\" allows {}",
                    mib << 20
                )
            });
            assert_eq!(plan.limit, expected, "context {context} in {cache_type}, {mib} MiB");
            assert_eq!(plan.check().is_err(), expected.is_some());
            assert_eq!(u64::from(plan.cache_parts), parts, "context {context} in {cache_type}, {mib} MiB");
            assert_eq!(plan.cache_bytes, 2 * pages * 64 * (row_bytes + key_bytes), "context {context} in {cache_type}");
            outcomes[usize::from(plan.limit.is_none())] += 1;
        }
    }
    assert!(outcomes.iter().all(|&count| count > 2), "refused, accepted: {outcomes:?}");
}

/// All that 131,072 tokens of V3.2 need is within what WebGPU guarantees, in every type: tensors, and what each kernel binds.
/// Oracle: the passes of its recordings, slot by slot.
#[test]
fn every_pass_of_a_long_context_is_within_webgpu_s_limits() {
    let checkpoint = v32();
    let dims = Dims::new(&checkpoint.config, u32::MAX);
    let trial = Trial { limits: Some(WEBGPU), ..Trial::default() };
    for (cache_type, parts) in CacheType::ALL.into_iter().zip([3, 2, 1]) {
        let options =
            Options { context: ContextSize::Tokens(131_072), cache_type: Some(cache_type), ..Options::default() };
        let planned = Engine::planned(&checkpoint, &dims, None, &options, trial).expect("a plan");
        assert_eq!((planned.plan.limit.as_deref(), planned.plan.cache_parts), (None, parts), "{cache_type}");
        let words: Vec<u64> = planned.layout.tensors.iter().map(|laid| laid.words).collect();
        let mut readers = 0;
        for shape in planned.settings.shapes(&dims) {
            let recording = model::step(Parts { dims: &dims, tensors: &planned.tensors, shape });
            for pass in &recording.passes {
                assert!(pass.slots.len() <= 8, "{cache_type}: {:?}", pass.kernel);
                for &slot in &pass.slots {
                    let scratch = scratch_index(slot).map(|place| recording.scratch_words[place]);
                    let words = scratch.unwrap_or_else(|| words[slot.0 as usize]);
                    assert!(words * 4 <= 128 << 20, "{cache_type}: {words} words of {:?}", pass.kernel);
                }
                readers +=
                    usize::from(pass.kernel.interface().name == "mla_sparse" && pass.slots.len() == 5 + parts as usize);
            }
        }
        assert!(readers > 0, "{cache_type}: nothing reads all {parts} bindings");
    }
}

/// Without a word about the type, a context that bindings do not hold in f32 is kept in f16; fp8 is for those who ask for it.
#[test]
fn a_context_that_f32_cannot_hold_is_kept_in_f16() {
    let checkpoint = v32();
    let plan = |context, cache_type| {
        let options = Options { context: ContextSize::Tokens(context), cache_type, sequences: 2, ..Options::default() };
        Engine::plan_for(&checkpoint, Some(&adapter(limits(64 << 20))), &options).expect("a plan")
    };
    let chosen = |plan: &crate::memory::Plan| (plan.cache_type, plan.cache_narrowed, plan.limit.is_none());
    // Three bindings of 455 pages in f32, for two sequences of 682.
    assert_eq!(chosen(&plan(43_648, None)), (CacheType::F32, false, true));
    assert_eq!(chosen(&plan(43_712, None)), (CacheType::F16, true, true));
    let refused = plan(131_072, None);
    assert_eq!(chosen(&refused), (CacheType::F32, false, false));
    let help = refused.check().expect_err("too long").help().concat();
    assert!(help.contains("--context 43648 or --cache-type fp8 would fit"), "{help}");
    assert_eq!(chosen(&plan(131_072, Some(CacheType::Fp8))), (CacheType::Fp8, false, true));
}

/// Oracle: the total of a plan, against what a device says of its memory.
#[test]
fn a_device_s_memory_decides() {
    let checkpoint = stories();
    let plan = |memory| {
        let info = AdapterInfo { memory, ..adapter(Limits::HOST) };
        let options = Options { context: ContextSize::Max, cache_type: Some(CacheType::F32), ..Options::default() };
        Engine::plan_for(&checkpoint, Some(&info), &options).expect("a plan")
    };
    let memory = |total_bytes, free_bytes| Some(DeviceMemory { total_bytes, free_bytes });
    let unknown = plan(None);
    assert_eq!((unknown.fit, unknown.available_bytes), (Fit::Unknown, None));
    let needed = unknown.total_bytes;
    for (memory, fit, available) in [
        (memory(1 << 40, Some(needed * 2)), Fit::Fits, needed * 2),
        (memory(1 << 40, Some(needed)), Fit::Tight, needed),
        (memory(1 << 40, Some(needed - 1)), Fit::DoesNotFit, needed - 1),
        (memory(needed * 2, None), Fit::Fits, needed * 2),
        (memory(needed - 1, None), Fit::DoesNotFit, needed - 1),
    ] {
        let plan = plan(memory);
        assert_eq!((plan.fit, plan.available_bytes), (fit, Some(available)), "{memory:?}");
    }
    let refused = plan(memory(1 << 40, Some(needed - 1))).check().expect_err("too large");
    assert_eq!(refused.code(), Code::OutOfMemory);
}

#[test]
fn a_grid_that_is_too_wide_is_refused_with_its_kernel() {
    let checkpoint = stories();
    for (limits, what) in [
        (Limits { workgroups: 127, ..Limits::HOST }, "128 workgroups in a row"),
        (Limits { storage_buffers: 5, ..Limits::HOST }, "storage buffers"),
    ] {
        let plan =
            Engine::plan_for(&checkpoint, Some(&adapter(limits)), &Options { chunk: Some(128), ..Options::default() });
        let limit = plan.expect("a plan").limit.expect("too much");
        assert!(limit.starts_with("the kernel ") && limit.contains(what), "{limit}");
    }
}
