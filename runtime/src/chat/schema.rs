//! JSON schemas of requests: which of them an answer can be held to.
//!
//! In: a schema as a client sent it. Out: the same demands in the few keywords that grammars are made from, or an error
//! with the path of what is wrong. Never: a keyword that is dropped although it would demand something.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::error::{Code, Error, Result, escape};

/// Bytes of a schema at most, as compact JSON.
pub const MAX_BYTES: usize = 256 << 10;
/// Schemas inside schemas at most.
pub const MAX_DEPTH: usize = 32;
/// JSON values of a schema at most, with those that references repeat.
pub const MAX_NODES: usize = 50_000;
/// Properties of all objects together at most.
pub const MAX_PROPERTIES: usize = 1000;
/// Bytes of a pattern at most.
pub const MAX_PATTERN_BYTES: usize = 1 << 10;

macro_rules! host {
    () => {
        r"[A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?(\.[A-Za-z]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?){0,4}"
    };
}
macro_rules! byte {
    () => {
        "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
    };
}
macro_rules! group {
    () => {
        "[0-9a-fA-F]{1,4}"
    };
}
macro_rules! date {
    () => {
        "[0-9]{4}-((0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)"
    };
}
macro_rules! time {
    () => {
        r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
    };
}

/// Which schemas are taken, and what is added to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// DeepSeek's documented subset: every property is required, nothing else is allowed, and the schema says so.
    DeepSeek,
    /// The same meaning, but what DeepSeek wants said is added where it is missing; more keywords.
    #[default]
    Local,
    /// As `Local`, but properties that are not required stay optional.
    Loose,
}

/// Formats of strings, each as the pattern of whole texts that every validator takes for one.
const FORMATS: [(&str, &str); 5] = [
    ("email", concat!(r"^[A-Za-z0-9_%+-]{1,20}(\.[A-Za-z0-9_%+-]{1,20}){0,2}@", host!(), "$")),
    ("hostname", concat!("^", host!(), "$")),
    ("ipv4", concat!(r"^(", byte!(), r"\.){3}", byte!(), "$")),
    (
        "ipv6",
        concat!(
            "^((",
            group!(),
            ":){7}",
            group!(),
            "|::(",
            group!(),
            ":){0,5}",
            group!(),
            "|(",
            group!(),
            ":){1,6}:",
            group!(),
            "|::)$"
        ),
    ),
    ("uuid", r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"),
];
/// Formats beyond DeepSeek's.
const MORE_FORMATS: [(&str, &str); 5] = [
    ("date", concat!("^", date!(), "$")),
    ("time", concat!("^", time!(), "$")),
    ("date-time", concat!("^", date!(), "T", time!(), "$")),
    ("duration", "^P([0-9]{1,9}[YMWD]|([0-9]{1,9}D)?T[0-9]{1,9}[HMS])$"),
    (
        "uri",
        concat!("^[a-z][a-z0-9+.-]*://", host!(), r"(:[1-9][0-9]{0,3})?(/[A-Za-z0-9._~-]+)*/?(\?[A-Za-z0-9._~=&-]*)?$"),
    ),
];
/// Keywords that demand nothing.
const ANNOTATIONS: [&str; 13] = [
    "title",
    "description",
    "$schema",
    "$id",
    "id",
    "$comment",
    "examples",
    "example",
    "default",
    "nullable",
    "deprecated",
    "readOnly",
    "writeOnly",
];
const DEFINITIONS: [&str; 3] = ["$def", "$defs", "definitions"];
const TYPES: [&str; 7] = ["object", "string", "number", "integer", "boolean", "array", "null"];
/// Keywords by the type that they speak about; the last ones of strings and arrays are beyond DeepSeek's.
const OF_OBJECTS: [&str; 3] = ["properties", "required", "additionalProperties"];
const OF_STRINGS: [&str; 4] = ["pattern", "format", "minLength", "maxLength"];
const OF_NUMBERS: [&str; 5] = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"];
const OF_ARRAYS: [&str; 3] = ["items", "minItems", "maxItems"];
const BEYOND: [&str; 4] = ["minLength", "maxLength", "minItems", "maxItems"];

/// A checked schema, in these forms only: `{}`, `$ref`, `anyOf`, `enum`, or one `type` with its keywords. References
/// point into its definitions.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    root: Value,
    definitions: Map<String, Value>,
}

