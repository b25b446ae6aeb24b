//! Oracles: what engines have been seen to send: vLLM, SGLang, llama.cpp, OpenRouter and DeepSeek.

use serde_json::{Value, json};

use super::{Normaliser, envelope, one_line, upstream};
use crate::error::{Code, Result};
use crate::generate::{Event, Finish, Known, Timings, Voice};

fn content(text: &str) -> Event {
    Event::Text { voice: Voice::Content, text: text.to_owned() }
}

fn thought(text: &str) -> Event {
    Event::Text { voice: Voice::Reasoning, text: text.to_owned() }
}

/// The events of these choices of number 0, without the end.
fn told(thinking: Option<bool>, choices: &[Value]) -> Vec<Event> {
    let mut normaliser = Normaliser::new("h", thinking);
    let mut told = vec![];
    for choice in choices {
        told.extend(normaliser.chunk(&json!({ "choices": [choice] })).unwrap());
    }
    told.extend(normaliser.finish(true).unwrap());
    told.into_iter().map(|(_, event)| event).filter(|event| !matches!(event, Event::End { .. })).collect()
}

fn deltas(thinking: Option<bool>, deltas: &[Value]) -> Vec<Event> {
    let choices: Vec<Value> = deltas.iter().map(|delta| json!({ "delta": delta })).collect();
    told(thinking, &choices)
}

#[test]
fn text_is_found_wherever_an_engine_puts_it() {
    for (choice, expected) in [
        (json!({ "delta": { "content": "a" } }), vec![content("a")]),
        (json!({ "message": { "content": "a" } }), vec![content("a")]),
        (json!({ "text": "a" }), vec![content("a")]),
        (json!({ "text": "" }), vec![]),
        (json!({ "delta": { "content": [{ "text": "a" }, { "x": 1 }, { "text": "b" }] } }), vec![content("ab")]),
        (json!({ "delta": { "content": 5 } }), vec![]),
        (json!({ "delta": { "reasoning_content": "h", "content": "a" } }), vec![thought("h"), content("a")]),
        (json!({ "delta": { "reasoning": "h" } }), vec![thought("h")]),
        (json!({ "delta": { "reasoning": "" } }), vec![]),
        (json!({}), vec![]),
    ] {
        assert_eq!(told(Some(false), std::slice::from_ref(&choice)), expected, "{choice}");
    }
    let late =
        [json!({ "delta": { "content": "a" }, "finish_reason": "stop" }), json!({ "delta": { "content": "b" } })];
    assert_eq!(told(Some(false), &late), [content("a")], "what comes after the end is none of it");
}

/// Each row: whether thinking was asked for, pieces of text, and what each of them releases.
#[test]
fn text_waits_no_longer_than_its_mark_is_open() {
    let (on, off, unknown) = (Some(true), Some(false), None);
    for (thinking, pieces, expected) in [
        (off, &["a", "b"][..], vec![content("a"), content("b")]),
        (unknown, &["a", "b"], vec![content("a"), content("b")]),
        (unknown, &[" ", "a"], vec![content(" a")]),
        (unknown, &["<th", "a"], vec![content("<tha")]),
        (off, &["<thi", "nk>h</think>a"], vec![thought("h"), content("a")]),
        (on, &["h", "m", "</think>\n\na"], vec![thought("hm"), content("a")]),
        (on, &["never", " closed"], vec![content("never closed")]),
        (unknown, &["<think>\n", "h\n", "\n</think>\n", "\na\n"], vec![thought("h\n"), thought("\n"), content("a\n")]),
    ] {
        let all: Vec<Value> = pieces.iter().map(|piece| json!({ "content": piece })).collect();
        assert_eq!(deltas(thinking, &all), expected, "{thinking:?} {pieces:?}");
    }
    // Thoughts apart: the text after them waits for nothing.
    let apart =
        deltas(on, &[json!({ "reasoning_content": "h" }), json!({ "content": "a" }), json!({ "content": "</think>" })]);
    assert_eq!(apart, [thought("h"), content("a"), content("</think>")]);
    // Text that would wait for too long is the answer.
    let long = "x".repeat(1 << 20);
    let mut normaliser = Normaliser::new("h", on);
    let mut chunk =
        |text: &str| normaliser.chunk(&json!({ "choices": [{ "delta": { "content": text } }] })).unwrap().len();
    assert_eq!((chunk(&long[1..]), chunk("x"), chunk("a")), (0, 1, 1));
}

