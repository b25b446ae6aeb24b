//! Text to ids, pieces and their count; ids to text.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueHint};
use lyn::Language;
use lyn::error::Result;
use lyn::platform::block_on;
use serde_json::json;

use super::refuse;
use crate::terminal::table::{count, facts};
use crate::{App, Ended, model, text};

#[derive(Debug, Args)]
pub(crate) struct TokenizeArgs {
    /// Text, or ids with --decode; default: stdin
    pub(crate) text: Option<String>,
    /// Convert ids to text
    #[arg(long)]
    pub(crate) decode: bool,
    /// Encode control tokens spelled out in the text as such
    #[arg(long)]
    pub(crate) special: bool,
    /// stories (built in), a folder, a .safetensors or .gguf file, or org/name: see lyn pull
    #[arg(short, long, default_value = "stories", value_hint = ValueHint::AnyPath)]
    pub(crate) model: PathBuf,
}

pub(crate) fn run(app: &App, options: &TokenizeArgs) -> Ended {
    let given = match &options.text {
        Some(text) => text.clone(),
        None if app.terminal.stdin_is_terminal() => {
            return Err(
                refuse("give text as an argument, or pipe it to stdin").with_help("lyn tokenize \"Once upon a time\"")
            );
        }
        None => text::of_stdin()?,
    };
    let language = block_on(Language::open(&model::open(&options.model)?))?;
    let language = language.ok_or_else(lyn::language::no_tokenizer)?;
    let tokenizer = language.tokenizer();
    let ids = if options.decode {
        ids(&given, tokenizer.vocab_size())?
    } else {
        tokenizer.encode(&given, options.special)?
    };
    let pieces: Vec<String> =
        ids.iter().map(|&id| String::from_utf8_lossy(tokenizer.piece_bytes(id)).into_owned()).collect();
    if app.terminal.json {
        app.terminal.document(&json!({
            "schema": "lyn.tokenize/1", "count": ids.len(), "ids": ids, "pieces": pieces, "text": tokenizer.decode(&ids),
        }));
    } else if options.decode {
        app.terminal.data(&tokenizer.decode(&ids));
        if app.terminal.stdout_is_terminal() {
            app.terminal.data("\n");
        }
    } else {
        let joined: Vec<_> = ids.iter().map(u32::to_string).collect();
        let pieces: Vec<_> = pieces.iter().map(|piece| piece.escape_debug().to_string()).collect();
        let rows = [("ids", joined.join(" ")), ("pieces", pieces.join("│")), ("count", count(ids.len() as u64))];
        app.terminal.bytes(facts(&rows).as_bytes());
    }
    Ok(ExitCode::SUCCESS)
}

/// Numbers with anything but digits between them, such as `[1, 2]`.
fn ids(text: &str, vocab_size: u32) -> Result<Vec<u32>> {
    let words = text.split(|c: char| c.is_whitespace() || matches!(c, ',' | '[' | ']')).filter(|word| !word.is_empty());
    let parsed = words.map(|word| {
        let id = word.parse().ok().filter(|&id| id < vocab_size);
        id.ok_or_else(|| {
            refuse(format!("{} is not a token id: expected 0 to {}", lyn::error::quote(word), vocab_size - 1))
        })
    });
    parsed.collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn ids_are_read_in_any_list() {
        assert_eq!(super::ids("[1, 2]\n3,4", 5).unwrap(), [1, 2, 3, 4]);
        assert!(super::ids("1 5", 5).is_err());
        assert!(super::ids("-1", 5).is_err());
    }
}
