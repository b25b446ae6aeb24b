//! Which kinds of values a schema takes, for formats whose answers do not say which argument is text and which is JSON.
//!
//! Read leniently: what is not understood takes anything. Whether a value is valid is another matter.

use serde_json::Value;

/// A set of kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kinds(u8);

/// Parts of a schema that are looked at.
const MOST: u32 = 1000;

impl Kinds {
    const NONE: Kinds = Kinds(0);
    pub(super) const ANY: Kinds = Kinds(0b11_1111);
    const TEXT: Kinds = Kinds(1);

    /// What an argument of this name may be, in the schema of a function's arguments.
    pub(super) fn of(parameters: &Value, name: &str) -> Kinds {
        let mut left = MOST;
        let object = resolved(parameters, parameters, &mut left);
        let of_name = object.get("properties").and_then(|properties| properties.get(name));
        let schema = of_name.or_else(|| object.get("additionalProperties"));
        schema.map_or(Kinds::ANY, |schema| kinds(parameters, schema, &mut left))
    }

    /// Whether it is text and nothing else.
    pub(super) fn is_text(self) -> bool {
        self == Kinds::TEXT
    }

    /// Whether a value that is written as `json` is meant as such, and not as text that happens to look like it.
    pub(super) fn takes_json(self, json: &str) -> bool {
        let value = serde_json::from_str::<Value>(json);
        value.is_ok_and(|value| !value.is_string() && self.meets(of_value(&value)))
    }

    fn meets(self, other: Kinds) -> bool {
        self.0 & other.0 != 0
    }

    fn or(self, other: Kinds) -> Kinds {
        Kinds(self.0 | other.0)
    }

    fn and(self, other: Kinds) -> Kinds {
        Kinds(self.0 & other.0)
    }
}

fn of_value(value: &Value) -> Kinds {
    Kinds(match value {
        Value::String(_) => 1,
        Value::Number(_) => 1 << 1,
        Value::Bool(_) => 1 << 2,
        Value::Null => 1 << 3,
        Value::Array(_) => 1 << 4,
        Value::Object(_) => 1 << 5,
    })
}

fn of_name(name: &Value) -> Kinds {
    match name.as_str() {
        Some("string") => Kinds::TEXT,
        Some("number" | "integer") => Kinds(1 << 1),
        Some("boolean") => Kinds(1 << 2),
        Some("null") => Kinds(1 << 3),
        Some("array") => Kinds(1 << 4),
        Some("object") => Kinds(1 << 5),
        _ => Kinds::ANY,
    }
}

/// What a reference refers to; references that go in a circle, or nowhere, stay.
fn resolved<'v>(root: &'v Value, mut schema: &'v Value, left: &mut u32) -> &'v Value {
    while let Some(next) = schema.get("$ref").and_then(Value::as_str).and_then(|to| root.pointer(to.strip_prefix('#')?))
    {
        *left = left.saturating_sub(1);
        if *left == 0 {
            break;
        }
        schema = next;
    }
    schema
}

fn kinds(root: &Value, schema: &Value, left: &mut u32) -> Kinds {
    let schema = resolved(root, schema, left);
    *left = left.saturating_sub(1);
    let Some(schema) = schema.as_object().filter(|_| *left > 0) else { return Kinds::ANY };
    let mut found = Kinds::ANY;
    let any_of =
        |list: &[Value], of: &mut dyn FnMut(&Value) -> Kinds| list.iter().fold(Kinds::NONE, |all, one| all.or(of(one)));
    match schema.get("type") {
        Some(Value::Array(names)) => found = found.and(any_of(names, &mut of_name)),
        Some(name) => found = found.and(of_name(name)),
        None => {}
    }
    if let Some(Value::Array(values)) = schema.get("enum") {
        found = found.and(any_of(values, &mut of_value));
    }
    if let Some(value) = schema.get("const") {
        found = found.and(of_value(value));
    }
    for choices in ["anyOf", "oneOf"].iter().filter_map(|key| schema.get(*key)?.as_array()) {
        found = found.and(any_of(choices, &mut |choice| kinds(root, choice, left)));
    }
    for part in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
        found = found.and(kinds(root, part, left));
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn schemas_say_what_is_text() {
        let schema = json!({
            "$defs": {"name": {"type": "string"}, "loop": {"$ref": "#/$defs/loop"}},
            "properties": {
                "text": {"type": "string", "minLength": 2},
                "kind": {"enum": ["a", "b"]},
                "named": {"$ref": "#/$defs/name"},
                "both": {"allOf": [{"type": ["string", "null"]}, {"type": "string"}]},
                "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                "count": {"type": ["integer", "null"]},
                "list": {"type": "array"},
                "loop": {"$ref": "#/$defs/loop"},
                "any": true,
                "odd": {"type": "sprocket"},
            },
        });
        for name in ["text", "kind", "named", "both"] {
            assert!(Kinds::of(&schema, name).is_text(), "{name}");
        }
        for (name, json, taken) in [
            ("text", "1", false),
            ("maybe", "null", true),
            ("maybe", "1", false),
            ("count", "1", true),
            ("count", "true", false),
            ("count", "1 2", false),
            ("list", "[\"a\"]", true),
            ("list", "{}", false),
            ("any", "1", true),
            ("any", "\"a\"", false),
            ("odd", "{}", true),
            ("loop", "1", true),
            ("unlisted", "1", true),
        ] {
            assert_eq!(Kinds::of(&schema, name).takes_json(json), taken, "{name} {json}");
        }
        let closed = json!({"additionalProperties": {"type": "string"}});
        assert!(Kinds::of(&closed, "x").is_text() && !Kinds::of(&json!(7), "x").is_text());
    }

    /// Choices that double with each level: 2^40 of them.
    #[test]
    fn schemas_that_never_end_are_not_followed() {
        let level = |n: u32| {
            (
                format!("d{n}"),
                json!({"anyOf": [{"$ref": format!("#/$defs/d{}", n + 1)}, {"$ref": format!("#/$defs/d{}", n + 1)}]}),
            )
        };
        let levels: serde_json::Map<String, Value> = (0..40).map(level).collect();
        let schema = json!({"$defs": levels, "properties": {"a": {"$ref": "#/$defs/d0"}}});
        assert_eq!(Kinds::of(&schema, "a"), Kinds::ANY);
    }
}
