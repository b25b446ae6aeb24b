//! Calls of functions, in the markup of each format.

use serde_json::{Value, json};

use super::{DSML, EXP, of, of_format, takes};
use crate::chat::grammar::not_compiled;
use crate::chat::{AnswerShape, Detected, Dialect, ResponseShape, ToolChoice, ToolSpec};
use crate::error::Code;
use crate::platform::Undone;

fn tools(choice: ToolChoice, strict: bool, tools: &Value) -> AnswerShape {
    let tools = tools.as_object().unwrap().iter();
    let tools = tools.map(|(name, parameters)| ToolSpec { name: name.clone(), parameters: parameters.clone(), strict });
    AnswerShape { tools: tools.collect(), choice, parallel: true, ..AnswerShape::default() }
}

/// A call in DSML; parameters by name, by whether they are texts, and as they are written.
fn dsml(parameters: &[(&str, bool, &str)]) -> String {
    let parameters: Vec<String> = parameters
        .iter()
        .map(|(name, is_text, value)| {
            format!("<｜DSML｜parameter name=\"{name}\" string=\"{is_text}\">{value}</｜DSML｜parameter>")
        })
        .collect();
    let lines = parameters.join("\n");
    format!(
        "\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"f\">\n{lines}\n</｜DSML｜invoke>\n</｜DSML｜function_calls>"
    )
}

fn exp(arguments: &str) -> String {
    format!(
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{arguments}<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
    )
}

#[test]
fn parameters_are_texts_or_json_as_their_schema_says() {
    let schema = json!({"f": {"type": "object", "properties": {
        "text": {"type": "string"},
        "short": {"type": "string", "maxLength": 2},
        "kind": {"enum": ["a", "b c", 3, null]},
        "either": {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^x"}]},
        "list": {"type": "array", "items": {"type": "string"}},
    }, "required": ["text"]}});
    let constraint = of(&DSML, &tools(ToolChoice::Required, true, &schema)).unwrap();
    let whole = [
        ("text", true, "a \"b\"\n<c>"),
        ("short", true, "xy"),
        ("kind", true, "b c"),
        ("either", false, "12"),
        ("list", false, "[\"a\", \"b\"]"),
    ];
    let with = |place: usize, parameter: (&'static str, bool, &'static str)| {
        let mut all = whole;
        all[place] = parameter;
        takes(&constraint, &dsml(&all))
    };
    assert!(takes(&constraint, &dsml(&whole)));
    for (place, parameter, expected) in [
        (0, ("text", true, ""), true),
        (0, ("text", true, "</｜DSML｜para"), true),
        (0, ("text", false, "\"a\""), false),
        (0, ("other", true, "a"), false),
        (1, ("short", true, "xyz"), false),
        (2, ("kind", true, "a"), true),
        (2, ("kind", true, "c"), false),
        (2, ("kind", true, "3"), false),
        (2, ("kind", false, "3"), true),
        (2, ("kind", false, "null"), true),
        (2, ("kind", false, "\"a\""), false),
        (3, ("either", true, "x1"), true),
        (3, ("either", true, "12"), false),
        (3, ("either", false, "\"x\""), false),
        (4, ("list", false, "[]"), true),
        (4, ("list", false, "[1]"), false),
        (4, ("list", false, "[\"a\",\"b\"]"), false),
        (4, ("list", true, "[]"), false),
    ] {
        assert_eq!(with(place, parameter), expected, "{parameter:?}");
    }
    assert!(!takes(&constraint, &dsml(&whole[..4])), "each parameter is there");
    assert!(!takes(&constraint, &dsml(&[whole[1], whole[0], whole[2], whole[3], whole[4]])), "in their order");
}

/// Oracle: the subsets of three parameters that hold what is required.
#[test]
fn parameters_that_are_not_required_may_be_absent() {
    let all = [("a", false, "1"), ("b", true, "x"), ("c", false, "true")];
    for required in [json!([]), json!(["a"]), json!(["b"]), json!(["c"]), json!(["a", "c"])] {
        let schema = json!({"f": {"type": "object", "properties": {
            "a": {"type": "integer"}, "b": {"type": "string"}, "c": {"type": "boolean"},
        }, "required": required}});
        let constraint = of(&DSML, &tools(ToolChoice::Required, false, &schema)).unwrap();
        assert_eq!(constraint.loosened(), &[] as &[String]);
        for bits in 0..8_usize {
            let some: Vec<_> = (0..3).filter(|place| bits & (1 << place) != 0).map(|place| all[place]).collect();
            let names: Vec<&str> = some.iter().map(|(name, ..)| *name).collect();
            let expected = required.as_array().unwrap().iter().all(|name| names.contains(&name.as_str().unwrap()));
            assert_eq!(takes(&constraint, &dsml(&some)), expected, "{required} {names:?}");
        }
    }
}

#[test]
fn parameters_of_any_name_have_any_value() {
    let constraint = of(&DSML, &tools(ToolChoice::Required, false, &json!({"f": {}, "g": {}}))).unwrap();
    for (parameters, expected) in [
        (vec![], true),
        (vec![("a.b-c_9", true, "x")], true),
        (vec![("a", false, "{\"b\": [\"c\", null]}"), ("b", true, "\"")], true),
        (vec![("a", false, "1.5e3"), ("a", false, "[]"), ("b", false, "null")], true),
        (vec![("a", false, "\"x\"")], false),
        (vec![("a", false, "x")], false),
        (vec![("", true, "x")], false),
        (vec![("a b", true, "x")], false),
    ] {
        assert_eq!(takes(&constraint, &dsml(&parameters)), expected, "{parameters:?}");
    }
    let name = |length: usize| dsml(&[(&*"n".repeat(length), true, "x")]);
    assert!(takes(&constraint, &name(64)) && !takes(&constraint, &name(65)));
}

#[test]
fn arguments_that_a_format_cannot_write_are_refused() {
    let object = |properties: Value| json!({"f": {"type": "object", "properties": properties}});
    let marker = "</｜DSML｜parameter>";
    let never =
        "a value contains the end-of-parameter marker (</｜DSML｜parameter>), which this chat format cannot escape";
    for (schema, expected) in [
        (object(json!({"a\"b": {}})), "a parameter's name cannot be written in this chat format: \"a\\\"b\"".to_owned()),
        (object(json!({"a<b": {}})), "a parameter's name cannot be written in this chat format: \"a<b\"".to_owned()),
        (object(json!({"a>b": {}})), "a parameter's name cannot be written in this chat format: \"a>b\"".to_owned()),
        (object(json!({"a\nb": {}})), "a parameter's name cannot be written in this chat format: \"a\\nb\"".to_owned()),
        (object(json!({"a": {"enum": [format!("x{marker}y")]}})), "an enum holds the end of a parameter in this chat format".to_owned()),
        (object(json!({"a": {"type": "array", "items": {"enum": [marker]}}})), never.to_owned()),
        (object(json!({"a": {"enum": [1, ["</｜"]]}})), never.to_owned()),
        (
            json!({"f": {"type": "object", "properties": {}, "additionalProperties": {"type": "null"}}}),
            "Invalid schema for function 'f': $: in this chat format 'additionalProperties' of the arguments must be false".to_owned(),
        ),
        (json!({"f": {"type": "array"}}), "Invalid schema for function 'f': $: expected type object".to_owned()),
        (json!({"f": {"type": "x"}}), "Invalid schema for function 'f': $: unknown type \\\"x\\\"".to_owned()),
    ] {
        let error = of(&DSML, &tools(ToolChoice::Required, true, &schema)).unwrap_err();
        assert_eq!((error.code(), error.message()), (Code::InvalidSchema, &*expected), "{schema}");
        let loose = of(&DSML, &tools(ToolChoice::Required, false, &schema)).unwrap();
        assert!(!loose.loosened().is_empty(), "{schema}");
    }
    let recursive = json!({"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, {"type": "null"}]}}, "type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}});
    let error = of(&DSML, &tools(ToolChoice::Required, true, &json!({ "f": recursive }))).unwrap_err();
    let message = "Invalid schema for function 'f': $: alternatives of a parameter recurse without end";
    assert_eq!((error.code(), error.message()), (Code::GrammarTooComplex, message));
}

