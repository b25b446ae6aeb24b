//! What a request may not say, in the order in which it is found.

use serde_json::Value;

use super::request::{ChatRequest, ToolChoiceField, ToolChoiceWord};
use crate::chat::message::{self, INSUFFICIENT, literal};
use crate::chat::{ChatFormat, Message, Role};
use crate::error::{Result, quote};
use crate::wire::openai::limits::check_prompt_logprobs;
use crate::wire::openai::rules::{ensure, invalid, misshapen, refuse};

/// Functions, and characters of a name, that DeepSeek takes.
const STRICT_TOOLS: (usize, usize) = (128, 64);

/// Fields on their own, and those that do not go together.
pub(super) fn ranges(request: &ChatRequest) -> Result<()> {
    let strict = request.given.rules.compat.is_strict();
    let thinking = request.mode();
    request.sampling().check()?;
    tokens(request, thinking, strict)?;
    log_probabilities(request, thinking && strict)?;
    let streams = !strict || request.stream_options.is_none() || request.is_stream();
    ensure(streams, "stream_options", "stream_options should be set along with stream = true")?;
    let both = request.continue_final_message == Some(true) && request.add_generation_prompt == Some(true);
    let message = "continue_final_message and add_generation_prompt cannot both be true";
    ensure(!both, "continue_final_message", message)?;
    let plain = |id: &str| id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if let Some(id) = request.user_id.as_deref().filter(|id| !(1..=512).contains(&id.len()) || !plain(id)) {
        let rule = "Invalid user_id value, expected 1 to 512 of A-Z, a-z, 0-9, _ and -";
        return Err(refuse("user_id", rule).with_detail("found", quote(id)));
    }
    response_format(request, strict)?;
    functions(request)?;
    tools(request)?;
    tool_choice(request, thinking && strict)?;
    // A form says itself where the answer ends.
    let forms = [("ignore_eos", request.ignore_eos == Some(true)), ("min_tokens", request.min_tokens > Some(0))];
    forms.into_iter().try_for_each(|(field, asked)| {
        let message = format_args!("{field}: cannot be combined with response_format or tool_choice");
        ensure(!asked || request.shape().is_free(), field, message)
    })
}

fn tokens(request: &ChatRequest, thinking: bool, strict: bool) -> Result<()> {
    let (_, cap) = ChatRequest::token_limits(thinking || !strict);
    let (range, shown) = match strict {
        true => (1..=i64::from(cap), format!("[1, {cap}]")),
        // 0 counts as absent, and what the context cannot hold is cut to it.
        false => (0..=i64::MAX, format!("[1, {cap}]")),
    };
    let fields = [("max_tokens", request.max_tokens), ("max_completion_tokens", request.max_completion_tokens)];
    for (field, value) in fields {
        if let Some(value) = value.filter(|value| !range.contains(value)) {
            return Err(invalid(field, &shown, value));
        }
    }
    Ok(())
}

fn log_probabilities(request: &ChatRequest, refused: bool) -> Result<()> {
    let top = request.top_logprobs.unwrap_or(0);
    let asked = request.logprobs == Some(true) || top > 0;
    ensure(!refused || !asked, "logprobs", "Thinking mode does not support logprobs")?;
    check_prompt_logprobs(request.prompt_logprobs, request.is_stream())?;
    if top > 20 {
        return Err(invalid("top_logprobs", "[0, 20].", top));
    }
    let message = "Invalid top_logprobs and logprobs value, logprobs must be set to true if top_logprobs is used.";
    ensure(top == 0 || request.logprobs == Some(true), "top_logprobs", message)
}

fn response_format(request: &ChatRequest, strict: bool) -> Result<()> {
    request.form()?;
    let Some(format) = &request.response_format else { return Ok(()) };
    match format.r#type.as_str() {
        "text" | "json_object" => Ok(()),
        "json_schema" if !strict => {
            let schema = format.json_schema.as_ref().and_then(|schema| schema.schema.as_ref());
            let message = "response_format.json_schema.schema: expected a schema, an object";
            ensure(schema.is_some_and(Value::is_object), "response_format", message)
        }
        other => Err(refuse("response_format", "This response_format type is unavailable now")
            .with_detail("found", quote(other))),
    }
}

/// OpenAI's older form of tools is refused where it says something: an answer to it has another form too.
fn functions(request: &ChatRequest) -> Result<()> {
    let says = |value: &&Value| match value {
        Value::Null => false,
        Value::Array(list) => !list.is_empty(),
        Value::String(word) => word != "none" && word != "auto",
        _ => true,
    };
    // Programs that send both forms mean the newer one.
    if request.tools.as_ref().is_some_and(|tools| !tools.is_empty()) {
        return Ok(());
    }
    let fields = [("functions", "tools", &request.functions), ("function_call", "tool_choice", &request.function_call)];
    fields.into_iter().try_for_each(|(field, instead, value)| {
        let message = format_args!(
            "{field}: this older form of function calls is not supported; send {instead}, and read tool_calls from the answer"
        );
        ensure(!value.as_ref().is_some_and(|value| says(&value)), field, message)
    })
}