impl Schema {
    /// Checks a schema. `owner` is named in errors: `function 'f'`.
    ///
    /// # Errors
    /// `invalid_schema`, with the path of what is wrong: an unknown keyword, a value of the wrong type, a reference to
    /// nothing, a schema that no finite text fits, a limit.
    pub fn check(owner: &str, schema: &Value, dialect: Dialect) -> Result<Schema> {
        let mut checker = Checker { root: schema, dialect, references: vec![], nodes: 0, properties: 0 };
        checker.schema().map_err(|Wrong { path, what }| {
            let message = format!("Invalid schema for {owner}: {}: {what}", escape(&path));
            Error::new(Code::InvalidSchema, message).with_detail("path", escape(&path))
        })
    }

    /// The schema of the whole value.
    #[must_use]
    pub fn root(&self) -> &Value {
        &self.root
    }

    /// What `part`, which is in this schema, stands for: itself, or what its reference points at.
    #[must_use]
    pub fn resolve<'a>(&'a self, mut part: &'a Value) -> &'a Value {
        // A chain of references is finite: a circle of nothing else has been refused.
        while let Some(name) = reference(part) {
            let Some(target) = self.definitions.get(name) else { break };
            part = target;
        }
        part
    }

    /// A part as a schema of its own, with the definitions that it may need.
    #[must_use]
    pub fn standalone(&self, part: &Value) -> Value {
        let mut whole = part.clone();
        if let Some(map) = whole.as_object_mut()
            && holds_reference(part)
        {
            map.insert("$defs".to_owned(), Value::Object(self.definitions.clone()));
        }
        whole
    }
}

const PREFIX: &str = "#/$defs/";

fn reference(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()?.strip_prefix(PREFIX)
}

fn holds_reference(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => map.contains_key("$ref") || map.values().any(holds_reference),
        Value::Array(list) => list.iter().any(holds_reference),
        _ => false,
    }
}

/// What is wrong, and where.
struct Wrong {
    path: String,
    what: String,
}

fn wrong<T>(path: &str, what: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { path: path.to_owned(), what: what.into() })
}

struct Checker<'a> {
    root: &'a Value,
    dialect: Dialect,
    /// Pointers that were met, each a definition of the result by its place.
    references: Vec<String>,
    nodes: usize,
    properties: usize,
}

impl<'a> Checker<'a> {
    fn schema(&mut self) -> Result<Schema, Wrong> {
        let bytes = self.root.to_string().len();
        if bytes > MAX_BYTES {
            return wrong("$", format!("the schema has {bytes} bytes, at most {MAX_BYTES} are allowed"));
        }
        let root = self.part(self.root, "$", 0)?;
        let mut definitions = Map::new();
        while let Some(pointer) = self.references.get(definitions.len()).cloned() {
            let path = format!("${}", pointer.replace('/', "."));
            let Some(target) = self.root.pointer(&pointer) else { return wrong(&path, "nothing is here to refer to") };
            let target = self.part(target, &path, 0)?;
            definitions.insert(format!("d{}", definitions.len()), target);
        }
        self.refuse_endless(&root, &definitions)?;
        Ok(Schema { root, definitions })
    }

    /// Counts a value and all in it.
    fn count(&mut self, value: &Value, path: &str) -> Result<(), Wrong> {
        self.nodes = self.nodes.saturating_add(1);
        if self.nodes > MAX_NODES {
            return wrong(path, format!("the schema has more than {MAX_NODES} values"));
        }
        match value {
            Value::Array(list) => list.iter().try_for_each(|value| self.count(value, path)),
            Value::Object(map) => map.values().try_for_each(|value| self.count(value, path)),
            _ => Ok(()),
        }
    }

