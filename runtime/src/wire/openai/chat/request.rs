//! The body of a request, and what its fields say together. Unknown fields are ignored, null means absent.

use std::collections::BTreeMap;

use serde::de::IntoDeserializer;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Number, Value};

use crate::chat::{AnswerShape, FunctionType, Message, ResponseShape, Role, Tool, ToolChoice, ToolSpec};
use crate::error::Result;
use crate::json::text_or_object;
use crate::wire::openai::beside::Wishes;
use crate::wire::openai::body::body;
use crate::wire::openai::form::{FormFields, ResponseFormat, StructuredOutputs};
use crate::wire::openai::rules::Given;
use crate::wire::openai::sampling::{Sampling, Stop};

/// Tokens of an answer: where the request does not say, and DeepSeek's cap.
const CHAT_TOKENS: (u32, u32) = (4096, 8192);
const THINKING_TOKENS: (u32, u32) = (32_768, 65_536);

body! {
    /// The body of a chat completion.
    #[derive(Clone, Debug, Default, Deserialize, Serialize)]
    pub struct ChatRequest {
        /// The conversation, at least one message.
        pub messages: Vec<Message>,
        /// Tokens of the answer at most; 0 counts as absent.
        pub max_tokens: Option<i64>,
        /// OpenAI's later name for it; the smaller one counts.
        pub max_completion_tokens: Option<i64>,
        /// Report log probabilities.
        pub logprobs: Option<bool>,
        /// And of this many of the most probable tokens, 20 at most.
        pub top_logprobs: Option<u64>,
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
        /// Functions on offer, 128 at most.
        pub tools: Option<Vec<Tool>>,
        /// Whether one is called; absent: as the model decides.
        pub tool_choice: Option<ToolChoiceField>,
        /// Whether several calls may be in one answer; absent: yes.
        pub parallel_tool_calls: Option<bool>,
        /// OpenAI's older name for `tools`, which is refused.
        pub functions: Option<Value>,
        /// And for `tool_choice`.
        pub function_call: Option<Value>,
        /// vLLM's name for `prefix` on the last message.
        pub continue_final_message: Option<bool>,
        /// Whether the prompt opens an answer; absent: yes, unless the last message is continued.
        pub add_generation_prompt: Option<bool>,
    }
}

/// How to stream.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct StreamOptions {
    /// Counts come in a chunk of their own, after the last.
    pub include_usage: Option<bool>,
}

/// `{"type": "enabled"}`; other keys are ignored.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Thinking {
    /// On or off.
    pub r#type: ThinkingType,
}

/// Whether to think; adaptive counts as enabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each is its own name")]
pub enum ThinkingType {
    Adaptive,
    Enabled,
    Disabled,
}

/// How much to think: none, or some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
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
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct TemplateArguments {
    /// DeepSeek's name.
    pub thinking: Option<bool>,
    /// Qwen's name.
    pub enable_thinking: Option<bool>,
}

/// `{"enabled": true}` or `{"effort": "high"}`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[expect(missing_docs, reason = "each is its own name")]
pub struct Reasoning {
    pub enabled: Option<bool>,
    pub effort: Option<Effort>,
}

/// `tool_choice`: a word, or a function by its name.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
#[expect(missing_docs, reason = "each is its own name")]
pub enum ToolChoiceField {
    Word(ToolChoiceWord),
    Tool(NamedTool),
}

impl ToolChoiceField {
    pub(crate) fn named(name: impl Into<String>) -> ToolChoiceField {
        ToolChoiceField::Tool(NamedTool {
            r#type: FunctionType::Function,
            function: FunctionName { name: name.into() },
        })
    }
}

impl<'de> Deserialize<'de> for ToolChoiceField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ToolChoiceField, D::Error> {
        let word = |text: &str| {
            let word: Result<_, serde::de::value::Error> = ToolChoiceWord::deserialize(text.into_deserializer());
            word.ok().map(ToolChoiceField::Word)
        };
        text_or_object(deserializer, "one of `none`, `auto`, `required` or a tool", word, ToolChoiceField::Tool)
    }
}

/// Whether a function is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each is its own name")]
pub enum ToolChoiceWord {
    None,
    Auto,
    Required,
}

/// `{"type": "function", "function": {"name": …}}`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct NamedTool {
    /// There is only one.
    pub r#type: FunctionType,
    /// The function.
    pub function: FunctionName,
}

