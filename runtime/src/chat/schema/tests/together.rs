//! What schemas ask together, and what is settled after they are read.
//!
//! Oracle: each row names one schema that says the same by hand; the library has no other word for either.

use serde_json::{Value, json};

use super::kept::holds_never;
use crate::chat::schema::{Dialect, Need, Object, Part, Schema};

fn checked(schema: &Value, dialect: Dialect) -> Schema {
    Schema::check("f", schema, dialect).unwrap_or_else(|error| panic!("{schema}: {error}"))
}

#[track_caller]
fn mean_the_same(one: &Value, other: &Value, dialect: Dialect) {
    let (a, b) = (checked(one, dialect), checked(other, dialect));
    assert_eq!((&a.root), (&b.root), "{one} {other}");
    assert_eq!(a.loosened, b.loosened, "{one} {other}");
}

#[track_caller]
fn is_refused(schema: &Value, dialect: Dialect, expected: &str) {
    let error = Schema::check("f", schema, dialect).expect_err(expected);
    assert_eq!(error.message(), format!("Invalid schema for f: {expected}"), "{schema}");
}

/// A list, as JSON.
fn rows(text: &str) -> Vec<Value> {
    serde_json::from_str(text).unwrap()
}

fn object(schema: &Schema) -> &Object {
    let Part::Object(object) = &schema.root else { panic!("{schema:?}") };
    object
}