/// What is let go of a schema whose function is not strict, by name.
#[test]
fn what_is_let_go_is_named_with_its_function() {
    let properties = json!({"a": {"type": "integer"}});
    for (schema, in_exp, in_dsml) in [
        (json!({"type": "object", "properties": properties}), vec![], vec![]),
        (json!({}), vec![], vec![]),
        (json!({"type": "object"}), vec![], vec![]),
        (
            json!({"type": "object", "properties": properties, "additionalProperties": true}),
            vec![],
            vec!["f:$.additionalProperties"],
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "integer"}}),
            vec![],
            vec!["f:$.additionalProperties"],
        ),
        (
            json!({"type": "object", "properties": {"a": {}, "b": {}}, "minProperties": 1}),
            vec![],
            vec!["f:$.minProperties"],
        ),
        (
            json!({"type": "object", "properties": {"a": {}, "b": {}}, "maxProperties": 1}),
            vec![],
            vec!["f:$.minProperties"],
        ),
        (json!({"type": "integer"}), vec!["f:$"], vec!["f:$"]),
        (json!({"type": "x"}), vec!["f:$"], vec!["f:$"]),
        (
            json!({"type": "object", "properties": {"a": {"type": "integer", "x": 1}}}),
            vec!["f:$.properties.a.x"],
            vec!["f:$.properties.a.x"],
        ),
    ] {
        for (grammars, expected) in [(&*EXP, in_exp), (&*DSML, in_dsml)] {
            let constraint = of(grammars, &tools(ToolChoice::Required, false, &json!({ "f": schema }))).unwrap();
            assert_eq!(constraint.loosened(), expected, "{schema}");
        }
    }
    // Beside strict functions others are as free as they are alone.
    let mut shape = tools(ToolChoice::Auto, false, &json!({"f": {"type": "object", "properties": properties}}));
    shape.tools.push(ToolSpec { name: "g".to_owned(), parameters: json!({}), strict: true });
    let free = of(&EXP, &shape).unwrap();
    assert_eq!(free.loosened(), ["f:$"]);
    assert!(takes(&free, &exp("{\"b\": 1}")));
    for held in [
        AnswerShape { choice: ToolChoice::Required, ..shape.clone() },
        AnswerShape { parallel: false, ..shape.clone() },
        AnswerShape { choice: ToolChoice::Named("f".to_owned()), ..shape },
    ] {
        let held = of(&EXP, &held).unwrap();
        assert!(!takes(&held, &exp("{\"b\": 1}")) && takes(&held, &exp("{\"a\": 1}")), "{held:?}");
        assert_eq!(held.loosened(), &[] as &[String]);
    }
}

