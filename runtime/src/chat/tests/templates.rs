//! Calls in the markup of checkpoints whose own template renders them: GLM and Kimi.

use std::sync::{Arc, LazyLock};

use serde_json::{Value, json};

use super::EOS;
use crate::chat::{
    AnswerShape, CallSyntax, Detected, Dialect, Grammars, OutputParser, Parsed, ResponseShape, ToolChoice, ToolSpec,
};
use crate::error::Code;
use crate::generate::{Callable, Constraint, Event, Parser};
use crate::text::Tokenizer;

/// The tokens of stories, and those of both formats.
static TOKENIZER: LazyLock<Arc<Tokenizer>> = LazyLock::new(|| {
    let bytes = include_bytes!("../../../../models/stories/tokenizer.json");
    let mut file: Value = serde_json::from_slice(bytes).unwrap();
    let tokens = CallSyntax::Glm.tokens().iter().chain(CallSyntax::Kimi.tokens());
    let added = file["added_tokens"].as_array_mut().unwrap();
    added.extend((2048..).zip(tokens).map(|(id, token)| json!({"id": id, "content": token})));
    Arc::new(Tokenizer::from_json("tokenizer.json", file.to_string().as_bytes(), 2100).unwrap())
});

static GLM: LazyLock<Grammars> = LazyLock::new(|| of_syntax(CallSyntax::Glm));
static KIMI: LazyLock<Grammars> = LazyLock::new(|| of_syntax(CallSyntax::Kimi));

fn of_syntax(syntax: CallSyntax) -> Grammars {
    let format = Detected::Template(Some(syntax));
    Grammars::new(Arc::clone(&TOKENIZER), format, TOKENIZER.sampleable().into(), &[EOS])
}

fn of(grammars: &Grammars, shape: &AnswerShape) -> Constraint {
    grammars.constraint(shape, false, Dialect::Local).unwrap().expect("the shape is not free")
}

fn takes(constraint: &Constraint, text: &str) -> bool {
    let mut constraint = constraint.clone();
    let ids = TOKENIZER.encode(text, true).expect("stories have every byte");
    let mut goes_on = |id: u32| {
        let is_allowed = constraint.allowed().is_ok_and(|mask| mask.is_none_or(|mask| mask[id as usize]));
        is_allowed && constraint.advance(id).is_ok()
    };
    ids.into_iter().all(&mut goes_on)
        && constraint.allowed().is_ok_and(|mask| mask.is_none_or(|mask| mask[EOS as usize]))
}

fn tools(choice: ToolChoice, strict: bool, tools: &Value) -> AnswerShape {
    let tools = tools.as_object().unwrap().iter();
    let tools = tools.map(|(name, parameters)| ToolSpec { name: name.clone(), parameters: parameters.clone(), strict });
    AnswerShape { tools: tools.collect(), choice, parallel: true, ..AnswerShape::default() }
}

fn glm(parameters: &[(&str, &str)]) -> String {
    let parameters: Vec<String> = parameters
        .iter()
        .map(|(name, value)| format!("<arg_key>{name}</arg_key><arg_value>{value}</arg_value>"))
        .collect();
    format!("<tool_call>f{}</tool_call>", parameters.concat())
}

fn schema() -> Value {
    json!({"type": "object", "properties": {
        "text": {"type": "string"},
        "short": {"type": "string", "maxLength": 2},
        "kind": {"enum": ["a", "b c", 3, null]},
        "either": {"anyOf": [{"type": "integer", "maximum": 50}, {"type": "string"}]},
        "list": {"type": "array", "items": {"type": "string"}},
    }, "required": ["text"]})
}

