//! What a request asks of the form of its answer, as a grammar over the text and the control tokens of a chat format.
//!
//! In: a [`Shape`]. Out: a [`Form`] for `generate::constraint`. Never: a mask, or an id that is not from the tokenizer.
//!
//! Literals of one rule never begin with one another: llguidance's lexer takes the longest and does not go back.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use llguidance::regex_to_lark;
use regex_syntax::hir::{Hir, HirKind, Look};
use serde_json::{Map, Value, json};

use super::control::{CALL_BEGIN, CALL_END, CALLS_BEGIN, CALLS_END, END_THINK, SEPARATOR};
use super::openai::{ResponseShape, Shape, ToolChoice, ToolSpec};
use super::schema::{Dialect, Schema};
use super::{ChatFormat, Detected};
use crate::error::{Code, Error, Result};
use crate::generate::{Constraint, Form, Free, Lexicon};
use crate::text::Tokenizer;

/// Opens the calls of a turn in DSML, where it is ordinary text.
const DSML_BEGIN: &str = "<｜DSML｜function_calls>";
const DSML_END: &str = "</｜DSML｜function_calls>";
const DSML_INVOKE_END: &str = "</｜DSML｜invoke>";
const DSML_PARAMETER_END: &str = "</｜DSML｜parameter>";

/// Makes constraints for one model. Cheap to clone, for whoever compiles apart from the engine's thread.
#[derive(Clone)]
pub struct Grammars {
    tokenizer: Arc<Tokenizer>,
    format: Detected,
    sampleable: Arc<[bool]>,
    eos: Arc<[u32]>,
    /// Made when the first constraint is: it takes a second for a large vocabulary.
    lexicon: Arc<OnceLock<Result<Lexicon>>>,
}

impl Grammars {
    /// `sampleable` as [`Tokenizer::sampleable`] has it; `eos`: ids that end an answer.
    #[must_use]
    pub fn new(tokenizer: Arc<Tokenizer>, format: Detected, sampleable: Arc<[bool]>, eos: &[u32]) -> Grammars {
        Grammars { tokenizer, format, sampleable, eos: eos.into(), lexicon: Arc::default() }
    }

    /// Makes the lexicon, so that the first request does not wait for it.
    ///
    /// # Errors
    /// As [`Lexicon::new`].
    pub fn lexicon(&self) -> Result<&Lexicon> {
        let make = || Lexicon::new(&self.tokenizer, &self.sampleable, &self.eos);
        self.lexicon.get_or_init(make).as_ref().map_err(Clone::clone)
    }

    /// The constraint of an answer; none where it is free. `thinking`: the answer begins inside a thought.
    ///
    /// # Errors
    /// `invalid_schema`, `grammar_too_complex`; `bad_request` for tools where the model has no chat format.
    pub fn constraint(&self, shape: &Shape, thinking: bool, dialect: Dialect) -> Result<Option<Constraint>> {
        if shape.is_free() {
            return Ok(None);
        }
        let made = self.form(shape, thinking, dialect, true).and_then(|form| self.lexicon()?.constraint(&form));
        // Arguments of functions that are not strict may be any object; their schema is a help to the model.
        if made.is_err() && !shape.tools.is_empty() && shape.tools.iter().all(|tool| !tool.strict) {
            let form = self.form(shape, thinking, dialect, false)?;
            return self.lexicon()?.constraint(&form).map(Some);
        }
        made.map(Some)
    }