#[test]
fn two_schemas_ask_what_one_would() {
    for row in rows(
        r##"[
        [{}, {"type": "null"}, {"type": "null"}],
        [{"type": "null"}, {"type": "null"}, {"type": "null"}],
        [{"type": "boolean"}, {"type": "boolean"}, {"type": "boolean"}],
        [{"type": "integer", "minimum": 1}, {"type": "number", "maximum": 5}, {"type": "integer", "minimum": 1, "maximum": 5}],
        [{"minimum": 1}, {"minimum": 2}, {"minimum": 2}],
        [{"minimum": 1}, {"exclusiveMinimum": 1}, {"exclusiveMinimum": 1}],
        [{"minimum": 1}, {"exclusiveMinimum": 0}, {"minimum": 1}],
        [{"maximum": 1}, {"maximum": 2}, {"maximum": 1}],
        [{"maximum": 1}, {"exclusiveMaximum": 1}, {"exclusiveMaximum": 1}],
        [{"maximum": 1}, {"exclusiveMaximum": 2}, {"maximum": 1}],
        [{"multipleOf": 4}, {"multipleOf": 6}, {"multipleOf": 12}],
        [{"multipleOf": 0.25}, {"multipleOf": 0.75}, {"multipleOf": 0.75}],
        [{"multipleOf": 0.5}, {"multipleOf": 1.5}, {"multipleOf": 1.5}],
        [{"multipleOf": 7}, {"minimum": 3}, {"multipleOf": 7, "minimum": 3}],
        [{"minLength": 1, "maxLength": 5}, {"minLength": 2, "maxLength": 4}, {"minLength": 2, "maxLength": 4}],
        [{"minLength": 1}, {"maxLength": 4}, {"minLength": 1, "maxLength": 4}],
        [{"pattern": "^a"}, {"pattern": "^a"}, {"pattern": "^a"}],
        [{"pattern": "^a"}, {"minLength": 2}, {"pattern": "^a", "minLength": 2}],
        [{"minItems": 1, "maxItems": 5}, {"minItems": 2, "maxItems": 4}, {"minItems": 2, "maxItems": 4}],
        [{"items": {"type": "integer"}}, {"items": {"type": "number"}}, {"items": {"type": "integer"}}],
        [{"items": {"type": "integer"}}, {"items": {"type": "string"}}, {"items": false}],
        [{"items": {"type": "integer"}}, {"items": false}, {"items": false}],
        [
            {"prefixItems": [{"type": "integer"}], "items": {}, "minItems": 0},
            {"prefixItems": [{"type": "number"}, {"type": "string"}], "items": {}, "minItems": 0},
            {"prefixItems": [{"type": "integer"}, {"type": "string"}], "items": {}, "minItems": 0}
        ],
        [
            {"prefixItems": [{"type": "integer"}], "minItems": 0},
            {"prefixItems": [{"type": "integer"}, {"type": "string"}], "minItems": 0},
            {"prefixItems": [{"type": "integer"}], "minItems": 0}
        ],
        [
            {"prefixItems": [{"type": "integer"}, {"type": "integer"}], "items": {}, "minItems": 0},
            {"prefixItems": [{"type": "integer"}, {"type": "string"}], "items": {}, "minItems": 0},
            {"prefixItems": [{"type": "integer"}], "items": {}, "minItems": 0, "maxItems": 1}
        ],
        [
            {"prefixItems": [{"type": "integer"}], "items": {"type": "null"}, "minItems": 0},
            {"items": {"type": ["integer", "null"]}},
            {"prefixItems": [{"type": "integer"}], "items": {"type": "null"}, "minItems": 0}
        ],
        [{"items": {"enum": [1, 2]}, "uniqueItems": true}, {"minItems": 1}, {"items": {"enum": [1, 2]}, "uniqueItems": true,
            "minItems": 1}],
        [
            {"properties": {"a": {"type": "integer"}}, "required": ["a"]}, {"properties": {"b": {"type": "null"}}},
            {"properties": {"a": {"type": "integer"}, "b": {"type": "null"}}, "required": ["a"]}
        ],
        [
            {"properties": {"a": {"type": "integer"}}}, {"properties": {"a": {"type": "number"}}, "required": ["a"]},
            {"properties": {"a": {"type": "integer"}}, "required": ["a"]}
        ],
        [
            {"properties": {"a": {}}, "additionalProperties": false}, {"properties": {"b": {}}},
            {"properties": {"a": {}, "b": false}, "additionalProperties": false}
        ],
        [
            {"properties": {"b": {}}}, {"properties": {"a": {}}, "additionalProperties": false},
            {"properties": {"b": false, "a": {}}, "additionalProperties": false}
        ],
        [
            {"additionalProperties": {"type": "integer"}}, {"properties": {"a": {"type": "number"}}},
            {"properties": {"a": {"type": "integer"}}, "additionalProperties": {"type": "integer"}}
        ],
        [
            {"properties": {"a": {"type": "number"}}}, {"additionalProperties": {"type": "integer"}},
            {"properties": {"a": {"type": "integer"}}, "additionalProperties": {"type": "integer"}}
        ],
        [
            {"properties": {"a": {"type": "integer"}}}, {"properties": {"a": {"type": "string"}}},
            {"properties": {"a": false}}
        ],
        [{"additionalProperties": {"type": "number"}}, {"additionalProperties": {"type": "integer"}},
            {"additionalProperties": {"type": "integer"}}],
        [{"additionalProperties": {"type": "string"}}, {"additionalProperties": {"type": "integer"}}, {"additionalProperties": false}],
        [{"additionalProperties": {"type": "string"}}, {"additionalProperties": false}, {"additionalProperties": false}],
        [{"additionalProperties": {"type": "string"}}, {"minProperties": 1}, {"additionalProperties": {"type": "string"},
            "minProperties": 1}],
        [
            {"propertyNames": {"pattern": "^a", "minLength": 1, "maxLength": 9}}, {"propertyNames": {"minLength": 2, "maxLength": 5}},
            {"propertyNames": {"pattern": "^a", "minLength": 2, "maxLength": 5}}
        ],
        [{"propertyNames": {"minLength": 2}}, {"propertyNames": {"pattern": "^a"}}, {"propertyNames": {"pattern": "^a", "minLength": 2}}],
        [{"propertyNames": {"minLength": 2}}, {"type": "object"}, {"propertyNames": {"minLength": 2}}],
        [
            {"type": "object", "minProperties": 1, "maxProperties": 4}, {"type": "object", "minProperties": 2, "maxProperties": 3},
            {"type": "object", "minProperties": 2, "maxProperties": 3}
        ],
        [
            {"patternProperties": {"^x": {"type": "null"}}}, {"patternProperties": {"^x": {"type": "null"}}},
            {"patternProperties": {"^x": {"type": "null"}}}
        ],
        [{"anyOf": [{"type": "integer"}, {"type": "null"}]}, {"minimum": 1}, {"type": "integer", "minimum": 1}],
        [{"minimum": 1}, {"anyOf": [{"type": "null"}, {"type": "integer"}]}, {"type": "integer", "minimum": 1}],
        [{"type": ["integer", "string"]}, {"type": ["string", "null"]}, {"type": "string"}],
        [{"type": ["integer", "string", "null"]}, {"type": ["null", "integer"]}, {"type": ["integer", "null"]}],
        [{"enum": [1, "a", null]}, {"type": ["string", "null"]}, {"enum": ["a", null]}]
    ]"##,
    ) {
        for dialect in [Dialect::Local, Dialect::Loose] {
            if dialect == Dialect::Loose && holds_never(&row) {
                continue;
            }
            mean_the_same(&json!({"allOf": [row[0], row[1]]}), &row[2], dialect);
        }
    }
}

