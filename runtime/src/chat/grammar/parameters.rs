//! Arguments that stand in tags of their own, one by one: rules for the formats that write them so.

use serde_json::Value;

use super::json::{Layout, nested};
use super::lark::quote;
use super::rules::Rules;
use crate::chat::schema::{List, MAX_DEPTH, Need, Numbers, Object, Part, Rest, Schema, Texts, Written};
use crate::chat::shape::ToolSpec;
use crate::error::{self, Code, Error, Result};

/// How a format spells parameters. A value that is text stands as it is, without any escaping; all others are JSON.
pub(crate) trait Spelling {
    /// Ends a parameter. Nothing escapes it: no value holds it.
    const END: &'static str;
    /// What closing tags begin with: no string of JSON holds it.
    const NEVER: &'static str;
    /// Whether a parameter says itself if it is text.
    const TELLS_TEXT: bool;

    /// What opens a parameter, as a part of a grammar. `is_first`: no other one is before it.
    fn open(rules: &Rules<'_>, name: Name<'_>, is_text: bool, is_first: bool) -> Result<String>;

    /// Adds the rule `name` for one of these texts, terminals, and what ends its parameter.
    fn text(rules: &mut Rules<'_>, name: &str, texts: &str) -> Result<()>;

    /// What ends a parameter of JSON, as a part of a grammar.
    fn close(rules: &Rules<'_>) -> Result<String>;
}

/// The name of a parameter.
#[derive(Clone, Copy)]
pub(crate) enum Name<'n> {
    /// This one.
    Of(&'n str),
    /// Any that a regular expression matches.
    Matching(&'static str),
}

const ANY_NAME: Name<'static> = Name::Matching("[A-Za-z0-9_.\\-]{1,64}");
const ANY_TEXT: &str = "/(?s:.*)/";

/// The rule for the parameters of a call, by its name.
pub(crate) fn call_parameters<S: Spelling>(rules: &mut Rules<'_>, call: &str, tool: &ToolSpec) -> Result<String> {
    let schema = rules.arguments(tool)?;
    let object = schema.as_ref().map(|schema| (schema, schema.resolve(&schema.root)));
    match object {
        Some((schema, Part::Object(object))) if object.rest == Rest::Closed && object.patterns.is_empty() => {
            if object.least > 0 || object.most.is_some() {
                rules.loosened.push(format!("{}:$.minProperties", tool.name));
            }
            parameters::<S>(rules, call, schema, object)
        }
        Some((_, Part::Object(object))) if tool.strict && !is_any_object(object) => {
            let rule = "$: in this chat format 'additionalProperties' of the arguments must be false";
            let message = format!("Invalid schema for function '{}': {rule}", tool.name);
            Err(Error::new(Code::InvalidSchema, message))
        }
        Some((schema, Part::Object(object))) if !is_any_object(object) => {
            rules.loosened.push(format!("{}:$.additionalProperties", tool.name));
            // Those that are listed are held, and no others come; where none is, any may.
            match object.properties.is_empty() {
                true => any_parameters::<S>(rules),
                false => parameters::<S>(rules, call, schema, object),
            }
        }
        _ => any_parameters::<S>(rules),
    }
}

/// The name of the rule for the parameters of an object, in its order.
fn parameters<S: Spelling>(rules: &mut Rules<'_>, call: &str, schema: &Schema, object: &Object) -> Result<String> {
    let written = object.properties.iter().filter_map(|property| Some((property, property.part.as_ref()?)));
    let mut end = 0_usize;
    for (place, (property, part)) in written.enumerate() {
        let next = place.saturating_add(1);
        end = next;
        let (first, later) = parameter::<S>(rules, &format!("{call}_p{place}"), &property.name, schema, part)?;
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
fn parameter<S: Spelling>(
    rules: &mut Rules<'_>,
    name: &str,
    key: &str,
    schema: &Schema,
    value: &Part,
) -> Result<(String, String)> {
    if key.contains(['"', '<', '>', '\n']) {
        let message = format!("a parameter's name cannot be written in this chat format: {}", error::quote(key));
        return Err(Error::new(Code::InvalidSchema, message));
    }
    let mut found = Values::default();
    found.add::<S>(schema, value, 0)?;
    let mut bodies: Vec<(bool, String)> = vec![];
    if !found.raw.is_empty() {
        let mut texts = found.raw.join(" | ");
        if !S::TELLS_TEXT && !found.json.is_empty() {
            texts = format!("({texts}) & ~{LIKE_JSON}");
        }
        S::text(rules, &format!("{name}_raw"), &texts)?;
        bodies.push((true, format!("{name}_raw")));
    }
    if !found.json.is_empty() {
        let whole = match found.json.as_slice() {
            [one] => one.clone(),
            several => Part::Union(several.to_vec()),
        };
        let body = nested(schema, &whole, layout::<S>())?;
        bodies.push((false, format!("{body} {}", S::close(rules)?)));
    }
    for (place, is_first) in [("first", true), ("later", false)] {
        let mut options = vec![];
        for (is_text, body) in &bodies {
            options.push(format!("{} {body}", S::open(rules, Name::Of(key), *is_text, is_first)?));
        }
        rules.rule(&format!("{name}_{place}"), &options.join(" | "));
    }
    Ok((format!("{name}_first"), format!("{name}_later")))
}

/// Texts that are taken for other values where nothing else tells them apart.
const LIKE_JSON: &str = r"/(?s:\s*(?:[\[{].*|true|false|null|-?[0-9][0-9.eE+\-]*)\s*)/";

fn layout<S: Spelling>() -> Layout {
    Layout::Tagged { end: S::END, never: S::NEVER }
}

/// The name of the rule for parameters of any name.
fn any_parameters<S: Spelling>(rules: &mut Rules<'_>) -> Result<String> {
    if !std::mem::replace(&mut rules.any_parameters, true) {
        rules.rule("any_parameters", "\"\" | any_first any_later*");
        S::text(rules, "any_raw", ANY_TEXT)?;
        let body = nested(&Schema::any_object(), &Part::Union(not_strings().to_vec()), layout::<S>())?;
        let body = format!("{body} {}", S::close(rules)?);
        for (name, is_first) in [("any_first", true), ("any_later", false)] {
            let raw = format!("{} any_raw", S::open(rules, ANY_NAME, true, is_first)?);
            // Where nothing tells them apart, any text will do.
            let other = match S::TELLS_TEXT {
                true => format!(" | {} {body}", S::open(rules, ANY_NAME, false, is_first)?),
                false => String::new(),
            };
            rules.rule(name, &(raw + &other));
        }
    }
    Ok("any_parameters".to_owned())
}

fn is_any_object(object: &Object) -> bool {
    object.properties.is_empty() && object.patterns.is_empty() && object.rest == Rest::Open(Part::Any)
}

/// The values of a parameter: raw texts, as terminals, and others.
#[derive(Default)]
struct Values {
    raw: Vec<String>,
    json: Vec<Part>,
}

impl Values {
    fn add<S: Spelling>(&mut self, schema: &Schema, value: &Part, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(Error::new(Code::GrammarTooComplex, "alternatives of a parameter recurse without end"));
        }
        match schema.resolve(value) {
            Part::Union(options) => {
                options.iter().try_for_each(|option| self.add::<S>(schema, option, depth.saturating_add(1)))?;
            }
            Part::Values(values) => {
                let (texts, others): (Vec<&Value>, Vec<&Value>) = values.iter().partition(|value| value.is_string());
                for text in texts.into_iter().filter_map(Value::as_str) {
                    if text.contains(S::END) {
                        let message = "an enum holds the end of a parameter in this chat format";
                        return Err(Error::new(Code::InvalidSchema, message));
                    }
                    self.raw.push(quote(text));
                }
                if !others.is_empty() {
                    self.json.push(Part::Values(others.into_iter().cloned().collect()));
                }
            }
            Part::Text(texts) => self.raw.push(raw_text::<S>(texts)),
            Part::Any => {
                self.raw.push(ANY_TEXT.to_owned());
                if S::TELLS_TEXT {
                    self.json.extend(not_strings());
                }
            }
            other => self.json.push(other.clone()),
        }
        Ok(())
    }
}

/// The terminal of a raw text, with a pattern or a length where it has one.
fn raw_text<S: Spelling>(texts: &Texts) -> String {
    if *texts == Texts::default() {
        return ANY_TEXT.to_owned();
    }
    // A text that fits only with the end of the parameter in it would never end.
    format!("{} & ~/(?s:.*){}(?s:.*)/", texts.raw(), S::END.replace('/', "\\/"))
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
