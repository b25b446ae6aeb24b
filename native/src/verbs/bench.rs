//! Speeds of a model on a device, sparse against dense.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum, ValueHint};
use lyn::engine::{Attention, Engine, Options};
use lyn::error::{Code, Error, Result, escape};
use lyn::inspect::bench::{self, Report, Row};
use lyn::memory::{CacheType, ContextSize};
use lyn::platform::block_on;
use serde_json::{Value, json};

use crate::flags::{AttentionArg, CacheTypeArg};
use crate::terminal::StageProgress;
use crate::terminal::progress::Unit;
use crate::terminal::table::table;
use crate::text::shown;
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

pub(crate) fn run(app: &App, options: &BenchArgs) -> Ended {
    let longest = options.prompt.iter().chain(&options.generate).max().copied().unwrap_or(0);
    let deepest = options.depth.iter().max().copied().unwrap_or(0);
    let context = ContextSize::Tokens(longest.saturating_add(deepest).saturating_add(1));
    let mut reports: Vec<Report> = Vec::new();
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
        let engine = load::engine(app, &options.model, &engine)?;
        let report = measure(app, engine, options)?;
        if Attention::from(attention) == Attention::Sparse && report.attention == "dense" {
            app.terminal.note("note: this model has no indexer, so its attention is dense");
        }
        reports.push(report);
    }
    show(app, options, &reports);
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

/// How many times as fast as dense attention; none for dense itself, or where it was not measured.
fn against_dense(row: &Row, attention: &str, reports: &[Report]) -> Option<f64> {
    let dense = reports.iter().find(|report| report.attention == "dense").filter(|_| attention != "dense")?;
    let same = dense.rows.iter().find(|other| other.test == row.test)?;
    Some(row.tokens_per_second / same.tokens_per_second)
}

fn show(app: &App, options: &BenchArgs, reports: &[Report]) {
    let terminal = &app.terminal;
    let Some(first) = reports.first() else { return };
    let rows: Vec<(&str, &Row, Option<f64>)> = reports
        .iter()
        .flat_map(|report| report.rows.iter().map(|row| (report.attention, row)))
        .map(|(attention, row)| (attention, row, against_dense(row, attention, reports)))
        .collect();
    let form = if terminal.json { TableForm::Json } else { options.output };
    if matches!(form, TableForm::Json | TableForm::Jsonl) {
        let documents: Vec<Value> = rows
            .iter()
            .map(|(attention, row, ratio)| {
                let mut document = json!(row);
                document["attention"] = json!(attention);
                document["vs_dense"] = json!(ratio);
                document
            })
            .collect();
        match form {
            TableForm::Jsonl => documents.iter().for_each(|document| terminal.json_line(document)),
            _ => terminal.document(&json!({
                "schema": "lyn.bench/1", "version": flags::VERSION, "model": options.model.to_string_lossy(),
                "adapter": first.adapter, "driver": first.driver, "tests": documents,
            })),
        }
        return;
    }
    let header = ["test", "attention", "tok/s", "ms/token", "dispatches", "µs each", "outside passes", "vs dense"];
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|(attention, row, ratio)| {
            vec![
                row.test.clone(),
                (*attention).to_owned(),
                format!("{:.1} ± {:.1}", row.tokens_per_second, row.deviation),
                format!("{:.2}", row.ms_per_token),
                row.dispatches.to_string(),
                row.encode_us_per_dispatch.map_or("–".to_owned(), |time| format!("{time:.1}")),
                row.outside_passes.map_or("–".to_owned(), |share| format!("{:.0} %", share * 100.0)),
                ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2} ×")),
            ]
        })
        .collect();
    let text = if form == TableForm::Csv {
        std::iter::once(header.join(",")).chain(cells.iter().map(|row| row.join(","))).map(|line| line + "\n").collect()
    } else {
        let head = format!(
            "adapter  {} ({})\nmodel    {} · lyn {}\n\n",
            escape(&first.adapter),
            escape(&first.driver),
            shown(&options.model),
            flags::VERSION
        );
        head + &table(&header, &cells, &header[2..], form == TableForm::Md)
    };
    terminal.bytes(text.as_bytes());
}
