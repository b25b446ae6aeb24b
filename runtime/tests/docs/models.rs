//! The tables of models in README.md and docs/models-and-memory.md are what their configs come to.
//!
//! Oracle of the tables: `tests/data/models` and the code that plans and quantizes. Oracle of that: sizes of published files.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use lyn::checkpoint::Checkpoint;
use lyn::memory::{CacheType, ContextSize, Fit, Plan};
use lyn::platform::block_on;
use lyn::quantize::{Conversion, Mix};
use lyn::{Engine, Options};

/// A config of `tests/data/models`, and what is known of the models that have it.
struct Model {
    config: &'static str,
    names: &'static str,
    /// How its publisher stores weights.
    published: &'static str,
    /// Quantisations that are worked out.
    mixes: &'static [&'static str],
    /// Checkpoints of `tests/data/golden` with its structure, or each with a part of it.
    goldens: &'static [&'static str],
}

const ALL: &[&str] = &["q8_0", "q6_k", "q5_k_m", "q4_k_m", "q3_k_m", "q2_k"];
/// Of models that no single card holds.
const FEW: &[&str] = &["q8_0", "q4_k_m", "q2_k"];

const MODELS: [Model; 9] = [
    Model { config: "youtu-llm-2b", names: "Youtu-LLM-2B", published: "BF16", mixes: ALL, goldens: &["l_youtu_tied"] },
    Model {
        config: "deepseek-v2-lite",
        names: "DeepSeek-V2-Lite, Coder-V2-Lite",
        published: "BF16",
        mixes: ALL,
        goldens: &["j_v2_lite", "r_gguf_v2_legacy"],
    },
    Model {
        config: "moonlight-16b-a3b",
        names: "Moonlight-16B-A3B",
        published: "BF16",
        mixes: ALL,
        goldens: &["d_v3_no_q_lora"],
    },
    Model {
        config: "glm-4.7-flash",
        names: "GLM-4.7-Flash",
        published: "BF16",
        mixes: ALL,
        goldens: &["k_glm4_moe_lite", "o_gguf_k_quants"],
    },
    Model {
        config: "deepseek-v3",
        names: "DeepSeek-V3, R1, V3.1",
        published: "FP8",
        mixes: FEW,
        goldens: &["d_v3_no_q_lora", "p_int4_compressed_tensors", "f_fp8_edge_blocks"],
    },
    Model {
        config: "deepseek-v3.2",
        names: "DeepSeek-V3.2, V3.2-Exp",
        published: "FP8",
        mixes: FEW,
        goldens: &["g_fp8_official", "n_gguf_q8_0"],
    },
    Model { config: "glm-5", names: "GLM-5", published: "BF16", mixes: FEW, goldens: &["i_glm_moe_dsa"] },
    Model {
        config: "kimi-k2",
        names: "Kimi-K2-Instruct",
        published: "FP8",
        mixes: FEW,
        goldens: &["p_int4_compressed_tensors", "f_fp8_edge_blocks"],
    },
    Model {
        config: "kimi-k2-thinking",
        names: "Kimi-K2-Thinking; in GGUF as above",
        published: "INT4",
        mixes: &[],
        goldens: &["p_int4_compressed_tensors"],
    },
];

/// Memory of cards as they are sold, in GiB.
const CARDS: [u64; 4] = [8, 12, 16, 24];
/// Of ten parts of a card, those that are left for a model: so the verdict on the empty card is FITS.
const LEFT: u64 = 9;
const SHORT: u32 = 8192;
const LONG: u32 = 32_768;

/// A model in one form: published, or quantised.
struct Form {
    checkpoint: Checkpoint,
    /// Bytes of its files, without the tokenizer.
    disk: u64,
}

impl Form {
    fn published(config: &[u8]) -> Form {
        let checkpoint = Checkpoint::described_by("config.json", config).expect("a config of lyn's family");
        let config = &checkpoint.config;
        // Modules of multi-token prediction repeat the embedding and the head, in BF16.
        let copies = 4 * u64::from(config.vocab_size) * u64::from(config.hidden_size);
        let disk = checkpoint.totals(true).stored_bytes + copies * u64::from(checkpoint.prediction_layers);
        Form { checkpoint, disk }
    }

    fn quantised(&self, mix: &str) -> Form {
        let mix = Mix::named(mix).expect("a mix");
        let conversion = block_on(Conversion::new(self.checkpoint.clone(), mix, "")).expect("a file");
        Form { checkpoint: block_on(conversion.unwritten()).expect("its header"), disk: conversion.file_bytes() }
    }

    fn plan(&self, context: ContextSize, cache_type: Option<CacheType>, card: Option<u64>) -> Plan {
        let memory_bytes = card.map(|card| (card << 30) / 10 * LEFT);
        let options = Options { context, cache_type, memory_bytes, chunk: Some(256), ..Options::default() };
        Engine::plan_for(&self.checkpoint, None, &options).expect("a plan")
    }

