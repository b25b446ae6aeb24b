//! Format "dsml": V3.2 of December 2025.
//!
//! Systems stay in place. User and result turns already end in `<think>` or `</think>`. Thoughts are rendered only after
//! the last user message. The markers of calls are ordinary text in this vocabulary.

use serde_json::Value;

use crate::chat::control::{ASSISTANT, END_THINK, EOS, THINK, USER};
use crate::chat::grammar::json::{Layout, nested};
use crate::chat::grammar::lark::quote;
use crate::chat::grammar::rules::Rules;
use crate::chat::json::spaced;
use crate::chat::markup::{Markup, Tags};
use crate::chat::message::{CallArguments, Conversation, FunctionCall, Message, Role, Tool};
use crate::chat::prompt::{Prompt, RenderOptions};
use crate::chat::schema::{List, MAX_DEPTH, Need, Numbers, Object, Part, Rest, Schema, Texts, Written};
use crate::chat::shape::ToolSpec;
use crate::error::{self, Code, Error, Result};

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
    name_end: "\">",
    call_end: INVOKE_END,
    block_end: END,
    tags: Some(Tags {
        parameter: PARAMETER,
        name: "name=\"",
        is_text: "\" string=\"",
        tag_end: "\">",
        parameter_end: PARAMETER_END,
    }),
};

/// JSON in a parameter.
const LAYOUT: Layout = Layout::Tagged { end: PARAMETER_END, never: "</｜" };

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

/// Adds the rule for a call of a function.
pub(super) fn call_rule(rules: &mut Rules<'_>, name: &str, tool: &ToolSpec) -> Result<()> {
    let head = quote(&format!("\n{}\n", invoke_tag(&tool.name)));
    let schema = rules.arguments(tool)?;
    let object = schema.as_ref().map(|schema| (schema, schema.resolve(&schema.root)));
    let parameters = match object {
        Some((schema, Part::Object(object))) if object.rest == Rest::Closed && object.patterns.is_empty() => {
            if object.least > 0 || object.most.is_some() {
                rules.loosened.push(format!("{}:$.minProperties", tool.name));
            }
            parameters(rules, name, schema, object)?
        }
        Some((_, Part::Object(object))) if tool.strict && !is_any_object(object) => {
            let rule = "$: in this chat format 'additionalProperties' of the arguments must be false";
            let message = format!("Invalid schema for function '{}': {rule}", tool.name);
            return Err(Error::new(Code::InvalidSchema, message));
        }
        Some((schema, Part::Object(object))) if !is_any_object(object) => {
            rules.loosened.push(format!("{}:$.additionalProperties", tool.name));
            // Those that are listed are held, and no others come; where none is, any may.
            match object.properties.is_empty() {
                true => any_parameters(rules)?,
                false => parameters(rules, name, schema, object)?,
            }
        }
        _ => any_parameters(rules)?,
    };
    rules.rule(name, &format!("{head} {parameters} {}", quote(&format!("\n{INVOKE_END}"))));
    Ok(())
}

/// The name of the rule for the parameters of an object, in its order.
fn parameters(rules: &mut Rules<'_>, call: &str, schema: &Schema, object: &Object) -> Result<String> {
    let written = object.properties.iter().filter_map(|property| Some((property, property.part.as_ref()?)));
    let mut end = 0_usize;
    for (place, (property, part)) in written.enumerate() {
        let next = place.saturating_add(1);
        end = next;
        let (first, later) = parameter(rules, &format!("{call}_p{place}"), &property.name, schema, part)?;
        let (mut alone, mut after) = (format!("{first} {call}_b{next}"), format!("{later} {call}_b{next}"));
        if property.need == Need::Free {
            alone = format!("{alone} | {call}_a{next}");
            after = format!("{after} | {call}_b{next}");
        }
        rules.rule(&format!("{call}_a{place}"), &alone); // nothing before it
        rules.rule(&format!("{call}_b{place}"), &after); // after another one
    }
    rules.rule(&format!("{call}_a{end}"), "\"\"");
    rules.rule(&format!("{call}_b{end}"), "\"\"");
    Ok(format!("{call}_a0"))
}

