//! Oracles: the README of llama.cpp's server; that prompts are what their tokens say.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use serde_json::{Value, json};

use super::{LlamaAnswer, LlamaRequest, ROOM};
use crate::chat::control::{EOT, FIM_BEGIN, FIM_END, FIM_HOLE};
use crate::error::{Code, Result};
use crate::generate::{Event, Finish, Request, SamplingParams, Timings, Voice};
use crate::language::Language;
use crate::wire::openai::Rules;
use crate::wire::tests::language;

fn parse(fields: &Value, fills: bool) -> Result<LlamaRequest> {
    LlamaRequest::parse(fields.to_string().as_bytes(), fills)
}

fn asked(language: &Language, fields: &Value, fills: bool) -> Result<(Request, LlamaAnswer)> {
    let (mut requests, answer) = parse(fields, fills)?.to_requests(language, &Rules::default(), "m".to_owned())?;
    assert_eq!(requests.len(), 1);
    Ok((requests.remove(0), answer))
}

#[test]
fn a_prompt_is_one_text_or_one_list_of_ids() {
    let gap = "prompt: expected a string, the text before the gap";
    let one = "prompt: expected one prompt, as a string or as ids";
    let none = "prompt: expected a string or ids, found none";
    for (fills, prompt, refusal) in [
        (true, Value::Null, None),
        (true, json!("a"), None),
        (true, json!([1]), Some(gap)),
        (true, json!(["a"]), Some(gap)),
        (false, json!("a"), None),
        (false, json!([1]), None),
        (false, json!(["a"]), Some(one)),
        (false, json!([[1]]), Some(one)),
        (false, Value::Null, Some(none)),
    ] {
        match (parse(&json!({ "prompt": prompt }), fills), refusal) {
            (Ok(_), None) => {}
            (Err(error), Some(message)) => {
                assert_eq!((error.message(), &error.details()["param"]), (message, &json!("prompt")));
            }
            (found, _) => panic!("{fills} {prompt}: {:?}", found.err()),
        }
    }
    let streams = |stream: Value| parse(&json!({ "prompt": "a", "stream": stream }), false).unwrap().is_stream();
    assert_eq!((streams(json!(true)), streams(json!(false)), streams(Value::Null)), (true, false, false));
}

#[test]
fn fields_are_those_of_a_text_completion() {
    let language = language(128, false);
    let fields = json!({
        "prompt": [5, 6], "n_predict": 7, "temperature": 0.5, "top_k": 3, "top_p": 0.25, "min_p": 0.125,
        "repeat_penalty": 1.5, "presence_penalty": 1, "frequency_penalty": -1, "seed": 9, "stop": ["x"], "ignore_eos": true,
    });
    let (request, _) = asked(&language, &fields, false).unwrap();
    let sampling = SamplingParams {
        temperature: 0.5,
        top_k: 3,
        top_p: 0.25,
        min_p: 0.125,
        repetition_penalty: 1.5,
        presence_penalty: 1.0,
        frequency_penalty: -1.0,
        seed: 9,
        ..SamplingParams::default()
    };
    assert_eq!(request.sampling, sampling);
    assert_eq!((request.prompt, request.max_tokens, request.stop), (vec![5, 6], Some(7), vec!["x".to_owned()]));
    assert!(request.ignore_eos && request.stop_ids.is_empty());
    let field = |fields: Value| {
        let mut all = json!({ "prompt": [5, 6] });
        all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        asked(&language, &all, false).unwrap().0
    };
    // As many as there is room for, and none.
    let most = |most: Value| field(json!({ "n_predict": most })).max_tokens;
    assert_eq!(
        (most(json!(-1)), most(json!(-2)), most(Value::Null), most(json!(0))),
        (Some(126), Some(126), Some(126), Some(0))
    );
    // A share of 0 keeps the likeliest token; −1 is a seed that is drawn.
    assert_eq!(field(json!({ "top_p": 0 })).sampling.top_p, f32::MIN_POSITIVE);
    assert_eq!(field(json!({ "top_p": 1 })).sampling.top_p, 1.0);
    let seed = |seed: Value| field(json!({ "seed": seed })).sampling.seed;
    assert_ne!(seed(json!(-1)), seed(json!(-1)));
    assert_eq!((seed(json!(1)), seed(json!(2)), seed(json!(-2))), (1, 2, u64::MAX - 1));
    let refused = asked(&language, &json!({ "prompt": "a", "temperature": 3 }), false).map(|_| ()).unwrap_err();
    assert_eq!(refused.details()["param"], "temperature");
}

