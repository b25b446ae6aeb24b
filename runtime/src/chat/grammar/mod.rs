//! What a request asks of the form of its answer, as a grammar over the text and the control tokens of a chat format.
//!
//! In: a [`Shape`]. Out: a [`Form`] for `generate::constraint`. Never: a mask, or an id that is not from the tokenizer.
//!
//! Literals of one rule never begin with one another: llguidance's lexer takes the longest and does not go back.

mod json;
mod notation;

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value, json};

use self::json::Layout;
use super::control::{CALL_BEGIN, CALL_END, CALLS_BEGIN, CALLS_END, END_THINK, SEPARATOR};
use super::schema::{Dialect, List, MAX_DEPTH, Need, Numbers, Object, Part, Rest, Schema, Texts, Written};
use super::{ChatFormat, Detected};
use super::{ResponseShape, Shape, ToolChoice, ToolSpec};
use crate::error::{Code, Error, Result};
use crate::generate::{Constraint, Form, Free, Lexicon};
use crate::platform::{Apart, Undone};
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
    apart: Arc<Apart>,
}

/// What a form is made from, as refusals name it.
fn owner(shape: &Shape) -> String {
    match shape.tools.as_slice() {
        _ if !matches!(shape.response, ResponseShape::None) => "response_format".to_owned(),
        [tool] => format!("function '{}'", tool.name),
        _ => "the functions together".to_owned(),
    }
}

impl Grammars {
    /// `sampleable` as [`Tokenizer::sampleable`] has it; `eos`: ids that end an answer.
    #[must_use]
    pub fn new(tokenizer: Arc<Tokenizer>, format: Detected, sampleable: Arc<[bool]>, eos: &[u32]) -> Grammars {
        Grammars { tokenizer, format, sampleable, eos: eos.into(), lexicon: Arc::default(), apart: Arc::default() }
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
        let owner = owner(shape);
        // Made before the clock runs.
        self.lexicon()?;
        let (grammars, shape) = (self.clone(), shape.clone());
        let made = self.apart.run(move || grammars.compiled(&shape, thinking, dialect));
        made.map_err(|undone| match undone {
            Undone::Late => Error::new(Code::GrammarTooComplex, "the schema or grammar took too long to compile"),
            Undone::Broken => Error::new(Code::GrammarTooComplex, "the schema or grammar could not be compiled"),
            Undone::Full => {
                Error::new(Code::GrammarTooComplex, "too many schemas are compiled at once; try again later")
                    .with_detail("status", 503)
            }
        })?
        .map_err(|error| match error.code() {
            // Over a limit is the whole, not one of its keywords.
            Code::GrammarTooComplex if !error.details().contains_key("path") => {
                let message = format!("Invalid schema for {owner}: $: {}", error.message());
                Error::new(Code::GrammarTooComplex, message).with_detail("path", "$")
            }
            _ => error,
        })
        .map(Some)
    }

    fn compiled(&self, shape: &Shape, thinking: bool, dialect: Dialect) -> Result<Constraint> {
        let made = self.form(shape, thinking, dialect, true).and_then(|form| self.lexicon()?.constraint(&form));
        // Arguments of functions that are not strict may be any object; their schema is a help to the model.
        if made.is_err() && !shape.tools.is_empty() && shape.tools.iter().any(|tool| !tool.strict) {
            return self.form(shape, thinking, dialect, false).and_then(|form| self.lexicon()?.constraint(&form));
        }
        made
    }