#[test]
fn keywords_have_other_spellings() {
    for row in rows(
        r##"[
        [{"minLength": 1}, {"type": "string", "minLength": 1}],
        [{"format": "date"}, {"type": "string", "format": "date"}],
        [{"minimum": 1}, {"type": "number", "minimum": 1}],
        [{"items": {}}, {"type": "array"}],
        [{"required": []}, {"type": "object"}],
        [{"minItems": 1, "minLength": 1}, {"type": "array", "minItems": 1}],
        [{"type": ["string"]}, {"type": "string"}],
        [{"type": ["array", "null"], "minItems": 3, "maxItems": 2}, {"type": "null"}],
        [{"title": "x", "x-y": 1, "default": 3, "description": 4}, {}],
        [true, {}],
        [{"minLength": 2.0}, {"minLength": 2}],
        [{"items": [{"type": "integer"}, {"type": "null"}]}, {"prefixItems": [{"type": "integer"}, {"type": "null"}]}],
        [{"items": [{"type": "integer"}], "additionalItems": {"type": "null"}}, {"prefixItems": [{"type": "integer"}],
            "items": {"type": "null"}}],
        [{"prefixItems": [{"type": "integer"}], "unevaluatedItems": {"type": "null"}}, {"prefixItems": [{"type": "integer"}],
            "items": {"type": "null"}}],
        [{"prefixItems": [{"type": "integer"}], "unevaluatedItems": {"type": "null"}, "items": false},
            {"prefixItems": [{"type": "integer"}], "items": false}],
        [{"prefixItems": [{"type": "integer"}, false], "minItems": 0}, {"prefixItems": [{"type": "integer"}], "minItems": 0}],
        [{"prefixItems": [{"type": "integer"}, false, {"type": "null"}], "items": {}, "minItems": 1},
            {"prefixItems": [{"type": "integer"}], "items": {}, "minItems": 1, "maxItems": 1}],
        [{"type": "object", "unevaluatedProperties": false}, {"type": "object", "additionalProperties": false}],
        [{"type": "object", "additionalProperties": true, "unevaluatedProperties": false}, {"type": "object", "additionalProperties": {}}],
        [{"type": "object"}, {"type": "object", "additionalProperties": true}],
        [{"properties": {"a": {}}}, {"properties": {"a": {}}, "additionalProperties": false}],
        [{"patternProperties": {"^x": {}}}, {"patternProperties": {"^x": {}}, "additionalProperties": false}],
        [{"type": "object", "required": ["a"]}, {"type": "object", "properties": {"a": {}}, "required": ["a"],
            "additionalProperties": false}],
        [
            {"type": "object", "required": ["a"], "additionalProperties": {"type": "null"}},
            {"type": "object", "properties": {"a": {"type": "null"}}, "required": ["a"], "additionalProperties": {"type": "null"}}
        ],
        [
            {"patternProperties": {"^x": {"type": "null"}}, "required": ["x1"]},
            {"patternProperties": {"^x": {"type": "null"}}, "properties": {"x1": {"type": "null"}}, "required": ["x1"]}
        ],
        [{"properties": {"a": {}}, "required": true}, {"properties": {"a": {}}}],
        [{"minimum": 1, "exclusiveMaximum": true}, {"minimum": 1}],
        [{"maximum": 1, "exclusiveMinimum": true}, {"maximum": 1}],
        [{"not": false, "type": "null"}, {"type": "null"}],
        [{"enum": [1, 2, "a"], "not": {"enum": [2, "a"]}}, {"enum": [1]}],
        [{"enum": [1, 2], "not": {"type": "integer", "const": 2}}, {"enum": [1]}],
        [{"const": 1}, {"enum": [1]}],
        [{"anyOf": [false, {"type": "null"}]}, {"type": "null"}],
        [{"anyOf": [{"type": "null"}]}, {"type": "null"}],
        [{"anyOf": [{"type": "null"}, {"type": "integer", "minimum": 2, "maximum": 1}, {"type": "boolean"}]},
            {"anyOf": [{"type": "null"}, {"type": "boolean"}]}],
        [{"type": "object", "propertyNames": true}, {"type": "object"}],
        [{"type": "object", "additionalProperties": false, "propertyNames": {"maxLength": 3}, "properties": {"abcd": {}, "abc": {}}},
            {"type": "object", "additionalProperties": false, "propertyNames": {"maxLength": 3}, "properties": {"abcd": false, "abc": {}}}],
        [
            {"properties": {"x1": {"type": "number"}}, "patternProperties": {"^x": {"type": "integer"}}},
            {"properties": {"x1": {"type": "integer"}}, "patternProperties": {"^x": {"type": "integer"}}}
        ],
        [{"type": "object", "properties": {"a": {}}, "minProperties": 1, "required": ["a"]}, {"type": "object",
            "properties": {"a": {}}, "required": ["a"]}],
        [{"type": "object", "properties": {"a": {}}, "maxProperties": 1, "required": ["a"]}, {"type": "object",
            "properties": {"a": {}}, "required": ["a"]}],
        [{"type": "array", "items": {"type": "integer", "minimum": 2, "maximum": 1}}, {"type": "array", "items": false}],
        [{"items": {"type": "integer"}, "uniqueItems": true, "maxItems": 1}, {"items": {"type": "integer"}, "maxItems": 1}]
    ]"##,
    ) {
        mean_the_same(&row[0], &row[1], Dialect::Local);
    }
    // In Local a list has all items that are listed, and an object all properties.
    mean_the_same(
        &json!({"prefixItems": [{"type": "integer"}, {"type": "null"}]}),
        &json!({"prefixItems": [{"type": "integer"}, {"type": "null"}], "minItems": 2}),
        Dialect::Local,
    );
    mean_the_same(
        &json!({"prefixItems": [{"type": "integer"}, {"type": "null"}], "maxItems": 1}),
        &json!({"prefixItems": [{"type": "integer"}, {"type": "null"}], "minItems": 1, "maxItems": 1}),
        Dialect::Local,
    );
    mean_the_same(
        &json!({"prefixItems": [{"type": "integer"}, {"type": "null"}]}),
        &json!({"prefixItems": [{"type": "integer"}, {"type": "null"}], "minItems": 0}),
        Dialect::Loose,
    );
}

