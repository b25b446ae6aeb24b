//! Calls of Kimi-K2: JSON behind the call's id, `functions.NAME:INDEX`, between control tokens. Conversations are rendered by the
//! checkpoint's own template, which tells results by these ids: they go to the client and come back as they are.

use crate::chat::control::END_THINK;
use crate::chat::grammar::json::{Layout, nested};
use crate::chat::grammar::rules::Rules;
use crate::chat::markup::{Markup, Named};
use crate::chat::schema::Schema;
use crate::chat::shape::ToolSpec;
use crate::error::Result;

/// What opens the calls of a turn, and ends them.
pub(super) const OPENER: &str = "<|tool_calls_section_begin|>";
pub(super) const END: &str = "<|tool_calls_section_end|>";
const CALL: &str = "<|tool_call_begin|>";
const ARGUMENTS: &str = "<|tool_call_argument_begin|>";
const CALL_END: &str = "<|tool_call_end|>";

/// What calls cannot do without.
pub(super) const TOKENS: [&str; 5] = [OPENER, END, CALL, ARGUMENTS, CALL_END];
/// Tokens that end a turn or open another.
pub(super) const TURNS: [&str; 4] = ["<|im_end|>", "<|im_user|>", "<|im_assistant|>", "<|im_system|>"];
/// What only templates of this format hold. The first ones have no calls in them.
pub(super) const FEATURE: &str = "<|im_middle|>";

/// What an answer's calls look like.
pub(super) static MARKUP: Markup = Markup {
    content: &[END_THINK, OPENER],
    call: CALL,
    name_end: &[ARGUMENTS],
    name,
    call_end: CALL_END,
    block_end: Some(END),
    tags: None,
};

/// `functions.get_weather:0` is a call of `get_weather`.
fn name(id: &str) -> Named<'_> {
    let id = id.trim();
    let name = id.strip_prefix("functions.").unwrap_or(id);
    let of_index = |(_, index): &(&str, &str)| !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit());
    match name.rsplit_once(':').filter(of_index) {
        Some((name, _)) => (name, Some(id)),
        None => (name, None),
    }
}

/// Adds the rule for a call of a function.
pub(super) fn call_rule(rules: &mut Rules<'_>, name: &str, tool: &ToolSpec) -> Result<()> {
    let schema = rules.arguments(tool)?.unwrap_or_else(Schema::any_object);
    let (begin, separator, end) = (rules.token(CALL)?, rules.token(ARGUMENTS)?, rules.token(CALL_END)?);
    let arguments = nested(&schema, &schema.root, Layout::Flexible)?;
    // Names hold nothing that a pattern gives a meaning to.
    rules.rule(name, &format!("{begin} /functions\\.{}:[0-9]{{1,4}}/ {separator} {arguments} {end}", tool.name));
    Ok(())
}
