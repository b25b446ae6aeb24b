//! Settings: every value with where it came from.

use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;
use lyn::error::escape_whole;
use serde_json::{Value, json};

use crate::settings::{option_key, options, shown};
use crate::terminal::table::table;
use crate::{App, Ended};

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum ConfigAction {
    /// Show every value and its source: environment, settings file or default
    Show,
    /// Print the path of the settings file
    Path,
}

pub(crate) fn run(app: &App, action: ConfigAction) -> Ended {
    let path = app.settings.path.as_deref();
    match action {
        ConfigAction::Path if app.terminal.json => {
            app.terminal.document(&json!({ "schema": "lyn.config/1", "path": path.map(Path::to_string_lossy) }))
        }
        ConfigAction::Path => app.terminal.bytes(format!("{}\n", shown(path)).as_bytes()),
        ConfigAction::Show => show(app),
    }
    Ok(ExitCode::SUCCESS)
}

struct Row {
    verb: String,
    key: String,
    value: Option<String>,
    source: &'static str,
}

fn show(app: &App) {
    let command = app.settings.apply(app.command());
    let mut rows = Vec::new();
    let common = std::iter::once(("", &command));
    let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set()).map(|verb| (verb.get_name(), verb));
    for (verb, command) in common.chain(verbs) {
        for option in options(command) {
            let key = option_key(option);
            let joined = |values: &[clap::builder::OsStr]| {
                let values: Vec<_> = values.iter().map(|value| value.to_string_lossy()).collect();
                (!values.is_empty()).then(|| values.join(","))
            };
            let environment = option.get_env().and_then(std::env::var_os);
            let (value, source) = match environment {
                Some(value) => (Some(value.to_string_lossy().into_owned()), "environment"),
                None if app.settings.sets(verb, &key) => (joined(option.get_default_values()), "settings"),
                None => (joined(option.get_default_values()), "default"),
            };
            rows.push(Row { verb: verb.to_owned(), key, value, source });
        }
    }
    if app.terminal.json {
        let values: Vec<Value> = rows
            .iter()
            .map(|row| json!({ "verb": row.verb, "key": row.key, "value": row.value, "source": row.source }))
            .collect();
        return app.terminal.document(&json!({
            "schema": "lyn.config/1", "path": app.settings.path.as_deref().map(Path::to_string_lossy), "values": values,
        }));
    }
    let cells = rows.into_iter().map(|row| {
        let verb = if row.verb.is_empty() { "every verb".to_owned() } else { row.verb };
        let value = row.value.map_or_else(|| "–".to_owned(), |value| escape_whole(&value));
        vec![verb, row.key, value, row.source.to_owned()]
    });
    let cells: Vec<_> = cells.collect();
    app.terminal.bytes(table(&["verb", "key", "value", "from"], &cells, &[], false).as_bytes());
}