#[test]
fn values_of_glm_are_texts_or_json_as_their_schema_says() {
    let constraint = of(&GLM, &tools(ToolChoice::Required, true, &json!({"f": schema()})));
    let whole =
        [("text", "a \"b\"\n<c>"), ("short", "xy"), ("kind", "b c"), ("either", "12"), ("list", "[\"a\", \"b\"]")];
    let with = |place: usize, parameter: (&'static str, &'static str)| {
        let mut all = whole;
        all[place] = parameter;
        takes(&constraint, &glm(&all))
    };
    assert!(takes(&constraint, &glm(&whole)));
    for (place, parameter, expected) in [
        (0, ("text", ""), true),
        (0, ("text", "</arg"), true),
        (0, ("other", "a"), false),
        (1, ("short", "xyz"), false),
        (2, ("kind", "a"), true),
        (2, ("kind", "c"), false),
        (2, ("kind", "3"), true),
        (2, ("kind", "null"), true),
        (2, ("kind", "\"a\""), false),
        (3, ("either", "x1"), true),
        (3, ("either", "51"), false),
        (3, ("either", "51x"), true),
        (4, ("list", "[]"), true),
        (4, ("list", "[1]"), false),
    ] {
        assert_eq!(with(place, parameter), expected, "{parameter:?}");
    }
    assert!(!takes(&constraint, &glm(&whole[..4])), "each parameter is there");
    // GLM-4.5 puts each tag on a line of its own.
    let lines = glm(&whole).replace("<tool_call>f", "<tool_call>f\n").replace("</arg_key>", "</arg_key>\n");
    let lines = lines.replace("</arg_value>", "</arg_value>\n");
    assert!(takes(&constraint, &lines));
    assert!(
        takes(&constraint, &(glm(&whole) + &glm(&whole))) && takes(&constraint, &(glm(&whole) + "\n" + &glm(&whole)))
    );
    let one = AnswerShape { parallel: false, ..tools(ToolChoice::Required, true, &json!({"f": schema()})) };
    let one = of(&GLM, &one);
    assert!(takes(&one, &glm(&whole)) && !takes(&one, &(glm(&whole) + &glm(&whole))));
}

#[test]
fn values_of_any_name_are_any_text() {
    let constraint = of(&GLM, &tools(ToolChoice::Required, false, &json!({"f": {}})));
    for (parameters, expected) in [
        (vec![], true),
        (vec![("a.b-c_9", "x"), ("b", "{\"c\": 1}")], true),
        (vec![("", "x")], false),
        (vec![("a b", "x")], false),
    ] {
        assert_eq!(takes(&constraint, &glm(&parameters)), expected, "{parameters:?}");
    }
}

#[test]
fn calls_of_kimi_are_json_behind_an_id() {
    let constraint = of(
        &KIMI,
        &tools(ToolChoice::Required, true, &json!({"f": {"type": "object", "properties": {"a": {"type": "integer"}}}})),
    );
    let call = |id: &str, arguments: &str| {
        format!("<|tool_call_begin|>{id}<|tool_call_argument_begin|>{arguments}<|tool_call_end|>")
    };
    let all = |calls: &str| format!("<|tool_calls_section_begin|>{calls}<|tool_calls_section_end|>");
    let good = call("functions.f:0", "{\"a\": 1}");
    assert!(takes(&constraint, &all(&good)));
    assert!(takes(&constraint, &all(&(good.clone() + &call("functions.f:12", "{\"a\":2}")))));
    for bad in [call("functions.g:0", "{\"a\": 1}"), call("f:0", "{\"a\": 1}"), call("functions.f:0", "{\"a\": \"x\"}")]
    {
        assert!(!takes(&constraint, &all(&bad)), "{bad}");
    }
    assert!(!takes(&constraint, "text") && !takes(&constraint, &good));
}

/// Free text comes before calls, a form of the answer may be in their place, and calls may be forbidden.
#[test]
fn calls_go_with_text_and_with_forms() {
    let functions = json!({"f": {"type": "object", "properties": {"a": {"type": "integer"}}}});
    for (grammars, call) in [
        (&*GLM, glm(&[("a", "1")])),
        (
            &*KIMI,
            "<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{\"a\": 1}\
                <|tool_call_end|><|tool_calls_section_end|>"
                .to_owned(),
        ),
    ] {
        let free = of(grammars, &tools(ToolChoice::Auto, true, &functions));
        for (text, expected) in [("Sure.", true), (&*format!("Sure.{call}"), true), (&call.replace('1', "x"), false)] {
            assert_eq!(takes(&free, text), expected, "{text}");
        }
        let response = ResponseShape::JsonSchema(json!({"type": "array", "items": {"type": "integer"}}));
        let either = of(grammars, &AnswerShape { response, ..tools(ToolChoice::Auto, true, &functions) });
        for (text, expected) in [("[1]", true), (&*call, true), ("Sure.", false), (&*format!("[1]{call}"), false)] {
            assert_eq!(takes(&either, text), expected, "{text}");
            // A thought may come first, and is closed then.
            assert_eq!(takes(&either, &format!("<think>h<m></think>{text}")), expected, "a thought and {text}");
            assert!(
                !takes(&either, &format!("<think>hm{text}")) && !takes(&either, &format!("a<think></think>{text}"))
            );
        }
        let none = of(grammars, &tools(ToolChoice::None, true, &functions));
        assert!(takes(&none, "Sure.") && !takes(&none, &call));
    }
}

