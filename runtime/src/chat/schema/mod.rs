//! JSON schemas of requests: which of them an answer can be held to.
//!
//! In: a schema as a client sent it. Out: what it asks, in the few forms that grammars are made from, or an error with the
//! path of what is wrong. Never: a demand that is let go without its name in `Schema::loosened`.

mod decimal;
mod keywords;
mod kinds;
mod multiple;
mod number;
mod part;
mod quoted;
mod ranges;
mod read;
mod settle;
mod text;

use serde_json::Value;

pub(crate) use number::{Numbers, Written};
pub(crate) use part::{List, Need, Object, Part, Rest};
pub(crate) use text::{Texts, terminal};

use crate::error::{Code, Error, Result, escape};

/// Bytes of a schema at most, as compact JSON.
pub const MAX_BYTES: usize = 256 << 10;
/// Schemas inside schemas at most.
pub(crate) const MAX_DEPTH: usize = 32;
/// JSON values of a schema at most, with those that references repeat.
pub(crate) const MAX_NODES: usize = 50_000;
/// Properties of all objects together at most.
pub(crate) const MAX_PROPERTIES: usize = 1000;

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

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Schema {
    /// What is asked of the whole value.
    pub(crate) root: Part,
    definitions: Vec<Part>,
    /// Demands that are not held, by their paths: `$.properties.a.uniqueItems`.
    pub(crate) loosened: Vec<String>,
}

impl Schema {
    /// Checks a schema. `owner` is named in errors: `function 'f'`.
    ///
    /// # Errors
    /// `invalid_schema`, with the path of what is wrong: an unknown keyword, a value of the wrong type, a reference to
    /// nothing, a schema that no finite text fits, a limit.
    pub(crate) fn check(owner: &str, schema: &Value, dialect: Dialect) -> Result<Schema> {
        let mut reader = read::Reader::new(schema, dialect);
        let settled = reader.read().and_then(|root| reader.settle(root));
        let (root, definitions) = settled.map_err(|Wrong { path, what, .. }| {
            let message = format!("Invalid schema for {owner}: {}: {what}", escape(&path));
            Error::new(Code::InvalidSchema, message).with_detail("path", escape(&path))
        })?;
        Ok(Schema { root, definitions, loosened: reader.loosened })
    }

    pub(crate) fn any_object() -> Schema {
        let object = Object { rest: Rest::Open(Part::Any), ..Object::default() };
        Schema { root: Part::Object(Box::new(object)), definitions: vec![], loosened: vec![] }
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
    /// It refers to the definition of this number, which has not been read.
    Unread(usize),
}

impl Wrong {
    fn impossible(path: &str, what: impl Into<String>) -> Wrong {
        Wrong { path: path.to_owned(), what: what.into(), kind: Kind::Impossible }
    }

    fn unsupported(path: &str, what: impl Into<String>) -> Wrong {
        Wrong { path: path.to_owned(), what: what.into(), kind: Kind::Unsupported }
    }
}

/// What was found; none where no value fits and that may be.
fn possible<T>(found: Result<T, Wrong>, may_be: bool) -> Result<Option<T>, Wrong> {
    match found {
        Err(wrong) if wrong.kind == Kind::Impossible && may_be => Ok(None),
        found => found.map(Some),
    }
}

fn wrong<T>(path: &str, what: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong::unsupported(path, what))
}

#[cfg(test)]
mod tests {
    mod kept;
    mod numbers;
    mod refusals;
    mod together;

    use serde_json::{Map, json};

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

    fn object(schema: &Schema) -> &Object {
        match schema.resolve(&schema.root) {
            Part::Object(object) => object,
            other => panic!("{other:?}"),
        }
    }

    fn loosened(schema: &Value, dialect: Dialect) -> Vec<String> {
        check(schema, dialect).unwrap().loosened
    }

