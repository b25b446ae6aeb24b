//! Oracles: OpenAI's shapes of chat and text completions; chunks add up to the whole.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{TIMINGS, said};
use crate::error::{Code, Error};
use crate::generate::{Event, Finish, Logprobs, Request, SpelledToken, Timings, Voice};
use crate::text::Tokenizer;
use crate::wire::openai::{Chunked, Completion, TextAsked, TextCompletion};

fn end(finish: Finish, timings: Timings) -> Event {
    Event::End { finish, stop: None, timings }
}

fn token(id: u32) -> Event {
    let top = vec![(id, -0.5), (1, -1.0), (2, f32::NEG_INFINITY)];
    Event::Token { id, logprobs: Some(Logprobs { sampled: -0.5, rank: 1, top }) }
}

fn spelled(text: &str, logprob: Option<f32>) -> Event {
    let top = vec![(text.as_bytes().to_vec(), -0.5), (b"x".to_vec(), f32::NEG_INFINITY)];
    Event::Spelled(SpelledToken { bytes: text.as_bytes().to_vec(), logprob, top })
}

/// Ids 0 to 3 are "a", "b", "</think>" and a token without text.
fn tokenizer() -> Arc<Tokenizer> {
    let file = json!({
        "added_tokens": [{ "id": 2, "content": "</think>" }, { "id": 3, "content": "<mark>", "special": true }],
        "model": { "type": "BPE", "vocab": { "a": 0, "b": 1 }, "merges": [] },
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "use_regex": false },
    });
    Arc::new(Tokenizer::from_json("tokenizer.json", file.to_string().as_bytes(), 4).unwrap())
}

/// Answers to as many prompts as there are echoes, `answers` to each.
fn texts(echoes: &[&str], answers: u32) -> TextAsked {
    let echoes = echoes.iter().map(|&echo| echo.to_owned()).collect::<Vec<_>>();
    let requests = echoes.iter().map(|_| Request::new(vec![0, 1])).collect();
    TextAsked { requests, answers, echoes, added_tokens: 0 }
}

fn text(asked: &TextAsked) -> TextCompletion {
    TextCompletion::new("1", 7, "m", asked)
}

#[test]
fn texts_come_by_chunks_with_counts_in_the_last_or_apart() {
    let chunk = |index: u32, text: &str, finish: Value| {
        json!({
            "id": "1", "object": "text_completion", "created": 7, "model": "m", "system_fingerprint": "fp",
            "choices": [{ "text": text, "index": index, "logprobs": null, "finish_reason": finish }], "usage": null,
        })
    };
    // Two prompts of 10 tokens, two answers of 5 to each.
    let usage = json!({
        "prompt_tokens": 20, "completion_tokens": 20, "total_tokens": 40, "prompt_cache_hit_tokens": 8,
        "prompt_cache_miss_tokens": 12, "prompt_tokens_details": { "cached_tokens": 8 },
    });
    for apart in [false, true] {
        let asked = texts(&["", "", "", ""], 2);
        let mut completion = text(&asked).with_fingerprint("fp");
        if apart {
            completion = completion.with_usage_apart();
        }
        let mut told = vec![];
        for choice in 0..4 {
            assert_eq!(completion.first_chunk(choice), None, "nothing is before the text");
            told.extend(completion.chunk(choice, &said(Voice::Content, "a")));
            assert_eq!(completion.usage_chunk(), None, "not before the end");
        }
        for choice in 0..4 {
            assert_eq!(completion.usage_chunk(), None, "not before all have ended");
            told.extend(completion.chunk(choice, &end(Finish::Stop, TIMINGS)));
        }
        let mut expected: Vec<Value> = (0..4).map(|choice| chunk(choice, "a", Value::Null)).collect();
        expected.extend((0..4).map(|choice| chunk(choice, "", json!("stop"))));
        if !apart {
            expected[7]["usage"] = usage.clone();
        }
        assert_eq!(told, expected);
        let mut counts = chunk(0, "", Value::Null);
        (counts["choices"], counts["usage"]) = (json!([]), usage.clone());
        assert_eq!(completion.usage_chunk(), apart.then_some(counts));
        let whole = completion.response();
        assert_eq!((&whole["usage"], whole["choices"].as_array().unwrap().len()), (&usage, 4));
        assert_eq!(whole["choices"][3], json!({ "text": "a", "index": 3, "logprobs": null, "finish_reason": "stop" }));
    }
}

