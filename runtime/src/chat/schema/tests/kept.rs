//! Values that an `enum` lists beside other demands: which of them are kept.

use serde_json::{Value, json};

use crate::chat::schema::{Dialect, Part, Schema};

/// A list, as JSON.
fn rows(text: &str) -> Vec<Value> {
    serde_json::from_str(text).unwrap()
}

/// Values of every kind, near every border that the schemas below draw.
fn pool() -> Vec<Value> {
    rows(
        r##"[
        null, true, false, 0, 1, -1, 2, 3, 10, 2.5, 0.5, -2.5, "", "a", "ab", "abc", "b", "øå", [], [1], [1, 1],
        [1, 2], [1, 2, 3], ["a"], ["a", 1], ["a", 1, null], [[1], [1]], [{"k": 1}, {"k": 1}], [{"k": 1}, {"k": 2}],
        [{"k": 1}, {"k": 1, "l": 2}], [{"k": 1, "l": 2}, {"l": 2, "k": 1}], [{"k": 1, "l": 2}, {"k": 1, "l": 3}],
        [[1, 2], [1]], [[1, 2], [1, 3]], [{"k": 1}, {"l": 1}], [null, null], [1, 2, 1], {}, {"a": 1}, {"a": "x"},
        {"b": 1}, {"a": 1, "b": 2}, {"a": 1, "b": "x"}, {"a": 1, "b": 2, "c": 3}, {"x1": 1}, {"x1": "s"},
        {"x1": 1, "x2": 2}, {"x1y": 1}, {"x1y": -1}, {"a": {"a": 1}}, {"next": null}, {"next": {"next": null}},
        {"next": {"next": 1}}, {"a": [1, 2]}, {"abc": 1}, {"a": 1, "abc": 1}
    ]"##,
    )
}

