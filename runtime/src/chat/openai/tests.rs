//! Oracles: DeepSeek's documented requests and recorded streams; for answers, that chunks add up to the whole.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{ChatRequest, Completion, Timings, Usage};
use crate::engine::{Engine, Options};
use crate::error::Code;
use crate::generate::{self, Event, Finish, Logprobs, Voice};
use crate::memory::ContextSize;
use crate::platform::block_on;
use crate::text::Tokenizer;

fn request(fields: Value) -> crate::Result<ChatRequest> {
    let mut body = json!({ "messages": [{ "role": "user", "content": "Tell me a story about a dragon." }] });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    ChatRequest::parse(body.to_string())
}

#[test]
fn good_requests_are_taken() {
    // DeepSeek's own sample, with its nulls.
    let sample = request(json!({
        "model": "deepseek-chat", "thinking": { "type": "disabled", "budget_tokens": 5 }, "frequency_penalty": 0,
        "max_tokens": 4096, "presence_penalty": 0, "response_format": { "type": "text" }, "stop": null, "stream": false,
        "stream_options": null, "temperature": 1, "top_p": 1, "tools": null, "tool_choice": "none", "logprobs": false,
        "top_logprobs": null, "unknown": { "a": [1] },
    }))
    .unwrap();
    assert!(!sample.mode() && !sample.is_stream());
    for fields in [
        json!({}),
        json!({ "max_tokens": 0, "max_completion_tokens": 70000, "temperature": 0, "top_p": 0.01, "top_k": -1 }),
        json!({ "seed": -5, "stop": ["a", ""], "logprobs": true, "top_logprobs": 20, "n": 1 }),
        json!({ "seed": u64::MAX, "stop": "a", "stream": true, "stream_options": { "include_usage": true } }),
        json!({ "tools": [], "tool_choice": "auto", "logit_bias": { "foo": 0, "5": -100 } }),
        json!({ "tools": [{ "type": "function", "function": { "name": "f" } }], "tool_choice": "none" }),
    ] {
        assert_eq!(request(fields.clone()).err().map(|error| error.to_string()), None, "{fields}");
    }
}