    /// Memory with a context; none where the model has no such context.
    fn memory(&self, tokens: u32) -> Option<u64> {
        let has = tokens <= self.checkpoint.config.max_position_embeddings;
        has.then(|| self.plan(ContextSize::Tokens(tokens), None, None).total_bytes)
    }

    fn fits(&self, card: u64) -> bool {
        self.plan(ContextSize::Tokens(SHORT), None, Some(card)).fit != Fit::DoesNotFit
    }

    fn longest(&self, card: u64) -> Option<u32> {
        let plan = self.plan(ContextSize::Max, Some(CacheType::F16), Some(card));
        if plan.fit == Fit::DoesNotFit { plan.fitting_context } else { Some(plan.context) }
    }
}

/// What is worked out for a model.
struct Sizes {
    parameters: u64,
    /// By name: as published, then the quantisations, the largest first. Bytes of files, and in memory with each context.
    forms: Vec<(String, u64, [Option<u64>; 2])>,
    /// For each card, the largest form that fits it, and the longest context in Q4_K_M.
    cards: Vec<(Option<String>, Option<u32>)>,
}

impl Sizes {
    fn of(model: &Model) -> Sizes {
        let path = root().join("tests/data/models").join(format!("{}.json", model.config));
        let published = Form::published(&std::fs::read(path).expect("a config"));
        let parameters = published.checkpoint.totals(false).parameters;
        let quantised = model.mixes.iter().map(|mix| (mix.to_uppercase(), published.quantised(mix)));
        let quantised: Vec<(String, Form)> = quantised.collect();
        let forms: Vec<(&str, &Form)> = std::iter::once((model.published, &published))
            .chain(quantised.iter().map(|(name, form)| (name.as_str(), form)))
            .collect();
        let cards = CARDS.into_iter().filter(|_| model.mixes == ALL).map(|card| {
            let largest = forms.iter().find(|(_, form)| form.fits(card)).map(|(name, _)| (*name).to_owned());
            let middle = forms.iter().find(|(name, _)| *name == "Q4_K_M");
            (largest, middle.and_then(|(_, form)| form.longest(card)))
        });
        let cards = cards.collect();
        let forms =
            forms.into_iter().map(|(name, form)| (name.to_owned(), form.disk, [SHORT, LONG].map(|it| form.memory(it))));
        Sizes { parameters, forms: forms.collect(), cards }
    }

    fn form(&self, name: &str) -> Option<&(String, u64, [Option<u64>; 2])> {
        self.forms.iter().find(|(form, ..)| form == name)
    }
}

/// Of models whose lists of tensors are the longest: worked out only when the tables are written.
const LONG_LISTS: [&str; 3] = ["glm-5", "kimi-k2", "kimi-k2-thinking"];

fn is_writing() -> bool {
    std::env::var_os("LYN_UPDATE").is_some()
}

/// The models that are worked out.
fn models() -> impl Iterator<Item = &'static Model> {
    MODELS.iter().filter(|model| is_writing() || !LONG_LISTS.contains(&model.config))
}

/// Sizes of them, each on a thread.
static SIZES: LazyLock<BTreeMap<&'static str, Sizes>> = LazyLock::new(|| {
    std::thread::scope(|scope| {
        let threads: Vec<_> = models().map(|model| (model.config, scope.spawn(|| Sizes::of(model)))).collect();
        threads.into_iter().map(|(config, thread)| (config, thread.join().expect("sizes"))).collect()
    })
});

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// GiB with a digit behind the point, whole ones above 100.
fn gib(bytes: u64) -> String {
    let tenths = (bytes * 10 + (1 << 29)) >> 30;
    if tenths < 1000 { format!("{}.{}", tenths / 10, tenths % 10) } else { thousands((tenths + 5) / 10) }
}

fn thousands(number: u64) -> String {
    let text = number.to_string();
    let place = |at: usize| at > 0 && (text.len() - at).is_multiple_of(3);
    text.char_indices().fold(String::new(), |mut all, (at, digit)| {
        if place(at) {
            all.push(',');
        }
        all.push(digit);
        all
    })
}

fn or_none<T>(value: Option<T>, shown: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "–".to_owned(), shown)
}