/// The name of a function.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct FunctionName {
    /// One of those on offer.
    pub name: String,
}

impl ChatRequest {
    /// The request as a body again, as other engines take it: without what is absent, and with what they ask for beside it.
    pub fn to_body(&self) -> Map<String, Value> {
        let Ok(Value::Object(mut body)) = serde_json::to_value(self) else { return Map::new() };
        body.retain(|_, value| !value.is_null());
        let list = |value: &mut Value| value.as_array_mut().map(std::mem::take).unwrap_or_default();
        let entries = |fields: &mut Map<String, Value>, name: &str, each: &dyn Fn(&mut Map<String, Value>)| {
            let mut all = fields.get_mut(name).map(list).unwrap_or_default();
            all.iter_mut().filter_map(Value::as_object_mut).for_each(|entry| {
                entry.retain(|_, value| !value.is_null());
                each(entry);
            });
            if !all.is_empty() {
                fields.insert(name.to_owned(), Value::Array(all));
            }
        };
        let function = |entry: &mut Map<String, Value>| {
            entry.insert("type".to_owned(), Value::from("function"));
        };
        entries(&mut body, "tools", &function);
        entries(&mut body, "messages", &|message| {
            entries(message, "tool_calls", &function);
            entries(message, "content", &|_| {});
        });
        if let Some(Value::Object(schema)) = body.get_mut("response_format").and_then(|it| it.get_mut("json_schema")) {
            schema.insert("name".to_owned(), Value::from("answer"));
            schema.insert("strict".to_owned(), Value::from(true));
        }
        body
    }

    /// Whether the model is to think first: the body's own word, else what the model's id stands for.
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
        said.into_iter().flatten().next().unwrap_or(self.given.model.thinking)
    }

    /// What the answer has to look like.
    pub fn shape(&self) -> AnswerShape {
        let response = self.form().unwrap_or_default();
        let keeps_schemas = self.given.rules.has_beta();
        let spec = |tool: &Tool| ToolSpec {
            name: tool.name().to_owned(),
            parameters: tool.field("parameters").cloned().unwrap_or_else(|| Value::Object(Map::new())),
            strict: keeps_schemas && tool.is_strict(),
        };
        let tools: Vec<ToolSpec> = self.tools.iter().flatten().map(spec).collect();
        let choice = match &self.tool_choice {
            _ if tools.is_empty() => ToolChoice::None,
            None | Some(ToolChoiceField::Word(ToolChoiceWord::Auto)) => ToolChoice::Auto,
            Some(ToolChoiceField::Word(ToolChoiceWord::None)) => ToolChoice::None,
            Some(ToolChoiceField::Word(ToolChoiceWord::Required)) => ToolChoice::Required,
            Some(ToolChoiceField::Tool(tool)) => ToolChoice::Named(tool.function.name.clone()),
        };
        AnswerShape { response, tools, choice, parallel: self.parallel_tool_calls != Some(false) }
    }

    /// The one form that the answer is asked to have.
    ///
    /// # Errors
    /// `bad_request` where two are asked for, or one that is not known.
    pub(super) fn form(&self) -> Result<ResponseShape> {
        self.form_fields().form(self.given.rules.compat.is_strict())
    }

    /// Whether the last message is continued instead of answered.
    pub(super) fn continues(&self) -> bool {
        let prefix = |last: &Message| last.role == Role::Assistant && last.prefix == Some(true);
        self.continue_final_message == Some(true) || self.messages.last().is_some_and(prefix)
    }

    /// DeepSeek's default and cap of the tokens of an answer.
    pub(crate) const fn token_limits(thinking: bool) -> (u32, u32) {
        if thinking { THINKING_TOKENS } else { CHAT_TOKENS }
    }

    /// What the request says of the length of its answer.
    pub(super) fn asked_tokens(&self) -> Option<u32> {
        let asked = [self.max_tokens, self.max_completion_tokens].into_iter().flatten().filter(|&most| most > 0).min();
        asked.map(|most| u32::try_from(most).unwrap_or(u32::MAX))
    }

    pub(super) fn sampling(&self) -> Sampling<'_> {
        let most = || self.top_logprobs.and_then(|k| k.try_into().ok()).unwrap_or(0);
        self.sampling_with((self.logprobs == Some(true)).then(most))
    }
}