    fn form(&self, shape: &Shape, thinking: bool, dialect: Dialect, schemas: bool) -> Result<Form> {
        let mut rules = Rules {
            tokenizer: &self.tokenizer,
            lark: String::new(),
            dialect,
            schemas,
            any_parameters: false,
            loosened: vec![],
        };
        let response = rules.response(&shape.response)?;
        let tools: Vec<&ToolSpec> = match &shape.choice {
            ToolChoice::None => vec![],
            ToolChoice::Named(name) => shape.tools.iter().filter(|tool| tool.name == *name).collect(),
            ToolChoice::Auto | ToolChoice::Required => shape.tools.iter().collect(),
        };
        let forced = matches!(shape.choice, ToolChoice::Required | ToolChoice::Named(_));
        // Beside strict functions others are as free as they are alone.
        rules.schemas &= forced || !shape.parallel;
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
            (None, None) => return Ok(Form { free, ..Form::default() }),
            (None, Some(markup)) if tools.is_empty() => {
                free.push(Free::Without(markup.opener().to_owned()));
                return Ok(Form { free, ..Form::default() });
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
        let grammar = Some(format!("start: {start}\n{}", rules.lark));
        Ok(Form { free, grammar, loosened: rules.loosened })
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
    /// Demands of schemas that are not held.
    loosened: Vec<String>,
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
            ResponseShape::Regex(pattern) => {
                let texts = Texts::matching(pattern).map_err(|why| {
                    Error::new(Code::InvalidSchema, format!("Invalid regular expression: {why}"))
                        .with_detail("param", "regex")
                })?;
                self.rule("TEXT", &texts.raw());
                return Ok(Some("TEXT".to_owned()));
            }
            ResponseShape::Choice(texts) => {
                self.rule("TEXT", &notation::choice(texts));
                return Ok(Some("TEXT".to_owned()));
            }
            ResponseShape::Grammar(text) => {
                let grammar = notation::nested(text)?;
                self.rule("response", &grammar);
                return Ok(Some("response".to_owned()));
            }
            ResponseShape::JsonObject => Schema::any_object(),
            // A response of DeepSeek's dialect has no schema: what goes beyond its tools is the same for both.
            ResponseShape::JsonSchema(schema) => Schema::check("response_format", schema, Dialect::Local)?,
        };
        self.loosened.extend_from_slice(schema.loosened());
        self.rule("response", &json::nested(&schema, schema.root(), Layout::Flexible)?);
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
    fn arguments(&mut self, tool: &ToolSpec) -> Result<Option<Schema>> {
        let owner = format!("function '{}'", tool.name);
        let empty = tool.parameters.as_object().is_some_and(Map::is_empty);
        let schema = match (tool.strict, self.schemas) {
            (true, _) if empty => Schema::check(&owner, &json!({"type": "object", "properties": {}}), Dialect::Local)?,
            (true, _) => Schema::check(&owner, &tool.parameters, self.dialect)?,
            (false, true) if !empty => Schema::check(&owner, &tool.parameters, Dialect::Loose)?,
            (false, schemas) => {
                if !schemas {
                    self.loosened.push(format!("{}:$", tool.name));
                }
                return Ok(None);
            }
        };
        self.loosened.extend(schema.loosened().iter().map(|path| format!("{}:{path}", tool.name)));
        match schema.resolve(schema.root()) {
            Part::Object(_) => Ok(Some(schema)),
            Part::Any if !tool.strict => Ok(None),
            _ if tool.strict => {
                Err(Error::new(Code::InvalidSchema, format!("Invalid schema for {owner}: $: expected type object")))
            }
            _ => {
                self.loosened.push(format!("{}:$", tool.name));
                Ok(None)
            }
        }
    }

    fn exp_call(&mut self, name: &str, tool: &ToolSpec) -> Result<()> {
        let schema = self.arguments(tool)?.unwrap_or_else(Schema::any_object);
        let (begin, separator, end) = (self.token(CALL_BEGIN)?, self.token(SEPARATOR)?, self.token(CALL_END)?);
        let arguments = json::nested(&schema, schema.root(), Layout::Flexible)?;
        self.rule(name, &format!("{begin} {} {separator} {arguments} {end}", quote(&tool.name)));
        Ok(())
    }

    fn dsml_call(&mut self, name: &str, tool: &ToolSpec) -> Result<()> {
        let head = quote(&format!("\n<｜DSML｜invoke name=\"{}\">\n", tool.name));
        let schema = self.arguments(tool)?;
        let object = schema.as_ref().map(|schema| (schema, schema.resolve(schema.root())));
        let parameters = match object {
            Some((schema, Part::Object(object))) if object.rest == Rest::Closed && object.patterns.is_empty() => {
                if object.least > 0 || object.most.is_some() {
                    self.loosened.push(format!("{}:$.minProperties", tool.name));
                }
                self.dsml_parameters(name, schema, object)?
            }
            Some((_, Part::Object(object))) if tool.strict && !is_any_object(object) => {
                let rule = "$: in this chat format 'additionalProperties' of the arguments must be false";
                let message = format!("Invalid schema for function '{}': {rule}", tool.name);
                return Err(Error::new(Code::InvalidSchema, message));
            }
            Some((schema, Part::Object(object))) if !is_any_object(object) => {
                self.loosened.push(format!("{}:$.additionalProperties", tool.name));
                // Those that are listed are held, and no others come; where none is, any may.
                match object.properties.is_empty() {
                    true => self.dsml_any_parameters()?,
                    false => self.dsml_parameters(name, schema, object)?,
                }
            }
            _ => self.dsml_any_parameters()?,
        };
        self.rule(name, &format!("{head} {parameters} {}", quote(&format!("\n{DSML_INVOKE_END}"))));
        Ok(())
    }

    /// The name of the rule for the parameters of an object, in its order.
    fn dsml_parameters(&mut self, call: &str, schema: &Schema, object: &Object) -> Result<String> {
        let written = object.properties.iter().filter_map(|property| Some((property, property.part.as_ref()?)));
        let mut end = 0_usize;
        for (place, (property, part)) in written.enumerate() {
            let next = place.saturating_add(1);
            end = next;
            let (first, later) = self.dsml_parameter(&format!("{call}_p{place}"), &property.name, schema, part)?;
            let (mut alone, mut after) = (format!("{first} {call}_b{next}"), format!("{later} {call}_b{next}"));
            if property.need == Need::Free {
                alone = format!("{alone} | {call}_a{next}");
                after = format!("{after} | {call}_b{next}");
            }
            self.rule(&format!("{call}_a{place}"), &alone); // nothing before it
            self.rule(&format!("{call}_b{place}"), &after); // after another one
        }
        self.rule(&format!("{call}_a{end}"), "\"\"");
        self.rule(&format!("{call}_b{end}"), "\"\"");
        Ok(format!("{call}_a0"))
    }

    /// The names of the rules for one parameter: as the first of its call, and after another one.
    fn dsml_parameter(&mut self, name: &str, key: &str, schema: &Schema, value: &Part) -> Result<(String, String)> {
        if key.contains(['"', '<', '>', '\n']) {
            let message =
                format!("a parameter's name cannot be written in this chat format: {}", crate::error::quote(key));
            return Err(Error::new(Code::InvalidSchema, message));
        }
        let mut found = Values::default();
        found.add(schema, value, 0)?;
        let mut bodies: Vec<(bool, String)> = vec![];
        if !found.raw.is_empty() {
            // The closing tag is part of a raw text's token: the first one ends it.
            self.rule(&format!("{name}_raw[suffix={}]", quote(DSML_PARAMETER_END)), &found.raw.join(" | "));
            bodies.push((true, format!("{name}_raw")));
        }
        if !found.json.is_empty() {
            let whole = match found.json.as_slice() {
                [one] => one.clone(),
                several => Part::Union(several.to_vec()),
            };
            let body = json::nested(schema, &whole, Layout::Spaced)?;
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
    fn dsml_any_parameters(&mut self) -> Result<String> {
        if !std::mem::replace(&mut self.any_parameters, true) {
            let head = |before: &str, kind: &str| {
                format!("/{before}<｜DSML｜parameter name=\"[A-Za-z0-9_.\\-]{{1,64}}\" string=\"{kind}\">/")
            };
            let close = quote(DSML_PARAMETER_END);
            let body = json::nested(&Schema::any_object(), &Part::Union(not_strings().to_vec()), Layout::Spaced)?;
            self.rule("any_parameters", "\"\" | any_first any_later*");
            self.rule(&format!("any_raw[suffix={close}]"), ANY_TEXT);
            for (name, before) in [("any_first", ""), ("any_later", "\\n")] {
                let (raw, other) = (head(before, "true"), head(before, "false"));
                self.rule(name, &format!("{raw} any_raw | {other} {body} {close}"));
            }
        }
        Ok("any_parameters".to_owned())
    }
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
            return Err(Error::new(
                Code::GrammarTooComplex,
                "alternatives of a parameter refer to one another without end",
            ));
        }
        match schema.resolve(value) {
            Part::Union(options) => {
                options.iter().try_for_each(|option| self.add(schema, option, depth.saturating_add(1)))?;
            }
            Part::Values(values) => {
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
    format!("{} & ~/(?s:.*){}(?s:.*)/", texts.raw(), DSML_PARAMETER_END.replace('/', "\\/"))
}

/// A literal of the grammar: JSON's, but for one character.
fn quote(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007f")
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
