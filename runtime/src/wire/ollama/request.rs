//! Ollama's requests, as requests of a chat or of a text.

use serde::{Deserialize, Deserializer};
use serde_json::{Number, Value};

use crate::chat::{Content, FunctionCall, Message, Role, Tool, ToolCall};
use crate::error::{Error, Result, quote};
use crate::wire::openai::{ChatRequest, PromptField, ResponseFormat, Rules, Stop, TextRequest, Thinking, ThinkingType};
use crate::wire::refuse;

/// The fields of chat and of generate.
#[derive(Deserialize)]
struct OllamaRequest {
    model: String,
    messages: Option<Vec<Turn>>,
    tools: Option<Vec<Tool>>,
    prompt: Option<String>,
    suffix: Option<String>,
    system: Option<String>,
    template: Option<String>,
    raw: Option<bool>,
    images: Option<Vec<Value>>,
    /// A conversation as ids, from the time before chat.
    context: Option<Vec<Value>>,
    stream: Option<bool>,
    format: Option<Value>,
    think: Option<Think>,
    options: Option<Options>,
    keep_alive: Option<Value>,
}

#[derive(Deserialize)]
struct Turn {
    role: Role,
    content: Option<String>,
    thinking: Option<String>,
    images: Option<Vec<Value>>,
    tool_calls: Option<Vec<Call>>,
    tool_call_id: Option<String>,
    tool_name: Option<String>,
    /// The older name of `tool_name`.
    name: Option<String>,
}

#[derive(Deserialize)]
struct Call {
    id: Option<String>,
    function: FunctionCall,
}

/// What is honoured of the options. Some programs write all numbers with a fraction.
#[derive(Default, Deserialize)]
struct Options {
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<Number>,
    min_p: Option<f64>,
    seed: Option<Number>,
    stop: Option<Stop>,
    num_predict: Option<Number>,
    repeat_penalty: Option<f64>,
    /// Only 0 has a meaning: no penalty.
    repeat_last_n: Option<Number>,
    presence_penalty: Option<f64>,
    frequency_penalty: Option<f64>,
}

/// Whether to think; the model has no levels.
struct Think(bool);

impl<'de> Deserialize<'de> for Think {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Think, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Bool(think) => Ok(Think(think)),
            Value::String(level) if matches!(level.as_str(), "low" | "medium" | "high" | "max") => Ok(Think(true)),
            _ => Err(serde::de::Error::custom("expected true, false, low, medium, high or max")),
        }
    }
}

/// What is to be done.
pub struct OllamaTask {
    /// The model, as it was named.
    pub model: String,
    /// Whether the answer is to come by lines.
    pub streams: bool,
    /// The rest.
    pub what: What,
}

/// What a request asks for.
pub enum What {
    /// Nothing is said: the model is to be there.
    Load {
        /// What the answer says of it.
        done_reason: &'static str,
    },
    /// The answer to a conversation.
    Chat(Box<ChatRequest>),
    /// What follows a text, or fills the hole in one.
    Text(Box<TextRequest>),
}

/// What a request asks for, checked. `generates`: by generate, else by chat.
///
/// # Errors
/// `bad_request`, with the field in its details as `param`.
pub fn asked(rules: &Rules, body: &[u8], generates: bool) -> Result<OllamaTask> {
    let (request, ignored) = crate::json::read::<OllamaRequest>(body)?;
    request.asked(rules, ignored, generates)
}

/// A name without the tag that Ollama adds to names without one.
pub fn plain_name(name: &str) -> &str {
    name.strip_suffix(":latest").unwrap_or(name)
}

impl OllamaRequest {
    /// `ignored`: fields without a meaning.
    fn asked(mut self, rules: &Rules, mut ignored: Vec<String>, generates: bool) -> Result<OllamaTask> {
        // Ollama asks for no word in a message.
        let rules = Rules { json_word: false, ..rules.clone() };
        let (model, streams) = (self.model.clone(), self.stream.unwrap_or(true));
        let empty = match generates {
            true => self.prompt.as_deref().unwrap_or_default().is_empty(),
            false => self.messages.as_ref().is_none_or(Vec::is_empty),
        };
        let unloads = self.keep_alive.take().is_some_and(|time| is_zero(&time));
        if empty && !self.has_suffix() {
            let done_reason = if unloads { "unload" } else { "load" };
            return Ok(OllamaTask { model, streams, what: What::Load { done_reason } });
        }
        let last = self.options.as_ref().and_then(|options| options.repeat_last_n.as_ref());
        if last.is_some_and(|n| !is_zero_number(n)) {
            ignored.push("options.repeat_last_n".to_owned());
        }
        let what = match generates {
            true => self.generate(&rules, ignored)?,
            false => What::Chat(Box::new(self.chat(&rules, ignored)?)),
        };
        Ok(OllamaTask { model, streams, what })
    }

