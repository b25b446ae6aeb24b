//! Format "dsml": V3.2 of December 2025.
//!
//! Systems stay in place. User and result turns already end in `<think>` or `</think>`. Thoughts are rendered only after
//! the last user message. The markers of calls are ordinary text in this vocabulary.

use serde_json::Value;

use crate::chat::control::{ASSISTANT, END_THINK, EOS, THINK, USER};
use crate::chat::grammar::lark::quote;
use crate::chat::grammar::parameters::{Name, Spelling, call_parameters};
use crate::chat::grammar::rules::Rules;
use crate::chat::json::spaced;
use crate::chat::markup::{Markup, Tags};
use crate::chat::message::{CallArguments, Conversation, FunctionCall, Message, Role, Tool};
use crate::chat::prompt::{Prompt, RenderOptions};
use crate::chat::shape::ToolSpec;
use crate::error::Result;

const TOOLS_HEAD: &str = include_str!("preambles/dsml_tools_head.txt");
const TOOLS_TAIL: &str = include_str!("preambles/dsml_tools_tail.txt");
const RESPONSE_FORMAT_HEAD: &str = include_str!("preambles/dsml_response_format_head.txt");
const DEVELOPER_HEAD: &str = include_str!("preambles/dsml_developer_head.txt");

/// What opens the calls of a turn, and ends them.
pub(super) const OPENER: &str = "<｜DSML｜function_calls>";
pub(super) const END: &str = "</｜DSML｜function_calls>";
const INVOKE: &str = "<｜DSML｜invoke";
const INVOKE_END: &str = "</｜DSML｜invoke>";
const PARAMETER: &str = "<｜DSML｜parameter";
const PARAMETER_END: &str = "</｜DSML｜parameter>";

/// What an answer's calls look like.
pub(super) static MARKUP: Markup = Markup {
    content: &[END_THINK, "\n\n<｜DSML｜function_calls>", "\n<｜DSML｜function_calls>", OPENER],
    call: INVOKE,
    name_end: &["\">"],
    name: |tag| (behind_name(tag), None),
    call_end: INVOKE_END,
    block_end: Some(END),
    tags: Some(Tags { parameter: PARAMETER, name: parameter_name, tag_end: "\">", parameter_end: PARAMETER_END }),
};

/// What a tag says behind the beginning of its name.
fn behind_name(tag: &str) -> &str {
    tag.split_once("name=\"").map_or(tag, |(_, name)| name)
}

fn parameter_name(tag: &str) -> (&str, Option<bool>) {
    let written = behind_name(tag);
    let (name, is_text) = written.split_once("\" string=\"").unwrap_or((written, ""));
    (name, Some(is_text == "true"))
}

fn invoke_tag(name: &str) -> String {
    format!("{INVOKE} name=\"{name}\">")
}

fn parameter_tag(name: &str, is_text: bool) -> String {
    format!("{PARAMETER} name=\"{name}\" string=\"{is_text}\">")
}

pub(super) fn render(
    prompt: &mut Prompt,
    conversation: &Conversation,
    turns: &[(usize, &Message)],
    options: RenderOptions,
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
                    prompt.text(&format!("\n\n{OPENER}\n{invokes}\n{END}"));
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
        parameters.push(parameter_tag(key, is_string) + value + PARAMETER_END);
    };
    match function.arguments() {
        CallArguments::Object(object) => object.iter().for_each(|(key, value)| match value {
            Value::String(text) => push(key, true, text),
            other => push(key, false, &spaced(other)),
        }),
        CallArguments::Text(text) => push("arguments", true, text),
        CallArguments::Other(value) => push("arguments", false, &spaced(value)),
    }
    format!("{}\n{}\n{INVOKE_END}", invoke_tag(&function.name), parameters.join("\n"))
}

struct Dsml;

impl Spelling for Dsml {
    const END: &'static str = PARAMETER_END;
    const NEVER: &'static str = "</｜";
    const TELLS_TEXT: bool = true;

    fn open(_: &Rules<'_>, name: Name<'_>, is_text: bool, is_first: bool) -> Result<String> {
        Ok(match name {
            Name::Of(name) => {
                let before = if is_first { "" } else { "\n" };
                quote(&(before.to_owned() + &parameter_tag(name, is_text)))
            }
            Name::Matching(pattern) => {
                let before = if is_first { "" } else { "\\n" };
                format!("/{before}{PARAMETER} name=\"{pattern}\" string=\"{is_text}\">/")
            }
        })
    }

    fn text(rules: &mut Rules<'_>, name: &str, texts: &str) -> Result<()> {
        // The closing tag is part of a raw text's token: the first one ends it.
        rules.rule(&format!("{name}[suffix={}]", quote(PARAMETER_END)), texts);
        Ok(())
    }

    fn close(_: &Rules<'_>) -> Result<String> {
        Ok(quote(PARAMETER_END))
    }
}

/// Adds the rule for a call of a function.
pub(super) fn call_rule(rules: &mut Rules<'_>, name: &str, tool: &ToolSpec) -> Result<()> {
    let head = quote(&format!("\n{}\n", invoke_tag(&tool.name)));
    let parameters = call_parameters::<Dsml>(rules, name, tool)?;
    rules.rule(name, &format!("{head} {parameters} {}", quote(&format!("\n{INVOKE_END}"))));
    Ok(())
}
