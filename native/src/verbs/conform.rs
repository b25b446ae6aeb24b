//! Every kernel against its reference, or the stages of a checkpoint against its golden values.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueHint};
use lyn::checkpoint::FolderSource;
use lyn::engine::Place;
use lyn::error::{Code, Error, Result, escape, quote};
use lyn::gpu::conform::{self, ConformReport, Failure, KernelReport};
use lyn::gpu::{AdapterInfo, Device, adapter};
use lyn::inspect::golden;
use lyn::platform::block_on;
use serde_json::{Value, json};

use super::refuse;
use crate::terminal::StageProgress;
use crate::terminal::progress::Unit;
use crate::terminal::table::table;
use crate::text::{io_error, shown};
use crate::{App, Ended};

#[derive(Debug, Args)]
pub(crate) struct ConformArgs {
    /// Test only kernels with matching names; * and ? are wildcards
    #[arg(long, value_name = "GLOB")]
    pub(crate) kernel: Option<String>,
    /// Also write the report to FILE, as JSON
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) report: Option<PathBuf>,
    /// Test the stages of a checkpoint against its golden values instead of the kernels; repeatable
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) golden: Vec<PathBuf>,
}

pub(crate) fn run(app: &App, options: &ConformArgs) -> Ended {
    let _working = app.interrupt.work();
    let (report, passed) = if options.golden.is_empty() {
        kernels(app, options.kernel.as_deref())?
    } else {
        goldens(app, &options.golden)?
    };
    if app.terminal.json {
        app.terminal.document(&report);
    }
    if let Some(path) = &options.report {
        std::fs::write(path, format!("{report:#}\n")).map_err(|error| io_error(path, &error))?;
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::from(Code::CheckFailed.exit_code()) })
}

fn kernels(app: &App, pattern: Option<&str>) -> Result<(Value, bool)> {
    if app.device == "cpu" {
        return Err(refuse("conform compares a GPU with the host references, which --device cpu runs"));
    }
    let wanted = |name: &str| pattern.is_none_or(|pattern| glob(pattern, name));
    let total = conform::names().filter(|name| wanted(name)).count() as u64;
    if total == 0 {
        return Err(refuse(format!("no kernel matches {}", quote(pattern.unwrap_or("*")))));
    }
    let device = block_on(async { Device::open(&adapter::choose(&app.device).await?, false).await })?;
    let mut progress = StageProgress::new(&app.terminal, "kernels", Unit::Pieces);
    let mut done = 0;
    let report = block_on(conform::run(device, wanted, &mut |_| {
        done += 1;
        progress.update(done, total);
        !app.interrupt.asked()
    }))?;
    progress.finish();
    if !app.terminal.json {
        app.terminal.bytes(describe(&report).as_bytes());
    }
    Ok((json!(report), report.passed))
}

fn describe(report: &ConformReport) -> String {
    let rows: Vec<Vec<String>> = report
        .kernels
        .iter()
        .map(|KernelReport { kernel, cases, worst, ms, failures }| {
            let failed = failures.len();
            let verdict = if failed == 0 { "ok".to_owned() } else { format!("{failed} FAILED") };
            let worst = format!("{:.1} %", worst * 100.0);
            vec![(*kernel).to_owned(), cases.to_string(), worst, format!("{ms:.0}"), verdict]
        })
        .collect();
    let AdapterInfo { index, name, backend, driver, .. } = &report.adapter;
    let header = ["kernel", "cases", "worst of bound", "ms", ""];
    let mut text = format!("adapter  #{index} {} ({backend}, {})\n", escape(name), escape(driver));
    text += &table(&header, &rows, &header[1..4], false);
    for report in &report.kernels {
        for Failure { case, found } in &report.failures {
            text += &format!("{} {case}: {found}\n", report.kernel);
        }
    }
    text
}

fn goldens(app: &App, folders: &[PathBuf]) -> Result<(Value, bool)> {
    let (mut reports, mut passed) = (Vec::new(), true);
    for folder in folders {
        if app.interrupt.asked() {
            return Err(Error::new(Code::Cancelled, "stopped"));
        }
        let report = golden_of(app, folder)?;
        passed &= report.passed();
        if !app.terminal.json {
            let rows: Vec<Vec<String>> = report
                .stages
                .iter()
                .map(|stage| {
                    let verdict = if stage.passed { "ok".to_owned() } else { format!("FAILED {}", stage.note) };
                    let worst = format!("{:.1} %", stage.worst * 100.0);
                    vec![
                        stage.stage.clone(),
                        stage.compared.to_string(),
                        format!("{:.1e}", stage.error),
                        worst,
                        verdict,
                    ]
                })
                .collect();
            let header = ["stage", "values", "worst error", "of allowed", ""];
            let head = format!("golden   {} on {}\n", shown(folder), escape(&report.device));
            app.terminal.bytes(head.as_bytes());
            app.terminal.bytes(table(&header, &rows, &header[1..4], false).as_bytes());
        }
        reports.push(json!({ "folder": folder.to_string_lossy(), "passed": report.passed(), "report": report }));
    }
    Ok((json!({ "schema": "lyn.conform/1", "passed": passed, "goldens": reports }), passed))
}

fn golden_of(app: &App, folder: &Path) -> Result<golden::GoldenReport> {
    let source = std::sync::Arc::new(FolderSource::new(folder)?);
    block_on(async { golden::run(source, Place::open(&app.device).await?).await })
}

/// Whether a name fits a pattern of `*` (any text) and `?` (any character).
fn glob(pattern: &str, name: &str) -> bool {
    let (Some(first), rest) = ({
        let mut characters = pattern.chars();
        (characters.next(), characters.as_str())
    }) else {
        return name.is_empty();
    };
    match first {
        '*' => name.char_indices().map(|(at, _)| &name[at..]).chain([""]).any(|tail| glob(rest, tail)),
        _ => name.chars().next().is_some_and(|c| (first == '?' || first == c) && glob(rest, &name[c.len_utf8()..])),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn patterns_fit_names() {
        for (pattern, name, fits) in [
            ("linear*", "linear_vec", true),
            ("linear*", "linear", true),
            ("*vec", "linear_vec", true),
            ("l?near", "linear", true),
            ("linear", "linear_vec", false),
            ("?", "", false),
            ("*", "", true),
        ] {
            assert_eq!(super::glob(pattern, name), fits, "{pattern} {name}");
        }
    }
}
