//! A request: parsed, checked, and turned into what the engine takes.
//!
//! Ranges and texts are DeepSeek's. Unknown fields are ignored, null means absent.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Number, Value};

use super::Completion;
use crate::chat::message::Tool;
use crate::chat::{ChatFormat, Conversation, Detected, Message, Options, Role, control};
use crate::engine::Engine;
use crate::error::{Code, Error, Result, escape, escape_whole, quote};
use crate::generate::stop::StopStrings;
use crate::generate::{Request, SamplingParams, room};
use crate::platform;

/// Tokens of an answer where the request does not say: DeepSeek's defaults.
const DEFAULT_MAX_TOKENS: u32 = 4096;
const DEFAULT_MAX_TOKENS_THINKING: u32 = 32_768;

/// The body of a chat completion.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ChatRequest {
    /// The conversation, at least one message.
    pub messages: Vec<Message>,
    /// Echoed in the answer; chooses the mode where nothing else does.
    pub model: Option<String>,
    /// Tokens of the answer at most; 0 counts as absent.
    pub max_tokens: Option<i64>,
    /// OpenAI's later name for it; the smaller one counts.
    pub max_completion_tokens: Option<i64>,
    /// 0 to 2.
    pub temperature: Option<f64>,
    /// Above 0, up to 1.
    pub top_p: Option<f64>,
    /// Only the k most probable; 0 and −1 mean all.
    pub top_k: Option<i64>,
    /// 0 to 1.
    pub min_p: Option<f64>,
    /// Any integer of 64 bits; absent: drawn.
    pub seed: Option<Number>,
    /// Texts that end the answer, 16 at most.
    pub stop: Option<Stop>,
    /// −2 to 2.
    pub presence_penalty: Option<f64>,
    /// −2 to 2.
    pub frequency_penalty: Option<f64>,
    /// 0.01 to 10.
    pub repetition_penalty: Option<f64>,
    /// −100 to 100, by id; keys that are no ids are ignored.
    pub logit_bias: Option<BTreeMap<String, f64>>,
    /// Report log probabilities.
    pub logprobs: Option<bool>,
    /// And of this many of the most probable tokens, 20 at most.
    pub top_logprobs: Option<i64>,
    /// Answer by chunks.
    pub stream: Option<bool>,
    /// How to stream.
    pub stream_options: Option<StreamOptions>,
    /// DeepSeek's switch of the mode.
    pub thinking: Option<Thinking>,
    /// OpenAI's; the model has no levels, only on and off.
    pub reasoning_effort: Option<Effort>,
    /// vLLM's and SGLang's.
    pub chat_template_kwargs: Option<TemplateArguments>,
    /// Another of theirs.
    pub enable_thinking: Option<bool>,
    /// `OpenRouter`'s.
    pub reasoning: Option<Reasoning>,
    /// Answers; only 1 can be honoured.
    pub n: Option<i64>,
    /// Functions on offer; refused unless `tool_choice` is `none`.
    pub tools: Option<Vec<Tool>>,
    /// `none`, `auto`, `required`, or one tool.
    pub tool_choice: Option<Value>,
    /// Shape of the answer; only `text` can be honoured.
    pub response_format: Option<ResponseFormat>,
}

/// One text that ends the answer, or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "expected a string or an array of strings")]
#[expect(missing_docs, reason = "each is its own name")]
pub enum Stop {
    One(String),
    Several(Vec<String>),
}

/// How to stream.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct StreamOptions {
    /// Counts come in a chunk of their own, after the last.
    pub include_usage: Option<bool>,
}

/// `{"type": "enabled"}`; other keys are ignored.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Thinking {
    /// On or off.
    pub r#type: ThinkingType,
}

/// Whether to think; adaptive counts as enabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each is its own name")]
pub enum ThinkingType {
    Adaptive,
    Enabled,
    Disabled,
}

/// How much to think: none, or some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each is its own name")]
pub enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    Xhigh,
    Max,
}

/// Arguments of a chat template, as vLLM and SGLang take them.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct TemplateArguments {
    /// DeepSeek's name.
    pub thinking: Option<bool>,
    /// Qwen's name.
    pub enable_thinking: Option<bool>,
}

/// `{"enabled": true}` or `{"effort": "high"}`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[expect(missing_docs, reason = "each is its own name")]
pub struct Reasoning {
    pub enabled: Option<bool>,
    pub effort: Option<Effort>,
}