#[test]
fn each_bad_field_is_named_with_what_was_found_and_expected() {
    let tool = json!([{ "type": "function", "function": { "name": "f" } }]);
    for (fields, param, expected) in [
        (json!({ "messages": [] }), "messages", "Empty input messages"),
        (json!({ "messages": null }), "messages", "messages: invalid type: null, expected a sequence"),
        (json!({ "messages": [{ "role": "wizard" }] }), "messages[0].role", "unknown variant `wizard`"),
        (json!({ "model": 5 }), "model", "invalid type"),
        (json!({ "max_tokens": -1 }), "max_tokens", "valid range of max_tokens is [1, 65536], found -1"),
        (json!({ "max_tokens": 1.5 }), "max_tokens", "max_tokens: invalid type: floating point `1.5`"),
        (json!({ "max_completion_tokens": -2 }), "max_completion_tokens", "found -2"),
        (json!({ "temperature": 2.5 }), "temperature", "valid range of temperature is [0, 2], found 2.5"),
        (json!({ "temperature": "hot" }), "temperature", "temperature: invalid type: string"),
        (json!({ "top_p": 0 }), "top_p", "valid range of top_p is (0, 1.0], found 0"),
        (json!({ "top_k": -2 }), "top_k", "found -2"),
        (json!({ "min_p": 1.1 }), "min_p", "[0, 1], found 1.1"),
        (json!({ "seed": 1.5 }), "seed", "expected an integer of 64 bits, found 1.5"),
        (json!({ "stop": 7 }), "stop", "expected a string or an array of strings"),
        (json!({ "stop": vec!["x"; 17] }), "stop", "at most 16 stop sequences"),
        (json!({ "presence_penalty": 3 }), "presence_penalty", "[-2, 2], found 3"),
        (json!({ "frequency_penalty": -3 }), "frequency_penalty", "[-2, 2], found -3"),
        (json!({ "repetition_penalty": 0 }), "repetition_penalty", "[0.01, 10], found 0"),
        (json!({ "logit_bias": { "5": 101 } }), "logit_bias", "[-100, 100], found 101 for \"5\""),
        (json!({ "logprobs": 1 }), "logprobs", "expected a boolean"),
        (json!({ "logprobs": true, "top_logprobs": 21 }), "top_logprobs", "is [0, 20], found 21"),
        (json!({ "top_logprobs": 3 }), "top_logprobs", "logprobs must be set to true"),
        (json!({ "stream": "yes" }), "stream", "expected a boolean"),
        (json!({ "stream_options": { "include_usage": 1 } }), "stream_options.include_usage", "expected a boolean"),
        (json!({ "thinking": { "type": "x" } }), "thinking.type", "expected one of `adaptive`, `enabled`, `disabled`"),
        (
            json!({ "reasoning_effort": "x" }),
            "reasoning_effort",
            "`none`, `minimal`, `low`, `medium`, `high`, `xhigh`, `max`",
        ),
        (json!({ "n": 2 }), "n", "expected 1, found 2"),
        (json!({ "n": 0 }), "n", "[1, 8], found 0"),
        (json!({ "tools": tool }), "tools", "expected tool_choice `none` or no tools, found 1"),
        (json!({ "tools": tool, "tool_choice": "required" }), "tools", "not supported yet"),
        (json!({ "tool_choice": "required" }), "tool_choice", "expected `none` or `auto` without tools"),
        (json!({ "tool_choice": "maybe" }), "tool_choice", "expected one of `none`, `auto`, `required` or a tool"),
        (
            json!({ "response_format": { "type": "json_object" } }),
            "response_format",
            "json_object is not supported yet",
        ),
        (
            json!({ "response_format": { "type": "xml" } }),
            "response_format",
            "This response_format type is unavailable now",
        ),
    ] {
        let error = request(fields.clone()).map(|_| ()).expect_err(&fields.to_string());
        assert_eq!(error.code(), Code::BadRequest, "{fields}");
        assert!(error.message().contains(expected), "{fields}: {error}");
        assert_eq!(error.details().get("param"), Some(&json!(param)), "{fields}: {error}");
    }
    for (body, expected) in [
        ("{", "Failed to parse the request body as JSON: EOF while parsing"),
        ("{\"messages\": []} x", "Failed to parse the request body as JSON: trailing characters at line 1 column 18"),
        ("{}", "target type: missing field `messages` at line 1 column 2"),
        ("[\"\u{1b}\"]", "Failed to "),
    ] {
        let error = ChatRequest::parse(body).map(|_| ()).unwrap_err();
        assert!(error.code() == Code::BadRequest && error.message().contains(expected), "{body}: {error}");
        assert!(!error.message().contains('\u{1b}'));
    }
}

#[test]
fn the_body_beats_the_name_in_choosing_the_mode() {
    for (fields, thinks) in [
        (json!({}), false),
        (json!({ "model": "deepseek-chat" }), false),
        (json!({ "model": " DeepSeek/DeepSeek-Reasoner" }), true),
        (json!({ "model": "deepseek-ai/deepseek-r1" }), true),
        (json!({ "model": "DeepSeek-V3.2-Exp-thinking" }), true),
        (json!({ "model": "DeepSeek-V3.2-Exp-nothinking" }), false),
        (json!({ "model": "deepseek-reasoner", "thinking": { "type": "disabled" } }), false),
        (json!({ "thinking": { "type": "adaptive" }, "reasoning_effort": "none" }), true),
        (json!({ "reasoning_effort": "low", "chat_template_kwargs": { "thinking": false } }), true),
        (json!({ "model": "deepseek-reasoner", "reasoning_effort": "none" }), false),
        (json!({ "chat_template_kwargs": { "thinking": true, "enable_thinking": false } }), true),
        (json!({ "chat_template_kwargs": { "enable_thinking": true } }), true),
        (json!({ "enable_thinking": true, "reasoning": { "enabled": false } }), true),
        (json!({ "reasoning": { "effort": "high" } }), true),
        (json!({ "model": "deepseek-reasoner", "thinking": null }), true),
    ] {
        assert_eq!(request(fields.clone()).unwrap().mode(), thinks, "{fields}");
    }
}

