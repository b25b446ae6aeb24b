//! What a line that begins with a slash does.

use std::path::Path;

use lyn::chat::{Content, Conversation, Message, Role};
use lyn::error::{Error, Result, quote};
use serde_json::json;

use super::super::{fenced, refuse};
use super::{Chat, Last, Speaker};
use crate::ask::Ask;
use crate::flags::{Bounded, OrDefault, Switch, number_or_default};
use crate::terminal::table::{count, table};
use crate::text;

/// Commands and what they do, for `/help` and completion.
pub(super) const COMMANDS: &[(&str, &str)] = &[
    ("/help", "list the commands"),
    ("/exit", "leave the chat, as does Ctrl-D"),
    ("/clear", "start over, keeping the system message"),
    ("/undo", "remove the last turn and its answer"),
    ("/regen", "answer the last turn again"),
    ("/system", "TEXT: set the system message; without TEXT, remove it"),
    ("/set", "KEY VALUE: temperature, top_k, top_p, min_p, the penalties, seed, max_tokens; the value default resets"),
    ("/thinking", "on or off: reason before answering"),
    ("/file", "PATH: attach a file to the next turn"),
    ("/save", "FILE: save the conversation as JSON"),
    ("/load", "FILE: load a saved conversation"),
    ("/stats", "token counts and speeds of the last answer"),
    ("/context", "tokens per turn"),
];

