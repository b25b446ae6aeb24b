//! Answers held to a form: whatever is sampled under the masks fits. Oracles: the `jsonschema` crate, the markup of the chat
//! formats as it is read back here, and a tokenizer's ids of texts that fit or do not.

mod hostile;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use lyn::chat::{AnswerShape, ChatFormat, Detected, Dialect, Grammars, ResponseShape, ToolChoice, ToolSpec};
use lyn::generate::Constraint;
use lyn::text::Tokenizer;
use lyn::{Code, Result};
use serde_json::{Map, Value, json};

const EOS: u32 = 1;

static TOKENIZER: LazyLock<Arc<Tokenizer>> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/stories/tokenizer.json");
    let bytes = std::fs::read(path).expect("stories are there");
    Arc::new(Tokenizer::from_json("tokenizer.json", &bytes, 2048).expect("stories' tokenizer is whole"))
});

static EXP: LazyLock<Grammars> = LazyLock::new(|| grammars(ChatFormat::Exp));
static DSML: LazyLock<Grammars> = LazyLock::new(|| grammars(ChatFormat::Dsml));

fn grammars(format: ChatFormat) -> Grammars {
    let sampleable = TOKENIZER.sampleable().into();
    Grammars::new(Arc::clone(&TOKENIZER), Detected::Format(format), sampleable, &[EOS])
}

fn of(grammars: &Grammars, shape: &AnswerShape, thinking: bool) -> Result<Constraint> {
    grammars.constraint(shape, thinking, Dialect::Local).map(|made| made.expect("the shape is not free"))
}

/// A generator of its own, so that a failing seed can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

/// Ids drawn evenly from the masks, until the end or the limit; the text with its control tokens, and whether it ended.
/// The longer it takes, the more often what may close something is drawn, and a closing tag that has begun goes on: an
/// even draw would write strings for ever.
fn draw(constraint: &mut Constraint, random: &mut Random, limit: usize) -> (String, bool) {
    const TAG: &[u8] = "</｜DSML｜parameter>".as_bytes();
    let mut ids = vec![];
    let mut text: Vec<u8> = vec![];
    let likely = |id: u32| id == EOS || matches!(TOKENIZER.piece_bytes(id), b"\"" | b"}" | b"]" | b"\"}" | b"<");
    let possible = |id: u32| matches!(TOKENIZER.piece_bytes(id), [byte] if byte.is_ascii_punctuation());
    while ids.len() < limit {
        let mask = constraint.allowed().expect("within the limits").map(<[bool]>::to_vec);
        let mask = mask.unwrap_or_else(|| vec![true; 2048]);
        let allowed: Vec<u32> = (0..).zip(&mask).filter(|(_, may)| **may).map(|(id, _)| id).collect();
        assert!(!allowed.is_empty(), "after {:?}", TOKENIZER.decode(&ids));
        let begun = (1..TAG.len()).rev().find(|&length| text.ends_with(&TAG[..length]));
        let only =
            |keep: &dyn Fn(u32) -> bool| -> Vec<u32> { allowed.iter().copied().filter(|&id| keep(id)).collect() };
        let goes_on = |id: u32| {
            let bytes = TOKENIZER.piece_bytes(id);
            begun.is_some_and(|length| !bytes.is_empty() && TAG[length..].starts_with(bytes))
        };
        let closing = random.below(200) < 10 + ids.len();
        let mut choices = [only(&goes_on), only(&likely), only(&possible)].into_iter();
        let from = choices.find(|some| closing && !some.is_empty() && random.below(4) > 0).unwrap_or(allowed);
        let id = from[random.below(from.len())];
        if id == EOS {
            return (TOKENIZER.decode(&ids), true);
        }
        constraint.advance(id).expect("an allowed id");
        ids.push(id);
        text.extend_from_slice(TOKENIZER.piece_bytes(id));
    }
    (TOKENIZER.decode(&ids), false)
}

/// Many answers; those that ended. At least half have to.
fn answers(grammars: &Grammars, shape: &AnswerShape, count: u64) -> Vec<String> {
    let constraint = of(grammars, shape, false).expect("it compiles");
    let drawn = (0..count).map(|seed| draw(&mut constraint.clone(), &mut Random(seed * 7919 + 1), 3000));
    let ended: Vec<String> = drawn.filter_map(|(text, ended)| ended.then_some(text)).collect();
    assert!(ended.len() as u64 * 2 >= count, "{} of {count} ended: {shape:?}", ended.len());
    ended
}

/// Whether a text, in the tokenizer's ids, is one that may be written, to its end.
fn takes(constraint: &Constraint, text: &str) -> bool {
    let mut constraint = constraint.clone();
    let ids = TOKENIZER.encode(text, true).expect("stories have every byte");
    ids.into_iter().chain([EOS]).all(|id| {
        let may = constraint.allowed().expect("within the limits").is_none_or(|mask| mask[id as usize]);
        may && constraint.advance(id).is_ok()
    })
}

fn validator(schema: &Value) -> jsonschema::Validator {
    jsonschema::options().should_validate_formats(true).build(schema).expect("a schema")
}

#[track_caller]
fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text:?}"))
}

fn response(schema: Value) -> AnswerShape {
    AnswerShape { response: ResponseShape::JsonSchema(schema), ..AnswerShape::default() }
}

fn tools(choice: ToolChoice, strict: bool, tools: Value) -> AnswerShape {
    let tools = tools.as_object().unwrap().iter();
    let tools = tools.map(|(name, parameters)| ToolSpec { name: name.clone(), parameters: parameters.clone(), strict });
    AnswerShape { tools: tools.collect(), choice, parallel: true, ..AnswerShape::default() }
}

