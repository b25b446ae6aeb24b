//! Format "dsml": V3.2 of December 2025.
//!
//! Systems stay in place. User and result turns already end in `<think>` or `</think>`. Thoughts are rendered only after
//! the last user message. The markers of calls are ordinary text in this vocabulary.

use serde_json::Value;

use crate::chat::control::{ASSISTANT, END_THINK, EOS, THINK, USER};
use crate::chat::json::spaced;
use crate::chat::message::{CallArguments, Conversation, FunctionCall, Message, Role, Tool};
use crate::chat::prompt::{Options, Prompt};
use crate::error::Result;

const TOOLS_HEAD: &str = include_str!("preambles/dsml_tools_head.txt");
const TOOLS_TAIL: &str = include_str!("preambles/dsml_tools_tail.txt");
const RESPONSE_FORMAT_HEAD: &str = include_str!("preambles/dsml_response_format_head.txt");
const DEVELOPER_HEAD: &str = include_str!("preambles/dsml_developer_head.txt");

pub(super) fn render(
    prompt: &mut Prompt,
    conversation: &Conversation,
    turns: &[(usize, &Message)],
    options: Options,
) -> Result<()> {
    let last_user = turns.iter().rposition(|(_, message)| matches!(message.role, Role::User | Role::Developer));
    let mode = |thinks: bool| if options.thinking && thinks { THINK } else { END_THINK };
    // Tools and the answer's shape belong to the first message if that is a system's, else to an empty one before it.
    if turns.first().is_none_or(|(_, first)| first.role != Role::System) {
        render_offer(prompt, conversation.tools(), conversation.response_format.as_ref());
    }
    for (place, &(index, message)) in turns.iter().enumerate() {
        let role_at = |at: usize| turns.get(at).map(|(_, other)| other.role);
        let text = message.text_or_empty(index)?;
        match message.role {
            Role::System => {
                prompt.text(&text);
                if place == 0 {
                    render_offer(prompt, conversation.tools(), conversation.response_format.as_ref());
                }
            }
            Role::Developer if options.thinking && options.drop_thinking && last_user != Some(place) => {}
            Role::User | Role::Developer => {
                prompt.control(USER);
                if message.role == Role::Developer {
                    render_offer(prompt, message.tools.as_deref().unwrap_or_default(), None);
                    prompt.trusted(DEVELOPER_HEAD);
                }
                prompt.text(&text);
                prompt.control(ASSISTANT);
                prompt.control(mode(last_user == Some(place)));
            }
            Role::Assistant => {
                let continued = options.continue_final && Some(place) == turns.len().checked_sub(1);
                if options.thinking && last_user.is_none_or(|user| place > user) {
                    // Others' histories may have none.
                    prompt.text(message.thought().unwrap_or_default());
                    // A continued turn without a thought continues the thought itself.
                    if message.thought().is_some() || !continued {
                        prompt.control(END_THINK);
                    }
                }
                prompt.text(&text);
                if !message.calls().is_empty() {
                    let invokes: Vec<_> = message.calls().iter().map(|call| invoke(&call.function)).collect();
                    let invokes = invokes.join("\n");
                    prompt.text(&format!("\n\n<｜DSML｜function_calls>\n{invokes}\n</｜DSML｜function_calls>"));
                }
                prompt.control(EOS);
            }
            Role::Tool => {
                if place.checked_sub(1).and_then(role_at) != Some(Role::Tool) {
                    prompt.text("\n\n<function_results>");
                }
                prompt.text(&format!("\n<result>{text}</result>"));
                if role_at(place.saturating_add(1)) != Some(Role::Tool) {
                    prompt.text("\n</function_results>\n\n");
                    prompt.control(mode(last_user.is_none_or(|user| place > user)));
                }
            }
        }
    }
    Ok(())
}

/// What the model is offered and asked for: tools, and the shape of the answer.
fn render_offer(prompt: &mut Prompt, tools: &[Tool], response_format: Option<&Value>) {
    if !tools.is_empty() {
        let lines: Vec<String> = tools.iter().map(|tool| spaced(&Value::Object(tool.function.clone()))).collect();
        prompt.text("\n\n");
        prompt.trusted(TOOLS_HEAD);
        prompt.text(&lines.join("\n"));
        prompt.trusted(TOOLS_TAIL);
    }
    if let Some(shape) = response_format.filter(|shape| !shape.is_null()) {
        prompt.text("\n\n");
        prompt.trusted(RESPONSE_FORMAT_HEAD);
        prompt.text(&spaced(shape));
    }
}

/// One call. Values that are strings stand as they are, without any escaping; all others are JSON. Arguments that are no object
/// have no names: the format has no place for them but a parameter, which is called `arguments`.
fn invoke(function: &FunctionCall) -> String {
    let mut parameters = vec![];
    let mut push = |key: &str, is_string: bool, value: &str| {
        parameters
            .push(format!("<｜DSML｜parameter name=\"{key}\" string=\"{is_string}\">{value}</｜DSML｜parameter>"));
    };
    match function.arguments() {
        CallArguments::Object(object) => object.iter().for_each(|(key, value)| match value {
            Value::String(text) => push(key, true, text),
            other => push(key, false, &spaced(other)),
        }),
        CallArguments::Text(text) => push("arguments", true, text),
        CallArguments::Other(value) => push("arguments", false, &spaced(value)),
    }
    format!("<｜DSML｜invoke name=\"{}\">\n{}\n</｜DSML｜invoke>", function.name, parameters.join("\n"))
}
