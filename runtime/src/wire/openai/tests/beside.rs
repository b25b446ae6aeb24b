//! Oracles: vLLM's `return_token_ids` and `prompt_logprobs`, llama.cpp's `return_progress`.

use serde_json::{Value, json};

use crate::generate::{Event, Finish, Logprobs, Timings, Voice};
use crate::language::Language;
use crate::wire::openai::{ChatRequest, Chunked, Rules, TextRequest};
use crate::wire::tests::language;

/// Events of an answer: ids 20, 21 with the text "a", then 22 with "b", and 1, which ends it.
fn events(scored: &[Logprobs]) -> Vec<Event> {
    let token = |id| Event::Token { id, logprobs: None };
    let text = |text: &str| Event::Text { voice: Voice::Content, text: text.to_owned() };
    vec![
        Event::PromptLogprobs { first: 1, logprobs: scored.to_vec() },
        Event::Prompt { done: 2, total: 3, cached: 1, elapsed_ms: 1.6 },
        token(20),
        token(21),
        text("a"),
        token(22),
        text("b"),
        Event::EndToken { id: 1, logprobs: None },
        Event::End { finish: Finish::Stop, stop: None, timings: Timings::default() },
    ]
}

/// The chunks of an answer with these fields, and the whole.
fn told(language: &Language, is_chat: bool, fields: &Value, scored: &[Logprobs]) -> (Vec<Value>, Value) {
    let mut body = match is_chat {
        true => json!({ "messages": [{ "role": "user", "content": "a" }] }),
        false => json!({ "prompt": [[5, 6, 7], [8, 9, 10]] }),
    };
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let mut completion: Box<dyn Chunked> = if is_chat {
        let request = ChatRequest::parse(body.to_string()).unwrap();
        let asked = request.to_request(language).unwrap();
        Box::new(request.completion(language, &asked, "1", 7))
    } else {
        let request = TextRequest::parse_by(&Rules::default(), body.to_string()).unwrap();
        let asked = request.to_requests(language).unwrap();
        Box::new(request.completion(language, &asked, "1", 7))
    };
    let mut chunks = Vec::from_iter(completion.first_chunk(0));
    chunks.extend(events(scored).iter().filter_map(|event| completion.chunk(0, event)));
    (chunks, completion.response())
}

#[test]
fn ids_come_with_the_chunk_after_them() {
    let language = language(128, false);
    for is_chat in [true, false] {
        let (chunks, _) = told(&language, is_chat, &json!({ "return_token_ids": true, "stream": true }), &[]);
        let ids: Vec<Value> = chunks.iter().map(|chunk| chunk["choices"][0]["token_ids"].clone()).collect();
        assert_eq!(ids, [Value::Null, json!([20, 21]), json!([22]), json!([1])], "chat {is_chat}");
        let first = if is_chat { &chunks[0] } else { &chunks[0]["choices"][0] };
        let prompt = first["prompt_token_ids"].as_array().unwrap();
        assert!(if is_chat { prompt.len() > 3 } else { *prompt == [5, 6, 7] }, "{prompt:?}");
        assert_eq!(chunks.iter().filter(|chunk| chunk.to_string().contains("prompt_token_ids")).count(), 1);
        // Nobody asked, or all of it comes at once.
        for fields in [
            json!({ "stream": true }),
            json!({ "return_token_ids": true }),
            json!({ "return_token_ids": false, "stream": true }),
        ] {
            let (chunks, _) = told(&language, is_chat, &fields, &[]);
            assert!(!json!(chunks).to_string().contains("token_ids"), "{fields}");
            assert_eq!(chunks.len(), if is_chat { 4 } else { 3 }, "{fields}");
        }
        let (_, whole) = told(&language, is_chat, &json!({ "return_token_ids": true }), &[]);
        let choice = &whole["choices"][0];
        assert_eq!(choice["token_ids"], json!([20, 21, 22, 1]));
        let place = if is_chat { &whole } else { choice };
        assert_eq!(place["prompt_token_ids"], json!(prompt));
        if !is_chat {
            assert_eq!(whole["choices"][1]["prompt_token_ids"], json!([8, 9, 10]));
            assert_eq!(whole["choices"][1]["token_ids"], json!([]));
        }
        assert_eq!(whole.get("prompt_token_ids").is_some(), is_chat);
        let (_, quiet) = told(&language, is_chat, &json!({}), &[]);
        assert!(!quiet.to_string().contains("token_ids"));
    }
}