/// One schema for each thing that has to hold.
fn schemas() -> Vec<Value> {
    vec![
        json!({"$defs": {"node": {"type": "object", "properties": {
            "value": {"type": "integer", "minimum": 1, "maximum": 5},
            "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
        }}}, "$ref": "#/$defs/node"}),
        json!({"$def": {"leaf": {"type": "boolean"}}, "type": "array", "items": {"$ref": "#/$def/leaf"}}),
        json!({"type": "object", "properties": {
            "code": {"type": "string", "pattern": r"^\d{6}$"},
            "word": {"type": "string", "pattern": "^b.d"},
            "kind": {"enum": ["one", "two", 3, null, true, "two words"]},
        }}),
        json!({"type": "object", "properties": {
            "email": {"type": "string", "format": "email"}, "host": {"type": "string", "format": "hostname"},
            "four": {"type": "string", "format": "ipv4"}, "six": {"type": "string", "format": "ipv6"},
            "uuid": {"type": "string", "format": "uuid"},
        }}),
        json!({"type": "object", "properties": {
            "date": {"type": "string", "format": "date"}, "time": {"type": "string", "format": "time"},
            "both": {"type": "string", "format": "date-time"}, "duration": {"type": "string", "format": "duration"},
            "uri": {"type": "string", "format": "uri"},
        }}),
        json!({"type": "object", "properties": {
            "ratio": {"type": "number", "minimum": 0, "exclusiveMaximum": 1},
            "below": {"type": "number", "exclusiveMinimum": -2.5, "maximum": -0.5},
            "dozens": {"type": "integer", "multipleOf": 12, "minimum": 0},
            "any": {"type": "number"},
            "constant": {"const": -7},
        }}),
        json!({"anyOf": [{"type": "object", "properties": {"a": {"type": "string"}}}, {"type": "integer"}, {"enum": ["x"]}]}),
        json!({"type": ["string", "null"], "minLength": 2, "maxLength": 4}),
        json!({"type": "array", "items": {"type": "object", "properties": {"n": {"type": "null"}}}, "minItems": 1, "maxItems": 3}),
        json!({"type": "object", "additionalProperties": {"type": "boolean"}}),
    ]
}

