//! The models in the cache of the Hub.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use lyn::checkpoint::CONFIG_FILE;
use lyn::error::escape;
use lyn::memory::bytes;
use serde_json::{Value, json};

use super::cache::ago;
use crate::hub::cache::{Repository, repositories};
use crate::hub::prune::incomplete_bytes;
use crate::hub::{HubName, surroundings};
use crate::terminal::table::table;
use crate::text::shown;
use crate::{App, Ended};

/// A longer config is not read for a word about its weights.
const CONFIG_BYTES: u64 = 1 << 20;

/// A model of the cache, or what has come of one.
struct Row {
    name: String,
    quantisation: String,
    bytes: u64,
    used: Option<SystemTime>,
    /// None for what is incomplete.
    path: Option<PathBuf>,
}

pub(crate) fn run(app: &App) -> Ended {
    let cache = surroundings::cache().ok_or_else(surroundings::no_cache)?;
    let rows: Vec<Row> = repositories(&cache).iter().flat_map(|name| rows(&cache, name)).collect();
    if app.terminal.json {
        let models: Vec<Value> = rows.iter().map(document).collect();
        app.terminal.document(&json!({ "schema": "lyn.list/1", "cache": cache.to_string_lossy(), "models": models }));
    } else if rows.is_empty() {
        app.terminal.note(&format!("no models in {}; get one with: lyn pull org/name", shown(&cache)));
    } else {
        let now = SystemTime::now();
        let used = |row: &Row| {
            let age = row.used.map(|used| now.duration_since(used).unwrap_or_default());
            age.map_or_else(|| "–".to_owned(), |age| format!("{} ago", ago(age)))
        };
        let cells: Vec<Vec<String>> = rows
            .iter()
            .map(|row| vec![row.name.clone(), row.quantisation.clone(), bytes(row.bytes), used(row)])
            .collect();
        app.terminal.bytes(table(&["name", "quantisation", "size", "last used"], &cells, &["size"], false).as_bytes());
    }
    Ok(ExitCode::SUCCESS)
}

/// The models of a repository, one a row.
fn rows(cache: &Path, name: &HubName) -> Vec<Row> {
    let repository = Repository::new(cache, name);
    let current = repository.commit(name);
    let mut rows = vec![];
    for commit in repository.commits() {
        let (models, folder) = (repository.models(&commit), repository.snapshot(&commit));
        // What only an older commit has is found by the name alone; what both have, by the older one's commit.
        let is_shadowed = |wanted: Option<&str>| {
            current.as_ref().filter(|current| **current != commit).is_some_and(|current| {
                let newer = repository.models(current);
                wanted.map_or(newer.weights.is_some(), |wanted| !newer.named(wanted).is_empty())
            })
        };
        let named = |wanted: Option<&str>| {
            let name = name.with_wanted(wanted);
            let name = if is_shadowed(wanted) { name.with_revision(&commit) } else { name };
            escape(&name.to_string())
        };
        if models.weights.is_some() {
            let files: Vec<(String, u64)> = repository.files(&commit);
            let files: Vec<(String, u64)> = files.into_iter().filter(|(path, _)| !path.ends_with(".gguf")).collect();
            rows.push(Row {
                name: named(None),
                quantisation: stored_as(&folder),
                bytes: files.iter().map(|(_, size)| *size).fold(0, u64::saturating_add),
                used: last_use(&folder, files.iter().map(|(path, _)| path)),
                path: Some(folder.clone()),
            });
        }
        for found in &models.quantisations {
            let same = models.quantisations.iter().filter(|other| other.label == found.label).count();
            let first = found.parts.first();
            let wanted = if same == 1 { Some(&found.label) } else { first };
            rows.push(Row {
                name: named(wanted.map(String::as_str)),
                quantisation: escape(&found.label),
                bytes: found.bytes,
                used: last_use(&folder, found.parts.iter()),
                path: first.map(|first| folder.join(first)),
            });
        }
    }
    let incomplete = incomplete_bytes(cache, name);
    if incomplete > 0 {
        let name = escape(&name.to_string());
        rows.push(Row { name, quantisation: "incomplete".to_owned(), bytes: incomplete, used: None, path: None });
    }
    rows
}

/// When one of these files was read last, as far as the file system notes it.
fn last_use<'a>(folder: &Path, files: impl Iterator<Item = &'a String>) -> Option<SystemTime> {
    files.filter_map(|file| folder.join(file).metadata().ok()?.accessed().ok()).max()
}

/// What a config says of its weights: a way of quantisation, or a type.
fn stored_as(folder: &Path) -> String {
    let config = folder.join(CONFIG_FILE);
    let is_short = config.metadata().is_ok_and(|file| file.len() <= CONFIG_BYTES);
    let config = is_short
        .then(|| fs::read(config).ok())
        .flatten()
        .and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let config = config.unwrap_or_default();
    let told = [&config["quantization_config"]["quant_method"], &config["torch_dtype"], &config["dtype"]];
    told.iter().find_map(|value| value.as_str()).map_or_else(|| "–".to_owned(), escape)
}

fn document(row: &Row) -> Value {
    let used = row.used.and_then(|used| used.duration_since(UNIX_EPOCH).ok()).map(|used| used.as_secs());
    json!({
        "name": row.name, "quantisation": row.quantisation, "bytes": row.bytes, "last_used": used,
        "path": row.path.as_ref().map(|path| path.to_string_lossy()), "complete": row.path.is_some(),
    })
}
