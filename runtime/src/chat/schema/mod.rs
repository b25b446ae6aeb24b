//! JSON schemas of requests: which of them an answer can be held to.
//!
//! In: a schema as a client sent it. Out: what it asks, in the few forms that grammars are made from, or an error with the
//! path of what is wrong. Never: a demand that is let go without its name in [`Schema::loosened`].

mod number;
mod part;
mod read;
mod settle;
mod text;

use serde_json::Value;

pub(crate) use number::{Numbers, Written};
pub(crate) use part::{List, Need, Object, Part, Rest};
pub use text::MAX_PATTERN_BYTES;
pub(crate) use text::{Texts, terminal};

use crate::error::{Code, Error, Result, escape};

/// Bytes of a schema at most, as compact JSON.
pub const MAX_BYTES: usize = 256 << 10;
/// Schemas inside schemas at most.
pub const MAX_DEPTH: usize = 32;
/// JSON values of a schema at most, with those that references repeat.
pub const MAX_NODES: usize = 50_000;
/// Properties of all objects together at most.
pub const MAX_PROPERTIES: usize = 1000;

/// Which schemas are taken, and what is added to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// DeepSeek's documented subset: every property is required, nothing else is allowed, and the schema says so.
    DeepSeek,
    /// The same meaning, but what DeepSeek wants said is added where it is missing; more keywords.
    #[default]
    Local,
    /// As `Local`, but properties that are not required stay optional, and what cannot be held is let go.
    Loose,
}

/// A checked schema.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    root: Part,
    definitions: Vec<Part>,
    loosened: Vec<String>,
}

impl Schema {
    /// Checks a schema. `owner` is named in errors: `function 'f'`.
    ///
    /// # Errors
    /// `invalid_schema`, with the path of what is wrong: an unknown keyword, a value of the wrong type, a reference to
    /// nothing, a schema that no finite text fits, a limit.
    pub fn check(owner: &str, schema: &Value, dialect: Dialect) -> Result<Schema> {
        let mut reader = read::Reader::new(schema, dialect);
        let settled = reader.read().and_then(|root| reader.settle(root));
        let (root, definitions) = settled.map_err(|Wrong { path, what, .. }| {
            let message = format!("Invalid schema for {owner}: {}: {what}", escape(&path));
            Error::new(Code::InvalidSchema, message).with_detail("path", escape(&path))
        })?;
        Ok(Schema { root, definitions, loosened: reader.loosened })
    }

    /// Demands that are not held, by their paths: `$.properties.a.uniqueItems`.
    #[must_use]
    pub fn loosened(&self) -> &[String] {
        &self.loosened
    }

    /// Any object.
    pub(crate) fn any_object() -> Schema {
        let object = Object { rest: Rest::Open(Part::Any), ..Object::default() };
        Schema { root: Part::Object(Box::new(object)), definitions: vec![], loosened: vec![] }
    }

    /// What is asked of the whole value.
    pub(crate) fn root(&self) -> &Part {
        &self.root
    }

    /// What a definition asks.
    pub(crate) fn definition(&self, name: usize) -> &Part {
        self.definitions.get(name).unwrap_or(&Part::Any)
    }

    /// What `part`, which is in this schema, stands for: itself, or what its reference points at.
    pub(crate) fn resolve<'a>(&'a self, mut part: &'a Part) -> &'a Part {
        // A chain of references is finite: a circle of nothing else has been refused.
        for _ in 0..=self.definitions.len() {
            let Part::Reference(name) = part else { break };
            part = self.definition(*name);
        }
        part
    }
}

/// What is wrong, and where.
#[derive(Clone, Debug)]
struct Wrong {
    path: String,
    what: String,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// No value fits.
    Impossible,
    /// It is no schema, or not one that can be held.
    Unsupported,
}

impl Wrong {
    fn impossible(path: &str, what: impl Into<String>) -> Wrong {
        Wrong { path: path.to_owned(), what: what.into(), kind: Kind::Impossible }
    }

    fn unsupported(path: &str, what: impl Into<String>) -> Wrong {
        Wrong { path: path.to_owned(), what: what.into(), kind: Kind::Unsupported }
    }

    fn limit(path: &str, what: impl Into<String>) -> Wrong {
        Wrong::unsupported(path, what)
    }

    fn is_impossible(&self) -> bool {
        self.kind == Kind::Impossible
    }
}

fn wrong<T>(path: &str, what: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong::unsupported(path, what))
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