#[test]
fn an_echo_comes_first_and_is_none_of_the_chunks_after_it() {
    let asked = texts(&["ø ", ""], 1);
    let mut completion = text(&asked);
    let first = completion.first_chunk(0).unwrap();
    assert_eq!(first["choices"][0], json!({ "text": "ø ", "index": 0, "logprobs": null, "finish_reason": null }));
    assert_eq!((completion.first_chunk(1), completion.first_chunk(2)), (None, None));
    assert_eq!(completion.chunk(0, &said(Voice::Content, "a")).unwrap()["choices"][0]["text"], "a");
    let whole = completion.response();
    assert_eq!((&whole["choices"][0]["text"], &whole["choices"][1]["text"]), (&json!("ø a"), &json!("")));
    assert_eq!(completion.chunk(2, &said(Voice::Content, "a")), None, "there is no such answer");
}

/// Where tokens are told by another engine, and where they are the model's own.
#[test]
fn tokens_are_listed_with_the_text_that_they_release() {
    let row = |tokens: &[&str], own: Value, tops: Value, offsets: &[u32]| json!({ "tokens": tokens, "token_logprobs": own, "top_logprobs": tops, "text_offset": offsets });
    let asked = texts(&["ø"], 1);
    let mut elsewhere = text(&asked).with_logprobs(None, 5);
    assert_eq!(elsewhere.chunk(0, &spelled("aø", Some(-0.5))), None);
    assert_eq!(elsewhere.chunk(0, &spelled("b", None)), None);
    let chunk = elsewhere.chunk(0, &said(Voice::Content, "aøb")).unwrap();
    let tops = json!([{ "aø": -0.5, "x": -9999.0 }, { "b": -0.5, "x": -9999.0 }]);
    // The echo is one character, the first token two.
    let expected = row(&["aø", "b"], json!([-0.5, null]), tops, &[1, 3]);
    assert_eq!(chunk["choices"][0]["logprobs"], expected);
    assert_eq!(elsewhere.response()["choices"][0]["logprobs"], expected);
    let next = elsewhere.chunk(0, &said(Voice::Content, "c")).unwrap();
    assert_eq!(next["choices"][0]["logprobs"], row(&[], json!([]), json!([]), &[]));

    // Of so many as were asked for, with the token itself.
    for (count, first) in [(0, json!({ "a": -0.5 })), (1, json!({ "a": -0.5 })), (2, json!({ "a": -0.5, "b": -1.0 }))] {
        let mut own = text(&texts(&[""], 1)).with_logprobs(tokenizer(), count);
        own.chunk(0, &token(0));
        let chunk = own.chunk(0, &said(Voice::Content, "a")).unwrap();
        assert_eq!(chunk["choices"][0]["logprobs"], row(&["a"], json!([-0.5]), json!([first]), &[0]), "{count}");
    }
    // What is told by chunks is not kept.
    let mut streamed = text(&texts(&[""], 1)).with_logprobs(tokenizer(), 0);
    streamed.tell_by_chunks();
    streamed.chunk(0, &token(0));
    streamed.chunk(0, &said(Voice::Content, "a"));
    let whole = streamed.response();
    let choice = &whole["choices"][0];
    assert_eq!((&choice["text"], &choice["logprobs"]["tokens"]), (&json!(""), &json!([])));
    // Nobody asked: nothing is listed.
    let mut quiet = text(&texts(&[""], 1));
    quiet.chunk(0, &token(0));
    quiet.chunk(0, &spelled("b", None));
    assert!(quiet.chunk(0, &said(Voice::Content, "ab")).unwrap()["choices"][0]["logprobs"].is_null());
    assert_eq!(quiet.response()["usage"]["completion_tokens"], 1, "tokens of another engine are counted by it");
}

