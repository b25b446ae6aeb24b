//! Speeds of a model on a device, sparse against dense.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, ValueEnum, ValueHint};
use lyn::checkpoint::{Checkpoint, Source};
use lyn::engine::{Attention, Engine, Options};
use lyn::error::{Code, Error, Result, escape, quote};
use lyn::inspect::bench::{self, Report, Row};
use lyn::inspect::synthetic::{self, Synthetic};
use lyn::memory::{CacheType, ContextSize};
use lyn::platform::block_on;
use lyn::quantize::{Conversion, InFlight, Mix};
use serde_json::{Value, json};

use crate::flags::{AttentionArg, CacheTypeArg};
use crate::terminal::StageProgress;
use crate::terminal::progress::Unit;
use crate::terminal::table::table;
use crate::text::{of_file, shown};
use crate::{App, Ended, flags, load, model};

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Prompt lengths to measure
    #[arg(short, long, value_name = "N,…", value_delimiter = ',', default_value = "512")]
    pub(crate) prompt: Vec<u32>,
    /// Answer lengths to measure
    #[arg(short = 'n', long, value_name = "N,…", value_delimiter = ',', default_value = "64")]
    pub(crate) generate: Vec<u32>,
    /// Cached tokens before each test
    #[arg(short, long, value_name = "N,…", value_delimiter = ',', default_value = "0")]
    pub(crate) depth: Vec<u32>,
    /// Attention modes to compare
    #[arg(long, value_name = "MODE,…", value_delimiter = ',', default_value = "sparse,dense")]
    pub(crate) attention: Vec<AttentionArg>,
    /// Runs per test
    #[arg(short, long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) repetitions: u32,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: TableForm,
    /// stories (built in), a folder, a .safetensors or .gguf file, or org/name: see lyn pull
    #[arg(short, long, default_value = "stories", value_hint = ValueHint::AnyPath)]
    pub(crate) model: PathBuf,
    /// Measure a model of random weights: 0.5b, or a config.json
    #[arg(long, value_name = "SIZE", conflicts_with = "model", value_hint = ValueHint::FilePath)]
    pub(crate) synthetic: Option<String>,
    /// Weight types to compare, encoded while loading: stored, or a type of lyn quantize
    #[arg(long = "type", value_name = "TYPE,…", value_delimiter = ',', default_value = "stored", value_parser = weight_type)]
    pub(crate) types: Vec<WeightType>,
    /// Number format of the cache: f32, f16 or fp8; default: f32, or f16 if the context would not fit in f32
    #[arg(long, value_name = "TYPE")]
    pub(crate) cache_type: Option<CacheTypeArg>,
    /// Load even if the memory plan does not fit
    ///
    /// A device that then runs out of memory ends the load with out_of_memory; see: lyn plan
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TableForm {
    Table,
    Md,
    Json,
    Jsonl,
    Csv,
}

/// How weights are on the device: none as the checkpoint has them.
type WeightType = Option<&'static Mix>;

fn weight_type(name: &str) -> std::result::Result<WeightType, String> {
    if name == "stored" {
        Ok(None)
    } else {
        super::quantize::mix(name).map(Some).map_err(|why| why.replace("expected one", "expected stored or one"))
    }
}

/// The model to measure, and what it is called.
fn source(options: &BenchArgs) -> Result<(Arc<dyn Source>, String)> {
    let Some(name) = &options.synthetic else {
        return Ok((model::source(&options.model)?, shown(&options.model)));
    };
    let synthetic = match Synthetic::named(name) {
        Some(named) => named?,
        None if Path::new(name).is_file() => Synthetic::new(&of_file(Path::new(name))?)?,
        None => {
            let known: Vec<&str> = synthetic::names().collect();
            let message = format!("--synthetic: expected {} or a config.json, found {}", known.join(", "), quote(name));
            return Err(super::refuse(message));
        }
    };
    Ok((Arc::new(synthetic), format!("synthetic {}", escape(name))))
}