    fn part(&mut self, schema: &'a Value, path: &str, depth: usize) -> Result<Value, Wrong> {
        if depth > MAX_DEPTH {
            return wrong(path, format!("schemas are nested more than {MAX_DEPTH} deep"));
        }
        self.nodes = self.nodes.saturating_add(1);
        if self.nodes > MAX_NODES {
            return wrong(path, format!("the schema has more than {MAX_NODES} values"));
        }
        let map = match schema {
            Value::Object(map) => map,
            Value::Bool(true) if self.dialect != Dialect::DeepSeek => return Ok(json!({})),
            _ => return wrong(path, "expected an object"),
        };
        let mut demands: Map<String, Value> = Map::new();
        for (key, value) in map {
            if DEFINITIONS.contains(&key.as_str()) {
                // All are checked, also those that nothing refers to.
                for (name, value) in object(value, path, key)? {
                    self.part(value, &format!("{path}.{key}.{name}"), depth.saturating_add(1))?;
                }
            } else if !ANNOTATIONS.contains(&key.as_str()) && !key.starts_with("x-") {
                demands.insert(key.clone(), value.clone());
            }
        }
        for alone in ["$ref", "anyOf", "enum", "const"] {
            let Some(value) = map.get(alone) else { continue };
            let typed = matches!(alone, "enum" | "const");
            if let Some(other) = demands.keys().find(|key| *key != alone && !(typed && *key == "type")) {
                return wrong(path, format!("unsupported keyword '{}' beside '{alone}'", escape(other)));
            }
            return match alone {
                "$ref" => self.refer(value, path),
                "anyOf" => self.any_of(value, path, depth),
                "enum" => self.one_of(list(value, path, "enum")?, map.get("type"), path),
                _ => self.one_of(std::slice::from_ref(value), map.get("type"), path),
            };
        }
        let known = [&OF_OBJECTS[..], &OF_STRINGS, &OF_NUMBERS, &OF_ARRAYS, &["type"]];
        for key in demands.keys() {
            let beyond = self.dialect == Dialect::DeepSeek && BEYOND.contains(&key.as_str());
            if beyond || !known.iter().any(|keys| keys.contains(&key.as_str())) {
                return wrong(path, format!("unsupported keyword '{}'", escape(key)));
            }
        }
        match types(map.get("type"), path)?.as_slice() {
            [] => {
                // Without a type the keywords say which is meant.
                let meant = [
                    ("object", &OF_OBJECTS[..]),
                    ("array", &OF_ARRAYS),
                    ("string", &OF_STRINGS),
                    ("number", &OF_NUMBERS),
                ];
                let meant = meant.iter().find(|(_, keys)| keys.iter().any(|key| demands.contains_key(*key)));
                meant.map_or(Ok(json!({})), |(name, _)| self.typed(name, map, path, depth))
            }
            [one] => self.typed(one, map, path, depth),
            several => {
                if self.dialect == Dialect::DeepSeek {
                    return wrong(path, "'type' is a list; use anyOf");
                }
                let each = several.iter().map(|name| self.typed(name, map, path, depth));
                Ok(json!({ "anyOf": each.collect::<Result<Vec<_>, _>>()? }))
            }
        }
    }

    fn refer(&mut self, value: &Value, path: &str) -> Result<Value, Wrong> {
        let Some(pointer) = value.as_str().and_then(|text| text.strip_prefix('#')) else {
            return wrong(path, "unsupported $ref: only references into the same schema (#/…) are known");
        };
        if self.root.pointer(pointer).is_none() {
            return wrong(path, format!("$ref '#{}' points at nothing", escape(pointer)));
        }
        let known = self.references.iter().position(|known| known == pointer);
        let index = known.unwrap_or_else(|| {
            self.references.push(pointer.to_owned());
            self.references.len().saturating_sub(1)
        });
        Ok(json!({ "$ref": format!("{PREFIX}d{index}") }))
    }

    fn any_of(&mut self, value: &'a Value, path: &str, depth: usize) -> Result<Value, Wrong> {
        let options = list(value, path, "anyOf")?.iter().enumerate();
        let options = options
            .map(|(place, option)| self.part(option, &format!("{path}.anyOf[{place}]"), depth.saturating_add(1)));
        Ok(json!({ "anyOf": options.collect::<Result<Vec<_>, _>>()? }))
    }