/// Each row: how it ended, whether a token ended it, and the tokens that its last chunk lists.
#[test]
fn tokens_without_text_are_listed_at_the_end_unless_a_stop_text_took_them() {
    for (finish, by_token, listed) in [
        (Finish::Stop, true, json!(["b", ""])),
        (Finish::Stop, false, Value::Null),
        (Finish::Length, false, json!(["b"])),
        (Finish::Aborted, false, json!(["b"])),
    ] {
        for by_chunks in [false, true] {
            let mut completion = text(&texts(&[""], 1)).with_logprobs(tokenizer(), 0);
            if by_chunks {
                completion.tell_by_chunks();
            }
            completion.chunk(0, &token(0));
            completion.chunk(0, &said(Voice::Content, "a"));
            completion.chunk(0, &token(1));
            if by_token {
                let logprobs = Some(Logprobs { sampled: -1.5, rank: 1, top: vec![] });
                completion.chunk(0, &Event::EndToken { id: 2, logprobs });
            }
            let last = completion.chunk(0, &end(finish, TIMINGS)).unwrap();
            let tokens = last["choices"][0]["logprobs"].get("tokens").cloned().unwrap_or_default();
            assert_eq!(tokens, listed, "{finish:?}");
            if by_token {
                // The token that ends an answer begins where its text ends, and is none of it.
                assert_eq!(last["choices"][0]["logprobs"]["text_offset"], json!([1, 2]));
            }
            let mut all = if by_chunks { vec![] } else { vec![json!("a")] };
            if !by_chunks {
                all.extend(listed.as_array().into_iter().flatten().cloned());
            }
            assert_eq!(completion.response()["choices"][0]["logprobs"]["tokens"], json!(all));
        }
    }
}

#[test]
fn a_failure_ends_what_was_begun() {
    let error = Error::new(Code::DeviceLost, "gone");
    let told =
        json!({ "error": { "message": "gone", "type": "server_error", "param": null, "code": "internal_error" } });
    for (begun, apart) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut completion = text(&texts(&["", "", ""], 1));
        if apart {
            completion = completion.with_usage_apart();
        }
        completion.chunk(0, &Event::Prompt { done: 3, total: 3, cached: 1, elapsed_ms: 1.0 });
        assert!(!completion.has_begun());
        completion.chunk(1, &end(Finish::Stop, Timings::default()));
        assert!(!completion.has_begun());
        if begun {
            completion.chunk(2, &Event::Token { id: 1, logprobs: None });
        }
        assert_eq!(completion.has_begun(), begun);
        let rest = completion.abort(&error);
        if !begun {
            assert_eq!(rest, std::slice::from_ref(&told));
            continue;
        }
        let ends: Vec<(Value, Value)> = rest[..2]
            .iter()
            .map(|chunk| (chunk["choices"][0]["index"].clone(), chunk["choices"][0]["finish_reason"].clone()))
            .collect();
        let cut = json!("insufficient_system_resource");
        assert_eq!(ends, [(json!(0), cut.clone()), (json!(2), cut)]);
        assert_eq!(rest.len(), if apart { 3 } else { 2 });
        let counts = &rest.last().unwrap()["usage"];
        assert_eq!((&counts["prompt_tokens"], &counts["completion_tokens"]), (&json!(3), &json!(1)));
        assert!(completion.abort(&error).iter().all(|chunk| chunk["choices"] == json!([])), "no end comes twice");
    }
}

/// A chat of several answers, one of which an engine elsewhere made with a thought that nobody asked for.
#[test]
fn chats_of_other_engines_tell_the_counts_that_are_known() {
    let mut plain = Completion::new("1", 7, "m", false).of_elsewhere();
    assert_eq!(plain.first_chunk(0).unwrap()["choices"][0]["delta"], json!({ "role": "assistant", "content": "" }));
    plain.chunk(0, &said(Voice::Content, "a"));
    let whole = plain.response();
    assert!(whole["usage"].is_null() && whole.get("timings").is_none() && whole.get("system_fingerprint").is_none());
    assert!(whole["choices"][0]["finish_reason"].is_null(), "it has not ended");
    let chunk = plain.chunk(0, &said(Voice::Reasoning, "hm")).unwrap();
    assert_eq!(chunk["choices"][0]["delta"], json!({ "content": null, "reasoning_content": "hm" }));
    let last = plain.chunk(0, &end(Finish::Stop, TIMINGS)).unwrap();
    assert_eq!((&last["usage"]["total_tokens"], last.get("timings")), (&json!(15), None));
    assert_eq!(plain.response()["choices"][0]["message"]["reasoning_content"], "hm");
    let mut text = text(&texts(&[""], 1)).of_elsewhere();
    text.chunk(0, &said(Voice::Content, "a"));
    assert!(text.response()["usage"].is_null());
    let own = Completion::new("1", 7, "m", false).with_answers(0).response();
    assert_eq!((own["choices"].as_array().unwrap().len(), own["timings"].is_object()), (1, true));
    assert_eq!(Completion::new("1", 7, "m", false).with_answers(3).response()["choices"].as_array().unwrap().len(), 3);
}

