//! Format "exp": V3.1, V3.1-Terminus and V3.2-Exp.
//!
//! Systems are hoisted to the front. Earlier thoughts are never rendered, while `</think>` stays in every past turn. No
//! white space is ever added. Calls are marked by control tokens, their arguments are JSON.

use serde_json::Value;

use super::detect::ChatFormat;
use crate::chat::control::{
    ASSISTANT, CALL_BEGIN, CALL_END, CALLS_BEGIN, CALLS_END, END_THINK, EOS, OUTPUT_BEGIN, OUTPUT_END, SEPARATOR,
    THINK, USER,
};
use crate::chat::grammar::json::{Layout, nested};
use crate::chat::grammar::lark::quote;
use crate::chat::grammar::rules::Rules;
use crate::chat::json::spaced;
use crate::chat::markup::Markup;
use crate::chat::message::{Conversation, Message, Role, Tool};
use crate::chat::prompt::{Prompt, RenderOptions};
use crate::chat::schema::Schema;
use crate::chat::shape::ToolSpec;
use crate::error::Result;

const TOOLS_HEAD: &str = include_str!("preambles/exp_tools_head.txt");
const TOOLS_TAIL: &str = include_str!("preambles/exp_tools_tail.txt");

/// What opens the calls of a turn, and ends them.
pub(super) const OPENER: &str = CALLS_BEGIN;
pub(super) const END: &str = CALLS_END;

/// What calls cannot do without.
pub(super) const TOKENS: [&str; 5] = [CALLS_BEGIN, CALLS_END, CALL_BEGIN, CALL_END, SEPARATOR];

/// What an answer's calls look like.
pub(super) static MARKUP: Markup = Markup {
    content: &[END_THINK, CALLS_BEGIN],
    call: CALL_BEGIN,
    name_end: &[SEPARATOR],
    name: |name| (name, None),
    call_end: CALL_END,
    block_end: Some(CALLS_END),
    tags: None,
};

/// What the turn to come follows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    Systems,
    User,
    Assistant,
    Result,
}

pub(super) fn render(
    prompt: &mut Prompt,
    format: ChatFormat,
    conversation: &Conversation,
    turns: &[(usize, &Message)],
    options: RenderOptions,
) -> Result<()> {
    render_systems(prompt, conversation.tools(), turns)?;
    let mut after = After::Systems;
    let mut any_prefix = false;
    for (place, &(index, message)) in turns.iter().enumerate() {
        let continued = options.continue_final && Some(place) == turns.len().checked_sub(1);
        let text = message.text_or_empty(index)?;
        after = match message.role {
            Role::System | Role::Developer => after,
            Role::User => {
                prompt.control(USER);
                prompt.text(&text);
                After::User
            }
            Role::Assistant if message.calls().is_empty() => {
                let prefix = continued || message.prefix == Some(true);
                any_prefix |= prefix;
                if after == After::User {
                    prompt.control(ASSISTANT);
                    prompt.control(if prefix && options.thinking { THINK } else { END_THINK });
                }
                // An inline thought goes, but not from text that follows results: so the template has it.
                let answer =
                    text.split_once(END_THINK).filter(|_| after != After::Result).map_or(&*text, |(_, answer)| answer);
                prompt.text(answer);
                prompt.control(EOS);
                After::Assistant
            }
            Role::Assistant => {
                if after == After::User || (after == After::Systems && format == ChatFormat::Exp) {
                    prompt.control(ASSISTANT);
                    prompt.control(END_THINK);
                }
                prompt.text(&text);
                render_calls(prompt, message);
                After::Assistant
            }
            Role::Tool => {
                prompt.control(OUTPUT_BEGIN);
                prompt.text(&text);
                prompt.control(OUTPUT_END);
                After::Result
            }
        };
    }
    // After a result the model goes on in the same assistant turn.
    let opens = match after {
        After::User => true,
        After::Systems => format == ChatFormat::Exp,
        After::Assistant => format == ChatFormat::Exp && !any_prefix,
        After::Result => false,
    };
    if opens && options.add_generation_prompt && !options.continue_final {
        prompt.control(ASSISTANT);
        prompt.control(if options.thinking { THINK } else { END_THINK });
    }
    Ok(())
}

fn render_systems(prompt: &mut Prompt, tools: &[Tool], turns: &[(usize, &Message)]) -> Result<()> {
    let systems = turns.iter().filter(|(_, message)| matches!(message.role, Role::System | Role::Developer));
    for (count, (index, message)) in systems.enumerate() {
        prompt.text(if count == 0 { "" } else { "\n\n" });
        prompt.text(&message.text_or_empty(*index)?);
    }
    if tools.is_empty() {
        return Ok(());
    }
    prompt.text("\n\n");
    prompt.trusted(TOOLS_HEAD);
    for tool in tools {
        let description = tool.field("description").and_then(Value::as_str).unwrap_or_default();
        let parameters = tool.field("parameters").map_or_else(|| "{}".to_owned(), spaced);
        let name = tool.name();
        prompt.text(&format!("\n### {name}\nDescription: {description}\n\nParameters: {parameters}\n"));
    }
    prompt.trusted(TOOLS_TAIL);
    Ok(())
}

fn render_calls(prompt: &mut Prompt, message: &Message) {
    prompt.control(CALLS_BEGIN);
    for call in message.calls() {
        prompt.control(CALL_BEGIN);
        prompt.text(&call.function.name);
        prompt.control(SEPARATOR);
        prompt.text(&call.function.arguments_text());
        prompt.control(CALL_END);
    }
    prompt.control(CALLS_END);
    prompt.control(EOS);
}

/// Adds the rule for a call of a function.
pub(super) fn call_rule(rules: &mut Rules<'_>, name: &str, tool: &ToolSpec) -> Result<()> {
    let schema = rules.arguments(tool)?.unwrap_or_else(Schema::any_object);
    let (begin, separator, end) = (rules.token(CALL_BEGIN)?, rules.token(SEPARATOR)?, rules.token(CALL_END)?);
    let arguments = nested(&schema, &schema.root, Layout::Flexible)?;
    rules.rule(name, &format!("{begin} {} {separator} {arguments} {end}", quote(&tool.name)));
    Ok(())
}