    fn form(&self, shape: &Shape, thinking: bool, dialect: Dialect, schemas: bool) -> Result<Form> {
        let mut rules =
            Rules { tokenizer: &self.tokenizer, lark: String::new(), dialect, schemas, any_parameters: false };
        let response = rules.response(&shape.response)?;
        let tools: Vec<&ToolSpec> = match &shape.choice {
            ToolChoice::None => vec![],
            ToolChoice::Named(name) => shape.tools.iter().filter(|tool| tool.name == *name).collect(),
            ToolChoice::Auto | ToolChoice::Required => shape.tools.iter().collect(),
        };
        let forced = matches!(shape.choice, ToolChoice::Required | ToolChoice::Named(_));
        // The checkpoint's own template tells the model of tools; how it writes a call is not known, and is its own affair.
        let free_calls = self.format.is_own_template() && !forced;
        let markup = if shape.tools.is_empty() || free_calls { None } else { Some(Markup::of(self.format)?) };
        let mut free = vec![];
        if thinking {
            let may_end = response.is_none() && !forced;
            free.push(Free::Until { marker: END_THINK.to_owned(), may_end });
        }
        let start = match (response, markup) {
            (Some(response), None) => response,
            (Some(response), Some(_)) if tools.is_empty() => response,
            (None, None) => return Ok(Form { free, grammar: None }),
            (None, Some(markup)) if tools.is_empty() => {
                free.push(Free::Without(markup.opener().to_owned()));
                return Ok(Form { free, grammar: None });
            }
            (response, Some(markup)) => {
                let calls = rules.calls(markup, &tools, shape.parallel)?;
                let opened = format!("{} {calls}", rules.opening(markup)?);
                match response {
                    _ if forced => opened,
                    Some(response) => format!("{response} | {opened}"),
                    None => {
                        free.push(Free::Until { marker: markup.opener().to_owned(), may_end: true });
                        calls
                    }
                }
            }
        };
        Ok(Form { free, grammar: Some(format!("start: {start}\n{}", rules.lark)) })
    }
}

/// How calls are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Markup {
    Exp,
    Dsml,
}

impl Markup {
    fn of(format: Detected) -> Result<Markup> {
        match format {
            Detected::Format(ChatFormat::Exp | ChatFormat::V31) => Ok(Markup::Exp),
            Detected::Format(ChatFormat::Dsml) => Ok(Markup::Dsml),
            #[cfg(feature = "chat-template")]
            Detected::Template => {
                let why = "lyn does not know how this checkpoint's own chat template has calls written";
                Err(Error::new(Code::BadRequest, why).with_detail("param", "tool_choice"))
            }
            Detected::Raw(why) => {
                Err(Error::new(Code::BadRequest, format!("tools need a chat format: {why}"))
                    .with_detail("param", "tools"))
            }
        }
    }

    fn opener(self) -> &'static str {
        match self {
            Markup::Exp => CALLS_BEGIN,
            Markup::Dsml => DSML_BEGIN,
        }
    }
}

/// Rules of a grammar, as they are added.
struct Rules<'a> {
    tokenizer: &'a Tokenizer,
    lark: String,
    dialect: Dialect,
    /// Use the schemas of functions that are not strict.
    schemas: bool,
    /// The rules for parameters of any name are there.
    any_parameters: bool,
}