fn call(index: u32, name: &str, id: Option<&str>) -> Event {
    Event::Call { index, name: name.to_owned(), id: id.map(str::to_owned) }
}

fn arguments(index: u32, text: &str) -> Event {
    Event::Arguments { index, text: text.to_owned() }
}

fn ended(index: u32) -> Event {
    Event::CallEnd { index }
}

#[test]
fn calls_begin_and_end_in_order() {
    let tool = |call: Value| json!({ "tool_calls": [call] });
    let function = |name: &str, arguments: Value| json!({ "name": name, "arguments": arguments });
    for (deltas_in, expected) in [
        (
            vec![
                tool(json!({ "index": 0, "id": "x", "function": function("f", json!("")) })),
                tool(json!({ "index": 0, "function": { "arguments": "{}" } })),
                json!({ "content": "a" }),
            ],
            vec![call(0, "f", Some("x")), arguments(0, "{}"), ended(0), content("a")],
        ),
        // Both at once, and a part of the first after the second began.
        (
            vec![json!({ "tool_calls": [
                { "index": 0, "id": "x", "function": function("f", json!("{")) },
                { "index": 1, "id": "y", "function": function("g", json!({ "a": 1 })) },
                { "index": 0, "id": "x", "function": { "arguments": "}" } },
            ] })],
            vec![
                call(0, "f", Some("x")),
                arguments(0, "{"),
                ended(0),
                call(1, "g", Some("y")),
                arguments(1, "{\"a\":1}"),
                arguments(0, "}"),
                ended(1),
            ],
        ),
        // An id that comes late names the same call, unless that has arguments.
        (
            vec![
                tool(json!({ "index": 0, "function": { "name": "f" } })),
                tool(json!({ "index": 0, "id": "x", "function": { "arguments": "{}" } })),
            ],
            vec![call(0, "f", None), arguments(0, "{}"), ended(0)],
        ),
        (
            vec![
                tool(json!({ "index": 0, "function": function("f", json!("{}")) })),
                tool(json!({ "index": 0, "id": "x", "function": function("g", json!("{}")) })),
            ],
            vec![
                call(0, "f", None),
                arguments(0, "{}"),
                ended(0),
                call(1, "g", Some("x")),
                arguments(1, "{}"),
                ended(1),
            ],
        ),
        // Without number and id: parts belong to the last one, a new name after arguments is another.
        (
            vec![
                tool(json!({ "function": { "name": "f" } })),
                tool(json!({ "function": { "name": "f", "arguments": "{" } })),
                tool(json!({ "function": { "arguments": "}" } })),
                tool(json!({ "function": function("g", Value::Null) })),
            ],
            vec![call(0, "f", None), arguments(0, "{"), arguments(0, "}"), ended(0), call(1, "g", None), ended(1)],
        ),
        // Empty names and ids are none.
        (
            vec![
                tool(json!({ "id": "", "function": function("f", json!("{")) })),
                tool(json!({ "id": "", "function": function("", json!("}")) })),
            ],
            vec![call(0, "f", None), arguments(0, "{"), arguments(0, "}"), ended(0)],
        ),
        // Text that waits comes before the call.
        (
            vec![json!({ "content": "<th" }), tool(json!({ "function": { "name": "f" } }))],
            vec![content("<th"), call(0, "f", None), ended(0)],
        ),
    ] {
        assert_eq!(deltas(None, &deltas_in), expected, "{deltas_in:?}");
    }
}

