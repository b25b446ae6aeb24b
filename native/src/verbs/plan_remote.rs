//! Plans of models on the Hub, by their headers: of one as of any other, of several quantisations as a table.

use std::path::Path;
use std::process::ExitCode;

use lyn::checkpoint::Checkpoint;
use lyn::engine::{Engine, Options};
use lyn::error::{Code, Error, Result, escape};
use lyn::gpu::AdapterInfo;
use lyn::memory::{ContextSize, Fit, Plan, bytes};
use serde_json::{Value, json};

use super::place::place;
use super::pull::absent;
use super::pull::order::OnHub;
use crate::terminal::StageProgress;
use crate::terminal::progress::Unit;
use crate::terminal::table::{count, table};
use crate::{App, Ended, model};

/// Most quantisations that are planned.
const ROWS: usize = 40;

/// What is to be planned.
pub(super) enum Planning {
    One(Box<Checkpoint>),
    /// A repository of several quantisations, none of which is named.
    Several(Box<OnHub>),
}

impl Planning {
    /// A config alone, headers on this machine, else on the Hub. Errors: as of all of them.
    pub(super) fn read(app: &App, model: &Path) -> Result<Planning> {
        if let Some(described) = model::described(model)? {
            return Ok(Planning::One(Box::new(described)));
        }
        let Some(name) = absent(model)? else { return Ok(Planning::One(Box::new(model::open(model)?))) };
        let on_hub = OnHub::look(app, &name)?;
        if name.wanted().is_none() && on_hub.models.weights.is_none() && on_hub.models.quantisations.len() > 1 {
            return Ok(Planning::Several(Box::new(on_hub)));
        }
        let order = on_hub.order(app)?;
        Ok(Planning::One(Box::new(on_hub.checkpoint(order.gguf.as_deref())?)))
    }
}

/// A quantisation, and its plan or why there is none.
struct Row<'a> {
    label: &'a str,
    bytes: u64,
    found: Result<(Plan, Option<u32>)>,
}

/// A table of quantisations: what is downloaded, what is needed, and the longest context that fits.
pub(super) fn run(app: &App, on_hub: &OnHub, device: Option<&AdapterInfo>, wanted: &Options) -> Ended {
    let mut rows = vec![];
    let mut progress = StageProgress::new(&app.terminal, "reading headers", Unit::Pieces);
    for quantisation in on_hub.models.quantisations.iter().take(ROWS) {
        progress.update(rows.len() as u64, on_hub.models.quantisations.len() as u64);
        let found = on_hub.checkpoint(quantisation.parts.first().map(String::as_str)).and_then(|checkpoint| {
            let plan = Engine::plan_for(&checkpoint, device, wanted)?;
            let longest = longest(&checkpoint, device, wanted)?;
            Ok((plan, longest))
        });
        if let Err(error) = &found
            && matches!(error.code(), Code::Network | Code::Unauthorized | Code::Cancelled)
        {
            return Err(error.clone());
        }
        rows.push(Row { label: &quantisation.label, bytes: quantisation.bytes, found });
    }
    progress.finish();
    let device = place(device);
    if app.terminal.json {
        let name = on_hub.name.to_string();
        let rows: Vec<Value> = rows.iter().map(document).collect();
        app.terminal
            .document(&json!({ "schema": "lyn.plan/1", "model": name, "device": device, "quantisations": rows }));
    } else {
        let header = ["quantisation", "download", "memory", "context", "longest context", "verdict"];
        let cells: Vec<Vec<String>> = rows.iter().map(cells).collect();
        let free = rows.iter().find_map(|row| row.found.as_ref().ok()?.0.available_bytes);
        let free = free.map_or(String::new(), |free| format!(", {} free", bytes(free)));
        let table = table(&header, &cells, &header[1..5], false);
        app.terminal.bytes(format!("{} on {device}{free}\n\n{table}", on_hub.name).as_bytes());
    }
    let fits = |row: &Row| row.found.as_ref().is_ok_and(|(plan, _)| plan.fit != Fit::DoesNotFit);
    let code = if rows.iter().any(fits) { ExitCode::SUCCESS } else { ExitCode::from(Code::OutOfMemory.exit_code()) };
    Ok(code)
}

/// The longest context that fits; none where none does, or where nobody knows.
fn longest(checkpoint: &Checkpoint, device: Option<&AdapterInfo>, wanted: &Options) -> Result<Option<u32>> {
    let plan = Engine::plan_for(checkpoint, device, &Options { context: ContextSize::Max, ..wanted.clone() })?;
    Ok(match plan.fit {
        Fit::Fits | Fit::Tight => Some(plan.context),
        Fit::DoesNotFit => plan.fitting_context,
        Fit::Unknown => None,
    })
}

fn cells(row: &Row) -> Vec<String> {
    let (label, download) = (escape(row.label), bytes(row.bytes));
    let tokens = |tokens: u32| count(tokens.into());
    match &row.found {
        Ok((plan, longest)) => {
            let verdict = match plan.fit {
                Fit::Fits => "FITS",
                Fit::Tight => "TIGHT",
                Fit::DoesNotFit => "DOES NOT FIT",
                Fit::Unknown => "UNKNOWN",
            };
            let longest = longest.map_or_else(|| "–".to_owned(), tokens);
            vec![label, download, bytes(plan.total_bytes), tokens(plan.context), longest, verdict.to_owned()]
        }
        Err(error) => {
            let none = || "–".to_owned();
            vec![label, download, none(), none(), none(), refusal(error)]
        }
    }
}

/// Why one cannot be planned, in a few words.
fn refusal(error: &Error) -> String {
    let message: String = error.message().chars().take(80).collect();
    format!("{}: {message}", error.code().name())
}

fn document(row: &Row) -> Value {
    match &row.found {
        Ok((plan, longest)) => {
            json!({ "quantisation": row.label, "download_bytes": row.bytes, "plan": plan, "longest_context": longest })
        }
        Err(error) => json!({ "quantisation": row.label, "download_bytes": row.bytes, "error": error.to_json() }),
    }
}
