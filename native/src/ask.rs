//! Command-line options as the requests that the server takes: the local engine and other engines get the same.
//!
//! In: flags and messages. Out: a [`ChatRequest`] or a [`TextRequest`], checked; for the engine here a [`Request`].

use lyn::chat::{Content, Message, Role};
use lyn::error::{Code, Error, Result, escape_whole};
use lyn::generate::{Constraint, Request};
use lyn::language::Language;
use lyn::wire::openai::{ChatRequest, PromptField, ResponseFormat, Rules, Stop, TextRequest, Thinking, ThinkingType};
use serde_json::Number;

use crate::App;
use crate::flags::{AnswerArgs, AskArgs, SamplingArgs, Switch};
use crate::terminal::table::count;

/// The flags of an answer.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    /// What the answer is.
    pub(crate) answer: &'a AnswerArgs,
    /// How its tokens are chosen.
    pub(crate) sampling: &'a SamplingArgs,
    /// The form that it is held to.
    pub(crate) form: Option<&'a ResponseFormat>,
}

impl AskArgs {
    /// Those of its answer, which is held to a form or free.
    pub(crate) fn ask<'a>(&'a self, form: Option<&'a ResponseFormat>) -> Ask<'a> {
        Ask { answer: &self.answer, sampling: &self.sampling, form }
    }
}

impl Ask<'_> {
    /// An answer to a conversation. Errors: as [`ChatRequest::checked`].
    pub(crate) fn chat(&self, messages: Vec<Message>) -> Result<ChatRequest> {
        self.asking(messages).checked(&rules(), vec![])
    }

    /// What goes on after a text. Errors: as [`TextRequest::checked`].
    pub(crate) fn text(&self, prompt: &str) -> Result<TextRequest> {
        let prompt = PromptField::Text(prompt.to_owned());
        TextRequest::asked_as(prompt, self.asking(vec![])).checked(&rules(), vec![])
    }

    fn asking(&self, messages: Vec<Message>) -> ChatRequest {
        let (answer, sampling) = (self.answer, self.sampling);
        let r#type = if answer.thinking == Switch::On { ThinkingType::Enabled } else { ThinkingType::Disabled };
        ChatRequest {
            messages,
            max_tokens: answer.max_tokens().map(i64::from),
            temperature: sampling.temperature.map(decimal),
            top_p: sampling.top_p.map(decimal),
            top_k: sampling.top_k.map(i64::from),
            min_p: sampling.min_p.map(decimal),
            presence_penalty: set(sampling.presence_penalty, 0.0).map(decimal),
            frequency_penalty: set(sampling.frequency_penalty, 0.0).map(decimal),
            repetition_penalty: sampling.repetition_penalty.map(decimal),
            seed: sampling.seed().map(Number::from),
            stop: (!answer.stop.is_empty()).then(|| Stop::Several(answer.stop.clone())),
            ignore_eos: answer.ignore_eos.then_some(true),
            thinking: Some(Thinking { r#type }),
            response_format: self.form.cloned(),
            ..ChatRequest::default()
        }
    }

    /// The answer to a conversation, for the engine here. Errors: as [`Ask::chat`] and [`ChatRequest::to_request`];
    /// `context_overflow` where prompt and answer do not fit.
    pub(crate) fn chat_here(&self, app: &App, language: &Language, messages: Vec<Message>) -> Result<Request> {
        let asked = self.chat(messages)?.to_request(language).map_err(in_flags)?;
        self.fitted(app, language, asked.request)
    }

    /// What goes on after a text, for the engine here. Errors: as [`Ask::text`] and [`TextRequest::to_requests`];
    /// `context_overflow` where prompt and answer do not fit.
    pub(crate) fn text_here(&self, app: &App, language: &Language, prompt: &str) -> Result<Request> {
        let asked = self.text(prompt)?.to_requests(language).map_err(in_flags)?;
        let request = asked.requests.into_iter().next();
        self.fitted(app, language, request.ok_or_else(|| Error::new(Code::Internal, "a text has no request"))?)
    }

    /// Warns of what an answer is not held to, and refuses one that would be cut although its length was given. Without a
    /// length the context limits it: an API's defaults are not meant here.
    fn fitted(&self, app: &App, language: &Language, request: Request) -> Result<Request> {
        let loosened = request.constraint.as_ref().map_or(&[][..], Constraint::loosened);
        if !loosened.is_empty() {
            let what: Vec<String> = loosened.iter().map(|name| escape_whole(name)).collect();
            app.terminal.warn("loosened", &format!("not enforced: {}", what.join(", ")));
        }
        let (prompt, context) = (request.prompt.len() as u64, language.context());
        let needed = prompt + u64::from(self.answer.max_tokens().unwrap_or(0));
        if needed <= u64::from(context) {
            return Ok(Request { max_tokens: self.answer.max_tokens(), ..request });
        }
        let answer = count(needed - prompt);
        let message = format!("prompt {} + answer {answer} > context {}", count(prompt), count(context.into()));
        let help =
            format!("raise --context to {needed} if the model allows it, shorten the prompt, or lower --max-tokens");
        Err(Error::new(Code::ContextOverflow, message)
            .with_help(help)
            .with_detail("prompt_tokens", prompt)
            .with_detail("context", context))
    }
}

/// A message with nothing but text.
pub(crate) fn message(role: Role, text: &str) -> Message {
    Message { role, content: Some(Content::Text(text.to_owned())), ..Message::default() }
}

/// The user's own request: nothing is asked of it but to be possible.
fn rules() -> Rules {
    Rules { json_word: false, ..Rules::default() }
}

/// A value that differs from what a request without it means.
fn set<T: PartialOrd>(value: T, default: T) -> Option<T> {
    (value != default).then_some(value)
}

/// As people wrote it: 0.7, and not what the nearest f32 is in f64.
fn decimal(value: f32) -> f64 {
    value.to_string().parse().unwrap_or_else(|_| value.into())
}

/// A prompt that does not fit, in the words of the command line instead of an API's.
fn in_flags(error: Error) -> Error {
    let number = |name: &str| error.details().get(name).and_then(serde_json::Value::as_u64);
    match (error.code(), number("prompt_tokens"), number("context")) {
        (Code::ContextOverflow, Some(tokens), Some(context)) => {
            let message = format!("the prompt has {tokens} tokens, the context holds {context}");
            Error::new(Code::ContextOverflow, message)
                .with_help(format!("raise --context above {tokens}, or shorten the prompt"))
                .with_detail("prompt_tokens", tokens)
                .with_detail("context", context)
        }
        _ => error,
    }
}