    /// Values, those of the type where one is given.
    fn one_of(&mut self, values: &[Value], wanted: Option<&Value>, path: &str) -> Result<Value, Wrong> {
        values.iter().try_for_each(|value| self.count(value, path))?;
        let types = types(wanted, path)?;
        let fits = |value: &&Value| types.is_empty() || types.iter().any(|name| is_of(value, name));
        let values: Vec<&Value> = values.iter().filter(fits).collect();
        if values.is_empty() {
            return wrong(path, "no value of 'enum' is of its type");
        }
        Ok(json!({ "enum": values }))
    }

    /// The keywords of one type.
    fn typed(&mut self, name: &str, map: &'a Map<String, Value>, path: &str, depth: usize) -> Result<Value, Wrong> {
        let mut out = Map::new();
        out.insert("type".to_owned(), json!(name));
        match name {
            "object" => self.object(&mut out, map, path, depth)?,
            "array" => {
                if let Some(items) = map.get("items") {
                    let items = self.part(items, &format!("{path}.items"), depth.saturating_add(1))?;
                    out.insert("items".to_owned(), items);
                }
                copy_counts(&mut out, map, &["minItems", "maxItems"], path)?;
            }
            "string" => self.string(&mut out, map, path)?,
            "number" | "integer" => {
                for key in OF_NUMBERS {
                    let Some(value) = map.get(key) else { continue };
                    let number = value.as_f64().filter(|number| number.is_finite());
                    match number.filter(|number| key != "multipleOf" || *number > 0.0) {
                        Some(_) => out.insert(key.to_owned(), value.clone()),
                        None => return wrong(path, format!("'{key}' is not a number that it can be")),
                    };
                }
            }
            _ => {}
        }
        Ok(Value::Object(out))
    }

    fn object(
        &mut self,
        out: &mut Map<String, Value>,
        map: &'a Map<String, Value>,
        path: &str,
        depth: usize,
    ) -> Result<(), Wrong> {
        let properties = map.get("properties").map(|value| object(value, path, "properties")).transpose()?;
        let mut checked = Map::new();
        for (name, value) in properties.into_iter().flatten() {
            self.properties = self.properties.saturating_add(1);
            if self.properties > MAX_PROPERTIES {
                return wrong(path, format!("the schema has more than {MAX_PROPERTIES} properties"));
            }
            let value = self.part(value, &format!("{path}.properties.{name}"), depth.saturating_add(1))?;
            checked.insert(name.clone(), value);
        }
        let mut required: Vec<String> = vec![];
        if let Some(value) = map.get("required") {
            for name in list_or_empty(value, path, "required")? {
                match name.as_str() {
                    Some(name) if checked.contains_key(name) => required.push(name.to_owned()),
                    Some(name) => {
                        return wrong(path, format!("'required' names '{}', which is not a property", escape(name)));
                    }
                    None => return wrong(path, "'required' holds something else than names"),
                }
            }
        }
        let missing = checked.keys().find(|name| !required.contains(name));
        match (self.dialect, missing) {
            (Dialect::DeepSeek, Some(name)) => {
                return wrong(path, format!("property '{}' must be in 'required'", escape(name)));
            }
            (Dialect::Local, _) => required = checked.keys().cloned().collect(),
            _ => {}
        }
        let additional = match map.get("additionalProperties") {
            Some(Value::Bool(false)) => json!(false),
            _ if self.dialect == Dialect::DeepSeek => {
                return wrong(path, "'additionalProperties' must be false");
            }
            // Without a word about properties any object is meant.
            None if properties.is_none() => json!({}),
            None => json!(false),
            Some(value) => self.part(value, &format!("{path}.additionalProperties"), depth.saturating_add(1))?,
        };
        out.insert("properties".to_owned(), Value::Object(checked));
        out.insert("required".to_owned(), json!(required));
        out.insert("additionalProperties".to_owned(), additional);
        Ok(())
    }

