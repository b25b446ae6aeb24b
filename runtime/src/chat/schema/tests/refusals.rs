//! What is refused, in which words, and what is let go where a function is not strict.

use serde_json::{Map, Value, json};

use crate::chat::schema::{Dialect, Part, Schema};
use crate::error::Code;

#[track_caller]
fn message(schema: &Value, dialect: Dialect) -> String {
    let error = Schema::check("f", schema, dialect).expect_err(&schema.to_string());
    assert_eq!(error.code(), Code::InvalidSchema);
    let message = error.message().strip_prefix("Invalid schema for f: ").unwrap_or_else(|| panic!("{error}"));
    let path = error.details()["path"].as_str().unwrap();
    assert!(message.starts_with(&format!("{path}: ")), "{message}");
    message.to_owned()
}

fn loosened(schema: &Value, dialect: Dialect) -> Vec<String> {
    Schema::check("f", schema, dialect).unwrap_or_else(|error| panic!("{schema}: {error}")).loosened.clone()
}

fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// A schema, the refusal of a strict function, and the demands that another lets go.
#[test]
fn demands_that_cannot_be_held_are_refused_or_let_go() {
    let known = "at most 15 before and after the point are known";
    for (schema, expected, gone) in [
        (json!({"minLength": -1}), "$: 'minLength' is not a count", "$.minLength"),
        (json!({"minLength": 1.5}), "$: 'minLength' is not a count", "$.minLength"),
        (json!({"maxLength": "1"}), "$: 'maxLength' is not a count", "$.maxLength"),
        (json!({"minItems": null}), "$: 'minItems' is not a count", "$.minItems"),
        (json!({"maxItems": -1}), "$: 'maxItems' is not a count", "$.maxItems"),
        (json!({"minProperties": true}), "$: 'minProperties' is not a count", "$.minProperties"),
        (json!({"maxProperties": []}), "$: 'maxProperties' is not a count", "$.maxProperties"),
        (json!({"pattern": 1}), "$: 'pattern' is not a string", "$.pattern"),
        (json!({"pattern": "("}), "$: unsupported 'pattern': unclosed group", "$.pattern"),
        (json!({"format": 1}), "$: 'format' is not a string", "$.format"),
        (json!({"maximum": "1"}), "$: 'maximum' is not a number", "$.maximum"),
        (json!({"multipleOf": null}), "$: 'multipleOf' is not a number", "$.multipleOf"),
        (json!({"multipleOf": true}), "$: 'multipleOf' is not a number", "$.multipleOf"),
        (json!({"minimum": true}), "$: 'minimum' is not a number", "$.minimum"),
        (json!({"multipleOf": 0}), "$: 'multipleOf' is not above 0", "$.multipleOf"),
        (json!({"multipleOf": -2}), "$: 'multipleOf' is not above 0", "$.multipleOf"),
        (read(r#"{"minimum": 1e9999999}"#), "$: 'minimum' has an exponent that is too large", "$.minimum"),
        (read(r#"{"multipleOf": 1e15}"#), &format!("$: 'multipleOf' has too many digits, {known}"), "$.multipleOf"),
        (read(r#"{"multipleOf": 1e-16}"#), &format!("$: 'multipleOf' has too many digits, {known}"), "$.multipleOf"),
        (json!({"items": {}, "contains": {}}), "$: unsupported keyword 'contains'", "$.contains"),
        (
            json!({"type": "object", "propertyNames": {"anyOf": [{"pattern": "^a"}, {"minLength": 2}]}}),
            "$: unsupported 'propertyNames': expected an enum, a pattern or a length",
            "$.propertyNames",
        ),
        (
            json!({"patternProperties": {"(": {}}}),
            "$.patternProperties.(: unsupported 'pattern': unclosed group",
            "$.patternProperties.(",
        ),
        (json!({"items": {"$dynamicRef": "#"}}), "$.items: unsupported keyword '$dynamicRef'", "$.items.$dynamicRef"),
    ] {
        assert_eq!(message(&schema, Dialect::Local), expected, "{schema}");
        assert_eq!(loosened(&schema, Dialect::Loose), [gone], "{schema}");
    }
}

/// A schema and its refusal; where a function is not strict, what the path names is let go.
#[test]
fn schemas_that_are_none_are_refused_or_let_go_as_a_whole() {
    let not_listed = "which is not one of its 'propertyNames'";
    for (schema, expected) in [
        (json!(null), "$: expected an object"),
        (json!({"items": 1}), "$.items: expected an object"),
        (json!({"type": []}), "$: unknown type []"),
        (json!({"type": ["string", 1]}), "$: unknown type 1"),
        (json!({"type": ["string", "any"]}), "$: unknown type \\\"any\\\""),
        (json!({"anyOf": {}}), "$: 'anyOf' is not a list"),
        (json!({"oneOf": []}), "$: 'oneOf' is empty"),
        (json!({"allOf": []}), "$: 'allOf' is empty"),
        (json!({"enum": []}), "$: 'enum' is empty"),
        (json!({"enum": 1}), "$: 'enum' is not a list"),
        (json!({"prefixItems": {}}), "$: 'prefixItems' is not a list"),
        (json!({"properties": 1}), "$: 'properties' is not an object"),
        (json!({"patternProperties": []}), "$: 'patternProperties' is not an object"),
        (json!({"type": "object", "required": "a"}), "$: 'required' is not a list"),
        (json!({"type": "object", "required": [1]}), "$: 'required' must be a list of property names"),
        (json!({"allOf": [{"type": "null"}, {"type": "x"}]}), "$.allOf[1]: unknown type \\\"x\\\""),
        (json!({"anyOf": [{"type": "null"}, {"type": "x"}]}), "$.anyOf[1]: unknown type \\\"x\\\""),
        (json!({"prefixItems": [{}, {"type": "x"}]}), "$.prefixItems[1]: unknown type \\\"x\\\""),
        (json!({"items": [{}, {"type": "x"}]}), "$.items[1]: unknown type \\\"x\\\""),
        (json!({"items": [], "additionalItems": {"type": "x"}}), "$.additionalItems: unknown type \\\"x\\\""),
        (json!({"prefixItems": [], "unevaluatedItems": {"type": "x"}}), "$.unevaluatedItems: unknown type \\\"x\\\""),
        (json!({"properties": {"a": {"type": "x"}}}), "$.properties.a: unknown type \\\"x\\\""),
        (json!({"patternProperties": {"^a": {"type": "x"}}}), "$.patternProperties.^a: unknown type \\\"x\\\""),
        (
            json!({"additionalProperties": {"type": "x"}, "type": "object"}),
            "$.additionalProperties: unknown type \\\"x\\\"",
        ),
        (json!({"propertyNames": {"type": "x"}}), "$.propertyNames: unknown type \\\"x\\\""),
        (json!({"propertyNames": {"type": "integer"}}), "$.propertyNames: no value has both types"),
        (
            json!({"propertyNames": {"minLength": 2, "maxLength": 1}}),
            "$.propertyNames: no text has at least 2 and at most 1 characters",
        ),
        (
            json!({"properties": {"b": {}}, "required": ["b"], "propertyNames": {"enum": ["a"]}}),
            &format!("$: 'required' names 'b', {not_listed}"),
        ),
        (
            json!({"allOf": [{"properties": {"a": {}}, "additionalProperties": false}, {"properties": {"b": {}}, "required": ["b"]}]}),
            "$: 'required' names 'b', which must not be there",
        ),
        (
            json!({"allOf": [{"properties": {"a": {"type": "null"}}, "required": ["a"]}, {"properties": {"a": {"type": "string"}}}]}),
            "$.properties.a: no value has both types",
        ),
        (
            json!({"allOf": [{"patternProperties": {"^a": {}}}, {"type": "object"}]}),
            "$: unsupported keyword 'patternProperties' in a combination of objects",
        ),
        (
            json!({"allOf": [{"type": "object"}, {"patternProperties": {"^a": {}}}]}),
            "$: unsupported keyword 'patternProperties' in a combination of objects",
        ),
        (
            json!({"allOf": [{"patternProperties": {"^a": {}}}, {"patternProperties": {"^b": {}}}]}),
            "$: unsupported keyword 'patternProperties' in a combination of objects",
        ),
        (
            json!({"patternProperties": {"^a": {"type": "null"}}, "properties": {"ab": {"type": "string"}}}),
            "$.properties.ab: no value has both types",
        ),
        (
            json!({"allOf": [{"multipleOf": 999_999_999_999_999_u64}, {"multipleOf": 0.000_000_000_000_007}]}),
            "$: 'multipleOf' has too many digits",
        ),
        (
            json!({"allOf": [{"anyOf": [{"type": "null"}, {"type": "string"}]}, {"type": "integer"}]}),
            "$: no value has both types",
        ),
        (json!({"type": "array", "minItems": 3, "maxItems": 2}), "$: no list has at least 3 and at most 2 items"),
        (json!({"type": "string", "minLength": 65537}), "$: 'minLength' is 65537, but at most 65536 is supported"),
    ] {
        assert_eq!(message(&schema, Dialect::Local), expected, "{schema}");
        let path = expected.split(": ").next().unwrap();
        assert_eq!(loosened(&schema, Dialect::Loose), [path], "{schema}");
    }
    assert_eq!(loosened(&json!({"type": "string", "minLength": 65536}), Dialect::Local), [] as [&str; 0]);
}

#[test]
fn deepseeks_subset_is_what_deepseek_documents() {
    let object = |inside: Value| json!({"type": "object", "properties": {"a": inside}, "required": ["a"], "additionalProperties": false});
    for (schema, expected) in [
        (json!(true), "$.properties.a: expected an object"),
        (json!(false), "$.properties.a: expected an object"),
        (json!({"type": ["string", "null"]}), "$.properties.a: 'type' is a list; use anyOf"),
        (json!({"type": "string", "format": "date"}), "$.properties.a: unsupported format 'date'"),
        (
            json!({"type": "string", "format": "email", "pattern": "^a"}),
            "$.properties.a: unsupported combination of 'format' and 'pattern'",
        ),
        (json!({"type": "string", "maxLength": 1}), "$.properties.a: unsupported keyword 'maxLength'"),
        (
            json!({"anyOf": [{"type": "null"}], "type": "null"}),
            "$.properties.a: unsupported combination of 'type' and 'anyOf'",
        ),
        (json!({"$ref": "#", "minimum": 1}), "$.properties.a: unsupported combination of 'minimum' and '$ref'"),
        (json!({"enum": [1], "minimum": 1}), "$.properties.a: unsupported combination of 'minimum' and 'enum'"),
        (json!({"const": 1, "minimum": 1}), "$.properties.a: unsupported combination of 'minimum' and 'const'"),
        (json!({"enum": [1], "const": 1}), "$.properties.a: unsupported combination of 'const' and 'enum'"),
        (json!({"type": "object", "properties": {}}), "$.properties.a: 'additionalProperties' must be false"),
        (
            json!({"type": "object", "properties": {}, "additionalProperties": true}),
            "$.properties.a: 'additionalProperties' must be false",
        ),
        (
            json!({"type": "object", "properties": {"b": {"type": "null"}}, "required": true, "additionalProperties": false}),
            "$.properties.a: property 'b' must be in 'required'",
        ),
        (
            json!({"type": "object", "properties": {}, "required": true, "additionalProperties": false}),
            "$.properties.a: 'required' is not a list",
        ),
        (
            json!({"type": "object", "properties": {}, "required": ["b"], "additionalProperties": false}),
            "$.properties.a: 'required' names 'b', which is not a property",
        ),
    ] {
        assert_eq!(message(&object(schema.clone()), Dialect::DeepSeek), expected, "{schema}");
    }
    for schema in [
        json!({"type": "string", "format": "email"}),
        json!({"type": "string", "format": "uuid"}),
        json!({"type": "string", "pattern": "^a", "title": "x"}),
        json!({"type": "integer", "minimum": 1, "exclusiveMaximum": 9, "multipleOf": 2}),
        json!({"type": "string", "enum": ["a"]}),
        json!({"type": "integer", "const": 1}),
        json!({"anyOf": [{"type": "null"}, {"type": "boolean"}], "description": "x"}),
        json!({"type": "array", "items": {"type": "number"}}),
    ] {
        assert_eq!(loosened(&object(schema), Dialect::DeepSeek), [] as [&str; 0]);
    }
}

#[test]
fn a_format_gives_way_to_a_pattern_that_it_does_not_fit() {
    let texts = |schema: Value| {
        let checked = Schema::check("f", &schema, Dialect::Local).unwrap();
        let Part::Text(texts) = &checked.root else { panic!("{checked:?}") };
        (texts.rules.len(), checked.loosened.clone())
    };
    let gone = vec!["$.format".to_owned()];
    assert_eq!(texts(json!({"type": "string", "format": "date"})), (1, vec![]));
    assert_eq!(texts(json!({"type": "string", "format": "date", "pattern": "^2"})), (2, vec![]));
    assert_eq!(texts(json!({"type": "string", "format": "date", "pattern": "^x"})), (1, gone.clone()));
    assert_eq!(texts(json!({"type": "string", "format": "phone", "pattern": "^x"})), (1, gone.clone()));
    assert_eq!(texts(json!({"type": "string", "format": "phone"})), (0, gone));
}

#[test]
fn required_names_may_be_unknown_only_to_loose_schemas() {
    let closed =
        json!({"type": "object", "properties": {"a": {}}, "required": ["x", "a"], "additionalProperties": false});
    assert_eq!(message(&closed, Dialect::Local), "$: 'required' names 'x', which is not a property");
    assert_eq!(loosened(&closed, Dialect::Loose), ["$.required"]);
    let dependent = json!({"type": "object", "properties": {"a": {}, "b": {}}, "dependentRequired": {"a": ["b"]}});
    assert_eq!(loosened(&dependent, Dialect::Local), [] as [&str; 0], "all properties are written");
    assert_eq!(loosened(&dependent, Dialect::Loose), ["$.dependentRequired"]);
}

/// What is repeated counts as often as it is met.
#[test]
fn limits_count_what_combinations_repeat() {
    let wide = |count: usize| json!({"type": "object", "properties": (0..count).map(|n| (format!("p{n}"), json!({}))).collect::<Map<_, _>>()});
    let names = |count: usize, first: &str| {
        let names: Vec<String> = (0..count).map(|n| format!("{first}{n}")).collect();
        json!({"properties": wide(500)["properties"], "propertyNames": {"enum": names}, "additionalProperties": true})
    };
    assert_eq!(loosened(&names(1000, "p"), Dialect::Loose), [] as [&str; 0], "five hundred are listed already");
    assert_eq!(message(&names(501, "q"), Dialect::Local), "$: the schema has more than 1000 properties");
    assert_eq!(loosened(&names(500, "q"), Dialect::Local), [] as [&str; 0]);
    // Each option meets all properties of the definition beside it.
    let met = |options: usize| {
        let options: Vec<Value> = (0..options).map(|n| json!({"type": "object", "minProperties": n % 3})).collect();
        json!({"$defs": {"wide": wide(900)}, "allOf": [{"anyOf": options}, {"$ref": "#/$defs/wide"}]})
    };
    assert_eq!(loosened(&met(5), Dialect::Local), [] as [&str; 0]);
    assert!(message(&met(60), Dialect::Local).ends_with(": the schema has more than 50000 values"));
    let required =
        |count: usize| json!({"type": "object", "required": (0..count).map(|n| format!("p{n}")).collect::<Vec<_>>()});
    assert_eq!(loosened(&required(2000), Dialect::Loose), [] as [&str; 0]);
}