#[test]
fn json_mode_writes_objects() {
    let shape = AnswerShape { response: ResponseShape::JsonObject, ..AnswerShape::default() };
    for text in answers(&EXP, &shape, 40) {
        assert!(parse(&text).is_object() && text.ends_with('}'), "{text}");
    }
    let constraint = of(&EXP, &shape, false).unwrap();
    assert!(takes(&constraint, r#"{"a": [1, 2.5e3, "ø\n", {}], "b": null}"#));
    assert!(takes(&constraint, "{\n \"a\":  1}"), "two spaces");
    for text in [
        "[]",
        "1",
        " {}",
        "{\"a\":   1}",
        "{\n\n\n\"a\": 1}",
        "{} ",
        "{}x",
        "{\"a\": 01}",
        "{\"a\": 1,}",
        "{'a': 1}",
        "",
    ] {
        assert!(!takes(&constraint, text), "{text:?}");
    }
}

#[test]
fn answers_fit_their_schema() {
    for schema in schemas() {
        let validator = validator(&schema);
        for text in answers(&EXP, &response(schema.clone()), 24) {
            let value = parse(&text);
            assert!(validator.is_valid(&value), "{schema}: {text}");
        }
    }
}

#[test]
fn what_fits_a_schema_can_be_written() {
    let schema = json!({"type": "object", "properties": {
        "code": {"type": "string", "pattern": r"^\d{6}$"}, "count": {"type": "integer", "minimum": 1, "maximum": 5},
        "email": {"type": "string", "format": "email"}, "kind": {"enum": ["a", "b"]},
    }});
    let constraint = of(&EXP, &response(schema), false).unwrap();
    let text = |code: &str, count: &str, email: &str, kind: &str| {
        format!(r#"{{"code": "{code}", "count": {count}, "email": "{email}", "kind": "{kind}"}}"#)
    };
    assert!(takes(&constraint, &text("012345", "5", "ann.lee@example.com", "b")));
    for wrong in [
        text("12345", "5", "a@b.no", "b"),
        text("1234567", "5", "a@b.no", "b"),
        text("١٢٣٤٥٦", "5", "a@b.no", "b"),
        text("012345", "0", "a@b.no", "b"),
        text("012345", "6", "a@b.no", "b"),
        text("012345", "2.5", "a@b.no", "b"),
        text("012345", "2", "a@", "b"),
        text("012345", "2", "a@b.no", "c"),
        r#"{"code": "012345"}"#.to_owned(),
    ] {
        assert!(!takes(&constraint, &wrong), "{wrong}");
    }
}

/// Names and arguments of the calls in exp's markup.
fn exp_calls(text: &str) -> Vec<(String, Value)> {
    let calls = text.strip_prefix("<｜tool▁calls▁begin｜>").and_then(|text| text.strip_suffix("<｜tool▁calls▁end｜>"));
    let calls = calls.unwrap_or_else(|| panic!("{text}"));
    let calls = calls.split_terminator("<｜tool▁call▁end｜>").map(|call| {
        let (name, arguments) =
            call.strip_prefix("<｜tool▁call▁begin｜>").unwrap().split_once("<｜tool▁sep｜>").unwrap();
        (name.to_owned(), parse(arguments))
    });
    calls.collect()
}

/// The same in DSML's: the first closing tag ends a parameter.
fn dsml_calls(text: &str) -> Vec<(String, Value)> {
    let mut rest = text.strip_prefix("\n\n<｜DSML｜function_calls>\n").unwrap_or_else(|| panic!("{text:?}"));
    let mut calls = vec![];
    while rest != "</｜DSML｜function_calls>" {
        let (name, mut body) = rest.strip_prefix("<｜DSML｜invoke name=\"").unwrap().split_once("\">\n").unwrap();
        let mut arguments = Map::new();
        while let Some(parameter) = body.strip_prefix("<｜DSML｜parameter name=\"") {
            let (key, parameter) = parameter.split_once("\" string=\"").unwrap();
            let (is_string, parameter) = parameter.split_once("\">").unwrap();
            let (value, after) = parameter.split_once("</｜DSML｜parameter>").unwrap();
            let value = if is_string == "true" { Value::from(value) } else { parse(value) };
            assert!(is_string == "true" || !value.is_string(), "a string in quotes: {text}");
            arguments.insert(key.to_owned(), value);
            body = after.strip_prefix('\n').unwrap();
            if !body.starts_with('<') || body.starts_with("</") {
                break;
            }
        }
        let body = body.strip_prefix('\n').unwrap_or(body);
        rest = body.strip_prefix("</｜DSML｜invoke>\n").unwrap_or_else(|| panic!("{text:?}"));
        calls.push((name.to_owned(), Value::Object(arguments)));
    }
    calls
}

fn offered() -> Value {
    let objects = schemas()
        .into_iter()
        .enumerate()
        .filter(|(_, schema)| schema.get("properties").is_some() || schema.get("$ref").is_some());
    let mut tools: Map<String, Value> = objects.map(|(place, schema)| (format!("tool_{place}"), schema)).collect();
    tools.insert("none".to_owned(), json!({"type": "object", "properties": {}}));
    tools.insert(
        "note".to_owned(),
        json!({"type": "object", "properties": {
            "text": {"type": "string"}, "short": {"type": "string", "maxLength": 5},
            "either": {"anyOf": [{"type": "string", "pattern": "^[a-z]+$"}, {"type": "integer"}, {"type": "null"}]},
            "deep": {"type": "object", "properties": {"tags": {"type": "array", "items": {"type": "string"}}}},
        }}),
    );
    Value::Object(tools)
}

#[test]
fn strict_calls_fit_their_functions() {
    let offered = offered();
    let validators: HashMap<&String, _> =
        offered.as_object().unwrap().iter().map(|(name, schema)| (name, validator(schema))).collect();
    let shape = tools(ToolChoice::Required, true, offered.clone());
    for (grammars, read) in [(&*EXP, exp_calls as fn(&str) -> _), (&*DSML, dsml_calls)] {
        let mut seen: HashSet<String> = HashSet::new();
        for name in offered.as_object().unwrap().keys() {
            let named = AnswerShape { choice: ToolChoice::Named(name.clone()), ..shape.clone() };
            for text in answers(grammars, &named, 6) {
                for (called, arguments) in read(&text) {
                    assert_eq!(called, *name);
                    assert!(validators[&called].is_valid(&arguments), "{called}: {arguments}");
                    seen.insert(called);
                }
            }
        }
        for text in answers(grammars, &shape, 30) {
            for (called, arguments) in read(&text) {
                assert!(validators[&called].is_valid(&arguments), "{called}: {arguments}");
            }
        }
        assert_eq!(seen.len(), validators.len());
    }
}

#[test]
fn arguments_of_strict_functions_are_closed_objects() {
    let refused = |grammars: &Grammars, schema: Value| {
        of(grammars, &tools(ToolChoice::Auto, true, json!({ "f": schema })), false).unwrap_err().code()
    };
    let open = json!({"type": "object", "additionalProperties": {"type": "boolean"}});
    assert_eq!(refused(&DSML, open.clone()), Code::InvalidSchema, "its parameters are named in the grammar");
    assert!(of(&EXP, &tools(ToolChoice::Auto, true, json!({ "f": open })), false).is_ok());
    for grammars in [&*EXP, &*DSML] {
        assert_eq!(refused(grammars, json!({"type": "string"})), Code::InvalidSchema);
    }
}

#[test]
fn one_call_where_calls_are_not_parallel() {
    let shape = AnswerShape { parallel: false, ..tools(ToolChoice::Required, false, json!({"f": {}, "g": {}})) };
    for text in answers(&EXP, &shape, 20) {
        assert_eq!(exp_calls(&text).len(), 1);
    }
    for text in answers(&DSML, &shape, 20) {
        assert_eq!(dsml_calls(&text).len(), 1);
    }
    let twice = "<｜tool▁call▁begin｜>f<｜tool▁sep｜>{}<｜tool▁call▁end｜>".repeat(2);
    let text = format!("<｜tool▁calls▁begin｜>{twice}<｜tool▁calls▁end｜>");
    assert!(!takes(&of(&EXP, &shape, false).unwrap(), &text));
    assert!(takes(&of(&EXP, &AnswerShape { parallel: true, ..shape }, false).unwrap(), &text));
}

#[test]
fn schemas_of_loose_functions_help_but_never_refuse() {
    let offered = json!({
        "f": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}, "required": ["a"]},
        "g": {"type": "object", "oneOf": []},
    });
    let shape = tools(ToolChoice::Required, false, offered);
    let constraint = of(&EXP, &shape, false).unwrap();
    let call = |name: &str, arguments: &str| {
        format!(
            "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>{name}<｜tool▁sep｜>{arguments}<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
        )
    };
    assert!(takes(&constraint, &call("f", r#"{"a": 1}"#)) && takes(&constraint, &call("g", r#"{"x": []}"#)));
    assert!(!takes(&constraint, &call("f", r#"{"b": "x"}"#)) && !takes(&constraint, &call("h", "{}")));
    for text in answers(&DSML, &shape, 20) {
        for (name, arguments) in dsml_calls(&text) {
            assert!(name == "g" || arguments["a"].is_number(), "{arguments}");
        }
    }
}

#[test]
fn texts_are_free_until_a_marker() {
    let offered = json!({"f": {"type": "object", "properties": {"x": {"type": "integer"}}}});
    let shape = tools(ToolChoice::Auto, true, offered);
    let exp =
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{\"x\": 1}<｜tool▁call▁end｜><｜tool▁calls▁end｜>";
    let dsml = "\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"f\">\n<｜DSML｜parameter name=\"x\" string=\"false\">1</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>";
    for (grammars, calls) in [(&*EXP, exp), (&*DSML, dsml)] {
        let constraint = of(grammars, &shape, false).unwrap();
        let mut free = constraint.clone();
        assert!(free.allowed().unwrap().is_none(), "a free text costs no mask");
        assert!(takes(&constraint, "Hello <｜DSML｜functions> </think> {") && takes(&constraint, ""));
        assert!(takes(&constraint, &format!("I call.{calls}")));
        assert!(!takes(&constraint, &format!("I call.{}", calls.replace('1', "\"1\""))));
        assert!(!takes(&constraint, &format!("I call.{calls} and more")));
        let thinking = of(grammars, &shape, true).unwrap();
        assert!(takes(&thinking, &format!("Calls look like {calls} so.</think>Now.{calls}")));
        assert!(takes(&thinking, "Never closed."), "no call is forced");
    }
}

#[test]
fn tokens_that_reach_over_a_marker_are_judged() {
    // Every way to write the opener in two tokens or more ends in the grammar: draws from there are whole calls.
    let offered = json!({"f": {"type": "object", "properties": {"x": {"type": "integer"}}}});
    let constraint = of(&DSML, &tools(ToolChoice::Auto, true, offered), false).unwrap();
    let opener = "\n\n<｜DSML｜function_calls";
    let mut near = constraint.clone();
    for id in TOKENIZER.encode(opener, false).unwrap() {
        near.advance(id).unwrap();
    }
    let mask = near.allowed().unwrap().expect("some ids are out").to_vec();
    let mut over = 0;
    for id in 0..2048_u32 {
        let bytes = TOKENIZER.piece_bytes(id);
        let Some(rest) = bytes.strip_prefix(b">") else {
            assert!(mask[id as usize], "{:?} does not complete the opener", TOKENIZER.decode(&[id]));
            continue;
        };
        assert_eq!(mask[id as usize], b"\n<".starts_with(rest) || rest.starts_with(b"\n<"), "{rest:?}");
        if mask[id as usize] {
            over += 1;
            let mut next = near.clone();
            next.advance(id).unwrap();
            let (text, ended) = draw(&mut next, &mut Random(id.into()), 3000);
            let whole = format!("{opener}>{}{text}", std::str::from_utf8(rest).unwrap());
            assert!(ended && !dsml_calls(&whole).is_empty(), "{whole}");
        }
    }
    assert!(over >= 1);
}

#[test]
fn json_comes_after_the_thought() {
    let shape = AnswerShape { response: ResponseShape::JsonObject, ..AnswerShape::default() };
    let constraint = of(&EXP, &shape, true).unwrap();
    assert!(takes(&constraint, "Let me see: {\"a\". </think>{\"a\": 1}"));
    assert!(!takes(&constraint, "No end of the thought"), "it may not end before its answer");
    assert!(!takes(&constraint, "hm</think>no"));
    // The marker in ordinary characters counts too: whoever reads the text sees no difference.
    let mut spelled = constraint.clone();
    for id in TOKENIZER.encode("hm</think>", false).unwrap() {
        assert!(spelled.allowed().unwrap().is_none_or(|mask| mask[id as usize]));
        spelled.advance(id).unwrap();
    }
    assert!(spelled.is_active());
}

#[test]
fn json_or_calls_where_both_may_come() {
    let offered = json!({"f": {"type": "object", "properties": {"x": {"type": "integer"}}}});
    let shape = AnswerShape { response: ResponseShape::JsonObject, ..tools(ToolChoice::Auto, false, offered) };
    for (grammars, opener) in [(&*EXP, "<｜tool▁calls▁begin｜>"), (&*DSML, "\n\n<｜DSML｜function_calls>")] {
        let mut calls = 0;
        for text in answers(grammars, &shape, 30) {
            if text.starts_with(opener) { calls += 1 } else { assert!(parse(&text).is_object()) }
        }
        assert!(calls > 0 && calls < 30, "{calls}");
    }
}

#[test]
fn no_call_where_none_may_come() {
    let shape = tools(ToolChoice::None, false, json!({"f": {}}));
    for (grammars, opener) in [(&*EXP, "<｜tool▁calls▁begin｜>"), (&*DSML, "<｜DSML｜function_calls>")] {
        let constraint = of(grammars, &shape, false).unwrap();
        assert!(takes(&constraint, "Hello") && !takes(&constraint, &format!("Hello{opener}")));
        let thinking = of(grammars, &shape, true).unwrap();
        assert!(takes(&thinking, &format!("{opener}</think>Hello")) && !takes(&thinking, &format!("</think>{opener}")));
    }
}

#[test]
fn hostile_schemas_are_refused_soon_or_bounded() {
    let string = |pattern: String| json!({"type": "string", "pattern": pattern});
    let wide: Vec<String> = (0..100_000).map(|n| format!("value {n}")).collect();
    let medium: Vec<String> = (0..40_000).map(|n| format!("v{n}")).collect();
    let groups = format!("{}a{}", "(".repeat(500), ")".repeat(500));
    let deep = (0..60_000).fold(String::new(), |text, _| text + "(");
    let twins: Value = (0..900).map(|n| (format!("p{n}"), json!({"type": "string"}))).collect::<Map<_, _>>().into();
    for schema in [
        string(deep),
        string(groups),
        string("a{1,1000000000}".to_owned()),
        string("(a{1,1000}){1,1000}".to_owned()),
        string("(((a{1,100}){1,100}){1,100}){1,100}".to_owned()),
        string("(x+x+)+y".to_owned()),
        string("^+[a-z]$".to_owned()),
        string("(a+)+$".to_owned()),
        string("(.*a){20}".to_owned()),
        string("^(.*)(.*)(.*)(.*)(.*)[a-z]{900}$".to_owned()),
        string("(?=a)".to_owned()),
        json!({"enum": wide}),
        json!({"enum": medium}),
        json!({"$ref": "#"}),
        json!({"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}),
        json!({"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, {"type": "null"}]}}, "$ref": "#/$defs/a"}),
        json!({"type": "object", "properties": {"a": {"$ref": "#"}}}),
        json!({"type": "string", "minLength": 4_000_000_000_u32}),
        json!({"type": "array", "items": {"type": "string"}, "minItems": 4_000_000_000_u32}),
        json!({"type": "array", "minItems": 5, "maxItems": 3}),
        json!({"type": "integer", "minimum": 1e300, "multipleOf": 1e-300}),
        json!({"type": "integer", "minimum": 5, "maximum": 1}),
        json!({"type": "number", "multipleOf": 0.000_000_1}),
        json!({"type": "object", "properties": twins}),
    ] {
        let shown: String = schema.to_string().chars().take(80).collect();
        for grammars in [&*EXP, &*DSML] {
            let shape = tools(
                ToolChoice::Required,
                true,
                json!({"f": {"type": "object", "properties": {"x": schema.clone()}}}),
            );
            match of(grammars, &shape, false) {
                Err(error) => {
                    assert!(matches!(error.code(), Code::InvalidSchema | Code::GrammarTooComplex), "{shown}: {error}");
                    assert!(error.message().len() < 2048 && !error.message().contains('\n'), "{shown}");
                }
                // Taken, then: a few tokens, each within the fuel of a mask.
                Ok(mut constraint) => {
                    let mut random = Random(1);
                    for _ in 0..100 {
                        let mask = match constraint.allowed() {
                            Ok(mask) => mask.map(<[bool]>::to_vec).expect("a grammar is active"),
                            Err(error) => {
                                assert_eq!(error.code(), Code::GrammarTooComplex, "{shown}: {error}");
                                break;
                            }
                        };
                        let allowed: Vec<u32> = (0..).zip(&mask).filter(|(_, may)| **may).map(|(id, _)| id).collect();
                        let id = allowed[random.below(allowed.len())];
                        if id == EOS || constraint.advance(id).is_err() {
                            break;
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn the_end_comes_once_and_last() {
    let shape = response(json!({"enum": [12, 123]}));
    let mut constraint = of(&EXP, &shape, false).unwrap();
    let only = |constraint: &mut Constraint| -> Vec<u32> {
        let mask = constraint.allowed().unwrap().unwrap().to_vec();
        (0..).zip(mask).filter(|(_, may)| *may).map(|(id, _)| id).collect()
    };
    for id in TOKENIZER.encode("12", false).unwrap() {
        assert!(!only(&mut constraint).contains(&EOS));
        constraint.advance(id).unwrap();
    }
    assert!(only(&mut constraint).contains(&EOS));
    let clone = constraint.clone();
    for id in TOKENIZER.encode("3", false).unwrap() {
        constraint.advance(id).unwrap();
    }
    assert_eq!(only(&mut constraint), [EOS]);
    constraint.advance(EOS).unwrap();
    assert_eq!(only(&mut constraint), [EOS]);
    assert!(only(&mut clone.clone()).len() > 1, "a clone goes its own way");
}

#[test]
fn a_model_without_a_chat_format_writes_json_but_calls_nothing() {
    let raw = Grammars::new(Arc::clone(&TOKENIZER), Detected::Raw("none"), TOKENIZER.sampleable().into(), &[EOS]);
    let shape = AnswerShape { response: ResponseShape::JsonObject, ..AnswerShape::default() };
    assert!(takes(&of(&raw, &shape, false).unwrap(), "{}"));
    let error = of(&raw, &tools(ToolChoice::Required, false, json!({"f": {}})), false).unwrap_err();
    assert_eq!((error.code(), error.details()["param"].as_str()), (Code::BadRequest, Some("tools")));
    assert!(raw.constraint(&AnswerShape::default(), true, Dialect::Local).unwrap().is_none());
}

#[test]
fn a_form_is_followed_before_it_is_used() {
    let hour = Duration::from_secs(3600);
    let followed = |schema: Value, time| of(&EXP, &response(schema), true).unwrap().rehearse(50, time);
    let many = json!({"type": "array", "items": {"type": "boolean"}, "minItems": 100});
    assert_eq!(followed(many.clone(), hour), 50, "past the thought, and no further than was asked");
    assert_eq!(followed(many, Duration::ZERO), 0);
    let few = followed(json!({"const": "x"}), hour);
    assert!((1..50).contains(&few), "{few}: the answer ends");
}

/// Prints what `docs/performance.md` has: run it with `--release -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
#[expect(clippy::print_stdout, reason = "a measurement is read")]
fn the_cost_of_masks() {
    use std::io::Read;
    use std::time::Instant;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/tokenizer/tokenizer.json.gz");
    let mut bytes = vec![];
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    let tokenizer = Arc::new(Tokenizer::from_json("tokenizer.json", &bytes, 129_280).unwrap());
    let sampleable: Arc<[bool]> = tokenizer.sampleable().into();
    let made =
        |format| Grammars::new(Arc::clone(&tokenizer), Detected::Format(format), Arc::clone(&sampleable), &[EOS]);
    let lexicon = |format| {
        let started = Instant::now();
        let grammars = made(format);
        grammars.lexicon().unwrap();
        (grammars, started.elapsed().as_secs_f64())
    };
    let ((exp, first), (dsml, second)) = (lexicon(ChatFormat::Exp), lexicon(ChatFormat::Dsml));
    println!("lexicon of 129,280 ids: {:.2} s", first.min(second));
    let object = AnswerShape { response: ResponseShape::JsonObject, ..AnswerShape::default() };
    let schema = response(schemas().swap_remove(2));
    let called = tools(ToolChoice::Required, true, offered());
    let auto = tools(ToolChoice::Auto, true, offered());
    for (name, grammars, shape) in [
        ("JSON object", &exp, &object),
        ("schema", &exp, &schema),
        ("strict calls, exp", &exp, &called),
        ("strict calls, DSML", &dsml, &called),
        ("free text before strict calls, DSML", &dsml, &auto),
    ] {
        // The same steps three times, the least time of each: a machine does other work too.
        let (mut compiled, mut times) = (f64::INFINITY, vec![]);
        for run in 0..3 {
            let started = Instant::now();
            let constraint = of(grammars, shape, false).unwrap();
            compiled = compiled.min(started.elapsed().as_secs_f64() * 1e3);
            let mut place = 0;
            for seed in 0..20 {
                let (mut constraint, mut random) = (constraint.clone(), Random(seed * 7919 + 1));
                for step in 0..200 {
                    let started = Instant::now();
                    let mask = constraint.allowed().unwrap();
                    let time = started.elapsed().as_secs_f64() * 1e6;
                    if run == 0 {
                        times.push(time);
                    }
                    times[place] = times[place].min(time);
                    place += 1;
                    let mask = mask.unwrap_or(&sampleable);
                    let allowed: Vec<u32> = (0..).zip(mask).filter(|(_, may)| **may).map(|(id, _)| id).collect();
                    let closes = |id: u32| matches!(tokenizer.piece_bytes(id), b"\"" | b"}" | b"<" | b"</");
                    let closing: Vec<u32> = allowed.iter().copied().filter(|&id| closes(id)).collect();
                    let from = if closing.is_empty() || random.below(200) > step { &allowed } else { &closing };
                    let id = from[random.below(from.len())];
                    if id == EOS {
                        break;
                    }
                    constraint.advance(id).unwrap();
                }
            }
        }
        times.sort_by(f64::total_cmp);
        let mean = times.iter().sum::<f64>() / times.len() as f64;
        println!(
            "{name}: compiled in {compiled:.1} ms; {} masks, mean {mean:.0} µs, 99th of 100 {:.0} µs, worst {:.0} µs",
            times.len(),
            times[times.len() * 99 / 100],
            times[times.len() - 1],
        );
    }
}

#[test]
fn regular_expressions_and_choices_are_whole_answers() {
    let of_regex = |regex: &str| {
        of(&EXP, &AnswerShape { response: ResponseShape::Regex(regex.to_owned()), ..AnswerShape::default() }, false)
    };
    for (regex, right, wrong) in [
        (r"\d{3}-\d{2}", "123-45", "x123-45"),
        ("^(yes|no)$", "yes", "yesno"),
        ("a|b+", "bbb", "ab"),
        (r"(?i)[a-z]+@x\.no", "Ann@X.no", "ann"),
        (r"^(?!ab)[a-c]{2}$", "ba", "ab"),
    ] {
        let constraint = of_regex(regex).unwrap();
        assert!(takes(&constraint, right) && !takes(&constraint, wrong), "{regex}");
    }
    for regex in [r"(a)\1", "a(?=b)", "[", "a{1,100"] {
        assert_eq!(of_regex(regex).unwrap_err().code(), Code::InvalidSchema, "{regex}");
    }
    let choice = ["yes", "no", "no way", "\u{7f}\"\\\n"].map(str::to_owned).to_vec();
    let constraint =
        of(&EXP, &AnswerShape { response: ResponseShape::Choice(choice.clone()), ..AnswerShape::default() }, false)
            .unwrap();
    assert!(choice.iter().all(|text| takes(&constraint, text)) && !takes(&constraint, "no "));
    assert!(takes(
        &of(&EXP, &AnswerShape { response: ResponseShape::Choice(choice), ..AnswerShape::default() }, true).unwrap(),
        "hm</think>no"
    ));
}

fn grammar(text: &str) -> Result<Constraint> {
    of(&EXP, &AnswerShape { response: ResponseShape::Grammar(text.to_owned()), ..AnswerShape::default() }, false)
}

#[test]
fn grammars_of_clients_are_held() {
    let json = r##"
        # llama.cpp's json.gbnf
        root   ::= object
        value  ::= object | array | string | number | ("true" | "false" | "null") ws
        object ::=
          "{" ws (
                    string ":" ws value
            ("," ws string ":" ws value)*
          )? "}" ws
        array  ::=
          "[" ws (
                    value
            ("," ws value)*
          )? "]" ws
        string ::=
          "\"" (
            [^"\\\x7F\x00-\x1F] |
            "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) # escapes
          )* "\"" ws
        number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
        # Optional space: by convention, applied in this grammar after literal chars when allowed
        ws ::= | " " | "\n" [ \t]{0,20}
    "##;
    let constraint = grammar(json).unwrap();
    for text in ["{}", r#"{"a": [1, -2.5e3, {"b": "x\n\u00e5"}], "c": true}"#, "{ }"] {
        assert!(takes(&constraint, text), "{text}");
    }
    for text in ["[]", "{\"a\": 01}", "{a: 1}", "{}{}"] {
        assert!(!takes(&constraint, text), "{text}");
    }
    let chess = "root ::= (move \" \"){1,2} move?\nmove ::= [a-h] [1-8]\n  | \"O-O\"\n";
    let constraint = grammar(chess).unwrap();
    assert!(
        takes(&constraint, "e4 O-O e5")
            && takes(&constraint, "e4 ")
            && !takes(&constraint, "e4")
            && !takes(&constraint, "e9 ")
    );
    let lark = r#"
        start: expr
        ?expr: term (("+" | "-") term)*      // sums
        term: NUMBER | "(" expr ")" -> group
        NUMBER: /[0-9]+/
        %import common.WS_INLINE
        %ignore WS_INLINE
    "#;
    let constraint = grammar(lark).unwrap();
    assert!(takes(&constraint, "1 + (23 - 4)") && !takes(&constraint, "1 +") && !takes(&constraint, "(1"));
    let flat =
        grammar("start: GREETING \" \" NAME\nGREETING: \"hello\"i | \"a\"..\"c\"\nNAME: /[a-z]+/~1..3\n").unwrap();
    assert!(takes(&flat, "HELLO ann") && takes(&flat, "b ann") && !takes(&flat, "d ann"));
}

#[test]
fn grammars_that_are_not_known_are_refused_by_line() {
    for (text, expected) in [
        ("start: %json {\"type\": \"integer\"}", "line 1 of the grammar: expected a text, a name or a group"),
        ("start: <[5]>", "line 1 of the grammar: expected a text, a name or a group"),
        ("start: a\na: @other", "line 2 of the grammar"),
        ("start: a", "the grammar has no rule 'a', which 'start' refers to"),
        ("root ::= [z-a]", "line 1 of the grammar: the character range is reversed"),
        ("root ::= \"a", "line 1 of the grammar: the text does not end"),
        ("a ::= \"a\"", "the grammar has no rule 'root'"),
        ("start: /(?=a)/", "line 1 of the grammar: unsupported regular expression"),
        ("%llguidance {}\nstart: \"a\"", "line 1 of the grammar: only %ignore and %import are supported"),
        ("start[temperature=1]: \"a\"", "line 1 of the grammar: rule attributes and parameters are not supported"),
        ("root ::= \"a\"{1,1000000000}", "line 1 of the grammar: expected a repetition count of at most 10000"),
    ] {
        let error = grammar(text).unwrap_err();
        assert!(error.code() == Code::InvalidSchema && error.message().starts_with(expected), "{text}: {error}");
    }
    let deep = format!("root ::= {}\"a\"{}", "(".repeat(3000), ")".repeat(3000));
    let chain: String = (0..3000).map(|n| format!("r{n} ::= \"a\" r{} | \"b\"\n", n + 1)).collect();
    let chain = format!("root ::= r0\n{chain}r3000 ::= root");
    let circle = "root ::= root | root root";
    for text in [&deep, &chain, circle, "start: start", "root ::= (((\"a\"*)*)*)*", "root ::= (\"\" | root)*"] {
        match grammar(text) {
            Err(error) => assert!(matches!(error.code(), Code::InvalidSchema | Code::GrammarTooComplex), "{error}"),
            Ok(mut constraint) => {
                let _ = constraint.allowed();
            }
        }
    }
}

/// Decimal numbers, compared exactly: an oracle of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Exact {
    negative: bool,
    /// Without zeros before or after.
    digits: String,
    /// The power of ten of the first digit.
    power: i64,
}

impl Exact {
    fn of(text: &str) -> Exact {
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
        let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{part}");
        let zeros = all.len() - all.trim_start_matches('0').len();
        let digits = all.trim_matches('0').to_owned();
        let power = exponent.parse::<i64>().unwrap() + whole.len() as i64 - zeros as i64;
        Exact { negative: negative && !digits.is_empty(), power: if digits.is_empty() { 0 } else { power }, digits }
    }

    fn is_integer(&self) -> bool {
        self.digits.len() as i64 <= self.power || self.digits.is_empty()
    }

    fn sign(&self) -> i32 {
        match (self.digits.is_empty(), self.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        }
    }

    fn compare(&self, other: &Exact) -> std::cmp::Ordering {
        let size = self.power.cmp(&other.power).then_with(|| self.digits.cmp(&other.digits));
        let size = if self.negative { size.reverse() } else { size };
        self.sign().cmp(&other.sign()).then(if self.sign() == 0 { std::cmp::Ordering::Equal } else { size })
    }

    /// The remainder by a divisor below 10^15, scaled by a power of ten so that both are whole.
    fn is_multiple_of(&self, divisor: &Exact) -> bool {
        let places = |number: &Exact| (number.digits.len() as i64 - number.power).max(0);
        let scale = places(self).max(places(divisor));
        let whole = |number: &Exact| {
            format!(
                "{}{}",
                number.digits,
                "0".repeat(usize::try_from(scale + number.power - number.digits.len() as i64).unwrap())
            )
        };
        if self.digits.is_empty() {
            return true;
        }
        // Long division, digit by digit, on decimal text.
        let divisor: u128 = whole(divisor).parse().unwrap();
        let rest = whole(self).bytes().fold(0_u128, |rest, digit| (rest * 10 + u128::from(digit - b'0')) % divisor);
        rest == 0
    }
}

#[test]
fn numbers_fit_exactly_at_extreme_bounds() {
    let ends = [
        "-1.7976931348623157e308",
        "-18446744073709551616",
        "-9223372036854775809",
        "-9223372036854775808",
        "-9007199254740993",
        "-1.0000000001",
        "-1",
        "-1e-7",
        "0",
        "5e-324",
        "1e-7",
        "0.1",
        "0.3",
        "1",
        "1.0000000001",
        "4096.5",
        "9007199254740992",
        "9007199254740993",
        "9223372036854775807",
        "18446744073709551615",
        "1e39",
        "1.7976931348623157e308",
    ];
    let mut random = Random(2024);
    let (mut served, mut written) = (0, 0);
    for round in 0..600 {
        let integer = random.below(2) == 0;
        let (low, high) = (ends[random.below(ends.len())], ends[random.below(ends.len())]);
        let (low_key, high_key) =
            (["minimum", "exclusiveMinimum"][random.below(2)], ["maximum", "exclusiveMaximum"][random.below(2)]);
        let multiple =
            if random.below(3) == 0 { ["1", "2", "3", "0.1", "0.25", "7", "1000"][random.below(7)] } else { "" };
        let kind = if integer { "integer" } else { "number" };
        let extra = if multiple.is_empty() { String::new() } else { format!(", \"multipleOf\": {multiple}") };
        let text = format!(
            r#"{{"type": "object", "properties": {{"a": {{"type": "{kind}", "{low_key}": {low}, "{high_key}": {high}{extra}}}}}, "required": ["a"]}}"#
        );
        let shape = response(serde_json::from_str(&text).unwrap());
        let constraint = match of(&EXP, &shape, false) {
            Ok(constraint) => constraint,
            Err(error) => {
                assert!(
                    error.code() == Code::InvalidSchema && error.message().contains("$.properties.a"),
                    "{text}: {error}"
                );
                continue;
            }
        };
        served += 1;
        let (low, high) = (Exact::of(low), Exact::of(high));
        for seed in 0..4 {
            let (answer, ended) = draw(&mut constraint.clone(), &mut Random(seed * 7919 + round), 400);
            if !ended {
                continue;
            }
            written += 1;
            let value = parse(&answer)["a"].to_string();
            let found = Exact::of(&value);
            let above = found.compare(&low);
            let below = high.compare(&found);
            let closed = |key: &str| !key.starts_with("exclusive");
            assert!(above.is_gt() || (above.is_eq() && closed(low_key)), "{text}: {answer}");
            assert!(below.is_gt() || (below.is_eq() && closed(high_key)), "{text}: {answer}");
            assert!(!integer || found.is_integer(), "{text}: {answer}");
            assert!(multiple.is_empty() || found.is_multiple_of(&Exact::of(multiple)), "{text}: {answer}");
        }
    }
    assert!(served > 150 && written > served * 2, "{served} {written}");
}

#[test]
fn hostile_schemas_end_nothing() {
    let (mut taken, mut refused, mut slowest) = (0, 0, std::time::Duration::ZERO);
    for seed in 0..2000_u64 {
        let schema = hostile::schema(&mut hostile::Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let called = |strict| tools(ToolChoice::Required, strict, json!({ "f": schema.clone() }));
        let (grammars, shape) = match seed % 5 {
            0 => (&*EXP, called(true)),
            1 => (&*EXP, called(false)),
            2 => (&*DSML, called(false)),
            _ => (&*EXP, response(schema.clone())),
        };
        let started = std::time::Instant::now();
        let made = of(grammars, &shape, false);
        slowest = slowest.max(started.elapsed());
        let mut constraint = match made {
            Ok(constraint) => constraint,
            Err(error) => {
                refused += 1;
                assert!(
                    matches!(error.code(), Code::InvalidSchema | Code::GrammarTooComplex),
                    "{seed}: {error}: {schema}"
                );
                assert!(
                    error.message().contains('$')
                        || error.code() == Code::GrammarTooComplex
                        || error.message().contains("chat format"),
                    "{seed}: {error}: {schema}"
                );
                assert!(
                    seed % 5 == 0 || seed % 5 > 2,
                    "a function that is not strict is never refused: {seed}: {error}: {schema}"
                );
                continue;
            }
        };
        taken += 1;
        let mut random = Random(seed);
        for _ in 0..50 {
            let mask = match constraint.allowed() {
                Ok(mask) => mask.map(<[bool]>::to_vec).expect("a grammar is active"),
                Err(error) => {
                    assert_eq!(error.code(), Code::GrammarTooComplex, "{seed}: {error}: {schema}");
                    break;
                }
            };
            let allowed: Vec<u32> = (0..).zip(&mask).filter(|(_, may)| **may).map(|(id, _)| id).collect();
            assert!(!allowed.is_empty(), "{seed}: nothing may come: {schema}");
            let id = allowed[random.below(allowed.len())];
            if id == EOS || constraint.advance(id).is_err() {
                break;
            }
        }
    }
    assert!(taken > 400 && refused > 100, "{taken} taken, {refused} refused");
    assert!(slowest < std::time::Duration::from_secs(5), "{slowest:?}");
}

#[test]
fn values_are_written_digit_by_digit() {
    let schema = r#"{"enum": [9007199254740993, 0.1000000000000000000001, -1e-7]}"#;
    let constraint = of(&EXP, &response(serde_json::from_str(schema).unwrap()), false).unwrap();
    assert!(takes(&constraint, "9007199254740993") && takes(&constraint, "0.1000000000000000000001"));
    assert!(!takes(&constraint, "9007199254740992") && !takes(&constraint, "0.1"), "f64's neighbours");
}

/// What fits these schemas, and what does not although it would without one keyword.
#[test]
fn what_tools_write_about_objects_and_lists_is_held() {
    for (schema, fit, unfit) in [
        (
            json!({"type": "object", "additionalProperties": {"type": "integer"}, "propertyNames": {"pattern": "^x"}}),
            vec![r#"{"x1": 1}"#],
            vec![r#"{"y": 1}"#],
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "integer"}, "propertyNames": {"enum": ["a", "b"]}}),
            vec![r#"{"a": 1, "b": 2}"#],
            vec![r#"{"c": 1}"#],
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 2}),
            vec![r#"{"a": 1, "b": 2}"#],
            vec!["{}", r#"{"a": 1}"#],
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "integer"}, "maxProperties": 1}),
            vec!["{}", r#"{"a": 1}"#],
            vec![r#"{"a": 1, "b": 2}"#],
        ),
        (
            json!({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "boolean"}], "items": false}),
            vec!["[1, true]"],
            vec!["[true, 1]", "[1, true, 2]"],
        ),
        (
            json!({"type": "array", "items": {"enum": ["a", "b"]}, "uniqueItems": true}),
            vec![r#"["a", "b"]"#],
            vec![r#"["a", "a"]"#],
        ),
        (json!({"oneOf": [{"type": "integer"}, {"type": "boolean"}]}), vec!["1", "true"], vec!["null", "\"a\""]),
    ] {
        let validator = validator(&schema);
        let constraint = of(&EXP, &response(schema.clone()), false).unwrap();
        for text in fit {
            assert!(validator.is_valid(&parse(text)) && takes(&constraint, text), "{schema}: {text}");
        }
        for text in unfit {
            assert!(!validator.is_valid(&parse(text)) && !takes(&constraint, text), "{schema}: {text}");
        }
    }
}

/// The compiler of grammars follows references by recursion.
#[test]
fn long_chains_of_references_are_refused_before_they_are_compiled() {
    let link = |n: usize| json!({"type": "object", "properties": {"next": {"$ref": format!("#/$defs/d{n}")}}});
    let chain = |length: usize| {
        let mut definitions: Map<String, Value> = (0..length).map(|n| (format!("d{n}"), link(n + 1))).collect();
        definitions.insert(format!("d{length}"), json!({"type": "null"}));
        response(json!({"$defs": definitions, "$ref": "#/$defs/d0"}))
    };
    assert!(of(&EXP, &chain(20), false).is_ok());
    let error = of(&EXP, &chain(900), false).unwrap_err();
    assert_eq!(error.code(), Code::GrammarTooComplex, "{error}");
    assert!(error.message().contains("references are nested more than"), "{error}");
}
