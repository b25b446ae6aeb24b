//! The one entry to both prompt formats.

use super::message::{Conversation, Role, refuse};
use super::{ChatFormat, Prompt, control, dsml, exp};
use crate::error::Result;

/// How a conversation is rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The model is to think first. With tools, format exp was trained without thinking only: the caller decides.
    pub thinking: bool,
    /// End with the opening of an assistant turn. DSML has it at the end of user and result turns in any case.
    pub add_generation_prompt: bool,
    /// Begin with the token that begins every prompt.
    pub add_bos: bool,
    /// DSML, thinking: leave out developer messages before the last user message.
    pub drop_thinking: bool,
    /// Continue the last message, an assistant's, instead of closing it and opening another.
    pub continue_final: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            thinking: false,
            add_generation_prompt: true,
            add_bos: true,
            drop_thinking: true,
            continue_final: false,
        }
    }
}

/// Renders a conversation.
///
/// ```
/// use lyn::chat::{ChatFormat, Conversation, Options, encode};
/// let conversation: Conversation = serde_json::from_str(r#"{"messages": [{"role": "user", "content": "Hello"}]}"#)?;
/// let prompt = encode(ChatFormat::Exp, &conversation, Options::default())?;
/// assert_eq!(prompt.to_string(), "<｜begin▁of▁sentence｜><｜User｜>Hello<｜Assistant｜></think>");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// `bad_request`, with `message_index` in its details where one message is at fault: limits, a result without its call,
/// calls without their results, content that cannot be rendered.
pub fn encode(format: ChatFormat, conversation: &Conversation, options: Options) -> Result<Prompt> {
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