/// The same model, its weights in a type.
fn in_type(source: &Arc<dyn Source>, weights: WeightType) -> Result<Arc<dyn Source>> {
    let Some(mix) = weights else { return Ok(Arc::clone(source)) };
    let checkpoint = block_on(Checkpoint::open(Arc::clone(source)))?;
    Ok(Arc::new(InFlight::new(block_on(Conversion::new(checkpoint, mix, "bench"))?)))
}

/// Tests of one engine.
struct Measured {
    weights: &'static str,
    report: Report,
}

pub(crate) fn run(app: &App, options: &BenchArgs) -> Ended {
    let longest = options.prompt.iter().chain(&options.generate).max().copied().unwrap_or(0);
    let deepest = options.depth.iter().max().copied().unwrap_or(0);
    let context = ContextSize::Tokens(longest.saturating_add(deepest).saturating_add(1));
    let (source, model) = source(options)?;
    let mut all: Vec<Measured> = Vec::new();
    for &weights in &options.types {
        let source = in_type(&source, weights)?;
        for &attention in &options.attention {
            let engine = Options {
                device: app.device.clone(),
                context,
                cache_type: options.cache_type.map(CacheType::from),
                attention: attention.into(),
                // The engine keeps one for itself.
                sequences: 2,
                memory_bytes: model::available_memory(),
                force: options.force,
                ..Options::default()
            };
            let engine = load::engine_of(app, Arc::clone(&source), &engine)
                .map_err(|error| load::without_context(error, "smaller --prompt, --generate and --depth"))?;
            let report = measure(app, engine, options)?;
            if Attention::from(attention) == Attention::Sparse && report.attention == "dense" {
                app.terminal.note("note: this model has no indexer, so its attention is dense");
            }
            all.push(Measured { weights: weights.map_or("stored", |mix| mix.name), report });
        }
    }
    show(app, options, &model, &all);
    Ok(ExitCode::SUCCESS)
}

/// Every test on an engine, one after another, so that a stop acts between them.
fn measure(app: &App, mut engine: Engine, options: &BenchArgs) -> Result<Report> {
    let _working = app.interrupt.work();
    let mut tests = Vec::new();
    for &depth in &options.depth {
        tests.extend(options.prompt.iter().filter(|&&tokens| tokens > 0).map(|&tokens| (depth, Some(tokens), None)));
        tests.extend(options.generate.iter().filter(|&&tokens| tokens > 0).map(|&tokens| (depth, None, Some(tokens))));
    }
    let mut progress = StageProgress::new(&app.terminal, "measuring", Unit::Pieces);
    let mut whole: Option<Report> = None;
    for (done, (depth, prompt, generate)) in tests.iter().enumerate() {
        if app.interrupt.asked() {
            return Err(Error::new(Code::Cancelled, "stopped"));
        }
        progress.update(done as u64, tests.len() as u64);
        let one = bench::BenchOptions {
            prompts: prompt.iter().copied().collect(),
            generate: generate.iter().copied().collect(),
            depths: vec![*depth],
            repetitions: options.repetitions,
            outside_passes: true,
        };
        let report = block_on(bench::run(&mut engine, &one))?;
        match &mut whole {
            Some(whole) => whole.rows.extend(report.rows),
            None => whole = Some(report),
        }
    }
    whole.ok_or_else(|| super::refuse("nothing to measure: give a length above 0 with -p or -n"))
}

/// A line of the table.
struct Line<'a> {
    weights: &'static str,
    attention: &'static str,
    row: &'a Row,
    /// How many times as fast as dense attention; none for dense itself, or where it was not measured.
    vs_dense: Option<f64>,
    /// How many times as fast as the first type of weights; none for the first itself.
    vs_first: Option<f64>,
}