fn finish(choices: &[Value]) -> Vec<Finish> {
    let mut normaliser = Normaliser::new("h", None);
    let mut told = vec![];
    for choice in choices {
        told.extend(normaliser.chunk(&json!({ "choices": [choice] })).unwrap());
    }
    told.extend(normaliser.finish(true).unwrap());
    told.into_iter()
        .filter_map(|(_, event)| if let Event::End { finish, .. } = event { Some(finish) } else { None })
        .collect()
}

#[test]
fn reasons_have_one_name() {
    let called = json!({ "delta": { "tool_calls": [{ "function": { "name": "f" } }] } });
    for (reason, plain, with_call) in [
        ("stop", Finish::Stop, Finish::ToolCalls),
        ("function_call", Finish::Stop, Finish::ToolCalls),
        ("tool_calls", Finish::ToolCalls, Finish::ToolCalls),
        ("length", Finish::Length, Finish::Length),
        ("max_tokens", Finish::Length, Finish::Length),
        ("content_filter", Finish::Filtered, Finish::Filtered),
        ("insufficient_system_resource", Finish::Aborted, Finish::Aborted),
        ("aborted", Finish::Aborted, Finish::Aborted),
        ("abort", Finish::Aborted, Finish::Aborted),
        ("error", Finish::Aborted, Finish::Aborted),
        ("eos", Finish::Stop, Finish::Stop),
    ] {
        let end = json!({ "delta": {}, "finish_reason": reason });
        assert_eq!(finish(std::slice::from_ref(&end)), [plain], "{reason}");
        assert_eq!(finish(&[called.clone(), end]), [with_call], "{reason}");
    }
    assert_eq!(finish(&[json!({ "delta": { "content": "a" }, "finish_reason": "" })]), [Finish::Stop], "empty is none");
}

#[test]
fn choices_and_counts_are_told_once() {
    let mut normaliser = Normaliser::new("h", None);
    let chunk = json!({
        "model": "n", "system_fingerprint": "fp", "usage": { "prompt_tokens": 3 },
        "choices": [{ "index": 2, "delta": { "content": "b" } }, { "index": 127, "delta": {}, "finish_reason": "stop" }],
    });
    assert_eq!((normaliser.model(), normaliser.fingerprint()), (None, None));
    assert_eq!(normaliser.chunk(&chunk).unwrap(), [(2, content("b"))]);
    let later = json!({ "model": "other", "system_fingerprint": "other", "usage": null, "choices": [], "error": null });
    normaliser.chunk(&later).unwrap();
    assert_eq!((normaliser.model(), normaliser.fingerprint()), (Some("n"), Some("fp")));
    // One has ended; where it breaks off the other has not.
    let known = Known { prompt: true, ..Known::NOTHING };
    let counts = Timings { known, prompt_tokens: 3, ..Timings::default() };
    let end = |timings| Event::End { finish: Finish::Stop, stop: None, timings };
    let none = Timings { known, ..Timings::default() };
    let cut = normaliser.cut();
    assert_eq!(cut, (vec![(127, end(counts))], false));
    assert_eq!(normaliser.finish(false).unwrap_err().message(), "h broke off in the middle of an answer");
    assert_eq!(normaliser.finish(true).unwrap(), [(2, end(counts)), (127, end(none))]);
    assert!(normaliser.cut().1);
    assert_eq!(Normaliser::new("h", None).cut(), (vec![], false));
    // Text that waited is said where the answer breaks off.
    let mut waiting = Normaliser::new("h", Some(true));
    assert!(waiting.chunk(&json!({ "choices": [{ "delta": { "content": "a" } }] })).unwrap().is_empty());
    assert_eq!(waiting.cut(), (vec![(0, content("a"))], false));
    let none = Normaliser::new("h", None).finish(true).unwrap_err();
    assert_eq!((none.code(), none.message()), (Code::Upstream, "h sent no answer"));
}