const TIMINGS: generate::Timings = generate::Timings {
    queue_ms: 0.5,
    prompt_tokens: 10,
    cached_tokens: 4,
    completion_tokens: 5,
    reasoning_tokens: 2,
    prompt_ms: 3.0,
    first_token_ms: 4.0,
    decode_ms: 2.0,
};

fn text(voice: Voice, text: &str) -> Event {
    Event::Text { voice, text: text.to_owned() }
}

/// All chunks of an answer to these events.
fn chunks(completion: &mut Completion, events: &[Event]) -> Vec<Value> {
    let mut chunks = vec![completion.first_chunk()];
    chunks.extend(events.iter().filter_map(|event| completion.chunk(event)));
    chunks.push(completion.last_chunk(Finish::Stop, Usage::from(&TIMINGS), Timings::from(&TIMINGS)));
    chunks.extend(completion.usage_chunk());
    chunks
}

#[test]
fn chunks_come_in_the_recorded_order_and_shape() {
    let events = [text(Voice::Reasoning, "hm"), text(Voice::Content, "Hi"), text(Voice::Content, "!")];
    let usage = json!({
        "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "prompt_cache_hit_tokens": 4,
        "prompt_cache_miss_tokens": 6, "completion_tokens_details": { "reasoning_tokens": 2 },
    });
    let timings = json!({
        "cache_n": 4, "prompt_n": 6, "prompt_ms": 3.0, "prompt_per_second": 2000.0, "predicted_n": 5,
        "predicted_ms": 2.0, "predicted_per_second": 2000.0, "first_token_ms": 4.0,
    });
    let chunk = |delta: Value, finish: Value| {
        json!({
            "id": "1", "object": "chat.completion.chunk", "created": 7, "model": "m",
            "choices": [{ "index": 0, "delta": delta, "finish_reason": finish, "logprobs": null }], "usage": null,
        })
    };
    let mut last = chunk(json!({ "content": "", "reasoning_content": null }), json!("stop"));
    last["usage"] = usage.clone();
    last["timings"] = timings.clone();
    let mut thinking = Completion::new("1", 7, "m", true);
    let expected = [
        chunk(json!({ "role": "assistant", "content": null, "reasoning_content": "" }), json!(null)),
        chunk(json!({ "content": null, "reasoning_content": "hm" }), json!(null)),
        chunk(json!({ "content": "Hi", "reasoning_content": null }), json!(null)),
        chunk(json!({ "content": "!", "reasoning_content": null }), json!(null)),
        last,
    ];
    assert_eq!(chunks(&mut thinking, &events), expected);
    let response = json!({
        "id": "1", "object": "chat.completion", "created": 7, "model": "m",
        "choices": [{
            "index": 0, "message": { "role": "assistant", "content": "Hi!", "reasoning_content": "hm" },
            "finish_reason": "stop", "logprobs": null,
        }],
        "usage": usage, "timings": timings,
    });
    assert_eq!(thinking.response(), response);

    let mut plain = Completion::new("1", 7, "m", false).with_usage_apart();
    let mut apart = json!({ "id": "1", "object": "chat.completion.chunk", "created": 7, "model": "m", "choices": [] });
    apart["usage"] = usage;
    apart["timings"] = timings;
    let expected = [
        chunk(json!({ "role": "assistant", "content": "" }), json!(null)),
        chunk(json!({ "content": "Hi" }), json!(null)),
        chunk(json!({ "content": "" }), json!("stop")),
        apart,
    ];
    assert_eq!(chunks(&mut plain, &events[1..2]), expected);
    let message = json!({ "role": "assistant", "content": "Hi" });
    assert_eq!(plain.response()["choices"][0]["message"], message);
}

