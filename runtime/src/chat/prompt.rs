//! A prompt, before it becomes ids: what the renderer says, and what others say.

use std::borrow::Cow;
use std::fmt;

use super::control;
use crate::error::{Code, Error, Result};
use crate::text::Tokenizer;

/// How a conversation is rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RenderOptions {
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

impl Default for RenderOptions {
    fn default() -> Self {
        RenderOptions {
            thinking: false,
            add_generation_prompt: true,
            add_bos: true,
            drop_thinking: true,
            continue_final: false,
        }
    }
}

/// A part of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Ordinary text, even where it looks like a control token. Two never follow each other.
    Text(String),
    /// A control token, by its text; one of [`control::ALL`], or of those that a checkpoint's own template writes.
    Control(Cow<'static, str>),
}

/// A rendered conversation. Its `Display` is the prompt as one string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prompt {
    segments: Vec<Segment>,
}

impl Prompt {
    /// The parts, in order.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Bytes of its text, without control tokens.
    pub(crate) fn text_bytes(&self) -> usize {
        let bytes = |segment: &Segment| if let Segment::Text(text) = segment { text.len() } else { 0 };
        self.segments.iter().map(bytes).fold(0, usize::saturating_add)
    }

    /// Appends text from outside; it stays text.
    pub fn text(&mut self, text: &str) {
        match self.segments.last_mut() {
            _ if text.is_empty() => {}
            Some(Segment::Text(last)) => last.push_str(text),
            _ => self.segments.push(Segment::Text(text.to_owned())),
        }
    }

    /// Appends a control token.
    pub(crate) fn control(&mut self, token: impl Into<Cow<'static, str>>) {
        self.segments.push(Segment::Control(token.into()));
    }

    /// Appends text of our own, in which control tokens are meant as such (the examples of the preambles).
    pub(crate) fn trusted(&mut self, mut text: &str) {
        while let Some((token, (before, after))) =
            first_control(text).and_then(|token| Some((token, text.split_once(token)?)))
        {
            self.text(before);
            self.control(token);
            text = after;
        }
        self.text(text);
    }

    /// Takes a last `token` off again.
    pub(crate) fn drop_last_control(&mut self, token: &str) {
        self.segments.pop_if(|last| matches!(last, Segment::Control(control) if control == token));
    }

    /// The ids of the prompt: control tokens by id, text without any added token.
    ///
    /// # Errors
    /// `bad_checkpoint` when the vocabulary lacks a control token of this format; the errors of [`Tokenizer::encode`].
    pub fn ids(&self, tokenizer: &Tokenizer) -> Result<Vec<u32>> {
        let mut ids = vec![];
        for segment in &self.segments {
            match segment {
                Segment::Text(text) => ids.extend(tokenizer.encode(text, false)?),
                Segment::Control(token) => ids.push(tokenizer.token_id(token).ok_or_else(|| {
                    let message = format!("the tokenizer has no {token}, which this chat format needs");
                    Error::new(Code::BadCheckpoint, message)
                })?),
            }
        }
        Ok(ids)
    }

    /// The ids as Hugging Face makes them from the string: control tokens in anyone's text count. Only on request.
    ///
    /// # Errors
    /// Those of [`Tokenizer::encode`].
    pub fn ids_parsing_special(&self, tokenizer: &Tokenizer) -> Result<Vec<u32>> {
        tokenizer.encode(&self.to_string(), true)
    }
}

fn first_control(text: &str) -> Option<&'static str> {
    control::ALL.into_iter().filter_map(|token| Some((text.find(token)?, token))).min().map(|(_, token)| token)
}

impl fmt::Display for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.segments.iter().try_for_each(|segment| {
            f.write_str(match segment {
                Segment::Text(text) => text,
                Segment::Control(token) => token,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_text_holds_control_tokens() {
        let mut prompt = Prompt::default();
        prompt.text("<｜User｜>");
        prompt.text("a");
        prompt.trusted("b<think>c</think>");
        let text = |text: &str| Segment::Text(text.to_owned());
        let expected =
            [text("<｜User｜>ab"), Segment::Control("<think>".into()), text("c"), Segment::Control("</think>".into())];
        assert_eq!(prompt.segments(), expected);
        assert_eq!(prompt.to_string(), "<｜User｜>ab<think>c</think>");
    }
}
