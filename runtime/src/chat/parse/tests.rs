use super::*;
use crate::chat::Parsed;

const DSML: Option<CallSyntax> = Some(CallSyntax::Dsml);
const EXP: Option<CallSyntax> = Some(CallSyntax::Exp);

fn parts(format: Option<CallSyntax>, thinking: bool, parts: &[&str]) -> Parsed {
    let mut parser = OutputParser::new(format, thinking);
    let mut parsed = Parsed::default();
    let mut events: Vec<Event> = parts.iter().flat_map(|part| parser.push(part)).collect();
    events.extend(parser.finish());
    assert!(!events.iter().any(|event| matches!(event,
        Event::Text { text, .. } | Event::Arguments { text, .. } if text.is_empty())));
    events.iter().for_each(|event| parsed.take(event));
    assert_eq!((parser.calls() as usize).saturating_add(usize::from(parsed.is_in_call())), parsed.calls().len());
    parsed
}

/// The same for every split into three pieces.
fn any_split(format: Option<CallSyntax>, thinking: bool, text: &str) -> Parsed {
    let whole = parts(format, thinking, &[text]);
    let ends: Vec<usize> = (0..=text.len()).filter(|end| text.is_char_boundary(*end)).collect();
    for &first in &ends {
        for &second in ends.iter().filter(|end| **end >= first) {
            let split = [&text[..first], &text[first..second], &text[second..]];
            assert_eq!(parts(format, thinking, &split), whole, "{split:?}");
        }
    }
    whole
}

fn shown(parsed: &Parsed) -> (&str, &str, Vec<(&str, &str)>) {
    let calls = parsed.calls().iter().map(|call| (&*call.name, &*call.arguments)).collect();
    (&parsed.reasoning, &parsed.content, calls)
}

fn dsml(body: &str) -> String {
    format!("<｜DSML｜function_calls><｜DSML｜invoke name=\"f\">{body}</｜DSML｜invoke></｜DSML｜function_calls>")
}

#[test]
fn thoughts_and_answers_are_told_apart() {
    for (thinking, text, reasoning, content) in [
        (true, "hm</think>Yes", "hm", "Yes"),
        (true, "never closed </thin", "never closed </thin", ""),
        (true, "<think>a<think>b</think></think>c", "a<think>b", "c"),
        (true, "<thi", "<thi", ""),
        (true, "</think>", "", ""),
        (true, "<<think></think>ø</", "<<think>", "ø</"),
        (true, "<｜tool▁calls▁begin｜></think>", "<｜tool▁calls▁begin｜>", ""),
        (false, "a</think>b<think>", "", "ab<think>"),
    ] {
        for format in [None, EXP, DSML] {
            assert_eq!(shown(&any_split(format, thinking, text)), (reasoning, content, vec![]), "{format:?}");
        }
    }
    let markup = "<｜tool▁calls▁begin｜>\n\n<｜DSML｜function_calls>";
    assert_eq!(shown(&any_split(None, false, markup)), ("", markup, vec![]));
}

