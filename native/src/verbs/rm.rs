//! Removes a model from the cache of the Hub, after a question.

use std::process::ExitCode;

use clap::Args;
use lyn::error::{Code, Error};
use lyn::memory::bytes;
use serde_json::json;

use super::refuse;
use crate::hub::prune::Removal;
use crate::hub::{HubName, surroundings};
use crate::{App, Ended};

#[derive(Debug, Args)]
pub(crate) struct RmArgs {
    #[arg(value_name = "NAME", help = "A name as lyn list shows it; without a quantisation, all of the repository")]
    pub(crate) name: String,
    /// Remove without asking
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// Runs the verb. Errors: `model_not_found` where there is nothing of that name; `bad_request` where nobody can be asked.
pub(crate) fn run(app: &App, options: &RmArgs) -> Ended {
    let name = HubName::parse(&options.name)?;
    let removal = surroundings::cache().map(|cache| Removal::of(&cache, &name)).transpose()?.flatten();
    let removal = removal.ok_or_else(|| {
        Error::new(Code::ModelNotFound, format!("{name} is not in the cache")).with_help("see: lyn list")
    })?;
    let free = removal.bytes;
    if !options.yes {
        if !app.terminal.stdin_is_terminal() || !app.terminal.stderr_is_terminal() {
            return Err(
                refuse(format!("{name}: nobody can be asked whether to remove {}", bytes(free))).with_help("add --yes")
            );
        }
        if !app.terminal.confirms(&format!("Remove {name}, {}?", bytes(free))) {
            return Ok(ExitCode::SUCCESS);
        }
    }
    removal.run()?;
    if app.terminal.json {
        app.terminal.document(&json!({ "schema": "lyn.rm/1", "name": name.to_string(), "bytes": free }));
    } else {
        app.terminal.bytes(format!("removed {name}, {}\n", bytes(free)).as_bytes());
    }
    Ok(ExitCode::SUCCESS)
}