impl Rules<'_> {
    fn rule(&mut self, name: &str, body: &str) {
        let written = writeln!(self.lark, "{name}: {body}");
        debug_assert!(written.is_ok(), "a String takes all text");
    }

    /// A control token, by its id.
    fn token(&self, content: &str) -> Result<String> {
        self.tokenizer.token_id(content).map(|id| format!("<[{id}]>")).ok_or_else(|| {
            let message = format!("the tokenizer has no {content}, which calls in this chat format need");
            Error::new(Code::BadCheckpoint, message)
        })
    }

    /// The name of the rule for the content.
    fn response(&mut self, response: &ResponseShape) -> Result<Option<String>> {
        let schema = match response {
            ResponseShape::None => return Ok(None),
            ResponseShape::JsonObject => json!({"type": "object"}),
            ResponseShape::JsonSchema(schema) => {
                // A response of DeepSeek's dialect has no schema: what goes beyond its tools is the same for both.
                let schema = Schema::check("response_format", schema, Dialect::Local)?;
                schema.standalone(schema.root())
            }
        };
        self.rule("response", &literal_json(&flexible(schema)));
        Ok(Some("response".to_owned()))
    }

    /// What opens the calls.
    fn opening(&self, markup: Markup) -> Result<String> {
        match markup {
            Markup::Exp => self.token(CALLS_BEGIN),
            Markup::Dsml => Ok(quote(&format!("\n\n{DSML_BEGIN}"))),
        }
    }

    /// The name of the rule for calls, after what opens them.
    fn calls(&mut self, markup: Markup, tools: &[&ToolSpec], parallel: bool) -> Result<String> {
        let mut each = vec![];
        for (place, tool) in tools.iter().enumerate() {
            let name = format!("call{place}");
            match markup {
                Markup::Exp => self.exp_call(&name, tool)?,
                Markup::Dsml => self.dsml_call(&name, tool)?,
            }
            each.push(name);
        }
        let end = match markup {
            Markup::Exp => self.token(CALLS_END)?,
            Markup::Dsml => quote(&format!("\n{DSML_END}")),
        };
        self.rule("call", &each.join(" | "));
        self.rule("calls", &format!("{} {end}", if parallel { "call+" } else { "call" }));
        Ok("calls".to_owned())
    }

    /// The schema of a function's arguments; none: any object.
    fn arguments(&self, tool: &ToolSpec) -> Result<Option<Schema>> {
        let owner = format!("function '{}'", tool.name);
        let empty = tool.parameters.as_object().is_some_and(Map::is_empty);
        let schema = match (tool.strict, self.schemas) {
            (true, _) if empty => Schema::check(&owner, &json!({"type": "object", "properties": {}}), Dialect::Local)?,
            (true, _) => Schema::check(&owner, &tool.parameters, self.dialect)?,
            (false, true) if !empty => match Schema::check(&owner, &tool.parameters, Dialect::Loose) {
                Ok(schema) => schema,
                Err(_) => return Ok(None),
            },
            (false, _) => return Ok(None),
        };
        match schema.resolve(schema.root()).get("type").and_then(Value::as_str) {
            Some("object") => Ok(Some(schema)),
            _ if tool.strict => {
                Err(Error::new(Code::InvalidSchema, format!("Invalid schema for {owner}: $: expected type object")))
            }
            _ => Ok(None),
        }
    }

    fn exp_call(&mut self, name: &str, tool: &ToolSpec) -> Result<()> {
        let schema = self.arguments(tool)?;
        let schema = schema.map_or_else(|| json!({"type": "object"}), |schema| schema.standalone(schema.root()));
        let (begin, separator, end) = (self.token(CALL_BEGIN)?, self.token(SEPARATOR)?, self.token(CALL_END)?);
        let arguments = literal_json(&flexible(schema));
        self.rule(name, &format!("{begin} {} {separator} {arguments} {end}", quote(&tool.name)));
        Ok(())
    }

    fn dsml_call(&mut self, name: &str, tool: &ToolSpec) -> Result<()> {
        let head = quote(&format!("\n<｜DSML｜invoke name=\"{}\">\n", tool.name));
        let schema = self.arguments(tool)?;
        let object = schema.as_ref().map(|schema| (schema, schema.resolve(schema.root())));
        let parameters = match object {
            Some((schema, object)) if object.get("additionalProperties") == Some(&Value::Bool(false)) => {
                self.dsml_parameters(name, schema, object)?
            }
            Some((_, object)) if tool.strict && !is_any_object(object) => {
                let rule = "$: in this chat format 'additionalProperties' of the arguments must be false";
                let message = format!("Invalid schema for function '{}': {rule}", tool.name);
                return Err(Error::new(Code::InvalidSchema, message));
            }
            _ => self.dsml_any_parameters(),
        };
        self.rule(name, &format!("{head} {parameters} {}", quote(&format!("\n{DSML_INVOKE_END}"))));
        Ok(())
    }

    /// The name of the rule for the parameters of an object, in its order.
    fn dsml_parameters(&mut self, call: &str, schema: &Schema, object: &Value) -> Result<String> {
        let empty = Map::new();
        let properties = object.get("properties").and_then(Value::as_object).unwrap_or(&empty);
        let required = object.get("required").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for (place, (key, value)) in properties.iter().enumerate() {
            let next = place.saturating_add(1);
            let (first, later) = self.dsml_parameter(&format!("{call}_p{place}"), key, schema, value)?;
            let (mut alone, mut after) = (format!("{first} {call}_b{next}"), format!("{later} {call}_b{next}"));
            if !required.iter().any(|name| name.as_str() == Some(key)) {
                alone = format!("{alone} | {call}_a{next}");
                after = format!("{after} | {call}_b{next}");
            }
            self.rule(&format!("{call}_a{place}"), &alone); // nothing before it
            self.rule(&format!("{call}_b{place}"), &after); // after another one
        }
        let end = properties.len();
        self.rule(&format!("{call}_a{end}"), "\"\"");
        self.rule(&format!("{call}_b{end}"), "\"\"");
        Ok(format!("{call}_a0"))
    }

    /// The names of the rules for one parameter: as the first of its call, and after another one.
    fn dsml_parameter(&mut self, name: &str, key: &str, schema: &Schema, value: &Value) -> Result<(String, String)> {
        if key.contains(['"', '<', '>', '\n']) {
            let message =
                format!("a parameter's name cannot be written in this chat format: {}", crate::error::quote(key));
            return Err(Error::new(Code::InvalidSchema, message));
        }
        let mut found = Values::default();
        found.add(schema, value)?;
        let mut bodies: Vec<(bool, String)> = vec![];
        if !found.raw.is_empty() {
            // The closing tag is part of a raw text's token: the first one ends it.
            self.rule(&format!("{name}_raw[suffix={}]", quote(DSML_PARAMETER_END)), &found.raw.join(" | "));
            bodies.push((true, format!("{name}_raw")));
        }
        if !found.json.is_empty() {
            let whole = match found.json.as_slice() {
                [one] => one.clone(),
                several => json!({ "anyOf": several }),
            };
            let body = literal_json(&spaced(schema.standalone(&whole)));
            bodies.push((false, format!("{body} {}", quote(DSML_PARAMETER_END))));
        }
        for (place, break_before) in [("first", ""), ("later", "\n")] {
            let options = bodies.iter().map(|(is_string, body)| {
                let head = format!("{break_before}<｜DSML｜parameter name=\"{key}\" string=\"{is_string}\">");
                format!("{} {body}", quote(&head))
            });
            let options: Vec<String> = options.collect();
            self.rule(&format!("{name}_{place}"), &options.join(" | "));
        }
        Ok((format!("{name}_first"), format!("{name}_later")))
    }

    /// The name of the rule for parameters of any name.
    fn dsml_any_parameters(&mut self) -> String {
        if !std::mem::replace(&mut self.any_parameters, true) {
            let head = |before: &str, kind: &str| {
                format!("/{before}<｜DSML｜parameter name=\"[A-Za-z0-9_.\\-]{{1,64}}\" string=\"{kind}\">/")
            };
            let close = quote(DSML_PARAMETER_END);
            let body = literal_json(&spaced(json!({ "anyOf": not_strings() })));
            self.rule("any_parameters", "\"\" | any_first any_later*");
            self.rule(&format!("any_raw[suffix={close}]"), ANY_TEXT);
            for (name, before) in [("any_first", ""), ("any_later", "\\n")] {
                let (raw, other) = (head(before, "true"), head(before, "false"));
                self.rule(name, &format!("{raw} any_raw | {other} {body} {close}"));
            }
        }
        "any_parameters".to_owned()
    }
}

