//! Every kernel against its reference, or the stages of a checkpoint against its golden values.

use std::cell::RefCell;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use lyn::checkpoint::FolderSource;
use lyn::engine::Place;
use lyn::error::{Code, Error, Result, quote};
use lyn::gpu::{CaseRunner, Device, adapter};
use lyn::inspect::conform::{self, KernelReport};
use lyn::inspect::golden;
use lyn::platform::block_on;
use serde_json::{Value, json};

use super::{io_error, refuse};
use crate::terminal::Progress;
use crate::terminal::progress::Unit;
use crate::terminal::table::table;
use crate::{App, Ended, cli};

/// Runs the verb.
pub(crate) fn run(app: &App, options: &cli::Conform) -> Ended {
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

/// A kernel's report with its time.
pub(crate) struct Timed {
    pub(crate) report: KernelReport,
    pub(crate) ms: f64,
}

/// Kernels that `wanted` accepts, on a device, one after another.
///
/// # Errors
/// Faults of the device; `cancelled`.
pub(crate) fn judge(app: &App, device: Device, wanted: impl Fn(&str) -> bool) -> Result<Vec<Timed>> {
    let mut runner = CaseRunner::new(device);
    let names = RefCell::new(Vec::new());
    // Asked for none, the runner names them all.
    block_on(conform::kernels(&mut runner, |name| {
        names.borrow_mut().push(name.to_owned());
        false
    }))?;
    let mut names = names.into_inner();
    names.retain(|name| wanted(name));
    let mut progress = Progress::new(&app.terminal, "kernels", Unit::Pieces);
    let mut reports = Vec::new();
    for (done, name) in names.iter().enumerate() {
        if app.interrupt.asked() {
            return Err(Error::new(Code::Cancelled, "stopped"));
        }
        progress.update(done as u64, names.len() as u64);
        let started = Instant::now();
        let found = block_on(conform::kernels(&mut runner, |other| other == name))?;
        let ms = started.elapsed().as_secs_f64() * 1e3;
        reports.extend(found.into_iter().map(|report| Timed { report, ms }));
    }
    Ok(reports)
}

fn kernels(app: &App, pattern: Option<&str>) -> Result<(Value, bool)> {
    if app.device == "cpu" {
        return Err(refuse("conform compares a GPU with the references; cpu is the references"));
    }
    let adapter = block_on(adapter::choose(&app.device))?;
    let info = adapter.info();
    let device = block_on(Device::open(&adapter, false))?;
    let reports = judge(app, device, |name| pattern.is_none_or(|pattern| glob(pattern, name)))?;
    if reports.is_empty() {
        return Err(refuse(format!("no kernel is named {}", quote(pattern.unwrap_or("*")))));
    }
    let passed = reports.iter().all(|timed| timed.report.failures.is_empty());
    if !app.terminal.json {
        app.terminal
            .bytes(format!("adapter  #{} {} ({}, {})\n", info.index, info.name, info.backend, info.driver).as_bytes());
        app.terminal.bytes(describe(&reports).as_bytes());
    }
    let rows: Vec<Value> = reports
        .iter()
        .map(|Timed { report, ms }| {
            let failures: Vec<_> =
                report.failures.iter().map(|(case, what)| json!({ "case": case, "found": what })).collect();
            let worst = report.worst;
            json!({ "kernel": report.kernel, "cases": report.cases, "worst": worst, "ms": ms, "failures": failures })
        })
        .collect();
    let report = json!({ "schema": "lyn.conform/1", "adapter": info, "passed": passed, "kernels": rows });
    Ok((report, passed))
}

fn describe(reports: &[Timed]) -> String {
    let rows: Vec<Vec<String>> = reports
        .iter()
        .map(|Timed { report, ms }| {
            let failed = report.failures.len();
            let verdict = if failed == 0 { "ok".to_owned() } else { format!("{failed} FAILED") };
            let worst = format!("{:.1} %", report.worst * 100.0);
            vec![report.kernel.to_owned(), report.cases.to_string(), worst, format!("{ms:.0}"), verdict]
        })
        .collect();
    let mut text =
        table(&["kernel", "cases", "worst of bound", "ms", ""], &rows, &["cases", "worst of bound", "ms"], false);
    for Timed { report, .. } in reports {
        for (case, what) in &report.failures {
            text += &format!("{} {case}: {what}\n", report.kernel);
        }
    }
    text
}

fn goldens(app: &App, folders: &[std::path::PathBuf]) -> Result<(Value, bool)> {
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
            let shown = format!("golden   {} on {}\n", folder.display(), report.device);
            app.terminal.bytes(shown.as_bytes());
            app.terminal.bytes(table(&header, &rows, &header[1..4], false).as_bytes());
        }
        reports.push(json!({ "folder": folder, "passed": report.passed(), "report": report }));
    }
    Ok((json!({ "schema": "lyn.conform/1", "passed": passed, "goldens": reports }), passed))
}

fn golden_of(app: &App, folder: &Path) -> Result<golden::GoldenReport> {
    let source = std::sync::Arc::new(FolderSource::new(folder)?);
    block_on(async { golden::run(source, Place::open(&app.device, false).await?).await })
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