    #[test]
    fn what_is_missing_is_added_locally_only() {
        let schema =
            json!({"type": "object", "properties": {"a": {"type": "string", "title": "A"}, "b": {"enum": [1]}}});
        let whole = json!({
            "type": "object", "properties": {"a": {"type": "string"}, "b": {"enum": [1]}},
            "required": ["a", "b"], "additionalProperties": false,
        });
        let local = check(&schema, Dialect::Local).unwrap();
        assert_eq!(object(&local).rest, Rest::Closed);
        assert!(object(&local).properties.iter().all(|property| property.need == Need::Added));
        let loose = check(&schema, Dialect::Loose).unwrap();
        assert!(object(&loose).properties.iter().all(|property| property.need == Need::Free));
        refused(&schema, Dialect::DeepSeek, "$: property 'a' must be in 'required'");
        let closed = json!({"type": "object", "properties": {}, "required": []});
        refused(&closed, Dialect::DeepSeek, "$: 'additionalProperties' must be false");
        assert!(check(&whole, Dialect::DeepSeek).is_ok());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_path() {
        let inside = |schema: Value| json!({"type": "object", "properties": {"a": schema}, "required": ["a"], "additionalProperties": false});
        let minimum = inside(json!({"type": "string", "minLength": 1}));
        refused(&minimum, Dialect::DeepSeek, "$.properties.a: unsupported keyword 'minLength'");
        assert!(check(&minimum, Dialect::Local).is_ok());
        for keyword in ["if", "dependentSchemas", "contains", "minLenght"] {
            let schema = inside(json!({"type": "array", "items": {keyword: true}}));
            let expected = format!("$.properties.a.items: unsupported keyword '{keyword}'");
            refused(&schema, Dialect::Local, &expected);
            assert_eq!(loosened(&schema, Dialect::Loose), [format!("$.properties.a.items.{keyword}")]);
        }
        for keyword in ["oneOf", "allOf", "not", "patternProperties", "uniqueItems", "prefixItems"] {
            let schema = inside(json!({"type": "array", "items": {keyword: true}}));
            let expected = format!("$.properties.a.items: unsupported keyword '{keyword}'");
            refused(&schema, Dialect::DeepSeek, &expected);
        }
        let endless =
            "no finite value satisfies it, because it requires itself; make the inner one nullable with anyOf";
        for (schema, expected) in [
            (json!([]), "$: expected an object"),
            (json!({"type": "strin"}), "$: unknown type \\\"strin\\\""),
            (
                json!({"type": "string", "pattern": "a(?=a)"}),
                "$: unsupported 'pattern': look-around, including look-ahead and look-behind, is not supported",
            ),
            (
                json!({"type": "string", "pattern": "a".repeat(1025)}),
                "$: 'pattern' has 1025 bytes, at most 1024 are allowed",
            ),
            (json!({"type": "integer", "minimum": "1"}), "$: 'minimum' is not a number"),
            (
                json!({"$ref": "https://example.com/x"}),
                "$: unsupported $ref: only references into the same schema (#/…) are supported",
            ),
            (json!({"$ref": "#/$defs/x"}), "$: unresolved $ref '#/$defs/x'"),
            (json!({"anyOf": []}), "$: 'anyOf' is empty"),
            (
                inside(json!({"enum": ["a"], "type": "integer"})),
                "$.properties.a: no value of 'enum' or 'const' fits the rest of the schema",
            ),
            (json!({"type": "object", "properties": [], }), "$: 'properties' is not an object"),
            (
                json!({"type": "object", "required": ["x"], "additionalProperties": false}),
                "$: 'required' names 'x', which is not a property",
            ),
            (
                json!({"$defs": {"x": {"minLenght": 1}}, "$ref": "#/$defs/x"}),
                "$.$defs.x: unsupported keyword 'minLenght'",
            ),
            (
                inside(json!({"type": "integer", "exclusiveMinimum": 2, "exclusiveMaximum": 3})),
                "$.properties.a: no integer is above 2 and below 3 with at most 40 digits before and after the point",
            ),
            (
                inside(json!({"type": "number", "minimum": 2, "maximum": 1})),
                "$.properties.a: no number is at least 2 and at most 1",
            ),
            (
                inside(json!({"type": "integer", "minimum": 1, "maximum": 6, "multipleOf": 7})),
                "$.properties.a: no integer is at least 1 and at most 6 and a multiple of 7",
            ),
            (
                inside(json!({"type": "integer", "multipleOf": 2_147_483_647})),
                "$.properties.a: unsupported 'multipleOf': multiples of 2147483647 cannot be counted between these bounds",
            ),
            (
                inside(json!({"type": "string", "pattern": "^a", "minLength": 3, "maxLength": 2})),
                "$.properties.a: no text has at least 3 and at most 2 characters",
            ),
            (
                inside(json!({"allOf": [{"type": "string", "pattern": "^a"}, {"pattern": "^b"}]})),
                "$.properties.a: no text fits its pattern, format and length",
            ),
            (
                inside(json!({"allOf": [{"type": "string"}, {"type": "integer"}]})),
                "$.properties.a: no value has both types",
            ),
            (
                inside(json!({"type": "array", "minItems": 3, "maxItems": 2})),
                "$.properties.a: no list has at least 3 and at most 2 items",
            ),
            (inside(json!(false)), "$.properties.a: the schema is false: no value fits"),
            (json!({"$ref": "#"}), &format!("$: {endless}")),
        ] {
            refused(&schema, Dialect::Local, expected);
            // A function that is not strict has the rest held.
            assert!(check(&schema, Dialect::Loose).is_ok(), "{schema}");
        }
    }

    #[test]
    fn one_part_is_loosened_and_not_the_whole() {
        let schema = json!({"type": "object", "properties": {
            "a": {"type": "string", "contains": 1, "minLenght": 2},
            "b": {"type": "strin"},
            "c": {"type": "array", "items": {"type": "integer"}, "uniqueItems": true},
        }, "required": ["a"], "if": {}});
        let checked = check(&schema, Dialect::Loose).unwrap();
        assert_eq!(
            checked.loosened,
            ["$.if", "$.properties.a.minLenght", "$.properties.b", "$.properties.c.uniqueItems"].map(str::to_owned)
        );
        let properties = &object(&checked).properties;
        assert!(matches!(properties[0].part, Some(Part::Text(_))) && properties[0].need == Need::Said);
        assert_eq!(properties[1].part, Some(Part::Any));
        assert!(matches!(properties[2].part, Some(Part::List(_))));
        let strict = json!({"type": "array", "items": {"type": "integer"}, "uniqueItems": true});
        assert_eq!(loosened(&strict, Dialect::Local), ["$.uniqueItems"]);
        assert!(
            loosened(&json!({"type": "array", "items": {"enum": ["x", "y"]}, "uniqueItems": true}), Dialect::Local)
                .is_empty()
        );
        assert_eq!(loosened(&json!({"type": "string", "format": "phone"}), Dialect::Local), ["$.format"]);
        let apart = json!({"oneOf": [{"type": "object", "properties": {"k": {"const": "a"}}}, {"type": "object", "properties": {"k": {"const": "b"}}}]});
        assert!(loosened(&apart, Dialect::Local).is_empty());
        assert_eq!(loosened(&json!({"oneOf": [{"type": "number"}, {"minimum": 1}]}), Dialect::Local), ["$.oneOf"]);
    }

    #[test]
    fn references_may_be_written_in_every_known_way() {
        for key in ["$def", "$defs", "definitions"] {
            for written in ["a~1b c", "a%7E1b%20c", "a~1b%20c"] {
                let node = json!({"type": "object", "properties": {"next": {"anyOf": [{"$ref": format!("#/{key}/{written}")}, {"type": "null"}]}}});
                let schema = json!({"$id": "https://example.com/s", key: {"a/b c": node}, "$ref": format!("https://example.com/s#/{key}/{written}")});
                let checked = check(&schema, Dialect::Local).unwrap();
                assert_eq!(checked.root, Part::Reference(0));
                assert_eq!(object(&checked).properties[0].name, "next");
            }
        }
    }

    #[test]
    fn schemas_without_a_finite_value_are_refused() {
        let endless =
            "no finite value satisfies it, because it requires itself; make the inner one nullable with anyOf";
        let circle = json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"});
        refused(&circle, Dialect::Local, &format!("$.$defs.a: {endless}"));
        let own =
            |required: Value| json!({"type": "object", "properties": {"me": {"$ref": "#"}}, "required": required});
        refused(&own(json!(["me"])), Dialect::Local, &format!("$: {endless}"));
        let optional = check(&own(json!([])), Dialect::Local).unwrap();
        assert_eq!(object(&optional).properties[0].need, Need::Free, "it need not be there: it is not added");
        assert!(check(&own(json!([])), Dialect::Loose).is_ok());
        let list = json!({"type": "object", "properties": {"us": {"type": "array", "items": {"$ref": "#"}}}});
        assert!(check(&list, Dialect::Local).is_ok());
    }

    #[test]
    fn demands_beside_one_another_are_all_held() {
        let part = |schema: Value| check(&schema, Dialect::Local).unwrap().root;
        assert_eq!(part(json!({"allOf": [{"type": "null"}], "title": "x"})), Part::Null);
        assert_eq!(
            part(json!({"enum": [1, 2, 30], "type": "integer", "minimum": 2})),
            Part::Values(vec![json!(2), json!(30)])
        );
        assert_eq!(part(json!({"enum": ["a", "bb"], "minLength": 2})), Part::Values(vec![json!("bb")]));
        let both = part(json!({"allOf": [
            {"type": "object", "properties": {"a": {"type": "null"}}, "required": ["a"]},
            {"type": "object", "properties": {"b": {"type": "boolean"}}},
        ]}));
        let Part::Object(object) = both else { panic!("{both:?}") };
        let names: Vec<&str> = object.properties.iter().map(|property| property.name.as_str()).collect();
        assert_eq!((names.as_slice(), &object.rest), (&["a", "b"][..], &Rest::Closed));
        let beside = json!({"$defs": {"n": {"type": ["integer", "null"]}}, "$ref": "#/$defs/n", "minimum": 3, "type": "integer"});
        assert!(matches!(part(beside), Part::Number(..)));
        let exact: Value =
            serde_json::from_str(r#"{"enum": [9007199254740993, 9007199254740992], "minimum": 9007199254740993}"#)
                .unwrap();
        assert_eq!(part(exact).size(), 2);
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

    /// What a library is given lies in the range that it is safe for, whatever a client writes.
    #[test]
    fn counts_are_brought_into_range_or_refused() {
        for text in
            [r#"{"type": "array", "maxItems": 18446744073709551615}"#, r#"{"type": "array", "maxItems": 1e300}"#]
        {
            let schema = check(&serde_json::from_str(text).unwrap(), Dialect::Local).unwrap();
            let Part::List(list) = &schema.root else { panic!("{schema:?}") };
            assert_eq!(list.most, Some(10_000), "{text}");
        }
        let many: Value = serde_json::from_str(r#"{"type": "object", "maxProperties": 18446744073709551615}"#).unwrap();
        assert_eq!(object(&check(&many, Dialect::Local).unwrap()).most, Some(10_000));
        for (key, kind) in [("minItems", "array"), ("minProperties", "object")] {
            let schema = json!({ "type": kind, key: 10_001 });
            refused(&schema, Dialect::Local, &format!("$: '{key}' is 10001, at most 10000 is allowed"));
        }
    }

    /// Rules for one text are each cheap, and together not.
    #[test]
    fn patterns_that_take_too_much_work_are_refused() {
        let heavy =
            json!({"type": "string", "pattern": "^(?=(.*a.{20}))(?=(.*b.{21}))(?=(.*c.{22}))(?!.*d.{23}).{60}$"});
        refused(&heavy, Dialect::Local, "$: 'pattern' takes too much work to check; use a shorter one");
    }

    #[test]
    fn borders_are_excluded_as_older_drafts_say_it_too() {
        let part = |schema: Value| check(&schema, Dialect::Local).unwrap().root;
        for (older, newer) in [
            (json!({"minimum": 1, "exclusiveMinimum": true}), json!({"exclusiveMinimum": 1})),
            (json!({"maximum": 1, "exclusiveMaximum": true}), json!({"exclusiveMaximum": 1})),
            (json!({"minimum": 1, "exclusiveMinimum": false}), json!({"minimum": 1})),
        ] {
            assert_eq!(part(older), part(newer));
        }
    }

    /// f64 has one value for these three.
    #[test]
    fn values_beyond_f64_are_told_apart() {
        let part = |schema: &str| check(&serde_json::from_str(schema).unwrap(), Dialect::Local).map(|it| it.root);
        let next = Part::Values(vec![json!(9_007_199_254_740_993_u64)]);
        assert_eq!(part(r#"{"enum": [9007199254740992, 9007199254740993], "const": 9007199254740993}"#).unwrap(), next);
        assert_eq!(
            part(r#"{"enum": [9007199254740992, 9007199254740993], "not": {"const": 9007199254740992}}"#).unwrap(),
            next
        );
        assert!(part(r#"{"enum": [0.1], "const": 0.1000000000000000000001}"#).is_err());
        assert!(part(r#"{"enum": [1], "const": 1.0}"#).is_ok(), "one number, however it is written");
    }
}
