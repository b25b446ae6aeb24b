//! JSON as it may be written under a schema.

use serde_json::{Map, Value, json};

use super::{held, takes};
use crate::chat::Dialect;
use crate::chat::grammar::json::Layout;
use crate::chat::schema::Schema;
use crate::chat::schema::{Part, Written};
use crate::error::Code;

/// JSON as the model writes it on one line.
fn spaced(value: &Value) -> String {
    crate::chat::json::spaced(value)
}

fn validator(schema: &Value) -> jsonschema::Validator {
    jsonschema::validator_for(schema).unwrap()
}

/// Oracle: the `jsonschema` crate, for every length around every count.
#[test]
fn lists_have_their_items_in_number_and_kind() {
    let first = [json!({"type": "integer"}), json!({"type": "string"})];
    let lists: Vec<Value> = (0..=5)
        .map(|length| {
            Value::from_iter([json!(1), json!("a"), json!(true), json!(false), json!(true)].into_iter().take(length))
        })
        .chain((0..=4).map(|length| Value::from(vec![true; length])))
        .chain([json!([1, true, true]), json!([1, "a", "a"]), json!(["a", 1]), json!([null])])
        .collect();
    for prefix in 0..=2 {
        for items in [json!(false), json!({"type": "boolean"})] {
            for least in 0..=4 {
                for most in (0..=4).map(Some).chain([None]) {
                    let mut schema = json!({"type": "array", "items": items, "minItems": least});
                    if prefix > 0 {
                        schema["prefixItems"] = first[..prefix].into();
                    }
                    if let Some(most) = most {
                        schema["maxItems"] = json!(most);
                    }
                    let validator = validator(&schema);
                    let made = held(&schema, Dialect::Local, Layout::Flexible);
                    let reach = if items == json!(false) { prefix } else { 9 }.min(most.unwrap_or(9));
                    if least > reach {
                        let message = match items == json!(false) && least > prefix {
                            true => "$.items: the schema is false: no value fits".to_owned(),
                            false => format!("$: no list has at least {least} and at most {reach} items"),
                        };
                        assert_eq!(made.unwrap_err().message(), format!("Invalid schema for f: {message}"), "{schema}");
                        continue;
                    }
                    let constraint = made.unwrap();
                    for list in &lists {
                        assert_eq!(takes(&constraint, &spaced(list)), validator.is_valid(list), "{schema} {list}");
                    }
                }
            }
        }
    }
}

/// Oracle: the `jsonschema` crate, for all lists of three values.
#[test]
fn sets_hold_each_value_once() {
    let values = [json!(1), json!("a"), json!(null)];
    let mut lists = vec![vec![]];
    for length in 1..=4 {
        let longer: Vec<Vec<Value>> = lists
            .iter()
            .filter(|list| list.len() + 1 == length)
            .flat_map(|list: &Vec<Value>| values.iter().map(|value| [&list[..], std::slice::from_ref(value)].concat()))
            .collect();
        lists.extend(longer);
    }
    for least in 0..=3 {
        for most in [None, Some(1), Some(2), Some(3)] {
            let mut schema =
                json!({"type": "array", "items": {"enum": values}, "uniqueItems": true, "minItems": least});
            if let Some(most) = most {
                schema["maxItems"] = json!(most);
            }
            if least > most.unwrap_or(3) {
                continue;
            }
            let validator = validator(&schema);
            let constraint = held(&schema, Dialect::Local, Layout::Flexible).unwrap();
            // A list of one is different from itself by nature: it is asked for by its length alone.
            assert_eq!(constraint.loosened(), &[] as &[String], "{schema}");
            for list in &lists {
                let list = Value::from(list.clone());
                assert_eq!(takes(&constraint, &spaced(&list)), validator.is_valid(&list), "{schema} {list}");
            }
        }
    }
    let distinct = json!({"type": "array", "items": {"enum": [1, 1.0, true]}, "uniqueItems": true, "minItems": 3});
    let error = held(&distinct, Dialect::Local, Layout::Flexible).unwrap_err();
    assert_eq!(error.message(), "Invalid schema for f: $: no list has at least 3 items that differ, of 2 values");
    let truths = json!({"type": "array", "items": {"type": "boolean"}, "uniqueItems": true});
    let constraint = held(&truths, Dialect::Local, Layout::Flexible).unwrap();
    assert!(
        takes(&constraint, "[true, false]") && takes(&constraint, "[false]") && !takes(&constraint, "[true, true]")
    );
    // Six values are told apart, seven are not.
    for (count, loosened) in [(6, false), (7, true)] {
        let schema = json!({"type": "array", "items": {"enum": (0..count).collect::<Vec<_>>()}, "uniqueItems": true});
        let constraint = held(&schema, Dialect::Local, Layout::Flexible).unwrap();
        assert_eq!(constraint.loosened() == ["$.uniqueItems"], loosened, "{count}");
        assert_eq!(takes(&constraint, "[0, 0]"), loosened);
    }
}