fn is_any_object(schema: &Value) -> bool {
    let empty = |key: &str| schema.get(key).and_then(Value::as_object).is_some_and(Map::is_empty);
    empty("properties") && empty("additionalProperties")
}

const ANY_TEXT: &str = "/(?s:.*)/";

/// The values of a parameter: raw texts, as terminals, and others, as schemas.
#[derive(Default)]
struct Values {
    raw: Vec<String>,
    json: Vec<Value>,
}

impl Values {
    fn add(&mut self, schema: &Schema, value: &Value) -> Result<()> {
        let value = schema.resolve(value);
        if let Some(options) = value.get("anyOf").and_then(Value::as_array) {
            return options.iter().try_for_each(|option| self.add(schema, option));
        }
        if let Some(values) = value.get("enum").and_then(Value::as_array) {
            let (texts, others): (Vec<&Value>, Vec<&Value>) = values.iter().partition(|value| value.is_string());
            for text in texts.into_iter().filter_map(Value::as_str) {
                if text.contains(DSML_PARAMETER_END) {
                    return Err(Error::new(
                        Code::InvalidSchema,
                        "an enum holds the end of a parameter in this chat format",
                    ));
                }
                self.raw.push(quote(text));
            }
            if !others.is_empty() {
                self.json.push(json!({ "enum": others }));
            }
            return Ok(());
        }
        match value.get("type").and_then(Value::as_str) {
            Some("string") => self.raw.push(raw_text(value)?),
            Some(_) => self.json.push(value.clone()),
            None => {
                self.raw.push(ANY_TEXT.to_owned());
                self.json.extend(not_strings());
            }
        }
        Ok(())
    }
}