    fn string(&self, out: &mut Map<String, Value>, map: &Map<String, Value>, path: &str) -> Result<(), Wrong> {
        if let Some(value) = map.get("pattern") {
            let Some(pattern) = value.as_str() else { return wrong(path, "'pattern' is not a string") };
            if pattern.len() > MAX_PATTERN_BYTES {
                let found = pattern.len();
                return wrong(path, format!("'pattern' has {found} bytes, at most {MAX_PATTERN_BYTES} are allowed"));
            }
            if let Err(error) = regex_syntax::parse(pattern) {
                let reason = match &error {
                    regex_syntax::Error::Parse(error) => error.kind().to_string(),
                    regex_syntax::Error::Translate(error) => error.kind().to_string(),
                    _ => "not a regular expression".to_owned(),
                };
                return wrong(path, format!("unsupported 'pattern': {}", escape(&reason)));
            }
            out.insert("pattern".to_owned(), value.clone());
        }
        if let Some(value) = map.get("format") {
            let more = if self.dialect == Dialect::DeepSeek { &[][..] } else { &MORE_FORMATS };
            let Some(name) = value.as_str() else { return wrong(path, "'format' is not a string") };
            let Some((_, pattern)) = FORMATS.iter().chain(more).find(|(known, _)| *known == name) else {
                return wrong(path, format!("unsupported format '{}'", escape(name)));
            };
            if out.contains_key("pattern") {
                return wrong(path, "unsupported keyword 'format' beside 'pattern'");
            }
            out.insert("pattern".to_owned(), json!(pattern));
        }
        copy_counts(out, map, &["minLength", "maxLength"], path)
    }

    /// Refuses what no finite text fits: an object that requires one like itself.
    fn refuse_endless(&self, root: &Value, definitions: &Map<String, Value>) -> Result<(), Wrong> {
        let mut finite: HashSet<&str> = HashSet::new();
        loop {
            let found =
                definitions.iter().find(|(name, schema)| !finite.contains(name.as_str()) && is_finite(schema, &finite));
            let Some((name, _)) = found else { break };
            finite.insert(name);
        }
        let endless = definitions.keys().position(|name| !finite.contains(name.as_str()));
        let what = "no finite value fits: it requires one like itself; make the inner one nullable with anyOf";
        match endless.and_then(|place| self.references.get(place)) {
            Some(pointer) => wrong(&format!("${}", pointer.replace('/', ".")), what),
            None if !is_finite(root, &finite) => wrong("$", what),
            None => Ok(()),
        }
    }
}

/// Whether some finite value fits, where `finite` are the definitions of which that is known.
fn is_finite(schema: &Value, finite: &HashSet<&str>) -> bool {
    if let Some(name) = reference(schema) {
        return finite.contains(name);
    }
    if let Some(options) = schema.get("anyOf").and_then(Value::as_array) {
        return options.iter().any(|option| is_finite(option, finite));
    }
    let items_needed = schema.get("minItems").and_then(Value::as_u64).is_some_and(|count| count > 0);
    let properties = schema.get("properties").and_then(Value::as_object);
    let required = schema.get("required").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    (!items_needed || schema.get("items").is_none_or(|items| is_finite(items, finite)))
        && required.iter().filter_map(|name| properties?.get(name.as_str()?)).all(|part| is_finite(part, finite))
}

fn object<'v>(value: &'v Value, path: &str, key: &str) -> Result<&'v Map<String, Value>, Wrong> {
    value.as_object().map_or_else(|| wrong(path, format!("'{key}' is not an object")), Ok)
}

fn list_or_empty<'v>(value: &'v Value, path: &str, key: &str) -> Result<&'v [Value], Wrong> {
    value.as_array().map_or_else(|| wrong(path, format!("'{key}' is not a list")), |list| Ok(list.as_slice()))
}

fn list<'v>(value: &'v Value, path: &str, key: &str) -> Result<&'v [Value], Wrong> {
    match list_or_empty(value, path, key)? {
        [] => wrong(path, format!("'{key}' is empty")),
        list => Ok(list),
    }
}

