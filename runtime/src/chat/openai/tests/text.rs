//! Oracles: the rules of text completions; that chunks add up to the whole; that offsets are those of the text.

use serde_json::{Value, json};

use super::stories;
use crate::chat::openai::{Alias, Compat, ModelIds, Rules, TextRequest};
use crate::platform::block_on;

fn request(rules: &Rules, fields: Value) -> crate::Result<TextRequest> {
    let mut body = json!({ "prompt": "Once upon a time" });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    TextRequest::parse_by(rules, body.to_string())
}

#[test]
fn texts_are_refused_by_their_rules() {
    let thinker = ModelIds { aliases: vec![Alias { name: "m".to_owned(), thinking: true }], ..ModelIds::default() };
    let local = Rules { models: thinker, ..Rules::default() };
    let deepseek = Rules { compat: Compat::DeepSeek, ..local.clone() };
    let range = |field: &str, range: &str| format!("Invalid {field} value, the valid range of {field} is {range}");
    let form = "expected a string, an array of strings, of ids, or of arrays of ids".to_owned();
    let long = "x".repeat((4 << 20) + 1);
    let said = str::to_owned;
    for (rules, fields, param, expected) in [
        (&local, json!({ "prompt": 5 }), "prompt", form),
        (&local, json!({ "prompt": [] }), "prompt", said("prompt: expected 1 to 64 prompts, found 0")),
        (&local, json!({ "prompt": vec!["a"; 65] }), "prompt", said("prompt: expected 1 to 64 prompts, found 65")),
        (&local, json!({ "prompt": long }), "prompt", said("prompt: at most 4194304 bytes, found 4194305")),
        (&local, json!({ "suffix": long }), "suffix", said("suffix: at most 4194304 bytes, found 4194305")),
        (&local, json!({ "max_tokens": -1 }), "max_tokens", range("max_tokens", "[1, 8192]")),
        (&deepseek, json!({ "max_tokens": 8193 }), "max_tokens", range("max_tokens", "[1, 8192]")),
        (&deepseek, json!({ "suffix": "", "max_tokens": 4097 }), "max_tokens", range("max_tokens", "[1, 4096]")),
        (&local, json!({ "logprobs": 21 }), "logprobs", range("logprobs", "[0, 20]")),
        (&local, json!({ "temperature": 3 }), "temperature", range("temperature", "[0, 2]")),
        (&local, json!({ "n": 9 }), "n", range("n", "[1, 8]")),
        (&local, json!({ "echo": true, "suffix": "" }), "echo", said("echo: a text with a suffix cannot be echoed")),
        (
            &local,
            json!({ "echo": true, "logprobs": 0 }),
            "echo",
            said("echo: log probabilities of a prompt are not reported: expected echo or logprobs, found both"),
        ),
        (
            &deepseek,
            json!({ "stream_options": {} }),
            "stream_options",
            said("stream_options should be set along with stream = true"),
        ),
        (
            &deepseek,
            json!({ "model": "m", "suffix": "" }),
            "suffix",
            said("FIM completion does not support the thinking mode"),
        ),
    ] {
        let error = request(rules, fields).map(|_| ()).expect_err(&expected);
        let found = error.message();
        let is_form = found.starts_with("Failed to deserialize");
        assert!(if is_form { found.contains(&expected) } else { *found == expected }, "{expected}: {error}");
        assert_eq!(error.details()["param"], param, "{error}");
    }
    let ignored = request(&local, json!({ "model": "m", "suffix": "", "best_of": 2 })).unwrap();
    assert_eq!(ignored.ignored(), ["best_of"]);
}