fn schemas() -> Vec<Value> {
    rows(
        r##"[
        {"type": "null"}, {"type": "boolean"}, {"type": "integer"}, {"type": "number"}, {"type": "string"},
        {"type": "array"}, {"type": "object"}, {"type": ["integer", "null"]}, {"type": ["array", "object", "boolean"]},
        {"type": "integer", "minimum": 1}, {"type": "number", "minimum": 2.5}, {"type": "number", "maximum": 0.5},
        {"type": "number", "exclusiveMinimum": 1}, {"type": "number", "exclusiveMaximum": 1},
        {"type": "number", "minimum": -1, "maximum": 2}, {"type": "integer", "multipleOf": 2},
        {"type": "number", "multipleOf": 0.5}, {"type": "number", "multipleOf": 2.5},
        {"type": "string", "minLength": 1}, {"type": "string", "minLength": 2}, {"type": "string", "maxLength": 0},
        {"type": "string", "maxLength": 2}, {"type": "string", "minLength": 2, "maxLength": 2},
        {"type": "string", "pattern": "^a"}, {"type": "string", "pattern": "b$"}, {"type": "string", "pattern": "^(?!a)"},
        {"type": "array", "items": {"type": "integer"}}, {"type": "array", "items": false},
        {"type": "array", "items": {"type": "integer", "minimum": 2}}, {"type": "array", "minItems": 1, "items": {}},
        {"type": "array", "minItems": 2}, {"type": "array", "maxItems": 1}, {"type": "array", "maxItems": 0},
        {"type": "array", "minItems": 2, "maxItems": 2}, {"type": "array", "uniqueItems": true},
        {"type": "array", "uniqueItems": true, "minItems": 2}, {"type": "array", "uniqueItems": false},
        {"type": "array", "prefixItems": [{"type": "string"}], "items": {}},
        {"type": "array", "prefixItems": [{"type": "string"}], "items": {"type": "integer"}},
        {"type": "array", "prefixItems": [{"type": "integer"}, {"const": 2}], "items": false, "minItems": 0},
        {"type": "array", "prefixItems": [{"type": "integer"}], "items": true, "minItems": 2},
        {"type": "object", "properties": {"a": {"type": "integer"}}},
        {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["b"]},
        {"type": "object", "properties": {"a": {}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {}}, "additionalProperties": false},
        {"type": "object", "properties": {"a": false}}, {"type": "object", "properties": {"a": {}, "b": false}, "required": ["a"]},
        {"type": "object", "properties": {"a": {}}, "additionalProperties": {"type": "integer", "minimum": 2}},
        {"type": "object", "additionalProperties": {"type": "string"}}, {"type": "object", "additionalProperties": false},
        {"type": "object", "minProperties": 1}, {"type": "object", "minProperties": 2},
        {"type": "object", "maxProperties": 0}, {"type": "object", "maxProperties": 1},
        {"type": "object", "minProperties": 1, "maxProperties": 2},
        {"type": "object", "patternProperties": {"^x": {"type": "integer"}}, "additionalProperties": true},
        {"type": "object", "patternProperties": {"^x": {"type": "integer"}, "y$": {"minimum": 0, "type": "integer"}},
            "additionalProperties": false},
        {"type": "object", "patternProperties": {"^x": {}, "y$": {"minimum": 0, "type": "integer"}},
            "additionalProperties": {"type": "null"}},
        {"type": "object", "patternProperties": {"b": {"type": "integer"}}, "properties": {"b": {"minimum": 2, "type": "integer"}},
            "additionalProperties": true},
        {"type": "object", "propertyNames": {"pattern": "^[ab]$"}}, {"type": "object", "propertyNames": {"minLength": 2}},
        {"type": "object", "propertyNames": {"maxLength": 1}}, {"type": "object", "propertyNames": {"enum": ["a", "x1"]}},
        {"type": "object", "propertyNames": {"pattern": "^x"}, "additionalProperties": {"type": "integer"}},
        {"type": "object", "propertyNames": {"enum": ["a", "b"]}, "additionalProperties": {"type": "integer"}},
        {"type": "object", "propertyNames": {"enum": ["a", "x1"]}, "patternProperties": {"^x": {"type": "string"}},
            "additionalProperties": {"type": "integer"}},
        {"type": "object", "propertyNames": {"maxLength": 1}, "properties": {"abc": {}, "a": {"type": "integer"}}},
        {"type": "object", "required": ["a"], "additionalProperties": true},
        {"type": "object", "required": ["x1"], "patternProperties": {"^x": {"type": "integer"}}, "additionalProperties": true},
        {"anyOf": [{"type": "null"}, {"type": "integer", "minimum": 3}]},
        {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
        {"oneOf": [{"type": "boolean"}, {"type": "string"}]}, {"const": 2}, {"const": [1, 2]}, {"const": {"b": 2, "a": 1}},
        {"enum": [1, "a", null, {"a": 1}]},
        {"allOf": [{"type": "object", "properties": {"a": {}}, "required": ["a"]}, {"type": "object", "maxProperties": 1}]},
        {"allOf": [{"type": "array", "minItems": 1}, {"type": "array", "items": {"type": "integer"}}]},
        {"$defs": {"d": {"type": "integer"}}, "$ref": "#/$defs/d"},
        {"$defs": {"d": {"type": "integer"}, "e": {"$ref": "#/$defs/d"}}, "$ref": "#/$defs/e"},
        {"$defs": {"d": {"type": "integer"}}, "type": "array", "items": {"$ref": "#/$defs/d"}},
        {"$defs": {"d": {"type": "integer"}}, "type": "array", "prefixItems": [{"$ref": "#/$defs/d"}], "items": {}},
        {"$defs": {"d": {"type": "integer"}}, "type": "object", "properties": {"a": {"$ref": "#/$defs/d"}}},
        {"$defs": {"d": {"type": "integer"}}, "type": "object", "additionalProperties": {"$ref": "#/$defs/d"}},
        {"$defs": {"d": {"type": "integer"}}, "type": "object", "patternProperties": {"^[ab]": {"$ref": "#/$defs/d"}}, "additionalProperties": true},
        {"$defs": {"d": {"type": "integer"}}, "anyOf": [{"$ref": "#/$defs/d"}, {"type": "array", "items": {"$ref": "#/$defs/d"}}]},
        {"$defs": {"n": {"anyOf": [{"type": "null"}, {"type": "object", "properties": {"next": {"$ref": "#/$defs/n"}},
            "required": ["next"]}]}}, "$ref": "#/$defs/n"}
    ]"##,
    )
}

