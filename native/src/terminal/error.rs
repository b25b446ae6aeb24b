//! How an error looks: code and facts, what to do, where it is documented.

use lyn::Error;
use serde_json::json;

use super::streams::{ERROR, HELP, Terminal};

/// Shows an error on stderr; with `--json` also as the last document of stdout.
pub(crate) fn show(terminal: &Terminal, error: &Error) {
    text(terminal, error);
    if terminal.json {
        terminal.json_line(&json!({ "error": error.to_json() }));
    }
}

/// Shows an error on stderr only.
pub(crate) fn text(terminal: &Terminal, error: &Error) {
    let code = error.code().name();
    let mut text = format!("{ERROR}error[{code}]{ERROR:#}: {}\n", error.message());
    for help in error.help() {
        text += &format!("  {HELP}help{HELP:#}: {help}\n");
    }
    text += &format!("  {HELP}docs{HELP:#}: docs/errors.md#{code}\n");
    terminal.chatter(&text);
}