#[test]
fn what_is_no_chunk_is_an_error_that_says_what_it_was() {
    let error = |chunk: Value| -> Result<_> { Normaliser::new("h", None).chunk(&chunk) };
    let calls = |count: u32| {
        let calls: Vec<Value> = (0..count).map(|index| json!({ "index": index, "id": index.to_string() })).collect();
        json!({ "choices": [{ "delta": { "tool_calls": calls } }] })
    };
    for (chunk, says) in [
        (json!([1]), "h sent [1] instead of a chunk"),
        (json!("a\nb"), "h sent \"a\\\\nb\" instead of a chunk"),
        (json!({ "choices": [{ "index": 128 }] }), "h sent a choice number 128"),
        (calls(1025), "h sent more than 1024 calls"),
        (json!({ "error": { "message": "no" } }), "h broke off: no"),
        (json!({ "object": "error", "message": "no" }), "h broke off: no"),
        (json!({ "error": {} }), "h broke off: {\"error\":{}}"),
    ] {
        let found = error(chunk).unwrap_err();
        assert_eq!((found.code(), found.message(), &found.details()["host"]), (Code::Upstream, says, &json!("h")));
    }
    assert!(error(calls(1024)).is_ok() && error(json!({ "choices": [{ "index": 127 }] })).is_ok());
    assert!(error(json!({})).unwrap().is_empty());
    for (event, status) in [
        (json!({ "error": { "message": "no", "code": 429 } }), Some(429)),
        (json!({ "error": "no", "code": "500" }), Some(500)),
        (json!({ "error": { "message": "no", "status": 400 } }), Some(400)),
        (json!({ "error": "no", "status_code": 599 }), Some(599)),
        (json!({ "error": { "message": "no", "code": 399 } }), None),
        (json!({ "error": { "message": "no", "code": 600 } }), None),
        (json!({ "error": { "message": "no", "code": 65_936 } }), None),
    ] {
        let found = error(event.clone()).unwrap_err();
        assert_eq!(found.details().get("status"), status.map(|status| json!(status)).as_ref(), "{event}");
    }
}

#[test]
fn envelopes_of_every_shape_have_one_line() {
    for (body, said) in [
        (json!({ "error": { "message": "no", "type": "x" } }), Some("no")),
        (json!({ "error": "no" }), Some("no")),
        (json!({ "detail": "no" }), Some("no")),
        (json!({ "message": "no" }), Some("no")),
        (json!({ "errors": ["no"] }), Some("no")),
        (json!({ "error": { "detail": { "msg": "no" } } }), Some("no")),
        (
            json!({ "detail": [{ "loc": ["body", "messages", 0], "msg": "Field required" }] }),
            Some("body.messages.0: Field required"),
        ),
        (json!({ "error": " ", "detail": "no" }), Some("no")),
        (json!({ "error": { "error": "no\n at\tall" } }), Some("no at all")),
        (
            json!({ "error": { "message": "Provider returned error", "metadata": { "raw": "{\"error\": \"no\"}" } } }),
            Some("Provider returned error (no)"),
        ),
        (json!({ "error": { "message": "bad", "metadata": { "raw": "plain  text" } } }), Some("bad (plain text)")),
        (json!({ "error": { "message": "bad", "metadata": { "raw": "" } } }), Some("bad")),
        (json!({ "error": { "metadata": { "raw": "alone" } } }), Some("alone")),
        (json!({ "error": 5 }), None),
        (json!({ "error": [] }), None),
        (json!({}), None),
        (json!("no"), None),
    ] {
        assert_eq!(envelope(&body).as_deref(), said, "{body}");
    }
}

#[test]
fn a_line_is_short_and_moves_no_cursor() {
    assert_eq!(one_line(" a \n\t b  "), "a b");
    assert_eq!(one_line("say \"a\"\u{1b}[2J"), "say \"a\"\\u{1b}[2J");
    let (fits, long) = ("ø".repeat(300), "ø".repeat(301));
    assert_eq!((one_line(&fits), one_line(&long)), (fits.clone(), format!("{fits}…")));
    let error = upstream("h", "said no");
    assert_eq!((error.code(), error.message(), &error.details()["host"]), (Code::Upstream, "h said no", &json!("h")));
}