#[test]
fn log_probabilities_of_a_chat_go_with_its_voices() {
    let listed =
        |value: &Value| value.as_array().map(|all| all.iter().map(|entry| entry["token"].clone()).collect::<Vec<_>>());
    for by_chunks in [false, true] {
        let mut completion = Completion::new("1", 7, "m", true).with_logprobs(None);
        if by_chunks {
            completion.tell_by_chunks();
        }
        let mut chunks = vec![];
        for event in [
            spelled("h", Some(-0.5)),
            said(Voice::Reasoning, "h"),
            spelled("a", None),
            said(Voice::Content, "a"),
            spelled("<call>", None),
            Event::Call { index: 0, name: "f".to_owned(), id: None },
            spelled("{}", None),
            Event::Arguments { index: 0, text: "{}".to_owned() },
            Event::CallEnd { index: 0 },
            spelled("b", None),
            said(Voice::Content, "b"),
        ] {
            chunks.extend(completion.chunk(0, &event));
        }
        let at = |place: usize| chunks[place]["choices"][0]["logprobs"].clone();
        assert_eq!(listed(&at(0)["reasoning_content"]), Some(vec![json!("h")]));
        assert_eq!(listed(&at(1)["content"]), Some(vec![json!("a")]));
        assert!(at(2).is_null() && at(3).is_null(), "markup of calls is no text");
        assert_eq!(listed(&at(4)["content"]), Some(vec![json!("b")]));
        assert_eq!(at(1)["content"][0]["logprob"], Value::Null);
        let whole = &completion.response()["choices"][0]["logprobs"];
        let kept = |all: &[&str]| Some(if by_chunks { vec![] } else { all.iter().map(|&text| json!(text)).collect() });
        assert_eq!((listed(&whole["reasoning_content"]), listed(&whole["content"])), (kept(&["h"]), kept(&["a", "b"])));
    }
    let mut quiet = Completion::new("1", 7, "m", false);
    quiet.chunk(0, &spelled("a", None));
    assert!(quiet.chunk(0, &said(Voice::Content, "a")).unwrap()["choices"][0]["logprobs"].is_null());
    assert!(quiet.response()["choices"][0]["logprobs"].is_null());
    let answering = Completion::new("1", 7, "m", false).with_logprobs(tokenizer()).response();
    assert_eq!(answering["choices"][0]["logprobs"], json!({ "content": [] }), "no thought, no list of its tokens");
}

/// Oracle: DeepSeek's own lists, which hold the tokens of the text and no others.
#[test]
fn marks_are_none_of_the_tokens_of_a_chat() {
    let mut completion = Completion::new("1", 7, "m", false).with_logprobs(tokenizer());
    for id in [3, 0, 2, 1] {
        completion.chunk(0, &token(id));
    }
    let chunk = completion.chunk(0, &said(Voice::Content, "ab")).unwrap();
    let listed = chunk["choices"][0]["logprobs"]["content"].as_array().unwrap();
    let texts: Vec<&Value> = listed.iter().map(|entry| &entry["token"]).collect();
    assert_eq!(texts, ["a", "b"]);
    let top = json!([
        { "token": "a", "logprob": -0.5, "bytes": [97] }, { "token": "b", "logprob": -1.0, "bytes": [98] },
        { "token": "</think>", "logprob": -9999.0, "bytes": b"</think>" },
    ]);
    assert_eq!((&listed[0]["top_logprobs"], &listed[0]["logprob"]), (&top, &json!(-0.5)));
}