#[test]
fn progress_is_a_chunk_of_its_own_in_a_stream() {
    let language = language(128, false);
    for is_chat in [true, false] {
        let (chunks, whole) = told(&language, is_chat, &json!({ "return_progress": true, "stream": true }), &[]);
        let progress: Vec<&Value> = chunks.iter().filter_map(|chunk| chunk.get("prompt_progress")).collect();
        assert_eq!(progress, [&json!({ "total": 3, "cache": 1, "processed": 2, "time_ms": 2.0 })]);
        assert!(!whole.to_string().contains("prompt_progress"));
        for fields in [json!({ "stream": true }), json!({ "return_progress": true })] {
            let (chunks, _) = told(&language, is_chat, &fields, &[]);
            assert!(!json!(chunks).to_string().contains("prompt_progress"), "{fields}");
        }
    }
}

/// Each token of the prompt but the first has its own entry, and those of the most probable by their ranks.
#[test]
fn a_scored_prompt_lists_candidates_by_their_ids() {
    let language = language(128, false);
    let scored = [
        Logprobs { sampled: -2.0, rank: 5, top: vec![(30, -0.25), (31, -0.5), (32, -1.0)] },
        Logprobs { sampled: f32::NEG_INFINITY, rank: 2, top: vec![(30, -0.25), (7, -0.5), (32, -1.0)] },
    ];
    let (_, whole) = told(&language, false, &json!({ "prompt_logprobs": 2 }), &scored);
    let entry = |id: u32, logprob: f64, rank: u32| {
        let text = String::from_utf8_lossy(language.tokenizer().piece_bytes(id)).into_owned();
        json!({ "logprob": logprob, "rank": rank, "decoded_token": text })
    };
    let expected = json!([
        null,
        { "30": entry(30, -0.25, 1), "31": entry(31, -0.5, 2), "6": entry(6, -2.0, 5) },
        { "30": entry(30, -0.25, 1), "7": entry(7, -9999.0, 2) },
    ]);
    assert_eq!(whole["choices"][0]["prompt_logprobs"], expected);
    assert_eq!(whole["choices"][1]["prompt_logprobs"], json!([null]), "nothing was told of this one");
    assert!(whole.get("prompt_logprobs").is_none());
    let (_, own) = told(&language, false, &json!({ "prompt_logprobs": 0 }), &scored);
    assert_eq!(own["choices"][0]["prompt_logprobs"][1], json!({ "6": entry(6, -2.0, 5) }));
    let (_, chat) = told(&language, true, &json!({ "prompt_logprobs": 2 }), &scored);
    assert_eq!(chat["prompt_logprobs"].as_array().unwrap().len(), 3);
    assert!(chat["choices"][0].get("prompt_logprobs").is_none());
    let (_, quiet) = told(&language, false, &json!({ "return_token_ids": true }), &scored);
    assert!(quiet["choices"][0].get("prompt_logprobs").is_none());
}

/// The prompt of several answers is read, and scored, with the first.
#[test]
fn the_first_of_several_answers_tells_of_their_prompt() {
    let language = language(128, false);
    let scored = [Logprobs { sampled: -2.0, rank: 1, top: vec![] }];
    let (_, whole) = told(&language, true, &json!({ "n": 2, "prompt_logprobs": 0 }), &scored);
    let listed = whole["prompt_logprobs"].as_array().unwrap();
    assert_eq!((listed.len(), &listed[0]), (2, &Value::Null), "{whole}");
}
