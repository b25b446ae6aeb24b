//! A request as items, turned into that of a chat completion.

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use super::items::{Item, Turns};
use crate::chat::{FunctionType, Message, Role, Tool};
use crate::error::{Error, Result, quote};
use crate::json::text_or_list;
use crate::wire::openai::chat::{ChatRequest, Effort, Reasoning, ToolChoiceField, ToolChoiceWord};
use crate::wire::openai::form::ResponseFormat;
use crate::wire::openai::rules::{self, Compat, Rules, ensure, refuse};

const LOGPROBS: &str = "message.output_text.logprobs";
/// What a client needs to send a thought back.
const ENCRYPTED_REASONING: &str = "reasoning.encrypted_content";

/// The body of a request. Nothing is kept between two of them.
#[derive(Clone, Debug, Deserialize)]
pub struct ResponsesRequest {
    /// A user's text, or the items of a conversation.
    pub input: Input,
    /// Echoed; chooses the mode where `reasoning` does not.
    pub model: Option<String>,
    /// A system message before all others.
    pub instructions: Option<String>,
    /// Tokens of the answer at most, its thought included.
    pub max_output_tokens: Option<i64>,
    /// 0 to 2.
    pub temperature: Option<f64>,
    /// Above 0, up to 1.
    pub top_p: Option<f64>,
    /// Of this many of the most probable tokens, where `include` asks for log probabilities.
    pub top_logprobs: Option<u64>,
    /// Functions on offer; no other kind of tool is served.
    pub tools: Option<Vec<Value>>,
    /// Whether one is called.
    pub tool_choice: Option<Value>,
    /// Whether several calls may be in one answer.
    pub parallel_tool_calls: Option<bool>,
    /// The form of the answer.
    pub text: Option<TextOptions>,
    /// How to think.
    pub reasoning: Option<ReasoningOptions>,
    /// What else is told.
    pub include: Option<Vec<String>>,
    /// Answer by events.
    pub stream: Option<bool>,
    /// Echoed.
    pub metadata: Option<Map<String, Value>>,
    /// Whose prompts may share what is cached.
    pub user_id: Option<String>,
    /// Accepted, whatever it says: nothing is kept.
    pub store: Option<bool>,
    /// Accepted: what does not fit is refused.
    pub truncation: Option<String>,
    /// These mean nothing here, but no client needs to be told: they never change an answer.
    pub prompt_cache_key: Option<Value>,
    /// As `prompt_cache_key`.
    pub safety_identifier: Option<Value>,
    /// As `prompt_cache_key`.
    pub user: Option<Value>,
    /// As `prompt_cache_key`.
    pub service_tier: Option<Value>,
    /// As `prompt_cache_key`.
    pub stream_options: Option<Value>,
    /// Refused.
    pub previous_response_id: Option<Value>,
    /// Refused.
    pub conversation: Option<Value>,
    /// Refused.
    pub prompt: Option<Value>,
    /// Refused where true.
    pub background: Option<bool>,
    #[serde(skip)]
    ignored: Vec<String>,
}

/// What is answered.
#[derive(Clone, Debug)]
pub enum Input {
    Text(String),
    Items(Vec<Map<String, Value>>),
}

impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Input, D::Error> {
        text_or_list(deserializer, "a string or an array of items", Input::Text, Input::Items)
    }
}

/// `text`: the form of the answer.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct TextOptions {
    /// `text`, `json_object`, or `json_schema` with its schema.
    pub format: Option<Format>,
    /// Accepted: the model knows no measure.
    pub verbosity: Option<Value>,
}

/// `text.format`.
#[derive(Clone, Debug, Deserialize)]
pub struct Format {
    /// Its kind.
    pub r#type: String,
    /// Echoed.
    pub name: Option<String>,
    /// Accepted.
    pub description: Option<Value>,
    /// Echoed; an answer always fits.
    pub strict: Option<bool>,
    /// What an answer has to fit.
    pub schema: Option<Value>,
}

/// `reasoning`: how to think.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ReasoningOptions {
    /// None, or some: the model has no levels.
    pub effort: Option<Effort>,
    /// Where given, the thought is told as a summary too.
    pub summary: Option<String>,
    /// The older name.
    pub generate_summary: Option<String>,
}