/// The shape of the answer.
#[derive(Clone, Debug, Deserialize)]
pub struct ResponseFormat {
    /// `text`, `json_object`, `json_schema`.
    pub r#type: String,
}

fn refuse(field: &str, message: impl Into<String>) -> Error {
    Error::new(Code::BadRequest, message).with_detail("param", field)
}

fn invalid(field: &str, range: &str, found: impl std::fmt::Display) -> Error {
    refuse(field, format!("Invalid {field} value, the valid range of {field} is {range}, found {found}"))
}

impl ChatRequest {
    /// Parses and checks the body of a request.
    ///
    /// ```
    /// use lyn::chat::openai::ChatRequest;
    /// let body = r#"{"model": "deepseek-reasoner", "messages": [{"role": "user", "content": "Hello"}], "stop": null}"#;
    /// assert!(ChatRequest::parse(body)?.mode());
    /// let refused = ChatRequest::parse(r#"{"messages": [{"role": "user", "content": "Hello"}], "temperature": 3}"#);
    /// let message = "Invalid temperature value, the valid range of temperature is [0, 2], found 3";
    /// assert_eq!(refused.unwrap_err().message(), message);
    /// # Ok::<(), lyn::Error>(())
    /// ```
    ///
    /// # Errors
    /// `bad_request` that names the field, also in its details as `param`, with what was found and expected.
    pub fn parse(body: impl AsRef<[u8]>) -> Result<ChatRequest> {
        let mut json = serde_json::Deserializer::from_slice(body.as_ref());
        let request: ChatRequest = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            if !error.inner().is_data() {
                return syntax(error.inner());
            }
            let path = error.path().to_string();
            let place = if path == "." { String::new() } else { format!("{}: ", escape(&path)) };
            let what = escape_whole(&error.inner().to_string());
            refuse(&escape(&path), format!("Failed to deserialize the JSON body into the target type: {place}{what}"))
        })?;
        json.end().map_err(|error| syntax(&error))?;
        request.check()?;
        Ok(request)
    }

    fn check(&self) -> Result<()> {
        if self.messages.is_empty() {
            return Err(refuse("messages", "Empty input messages"));
        }
        let numbers = [
            ("temperature", self.temperature, 0.0..=2.0, "[0, 2]"),
            ("top_p", self.top_p, f64::MIN_POSITIVE..=1.0, "(0, 1.0]"),
            ("min_p", self.min_p, 0.0..=1.0, "[0, 1]"),
            ("presence_penalty", self.presence_penalty, -2.0..=2.0, "[-2, 2]"),
            ("frequency_penalty", self.frequency_penalty, -2.0..=2.0, "[-2, 2]"),
            ("repetition_penalty", self.repetition_penalty, 0.01..=10.0, "[0.01, 10]"),
        ];
        for (field, value, range, shown) in numbers {
            if let Some(value) = value.filter(|value| !range.contains(value)) {
                return Err(invalid(field, shown, value));
            }
        }
        let most = i64::from(u32::MAX);
        let integers = [
            ("max_tokens", self.max_tokens, 0..=i64::MAX, "[1, 65536]"),
            ("max_completion_tokens", self.max_completion_tokens, 0..=i64::MAX, "[1, 65536]"),
            ("top_k", self.top_k, -1..=most, "[-1, 4294967295]"),
            ("top_logprobs", self.top_logprobs, 0..=20, "[0, 20]"),
            ("n", self.n, 1..=8, "[1, 8]"),
        ];
        for (field, value, range, shown) in integers {
            if let Some(value) = value.filter(|value| !range.contains(value)) {
                return Err(invalid(field, shown, value));
            }
        }
        if let Some((id, bias)) = self.logit_bias.iter().flatten().find(|(_, bias)| !(-100.0..=100.0).contains(*bias)) {
            return Err(invalid("logit_bias", "[-100, 100]", format!("{bias} for {}", quote(id))));
        }
        if let Some(seed) = self.seed.as_ref().filter(|seed| seed_bits(seed).is_none()) {
            let found = escape(&seed.to_string());
            return Err(refuse("seed", format!("Invalid seed value, expected an integer of 64 bits, found {found}")));
        }
        if self.top_logprobs.is_some_and(|count| count > 0) && self.logprobs != Some(true) {
            let rule = "logprobs must be set to true if top_logprobs is used.";
            return Err(refuse("top_logprobs", format!("Invalid top_logprobs and logprobs value, {rule}")));
        }
        StopStrings::new(self.stops())?;
        self.check_honoured()
    }

    /// Refuses what this version cannot do: an answer without it would be another answer.
    fn check_honoured(&self) -> Result<()> {
        if let Some(n) = self.n.filter(|&n| n > 1) {
            return Err(refuse(
                "n",
                format!("n: several answers to one request are not supported yet: expected 1, found {n}"),
            ));
        }
        match self.response_format.as_ref().map(|format| format.r#type.as_str()) {
            None | Some("text") => {}
            Some(kind @ ("json_object" | "json_schema")) => {
                let message = format!("response_format.type: {kind} is not supported yet: expected \"text\"");
                return Err(
                    refuse("response_format", message).with_help("ask for JSON in a message, and check the answer")
                );
            }
            Some(other) => {
                let message =
                    format!("This response_format type is unavailable now: found {}, expected \"text\"", quote(other));
                return Err(refuse("response_format", message));
            }
        }
        let tools = self.tools.as_ref().map_or(0, Vec::len);
        let named = |choice: &Value| choice.get("type").and_then(Value::as_str) == Some("function");
        match (&self.tool_choice, tools) {
            (Some(Value::String(choice)), _) if choice == "none" => Ok(()),
            (Some(Value::String(choice)), 0) if choice == "auto" => Ok(()),
            (None, 0) => Ok(()),
            (Some(choice), _) if !named(choice) && !matches!(choice.as_str(), Some("auto" | "required")) => {
                let found = escape(&choice.to_string());
                let expected = "expected one of `none`, `auto`, `required` or a tool";
                Err(refuse("tool_choice", format!("tool_choice: {expected}, found {found}")))
            }
            (Some(choice), 0) => {
                let found = escape(&choice.to_string());
                Err(refuse(
                    "tool_choice",
                    format!("tool_choice: expected `none` or `auto` without tools, found {found}"),
                ))
            }
            (_, tools) => {
                let message = format!(
                    "tools: calling tools is not supported yet: expected tool_choice `none` or no tools, found {tools}"
                );
                Err(refuse("tools", message).with_help("leave out tools, or set tool_choice to none"))
            }
        }
    }

    /// Whether the model is to think first: the body's own word, else what the model's id stands for.
    #[must_use]
    pub fn mode(&self) -> bool {
        let effort = |effort: Effort| effort != Effort::None;
        let arguments = self.chat_template_kwargs.unwrap_or_default();
        let reasoning = self.reasoning.unwrap_or_default();
        let said = [
            self.thinking.map(|thinking| thinking.r#type != ThinkingType::Disabled),
            self.reasoning_effort.map(effort),
            arguments.thinking,
            arguments.enable_thinking,
            self.enable_thinking,
            reasoning.enabled,
            reasoning.effort.map(effort),
        ];
        said.into_iter().flatten().next().unwrap_or_else(|| self.model.as_deref().is_some_and(thinks))
    }

    /// Whether the answer is to come by chunks.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.stream == Some(true)
    }

    /// What the engine is to do: the prompt in the checkpoint's own format, the checkpoint's sampling where the request has
    /// none, and as many tokens as were asked for and as the context holds.
    ///
    /// # Errors
    /// `bad_request` where messages cannot be rendered, `context_overflow` where the prompt alone is too long.
    pub fn to_request(&self, engine: &Engine) -> Result<Request> {
        let thinking = self.mode();
        let continues =
            self.messages.last().is_some_and(|last| last.role == Role::Assistant && last.prefix == Some(true));
        if let Detected::Format(format) = engine.chat_format() {
            self.check_end(format, thinking, continues)?;
        }
        let options =
            Options { thinking, add_generation_prompt: !continues, continue_final: continues, ..Options::default() };
        let prompt = engine.render(&self.conversation(), options)?;
        let room = room(&prompt, engine.plan().context)?;
        let asked = [self.max_tokens, self.max_completion_tokens].into_iter().flatten().filter(|&most| most > 0).min();
        let default = if thinking { DEFAULT_MAX_TOKENS_THINKING } else { DEFAULT_MAX_TOKENS };
        let most = asked.map_or(default, |most| u32::try_from(most).unwrap_or(u32::MAX));
        // A continued answer may stand behind its thought already.
        let tokenizer = engine.tokenizer()?;
        let [open, close] = [control::THINK, control::END_THINK].map(|token| tokenizer.token_id(token));
        let last = prompt.iter().rev().find(|&&id| Some(id) == open || Some(id) == close);
        Ok(Request {
            sampling: self.sampling(engine),
            max_tokens: Some(most.min(room)),
            stop: self.stops(),
            thinking: last.is_some_and(|&id| Some(id) == open),
            ..Request::new(prompt)
        })
    }

    /// The answer to this request, as it will be told. `created`: Unix seconds.
    ///
    /// # Errors
    /// `bad_checkpoint` where log probabilities are asked for and there is no tokenizer.
    pub fn completion(&self, engine: &Engine, id: impl Into<String>, created: u64) -> Result<Completion> {
        let model = self.model.clone().unwrap_or_else(|| engine.plan().model_type.clone());
        let mut completion = Completion::new(id, created, model, self.mode());
        if self.is_stream() && self.stream_options.and_then(|options| options.include_usage) == Some(true) {
            completion = completion.with_usage_apart();
        }
        if self.logprobs == Some(true) {
            completion = completion.with_logprobs(engine.shared_tokenizer()?);
        }
        Ok(completion)
    }

    /// The messages as the formats know them. Tools are not rendered: the model is not to call any.
    fn conversation(&self) -> Conversation {
        let mut messages = self.messages.clone();
        for message in messages.iter_mut().filter(|message| message.role == Role::Developer) {
            message.role = Role::System;
        }
        Conversation { messages, ..Conversation::default() }
    }

    /// A conversation must end where the format opens an answer.
    fn check_end(&self, format: ChatFormat, thinking: bool, continues: bool) -> Result<()> {
        let is_system = |message: &Message| matches!(message.role, Role::System | Role::Developer);
        if format != ChatFormat::Exp && self.messages.iter().all(is_system) {
            return Err(refuse("messages", "messages: expected a user message, found system messages only"));
        }
        let ends_with_answer = self.messages.last().is_some_and(|last| last.role == Role::Assistant) && !continues;
        if ends_with_answer && (thinking || format != ChatFormat::Exp) {
            let model = escape(self.model.as_deref().unwrap_or("this model"));
            let rule = "must be a user message, or an assistant message with prefix mode on (refer to \
                https://api-docs.deepseek.com/guides/chat_prefix_completion).";
            return Err(refuse("messages", format!("The last message of {model} {rule}")));
        }
        Ok(())
    }

    fn sampling(&self, engine: &Engine) -> SamplingParams {
        #[expect(clippy::cast_possible_truncation, reason = "the sampler takes f32")]
        let single = |value: f64| value as f32;
        let defaults = SamplingParams::recommended(engine.defaults());
        let count = |value: Option<i64>| value.and_then(|value| u32::try_from(value).ok()).unwrap_or(0);
        let biases = self.logit_bias.iter().flatten();
        SamplingParams {
            temperature: self.temperature.map_or(defaults.temperature, single),
            top_k: count(self.top_k),
            // A share too small for f32 still keeps the likeliest token.
            top_p: self.top_p.map_or(defaults.top_p, |share| single(share).max(f32::MIN_POSITIVE)),
            min_p: self.min_p.map_or(defaults.min_p, single),
            repetition_penalty: self.repetition_penalty.map_or(1.0, single),
            presence_penalty: self.presence_penalty.map_or(0.0, single),
            frequency_penalty: self.frequency_penalty.map_or(0.0, single),
            logit_bias: biases.filter_map(|(id, &bias)| Some((id.parse().ok()?, single(bias)))).collect(),
            seed: self.seed.as_ref().and_then(seed_bits).unwrap_or_else(platform::seed),
            logprobs: (self.logprobs == Some(true)).then(|| count(self.top_logprobs)),
            ..defaults
        }
    }

    fn stops(&self) -> Vec<String> {
        match &self.stop {
            None => vec![],
            Some(Stop::One(text)) => vec![text.clone()],
            Some(Stop::Several(texts)) => texts.clone(),
        }
    }
}

fn syntax(error: &serde_json::Error) -> Error {
    let what = escape_whole(&error.to_string());
    Error::new(Code::BadRequest, format!("Failed to parse the request body as JSON: {what}"))
}

/// Negative seeds are as good as others.
fn seed_bits(seed: &Number) -> Option<u64> {
    seed.as_u64().or_else(|| seed.as_i64().map(i64::cast_unsigned))
}

/// Whether a model's id stands for the thinking mode.
fn thinks(id: &str) -> bool {
    let id = id.trim().to_lowercase();
    let root = ["deepseek/", "deepseek-ai/"].iter().find_map(|router| id.strip_prefix(router)).unwrap_or(&id);
    matches!(root, "deepseek-reasoner" | "deepseek-r1") || root.ends_with("-thinking")
}
