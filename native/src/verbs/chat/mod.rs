//! A conversation: at a terminal with a line editor, else a turn for each line of stdin.

mod commands;
mod input;

use std::process::ExitCode;

use lyn::chat::message::Content;
use lyn::chat::{Conversation, Detected, Message, Role};
use lyn::engine::Engine;
use lyn::error::Result;
use lyn::generate::Request;

use super::generate::{message, report};
use super::refuse;
use crate::answer::{Answer, answer, check_room};
use crate::cli::{self, Switch};
use crate::{App, Ended, load, terminal};

use input::{Input, Line};

/// Runs the verb.
pub(crate) fn run(app: &App, options: cli::Chat) -> Ended {
    let engine = load::engine(app, &options.engine.model, &options.engine.options(&app.device))?;
    if let Detected::Raw(why) = engine.chat_format() {
        return Err(refuse(format!("this model has no chat format: {why}")).with_help("use: lyn generate --raw"));
    }
    let mut input = Input::open(app);
    if input.is_editor() {
        let place = engine.adapter().map_or("the host", |adapter| adapter.name.as_str());
        let context = engine.plan().context;
        app.terminal.note(&format!(
            "{} on {place}, context {context}. /help lists commands, Ctrl-D leaves.",
            options.engine.model
        ));
    }
    let mut chat = Chat { app, engine, options, messages: vec![], files: vec![], last: None };
    loop {
        match input.next(&chat.prompt())? {
            Line::End => return Ok(ExitCode::SUCCESS),
            Line::Interrupted => app.terminal.note("Ctrl-D or /exit leaves; /help lists commands"),
            Line::Text(text) if text.trim().is_empty() => {}
            Line::Text(text) => match chat.line(&text) {
                Ok(true) => {}
                Ok(false) => return Ok(ExitCode::SUCCESS),
                // At the terminal a mistake can be mended; in a script it ends the run.
                Err(error) if input.is_editor() && matches!(error.code().exit_code(), 2 | 6) => {
                    terminal::error::show(&app.terminal, &error);
                }
                Err(error) => return Err(error),
            },
        }
        if app.interrupt.terminated() {
            return Ok(app.interrupt.exit_code());
        }
    }
}

/// A conversation under way.
struct Chat<'a> {
    app: &'a App,
    engine: Engine,
    /// How answers are made; `/set`, `/system` and `/thinking` change it.
    options: cli::Chat,
    /// Turns of user and assistant; the system message is in the options.
    messages: Vec<Message>,
    /// Files that go before the next turn's text, fenced.
    files: Vec<String>,
    last: Option<Answer>,
}

impl Chat<'_> {
    /// A turn or a command; false where it ends the conversation.
    fn line(&mut self, text: &str) -> Result<bool> {
        match text.strip_prefix('/') {
            Some(command) => self.command(command),
            None => self.turn(text).map(|()| true),
        }
    }

    /// What stands before the next input: how full the context is, from half on.
    fn prompt(&self) -> String {
        let percent = self.used().saturating_mul(100) / self.engine.plan().context.max(1);
        if percent > 50 { format!("[{percent} %] ") } else { String::new() }
    }

    /// Tokens of the conversation, as the last answer left it.
    fn used(&self) -> u32 {
        self.last.as_ref().map_or(0, |last| last.timings.prompt_tokens + last.timings.completion_tokens)
    }

    /// What the model is told.
    fn conversation(&self) -> Conversation {
        let system = self.options.answer.system.iter().map(|text| message(Role::System, text));
        Conversation { messages: system.chain(self.messages.iter().cloned()).collect(), ..Conversation::default() }
    }

    /// Adds what the user says, and an answer to it; neither where it fails.
    fn turn(&mut self, text: &str) -> Result<()> {
        let mut parts = std::mem::take(&mut self.files);
        parts.push(text.to_owned());
        self.messages.push(message(Role::User, &parts.join("\n\n")));
        let replied = self.reply();
        if replied.is_err() {
            self.messages.pop();
        }
        replied
    }

    /// Answers the last turn. What a stopped answer said stays; one that said nothing leaves no turn.
    fn reply(&mut self) -> Result<()> {
        let options = &self.options.answer;
        let thinking = options.thinking == Switch::On;
        let prompt = self.engine.chat_prompt(&self.conversation(), thinking)?;
        check_room(&prompt, options.max_tokens, self.engine.plan().context)?;
        let request = Request {
            prompt,
            sampling: self.options.sampling.params(self.engine.defaults()),
            max_tokens: options.max_tokens,
            stop: options.stop.clone(),
            thinking,
            ignore_eos: options.ignore_eos,
            trace: None,
        };
        let made = answer(self.app, &mut self.engine, request, options.reasoning, None)?;
        let terminal = &self.app.terminal;
        if terminal.json {
            terminal.json_line(&made.to_json(&self.engine, "lyn.chat/1"));
        } else if !terminal.stdout_is_terminal() {
            terminal.data("\n");
        }
        report(self.app, &made, &mut self.engine, options);
        if made.finish.is_none() && made.text.is_empty() {
            self.messages.pop();
        } else {
            let reasoning_content = (!made.reasoning.is_empty()).then(|| made.reasoning.clone());
            self.messages.push(Message {
                role: Role::Assistant,
                content: Some(Content::Text(made.text.clone())),
                reasoning_content,
                ..Message::default()
            });
        }
        self.last = Some(made);
        Ok(())
    }
}