impl ResponsesRequest {
    /// Parses a request.
    ///
    /// ```
    /// use lyn::wire::openai::{Compat, ResponsesRequest, Rules};
    /// let body = r#"{"model": "deepseek-chat", "instructions": "Be brief.", "input": "Hello"}"#;
    /// let request = ResponsesRequest::parse(Compat::Local, body)?;
    /// assert_eq!(request.to_chat(&Rules::default())?.messages.len(), 2);
    /// # Ok::<(), lyn::Error>(())
    /// ```
    ///
    /// # Errors
    /// `bad_request`, as [`ChatRequest::parse_by`].
    pub fn parse(compat: Compat, body: impl AsRef<[u8]>) -> Result<ResponsesRequest> {
        let (mut request, ignored) = rules::parse::<ResponsesRequest>(body.as_ref(), compat)?;
        request.ignored = ignored;
        Ok(request)
    }

    /// The same request for a chat completion, checked.
    ///
    /// # Errors
    /// `bad_request` for what needs memory of earlier answers, and as [`ChatRequest::checked`].
    pub fn to_chat(&self, rules: &Rules) -> Result<ChatRequest> {
        self.check_state()?;
        let logprobs = self.includes(LOGPROBS);
        let (tools, tool_choice) = self.offers()?;
        let chat = ChatRequest {
            messages: self.messages()?,
            model: self.model.clone(),
            max_completion_tokens: self.max_output_tokens,
            temperature: self.temperature,
            top_p: self.top_p,
            logprobs: logprobs.then_some(true),
            top_logprobs: self.top_logprobs.filter(|_| logprobs),
            stream: self.stream,
            reasoning: self.effort().map(|effort| Reasoning { enabled: None, effort: Some(effort) }),
            tools,
            tool_choice,
            parallel_tool_calls: self.parallel_tool_calls,
            response_format: self.format(),
            user_id: self.user_id.clone(),
            ..ChatRequest::default()
        };
        chat.checked(rules, self.ignored.clone())
    }

    /// What needs memory of earlier answers, or work that nobody waits for.
    fn check_state(&self) -> Result<()> {
        let advice = "this server is stateless: send the whole conversation as input";
        let kept = [
            ("previous_response_id", self.previous_response_id.is_some()),
            ("conversation", self.conversation.is_some()),
            ("prompt", self.prompt.is_some()),
        ];
        for (field, given) in kept {
            ensure(!given, field, format_args!("{field}: {advice}"))?;
        }
        ensure(self.background != Some(true), "background", "background: not supported; omit it")
    }

    pub(super) fn includes(&self, what: &str) -> bool {
        self.include.iter().flatten().any(|included| included == what)
    }

    /// Whether thoughts are told in a form that clients without memory send back.
    pub(super) fn wants_encrypted(&self) -> bool {
        self.includes(ENCRYPTED_REASONING)
    }

    /// Whether the thought is told as a summary too.
    pub(super) fn wants_summary(&self) -> bool {
        self.reasoning.as_ref().is_some_and(|it| it.summary.is_some() || it.generate_summary.is_some())
    }

    fn effort(&self) -> Option<Effort> {
        self.reasoning.as_ref()?.effort
    }