fn goldens(model: &Model) -> String {
    model.goldens.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn parameters(number: u64) -> String {
    let tenths = (number + 50_000_000) / 100_000_000;
    if tenths < 1000 {
        format!("{}.{} B", tenths / 10, tenths % 10)
    } else {
        format!("{} B", thousands((tenths + 5) / 10))
    }
}

/// The table of the README.
fn short_table() -> String {
    let mut table =
        "| model | parameters | as published | Q8_0 | Q4_K_M | 8 GB | 12 GB | 16 GB | 24 GB | run so far |\n\
        |---|---|---|---|---|---|---|---|---|---|\n"
            .to_owned();
    for model in models() {
        let sizes = &SIZES[model.config];
        let cell = |name: &str| {
            or_none(sizes.form(name), |(_, disk, [memory, _])| format!("{} / {}", gib(*disk), or_none(*memory, gib)))
        };
        let cards: Vec<String> = match sizes.cards.is_empty() {
            true => vec!["–".to_owned(); CARDS.len()],
            false => sizes.cards.iter().map(|(form, _)| or_none(form.clone(), |form| form)).collect(),
        };
        let Model { names, published, .. } = model;
        writeln!(
            table,
            "| {names} | {} | {published} {} | {} | {} | {} | structure only: {} |",
            parameters(sizes.parameters),
            cell(published),
            cell("Q8_0"),
            cell("Q4_K_M"),
            cards.join(" | "),
            goldens(model),
        )
        .expect("a line");
    }
    table
}

/// The tables of the document.
fn long_tables() -> String {
    let mut text =
        "| model | type | file | memory, 8,192 tokens | memory, 32,768 tokens |\n|---|---|---|---|---|\n".to_owned();
    for model in models() {
        let mut names = model.names;
        for (form, disk, [short, long]) in &SIZES[model.config].forms {
            let (short, long) = (or_none(*short, gib), or_none(*long, gib));
            writeln!(text, "| {names} | {form} | {} | {short} | {long} |", gib(*disk)).expect("a line");
            names = "";
        }
    }
    text += "\n| longest context in Q4_K_M, cache in f16 | 8 GB | 12 GB | 16 GB | 24 GB |\n|---|---|---|---|---|\n";
    for model in models().filter(|model| !SIZES[model.config].cards.is_empty()) {
        let cards = SIZES[model.config].cards.iter();
        let cards: Vec<String> = cards.map(|(_, longest)| or_none(*longest, |it| thousands(it.into()))).collect();
        writeln!(text, "| {} | {} |", model.names, cards.join(" | ")).expect("a line");
    }
    text
}

/// `LYN_UPDATE=1 cargo test --workspace --test docs` writes them anew.
#[test]
fn the_tables_of_models_are_current() {
    const START: &str = "<!-- models, written by: LYN_UPDATE=1 cargo test --workspace --test docs -->\n";
    const END: &str = "<!-- end of models -->";
    let mut stale = vec![];
    for (file, table) in [("README.md", short_table()), ("docs/models-and-memory.md", long_tables())] {
        let path = root().join(file);
        let text = std::fs::read_to_string(&path).expect(file);
        let (before, rest) = text.split_once(START).unwrap_or_else(|| panic!("{file}: no place for the table"));
        let (kept, after) = rest.split_once(END).unwrap_or_else(|| panic!("{file}: no end of the table"));
        if is_writing() {
            std::fs::write(&path, format!("{before}{START}{table}{END}{after}")).expect(file);
        }
        // Lines of models that are not worked out stand between those that are.
        let mut lines = kept.lines();
        if !is_writing() && !table.lines().all(|line| lines.any(|other| other == line)) {
            stale.push(file);
        }
    }
    assert!(
        stale.is_empty(),
        "{stale:?}: not what the configs come to; run: LYN_UPDATE=1 cargo test --workspace --test docs"
    );
}

/// Oracle: `total_size` of DeepSeek-V2-Lite's index; all files of DeepSeek-V3, whose headers take some MB; GGUF files of others, made
/// by llama.cpp, which hold a tokenizer and give a few matrices other types.
#[test]
fn sizes_are_those_of_published_files() {
    let disk = |model: &str, form: &str| SIZES[model].form(form).expect(form).1;
    assert_eq!(disk("deepseek-v2-lite", "BF16"), 31_412_968_448);
    for (model, form, expected, per_mille) in [
        ("deepseek-v3", "FP8", 688_586_727_753, 1),
        ("deepseek-v3", "Q8_0", 713_290_000_000, 1),
        ("deepseek-v3", "Q4_K_M", 404_430_000_000, 2),
        ("glm-4.7-flash", "Q8_0", 31_840_000_000, 1),
        ("glm-4.7-flash", "Q6_K", 24_830_000_000, 20),
        ("glm-4.7-flash", "Q5_K_M", 21_570_000_000, 20),
        ("glm-4.7-flash", "Q4_K_M", 18_470_000_000, 20),
    ] {
        let found = disk(model, form);
        assert!(found.abs_diff(expected) * 1000 <= expected * per_mille, "{model} {form}: {found}, not {expected}");
    }
    let goldens = MODELS.iter().flat_map(|model| model.goldens);
    for golden in goldens {
        assert!(root().join("tests/data/golden").join(golden).is_dir(), "{golden}");
    }
}
