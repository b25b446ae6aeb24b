//! Texts of the control tokens. The bars are U+FF5C and the low lines U+2581, never ASCII.

/// Start of every prompt.
pub const BOS: &str = "<｜begin▁of▁sentence｜>";
/// End of every assistant turn; generation stops there.
pub const EOS: &str = "<｜end▁of▁sentence｜>";
/// Begins a user turn.
pub const USER: &str = "<｜User｜>";
/// Begins an assistant turn.
pub const ASSISTANT: &str = "<｜Assistant｜>";
/// Opens a thought.
pub(crate) const THINK: &str = "<think>";
/// Closes a thought, or says that there is none.
pub const END_THINK: &str = "</think>";
/// Opens the calls of a turn (format exp).
pub(crate) const CALLS_BEGIN: &str = "<｜tool▁calls▁begin｜>";
/// Closes the calls of a turn.
pub(crate) const CALLS_END: &str = "<｜tool▁calls▁end｜>";
/// Opens one call: name, [`SEPARATOR`], arguments.
pub(crate) const CALL_BEGIN: &str = "<｜tool▁call▁begin｜>";
/// Closes one call.
pub(crate) const CALL_END: &str = "<｜tool▁call▁end｜>";
/// Opens one result.
pub(crate) const OUTPUT_BEGIN: &str = "<｜tool▁output▁begin｜>";
/// Closes one result.
pub(crate) const OUTPUT_END: &str = "<｜tool▁output▁end｜>";
/// Between the name and the arguments of a call.
pub(crate) const SEPARATOR: &str = "<｜tool▁sep｜>";

/// Before the text that goes before a hole. Not of [`ALL`]: no conversation holds the tokens of holes.
pub const FIM_BEGIN: &str = "<｜fim▁begin｜>";
/// The hole, between the text before it and the text behind it.
pub const FIM_HOLE: &str = "<｜fim▁hole｜>";
/// Behind the text that goes behind a hole; what follows fills it.
pub const FIM_END: &str = "<｜fim▁end｜>";
/// Ends a text that fills a hole, beside [`EOS`].
pub const EOT: &str = "<|EOT|>";

/// All tokens of conversations.
pub const ALL: [&str; 13] = [
    BOS,
    EOS,
    USER,
    ASSISTANT,
    THINK,
    END_THINK,
    CALLS_BEGIN,
    CALLS_END,
    CALL_BEGIN,
    CALL_END,
    OUTPUT_BEGIN,
    OUTPUT_END,
    SEPARATOR,
];
