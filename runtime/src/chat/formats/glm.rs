//! Calls of GLM-4.5 to GLM-5: a pair of tags for the name of each argument, another for its value. Conversations are rendered
//! by the checkpoint's own template.
//!
//! A value that is text stands as it is, any other one as JSON, and nothing says which: the function's schema has to. The
//! markers are control tokens. GLM-4.5 and 4.6 put each tag on a line of its own.

use crate::chat::control::END_THINK;
use crate::chat::grammar::lark::quote;
use crate::chat::grammar::parameters::{Name, Spelling, call_parameters};
use crate::chat::grammar::rules::Rules;
use crate::chat::markup::{Markup, Tags};
use crate::chat::shape::ToolSpec;
use crate::error::Result;

/// What opens a call, and ends it.
pub(super) const OPENER: &str = "<tool_call>";
const END: &str = "</tool_call>";
const KEY: &str = "<arg_key>";
const KEY_END: &str = "</arg_key>";
const VALUE: &str = "<arg_value>";
const VALUE_END: &str = "</arg_value>";

/// What calls cannot do without.
pub(super) const TOKENS: [&str; 6] = [OPENER, END, KEY, KEY_END, VALUE, VALUE_END];
/// Tokens that open another turn.
pub(super) const TURNS: [&str; 4] = ["<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"];
/// What only templates of this format hold.
pub(super) const FEATURE: &str = KEY;

/// What an answer's calls look like.
pub(super) static MARKUP: Markup = Markup {
    content: &[END_THINK, "\n\n<tool_call>", "\n<tool_call>", OPENER],
    call: OPENER,
    name_end: &[KEY, END],
    name: |written| (written, None),
    call_end: END,
    block_end: None,
    tags: Some(Tags {
        parameter: KEY,
        name: |tag| (tag.split_once(KEY_END).map_or(tag, |(name, _)| name).trim(), None),
        tag_end: VALUE,
        parameter_end: VALUE_END,
    }),
};

struct Glm;

/// Perhaps a new line: `KEY_END` and `VALUE_END` have one behind them in GLM-4.5.
const BREAK: &str = "\"\\n\"?";

impl Spelling for Glm {
    const END: &'static str = VALUE_END;
    const NEVER: &'static str = "</arg";
    const TELLS_TEXT: bool = false;

    fn open(rules: &Rules<'_>, name: Name<'_>, _: bool, _: bool) -> Result<String> {
        let name = match name {
            Name::Of(name) => quote(name),
            Name::Matching(pattern) => format!("/{pattern}/"),
        };
        let (key, key_end, value) = (rules.token(KEY)?, rules.token(KEY_END)?, rules.token(VALUE)?);
        Ok(format!("{key} {name} {key_end} {BREAK} {value}"))
    }

    fn text(rules: &mut Rules<'_>, name: &str, texts: &str) -> Result<()> {
        let (terminal, end) = (name.to_uppercase(), Glm::close(rules)?);
        // Where it is spelled with other tokens it would end the value too.
        rules.rule(&terminal, &format!("({texts}) & ~/(?s:.*){}(?s:.*)/", VALUE_END.replace('/', "\\/")));
        rules.rule(name, &format!("{terminal} {end}"));
        Ok(())
    }

    fn close(rules: &Rules<'_>) -> Result<String> {
        Ok(format!("{} {BREAK}", rules.token(VALUE_END)?))
    }
}

/// Adds the rule for a call of a function, after what opens it.
pub(super) fn call_rule(rules: &mut Rules<'_>, name: &str, tool: &ToolSpec) -> Result<()> {
    let parameters = call_parameters::<Glm>(rules, name, tool)?;
    let end = rules.token(END)?;
    rules.rule(name, &format!("{} {BREAK} {parameters} {end}", quote(&tool.name)));
    Ok(())
}

/// The rule for calls, after what opens the first one.
pub(super) fn calls(rules: &mut Rules<'_>, call: &str, parallel: bool) -> Result<String> {
    let opener = rules.token(OPENER)?;
    Ok(if parallel { format!("{call} ({BREAK} {opener} {call})*") } else { call.to_owned() })
}