    fn format(&self) -> Option<ResponseFormat> {
        let format = self.text.as_ref()?.format.as_ref()?;
        Some(ResponseFormat::of(&format.r#type, format.schema.clone()))
    }

    /// Functions on offer, and the choice among them.
    fn offers(&self) -> Result<(Option<Vec<Tool>>, Option<ToolChoiceField>)> {
        let functions = self.tools.iter().flatten().enumerate().map(|(index, tool)| function(index, tool));
        let mut tools = functions.collect::<Result<Vec<Tool>>>()?;
        let choice = match &self.tool_choice {
            None => None,
            Some(Value::String(word)) => Some(ToolChoiceField::Word(choice_word(word)?)),
            Some(choice) => {
                let field = |name: &str| choice.get(name).and_then(Value::as_str);
                match (field("type"), field("name")) {
                    (Some("function"), Some(name)) => Some(ToolChoiceField::named(name)),
                    (Some("allowed_tools"), _) => {
                        let allowed = choice.get("tools").and_then(Value::as_array).into_iter().flatten();
                        let allowed: Vec<&str> = allowed.filter_map(|tool| tool.get("name")?.as_str()).collect();
                        tools.retain(|tool| allowed.contains(&tool.name()));
                        Some(ToolChoiceField::Word(choice_word(field("mode").unwrap_or("auto"))?))
                    }
                    (kind, _) => {
                        return Err(no_choice(kind.unwrap_or_default()));
                    }
                }
            }
        };
        Ok((self.tools.is_some().then_some(tools), choice))
    }

    /// The conversation. What the model said in one turn is one message: its thought, its text, its calls.
    fn messages(&self) -> Result<Vec<Message>> {
        let mut messages = Turns::default();
        if let Some(instructions) = self.instructions.as_deref().filter(|text| !text.is_empty()) {
            messages.push(Message::of(Role::System, instructions));
        }
        match &self.input {
            Input::Text(input) => messages.push(Message::of(Role::User, input)),
            Input::Items(items) => {
                for (index, item) in items.iter().enumerate() {
                    messages.take(&Item { index, fields: item })?;
                }
            }
        }
        Ok(messages.finish())
    }

    /// What the answer repeats of the request.
    pub(super) fn echo(&self) -> Map<String, Value> {
        let format = self.text.as_ref().and_then(|text| text.format.as_ref()).map(|format| match &format.schema {
            Some(schema) => {
                let Format { r#type, name, strict, .. } = format;
                json!({ "type": r#type, "name": name, "schema": schema, "strict": strict })
            }
            None => json!({ "type": format.r#type }),
        });
        let reasoning = self.reasoning.clone().unwrap_or_default();
        let summary = reasoning.summary.or(reasoning.generate_summary);
        let fields = json!({
            "background": false,
            "instructions": self.instructions,
            "max_output_tokens": self.max_output_tokens,
            "max_tool_calls": null,
            "metadata": self.metadata.clone().unwrap_or_default(),
            "parallel_tool_calls": self.parallel_tool_calls.unwrap_or(true),
            "previous_response_id": null,
            "prompt_cache_key": self.prompt_cache_key,
            "reasoning": { "effort": reasoning.effort, "summary": summary },
            "safety_identifier": self.safety_identifier,
            "service_tier": "default",
            "store": false,
            "temperature": self.temperature,
            "text": { "format": format.unwrap_or_else(|| json!({ "type": "text" })) },
            "tool_choice": self.tool_choice.clone().unwrap_or_else(|| json!("auto")),
            "tools": self.tools.clone().unwrap_or_default(),
            "top_logprobs": self.top_logprobs.unwrap_or(0),
            "top_p": self.top_p,
            "truncation": "disabled",
            "user": self.user,
        });
        if let Value::Object(fields) = fields { fields } else { Map::new() }
    }
}

fn choice_word(word: &str) -> Result<ToolChoiceWord> {
    Ok(match word {
        "none" => ToolChoiceWord::None,
        "auto" => ToolChoiceWord::Auto,
        "required" => ToolChoiceWord::Required,
        _ => return Err(no_choice(word)),
    })
}

fn no_choice(found: &str) -> Error {
    let found = quote(found);
    refuse("tool_choice", format!("tool_choice: expected none, auto, required or a function, found {found}"))
}

/// A function on offer, flat or in the form of a chat completion.
fn function(index: usize, tool: &Value) -> Result<Tool> {
    let kind = tool.get("type").and_then(Value::as_str).unwrap_or_default();
    let found = quote(kind);
    let message = format_args!("tools[{index}].type: {found} is not supported: only function tools are; omit it");
    ensure(kind == "function", "tools", message)?;
    let flat = ["name", "description", "parameters", "strict"];
    let function = match tool.get("function") {
        Some(Value::Object(function)) => function.clone(),
        _ => flat.iter().filter_map(|&name| Some((name.to_owned(), tool.get(name)?.clone()))).collect(),
    };
    Ok(Tool { r#type: Some(FunctionType::Function), function })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat(input: Value) -> ChatRequest {
        let body = json!({ "model": "deepseek-chat", "instructions": "Be brief.", "input": input });
        let request = ResponsesRequest::parse(Compat::Local, body.to_string()).unwrap();
        request.to_chat(&Rules::default()).unwrap()
    }

    /// Role, thought, text and names of calls of each message.
    fn told(chat: &ChatRequest) -> Value {
        let message = |message: &Message| {
            let calls: Vec<&str> = message.calls().iter().map(|call| call.function.name.as_str()).collect();
            json!([message.role, message.reasoning_content, message.content, calls])
        };
        chat.messages.iter().map(message).collect()
    }

    #[test]
    fn what_the_model_said_in_one_turn_is_one_message() {
        let call = |id: &str| json!({ "type": "function_call", "call_id": id, "name": id, "arguments": "{}" });
        let output =
            |id: &str, output: Value| json!({ "type": "function_call_output", "call_id": id, "output": output });
        let thought =
            |text: &str| json!({ "type": "reasoning", "summary": [{ "type": "summary_text", "text": text }] });
        let said = |text: &str| {
            let part = json!({ "type": "output_text", "text": text, "annotations": [] });
            json!({ "type": "message", "role": "assistant", "status": "completed", "content": [part] })
        };
        let chat = chat(json!([
            { "role": "developer", "content": "Be kind." },
            { "role": "user", "content": [{ "type": "input_text", "text": "a" }, { "type": "input_text", "text": "b" }] },
            thought("hm"), said("Let me see."), call("f"), call("g"),
            output("f", json!("1")), output("g", json!([{ "type": "input_text", "text": "2" }])),
            { "type": "reasoning", "summary": [], "content": [], "encrypted_content": "lyn1:so" }, said("Done."),
            { "role": "user", "content": "c" },
            { "type": "reasoning", "summary": [], "encrypted_content": "theirs" }, call("h"), output("h", json!("3")),
            { "type": "function_call", "call_id": "x", "name": "x", "arguments": "{\"a", "status": "incomplete" },
        ]));
        let expected = json!([
            ["system", null, "Be brief.", []],
            ["developer", null, "Be kind.", []],
            ["user", null, "ab", []],
            ["assistant", "hm", "Let me see.", ["f", "g"]],
            ["tool", null, "1", []],
            ["tool", null, "2", []],
            ["assistant", "so", "Done.", []],
            ["user", null, "c", []],
            ["assistant", null, null, ["h"]],
            ["tool", null, "3", []],
        ]);
        assert_eq!(told(&chat), expected);
    }

    #[test]
    fn tools_are_flat_or_not_and_a_choice_may_leave_some_out() {
        let parse = |more: Value| {
            let mut body = json!({ "model": "deepseek-chat", "input": "x", "tools": [
                { "type": "function", "name": "f", "parameters": { "type": "object" }, "strict": null },
                { "type": "function", "function": { "name": "g" } },
            ] });
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            ResponsesRequest::parse(Compat::Local, body.to_string()).unwrap().to_chat(&Rules::default())
        };
        let names = |chat: ChatRequest| -> Vec<String> {
            chat.tools.unwrap().iter().map(|tool| tool.name().to_owned()).collect()
        };
        assert_eq!(names(parse(json!({})).unwrap()), ["f", "g"]);
        let allowed = json!({ "tool_choice": { "type": "allowed_tools", "mode": "required", "tools": [
            { "type": "function", "name": "g" },
        ] } });
        let chat = parse(allowed).unwrap();
        assert!(matches!(chat.tool_choice, Some(ToolChoiceField::Word(ToolChoiceWord::Required))));
        assert_eq!(names(chat), ["g"]);
        assert!(parse(json!({ "tool_choice": { "type": "function", "name": "h" } })).is_err());
    }

    #[test]
    fn effort_is_the_switch_of_thinking() {
        for (model, reasoning, thinks) in [
            ("deepseek-chat", json!({ "effort": "minimal" }), true),
            ("deepseek-reasoner", json!({ "effort": "none" }), false),
            ("deepseek-reasoner", json!({ "effort": null, "summary": "auto" }), true),
            ("deepseek-chat", Value::Null, false),
        ] {
            let body = json!({ "model": model, "input": "x", "reasoning": reasoning });
            let request = ResponsesRequest::parse(Compat::Local, body.to_string()).unwrap();
            assert_eq!(request.to_chat(&Rules::default()).unwrap().mode(), thinks, "{body}");
        }
    }
}