/// As `{"type": "object"}` does.
#[test]
fn a_strict_function_that_says_nothing_takes_any_object() {
    let shape = tools(ToolChoice::Required, true, &json!({"f": {}}));
    let constraint = of(&EXP, &shape).unwrap();
    for (arguments, expected) in [("{}", true), (r#"{"a": [1]}"#, true), ("[]", false), ("1", false)] {
        assert_eq!(takes(&constraint, &exp(arguments)), expected, "{arguments}");
    }
    let constraint = of(&DSML, &shape).unwrap();
    assert!(takes(&constraint, &dsml(&[])) && takes(&constraint, &dsml(&[("a", false, "[1]")])));
}

/// Who is named where a schema is over a limit.
#[test]
fn limits_name_what_the_form_is_made_from() {
    let many: Value = (0..20)
        .map(|place| {
            (
                format!("p{place}"),
                json!({"type": "integer", "minimum": 0, "maximum": 1_000_000, "multipleOf": 151 + 2 * place}),
            )
        })
        .collect::<serde_json::Map<_, _>>()
        .into();
    let heavy = json!({"type": "object", "properties": many});
    let response = AnswerShape { response: ResponseShape::JsonSchema(heavy.clone()), ..AnswerShape::default() };
    for (shape, owner) in [
        (response.clone(), "response_format"),
        (AnswerShape { tools: tools(ToolChoice::None, true, &json!({"f": {}})).tools, ..response }, "response_format"),
        (tools(ToolChoice::Required, true, &json!({ "f": heavy })), "function 'f'"),
        (tools(ToolChoice::Required, true, &json!({ "f": heavy, "g": {} })), "the functions together"),
    ] {
        let error = of(&EXP, &shape).unwrap_err();
        let what = "the 'multipleOf' constraints take too much work in total; use fewer";
        assert_eq!(error.message(), format!("Invalid schema for {owner}: $: {what}"));
        assert_eq!((error.code(), error.details()["path"].as_str()), (Code::GrammarTooComplex, Some("$")));
    }
}

#[test]
fn a_template_of_its_own_calls_as_it_likes_but_never_by_force() {
    let own = of_format(Detected::Template(None));
    let free = of(
        &own,
        &tools(ToolChoice::Auto, true, &json!({"f": {"type": "object", "properties": {"a": {"type": "integer"}}}})),
    )
    .unwrap();
    assert!(takes(&free, "anything <｜tool▁calls▁begin｜>"));
    for choice in [ToolChoice::Required, ToolChoice::Named("f".to_owned())] {
        let error = of(&own, &tools(choice, true, &json!({"f": {}}))).unwrap_err();
        assert_eq!((error.code(), error.details()["param"].as_str()), (Code::BadRequest, Some("tool_choice")));
        assert_eq!(error.message(), "lyn does not know the tool-call syntax of this checkpoint's chat template");
    }
    let raw = of_format(Detected::Raw("none is known"));
    let error = of(&raw, &tools(ToolChoice::None, true, &json!({"f": {}}))).unwrap_err();
    assert_eq!(error.message(), "tools need a chat format: none is known");
    let free = raw.constraint(&AnswerShape::default(), false, Dialect::Local).unwrap();
    assert!(free.is_none());
}

#[test]
fn only_a_full_house_asks_to_come_again() {
    let told = |undone| {
        let error = not_compiled(undone);
        assert_eq!(error.code(), Code::GrammarTooComplex);
        (error.message().to_owned(), error.details().get("status").cloned())
    };
    assert_eq!(told(Undone::Late), ("the schema or grammar took too long to compile".to_owned(), None));
    assert_eq!(told(Undone::Broken), ("the schema or grammar could not be compiled".to_owned(), None));
    let full = "too many schemas are compiled at once; try again later";
    assert_eq!(told(Undone::Full), (full.to_owned(), Some(json!(503))));
}