/// The names of the rules for one parameter: as the first of its call, and after another one.
fn parameter(rules: &mut Rules<'_>, name: &str, key: &str, schema: &Schema, value: &Part) -> Result<(String, String)> {
    if key.contains(['"', '<', '>', '\n']) {
        let message = format!("a parameter's name cannot be written in this chat format: {}", error::quote(key));
        return Err(Error::new(Code::InvalidSchema, message));
    }
    let mut found = Values::default();
    found.add(schema, value, 0)?;
    let mut bodies: Vec<(bool, String)> = vec![];
    if !found.raw.is_empty() {
        // The closing tag is part of a raw text's token: the first one ends it.
        rules.rule(&format!("{name}_raw[suffix={}]", quote(PARAMETER_END)), &found.raw.join(" | "));
        bodies.push((true, format!("{name}_raw")));
    }
    if !found.json.is_empty() {
        let whole = match found.json.as_slice() {
            [one] => one.clone(),
            several => Part::Union(several.to_vec()),
        };
        let body = nested(schema, &whole, LAYOUT)?;
        bodies.push((false, format!("{body} {}", quote(PARAMETER_END))));
    }
    for (place, break_before) in [("first", ""), ("later", "\n")] {
        let options = bodies.iter().map(|(is_string, body)| {
            let head = break_before.to_owned() + &parameter_tag(key, *is_string);
            format!("{} {body}", quote(&head))
        });
        let options: Vec<String> = options.collect();
        rules.rule(&format!("{name}_{place}"), &options.join(" | "));
    }
    Ok((format!("{name}_first"), format!("{name}_later")))
}

/// The name of the rule for parameters of any name.
fn any_parameters(rules: &mut Rules<'_>) -> Result<String> {
    if !std::mem::replace(&mut rules.any_parameters, true) {
        let head = |before: &str, kind: &str| {
            format!("/{before}{PARAMETER} name=\"[A-Za-z0-9_.\\-]{{1,64}}\" string=\"{kind}\">/")
        };
        let close = quote(PARAMETER_END);
        let body = nested(&Schema::any_object(), &Part::Union(not_strings().to_vec()), LAYOUT)?;
        rules.rule("any_parameters", "\"\" | any_first any_later*");
        rules.rule(&format!("any_raw[suffix={close}]"), ANY_TEXT);
        for (name, before) in [("any_first", ""), ("any_later", "\\n")] {
            let (raw, other) = (head(before, "true"), head(before, "false"));
            rules.rule(name, &format!("{raw} any_raw | {other} {body} {close}"));
        }
    }
    Ok("any_parameters".to_owned())
}

fn is_any_object(object: &Object) -> bool {
    object.properties.is_empty() && object.patterns.is_empty() && object.rest == Rest::Open(Part::Any)
}

const ANY_TEXT: &str = "/(?s:.*)/";

/// The values of a parameter: raw texts, as terminals, and others.
#[derive(Default)]
struct Values {
    raw: Vec<String>,
    json: Vec<Part>,
}

impl Values {
    fn add(&mut self, schema: &Schema, value: &Part, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(Error::new(Code::GrammarTooComplex, "alternatives of a parameter recurse without end"));
        }
        match schema.resolve(value) {
            Part::Union(options) => {
                options.iter().try_for_each(|option| self.add(schema, option, depth.saturating_add(1)))?;
            }
            Part::Values(values) => {
                let (texts, others): (Vec<&Value>, Vec<&Value>) = values.iter().partition(|value| value.is_string());
                for text in texts.into_iter().filter_map(Value::as_str) {
                    if text.contains(PARAMETER_END) {
                        let message = "an enum holds the end of a parameter in this chat format";
                        return Err(Error::new(Code::InvalidSchema, message));
                    }
                    self.raw.push(quote(text));
                }
                if !others.is_empty() {
                    self.json.push(Part::Values(others.into_iter().cloned().collect()));
                }
            }
            Part::Text(texts) => self.raw.push(raw_text(texts)),
            Part::Any => {
                self.raw.push(ANY_TEXT.to_owned());
                self.json.extend(not_strings());
            }
            other => self.json.push(other.clone()),
        }
        Ok(())
    }
}

/// The terminal of a raw text, with a pattern or a length where it has one.
fn raw_text(texts: &Texts) -> String {
    if *texts == Texts::default() {
        return ANY_TEXT.to_owned();
    }
    // A text that fits only with the end of the parameter in it would never end.
    format!("{} & ~/(?s:.*){}(?s:.*)/", texts.raw(), PARAMETER_END.replace('/', "\\/"))
}

/// Any values but strings, which parameters have without quotes.
fn not_strings() -> [Part; 5] {
    let number = Written::Pattern(r"-?(?:0|[1-9][0-9]{0,39})(?:\.[0-9]{1,40})?(?:[eE][+\-]?[0-9]{1,2})?".to_owned());
    let object = Object { rest: Rest::Open(Part::Any), ..Object::default() };
    let list = List { items: Some(Part::Any), ..List::default() };
    [
        Part::Object(Box::new(object)),
        Part::List(Box::new(list)),
        Part::Number(Numbers::default(), Some(number)),
        Part::Boolean,
        Part::Null,
    ]
}
