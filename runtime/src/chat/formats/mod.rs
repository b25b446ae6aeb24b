//! Formats of conversations, a file for each, and the one entry to those that are rendered here.

mod detect;
mod dsml;
mod exp;
pub mod template;

pub use self::detect::{ChatFormat, Detected};
pub(crate) use self::detect::{CheckpointFiles, Templates};
use super::control;
use super::grammar::lark::quote;
use super::grammar::rules::Rules;
use super::markup::Markup;
use super::message::{Conversation, Role, refuse};
use super::prompt::{Prompt, RenderOptions};
use super::shape::ToolSpec;
use crate::error::Result;

/// Renders a conversation.
///
/// ```
/// use lyn::chat::{ChatFormat, Conversation, RenderOptions, encode};
/// let conversation: Conversation = serde_json::from_str(r#"{"messages": [{"role": "user", "content": "Hello"}]}"#)?;
/// let prompt = encode(ChatFormat::Exp, &conversation, RenderOptions::default())?;
/// assert_eq!(prompt.to_string(), "<｜begin▁of▁sentence｜><｜User｜>Hello<｜Assistant｜></think>");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// `bad_request`, with `message_index` in its details where one message is at fault: limits, a result without its call,
/// calls without their results, content that cannot be rendered.
pub fn encode(format: ChatFormat, conversation: &Conversation, options: RenderOptions) -> Result<Prompt> {
    let turns = conversation.turns()?;
    if options.continue_final {
        match turns.last() {
            Some((_, last)) if last.role == Role::Assistant && last.calls().is_empty() => {}
            Some((index, _)) => return Err(refuse(*index, "only an assistant message without calls can be continued")),
            None => {}
        }
    }
    let mut prompt = Prompt::default();
    if options.add_bos {
        prompt.control(control::BOS);
    }
    match format {
        ChatFormat::Exp | ChatFormat::V31 => exp::render(&mut prompt, format, conversation, &turns, options)?,
        ChatFormat::Dsml => dsml::render(&mut prompt, conversation, &turns, options)?,
    }
    if options.continue_final {
        prompt.drop_last_control(control::EOS);
    }
    Ok(prompt)
}

impl ChatFormat {
    /// What an answer's calls look like.
    pub(super) fn markup(self) -> &'static Markup {
        match self {
            ChatFormat::Exp | ChatFormat::V31 => &exp::MARKUP,
            ChatFormat::Dsml => &dsml::MARKUP,
        }
    }

    /// What opens the calls of a turn, wherever it stands.
    pub(super) fn calls_opener(self) -> &'static str {
        match self {
            ChatFormat::Exp | ChatFormat::V31 => exp::OPENER,
            ChatFormat::Dsml => dsml::OPENER,
        }
    }

    /// The same as a part of a grammar, where nothing but calls is written.
    pub(super) fn calls_opening(self, rules: &Rules<'_>) -> Result<String> {
        match self {
            ChatFormat::Exp | ChatFormat::V31 => rules.token(exp::OPENER),
            ChatFormat::Dsml => Ok(quote(&format!("\n\n{}", dsml::OPENER))),
        }
    }

    /// The name of the rule for calls, after what opens them.
    pub(super) fn calls(self, rules: &mut Rules<'_>, tools: &[&ToolSpec], parallel: bool) -> Result<String> {
        let mut each = vec![];
        for (place, tool) in tools.iter().enumerate() {
            let name = format!("call{place}");
            match self {
                ChatFormat::Exp | ChatFormat::V31 => exp::call_rule(rules, &name, tool)?,
                ChatFormat::Dsml => dsml::call_rule(rules, &name, tool)?,
            }
            each.push(name);
        }
        let end = match self {
            ChatFormat::Exp | ChatFormat::V31 => rules.token(exp::END)?,
            ChatFormat::Dsml => quote(&format!("\n{}", dsml::END)),
        };
        rules.rule("call", &each.join(" | "));
        rules.rule("calls", &format!("{} {end}", if parallel { "call+" } else { "call" }));
        Ok("calls".to_owned())
    }
}
