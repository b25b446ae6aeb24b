//! All that can be said of a model's files without a GPU. Exit code 8 where something is wrong with them.

use std::path::Path;
use std::process::ExitCode;

use lyn::checkpoint::Checkpoint;
use lyn::error::{Code, Error, Result};
use lyn::memory::bytes;
use lyn::platform::block_on;
use lyn::{Engine, Language, Options};
use serde_json::{Value, json};

use super::show::format;
use crate::terminal::StageProgress;
use crate::terminal::progress::Unit;
use crate::terminal::table::{count, table};
use crate::{App, Ended, model, terminal};

struct Check {
    name: &'static str,
    found: Result<String>,
}

pub(crate) fn run(app: &App, model: &Path) -> Ended {
    // A folder that is not there cannot be checked: that is an error, not a finding.
    model::source(model)?;
    let mut checks = Vec::new();
    match model::open(model) {
        Err(error) if error.code() == Code::UnsupportedModel => return Err(error),
        Err(error) => checks.push(Check { name: "names, shapes, types", found: Err(error) }),
        Ok(checkpoint) => {
            let totals = checkpoint.totals(true);
            let tensors = count(checkpoint.tensors().count() as u64);
            let unused = match checkpoint.unused_count {
                0 => String::new(),
                count => format!("; {count} more are not used"),
            };
            let found = format!("{tensors} tensors, {}, all as expected{unused}", bytes(totals.stored_bytes));
            // What a plan cannot lay out, loading cannot either.
            let planned = Engine::plan_for(&checkpoint, None, &Options::default());
            checks.push(Check { name: "names, shapes, types", found: planned.map(|_| found) });
            checks.push(Check { name: "values", found: values(app, &checkpoint)? });
            let text = block_on(Language::open(&checkpoint));
            let found = text.and_then(|text| match &text {
                Some(open) => {
                    open.check_templates()?;
                    let size = count(open.tokenizer().size() as u64);
                    Ok(format!("{size} ids, chat format: {}", format(Some(open))))
                }
                None => Ok("none: the model accepts token ids only".to_owned()),
            });
            checks.push(Check { name: "tokenizer", found });
        }
    }
    let failed: Vec<&Error> = checks.iter().filter_map(|check| check.found.as_ref().err()).collect();
    if app.terminal.json {
        let rows: Vec<Value> = checks.iter().map(row).collect();
        app.terminal.document(&json!({
            "schema": "lyn.verify/1", "model": model.to_string_lossy(), "passed": failed.is_empty(), "checks": rows,
        }));
    } else {
        let rows: Vec<Vec<String>> = checks
            .iter()
            .map(|check| match &check.found {
                Ok(found) => vec!["ok".to_owned(), check.name.to_owned(), found.clone()],
                Err(error) => vec!["FAILED".to_owned(), check.name.to_owned(), error.code().name().to_owned()],
            })
            .collect();
        app.terminal.bytes(table(&["", "check", "found"], &rows, &[], false).as_bytes());
    }
    for error in &failed {
        terminal::error::text(&app.terminal, error);
    }
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(Code::CheckFailed.exit_code()) })
}

/// Reads every value. The outer error is that somebody stopped it.
fn values(app: &App, checkpoint: &Checkpoint) -> Result<Result<String>> {
    let _working = app.interrupt.work();
    let mut shown = StageProgress::new(&app.terminal, "reading values", Unit::Bytes);
    let checked = block_on(checkpoint.check_values(&mut |done, total| {
        shown.update(done, total);
        match app.interrupt.asked() {
            true => Err(Error::new(Code::Cancelled, "stopped")),
            false => Ok(()),
        }
    }));
    match checked {
        Err(error) if error.code() == Code::Cancelled => Err(error),
        checked => Ok(checked.map(|()| "every value and scale of them is a number".to_owned())),
    }
}

fn row(check: &Check) -> Value {
    match &check.found {
        Ok(found) => json!({ "check": check.name, "passed": true, "found": found }),
        Err(error) => json!({ "check": check.name, "passed": false, "error": error.to_json() }),
    }
}
