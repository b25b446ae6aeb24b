//! One file for each verb: input → runtime → output.

pub(crate) mod bench;
pub(crate) mod cache;
pub(crate) mod chat;
pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod conform;
pub(crate) mod devices;
pub(crate) mod docs;
pub(crate) mod doctor;
pub(crate) mod generate;
pub(crate) mod list;
pub(crate) mod man;
mod place;
pub(crate) mod plan;
mod plan_remote;
pub(crate) mod pull;
pub(crate) mod quantize;
pub(crate) mod rm;
pub(crate) mod serve;
pub(crate) mod show;
pub(crate) mod tokenize;
pub(crate) mod verify;

use std::path::Path;

use lyn::error::{Code, Error};

/// A request that cannot be honoured.
pub(crate) fn refuse(message: impl Into<String>) -> Error {
    Error::new(Code::BadRequest, message)
}

/// A file's text in a fence with its name, longer than any fence inside.
pub(crate) fn fenced(path: &Path, text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let name = crate::text::shown(path.file_name().unwrap_or_default());
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
