//! What stands for `template/` in a build without the feature `chat-template`: there no template is ever chosen.

use std::convert::Infallible;

use crate::chat::message::Conversation;
use crate::chat::prompt::{Prompt, RenderOptions};
use crate::error::{Code, Error, Result};
use crate::text::Tokenizer;

/// Whether templates are rendered.
pub(crate) const RENDERS: bool = false;

/// A compiled template, of which there is none.
#[derive(Debug)]
pub struct ChatTemplate(Infallible);

/// What a template may say besides the conversation.
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "as in `template/`")]
pub struct Ends<'a> {
    pub bos: &'a str,
    pub eos: &'a str,
}

impl ChatTemplate {
    /// Refuses: this build renders no templates.
    ///
    /// # Errors
    /// `bad_request`.
    pub fn new(_: &str, _: &str, _: &Tokenizer) -> Result<ChatTemplate> {
        Err(Error::new(Code::BadRequest, "this build renders no chat templates"))
    }

    /// Cannot be called.
    ///
    /// # Errors
    /// None.
    pub fn render(&self, _: &Conversation, _: RenderOptions, _: &Tokenizer, _: Ends<'_>) -> Result<Prompt> {
        match self.0 {}
    }
}
