//! What a request may not say, in the order in which it is found.

use serde_json::Value;

use super::request::{ChatRequest, ToolChoiceField, ToolChoiceWord};
use crate::chat::message::{self, INSUFFICIENT, literal};
use crate::chat::{ChatFormat, Message, Role};
use crate::error::{Result, quote};
use crate::wire::openai::limits::check_prompt_logprobs;
use crate::wire::openai::rules::{invalid, misshapen, refuse};

/// Functions, and characters of a name, that DeepSeek takes.
const STRICT_TOOLS: (usize, usize) = (128, 64);

/// Fields on their own, and those that do not go together.
pub(super) fn ranges(request: &ChatRequest) -> Result<()> {
    let strict = request.given.rules.compat.is_strict();
    let thinking = request.mode();
    request.sampling().check()?;
    tokens(request, thinking, strict)?;
    log_probabilities(request, thinking && strict)?;
    if strict && request.stream_options.is_some() && !request.is_stream() {
        return Err(refuse("stream_options", "stream_options should be set along with stream = true"));
    }
    if request.continue_final_message == Some(true) && request.add_generation_prompt == Some(true) {
        let message = "continue_final_message and add_generation_prompt cannot both be true";
        return Err(refuse("continue_final_message", message));
    }
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
    match forms.into_iter().find(|&(_, asked)| asked && !request.shape().is_free()) {
        Some((field, _)) => {
            let message = format!("{field}: cannot be combined with response_format or tool_choice");
            Err(refuse(field, message))
        }
        None => Ok(()),
    }
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
    if refused && (request.logprobs == Some(true) || top > 0) {
        return Err(refuse("logprobs", "Thinking mode does not support logprobs"));
    }
    check_prompt_logprobs(request.prompt_logprobs, request.is_stream())?;
    if top > 20 {
        return Err(invalid("top_logprobs", "[0, 20].", top));
    }
    if top > 0 && request.logprobs != Some(true) {
        let rule = "logprobs must be set to true if top_logprobs is used.";
        return Err(refuse("top_logprobs", format!("Invalid top_logprobs and logprobs value, {rule}")));
    }
    Ok(())
}

fn response_format(request: &ChatRequest, strict: bool) -> Result<()> {
    request.form()?;
    let Some(format) = &request.response_format else { return Ok(()) };
    match format.r#type.as_str() {
        "text" | "json_object" => Ok(()),
        "json_schema" if !strict => {
            let schema = format.json_schema.as_ref().and_then(|schema| schema.schema.as_ref());
            match schema {
                Some(schema) if schema.is_object() => Ok(()),
                _ => Err(refuse("response_format", "response_format.json_schema.schema: expected a schema, an object")),
            }
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
    match fields.into_iter().find(|(.., value)| value.as_ref().is_some_and(|value| says(&value))) {
        None => Ok(()),
        Some((field, instead, _)) => {
            let message = format!(
                "{field}: this older form of function calls is not supported; send {instead}, and read tool_calls from the answer"
            );
            Err(refuse(field, message))
        }
    }
}

fn tools(request: &ChatRequest) -> Result<()> {
    let tools = request.tools.as_deref().unwrap_or_default();
    message::check_tools(tools)?;
    if request.given.rules.compat.is_strict() {
        let (most, longest) = STRICT_TOOLS;
        if tools.len() > most {
            return Err(refuse("tools", format!("tools: at most {most}, found {}", tools.len())));
        }
        if let Some(index) = tools.iter().position(|tool| tool.name().len() > longest) {
            let message = format!("tools[{index}].function.name: expected 1 to {longest} of A-Z, a-z, 0-9, _ and -");
            return Err(refuse("tools", message));
        }
    }
    for (index, tool) in tools.iter().enumerate() {
        if tool.field("parameters").is_some_and(|parameters| !parameters.is_object()) {
            let message = format!("tools[{index}].function.parameters: expected a schema, an object");
            return Err(refuse("tools", message));
        }
        if tool.field("strict").is_some_and(|strict| !strict.is_boolean()) {
            return Err(refuse("tools", format!("tools[{index}].function.strict: expected true or false")));
        }
    }
    let strict = tools.iter().filter(|tool| tool.is_strict()).count();
    let rules = &request.given.rules;
    if rules.compat.is_strict() && rules.has_beta() && strict > 0 && strict < tools.len() {
        let found = format_args!("{strict} of {}", tools.len());
        return Err(refuse(
            "tools",
            format!("tools: expected strict on all functions or on none, found it on {found}"),
        ));
    }
    Ok(())
}

fn tool_choice(request: &ChatRequest, refused: bool) -> Result<()> {
    let Some(choice) = &request.tool_choice else { return Ok(()) };
    if let ToolChoiceField::Word(ToolChoiceWord::None | ToolChoiceWord::Auto) = choice {
        return Ok(());
    }
    let tools = request.tools.as_deref().unwrap_or_default();
    if tools.is_empty() {
        return Err(refuse("tool_choice", "tool_choice: expected `none` or `auto` without tools"));
    }
    if let ToolChoiceField::Tool(tool) = choice {
        let name = &tool.function.name;
        if !tools.iter().any(|tool| tool.name() == name) {
            return Err(refuse("tool_choice", format!("tool_choice: {} is not among the tools", quote(name))));
        }
    }
    match refused {
        true => Err(refuse("tool_choice", "Thinking mode does not support this tool_choice")),
        false => Ok(()),
    }
}

/// The conversation, as far as it does not depend on the format.
pub(super) fn messages(request: &ChatRequest) -> Result<()> {
    let rules = &request.given.rules;
    let (messages, strict) = (&request.messages, rules.compat.is_strict());
    if messages.is_empty() {
        return Err(refuse("messages", "Empty input messages"));
    }
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
    if json_object && rules.json_word && !says_json {
        let message =
            "Prompt must contain the word 'json' in some form to use 'response_format' of type 'json_object'.";
        return Err(refuse("messages", message));
    }
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
    if format != ChatFormat::Exp && messages.iter().all(is_system) {
        return Err(refuse("messages", "messages: expected a user message, found system messages only"));
    }
    let opens = !request.continues() && request.add_generation_prompt != Some(false);
    let ends_with_answer = messages.last().is_some_and(|last| last.role == Role::Assistant);
    if opens && ends_with_answer && (thinking || format != ChatFormat::Exp) {
        let message = "The last message of deepseek-reasoner must be a user message, or an assistant message with prefix \
            mode on (refer to https://api-docs.deepseek.com/guides/chat_prefix_completion).";
        return Err(refuse("messages", message));
    }
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