fn lines(all: &[Measured]) -> Vec<Line<'_>> {
    let speed = |weights: &str, attention: &str, test: &str| {
        let same = all.iter().find(|one| one.weights == weights && one.report.attention == attention)?;
        Some(same.report.rows.iter().find(|row| row.test == test)?.tokens_per_second)
    };
    let first = all.first().map_or("", |one| one.weights);
    let mut lines = vec![];
    for Measured { weights, report } in all {
        for row in &report.rows {
            let attention = report.attention;
            let ratio = |other: Option<f64>| other.map(|other| row.tokens_per_second / other);
            let dense = (attention != "dense").then(|| speed(weights, "dense", &row.test));
            let same = (*weights != first).then(|| speed(first, attention, &row.test));
            let [vs_dense, vs_first] = [dense, same].map(|other| ratio(other.flatten()));
            lines.push(Line { weights, attention, row, vs_dense, vs_first });
        }
    }
    lines
}

fn show(app: &App, options: &BenchArgs, model: &str, all: &[Measured]) {
    let terminal = &app.terminal;
    let Some(first) = all.first().map(|one| &one.report) else { return };
    let lines = lines(all);
    let form = if terminal.json { TableForm::Json } else { options.output };
    if matches!(form, TableForm::Json | TableForm::Jsonl) {
        let documents: Vec<Value> = lines
            .iter()
            .map(|line| {
                let mut document = json!(line.row);
                document["weights"] = json!(line.weights);
                document["attention"] = json!(line.attention);
                document["vs_dense"] = json!(line.vs_dense);
                document["vs_first"] = json!(line.vs_first);
                document
            })
            .collect();
        match form {
            TableForm::Jsonl => documents.iter().for_each(|document| terminal.json_line(document)),
            _ => terminal.document(&json!({
                "schema": "lyn.bench/1", "version": flags::VERSION, "model": model,
                "adapter": first.adapter, "driver": first.driver, "tests": documents,
            })),
        }
        return;
    }
    // Columns that say the same in every line are left out.
    let types = options.types.len() > 1 || options.types != [None];
    let optional = |is_shown: bool, cell: String| is_shown.then_some(cell);
    let ratio = |ratio: Option<f64>| ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2} ×"));
    let header: Vec<&str> = [
        Some("test"),
        types.then_some("weights"),
        Some("attention"),
        Some("tok/s"),
        Some("ms/token"),
        Some("dispatches"),
        Some("µs each"),
        Some("outside passes"),
        Some("vs dense"),
        types.then_some("vs first"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let cells: Vec<Vec<String>> = lines
        .iter()
        .map(|Line { weights, attention, row, vs_dense, vs_first }| {
            [
                Some(row.test.clone()),
                optional(types, (*weights).to_owned()),
                Some((*attention).to_owned()),
                Some(format!("{:.1} ± {:.1}", row.tokens_per_second, row.deviation)),
                Some(format!("{:.2}", row.ms_per_token)),
                Some(row.dispatches.to_string()),
                Some(row.encode_us_per_dispatch.map_or("–".to_owned(), |time| format!("{time:.1}"))),
                Some(row.outside_passes.map_or("–".to_owned(), |share| format!("{:.0} %", share * 100.0))),
                Some(ratio(*vs_dense)),
                optional(types, ratio(*vs_first)),
            ]
            .into_iter()
            .flatten()
            .collect()
        })
        .collect();
    let text = if form == TableForm::Csv {
        std::iter::once(header.join(",")).chain(cells.iter().map(|row| row.join(","))).map(|line| line + "\n").collect()
    } else {
        let numbers = if types { 3 } else { 2 };
        let head = format!(
            "adapter  {} ({})\nmodel    {} · lyn {}\n\n",
            escape(&first.adapter),
            escape(&first.driver),
            model,
            flags::VERSION
        );
        head + &table(&header, &cells, &header[numbers..], form == TableForm::Md)
    };
    terminal.bytes(text.as_bytes());
}