#[test]
fn what_cannot_be_shown_to_the_model_is_named() {
    let (plain, holes) = (language(128, false), language(128, true));
    let ignored = |language: &Language, fields: Value, fills| parse(&fields, fills).unwrap().ignored(language);
    let behind = json!({ "prompt": "a", "input_suffix": "b", "x": 1 });
    assert_eq!(ignored(&plain, behind.clone(), true), ["x", "input_suffix"]);
    assert_eq!(ignored(&plain, behind.clone(), false), ["x"]);
    assert_eq!(ignored(&holes, behind, true), ["x"]);
    assert!(ignored(&plain, json!({ "input_suffix": "" }), true).is_empty());
    assert!(ignored(&plain, json!({ "input_prefix": "a" }), true).is_empty());
}

/// The prompt for these texts, as text; and its length.
fn filled(language: &Language, fields: &Value) -> (String, usize) {
    let (request, answer) = asked(language, fields, true).unwrap();
    assert_eq!(request.stop_ids, language.tokenizer().token_id(EOT).into_iter().collect::<Vec<_>>());
    assert_eq!(answer.prompt, language.tokenizer().decode(&request.prompt));
    (answer.prompt, request.prompt.len())
}

#[test]
fn a_hole_is_between_its_texts_after_those_of_other_files() {
    let language = language(1024, true);
    let fields = json!({
        "input_prefix": "Once upon", "input_suffix": "The end.", "prompt": " a time", "n_predict": 8,
        "input_extra": [{ "filename": "a.txt", "text": "A dog." }, { "text": "A cat." }],
    });
    let extra = "\n\n--- snippet ---\n\na.txt\nA dog.\n\n--- snippet ---\n\nA cat.";
    let hole = format!("{FIM_BEGIN}Once upon{FIM_HOLE}The end.{FIM_END} a time");
    let begin = language.tokenizer().decode(&language.raw_prompt("").unwrap());
    assert_eq!(filled(&language, &fields).0, format!("{begin}{extra}{hole}"));
    let bare = json!({ "n_predict": 8 });
    assert_eq!(filled(&language, &bare).0, format!("{begin}{FIM_BEGIN}{FIM_HOLE}{FIM_END}"));
    // Without the tokens of a hole what is before it is continued.
    let plain = crate::wire::tests::language(1024, false);
    assert_eq!(filled(&plain, &fields).0, format!("{begin}{extra}Once upon a time"));
}

#[test]
fn texts_of_other_files_are_cut_to_the_room_beside_the_answer() {
    let context = 512;
    let language = language(context, true);
    let most = context as usize;
    let extra = json!([{ "text": "One cat sat. ".repeat(150) }, { "text": "A dog ran home. ".repeat(20) }]);
    let room = |fields: Value| {
        let mut all = json!({ "input_prefix": "Once", "input_extra": extra });
        all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        filled(&language, &all)
    };
    for (predict, wanted) in [(json!(10), 10), (json!(100), 100), (json!(-1), ROOM), (Value::Null, ROOM)] {
        let (prompt, length) = room(json!({ "n_predict": predict }));
        assert_eq!(length, most - wanted, "{predict}");
        assert!(prompt.ends_with(&format!("A dog ran home. {FIM_BEGIN}Once{FIM_HOLE}{FIM_END}")), "{prompt}");
    }
    // No room is left: the hole alone, where an answer fits at all.
    let alone = language.raw_prompt("Once").unwrap().len() + 3;
    assert_eq!(room(json!({ "n_predict": 512 })).1, alone);
    // A text that has no room even alone is left out, and others are not.
    let huge = json!([{ "text": "A dog." }, { "text": "x".repeat(1 << 20) }]);
    let (prompt, _) = room(json!({ "input_extra": huge, "n_predict": 10 }));
    assert!(prompt.contains("--- snippet ---\n\nA dog.") && !prompt.contains("xx"), "{prompt}");
    for field in ["input_prefix", "input_suffix", "prompt"] {
        let error = asked(&language, &json!({ field: "x".repeat(1 << 20) }), true).map(|_| ()).unwrap_err();
        assert_eq!(error.code(), Code::ContextOverflow, "{field}");
    }
}