/// The terminal of a raw text, with a pattern or a length where it has one.
fn raw_text(value: &Value) -> Result<String> {
    let mut demands = vec![];
    if let Some(pattern) = value.get("pattern").and_then(Value::as_str) {
        demands.push(terminal(&whole_text(pattern)?));
    }
    let count = |key: &str| value.get(key).and_then(Value::as_u64);
    if let (least, Some(most)) = (count("minLength").unwrap_or(0), count("maxLength")) {
        demands.push(format!("/(?s:.{{{least},{most}}})/"));
    } else if let Some(least) = count("minLength") {
        demands.push(format!("/(?s:.{{{least},}})/"));
    }
    if demands.is_empty() {
        return Ok(ANY_TEXT.to_owned());
    }
    // A text that fits only with the end of the parameter in it would never end.
    demands.push(format!("~/(?s:.*){}(?s:.*)/", DSML_PARAMETER_END.replace('/', "\\/")));
    Ok(demands.join(" & "))
}

/// A pattern of a schema, which may match anywhere, as one that has to match the whole text.
fn whole_text(pattern: &str) -> Result<String> {
    let unsupported = || {
        let pattern = crate::error::quote(pattern);
        Error::new(
            Code::InvalidSchema,
            format!("in this chat format a pattern has ^ and $ only at its ends: {pattern}"),
        )
    };
    // As in schemas, \d and \w are ASCII.
    let hir = regex_syntax::parse(&regex_to_lark(pattern, "dw")).map_err(|_| unsupported())?;
    anchored(&hir).ok_or_else(unsupported)
}

fn anchored(hir: &Hir) -> Option<String> {
    const ANY: &str = "(?s:.*)";
    let parts = match hir.kind() {
        HirKind::Alternation(options) => {
            let options: Option<Vec<String>> = options.iter().map(anchored).collect();
            return Some(format!("(?:{})", options?.join("|")));
        }
        HirKind::Capture(group) => return anchored(&group.sub),
        HirKind::Concat(parts) => parts.as_slice(),
        _ => std::slice::from_ref(hir),
    };
    let is = |part: &Hir, look: Look| *part.kind() == HirKind::Look(look);
    let begin = parts.iter().take_while(|part| is(part, Look::Start)).count();
    let (starts, rest) = parts.split_at_checked(begin)?;
    let end = rest.iter().rev().take_while(|part| is(part, Look::End)).count();
    let (middle, ends) = rest.split_at_checked(rest.len().saturating_sub(end))?;
    if middle.iter().any(|part| !part.properties().look_set().is_empty()) {
        return None;
    }
    let before = if starts.is_empty() { ANY } else { "" };
    let after = if ends.is_empty() { ANY } else { "" };
    let middle: String = middle.iter().map(|part| format!("(?:{part})")).collect();
    Some(format!("{before}(?:{middle}){after}"))
}

/// A regular expression between slashes.
fn terminal(pattern: &str) -> String {
    format!("/{}/", regex_to_lark(&pattern.replace("\\/", "/"), ""))
}