    fn has_suffix(&self) -> bool {
        self.suffix.as_ref().is_some_and(|suffix| !suffix.is_empty())
    }

    fn chat(mut self, rules: &Rules, ignored: Vec<String>) -> Result<ChatRequest> {
        let messages = conversation(self.messages.take().unwrap_or_default())?;
        self.asking(messages, rules)?.checked(rules, ignored)
    }

    fn generate(mut self, rules: &Rules, ignored: Vec<String>) -> Result<What> {
        if self.images.take().is_some_and(|images| !images.is_empty()) {
            return Err(images("images"));
        }
        if self.template.take().is_some_and(|template| !template.is_empty()) {
            return Err(refuse("template", "not supported; send the whole prompt with raw: true"));
        }
        if self.context.take().is_some_and(|context| !context.is_empty()) {
            return Err(refuse("context", "not supported; send the messages to /api/chat"));
        }
        let prompt = self.prompt.take().unwrap_or_default();
        if self.raw == Some(true) || self.has_suffix() {
            return Ok(What::Text(Box::new(self.text(prompt, rules)?.checked(rules, ignored)?)));
        }
        let system = self.system.take().filter(|system| !system.is_empty()).map(|text| Message::of(Role::System, text));
        let messages = system.into_iter().chain([Message::of(Role::User, prompt)]).collect();
        Ok(What::Chat(Box::new(self.asking(messages, rules)?.checked(rules, ignored)?)))
    }