#[test]
fn references_meet_what_stands_beside_them() {
    let definitions = json!({
        "i": {"type": "integer"}, "j": {"$ref": "#/$defs/i"}, "u": {"anyOf": [{"$ref": "#/$defs/j"}, {"type": "null"}]},
        "list": {"type": "array", "items": {"$ref": "#/$defs/i"}},
    });
    for (schema, other) in [
        (json!({"allOf": [{"$ref": "#/$defs/i"}, {"minimum": 3}]}), json!({"type": "integer", "minimum": 3})),
        (json!({"allOf": [{"minimum": 3}, {"$ref": "#/$defs/j"}]}), json!({"type": "integer", "minimum": 3})),
        (json!({"$ref": "#/$defs/u", "minimum": 3}), json!({"type": "integer", "minimum": 3})),
        (json!({"$ref": "#/$defs/u", "type": "null"}), json!({"type": "null"})),
        (json!({"allOf": [{"$ref": "#/$defs/i"}, {"$ref": "#/$defs/u"}]}), json!({"type": "integer"})),
        (json!({"allOf": [{"$ref": "#/$defs/u"}, {"enum": [1, null, "a"]}]}), json!({"enum": [1, null]})),
        (json!({"allOf": [{"$ref": "#/$defs/list"}, {"enum": [[1], ["a"], []]}]}), json!({"enum": [[1], []]})),
        (json!({"enum": [[1], ["a"], []], "$ref": "#/$defs/list"}), json!({"enum": [[1], []]})),
        (
            json!({"allOf": [{"items": {"$ref": "#/$defs/i"}}, {"items": {"minimum": 3}}]}),
            json!({"items": {"type": "integer", "minimum": 3}}),
        ),
        (
            json!({"allOf": [{"properties": {"a": {"minimum": 3}}}, {"properties": {"a": {"$ref": "#/$defs/j"}}}]}),
            json!({"properties": {"a": {"type": "integer", "minimum": 3}}}),
        ),
        (
            json!({"properties": {"x": {"$ref": "#/$defs/i"}}, "patternProperties": {"^x": {"minimum": 3}}}),
            json!({"properties": {"x": {"type": "integer", "minimum": 3}}, "patternProperties": {"^x": {"minimum": 3}}}),
        ),
        (json!({"$ref": "#/$defs/i", "description": "x"}), json!({"$ref": "#/$defs/i"})),
        (json!({"allOf": [{"$ref": "#/$defs/i"}, {"$ref": "#/$defs/i"}]}), json!({"$ref": "#/$defs/i"})),
    ] {
        let with = |schema: &Value| {
            let mut schema = schema.clone();
            schema["$defs"] = definitions.clone();
            schema
        };
        assert_eq!(
            checked(&with(&schema), Dialect::Local).root,
            checked(&with(&other), Dialect::Local).root,
            "{schema}"
        );
    }
    let enclosing = json!({"type": "object", "properties": {"a": {"anyOf": [{"type": "null"}, {"$ref": "#", "minProperties": 1}]}}});
    is_refused(
        &enclosing,
        Dialect::Local,
        "$.properties.a.anyOf[1]: unsupported keywords next to a $ref to an enclosing schema",
    );
    let circle = json!({"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, {"type": "null"}]}}, "$ref": "#/$defs/a", "enum": ["x"]});
    is_refused(&circle, Dialect::Local, "$: no value of 'enum' or 'const' fits the rest of the schema");
    let own = json!({"$defs": {"n": {"properties": {"n": {"$ref": "#/$defs/n"}}, "required": [], "enum": [{}, {"n": {}}]}}, "$ref": "#/$defs/n"});
    is_refused(&own, Dialect::Local, "$.$defs.n: unsupported keywords next to a $ref to an enclosing schema");
    let escaped = |reference: &str| {
        let schema = json!({"$defs": {"a%zz": {"type": "null"}, "%2": {"type": "boolean"}, "å": {"type": "integer"}, "~/%": {"type": "string"}, "%+f": {"type": "null"}, "\u{f}": {"type": "array"}}, "$ref": reference});
        let checked = checked(&schema, Dialect::Local);
        checked.resolve(&checked.root).clone()
    };
    for (reference, kind) in [
        ("#/$defs/a%zz", "null"),
        ("#/$defs/a%25zz", "null"),
        ("#/$defs/%2", "boolean"),
        ("#/$defs/%+f", "null"),
        ("#/$defs/%0F", "array"),
        ("#/$defs/%252", "boolean"),
        ("#/$defs/%C3%A5", "integer"),
        ("#/$defs/%c3%a5", "integer"),
        ("#/%24defs/å", "integer"),
        ("#/$defs/~0~1%25", "string"),
        ("#/$defs/~0~1%", "string"),
    ] {
        assert_eq!(escaped(reference), checked(&json!({ "type": kind }), Dialect::Local).root, "{reference}");
    }
    for (reference, expected) in [
        (json!("#/$defs/%2g"), "$: unresolved $ref '#/$defs/%2g'"),
        (json!("#/$defs/%ff"), "$: unresolved $ref '#/$defs/%ff'"),
        (json!("x#/a"), "$: unsupported $ref: only references into the same schema (#/…) are supported"),
        (json!(3), "$: unsupported $ref: only references into the same schema (#/…) are supported"),
    ] {
        is_refused(&json!({"$defs": {}, "$ref": reference}), Dialect::Local, expected);
    }
}

/// What `oneOf` says beyond `anyOf`: oracle: whether some value fits two of them.
#[test]
fn alternatives_that_may_overlap_are_named() {
    let kinds = ["null", "boolean", "number", "string", "array", "object"].map(|kind| json!({ "type": kind }));
    for (place, one) in kinds.iter().enumerate() {
        for (other_place, other) in kinds.iter().enumerate() {
            let found = checked(&json!({"oneOf": [one, other]}), Dialect::Loose);
            assert_eq!(found.loosened == ["$.oneOf"], place == other_place, "{one} {other}");
        }
    }
    let tagged = |value: Value| json!({"type": "object", "properties": {"k": value}, "required": ["k"]});
    let rows = [
        (json!([{"enum": [1, 2]}, {"enum": [3, "a"]}]), true),
        (json!([{"enum": [1, 2]}, {"enum": [2.0]}]), false),
        (json!([{"enum": [1, 2]}, {"type": "string"}]), true),
        (json!([{"type": "integer"}, {"enum": ["a", 2]}]), false),
        (json!([{"type": "integer"}, {"enum": ["a", 2.5]}]), true),
        (json!([tagged(json!({"const": 1})), tagged(json!({"const": 2}))]), true),
        (json!([tagged(json!({"const": 1})), tagged(json!({"enum": [1, 2]}))]), false),
        (json!([tagged(json!({"const": 1})), tagged(json!({"const": 2})), tagged(json!({"const": 1}))]), false),
        (json!([tagged(json!({"type": "null"})), tagged(json!({"type": "string"}))]), true),
        (json!([tagged(json!({"const": 1})), {"type": "object", "properties": {"k": {"const": 2}}}]), false),
        (json!([{"type": "object", "properties": {"k": {"const": 2}}}, tagged(json!({"const": 1}))]), false),
        (
            json!([tagged(json!({"const": 1})), {"type": "object", "properties": {"l": {"const": 2}}, "required": ["l"]}]),
            false,
        ),
        (json!([{"type": ["null", "string"]}, {"type": ["boolean", "array"]}]), true),
        (json!([{"type": ["null", "string"]}, {"type": ["boolean", "string"]}]), false),
        (json!([{"type": "null"}, {"type": ["boolean", "null"]}]), false),
        (json!([{"type": "integer"}, {"type": "number"}]), false),
        (json!([{}, {"type": "null"}]), false),
        (json!([{"$ref": "#/$defs/i"}, {"type": "null"}]), true),
        (json!([{"type": "null"}, {"$ref": "#/$defs/u"}]), false),
        (json!([{"type": "boolean"}, {"$ref": "#/$defs/u"}]), true),
        (json!([{"$ref": "#/$defs/i"}, {"$ref": "#/$defs/i"}]), false),
        (json!([{"$ref": "#/$defs/i"}]), true),
        (json!([{"$ref": "#/$defs/own"}, {"type": "string"}]), false),
        (json!([{"type": "string"}, {"$ref": "#/$defs/own"}]), false),
        (json!([{"const": [1]}, {"type": "array", "items": {"$ref": "#/$defs/i"}}]), false),
    ];
    for (options, apart) in rows {
        let own = json!({"anyOf": [{"$ref": "#/$defs/own"}, {"type": "null"}]});
        let definitions = json!({"i": {"type": "integer"}, "u": {"type": ["integer", "null"]}, "own": own});
        let schema = json!({"$defs": definitions, "oneOf": options});
        let found = checked(&schema, Dialect::Loose);
        let expected: &[&str] = if apart { &[] } else { &["$.oneOf"] };
        assert_eq!(found.loosened, expected, "{schema}");
    }
    // Compared pair by pair, up to a limit.
    for (count, apart) in [(256, true), (257, false)] {
        let options: Vec<Value> = (0..count).map(|value| json!({ "const": value })).collect();
        let found = checked(&json!({ "oneOf": options }), Dialect::Local);
        assert_eq!(found.loosened.is_empty(), apart, "{count}");
    }
}

#[test]
fn what_is_not_is_taken_away_where_values_are_told() {
    let strings = checked(&json!({"type": "string", "not": {"enum": ["a.b", 1, "c"]}}), Dialect::Local);
    let Part::Text(texts) = &strings.root else { panic!("{strings:?}") };
    for (text, expected) in [("a.b", false), ("c", false), ("axb", true), ("ab", true), ("", true), ("a.b.c", true)] {
        assert_eq!(texts.accepts(text), expected, "{text}");
    }
    let excludes = "$: 'not' excludes every value";
    for (schema, expected) in [
        (json!({"not": {}}), excludes),
        (json!({"not": true, "type": "null"}), excludes),
        (json!({"enum": [1], "not": {"const": 1}}), excludes),
        (json!({"enum": [1, 2], "not": {"enum": [1, 2, 3]}}), excludes),
        (json!({"type": "integer", "not": {"const": 1}}), "$: unsupported keyword 'not'"),
        (json!({"type": "string", "not": {"pattern": "a"}}), "$: unsupported keyword 'not'"),
        (json!({"type": "string", "not": {"const": "a", "minLength": 1}}), "$: unsupported keyword 'not'"),
        (json!({"enum": ["a"], "not": {"const": "b", "minLength": 1}}), "$: unsupported keyword 'not'"),
        (json!({"enum": ["a"], "not": {"type": "integer"}}), "$: unsupported keyword 'not'"),
        (json!({"enum": ["a", "b"], "not": {"enum": ["a"], "const": "b"}}), "$: unsupported keyword 'not'"),
        (json!({"type": "string", "not": {"enum": []}}), "$: unsupported keyword 'not'"),
        (json!({"not": {"const": 1}}), "$: unsupported keyword 'not'"),
    ] {
        is_refused(&schema, Dialect::Local, expected);
        let path = if expected == excludes { "$" } else { "$.not" };
        assert_eq!(checked(&schema, Dialect::Loose).loosened, [path], "{schema}");
    }
}

/// Which counts of properties are kept, and which properties must be there.
#[test]
fn counts_of_properties_are_settled() {
    let names = |count: usize| -> Value {
        (0..count).map(|place| (format!("p{place}"), json!({"type": "null"}))).collect::<serde_json::Map<_, _>>().into()
    };
    for (dialect, listed, keywords, least, most, added) in [
        (Dialect::Local, 3, json!({}), 0, None, 3),
        (Dialect::Local, 3, json!({"minProperties": 3}), 0, None, 3),
        (Dialect::Local, 3, json!({"maxProperties": 3}), 0, None, 3),
        (Dialect::Local, 3, json!({"maxProperties": 2}), 0, Some(2), 0),
        (Dialect::Local, 3, json!({"maxProperties": 3, "additionalProperties": {"type": "null"}}), 0, Some(3), 3),
        (Dialect::Local, 3, json!({"minProperties": 4, "additionalProperties": {"type": "null"}}), 4, None, 3),
        (Dialect::Local, 3, json!({"minProperties": 4, "patternProperties": {"^x": {"type": "null"}}}), 4, None, 3),
        (Dialect::Local, 3, json!({"required": ["p1"], "maxProperties": 1}), 0, Some(1), 0),
        (Dialect::Loose, 3, json!({"required": ["p1"], "minProperties": 1}), 0, None, 0),
        (Dialect::Loose, 3, json!({"required": ["p1"], "minProperties": 2}), 2, None, 0),
        (Dialect::Loose, 3, json!({"minProperties": 1}), 1, None, 0),
        (Dialect::Loose, 3, json!({"minProperties": 3}), 3, None, 0),
        (Dialect::Loose, 3, json!({"maxProperties": 3}), 0, None, 0),
        (Dialect::Loose, 3, json!({"maxProperties": 2, "minProperties": 2}), 2, Some(2), 0),
        (Dialect::Loose, 0, json!({"maxProperties": 2, "minProperties": 1}), 1, Some(2), 0),
    ] {
        let mut schema = json!({"type": "object", "properties": names(listed)});
        schema.as_object_mut().unwrap().extend(keywords.as_object().unwrap().clone());
        let found = checked(&schema, dialect);
        let object = object(&found);
        let added_count = object.properties.iter().filter(|property| property.need == Need::Added).count();
        assert_eq!((object.least, object.most, added_count), (least, most, added), "{schema}");
        assert!(found.loosened.is_empty());
    }
    for (schema, expected) in [
        (
            json!({"type": "object", "properties": names(3), "required": ["p0", "p1"], "maxProperties": 1}),
            "$: no object has at least 2 and at most 1 properties",
        ),
        (
            json!({"type": "object", "minProperties": 3, "maxProperties": 2}),
            "$: no object has at least 3 and at most 2 properties",
        ),
        (
            json!({"type": "object", "properties": names(3), "minProperties": 4}),
            "$: 'minProperties' is 4, but only 3 properties are possible",
        ),
        (
            json!({"type": "object", "properties": {"a": {}, "b": false}, "minProperties": 2}),
            "$: 'minProperties' is 2, but only 1 properties are possible",
        ),
    ] {
        is_refused(&schema, Dialect::Local, expected);
        let gone = if schema["properties"]["b"] == json!(false) { "$.properties.b" } else { "$" };
        assert_eq!(checked(&schema, Dialect::Loose).loosened, [gone]);
    }
    // Two thousand states count: one property and 999 more places.
    for (keywords, loosened) in [
        (json!({"minProperties": 999}), json!([])),
        (json!({"minProperties": 1000}), json!(["$.minProperties"])),
        (json!({"maxProperties": 999}), json!([])),
        (json!({"maxProperties": 1000}), json!(["$.maxProperties"])),
        (json!({"minProperties": 5, "maxProperties": 1000}), json!(["$.minProperties", "$.maxProperties"])),
    ] {
        let mut schema = json!({"type": "object", "properties": {"a": {}}, "additionalProperties": true});
        schema.as_object_mut().unwrap().extend(keywords.as_object().unwrap().clone());
        let found = checked(&schema, Dialect::Local);
        assert_eq!(json!(found.loosened), loosened, "{keywords}");
        let counted = object(&found).least > 0 || object(&found).most.is_some();
        assert_eq!(counted, loosened == json!([]), "{keywords}");
    }
    let free = checked(&json!({"type": "object", "minProperties": 3000}), Dialect::Local);
    assert_eq!((free.loosened.as_slice(), object(&free).least), (&[] as &[String], 3000), "no property is listed");
}

#[test]
fn what_no_finite_value_fits_is_found_wherever_it_is() {
    let list = |keywords: Value| {
        let mut list = json!({"type": "array"});
        list.as_object_mut().unwrap().extend(keywords.as_object().unwrap().clone());
        json!({"$defs": {"l": list}, "$ref": "#/$defs/l"})
    };
    let own = json!({"$ref": "#/$defs/l"});
    let nothing = json!({"type": "null"});
    let endless =
        "$.$defs.l: no finite value satisfies it, because it requires itself; make the inner one nullable with anyOf";
    for (keywords, ends) in [
        (json!({"items": own}), true),
        (json!({"items": own, "minItems": 1}), false),
        (json!({"prefixItems": [own], "minItems": 0}), true),
        (json!({"prefixItems": [own], "minItems": 1}), false),
        (json!({"prefixItems": [nothing, own], "minItems": 1}), true),
        (json!({"prefixItems": [nothing, own], "minItems": 2}), false),
        (json!({"prefixItems": [nothing], "items": own, "minItems": 1}), true),
        (json!({"prefixItems": [nothing], "items": own, "minItems": 2}), false),
        (json!({"items": {"anyOf": [own, nothing]}, "minItems": 1}), true),
        (json!({"items": {"anyOf": [own, own]}, "minItems": 1}), false),
        (json!({"items": {"type": "object", "properties": {"a": own}, "required": ["a"]}, "minItems": 1}), false),
        (json!({"items": {"type": "object", "properties": {"a": own}}, "minItems": 1}), true),
        (
            json!({"items": {"type": "object", "properties": {"b": {"type": "array", "items": own, "minItems": 1}}}, "minItems": 1}),
            true,
        ),
        (json!({"prefixItems": [{"type": "object", "properties": {"a": own}}]}), true),
        (
            json!({"items": {"anyOf": [{"type": "object", "properties": {"a": own}}, {"type": "object", "properties": {"b": own}}]}, "minItems": 1}),
            true,
        ),
    ] {
        let schema = list(keywords);
        if ends {
            checked(&schema, Dialect::Local);
        } else {
            is_refused(&schema, Dialect::Local, endless);
            let loose = checked(&schema, Dialect::Loose);
            assert_eq!(
                (loose.loosened.as_slice(), loose.resolve(&loose.root)),
                (&["$.$defs.l".to_owned()][..], &Part::Any),
                "{schema}"
            );
        }
    }
    // Only what would never end is freed.
    let tree = json!({"type": "object", "properties": {"name": {"type": "string"}, "next": {"$ref": "#"}}});
    let found = checked(&tree, Dialect::Local);
    let Part::Object(object) = found.resolve(&found.root) else { panic!("{found:?}") };
    assert_eq!(object.properties.iter().map(|property| property.need).collect::<Vec<_>>(), [Need::Added, Need::Free]);
}

#[test]
fn lists_are_settled_item_by_item() {
    let never = json!({"type": "integer", "minimum": 2, "maximum": 1});
    let never_says = "no integer is at least 2 and at most 1";
    mean_the_same(
        &json!({"prefixItems": [{"type": "null"}, never, {"type": "null"}], "items": {}, "minItems": 1}),
        &json!({"prefixItems": [{"type": "null"}], "minItems": 1}),
        Dialect::Local,
    );
    mean_the_same(
        &json!({"prefixItems": [{"type": "null"}], "items": never, "minItems": 1}),
        &json!({"prefixItems": [{"type": "null"}], "minItems": 1}),
        Dialect::Local,
    );
    for (schema, expected) in [
        (json!({"prefixItems": [{"type": "null"}, never], "minItems": 2}), format!("$.prefixItems[1]: {never_says}")),
        (json!({"items": never, "minItems": 1}), format!("$.items: {never_says}")),
        (json!({"prefixItems": [{"type": "null"}], "items": never, "minItems": 2}), format!("$.items: {never_says}")),
        (
            json!({"prefixItems": [{"type": "null"}, false], "minItems": 2}),
            "$.prefixItems[1]: the schema is false: no value fits".to_owned(),
        ),
        (json!({"items": false, "minItems": 1}), "$.items: the schema is false: no value fits".to_owned()),
        (
            json!({"allOf": [{"type": "array", "minItems": 3}, {"type": "array", "maxItems": 2}]}),
            "$: no list has at least 3 and at most 2 items".to_owned(),
        ),
        (
            json!({"items": {"enum": [1, 2, 1]}, "uniqueItems": true, "minItems": 3}),
            "$: no list has at least 3 items that differ, of 2 values".to_owned(),
        ),
        (json!({"patternProperties": {"^y": {}, "^x": never}}), format!("$.patternProperties[1]: {never_says}")),
        (json!({"properties": {"a": never}, "required": ["a"]}), format!("$.properties.a: {never_says}")),
        (json!({"anyOf": [never, never]}), format!("$.anyOf[0]: {never_says}")),
        (
            json!({"allOf": [{"propertyNames": {"pattern": "^a"}}, {"propertyNames": {"pattern": "^b"}}]}),
            "$.propertyNames: no text fits its pattern, format and length".to_owned(),
        ),
    ] {
        is_refused(&schema, Dialect::Local, &expected);
    }
    for (schema, loosened) in [
        (json!({"items": {"type": "integer"}, "uniqueItems": true, "maxItems": 2}), true),
        (json!({"items": {"type": "integer"}, "uniqueItems": true, "maxItems": 1}), false),
        (json!({"prefixItems": [{"enum": [1]}, {"enum": [2]}], "uniqueItems": true}), true),
        (json!({"prefixItems": [{"enum": [1]}], "items": {"enum": [2]}, "uniqueItems": true}), true),
        (
            json!({"items": {"$ref": "#/$defs/two"}, "uniqueItems": true, "$defs": {"two": {"$ref": "#/$defs/truth"}, "truth": {"type": "boolean"}}}),
            false,
        ),
        (json!({"items": {"enum": vec![1; 1000]}, "uniqueItems": true}), false),
        (json!({"items": {"enum": vec![1; 1001]}, "uniqueItems": true}), true),
    ] {
        let found = checked(&schema, Dialect::Local);
        assert_eq!(found.loosened == ["$.uniqueItems"], loosened, "{schema}");
        let Part::List(list) = &found.root else { panic!("{found:?}") };
        assert_eq!(list.unique, !loosened && schema.get("maxItems").is_none(), "{schema}");
    }
}
