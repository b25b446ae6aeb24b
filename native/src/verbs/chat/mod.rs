//! A conversation: at a terminal with a line editor, else a turn for each line of stdin.

mod commands;
mod input;

use std::path::Path;
use std::process::ExitCode;

use lyn::chat::{Content, Detected, Message, Role};
use lyn::engine::Engine;
use lyn::error::{Result, escape};

use super::generate::report;
use super::refuse;
use crate::answer::{LocalAnswer, answer};
use crate::ask::{Ask, message};
use crate::flags::AskArgs;
use crate::remote::{Remote, RemoteAnswer};
use crate::text::shown;
use crate::{App, Ended, load, terminal};

use input::{Line, TurnSource};

pub(crate) fn run(app: &App, options: AskArgs) -> Ended {
    let speaker = match Remote::open(app, &options.upstream, &options.engine)? {
        Some(remote) => Speaker::There(Box::new(remote)),
        None => {
            Speaker::Here(Box::new(load::engine(app, &options.engine.model, &options.engine.options(&app.device))?))
        }
    };
    if let Speaker::Here(engine) = &speaker
        && let Detected::Raw(why) = engine.chat_format()
    {
        return Err(refuse(format!("this model has no chat format: {why}")).with_help("use: lyn generate --raw"));
    }
    let mut input = TurnSource::open(app);
    if input.is_editor() {
        app.terminal.note(&format!("{}. /help lists commands, Ctrl-D exits.", speaker.name(&options.engine.model)));
    }
    let mut chat = Chat { app, speaker, options, messages: vec![], files: vec![], last: None };
    loop {
        match input.next(&chat.prompt())? {
            Line::End => return Ok(ExitCode::SUCCESS),
            Line::Interrupted => app.terminal.note("press Ctrl-D or type /exit to leave; /help lists commands"),
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

enum Speaker {
    Here(Box<Engine>),
    There(Box<Remote>),
}

#[derive(Clone)]
enum Last {
    Here(LocalAnswer),
    There(RemoteAnswer),
}

impl Speaker {
    /// What it is and where.
    fn name(&self, model: &Path) -> String {
        match self {
            Speaker::Here(engine) => {
                let place = engine.adapter().map_or("the host".to_owned(), |adapter| escape(&adapter.name));
                format!("{} on {place}, context {}", shown(model), engine.plan().context)
            }
            Speaker::There(remote) => remote.name(),
        }
    }
}

/// A conversation under way.
struct Chat<'a> {
    app: &'a App,
    speaker: Speaker,
    /// How answers are made; `/set`, `/system` and `/thinking` change it.
    options: AskArgs,
    /// Turns of user and assistant; the system message is in the options.
    messages: Vec<Message>,
    /// Files that go before the next turn's text, fenced.
    files: Vec<String>,
    last: Option<Last>,
}

impl Chat<'_> {
    /// A turn or a command; false where it ends the conversation.
    fn line(&mut self, text: &str) -> Result<bool> {
        match text.strip_prefix('/') {
            Some(command) => self.command(command),
            None => self.turn(text).map(|()| true),
        }
    }

    /// What stands before the next input: how full the context is, from half on. Of another engine's nothing is known.
    fn prompt(&self) -> String {
        let Speaker::Here(engine) = &self.speaker else { return String::new() };
        let percent = self.used().unwrap_or(0).saturating_mul(100) / u64::from(engine.plan().context.max(1));
        if percent > 50 { format!("[{percent} %] ") } else { String::new() }
    }

    /// Tokens of the conversation, as the last answer left it; none where the engine does not say.
    fn used(&self) -> Option<u64> {
        match &self.last {
            None => Some(0),
            Some(Last::Here(last)) => {
                Some(u64::from(last.timings.prompt_tokens) + u64::from(last.timings.completion_tokens))
            }
            Some(Last::There(last)) => last.total_tokens(),
        }
    }

    /// What the model is told.
    fn messages(&self) -> Vec<Message> {
        let system = self.options.answer.system.iter().map(|text| message(Role::System, text));
        system.chain(self.messages.iter().cloned()).collect()
    }

    /// Adds what the user says, and an answer to it; neither where it fails.
    fn turn(&mut self, text: &str) -> Result<()> {
        let mut parts = std::mem::take(&mut self.files);
        parts.push(text.to_owned());
        self.messages.push(message(Role::User, &parts.join("\n\n")));
        let replied = self.reply();
        // An answer that broke off stays, as far as it came.
        if replied.is_err() && self.messages.last().is_some_and(|last| last.role == Role::User) {
            self.messages.pop();
        }
        replied
    }

    /// Answers the last turn. What a stopped answer said stays; one that said nothing leaves no turn.
    fn reply(&mut self) -> Result<()> {
        let (last, text, reasoning, failure) = if matches!(self.speaker, Speaker::Here(_)) {
            let made = self.reply_here()?;
            (Last::Here(made.clone()), made.text, made.reasoning, None)
        } else {
            let told = self.reply_there()?;
            (Last::There(told.clone()), told.text, told.reasoning, told.failure)
        };
        let is_stopped = match &last {
            Last::Here(made) => made.finish.is_none(),
            Last::There(told) => told.is_stopped() || failure.is_some(),
        };
        if !is_stopped || !text.is_empty() {
            self.messages.push(Message {
                role: Role::Assistant,
                content: Some(Content::Text(text)),
                reasoning_content: (!reasoning.is_empty()).then_some(reasoning),
                ..Message::default()
            });
        } else if failure.is_none() {
            self.messages.pop();
        }
        self.last = Some(last);
        failure.map_or(Ok(()), Err)
    }

    fn ask(&self) -> Ask<'_> {
        self.options.ask(None)
    }

    fn reply_here(&mut self) -> Result<LocalAnswer> {
        let messages = self.messages();
        let Speaker::Here(engine) = &self.speaker else { return Ok(LocalAnswer::default()) };
        let request = self.ask().chat_here(self.app, engine.language()?, messages)?;
        let Speaker::Here(engine) = &mut self.speaker else { return Ok(LocalAnswer::default()) };
        let options = &self.options.answer;
        let made = answer(self.app, engine, request, options.reasoning, None)?;
        end_of_answer(self.app, || made.to_json(engine, SCHEMA));
        report(self.app, &made, engine, options);
        Ok(made)
    }

    fn reply_there(&self) -> Result<RemoteAnswer> {
        let Speaker::There(remote) = &self.speaker else { return Ok(RemoteAnswer::default()) };
        let told = remote.answer(self.app, self.ask(), self.messages())?;
        end_of_answer(self.app, || told.to_json(SCHEMA));
        told.report(self.app, &self.options.answer);
        Ok(told)
    }
}

const SCHEMA: &str = "lyn.chat/1";

/// What parts an answer from the next one.
fn end_of_answer(app: &App, document: impl FnOnce() -> serde_json::Value) {
    if app.terminal.json {
        app.terminal.json_line(&document());
    } else if !app.terminal.stdout_is_terminal() {
        app.terminal.data("\n");
    }
}
