//! A request: parsed, checked, and turned into what the engine takes. Ranges and texts are DeepSeek's.

use std::sync::Arc;

use super::check;
use super::completion::Completion;
use super::request::ChatRequest;
use crate::chat::{
    AnswerShape, ChatFormat, Conversation, Dialect, RenderOptions, ResponseShape, Role, ToolChoice, ToolSpec,
};
use crate::error::Result;
use crate::generate::{Callable, Request, SamplingParams};
use crate::language::Language;
use crate::wire::openai::beside::{Beside, Kind};
use crate::wire::openai::limits::{check_scored, fit};
use crate::wire::openai::rules::{self, Given, Rules, resolve};
use crate::wire::openai::sampling::Sampling;

/// What a request asks of the engine.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The first answer; [`Asked::requests`] has all.
    pub request: Request,
    /// Whether the answer is told as one with a thought.
    pub thinking: bool,
    /// Whether a thought was asked for and is left out, because the format cannot think and call.
    pub thinking_disabled_by_tools: bool,
    /// Answers wanted, 1 to 8.
    pub answers: u32,
}

impl Asked {
    /// One request for each answer, alike but for their random numbers.
    pub fn requests(&self) -> impl Iterator<Item = Request> {
        (0..self.answers).map(|choice| {
            let sampling = SamplingParams { choice, ..self.request.sampling.clone() };
            // Of the prompt it is said once.
            let prompt_logprobs = self.request.prompt_logprobs.filter(|_| choice == 0);
            Request { sampling, prompt_logprobs, ..self.request.clone() }
        })
    }

    /// The request of a caller who makes one answer.
    ///
    /// # Errors
    /// `bad_request` where more is asked for.
    pub fn single(self) -> Result<Request> {
        if self.answers > 1 {
            return Err(rules::refuse("n", format!("n: expected 1, found {}", self.answers)));
        }
        Ok(self.request)
    }
}

fn callable(tool: &ToolSpec) -> Callable {
    Callable { name: tool.name.clone(), parameters: tool.parameters.clone() }
}

impl ChatRequest {
    /// Parses and checks the body of a request by the default rules.
    ///
    /// ```
    /// use lyn::wire::openai::ChatRequest;
    /// let body = r#"{"model": "deepseek-reasoner", "messages": [{"role": "user", "content": "Hello"}], "stop": null}"#;
    /// assert!(ChatRequest::parse(body)?.mode());
    /// let refused = ChatRequest::parse(r#"{"messages": [{"role": "user", "content": "Hello"}], "temperature": 3}"#);
    /// let message = "Invalid temperature value, the valid range of temperature is [0, 2]";
    /// assert_eq!(refused.unwrap_err().message(), message);
    /// # Ok::<(), lyn::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`ChatRequest::parse_by`].
    pub fn parse(body: impl AsRef<[u8]>) -> Result<ChatRequest> {
        ChatRequest::parse_by(&Rules::default(), body)
    }

    /// Parses and checks the body of a request: its syntax, its form, the model, ranges, then messages.
    ///
    /// # Errors
    /// `bad_request`, with the field in its details as `param` and, where it is not 400, the HTTP status as `status`.
    pub fn parse_by(rules: &Rules, body: impl AsRef<[u8]>) -> Result<ChatRequest> {
        let (request, ignored) = rules::parse::<ChatRequest>(body.as_ref(), rules.compat)?;
        request.checked(rules, ignored)
    }

    /// Checks a request, whatever it was made from: the model, ranges, then messages. `ignored`: names of fields of the body
    /// that mean nothing here.
    ///
    /// ```
    /// use lyn::wire::openai::{ChatRequest, Rules};
    /// use lyn::chat::{Content, Message};
    /// let hello = Message { content: Some(Content::Text("Hello".to_owned())), ..Message::default() };
    /// let request = ChatRequest { messages: vec![hello], temperature: Some(3.0), ..ChatRequest::default() };
    /// assert!(request.checked(&Rules::default(), vec![]).is_err());
    /// ```
    ///
    /// # Errors
    /// As [`ChatRequest::parse_by`].
    pub fn checked(mut self, rules: &Rules, ignored: Vec<String>) -> Result<ChatRequest> {
        let model = resolve(rules, self.model.as_deref())?;
        self.given = Given { model, rules: rules.clone(), ignored };
        check::ranges(&self)?;
        check::messages(&self)?;
        Ok(self)
    }