    fn asking(self, mut messages: Vec<Message>, rules: &Rules) -> Result<ChatRequest> {
        let options = self.options.unwrap_or_default();
        let mode = |thinks| if thinks { ThinkingType::Enabled } else { ThinkingType::Disabled };
        let mut thinking = self.think.map(|Think(thinks)| Thinking { r#type: mode(thinks) });
        // An answer that has begun goes on, and is not thought about first.
        if let Some(last) = messages.last_mut().filter(|last| last.role == Role::Assistant) {
            last.prefix = Some(true);
            thinking = Some(Thinking { r#type: ThinkingType::Disabled });
        }
        Ok(ChatRequest {
            messages,
            model: Some(plain_name(&self.model).to_owned()),
            stream: self.stream,
            response_format: response_format(self.format)?,
            thinking,
            tools: self.tools,
            max_tokens: options.most_tokens(rules)?,
            top_k: options.whole("top_k", options.top_k.as_ref())?,
            seed: options.seed()?,
            repetition_penalty: options.repetition_penalty(),
            temperature: options.temperature,
            top_p: options.top_p,
            min_p: options.min_p,
            stop: options.stop,
            presence_penalty: options.presence_penalty,
            frequency_penalty: options.frequency_penalty,
            ..ChatRequest::default()
        })
    }

    /// A text without a chat format, or what fills the hole before a suffix.
    fn text(mut self, prompt: String, rules: &Rules) -> Result<TextRequest> {
        let suffix = self.suffix.take().filter(|suffix| !suffix.is_empty());
        // A raw prompt is written with its control tokens.
        let parse_special = Some(self.raw == Some(true));
        let asking = self.asking(vec![], rules)?;
        if asking.response_format.is_some() {
            return Err(refuse("format", "cannot be combined with raw or suffix"));
        }
        Ok(TextRequest { suffix, parse_special, ..TextRequest::asked_as(PromptField::Text(prompt), asking) })
    }
}

impl Options {
    /// A whole number, however it is written.
    fn whole(&self, name: &str, number: Option<&Number>) -> Result<Option<i64>> {
        let Some(number) = number else { return Ok(None) };
        let place = format!("options.{name}");
        let whole = number.as_i64().or_else(|| number.as_f64().and_then(whole));
        whole.map(Some).ok_or_else(|| refuse(&place, format_args!("expected a whole number, found {number}")))
    }

    /// Below 1 means as many as there is room for.
    fn most_tokens(&self, rules: &Rules) -> Result<Option<i64>> {
        let most = self.whole("num_predict", self.num_predict.as_ref())?;
        Ok(match most {
            Some(most) if most < 1 && rules.compat.is_strict() => None,
            Some(most) if most < 1 => Some(i64::MAX),
            most => most,
        })
    }

    fn seed(&self) -> Result<Option<Number>> {
        match &self.seed {
            Some(seed) if seed.is_f64() => Ok(self.whole("seed", Some(seed))?.map(Number::from)),
            seed => Ok(seed.clone()),
        }
    }

    fn repetition_penalty(&self) -> Option<f64> {
        self.repeat_penalty.filter(|_| !self.repeat_last_n.as_ref().is_some_and(is_zero_number))
    }
}

/// A number that is whole and exact as f64.
#[expect(clippy::cast_possible_truncation, reason = "it is whole and below 2^53")]
fn whole(number: f64) -> Option<i64> {
    let exact = number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0;
    exact.then_some(number as i64)
}

fn is_zero_number(number: &Number) -> bool {
    number.as_f64() == Some(0.0)
}

/// Whether a time to keep the model is none: `0`, `"0"`, `"0s"`.
fn is_zero(time: &Value) -> bool {
    match time {
        Value::Number(number) => is_zero_number(number),
        Value::String(text) => text.trim_end_matches(char::is_alphabetic).parse() == Ok(0.0_f64),
        _ => false,
    }
}

/// The empty word is sent by programs that want no form.
fn response_format(format: Option<Value>) -> Result<Option<ResponseFormat>> {
    match format {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(word)) if word.is_empty() => Ok(None),
        Some(Value::String(word)) if word == "json" => Ok(Some(ResponseFormat::of("json_object", None))),
        Some(schema @ Value::Object(_)) => Ok(Some(ResponseFormat::of("json_schema", Some(schema)))),
        Some(other) => {
            Err(refuse("format", format_args!("expected json or a schema, found {}", quote(&other.to_string()))))
        }
    }
}

fn images(place: &str) -> Error {
    refuse(place, "images are not supported: this model reads text only")
}

/// Turns as messages. Calls have no ids of their own here, or not always: results name the function, or follow the order
/// of the calls.
fn conversation(turns: Vec<Turn>) -> Result<Vec<Message>> {
    let mut messages: Vec<Message> = vec![];
    // Calls that wait for their results: place of the turn, id, function.
    let mut open: Vec<(usize, String, String)> = vec![];
    let mut drawn = 0_usize;
    for (index, turn) in turns.into_iter().enumerate() {
        if turn.images.is_some_and(|images| !images.is_empty()) {
            return Err(images(&format!("messages[{index}].images")));
        }
        let mut message = Message { role: turn.role, ..Message::default() };
        let mut text = turn.content.unwrap_or_default();
        if turn.role == Role::Tool {
            let name = turn.tool_name.or(turn.name);
            let by_id = open.iter().position(|(_, id, _)| turn.tool_call_id.as_ref() == Some(id));
            let by_name = || open.iter().position(|(_, _, function)| name.as_ref() == Some(function));
            let place = by_id.or_else(by_name).unwrap_or(0);
            if open.is_empty() {
                let message = "a tool result without a preceding call";
                return Err(refuse(&format!("messages[{index}]"), message));
            }
            message.tool_call_id = Some(open.remove(place).1);
        } else if turn.role == Role::Assistant {
            message.reasoning_content = turn.thinking;
            let calls = turn.tool_calls.unwrap_or_default();
            // Some programs write a turn with several calls as several turns.
            let joins = !calls.is_empty() && !open.is_empty();
            let before = messages.pop_if(|last| joins && last.role == Role::Assistant);
            if before.is_none() {
                open.clear();
            }
            let calls = calls.into_iter().map(|Call { id, function }| {
                let id = id.filter(|id| !id.is_empty()).unwrap_or_else(|| {
                    drawn = drawn.saturating_add(1);
                    format!("call_{drawn}")
                });
                open.push((index, id.clone(), function.name.clone()));
                ToolCall { id: Some(id), function }
            });
            let mut calls: Vec<ToolCall> = calls.collect();
            if let Some(before) = before {
                calls.splice(0..0, before.tool_calls.unwrap_or_default());
                message.reasoning_content = before.reasoning_content.or(message.reasoning_content);
                if let Some(Content::Text(earlier)) = before.content {
                    text.insert_str(0, &earlier);
                }
            }
            message.tool_calls = (!calls.is_empty()).then_some(calls);
        } else {
            // Calls without results are for whoever renders them.
            open.clear();
        }
        message.content = Some(Content::Text(text));
        messages.push(message);
    }
    match open.first() {
        None => Ok(messages),
        Some((index, _, function)) => {
            let message =
                format_args!("expected a following message of role tool with the result of {}", quote(function));
            Err(refuse(&format!("messages[{index}].tool_calls"), message))
        }
    }
}