/// A literal of the grammar.
fn quote(text: &str) -> String {
    Value::from(text).to_string()
}

/// JSON that a schema accepts.
fn literal_json(schema: &Value) -> String {
    format!("%json {schema}")
}

/// With white space as the model likes it, but never more than two characters: a guard against endless space.
fn flexible(schema: Value) -> Value {
    with_options(schema, json!({ "whitespace_pattern": "[\\x20\\x0A\\x0D\\x09]{1,2}" }))
}

/// Any values but strings, which parameters have without quotes.
fn not_strings() -> [Value; 5] {
    ["object", "array", "number", "boolean", "null"].map(|name| json!({ "type": name }))
}

/// As DSML has it, on one line, and without what ends a parameter in its strings.
fn spaced(mut schema: Value) -> Value {
    keep_strings_inside(&mut schema);
    if let Some(map) = schema.as_object_mut() {
        let mut any: Vec<Value> = not_strings().into();
        any.push(json!({ "type": "string" }));
        let mut any = json!({ "anyOf": any });
        keep_strings_inside(&mut any);
        let definitions = map.entry("$defs").or_insert_with(|| json!({}));
        if let Some(definitions) = definitions.as_object_mut() {
            definitions.insert("any".to_owned(), any);
        }
    }
    with_options(schema, json!({ "whitespace_flexible": false, "item_separator": ", ", "key_separator": ": " }))
}

fn with_options(mut schema: Value, options: Value) -> Value {
    if let Some(map) = schema.as_object_mut() {
        map.insert("x-guidance".to_owned(), options);
    }
    schema
}

/// Strings and keys without `</｜`: the first closing tag ends a parameter, also inside of quotes.
fn keep_strings_inside(schema: &mut Value) {
    const INSIDE: &str = r"^([^<]|<(<|/<)*([^</]|/[^<｜]))*(<(<|/<)*/?)?$";
    let any = || json!({ "$ref": "#/$defs/any" });
    let Some(map) = schema.as_object_mut() else { return };
    if map.is_empty() {
        *schema = any();
        return;
    }
    let name = map.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    match name.as_str() {
        "string" => {
            map.entry("pattern").or_insert_with(|| Value::from(INSIDE));
        }
        "array" => keep_strings_inside(map.entry("items").or_insert_with(any)),
        "object" => {
            let mut additional = map.insert("additionalProperties".to_owned(), json!(false)).unwrap_or_else(any);
            keep_strings_inside(&mut additional);
            let listed = map.get("properties").and_then(Value::as_object).is_some_and(|listed| !listed.is_empty());
            if listed {
                // Beside named properties a pattern would speak about these too.
                map.insert("additionalProperties".to_owned(), additional);
            } else if additional != json!(false) {
                map.insert("patternProperties".to_owned(), json!({ INSIDE: additional }));
            }
        }
        _ => {}
    }
    for key in ["properties", "$defs"] {
        let parts = map.get_mut(key).and_then(Value::as_object_mut);
        parts.into_iter().flatten().for_each(|(_, part)| keep_strings_inside(part));
    }
    let options = map.get_mut("anyOf").and_then(Value::as_array_mut);
    options.into_iter().flatten().for_each(keep_strings_inside);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_made_to_match_whole_texts() {
        for (pattern, fits, refused) in
            [(r"^\d{6}$", "123456", "1234567"), ("b", "abc", "acc"), ("^a/b|c$", "a/bd", "cd"), ("^(x|y)$", "y", "xy")]
        {
            let whole = format!("^(?:{})$", whole_text(pattern).unwrap());
            let regex = regex::Regex::new(&whole).unwrap();
            assert!(regex.is_match(fits) && !regex.is_match(refused), "{pattern}: {whole}");
        }
        for pattern in ["(^a|b)$", r"a\b", "a^b"] {
            assert_eq!(whole_text(pattern).unwrap_err().code(), Code::InvalidSchema, "{pattern}");
        }
    }
}