fn tools(request: &ChatRequest) -> Result<()> {
    let tools = request.tools.as_deref().unwrap_or_default();
    message::check_tools(tools)?;
    if request.given.rules.compat.is_strict() {
        let (most, longest) = STRICT_TOOLS;
        ensure(tools.len() <= most, "tools", format_args!("tools: at most {most}, found {}", tools.len()))?;
        for (index, tool) in tools.iter().enumerate() {
            let rule = format_args!("expected 1 to {longest} of A-Z, a-z, 0-9, _ and -");
            ensure(tool.name().len() <= longest, "tools", format_args!("tools[{index}].function.name: {rule}"))?;
        }
    }
    for (index, tool) in tools.iter().enumerate() {
        let message = format_args!("tools[{index}].function.parameters: expected a schema, an object");
        ensure(tool.field("parameters").is_none_or(Value::is_object), "tools", message)?;
        let message = format_args!("tools[{index}].function.strict: expected true or false");
        ensure(tool.field("strict").is_none_or(Value::is_boolean), "tools", message)?;
    }
    let strict = tools.iter().filter(|tool| tool.is_strict()).count();
    let rules = &request.given.rules;
    let mixed = rules.compat.is_strict() && rules.has_beta() && strict > 0 && strict < tools.len();
    let found = format_args!("found it on {strict} of {}", tools.len());
    ensure(!mixed, "tools", format_args!("tools: expected strict on all functions or on none, {found}"))
}

fn tool_choice(request: &ChatRequest, refused: bool) -> Result<()> {
    let Some(choice) = &request.tool_choice else { return Ok(()) };
    if let ToolChoiceField::Word(ToolChoiceWord::None | ToolChoiceWord::Auto) = choice {
        return Ok(());
    }
    let tools = request.tools.as_deref().unwrap_or_default();
    ensure(!tools.is_empty(), "tool_choice", "tool_choice: expected `none` or `auto` without tools")?;
    if let ToolChoiceField::Tool(tool) = choice {
        let name = &tool.function.name;
        let message = format_args!("tool_choice: {} is not among the tools", quote(name));
        ensure(tools.iter().any(|tool| tool.name() == name), "tool_choice", message)?;
    }
    ensure(!refused, "tool_choice", "Thinking mode does not support this tool_choice")
}

/// The conversation, as far as it does not depend on the format.
pub(super) fn messages(request: &ChatRequest) -> Result<()> {
    let rules = &request.given.rules;
    let (messages, strict) = (&request.messages, rules.compat.is_strict());
    ensure(!messages.is_empty(), "messages", "Empty input messages")?;
    if let (true, Some(index)) = (strict, messages.iter().position(|message| message.role == Role::Developer)) {
        let what = "unknown variant `developer`, expected one of `system`, `user`, `assistant`, `tool`";
        return Err(misshapen(&format!("messages[{index}].role"), what, rules.compat));
    }
    message::turns(messages)?;
    if strict {
        message::check_strictly(messages)?;
    }
    let mut says_json = false;
    for (index, message) in messages.iter().enumerate() {
        says_json |= message.text_or_empty(index)?.to_lowercase().contains("json");
    }
    let json_object = request.response_format.as_ref().is_some_and(|format| format.r#type == "json_object");
    let message = "Prompt must contain the word 'json' in some form to use 'response_format' of type 'json_object'.";
    ensure(!json_object || !rules.json_word || says_json, "messages", message)?;
    let Some((at, last)) = messages.iter().enumerate().next_back() else { return Ok(()) };
    if !last.calls().is_empty() && request.add_generation_prompt != Some(false) {
        return Err(literal(at, INSUFFICIENT));
    }
    if last.prefix == Some(true) && !rules.has_beta() {
        let message = "prefix: continuing a message is a beta feature, expected the base path /beta";
        return Err(literal(at, message));
    }
    Ok(())
}

/// A conversation must end where the format opens an answer, and hold the thoughts that it needs.
pub(super) fn end(request: &ChatRequest, format: ChatFormat, thinking: bool) -> Result<()> {
    let messages = &request.messages;
    let is_system = |message: &Message| matches!(message.role, Role::System | Role::Developer);
    let answers = format == ChatFormat::Exp || !messages.iter().all(is_system);
    ensure(answers, "messages", "messages: expected a user message, found system messages only")?;
    let opens = !request.continues() && request.add_generation_prompt != Some(false);
    let ends_with_answer = messages.last().is_some_and(|last| last.role == Role::Assistant);
    let message = "The last message of deepseek-reasoner must be a user message, or an assistant message with prefix \
        mode on (refer to https://api-docs.deepseek.com/guides/chat_prefix_completion).";
    let follows = opens && ends_with_answer && (thinking || format != ChatFormat::Exp);
    ensure(!follows, "messages", message)?;
    if format == ChatFormat::Dsml && thinking && request.given.rules.compat.is_strict() {
        let last_user = messages.iter().rposition(|message| message.role == Role::User);
        let lacks = |message: &Message| !message.calls().is_empty() && !message.has_thought();
        let after = messages.iter().enumerate().skip(last_user.unwrap_or(0));
        if let Some((index, _)) = after.into_iter().find(|(_, message)| lacks(message)) {
            let message = format!(
                "Missing `reasoning_content` field in the assistant message at message index {index}. For more \
                information, please refer to https://api-docs.deepseek.com/guides/thinking_mode#tool-calls"
            );
            return Err(literal(index, message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