/// The names of `type`; none where it is absent.
fn types<'v>(value: Option<&'v Value>, path: &str) -> Result<Vec<&'v str>, Wrong> {
    let names: Vec<&Value> = match value {
        None => return Ok(vec![]),
        Some(Value::Array(names)) if !names.is_empty() => names.iter().collect(),
        Some(name) => vec![name],
    };
    let known = |name: &&Value| name.as_str().is_some_and(|name| TYPES.contains(&name));
    match names.iter().find(|name| !known(name)) {
        Some(name) => wrong(path, format!("unknown type {}", escape(&name.to_string()))),
        None => Ok(names.into_iter().filter_map(Value::as_str).collect()),
    }
}

fn is_of(value: &Value, name: &str) -> bool {
    match value {
        Value::Null => name == "null",
        Value::Bool(_) => name == "boolean",
        Value::Number(number) => name == "number" || (name == "integer" && (number.is_i64() || number.is_u64())),
        Value::String(_) => name == "string",
        Value::Array(_) => name == "array",
        Value::Object(_) => name == "object",
    }
}

fn copy_counts(out: &mut Map<String, Value>, map: &Map<String, Value>, keys: &[&str], path: &str) -> Result<(), Wrong> {
    for key in keys {
        match map.get(*key) {
            None => {}
            Some(value) if value.as_u64().is_some_and(|count| u32::try_from(count).is_ok()) => {
                out.insert((*key).to_owned(), value.clone());
            }
            Some(_) => return wrong(path, format!("'{key}' is not a count")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(schema: &Value, dialect: Dialect) -> Result<Schema> {
        Schema::check("function 'f'", schema, dialect)
    }

    #[track_caller]
    fn refused(schema: &Value, dialect: Dialect, expected: &str) {
        let error = check(schema, dialect).expect_err(expected);
        assert_eq!(error.code(), Code::InvalidSchema);
        assert_eq!(error.message(), format!("Invalid schema for function 'f': {expected}"));
    }

    #[test]
    fn what_is_missing_is_added_locally_only() {
        let schema =
            json!({"type": "object", "properties": {"a": {"type": "string", "title": "A"}, "b": {"enum": [1]}}});
        let whole = json!({
            "type": "object", "properties": {"a": {"type": "string"}, "b": {"enum": [1]}},
            "required": ["a", "b"], "additionalProperties": false,
        });
        assert_eq!(check(&schema, Dialect::Local).unwrap().root(), &whole);
        assert_eq!(check(&schema, Dialect::Loose).unwrap().root()["required"], json!([]));
        refused(&schema, Dialect::DeepSeek, "$: property 'a' must be in 'required'");
        let closed = json!({"type": "object", "properties": {}, "required": []});
        refused(&closed, Dialect::DeepSeek, "$: 'additionalProperties' must be false");
        assert_eq!(check(&whole, Dialect::DeepSeek).unwrap().root(), &whole);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_path() {
        let inside = |schema: Value| json!({"type": "object", "properties": {"a": schema}, "required": ["a"], "additionalProperties": false});
        let minimum = inside(json!({"type": "string", "minLength": 1}));
        refused(&minimum, Dialect::DeepSeek, "$.properties.a: unsupported keyword 'minLength'");
        assert!(check(&minimum, Dialect::Local).is_ok());
        for keyword in
            ["oneOf", "allOf", "not", "if", "patternProperties", "dependentSchemas", "uniqueItems", "prefixItems"]
        {
            let schema = inside(json!({"type": "array", "items": {keyword: true}}));
            let expected = format!("$.properties.a.items: unsupported keyword '{keyword}'");
            refused(&schema, Dialect::Local, &expected);
        }
        for (schema, expected) in [
            (json!([]), "$: expected an object"),
            (json!({"type": "strin"}), "$: unknown type \\\"strin\\\""),
            (json!({"type": "string", "format": "phone"}), "$: unsupported format 'phone'"),
            (
                json!({"type": "string", "pattern": "(?=a)"}),
                "$: unsupported 'pattern': look-around, including look-ahead and look-behind, is not supported",
            ),
            (
                json!({"type": "string", "pattern": "a".repeat(1025)}),
                "$: 'pattern' has 1025 bytes, at most 1024 are allowed",
            ),
            (json!({"type": "integer", "minimum": "1"}), "$: 'minimum' is not a number that it can be"),
            (
                json!({"$ref": "https://example.com/x"}),
                "$: unsupported $ref: only references into the same schema (#/…) are known",
            ),
            (json!({"$ref": "#/$defs/x"}), "$: $ref '#/$defs/x' points at nothing"),
            (json!({"$ref": "#", "type": "object"}), "$: unsupported keyword 'type' beside '$ref'"),
            (json!({"anyOf": []}), "$: 'anyOf' is empty"),
            (json!({"enum": ["a"], "type": "integer"}), "$: no value of 'enum' is of its type"),
            (json!({"type": "object", "properties": [], }), "$: 'properties' is not an object"),
            (json!({"type": "object", "required": ["x"]}), "$: 'required' names 'x', which is not a property"),
            (json!({"$defs": {"x": {"minLenght": 1}}}), "$.$defs.x: unsupported keyword 'minLenght'"),
        ] {
            refused(&schema, Dialect::Local, expected);
        }
    }

    #[test]
    fn references_may_be_written_in_every_known_way() {
        for key in DEFINITIONS {
            let node = json!({"type": "object", "properties": {"next": {"anyOf": [{"$ref": format!("#/{key}/a~1b")}, {"type": "null"}]}}});
            let schema = json!({key: {"a/b": node}, "$ref": format!("#/{key}/a~1b")});
            let checked = check(&schema, Dialect::Local).unwrap();
            assert_eq!(checked.root(), &json!({"$ref": "#/$defs/d0"}));
            let target = checked.resolve(checked.root());
            assert_eq!(target["required"], json!(["next"]));
            assert_eq!(checked.standalone(checked.root())["$defs"]["d0"], *target);
        }
    }

    #[test]
    fn schemas_without_a_finite_value_are_refused() {
        let endless = "no finite value fits: it requires one like itself; make the inner one nullable with anyOf";
        let circle = json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"});
        refused(&circle, Dialect::Local, &format!("$.$defs.b: {endless}"));
        let own = json!({"type": "object", "properties": {"me": {"$ref": "#"}}});
        refused(&own, Dialect::Local, &format!("$: {endless}"));
        assert!(check(&own, Dialect::Loose).is_ok(), "optional there");
        let list = json!({"type": "object", "properties": {"us": {"type": "array", "items": {"$ref": "#"}}}});
        assert!(check(&list, Dialect::Local).is_ok());
    }

    #[test]
    fn limits_hold_on_both_sides() {
        let nested = |depth: usize| {
            (0..depth).fold(json!({"type": "null"}), |inner, _| json!({"type": "array", "items": inner}))
        };
        assert!(check(&nested(MAX_DEPTH), Dialect::Local).is_ok());
        let error = check(&nested(MAX_DEPTH + 1), Dialect::Local).unwrap_err();
        assert!(error.message().ends_with("nested more than 32 deep"), "{error}");
        let wide = |count: usize| json!({"enum": (0..count).map(|n| n % 10).collect::<Vec<_>>()});
        assert!(check(&wide(MAX_NODES - 1), Dialect::Local).is_ok());
        refused(&wide(MAX_NODES), Dialect::Local, "$: the schema has more than 50000 values");
        let properties = |count: usize| {
            let map: Map<String, Value> = (0..count).map(|n| (format!("p{n}"), json!({"type": "null"}))).collect();
            json!({"type": "object", "properties": map})
        };
        assert!(check(&properties(MAX_PROPERTIES), Dialect::Local).is_ok());
        refused(&properties(MAX_PROPERTIES + 1), Dialect::Local, "$: the schema has more than 1000 properties");
        let text = |bytes: usize| json!({"title": "x".repeat(bytes - 12)});
        assert!(check(&text(MAX_BYTES), Dialect::Local).is_ok());
        refused(&text(MAX_BYTES + 1), Dialect::Local, "$: the schema has 262145 bytes, at most 262144 are allowed");
    }
}