const TIMINGS: Timings = Timings {
    known: crate::generate::Known { prompt: true, cached: true, completion: true, reasoning: true },
    prompt_tokens: 10,
    cached_tokens: 4,
    completion_tokens: 3,
    reasoning_tokens: 0,
    queue_ms: 0.0,
    prompt_ms: 3.0,
    first_token_ms: 4.0,
    decode_ms: 2.0,
};

fn events(finish: Finish, stop: Option<&str>, ends: bool) -> Vec<Event> {
    let mut events = vec![
        Event::Prompt { done: 8, total: 10, cached: 4, elapsed_ms: 1.6 },
        Event::Token { id: 7, logprobs: None },
        Event::Text { voice: Voice::Content, text: "a".to_owned() },
        Event::Token { id: 8, logprobs: None },
        Event::Token { id: 9, logprobs: None },
        Event::Text { voice: Voice::Content, text: "b\n".to_owned() },
    ];
    events.extend(ends.then_some(Event::EndToken { id: 1, logprobs: None }));
    events.push(Event::End { finish, stop: stop.map(str::to_owned), timings: TIMINGS });
    events
}

#[test]
fn an_answer_is_told_by_parts_or_whole() {
    let language = language(128, false);
    let fields = json!({ "prompt": [20, 21], "return_tokens": true, "return_progress": true, "stream": true });
    let (_, mut streamed) = asked(&language, &fields, false).unwrap();
    let parts: Vec<Value> =
        events(Finish::Length, None, false).iter().filter_map(|event| streamed.part(event)).collect();
    let part = |content: &str, tokens: Value, predicted: u32| {
        json!({
            "index": 0, "content": content, "tokens": tokens, "stop": false, "id_slot": 0, "tokens_predicted": predicted,
            "tokens_evaluated": 10,
        })
    };
    let mut progress = part("", json!([]), 0);
    progress["prompt_progress"] = json!({ "total": 10, "cache": 4, "processed": 8, "time_ms": 2.0 });
    let last = |content: &str, tokens: Value, stop_type: &str, word: &str| {
        let mut last = part(content, tokens, 3);
        let rest = json!({
            "stop": true, "model": "m", "prompt": language.tokenizer().decode(&[20, 21]), "has_new_line": true,
            "truncated": false, "stop_type": stop_type, "stopping_word": word, "tokens_cached": 4,
            "timings": {
                "cache_n": 4, "prompt_n": 6, "prompt_ms": 3.0, "prompt_per_second": 2000.0, "predicted_n": 3,
                "predicted_ms": 2.0, "predicted_per_second": 1000.0, "first_token_ms": 4.0,
            },
        });
        last.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        last
    };
    let expected =
        [progress, part("a", json!([7]), 1), part("b\n", json!([8, 9]), 3), last("", json!([]), "limit", "")];
    assert_eq!(parts, expected);
    // Whole, without what nobody asked for.
    for (returns, finish, stop, ends, stop_type) in [
        (true, Finish::Stop, None, true, "eos"),
        (false, Finish::Stop, Some("x"), false, "word"),
        (true, Finish::Length, None, true, "limit"),
        (false, Finish::Aborted, None, false, "none"),
    ] {
        let fields = json!({ "prompt": [20, 21], "return_tokens": returns });
        let (_, mut whole) = asked(&language, &fields, false).unwrap();
        events(finish, stop, ends).iter().for_each(|event| whole.take(event));
        let tokens = if returns { json!([7, 8, 9]) } else { json!([]) };
        assert_eq!(whole.last(), last("ab\n", tokens, stop_type, stop.unwrap_or_default()), "{finish:?}");
        let mut silent = asked(&language, &fields, false).unwrap().1;
        let prompt = Event::Prompt { done: 8, total: 10, cached: 4, elapsed_ms: 1.0 };
        assert_eq!(silent.part(&prompt), None, "progress is for those who ask");
        silent.take(&Event::Text { voice: Voice::Content, text: "a".to_owned() });
        assert_eq!(silent.last()["has_new_line"], false);
    }
}