#[test]
fn a_name_that_tags_cannot_hold_is_refused() {
    let shape =
        tools(ToolChoice::Required, true, &json!({"f": {"type": "object", "properties": {"a<b": {"type": "string"}}}}));
    let error = GLM.constraint(&shape, false, Dialect::Local).unwrap_err();
    assert_eq!(error.code(), Code::InvalidSchema);
}

fn read(syntax: CallSyntax, functions: &[Callable], pieces: &[&str]) -> (Parsed, Vec<Event>) {
    let mut parser = OutputParser::new(Some(syntax), false).may_think().calling(functions.into());
    let mut events: Vec<Event> = pieces.iter().flat_map(|piece| parser.push(piece)).collect();
    events.extend(parser.finish());
    let mut parsed = Parsed::default();
    events.iter().for_each(|event| parsed.take(event));
    (parsed, events)
}

#[test]
fn answers_in_both_formats_are_read_in_any_pieces() {
    let functions = [Callable { name: "f".to_owned(), parameters: schema() }];
    let glm_45 = "\n<think>hm</think>\n\n<tool_call>f\n<arg_key>text</arg_key>\n<arg_value>12</arg_value>\n\
        <arg_key>either</arg_key>\n<arg_value>12</arg_value>\n<arg_key>other</arg_key>\n<arg_value>[1]</arg_value>\n</tool_call>\n\
        <tool_call>g\n</tool_call>";
    let kimi = "<think>hm</think>Well.<|tool_calls_section_begin|> <|tool_call_begin|> functions.a:b:7<|tool_call_argument_begin|> {} \
        <|tool_call_end|><|tool_call_begin|>g<|tool_call_argument_begin|>{\"a\": 1}<|tool_call_end|><|tool_calls_section_end|>x";
    for (syntax, text, thought, content, calls) in [
        (
            CallSyntax::Glm,
            glm_45,
            "hm",
            "",
            vec![("f", r#"{"text": "12", "either": 12, "other": [1]}"#, None), ("g", "{}", None)],
        ),
        (
            CallSyntax::Kimi,
            kimi,
            "hm",
            "Well.",
            vec![("a:b", "{}", Some("functions.a:b:7")), ("g", r#"{"a": 1}"#, None)],
        ),
        (CallSyntax::Glm, "a <think>b</think>", "", "a <think>b", vec![]),
        (CallSyntax::Glm, " <thin", "", " <thin", vec![]),
        (
            CallSyntax::Glm,
            "a\n<tool_call>f<arg_key>text</arg_key><arg_value>x</arg",
            "",
            "a",
            vec![("f", r#"{"text": "x"#, None)],
        ),
        (CallSyntax::Kimi, "a<|tool_calls", "", "a<|tool_calls", vec![]),
    ] {
        let ends: Vec<usize> = (0..=text.len()).filter(|end| text.is_char_boundary(*end)).collect();
        for &first in &ends {
            let (parsed, events) = read(syntax, &functions, &[&text[..first], &text[first..]]);
            let ids = events.iter().filter_map(|event| match event {
                Event::Call { id, .. } => Some(id.as_deref()),
                _ => None,
            });
            let found: Vec<_> =
                parsed.calls().iter().zip(ids).map(|(call, id)| (&*call.name, &*call.arguments, id)).collect();
            assert_eq!((&*parsed.reasoning, &*parsed.content, found), (thought, content, calls.clone()), "{text}");
        }
    }
}
