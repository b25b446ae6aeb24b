//! Whole answers, put together.

use crate::chat::{CallSyntax, OutputParser, Parsed};
use crate::generate::{Event, Parser, Voice};

/// Oracle: the events of a parser that is given the text byte by byte of its characters.
#[test]
fn an_answer_is_the_sum_of_its_events() {
    let exp = "hm</think>a<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{\"x\": 1}<｜tool▁call▁end｜>\
        <｜tool▁call▁begin｜>g<｜tool▁sep｜>{";
    let parsed = Parsed::of(Some(CallSyntax::Exp), true, exp);
    let calls: Vec<(&str, &str)> = parsed.calls().iter().map(|call| (&*call.name, &*call.arguments)).collect();
    assert_eq!((&*parsed.reasoning, &*parsed.content), ("hm", "a"));
    assert_eq!((calls, parsed.is_in_call()), (vec![("f", "{\"x\": 1}"), ("g", "{")], true));
    let whole = Parsed::of(Some(CallSyntax::Exp), false, &format!("{exp}}}<｜tool▁call▁end｜>"));
    assert_eq!((whole.calls().len(), whole.is_in_call(), &*whole.reasoning), (2, false, ""));
    // The end of a text waits while it may begin a marker: it is told at the end.
    let waiting = Parsed::of(Some(CallSyntax::Exp), false, "a <｜tool");
    assert_eq!((&*waiting.content, waiting.is_in_call()), ("a <｜tool", false));
    let mut parser = OutputParser::new(Some(CallSyntax::Exp), true);
    let mut pieces = Parsed::default();
    for character in exp.chars() {
        parser.push(&character.to_string()).iter().for_each(|event| pieces.take(event));
    }
    parser.finish().iter().for_each(|event| pieces.take(event));
    assert_eq!(pieces, parsed);
}

#[test]
fn events_of_calls_that_never_began_change_nothing() {
    let mut parsed = Parsed::default();
    parsed.take(&Event::Arguments { index: 0, text: "x".to_owned() });
    parsed.take(&Event::CallEnd { index: 0 });
    assert_eq!((&parsed, parsed.is_in_call()), (&Parsed::default(), false));
    parsed.take(&Event::Call { index: 3, name: "f".to_owned(), id: None });
    parsed.take(&Event::Arguments { index: 2, text: "x".to_owned() });
    parsed.take(&Event::CallEnd { index: 2 });
    assert!(parsed.is_in_call() && parsed.calls()[0].arguments.is_empty());
    parsed.take(&Event::Arguments { index: 3, text: "y".to_owned() });
    parsed.take(&Event::Arguments { index: 3, text: "z".to_owned() });
    parsed.take(&Event::CallEnd { index: 3 });
    parsed.take(&Event::Text { voice: Voice::Reasoning, text: "r".to_owned() });
    parsed.take(&Event::Text { voice: Voice::Content, text: "c".to_owned() });
    assert!(!parsed.is_in_call());
    assert_eq!((&*parsed.calls()[0].arguments, &*parsed.reasoning, &*parsed.content), ("yz", "r", "c"));
}

/// Where each state of the parser ends, in both formats.
#[test]
fn a_parser_tells_where_it_is() {
    let dsml = "x</think>\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"f\">\n<｜DSML｜parameter name=\"a\" string=\"false\">\
        1</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>";
    let mut parser = OutputParser::new(Some(CallSyntax::Dsml), true);
    let (mut thinking, mut calls) = (vec![], vec![]);
    for (at, character) in dsml.char_indices() {
        parser.push(&character.to_string());
        thinking.push((at, parser.is_thinking()));
        calls.push((at, parser.calls()));
    }
    let end_of = |text: &str| dsml.find(text).unwrap() + text.len() - 1;
    assert!(thinking.iter().all(|(at, is)| *is == (*at < end_of("</think>"))));
    assert!(calls.iter().all(|(at, count)| *count == u32::from(*at >= end_of("</｜DSML｜invoke>"))));
    assert_eq!((parser.finish(), parser.cut(), parser.push("more")), (vec![], vec![], vec![]));
}