impl Chat<'_> {
    /// Does a command, given without its slash; false where it ends the conversation.
    pub(super) fn command(&mut self, text: &str) -> Result<bool> {
        let text = text.trim();
        let (name, rest) = text.split_once(char::is_whitespace).map_or((text, ""), |(name, rest)| (name, rest.trim()));
        match name {
            "exit" | "quit" => return Ok(false),
            "help" => {
                let rows: Vec<_> = COMMANDS.iter().map(|(name, does)| vec![(*name).into(), (*does).into()]).collect();
                self.say(&table(&["command", "does"], &rows, &[], false));
            }
            "clear" => {
                self.messages.clear();
                self.last = None;
            }
            "undo" => self.undo()?,
            "regen" => self.regenerate()?,
            "system" => self.options.answer.system = (!rest.is_empty()).then(|| rest.to_owned()),
            "thinking" => {
                self.options.answer.thinking = match rest {
                    "on" => Switch::On,
                    "off" => Switch::Off,
                    _ => return Err(refuse("/thinking: expected on or off")),
                }
            }
            "set" => self.set(rest)?,
            "file" => self.files.push(fenced(Path::new(rest), &text::of_file(Path::new(rest))?)),
            "save" => self.save(Path::new(rest))?,
            "load" => self.restore(Path::new(rest))?,
            "stats" => {
                let said = match (&self.last, &mut self.speaker) {
                    (Some(Last::Here(last)), Speaker::Here(engine)) => Some(last.statistics(engine)),
                    (Some(Last::There(last)), _) => Some(last.statistics()),
                    _ => None,
                };
                self.say(&format!("{}\n", said.as_deref().unwrap_or("no answer yet")));
            }
            "context" => self.context()?,
            _ => return Err(unknown(name)),
        }
        Ok(true)
    }

    /// Says something that is no answer: it goes to stderr.
    fn say(&self, text: &str) {
        self.app.terminal.chatter(text);
    }

    fn undo(&mut self) -> Result<()> {
        let last = self.messages.iter().rposition(|message| message.role == Role::User);
        let last = last.ok_or_else(|| refuse("/undo: no turn to undo"))?;
        self.messages.truncate(last);
        self.last = None;
        Ok(())
    }

    fn regenerate(&mut self) -> Result<()> {
        let last = self.messages.iter().rposition(|message| message.role == Role::User);
        let last = last.ok_or_else(|| refuse("/regen: no turn to answer"))?;
        let old = self.messages.split_off(last + 1);
        let replied = self.reply();
        if replied.is_err() && self.messages.len() == last + 1 {
            self.messages.extend(old);
        }
        replied
    }

    /// Sets a value of sampling, or takes it back. A value out of range changes nothing.
    fn set(&mut self, rest: &str) -> Result<()> {
        fn read<T: std::str::FromStr>(key: &str, value: &str) -> Result<T> {
            value.parse().map_err(|_| refuse(format!("/set {key}: {} is not a number", quote(value))))
        }
        fn optional<T: std::str::FromStr>(key: &str, value: &str) -> Result<Option<T>> {
            if value == "default" { Ok(None) } else { read(key, value).map(Some) }
        }
        fn or<T: std::str::FromStr>(key: &str, value: &str, default: T) -> Result<T> {
            Ok(optional(key, value)?.unwrap_or(default))
        }
        fn whole<T: std::str::FromStr + Bounded>(key: &str, value: &str) -> Result<Option<OrDefault<T>>> {
            let read = |value| number_or_default(value).map(Some);
            let wrong = |why| refuse(format!("/set {key}: {} is not a valid value: {why}", quote(value)));
            if value == "default" { Ok(None) } else { read(value).map_err(wrong) }
        }
        let (key, value) = rest.split_once(char::is_whitespace).ok_or_else(|| refuse("/set: expected KEY VALUE"))?;
        let (key, value) = (key.replace('-', "_"), value.trim());
        let mut sampling = self.options.sampling.clone();
        match key.as_str() {
            "temperature" => sampling.temperature = optional(&key, value)?,
            "top_p" => sampling.top_p = optional(&key, value)?,
            "seed" => sampling.seed = whole(&key, value)?,
            "max_tokens" => self.options.answer.max_tokens = whole(&key, value)?,
            "top_k" => sampling.top_k = optional(&key, value)?,
            "min_p" => sampling.min_p = optional(&key, value)?,
            "repetition_penalty" => sampling.repetition_penalty = optional(&key, value)?,
            "presence_penalty" => sampling.presence_penalty = or(&key, value, 0.0)?,
            "frequency_penalty" => sampling.frequency_penalty = or(&key, value, 0.0)?,
            _ => return Err(refuse(format!("/set: {} cannot be set", quote(&key)))),
        }
        Ask { sampling: &sampling, ..self.ask() }.text("")?;
        self.options.sampling = sampling;
        Ok(())
    }

    fn save(&self, path: &Path) -> Result<()> {
        let messages = self.messages();
        let messages: Vec<_> = messages.iter().map(document).collect();
        let text = format!("{:#}\n", json!({ "schema": "lyn.conversation/1", "messages": messages }));
        std::fs::write(path, text).map_err(|error| text::io_error(path, &error))
    }

    fn restore(&mut self, path: &Path) -> Result<()> {
        let conversation: Conversation = serde_json::from_str(&text::of_file(path)?)
            .map_err(|error| refuse(format!("{}: {error}", quote(&path.to_string_lossy()))))?;
        let mut messages = conversation.messages;
        if let Some(other) = messages.iter().skip(1).find(|m| !matches!(m.role, Role::User | Role::Assistant)) {
            return Err(refuse(format!(
                "{}: a {} message; expected turns of user and assistant",
                quote(&path.to_string_lossy()),
                format!("{:?}", other.role).to_lowercase()
            )));
        }
        self.options.answer.system =
            messages.first().filter(|first| first.role == Role::System).map(content).map(str::to_owned);
        if self.options.answer.system.is_some() {
            messages.remove(0);
        }
        self.messages = messages;
        self.last = None;
        Ok(())
    }

    fn context(&mut self) -> Result<()> {
        let mut rows = Vec::new();
        for message in self.messages() {
            let text = content(&message);
            let tokens = match &self.speaker {
                Speaker::Here(engine) => count(engine.tokenizer()?.encode(text, false)?.len() as u64),
                Speaker::There(_) => UNKNOWN.to_owned(),
            };
            let begin: String = text.chars().take(48).map(|c| if c.is_control() { ' ' } else { c }).collect();
            rows.push(vec![format!("{:?}", message.role).to_lowercase(), tokens, begin]);
        }
        let used = self.used().map_or_else(|| UNKNOWN.to_owned(), count);
        let used = match &self.speaker {
            Speaker::Here(engine) => format!("{used} of {}", count(engine.plan().context.into())),
            Speaker::There(_) => used,
        };
        rows.push(vec!["in use".to_owned(), used, String::new()]);
        self.say(&table(&["turn", "tokens", "text"], &rows, &["tokens"], false));
        Ok(())
    }
}

/// A count that another engine does not tell.
const UNKNOWN: &str = "unknown";

fn content(message: &Message) -> &str {
    match &message.content {
        Some(Content::Text(text)) => text,
        _ => "",
    }
}

/// A message as it travels and as it is kept.
fn document(message: &Message) -> serde_json::Value {
    let mut value = json!({ "role": format!("{:?}", message.role).to_lowercase(), "content": content(message) });
    if let Some(reasoning) = &message.reasoning_content {
        value["reasoning_content"] = json!(reasoning);
    }
    value
}

fn unknown(name: &str) -> Error {
    let likeness = |command: &str| strsim::jaro_winkler(command.trim_start_matches('/'), name);
    let best = COMMANDS.iter().map(|(command, _)| *command).max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let error = refuse(format!("{} is not a command", quote(&format!("/{name}"))));
    match best.filter(|best| likeness(best) > 0.8) {
        Some(best) => error.with_help(format!("did you mean {best}?")),
        None => error.with_help("/help lists commands"),
    }
}
