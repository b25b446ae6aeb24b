//! Completions for a shell.

use std::process::ExitCode;

use crate::{App, Ended};

pub(crate) fn run(app: &App, shell: clap_complete::Shell) -> Ended {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut app.command(), "lyn", &mut script);
    app.terminal.bytes(&script);
    Ok(ExitCode::SUCCESS)
}