#[test]
fn log_probabilities_go_with_the_text_of_their_tokens() {
    let file = json!({
        "added_tokens": [{ "id": 2, "content": "</think>" }],
        "model": { "type": "BPE", "vocab": { "a": 0, "b": 1 }, "merges": [] },
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "use_regex": false },
    });
    let tokenizer = Tokenizer::from_json("tokenizer.json", file.to_string().as_bytes(), 3).unwrap();
    let token = |id: u32| {
        let logprobs = Logprobs { sampled: -0.5, top: vec![(id, -0.5), (1, f32::NEG_INFINITY)] };
        Event::Token { id, logprobs: Some(logprobs) }
    };
    let events = [token(0), text(Voice::Reasoning, "a"), token(2), token(0), token(1), text(Voice::Content, "ab")];
    let mut completion = Completion::new("1", 7, "m", true).with_logprobs(Arc::new(tokenizer));
    let chunks = chunks(&mut completion, &events);
    let shown = |chunk: &Value, key: &str| -> Vec<String> {
        let listed = chunk["choices"][0]["logprobs"][key].as_array().cloned().unwrap_or_default();
        listed.iter().map(|entry| entry["token"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(shown(&chunks[1], "reasoning_content"), ["a"]);
    assert_eq!(shown(&chunks[2], "content"), ["a", "b"]);
    let response = completion.response();
    assert_eq!((shown(&response, "reasoning_content"), shown(&response, "content").len()), (vec!["a".to_owned()], 2));
    let entry = json!({ "token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": [
        { "token": "a", "logprob": -0.5, "bytes": [97] }, { "token": "b", "logprob": -9999.0, "bytes": [98] },
    ] });
    assert_eq!(response["choices"][0]["logprobs"]["reasoning_content"][0], entry);
}

fn stories() -> Engine {
    let options = Options { device: "cpu".to_owned(), context: ContextSize::Tokens(128), ..Options::default() };
    block_on(Engine::load(crate::models::stories(), &options, &mut |_| true)).unwrap()
}

fn answer(engine: &mut Engine, request: &ChatRequest) -> (Vec<Value>, Value) {
    let mut completion = request.completion(engine, "1", 7).unwrap();
    let asked = request.to_request(engine).unwrap();
    let mut generation = engine.generate(asked).unwrap();
    let mut chunks = vec![completion.first_chunk()];
    while let Some(event) = block_on(generation.next()).unwrap() {
        chunks.extend(completion.chunk(&event));
        if let Event::End { finish, timings } = event {
            chunks.push(completion.last_chunk(finish, (&timings).into(), (&timings).into()));
        }
    }
    (chunks, completion.response())
}

#[test]
fn chunks_of_a_story_add_up_to_the_whole_answer() {
    let mut engine = stories();
    for model in ["stories", "stories-thinking"] {
        let fields = json!({ "model": model, "temperature": 0, "max_tokens": 12, "logprobs": true, "top_logprobs": 2 });
        let asked = request(fields).unwrap();
        let (chunks, response) = answer(&mut engine, &asked);
        let choice = &response["choices"][0];
        for key in ["content", "reasoning_content"] {
            let deltas = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"][key].as_str());
            assert_eq!(deltas.collect::<String>(), choice["message"][key].as_str().unwrap_or_default(), "{model}");
            let listed = chunks.iter().filter_map(|chunk| chunk["choices"][0]["logprobs"][key].as_array());
            let whole = choice["logprobs"][key].as_array().cloned().unwrap_or_default();
            assert_eq!(listed.flatten().cloned().collect::<Vec<_>>(), whole, "{model}");
        }
        let said = if asked.mode() { "reasoning_content" } else { "content" };
        assert!(!choice["message"][said].as_str().unwrap().is_empty(), "{response}");
        assert_eq!(choice["message"].get("reasoning_content").is_some(), asked.mode());
        assert_eq!((&response["model"], &choice["finish_reason"]), (&json!(model), &json!("length")));
        assert_eq!(response["usage"]["completion_tokens"], 12);
        assert_eq!(chunks.last().unwrap()["usage"], response["usage"]);
        // The whole answer is the same when asked for again, and its prompt is known.
        let (_, again) = answer(&mut engine, &asked);
        assert_eq!(again["choices"], response["choices"]);
        assert!(again["usage"]["prompt_cache_hit_tokens"].as_u64() > Some(0));
    }
}

#[test]
fn requests_take_what_the_checkpoint_and_the_context_give() {
    let engine = stories();
    let asked = |fields: Value| request(fields).unwrap().to_request(&engine);
    let plain = asked(json!({})).unwrap();
    let room = 128 - u32::try_from(plain.prompt.len()).unwrap();
    assert_eq!((plain.sampling.temperature, plain.sampling.top_p), (0.6, 0.95));
    assert_eq!((plain.max_tokens, plain.thinking), (Some(room), false));
    assert_ne!(plain.sampling.seed, asked(json!({})).unwrap().sampling.seed);
    let given = asked(json!({
        "max_tokens": 9, "max_completion_tokens": 5, "temperature": 0.25, "top_p": 0.5, "top_k": 3, "min_p": 0.1,
        "seed": -1, "stop": "x", "presence_penalty": 1, "frequency_penalty": -1, "repetition_penalty": 1.5,
        "logit_bias": { "foo": 1, "7": -2 }, "logprobs": true, "thinking": { "type": "enabled" },
    }))
    .unwrap();
    let sampling = crate::generate::SamplingParams {
        temperature: 0.25,
        top_k: 3,
        top_p: 0.5,
        min_p: 0.1,
        repetition_penalty: 1.5,
        presence_penalty: 1.0,
        frequency_penalty: -1.0,
        logit_bias: vec![(7, -2.0)],
        seed: u64::MAX,
        choice: 0,
        logprobs: Some(0),
    };
    assert_eq!((given.sampling, given.max_tokens, given.stop), (sampling, Some(5), vec!["x".to_owned()]));
    assert!(given.thinking);
    assert_eq!(asked(json!({ "max_tokens": 0 })).unwrap().max_tokens, Some(room));
    assert_eq!(asked(json!({ "max_tokens": i64::MAX })).unwrap().max_tokens, Some(room));
    let long = json!({ "messages": [{ "role": "user", "content": "word ".repeat(500) }] });
    assert_eq!(asked(long).unwrap_err().code(), Code::ContextOverflow);
}

#[test]
fn a_prefix_is_continued_and_other_ends_are_refused() {
    let engine = stories();
    let last = |message: Value, thinking: &str| {
        let messages = json!([{ "role": "user", "content": "Hi" }, message]);
        let asked = request(json!({ "messages": messages, "thinking": { "type": thinking } })).unwrap();
        let prompt = asked.to_request(&engine)?;
        Ok::<_, crate::Error>((engine.tokenizer()?.decode(&prompt.prompt), prompt.thinking))
    };
    let prefix = json!({ "role": "assistant", "content": "Once", "prefix": true });
    let thought = json!({ "role": "assistant", "content": "Once", "prefix": true, "reasoning_content": "hm" });
    let shown = |end: &str, opens| Ok((format!("<｜begin▁of▁sentence｜><｜User｜>Hi<｜Assistant｜>{end}"), opens));
    let told = |result: crate::Result<(String, bool)>| result.map_err(|error| error.message().to_owned());
    assert_eq!(told(last(prefix.clone(), "disabled")), shown("</think>Once", false));
    assert_eq!(told(last(prefix, "enabled")), shown("<think>Once", true));
    assert_eq!(told(last(thought, "enabled")), shown("<think>hm</think>Once", false));
    let unfinished = told(last(json!({ "role": "assistant", "content": "Once" }), "disabled")).unwrap_err();
    assert!(unfinished.contains("must be a user message, or an assistant message with prefix mode on"), "{unfinished}");
    let systems = request(json!({ "messages": [{ "role": "developer", "content": "Hi" }] })).unwrap();
    assert!(systems.to_request(&engine).unwrap_err().message().contains("system messages only"));
}