/// Texts of every object that holds some of three properties in their order, then as many others as `extra`.
fn objects(extra: usize) -> Vec<Value> {
    let all = [("a", json!(1)), ("b", json!(true)), ("c", json!(null))];
    let mut out = vec![];
    for bits in 0..8_usize {
        for extra in 0..=extra {
            let listed = all.iter().enumerate().filter(|(place, _)| bits & (1 << place) != 0);
            let mut map: Map<String, Value> =
                listed.map(|(_, (name, value))| ((*name).to_owned(), value.clone())).collect();
            map.extend((0..extra).map(|place| (format!("x{place}"), json!("s"))));
            out.push(map.into());
        }
    }
    out
}

/// Oracle: the `jsonschema` crate, for all subsets of three properties with up to two others.
#[test]
fn objects_have_what_they_must_and_as_many_as_they_may() {
    let objects = objects(2);
    for required in [json!([]), json!(["a"]), json!(["b"]), json!(["a", "c"])] {
        for rest in [json!(false), json!({"type": "string"})] {
            for least in [0, 1, 4] {
                for most in [None, Some(0), Some(1), Some(2), Some(4)] {
                    let mut schema = json!({"type": "object", "properties": {
                        "a": {"type": "integer"}, "b": {"type": "boolean"}, "c": {"type": "null"},
                    }, "required": required, "additionalProperties": rest, "minProperties": least});
                    if let Some(most) = most {
                        schema["maxProperties"] = json!(most);
                    }
                    let validator = validator(&schema);
                    let constraint = held(&schema, Dialect::Loose, Layout::Flexible).unwrap();
                    let needed = required.as_array().unwrap().len();
                    let possible = if rest == json!(false) { 3 } else { 9 }.min(most.unwrap_or(9));
                    if needed.max(least) > possible {
                        assert_eq!(constraint.loosened(), ["$"], "{schema}");
                        continue;
                    }
                    assert_eq!(constraint.loosened(), &[] as &[String], "{schema}");
                    for object in &objects {
                        assert_eq!(
                            takes(&constraint, &spaced(object)),
                            validator.is_valid(object),
                            "{schema} {object}"
                        );
                    }
                }
            }
        }
    }
}

