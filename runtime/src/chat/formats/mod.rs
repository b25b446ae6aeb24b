//! Formats of conversations, a file for each, and the one entry to those that are rendered here.

mod detect;
mod dsml;
mod exp;
mod glm;
mod kimi;
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
use crate::text::Tokenizer;

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

/// How calls are spelled in answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallSyntax {
    /// DeepSeek-V3.1, V3.1-Terminus and V3.2-Exp.
    Exp,
    /// DeepSeek-V3.2.
    Dsml,
    /// GLM-4.5 to GLM-5.
    Glm,
    /// Kimi-K2.
    Kimi,
}

impl From<ChatFormat> for CallSyntax {
    fn from(format: ChatFormat) -> CallSyntax {
        match format {
            ChatFormat::Exp | ChatFormat::V31 => CallSyntax::Exp,
            ChatFormat::Dsml => CallSyntax::Dsml,
        }
    }
}

impl CallSyntax {
    /// How a checkpoint's own template writes calls: the template has what only those of one syntax have, and the tokenizer has
    /// its control tokens.
    fn of_template(template: &str, tokenizer: &Tokenizer) -> Option<CallSyntax> {
        let features = [(CallSyntax::Glm, glm::FEATURE), (CallSyntax::Kimi, kimi::FEATURE)];
        let (syntax, _) = features.into_iter().find(|(_, feature)| template.contains(feature))?;
        syntax.tokens().iter().all(|token| tokenizer.token_id(token).is_some()).then_some(syntax)
    }

    /// What an answer's calls look like.
    pub(super) fn markup(self) -> &'static Markup {
        match self {
            CallSyntax::Exp => &exp::MARKUP,
            CallSyntax::Dsml => &dsml::MARKUP,
            CallSyntax::Glm => &glm::MARKUP,
            CallSyntax::Kimi => &kimi::MARKUP,
        }
    }

    /// The control tokens among the markers.
    pub(crate) fn tokens(self) -> &'static [&'static str] {
        match self {
            CallSyntax::Exp => &exp::TOKENS,
            CallSyntax::Dsml => &[],
            CallSyntax::Glm => &glm::TOKENS,
            CallSyntax::Kimi => &kimi::TOKENS,
        }
    }

    /// Control tokens that begin a turn or a text, or end one: where a model writes one, its own turn is over.
    pub(crate) fn turns(self) -> &'static [&'static str] {
        match self {
            CallSyntax::Exp | CallSyntax::Dsml => &[control::BOS, control::USER, control::ASSISTANT],
            CallSyntax::Glm => &glm::TURNS,
            CallSyntax::Kimi => &kimi::TURNS,
        }
    }

    /// What opens the calls of a turn, wherever it stands.
    pub(super) fn calls_opener(self) -> &'static str {
        match self {
            CallSyntax::Exp => exp::OPENER,
            CallSyntax::Dsml => dsml::OPENER,
            CallSyntax::Glm => glm::OPENER,
            CallSyntax::Kimi => kimi::OPENER,
        }
    }

    /// The same as a part of a grammar, where nothing but calls is written.
    pub(super) fn calls_opening(self, rules: &Rules<'_>) -> Result<String> {
        match self {
            CallSyntax::Dsml => Ok(quote(&format!("\n\n{}", dsml::OPENER))),
            _ => rules.token(self.calls_opener()),
        }
    }

    /// The name of the rule for calls, after what opens them.
    pub(super) fn calls(self, rules: &mut Rules<'_>, tools: &[&ToolSpec], parallel: bool) -> Result<String> {
        let mut each = vec![];
        for (place, tool) in tools.iter().enumerate() {
            let name = format!("call{place}");
            match self {
                CallSyntax::Exp => exp::call_rule(rules, &name, tool)?,
                CallSyntax::Dsml => dsml::call_rule(rules, &name, tool)?,
                CallSyntax::Glm => glm::call_rule(rules, &name, tool)?,
                CallSyntax::Kimi => kimi::call_rule(rules, &name, tool)?,
            }
            each.push(name);
        }
        rules.rule("call", &each.join(" | "));
        let several = if parallel { "call+" } else { "call" };
        let calls = match self {
            CallSyntax::Exp => format!("{several} {}", rules.token(exp::END)?),
            CallSyntax::Dsml => format!("{several} {}", quote(&format!("\n{}", dsml::END))),
            CallSyntax::Kimi => format!("{several} {}", rules.token(kimi::END)?),
            CallSyntax::Glm => glm::calls(rules, "call", parallel)?,
        };
        rules.rule("calls", &calls);
        Ok("calls".to_owned())
    }
}
