//! Shows and clears the prefix cache on disk.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueHint};
use lyn::error::Result;
use lyn::memory::bytes;
use serde_json::json;

use super::refuse;
use crate::block_store::{self, Survey};
use crate::settings::blocks_folder;
use crate::terminal::table::{count, facts};
use crate::text::shown;
use crate::{App, Ended};

#[derive(Debug, Subcommand)]
pub(crate) enum CacheAction {
    /// Show the folder, and the number, size and age of its 64-token blocks
    Show(CacheFolder),
    /// Remove every block, and no other file
    Clear(CacheFolder),
}

/// Which cache.
#[derive(Debug, Args)]
pub(crate) struct CacheFolder {
    /// Cache folder; default: lyn/blocks in the system's cache folder
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) cache_dir: Option<PathBuf>,
}

pub(crate) fn run(app: &App, action: CacheAction) -> Ended {
    let (folder, survey, is_cleared) = match action {
        CacheAction::Show(options) => {
            let folder = named(options)?;
            let survey = block_store::survey(&folder)?;
            (folder, survey, false)
        }
        CacheAction::Clear(options) => {
            let folder = named(options)?;
            let survey = block_store::clear(&folder)?;
            (folder, survey, true)
        }
    };
    if app.terminal.json {
        app.terminal.document(&json!({
            "schema": "lyn.cache/1", "folder": folder.to_string_lossy(), "blocks": survey.entries, "bytes": survey.bytes,
            "oldest_seconds": survey.oldest.map(|age| age.as_secs()), "in_use": survey.is_in_use, "cleared": is_cleared,
        }));
    } else if is_cleared {
        let removed = format!("removed {} blocks, {}\n", count(survey.entries), bytes(survey.bytes));
        app.terminal.bytes(removed.as_bytes());
    } else {
        let rows = [
            ("folder", shown(&folder)),
            ("blocks", held(&survey)),
            ("in use", if survey.is_in_use { "yes" } else { "no" }.to_owned()),
        ];
        app.terminal.bytes(facts(&rows).as_bytes());
    }
    if is_cleared && survey.is_in_use {
        app.terminal.warn("cache_in_use", "another process is using this cache and may add blocks again");
    }
    Ok(ExitCode::SUCCESS)
}

fn named(options: CacheFolder) -> Result<PathBuf> {
    let folder = options.cache_dir.or_else(blocks_folder);
    folder.ok_or_else(|| refuse("no cache folder is set; give one with --cache-dir"))
}

fn held(survey: &Survey) -> String {
    let oldest = survey.oldest.map(|age| format!(", oldest last used {} ago", ago(age))).unwrap_or_default();
    format!("{}, {}{oldest}", count(survey.entries), bytes(survey.bytes))
}

/// Roughly how long: `5 min`.
pub(super) fn ago(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_one_unit() {
        let shown = [0, 119, 120, 7199, 7200, 90_000].map(|seconds| ago(Duration::from_secs(seconds)));
        assert_eq!(shown, ["0 s", "119 s", "2 min", "119 min", "2 h", "25 h"]);
    }
}
