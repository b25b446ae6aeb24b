//! The templates that a checkpoint brings. Each is compiled when a conversation first needs it: what is wrong with it is a
//! refusal of that conversation, while prompts still go in as they are, and a page has it compiled elsewhere first.

use std::sync::{Arc, OnceLock};

use super::ChatTemplate;
use crate::chat::formats::Templates;
use crate::chat::message::Conversation;
use crate::error::{Class, Error, Result};
use crate::text::Tokenizer;

/// One for conversations without tools, and perhaps another one for those with.
pub(crate) struct OwnTemplates {
    file: Arc<str>,
    plain: Option<Lazy>,
    tool_use: Option<Lazy>,
}

struct Lazy {
    source: String,
    compiled: OnceLock<Result<ChatTemplate>>,
}

impl Lazy {
    fn new(source: String) -> Lazy {
        Lazy { source, compiled: OnceLock::new() }
    }

    fn compiled(&self, file: &str, tokenizer: &Tokenizer) -> Result<&ChatTemplate> {
        let compile = || ChatTemplate::new(file, &self.source, tokenizer);
        self.compiled.get_or_init(compile).as_ref().map_err(Clone::clone)
    }
}

impl OwnTemplates {
    pub(crate) fn new(templates: Templates) -> OwnTemplates {
        let Templates { file, plain, tool_use } = templates;
        OwnTemplates { file, plain: plain.map(Lazy::new), tool_use: tool_use.map(Lazy::new) }
    }

    /// The template for a conversation.
    pub(crate) fn of(&self, conversation: &Conversation, tokenizer: &Tokenizer) -> Result<&ChatTemplate> {
        let with_tools = self.tool_use.as_ref().filter(|_| !conversation.tools().is_empty());
        let template = with_tools.or(self.plain.as_ref()).ok_or_else(|| {
            let message =
                "chat_template: there is one for conversations with tools, named tool_use, and none named default";
            Error::file(Class::Template, &self.file, message).with_help("use: lyn generate --raw")
        })?;
        template.compiled(&self.file, tokenizer)
    }

    /// Compiles all.
    pub(crate) fn check(&self, tokenizer: &Tokenizer) -> Result<()> {
        let mut all = self.plain.iter().chain(&self.tool_use);
        all.try_for_each(|template| template.compiled(&self.file, tokenizer).map(drop))
    }
}