#[test]
fn calls_that_are_not_as_they_should_be() {
    let call = |body: &str| format!("<｜tool▁calls▁begin｜>{body}<｜tool▁calls▁end｜>bye");
    for (format, text, content, calls) in [
        // Three newlines: only two belong to the opener.
        (DSML, "a\n\n\n".to_owned() + &dsml(""), "a\n", vec![("f", "{}")]),
        (DSML, "a\n\nb\n".to_owned(), "a\n\nb\n", vec![]),
        // What claims to be JSON and is not becomes a string, and so does a value without a claim.
        (
            DSML,
            dsml(
                "<｜DSML｜parameter name=\"a\" string=\"false\">Os\"lo</｜DSML｜parameter> , <｜DSML｜parameter name=\"\u{8}\">1e400</｜DSML｜parameter>",
            ),
            "",
            vec![("f", r#"{"a": "Os\"lo", "\b": 1e400}"#)],
        ),
        (
            DSML,
            dsml("stray <｜DSML｜parameter name=\"a\" string=\"false\"></｜DSML｜parameter>"),
            "",
            vec![("f", r#"{"a": ""}"#)],
        ),
        (DSML, dsml(" \n {\"a\": \"</｜DSML｜\"} \n "), "", vec![("f", r#"{"a": "</｜DSML｜"}"#)]),
        (DSML, dsml("stray {\"a\": 1}"), "", vec![("f", "{}")]),
        (EXP, call(" <｜tool▁call▁begin｜>f<｜tool▁sep｜> \n<｜tool▁call▁end｜> "), "", vec![("f", "")]),
        (EXP, call("<｜tool▁call▁begin｜>f<｜tool▁sep｜> { \n } <｜tool▁call▁end｜>"), "", vec![("f", "{ \n }")]),
        // Markup is no content, whatever becomes of it.
        (EXP, call(" x"), "", vec![]),
        (EXP, "a<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁s".to_owned(), "a", vec![]),
        (EXP, "a<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{ <｜tool".to_owned(), "a", vec![("f", "{")]),
    ] {
        assert_eq!(shown(&any_split(format, false, &text)), ("", content, calls), "{text}");
    }
}

/// Each row: a piece of text, and what it releases.
fn stream(format: Option<CallSyntax>, rows: &[(&str, &[Event])]) {
    let mut parser = OutputParser::new(format, false);
    for (text, events) in rows {
        assert_eq!(parser.push(text), *events, "{text}");
    }
}

#[test]
fn text_is_shown_as_soon_as_it_can_be() {
    let content = |text: &str| content(text.to_owned());
    let name = |index, name: &str| Event::Call { index, name: name.to_owned(), id: None };
    let part = |index, text: &str| Event::Arguments { index, text: text.to_owned() };
    stream(None, &[("a < b", &[content("a < b")]), ("</", &[]), ("p>\n", &[content("</p>\n")])]);
    stream(
        DSML,
        &[
            ("Sure.\n", &[content("Sure.")]),
            ("\n", &[]),
            ("\n<｜DSML", &[content("\n")]),
            ("｜function_calls>\n<｜DSML｜invoke name=\"", &[]),
            ("get", &[]),
            ("\">\n<｜DSML｜parameter name=\"a\" string=\"tr", &[name(0, "get")]),
            ("ue\">x\n", &[part(0, "{\"a\": \""), part(0, "x\\n")]),
            ("</", &[]),
            ("p></｜DSML｜parameter>", &[part(0, "</p>\"")]),
            ("<｜DSML｜parameter name=\"b\" string=\"false\">[1", &[part(0, ", \"b\": ")]),
            (",2]</｜DSML｜parameter>\n", &[part(0, "[1,2]")]),
            ("</｜DSML｜invoke>", &[part(0, "}"), Event::CallEnd { index: 0 }]),
            (
                "<｜DSML｜invoke name=\"g\"></｜DSML｜invoke>",
                &[name(1, "g"), part(1, "{}"), Event::CallEnd { index: 1 }],
            ),
            ("</｜DSML｜function_calls>bye", &[]),
        ],
    );
    stream(
        EXP,
        &[
            ("a<｜tool", &[content("a")]),
            ("▁calls▁begin｜><｜tool▁call▁begin｜> f", &[]),
            ("<｜tool▁sep｜> ", &[name(0, "f")]),
            ("{ ", &[part(0, "{")]),
            ("}\n", &[part(0, " }")]),
            ("<｜tool▁call▁end｜>", &[Event::CallEnd { index: 0 }]),
        ],
    );
}

#[test]
fn a_cut_leaves_no_beginning_of_a_call_as_text() {
    for (format, text, finished, cut) in [
        (DSML, "a\n\n<｜DSML｜fun", "a\n\n<｜DSML｜fun", "a"),
        (DSML, "\n\n", "\n\n", ""),
        (DSML, "a\n\nb</th", "a\n\nb</th", "a\n\nb</th"),
        (EXP, "<｜tool", "<｜tool", ""),
        (None, "a\n\n", "a\n\n", "a\n\n"),
    ] {
        for (is_cut, expected) in [(false, finished), (true, cut)] {
            let (mut parser, mut parsed) = (OutputParser::new(format, false), Parsed::default());
            parser.push(text).iter().for_each(|event| parsed.take(event));
            let rest = if is_cut { parser.cut() } else { parser.finish() };
            rest.iter().for_each(|event| parsed.take(event));
            assert_eq!(parsed.content, expected, "{text:?}");
        }
    }
}

#[test]
fn an_answer_may_end_anywhere() {
    let whole = "a\n\n".to_owned() + &dsml("<｜DSML｜parameter name=\"a\" string=\"true\">x</｜DSML｜parameter>");
    for (end, _) in whole.char_indices() {
        let parsed = parts(DSML, false, &[&whole[..end]]);
        let (complete, begun) = (whole[..end].contains("</｜DSML｜invoke>"), whole[..end].contains("name=\"f\">"));
        assert_eq!(parsed.calls().len(), usize::from(begun), "{end}");
        assert_eq!(parsed.is_in_call(), begun && !complete);
        // What may begin a marker is content where it is not one.
        let opened = whole[..end].contains("<｜DSML｜function_calls>");
        assert_eq!(parsed.content, if opened { "a" } else { &whole[..end] });
    }
}