/// Rules for optional properties come in blocks of sixteen. Oracle: names that stand in their order fit, others do not.
#[test]
fn many_optional_properties_may_each_be_absent() {
    for count in [1_usize, 15, 16, 17, 32, 33] {
        let name = |place: usize| format!("p{place}");
        let properties: Map<String, Value> = (0..count).map(|place| (name(place), json!({"const": place}))).collect();
        for (required, open) in [(None, false), (None, true), (Some(count / 2), false)] {
            let mut schema = json!({"type": "object", "properties": properties, "additionalProperties": open});
            if let Some(place) = required {
                schema["required"] = json!([name(place)]);
            }
            let constraint = held(&schema, Dialect::Loose, Layout::Flexible).unwrap();
            let text = |places: &[usize]| {
                let pairs: Vec<String> = places.iter().map(|place| format!("\"p{place}\": {place}")).collect();
                format!("{{{}}}", pairs.join(", "))
            };
            let last = count - 1;
            for places in [
                (0..count).collect(),
                vec![],
                vec![0],
                vec![last],
                vec![0, last],
                vec![last, 0],
                vec![count / 2],
                vec![0, count / 2],
                vec![count / 2, last],
                (0..count).filter(|place| place % 2 == 1).collect(),
                (0..count).filter(|place| place % 15 == 0).collect::<Vec<_>>(),
            ] {
                let ascending = places.is_sorted_by(|one, two| one < two);
                let expected = ascending && required.is_none_or(|place| places.contains(&place));
                assert_eq!(takes(&constraint, &text(&places)), expected, "{count} {required:?} {places:?}");
            }
            assert_eq!(takes(&constraint, &text(&[count])), open && required.is_none());
        }
    }
}

