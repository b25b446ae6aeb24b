//! The only room that prints. In: text, tables, JSON, errors. Out: bytes on stdout (what was asked for) and stderr (the
//! rest). Never: a colour code in a stream that is not a terminal, or a panic because a pipe was closed.

pub(crate) mod error;
pub(crate) mod progress;
pub(crate) mod streams;
pub(crate) mod table;

pub(crate) use progress::StageProgress;
pub(crate) use streams::Terminal;