    /// What the engine is to do: the prompt in the checkpoint's own format, sampling, as many tokens as were asked for and
    /// as the context holds, and the form that the answer is held to.
    ///
    /// # Errors
    /// `bad_request` where messages cannot be rendered, `context_overflow` where the prompt is too long, `invalid_schema` and
    /// `grammar_too_complex`.
    pub fn to_request(&self, language: &Language) -> Result<Asked> {
        let shape = self.shape();
        let calls = shape.choice != ToolChoice::None;
        let format = language.chat_format().format();
        // Exp was trained to call without thinking only.
        let exp = matches!(format, Some(ChatFormat::Exp | ChatFormat::V31));
        let thinking_disabled_by_tools = self.mode() && calls && exp;
        let thinking = self.mode() && !thinking_disabled_by_tools;
        let continues = self.continues();
        if let Some(format) = format {
            check::end(self, format, thinking)?;
        }
        let add_generation_prompt = self.add_generation_prompt.unwrap_or(!continues);
        let options =
            RenderOptions { thinking, add_generation_prompt, continue_final: continues, ..RenderOptions::default() };
        let prompt = language.render(&self.conversation(&shape), options)?;
        let max_tokens = self.most_tokens(&prompt, thinking, language.context())?;
        let prompt_logprobs = self.prompt_logprobs.and_then(|count| u32::try_from(count).ok());
        if let Some(count) = prompt_logprobs {
            check_scored("messages", prompt.len().saturating_mul((count as usize).saturating_add(1)))?;
        }
        // A continued answer may stand behind its thought already.
        let thought_open = language.opens_thought(&prompt);
        let dialect = if self.given.rules.compat.is_strict() { Dialect::DeepSeek } else { Dialect::Local };
        let request = Request {
            constraint: language.grammars().constraint(&shape, thought_open, dialect)?,
            sampling: self.sampling_params(language, thinking),
            max_tokens: Some(max_tokens),
            stop: self.sampling().stops(),
            stop_ids: self.stop_token_ids.clone().unwrap_or_default(),
            min_tokens: self.min_tokens.unwrap_or(0),
            ignore_eos: self.ignore_eos == Some(true),
            thinking: thought_open,
            may_think: language.chat_format().is_own_template(),
            prompt_logprobs,
            calls: calls && language.chat_format().calls().is_some(),
            functions: shape.tools.iter().map(callable).collect(),
            ..Request::new(prompt)
        };
        Ok(Asked { request, thinking, thinking_disabled_by_tools, answers: self.sampling().answers() })
    }

    /// The answer to this request, as it will be told. `created`: Unix seconds.
    pub fn completion(&self, language: &Language, asked: &Asked, id: impl Into<String>, created: u64) -> Completion {
        let model = self.model.clone().unwrap_or_else(|| language.model_type().to_owned());
        let mut completion = Completion::new(id, created, model, asked.thinking).with_answers(asked.answers);
        if self.has_usage_apart() {
            completion = completion.with_usage_apart();
        }
        if self.logprobs == Some(true) {
            completion = completion.with_logprobs(Arc::clone(language.tokenizer()));
        }
        let prompts = (0..asked.answers).map(|_| asked.request.prompt.as_slice());
        completion.with_beside(Beside::new(Kind::Chat, self.wishes(), language.tokenizer(), prompts))
    }

    fn most_tokens(&self, prompt: &[u32], thinking: bool, context: u32) -> Result<u32> {
        let most = self.asked_tokens().unwrap_or(ChatRequest::token_limits(thinking).0);
        fit(prompt, most, context, self.asked_tokens().is_some() && self.given.rules.compat.is_strict())
    }

    fn sampling_params(&self, language: &Language, thinking: bool) -> SamplingParams {
        let rules = &self.given.rules;
        // DeepSeek's thinking mode takes these and does not listen.
        let own = thinking && rules.compat.is_strict();
        let defaults = match own || rules.checkpoint_sampling {
            true => SamplingParams::recommended(language.defaults()),
            false => SamplingParams::default(),
        };
        let sampling = match own {
            true => Sampling {
                temperature: None,
                top_p: None,
                presence_penalty: None,
                frequency_penalty: None,
                ..self.sampling()
            },
            false => self.sampling(),
        };
        sampling.params(defaults)
    }

    /// The messages as the formats know them. Tools stay in the prompt where none is to be called: the cached beginning of
    /// a conversation is the same then.
    fn conversation(&self, shape: &AnswerShape) -> Conversation {
        let mut messages = self.messages.clone();
        for message in messages.iter_mut().filter(|message| message.role == Role::Developer) {
            message.role = Role::System;
        }
        let response_format = match &shape.response {
            ResponseShape::JsonSchema(schema) => Some(schema.clone()),
            _ => None,
        };
        Conversation { messages, tools: self.tools.clone(), response_format }
    }
}