/// Whether a schema holds one that is `false`: where a function is not strict, that is let go.
pub(super) fn holds_never(schema: &Value) -> bool {
    let text = schema.to_string();
    ["\"items\":false", "\"a\":false", "\"b\":false"].iter().any(|never| text.contains(never))
}

/// Oracle: the `jsonschema` crate, value by value.
#[test]
fn values_are_kept_where_the_other_demands_take_them() {
    for schema in schemas() {
        let definitions = schema.get("$defs").cloned().unwrap_or(json!({}));
        let with = |all: Vec<Value>| json!({"$defs": definitions, "allOf": all});
        let mut one = schema.clone();
        one.as_object_mut().unwrap().shift_remove("$defs");
        let validator = jsonschema::validator_for(&with(vec![one.clone()])).unwrap();
        let expected: Vec<Value> = pool().into_iter().filter(|value| validator.is_valid(value)).collect();
        assert!(!expected.is_empty() && expected.len() < pool().len(), "{schema}: it tells nothing");
        let listed = json!({ "enum": pool() });
        let dialect = if holds_never(&one) { Dialect::Local } else { Dialect::Loose };
        for both in [vec![listed.clone(), one.clone()], vec![one.clone(), listed.clone()]] {
            let checked = Schema::check("f", &with(both), dialect).unwrap();
            assert_eq!(checked.loosened, &[] as &[String], "{schema}");
            let Part::Values(values) = &checked.root else { panic!("{schema}: {checked:?}") };
            // In the order of the first list.
            let missing = expected.iter().find(|value| !values.contains(value));
            assert_eq!((missing, values.len()), (None, expected.len()), "{schema}");
        }
    }
}

/// Oracle: RFC 8259, section 6, by hand: a number is its value, however it is written.
#[test]
fn values_are_equal_by_what_they_mean() {
    for (one, other, expected) in [
        ("1", "1.0", true),
        ("1", "1e0", true),
        ("100", "1e2", true),
        ("1", "1.5", false),
        ("1", "\"1\"", false),
        ("1", "true", false),
        ("0", "-0.0", true),
        ("0", "null", false),
        ("[1, 2]", "[1.0, 2e0]", true),
        ("[1, 2]", "[2, 1]", false),
        ("[1, 2]", "[1]", false),
        ("[]", "{}", false),
        (r#"{"a": 1, "b": 2}"#, r#"{"b": 2.0, "a": 1}"#, true),
        (r#"{"a": 1, "b": 2}"#, r#"{"a": 1}"#, false),
        (r#"{"a": 1}"#, r#"{"a": 1, "b": 2}"#, false),
        (r#"{"a": 1, "b": 2}"#, r#"{"a": 1, "c": 2}"#, false),
        (r#"{"a": 1, "b": 2}"#, r#"{"a": 1, "b": 3}"#, false),
        ("1e9999999", "1e9999999", true),
        ("1e9999999", "1e9999998", false),
    ] {
        let schema: Value = serde_json::from_str(&format!(r#"{{"enum": [{one}], "const": {other}}}"#)).unwrap();
        let found = Schema::check("f", &schema, Dialect::Local);
        assert_eq!(found.is_ok(), expected, "{schema}: {found:?}");
    }
}
