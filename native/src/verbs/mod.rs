//! One file for each verb: input → runtime → output.

pub(crate) mod bench;
pub(crate) mod cache;
pub(crate) mod chat;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod conform;
pub(crate) mod devices;
pub(crate) mod docs;
pub(crate) mod doctor;
pub(crate) mod generate;
pub(crate) mod man;
pub(crate) mod plan;
pub(crate) mod serve;
pub(crate) mod show;
pub(crate) mod tokenize;
pub(crate) mod verify;

use std::path::Path;

use lyn::error::{Code, Error, Result, quote};

/// A file of the user's that cannot be read or written.
pub(crate) fn io_error(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Code::Io, format!("{}: {error}", quote(&path.to_string_lossy())))
}

/// A request that cannot be honoured.
pub(crate) fn refuse(message: impl Into<String>) -> Error {
    Error::new(Code::BadRequest, message)
}

/// All of stdin, as text.
///
/// # Errors
/// `bad_request` where it is not UTF-8, `io` where it cannot be read.
pub(crate) fn stdin_text() -> Result<String> {
    std::io::read_to_string(std::io::stdin().lock()).map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidData => refuse("stdin: expected UTF-8 text"),
        _ => Error::new(Code::Io, format!("stdin: {error}")),
    })
}

/// A file of the user's, as text.
///
/// # Errors
/// `bad_request` where it is not UTF-8, `io` where it cannot be read.
pub(crate) fn file_text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidData => refuse(format!("{}: expected UTF-8 text", quote(&path.to_string_lossy()))),
        _ => io_error(path, &error),
    })
}

/// A file's text in a fence with its name, longer than any fence inside.
pub(crate) fn fenced(path: &Path, text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!("{name}:\n{fence}\n{}\n{fence}", text.trim_end_matches('\n'))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_fence_is_longer_than_those_inside() {
        let fenced = super::fenced(std::path::Path::new("a/b.md"), "x\n````\ny\n");
        assert_eq!(fenced, "b.md:\n`````\nx\n````\ny\n`````");
        assert_eq!(super::fenced(std::path::Path::new("c"), "z"), "c:\n```\nz\n```");
    }
}