#[test]
fn texts_are_continued_without_a_format() {
    let mut engine = stories();
    let rules = Rules::default();
    let fields = json!({
        "prompt": ["Once upon", "There was"], "n": 2, "max_tokens": 5, "temperature": 0, "logprobs": 2, "stream": true,
    });
    let asked = request(&rules, fields).unwrap();
    let requests = asked.to_requests(engine.language().unwrap()).unwrap();
    assert_eq!((requests.requests.len(), requests.answers), (4, 2));
    assert_eq!(requests.requests[3].prompt, engine.raw_prompt("There was").unwrap());
    let choices: Vec<u32> = requests.requests.iter().map(|request| request.sampling.choice).collect();
    assert_eq!(choices, [0, 1, 0, 1]);
    let mut completion = asked.completion(engine.language().unwrap(), &requests, "1", 7);
    let mut chunks = vec![];
    for (choice, request) in (0..).zip(requests.requests.clone()) {
        let mut generation = engine.generate(request).unwrap();
        chunks.extend(completion.first_chunk(choice));
        while let Some(event) = block_on(generation.next()).unwrap() {
            chunks.extend(completion.chunk(choice, &event));
        }
    }
    let response = completion.response();
    for (index, choice) in response["choices"].as_array().unwrap().iter().enumerate() {
        let own = chunks.iter().filter(|chunk| chunk["choices"][0]["index"] == index);
        let parts: Vec<&Value> = own.map(|chunk| &chunk["choices"][0]).collect();
        let text: String = parts.iter().map(|part| part["text"].as_str().unwrap()).collect();
        assert_eq!((choice["text"].as_str().unwrap(), &choice["finish_reason"]), (text.as_str(), &json!("length")));
        for row in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
            let whole = choice["logprobs"][row].as_array().unwrap();
            let listed = parts.iter().filter_map(|part| part["logprobs"][row].as_array()).flatten();
            assert_eq!(listed.collect::<Vec<_>>(), whole.iter().collect::<Vec<_>>(), "{row}");
            assert_eq!(whole.len(), 5, "{row}");
        }
        let (tokens, offsets) = (&choice["logprobs"]["tokens"], &choice["logprobs"]["text_offset"]);
        let mut before = String::new();
        for (token, offset) in tokens.as_array().unwrap().iter().zip(offsets.as_array().unwrap()) {
            assert_eq!(offset, before.chars().count());
            before += token.as_str().unwrap();
        }
        assert_eq!(before, text);
        assert_eq!(choice["logprobs"]["top_logprobs"][0].as_object().unwrap().len(), 2);
    }
    let prompts = requests.requests[0].prompt.len() + requests.requests[2].prompt.len();
    let usage = &response["usage"];
    assert_eq!((&usage["prompt_tokens"], &usage["completion_tokens"]), (&json!(prompts), &json!(20)));
    assert_eq!((&chunks.last().unwrap()["usage"], &response["object"]), (usage, &json!("text_completion")));

    let echoed = request(&rules, json!({ "echo": true })).unwrap();
    let asked = echoed.to_requests(engine.language().unwrap()).unwrap();
    let completion = echoed.completion(engine.language().unwrap(), &asked, "1", 7);
    assert_eq!(completion.first_chunk(0).unwrap()["choices"][0]["text"], "Once upon a time");
    assert_eq!(completion.response()["choices"][0]["text"], "Once upon a time");
}

#[test]
fn prompts_come_as_text_or_ids() {
    let engine = stories();
    let prompts = |fields: Value| {
        let asked =
            request(&Rules::default(), fields).and_then(|request| request.to_requests(engine.language().unwrap()))?;
        Ok::<_, crate::Error>(asked.requests.into_iter().map(|request| request.prompt).collect::<Vec<_>>())
    };
    assert_eq!(prompts(json!({ "prompt": [1, 2] })).unwrap(), [[1, 2]]);
    assert_eq!(prompts(json!({ "prompt": [[1, 2], [3, 4]] })).unwrap(), [[1, 2], [3, 4]]);
    let beyond = prompts(json!({ "prompt": [1, u32::MAX] })).unwrap_err();
    assert!(beyond.message().starts_with("prompt: expected ids below"), "{beyond}");
    let marker = "<｜User｜>";
    let id = engine.tokenizer().unwrap().token_id(marker).unwrap();
    assert!(!prompts(json!({ "prompt": marker })).unwrap()[0].contains(&id));
    assert!(prompts(json!({ "prompt": marker, "parse_special": true })).unwrap()[0].contains(&id));
    // The built-in model was never asked to fill a hole.
    let lacks = prompts(json!({ "prompt": "a", "suffix": "" })).unwrap_err();
    assert_eq!(lacks.message(), "suffix: the model has no token \"<｜fim▁begin｜>\", so it cannot fill a hole");
}