/// Oracle: the `jsonschema` crate; a name that two patterns match is not written.
#[test]
fn names_that_are_not_listed_follow_their_patterns() {
    let schema = json!({"type": "object", "properties": {"xa": {"type": "number"}}, "patternProperties": {
        "^x": {"type": "integer"}, "y$": {"type": "boolean"},
    }, "additionalProperties": {"type": "string"}, "propertyNames": {"maxLength": 2}});
    let plain = validator(&schema);
    let constraint = held(&schema, Dialect::Loose, Layout::Flexible).unwrap();
    assert_eq!(constraint.loosened(), &[] as &[String]);
    for name in ["xa", "xb", "x", "y", "ay", "xy", "ab", "abc", "xbc", "", "X", "é\""] {
        for value in [json!(null), json!(1), json!(true), json!("s")] {
            let object = json!({ name: value });
            let expected = plain.is_valid(&object) && name != "xy";
            assert_eq!(takes(&constraint, &spaced(&object)), expected, "{object}");
        }
    }
    let closed = json!({"type": "object", "patternProperties": {"^x": {"type": "integer"}}});
    let constraint = held(&closed, Dialect::Local, Layout::Flexible).unwrap();
    assert!(takes(&constraint, r#"{"x": 1, "xy": 2}"#) && takes(&constraint, "{}"));
    assert!(!takes(&constraint, r#"{"y": 1}"#), "patterns are the only names");
}

#[test]
fn tags_hold_json_of_one_line_without_their_own_end() {
    let tagged = Layout::Tagged { end: "</｜DSML｜parameter>", never: "</｜" };
    let schema = json!({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "integer"}}, "b": {"type": "string"}}});
    let constraint = held(&schema, Dialect::Local, tagged).unwrap();
    let flexible = held(&schema, Dialect::Local, Layout::Flexible).unwrap();
    for (text, expected) in [
        (r#"{"a": [1, 2], "b": "x"}"#, (true, true)),
        (r#"{"a":[1,2],"b":"x"}"#, (false, true)),
        ("{\"a\": [1, 2],\n\"b\": \"x\"}", (false, true)),
        (r#"{ "a": [1, 2], "b": "x"}"#, (false, true)),
        (r#"{"a": [], "b": "</p>"}"#, (true, true)),
        (r#"{"a": [], "b": "x</｜"}"#, (false, true)),
        (r#"{"b": "x", "a": []}"#, (false, false)),
    ] {
        assert_eq!((takes(&constraint, text), takes(&flexible, text)), expected, "{text}");
    }
    for (schema, expected) in [
        (
            json!({"enum": ["</｜"]}),
            "a value contains the end-of-parameter marker (</｜DSML｜parameter>), which this chat format cannot escape",
        ),
        (
            json!({"type": "object", "properties": {"a</｜": {}}}),
            "a property's name holds the end of a parameter, which this chat format cannot write",
        ),
    ] {
        let error = held(&schema, Dialect::Local, tagged).unwrap_err();
        assert_eq!((error.code(), error.message()), (Code::InvalidSchema, expected));
        assert!(held(&schema, Dialect::Local, Layout::Flexible).is_ok());
    }
}

#[test]
fn any_value_is_json_and_nothing_else() {
    let constraint = held(&json!({}), Dialect::Local, Layout::Flexible).unwrap();
    for text in
        ["null", "true", "false", "-0.5e10", "\"\"", "[]", "{}", "[1, [null, {}]]", r#"{"a": {"b": [1]}, "c": 2}"#]
    {
        assert!(takes(&constraint, text), "{text}");
    }
    for text in ["", "nul", "[1 2]", "[1,]", "{\"a\"}", "{\"a\": 1,}", "{1: 2}", "01", "1.", ".5", "\"", "[", "1e400"] {
        assert!(!takes(&constraint, text), "{text}");
    }
    let of_strings = json!({"type": "string", "pattern": "^a.c$"});
    let constraint = held(&of_strings, Dialect::Local, Layout::Flexible).unwrap();
    for (text, expected) in [
        (r#""abc""#, true),
        (r#""a\"c""#, true),
        (r#""a\\c""#, true),
        (r#""a"c""#, false),
        (r#""ac""#, false),
        ("abc", false),
    ] {
        assert_eq!(takes(&constraint, text), expected, "{text}");
    }
}

/// Oracle: the schema itself, opened by hand to each depth.
#[test]
fn references_lead_to_the_same_rule_each_time() {
    let schema = json!({"$defs": {"tree": {"type": "array", "items": {"$ref": "#/$defs/tree"}}}, "type": "object", "properties": {
        "left": {"$ref": "#/$defs/tree"}, "right": {"$ref": "#/$defs/tree"},
    }});
    let constraint = held(&schema, Dialect::Local, Layout::Flexible).unwrap();
    assert!(takes(&constraint, r#"{"left": [[], [[]]], "right": []}"#));
    assert!(!takes(&constraint, r#"{"left": [1], "right": []}"#) && !takes(&constraint, r#"{"left": []}"#));
}

/// Oracle: the states of each number, counted here.
#[test]
fn numbers_together_have_a_limit_of_their_states() {
    let number =
        |place: usize| json!({"type": "integer", "minimum": 0, "maximum": 1_000_000, "multipleOf": 301 + 2 * place});
    let object = |count: usize| {
        let map: Map<String, Value> = (0..count).map(|place| (format!("p{place}"), number(place))).collect();
        json!({"type": "object", "properties": map})
    };
    let mut states = 0;
    let within = (0..9).take_while(|place| {
        let checked = Schema::check("f", &number(*place), Dialect::Local).unwrap();
        let Part::Number(_, Some(Written::Automaton { states: more, .. })) = &checked.root else {
            panic!("{checked:?}")
        };
        states += more.len();
        states <= 3000
    });
    let within = within.count();
    assert!((2..9).contains(&within), "{within}");
    assert!(held(&object(within), Dialect::Local, Layout::Flexible).is_ok());
    let error = held(&object(within + 1), Dialect::Local, Layout::Flexible).unwrap_err();
    let message = "the 'multipleOf' constraints take too much work in total; use fewer";
    assert_eq!((error.code(), error.message()), (Code::GrammarTooComplex, message));
}

/// Oracle: RFC 8259, section 7.
#[test]
fn characters_that_json_escapes_are_escaped() {
    let constraint = held(&json!({"type": "string"}), Dialect::Local, Layout::Flexible).unwrap();
    for character in ['\u{0}', '\n', '\t', '\u{1f}'] {
        assert!(!takes(&constraint, &format!("\"{character}\"")));
        let escaped = serde_json::to_string(&character.to_string()).unwrap();
        assert!(takes(&constraint, &escaped), "{escaped}");
    }
    for text in [" ", "\u{7f}", "é", "😀", "/", "'"] {
        assert!(takes(&constraint, &format!("\"{text}\"")), "{text:?}");
    }
}
