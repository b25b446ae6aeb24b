//! Oracles: the rules of text completions; that chunks add up to the whole; that offsets are those of the text.

use serde_json::{Value, json};

use super::stories;
use crate::engine::Engine;
use crate::platform::block_on;
use crate::wire::openai::{Alias, Chunked, Compat, ModelIds, Rules, TextRequest};

fn request(rules: &Rules, fields: Value) -> crate::error::Result<TextRequest> {
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
        (&local, json!({ "prompt": [] }), "prompt", said("prompt: expected 1 to 64 prompts, found none")),
        (&local, json!({ "prompt": vec!["a"; 65] }), "prompt", said("prompt: expected 1 to 64 prompts, found more")),
        (&local, json!({ "prompt": long }), "prompt", said("prompt: at most 4194304 bytes, found 4194305")),
        (&local, json!({ "suffix": long }), "suffix", said("suffix: at most 4194304 bytes, found 4194305")),
        (&local, json!({ "max_tokens": -1 }), "max_tokens", range("max_tokens", "[1, 8192]")),
        (&deepseek, json!({ "max_tokens": 8193 }), "max_tokens", range("max_tokens", "[1, 8192]")),
        (&deepseek, json!({ "suffix": "x", "max_tokens": 4097 }), "max_tokens", range("max_tokens", "[1, 4096]")),
        (&local, json!({ "logprobs": 21 }), "logprobs", range("logprobs", "[0, 20]")),
        (&local, json!({ "temperature": 3 }), "temperature", range("temperature", "[0, 2]")),
        (&local, json!({ "n": 9 }), "n", range("n", "[1, 8]")),
        (&local, json!({ "echo": true, "suffix": "x" }), "echo", said("echo: a text with a suffix cannot be echoed")),
        (&local, json!({ "prompt_logprobs": -1 }), "prompt_logprobs", range("prompt_logprobs", "[0, 20]")),
        (&local, json!({ "prompt_logprobs": 21 }), "prompt_logprobs", range("prompt_logprobs", "[0, 20]")),
        (
            &local,
            json!({ "prompt_logprobs": 0, "stream": true }),
            "prompt_logprobs",
            said("prompt_logprobs: not available with stream = true"),
        ),
        (
            &deepseek,
            json!({ "stream_options": {} }),
            "stream_options",
            said("stream_options should be set along with stream = true"),
        ),
        (
            &deepseek,
            json!({ "model": "m", "suffix": "x" }),
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

/// The answer to a request as a whole, and its chunks in a stream.
fn told(engine: &mut Engine, fields: Value) -> (Value, Vec<Value>) {
    let [whole, streamed] = [false, true].map(|stream| {
        let mut fields = fields.clone();
        fields["stream"] = json!(stream);
        request(&Rules::default(), fields).unwrap()
    });
    let asked = whole.to_requests(engine.language().unwrap()).unwrap();
    let [mut whole, mut streamed] =
        [whole, streamed].map(|request| request.completion(engine.language().unwrap(), &asked, "1", 7));
    streamed.tell_by_chunks();
    let mut chunks = vec![];
    for (choice, request) in (0..).zip(asked.requests.clone()) {
        let mut generation = engine.generate(request).unwrap();
        chunks.extend(streamed.first_chunk(choice));
        while let Some(event) = block_on(generation.next()).unwrap() {
            whole.chunk(choice, &event);
            chunks.extend(streamed.chunk(choice, &event));
        }
    }
    (whole.response(), chunks)
}

#[test]
fn texts_are_continued_without_a_format() {
    let mut engine = stories();
    let rules = Rules::default();
    let fields = json!({
        "prompt": ["Once upon", "There was"], "n": 2, "max_tokens": 5, "temperature": 0, "logprobs": 2,
    });
    let asked = request(&rules, fields.clone()).unwrap();
    let requests = asked.to_requests(engine.language().unwrap()).unwrap();
    assert_eq!((requests.requests.len(), requests.answers), (4, 2));
    assert_eq!(requests.requests[3].prompt, engine.raw_prompt("There was").unwrap());
    let choices: Vec<u32> = requests.requests.iter().map(|request| request.sampling.choice).collect();
    assert_eq!(choices, [0, 1, 0, 1]);
    let (response, chunks) = told(&mut engine, fields);
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
        Ok::<_, crate::error::Error>(asked.requests.into_iter().map(|request| request.prompt).collect::<Vec<_>>())
    };
    assert_eq!(prompts(json!({ "prompt": [1, 2] })).unwrap(), [[1, 2]]);
    assert_eq!(prompts(json!({ "prompt": [[1, 2], [3, 4]] })).unwrap(), [[1, 2], [3, 4]]);
    let beyond = prompts(json!({ "prompt": [1, u32::MAX] })).unwrap_err();
    assert!(beyond.message().starts_with("prompt: expected ids below"), "{beyond}");
    let marker = "<｜User｜>";
    let id = engine.tokenizer().unwrap().token_id(marker).unwrap();
    assert!(!prompts(json!({ "prompt": marker })).unwrap()[0].contains(&id));
    assert!(prompts(json!({ "prompt": marker, "parse_special": true })).unwrap()[0].contains(&id));
    // An empty suffix is none.
    assert_eq!(prompts(json!({ "prompt": "a", "suffix": "" })).unwrap(), prompts(json!({ "prompt": "a" })).unwrap());
    // The built-in model was never asked to fill a hole.
    let lacks = prompts(json!({ "prompt": "a", "suffix": "x" })).unwrap_err();
    assert_eq!(
        lacks.message(),
        "suffix: the model has no token \"<｜fim▁begin｜>\", so fill-in-the-middle is not supported"
    );
}

const ROWS: [&str; 4] = ["tokens", "token_logprobs", "top_logprobs", "text_offset"];

/// Whatever is asked for: chunks add up to the whole, and offsets are those of the tokens in the text.
#[track_caller]
fn check_listing(choice: &Value, chunks: &[Value]) {
    let parts: Vec<&Value> = chunks.iter().map(|chunk| &chunk["choices"][0]).collect();
    let text: String = parts.iter().map(|part| part["text"].as_str().unwrap()).collect();
    assert_eq!(choice["text"], text);
    let length = choice["logprobs"]["tokens"].as_array().unwrap().len();
    for row in ROWS {
        let whole = choice["logprobs"][row].as_array().unwrap();
        let listed = parts.iter().filter_map(|part| part["logprobs"][row].as_array()).flatten();
        assert_eq!(listed.collect::<Vec<_>>(), whole.iter().collect::<Vec<_>>(), "{row}");
        assert_eq!(whole.len(), length, "{row}");
    }
}

#[test]
fn an_echo_is_told_with_its_log_probabilities() {
    let mut engine = stories();
    let text = "Once upon a time, Lily 🐱 ran";
    let begun = engine.raw_prompt(text).unwrap();
    let ids = engine.tokenizer().unwrap().encode(text, false).unwrap();
    let ask = |engine: &mut Engine, fields: Value| {
        let mut all = json!({ "temperature": 0, "echo": true, "logprobs": 1, "max_tokens": 1 });
        all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        told(engine, all)
    };
    // (prompt, entries of the prompt)
    for (prompt, entries) in [(json!(text), begun.len()), (json!(ids), ids.len()), (json!(ids[..1]), 1)] {
        let (whole, chunks) = ask(&mut engine, json!({ "prompt": prompt }));
        let choice = &whole["choices"][0];
        check_listing(choice, &chunks);
        let listed = &choice["logprobs"];
        let [tokens, logprobs, top, offsets] = ROWS.map(|row| listed[row].as_array().unwrap());
        assert_eq!(tokens.len(), entries + 1, "{prompt}");
        assert!(logprobs[0].is_null() && top[0].is_null(), "nothing is before the first: {listed}");
        for place in 1..=entries {
            let (own, top) = (logprobs[place].as_f64().unwrap(), top[place].as_object().unwrap());
            let best = top.values().map(|logprob| logprob.as_f64().unwrap()).fold(f64::MIN, f64::max);
            assert!(own <= best && best <= 0.0 && (1..=2).contains(&top.len()), "{listed}");
        }
        let shown = choice["text"].as_str().unwrap();
        let joined = |upto: usize| tokens[..upto].iter().map(|token| token.as_str().unwrap()).collect::<String>();
        assert_eq!(
            offsets[entries],
            joined(entries).replace("\u{fffd}", "").chars().count() + usize::from(entries > 1)
        );
        assert!(shown.starts_with(text) || entries == 1, "{shown}");
        assert_eq!(whole["usage"]["prompt_tokens"], entries);
    }
    // Without a token to come it is the prompt alone, and what was told before.
    let (with, _) = ask(&mut engine, json!({ "prompt": text }));
    let (alone, chunks) = ask(&mut engine, json!({ "prompt": text, "max_tokens": 0 }));
    let choice = &alone["choices"][0];
    check_listing(choice, &chunks);
    assert_eq!((&choice["text"], &choice["finish_reason"]), (&json!(text), &json!("length")));
    assert_eq!(choice["logprobs"]["tokens"].as_array().unwrap().len(), begun.len());
    for row in ROWS {
        let whole = with["choices"][0]["logprobs"][row].as_array().unwrap();
        assert_eq!(choice["logprobs"][row].as_array().unwrap()[..], whole[..begun.len()], "{row}");
    }
    assert_eq!(alone["usage"]["completion_tokens"], 0);
}

/// What counts the tokens after a prompt counts the one that ends the answer: it has no text.
#[test]
fn the_token_that_ends_an_answer_is_listed() {
    let mut engine = stories();
    let mut ended = 0;
    for story in ["Once upon a time there was a dog. The end.", "The end", "They lived happily ever after."] {
        let fields = json!({
            "prompt": story, "max_tokens": 100, "temperature": 0, "echo": true, "logprobs": 0, "return_token_ids": true,
        });
        let (whole, chunks) = told(&mut engine, fields);
        let choice = &whole["choices"][0];
        check_listing(choice, &chunks);
        let (usage, listed) = (&whole["usage"], choice["logprobs"]["tokens"].as_array().unwrap());
        assert_eq!(usage["total_tokens"], listed.len());
        let ids = choice["token_ids"].as_array().unwrap();
        assert_eq!(usage["completion_tokens"], ids.len());
        let streamed = chunks.iter().filter_map(|chunk| chunk["choices"][0]["token_ids"].as_array()).flatten();
        assert_eq!(streamed.collect::<Vec<_>>(), ids.iter().collect::<Vec<_>>());
        assert_eq!(chunks[0]["choices"][0]["prompt_token_ids"], choice["prompt_token_ids"]);
        if choice["finish_reason"] == "stop" {
            ended += 1;
            assert_eq!(listed.last().unwrap(), "");
        }
    }
    assert!(ended > 0, "an answer ended by itself");
}

#[test]
fn prompts_are_scored_in_vllm_s_shape() {
    let mut engine = stories();
    let ids = engine.raw_prompt("The cat sat").unwrap();
    let fields = json!({ "prompt": "The cat sat", "max_tokens": 1, "temperature": 0, "prompt_logprobs": 2 });
    let asked = request(&Rules::default(), fields).unwrap();
    let requests = asked.to_requests(engine.language().unwrap()).unwrap();
    let mut completion = asked.completion(engine.language().unwrap(), &requests, "1", 7);
    let mut generation = engine.generate(requests.requests[0].clone()).unwrap();
    while let Some(event) = block_on(generation.next()).unwrap() {
        completion.chunk(0, &event);
    }
    drop(generation);
    let whole = completion.response();
    let choice = &whole["choices"][0];
    assert!(choice["logprobs"].is_null() && !choice["text"].as_str().unwrap().starts_with("The cat"));
    let entries = choice["prompt_logprobs"].as_array().unwrap();
    assert!(entries[0].is_null());
    assert_eq!(entries.len(), ids.len());
    for (entry, id) in entries.iter().zip(&ids).skip(1) {
        let entry = entry.as_object().unwrap();
        assert!((2..=3).contains(&entry.len()), "{entry:?}");
        let own = &entry[&id.to_string()];
        assert_eq!(own["decoded_token"], engine.tokenizer().unwrap().decode(&[*id]));
        let mut ranked: Vec<(u64, f64)> =
            entry.values().map(|at| (at["rank"].as_u64().unwrap(), at["logprob"].as_f64().unwrap())).collect();
        ranked.sort_by_key(|entry| entry.0);
        assert_eq!((ranked[0].0, ranked[1].0), (1, 2));
        assert!(ranked.is_sorted_by(|a, b| a.1 >= b.1), "{ranked:?}");
    }
    let many = json!({ "prompt": vec![vec![1_u32; 100]; 64], "n": 8, "prompt_logprobs": 20 });
    let refused = request(&Rules::default(), many).unwrap().to_requests(engine.language().unwrap()).unwrap_err();
    assert!(refused.message().starts_with("prompt: expected at most 524288 log probabilities"), "{refused}");
}

#[test]
fn progress_is_told_in_streams_only() {
    let mut engine = super::stories_with(256);
    let prompt = vec![5_u32; 200];
    let (whole, chunks) =
        told(&mut engine, json!({ "prompt": prompt, "max_tokens": 2, "temperature": 0, "return_progress": true }));
    assert!(!whole.to_string().contains("prompt_progress"));
    let progress: Vec<&Value> = chunks.iter().filter_map(|chunk| chunk.get("prompt_progress")).collect();
    assert!(progress.len() >= 2, "{progress:?}");
    let done: Vec<u64> = progress.iter().map(|at| at["processed"].as_u64().unwrap()).collect();
    assert!(done.is_sorted() && done.last() == Some(&200), "{done:?}");
    assert!(progress.iter().all(|at| at["total"] == 200 && at["cache"] == 0 && at["time_ms"].is_number()));
    // They are chunks like others, for those who do not know them.
    assert!(chunks.iter().all(|chunk| chunk["choices"][0]["text"].is_string()));
}
