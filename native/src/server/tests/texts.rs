//! Texts over HTTP: echoes and their log probabilities, holes, tokens, what models say of themselves. Oracles: the shapes of
//! OpenAI, vLLM and llama.cpp; that streams add up to the whole.

use super::*;

const TEXT_PATH: &str = "/v1/completions";

async fn complete(app: &Router, fields: Value) -> Answer {
    let body = json!({ "model": "deepseek-chat", "max_tokens": 4, "temperature": 0, "prompt": "Once upon a time" });
    post(app, TEXT_PATH, &with(body, fields)).await
}

fn ids(answer: &Value) -> Vec<u64> {
    answer["tokens"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect()
}

/// What lm-evaluation-harness sends, and how it reads the answer.
#[tokio::test]
async fn a_harness_scores_texts() {
    let app = app(&open_server().await);
    let info = get(&app, "/tokenizer_info").await.ok();
    for token in ["eos_token", "bos_token", "pad_token"] {
        let text = info[token].as_str().unwrap();
        let found = post(&app, "/tokenize", &json!({ "prompt": text, "add_special_tokens": false })).await.ok();
        assert_eq!(ids(&found).len(), 1, "{token} is one token");
    }
    assert!(info["tokenizer_class"].is_string() && info.get("chat_template").is_some());
    let encode = async |text: &str| {
        ids(&post(&app, "/tokenize", &json!({ "prompt": text, "add_special_tokens": false })).await.ok())
    };
    let context = encode("Once upon a time, there was a little").await;
    let choices = [encode(" girl").await, encode(" zqx").await];
    let prompts: Vec<Vec<u64>> = choices.iter().map(|choice| [&context[..], choice].concat()).collect();
    let answer =
        complete(&app, json!({ "prompt": prompts, "max_tokens": 1, "logprobs": 1, "seed": 1234, "echo": true }))
            .await
            .ok();
    let mut scores = vec![];
    for (choice, prompt) in answer["choices"].as_array().unwrap().iter().zip(&prompts) {
        let listed = &choice["logprobs"];
        let rows =
            ["tokens", "token_logprobs", "top_logprobs", "text_offset"].map(|row| listed[row].as_array().unwrap());
        assert!(rows.iter().all(|row| row.len() == prompt.len() + 1), "an entry for each id, and one: {listed}");
        assert!(rows[1][0].is_null() && rows[2][0].is_null());
        let end = rows[1].len() - 1;
        let own: Vec<f64> = rows[1][context.len()..end].iter().map(|logprob| logprob.as_f64().unwrap()).collect();
        let best = rows[2][context.len()..end].iter().map(|top| {
            let top = top.as_object().unwrap().values().map(|logprob| logprob.as_f64().unwrap());
            top.fold(f64::MIN, f64::max)
        });
        assert!(own.iter().zip(best).all(|(own, best)| *own <= best));
        scores.push(own.iter().sum::<f64>());
    }
    assert!(scores[0] > scores[1], "a girl is likelier: {scores:?}");
    // A token of a prompt is as probable as where it is generated.
    let made = complete(&app, json!({ "prompt": context, "max_tokens": 3, "logprobs": 0 })).await.ok();
    let made = &made["choices"][0];
    let longer = encode(&format!("Once upon a time, there was a little{}", made["text"].as_str().unwrap())).await;
    let given = complete(&app, json!({ "prompt": longer, "max_tokens": 0, "logprobs": 0, "echo": true })).await.ok();
    let given = &given["choices"][0]["logprobs"]["token_logprobs"].as_array().unwrap()[context.len()..];
    assert_eq!(given, made["logprobs"]["token_logprobs"].as_array().unwrap());
}

#[tokio::test]
async fn an_echo_is_streamed_as_it_is_read() {
    let app = app(&open_server().await);
    let prompt = "Once upon a time there was a dog. ".repeat(20);
    let fields = json!({ "prompt": prompt, "echo": true, "logprobs": 2, "return_token_ids": true });
    let whole = complete(&app, fields.clone()).await.ok();
    let (events, done) = complete(&app, with(fields, json!({ "stream": true }))).await.events();
    assert!(done);
    let parts: Vec<&Value> = events.iter().map(|event| &event["choices"][0]).collect();
    let text: String = parts.iter().map(|part| part["text"].as_str().unwrap()).collect();
    let choice = &whole["choices"][0];
    assert!(text.starts_with(&prompt) && choice["text"] == text);
    for row in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
        let listed: Vec<&Value> = parts.iter().filter_map(|part| part["logprobs"][row].as_array()).flatten().collect();
        assert_eq!(listed, choice["logprobs"][row].as_array().unwrap().iter().collect::<Vec<_>>(), "{row}");
    }
    let told: Vec<&Value> = parts.iter().filter_map(|part| part["token_ids"].as_array()).flatten().collect();
    assert_eq!(told, choice["token_ids"].as_array().unwrap().iter().collect::<Vec<_>>());
    assert_eq!(parts[0]["prompt_token_ids"], choice["prompt_token_ids"]);
    assert_eq!(choice["prompt_token_ids"].as_array().unwrap().len(), whole["usage"]["prompt_tokens"]);
}

#[tokio::test]
async fn chats_are_told_with_ids_progress_and_scored_prompts() {
    let app = app(&open_server().await);
    let long = "Tell me about a dog and a cat. ".repeat(30);
    let messages = json!([{ "role": "user", "content": long }]);
    let whole = chat(&app, json!({ "messages": messages, "return_token_ids": true, "prompt_logprobs": 1 })).await;
    assert!(!whole.headers.contains_key("x-lyn-ignored-fields"));
    let whole = whole.ok();
    let prompt = whole["prompt_token_ids"].as_array().unwrap();
    let scored = whole["prompt_logprobs"].as_array().unwrap();
    assert_eq!((prompt.len(), scored.len()), (scored.len(), prompt.len()));
    assert!(scored[0].is_null());
    for (id, entry) in prompt.iter().zip(scored).skip(1) {
        let own = &entry[&id.to_string()];
        assert!(own["logprob"].as_f64().unwrap() <= 0.0 && own["rank"].as_u64().unwrap() >= 1, "{entry}");
        assert!(own["decoded_token"].is_string());
    }
    let made = whole["choices"][0]["token_ids"].as_array().unwrap();
    assert_eq!(made.len(), whole["usage"]["completion_tokens"]);
    let fields = json!({
        "messages": messages, "return_token_ids": true, "return_progress": true, "stream": true, "user_id": "fresh",
    });
    let (events, _) = chat(&app, fields).await.events();
    assert_eq!(events[0]["prompt_token_ids"], whole["prompt_token_ids"]);
    let progress: Vec<&Value> = events.iter().filter_map(|event| event.get("prompt_progress")).collect();
    assert!(progress.len() > 1, "{progress:?}");
    let last = progress.last().unwrap();
    expect(last, json!({ "processed": prompt.len(), "total": prompt.len(), "cache": 0 }));
    let told = events.iter().filter_map(|event| event["choices"][0]["token_ids"].as_array()).flatten();
    assert_eq!(told.collect::<Vec<_>>(), made.iter().collect::<Vec<_>>());
    let streamed = chat(&app, json!({ "prompt_logprobs": 1, "stream": true })).await;
    assert!(streamed.refused(400).contains("prompt_logprobs"));
}

#[tokio::test]
async fn holes_are_filled_in_llama_cpp_s_shape() {
    let app = app(&open_server().await);
    let fields = json!({ "input_prefix": "Once upon a time", "n_predict": 6, "temperature": 0, "stream": false });
    let answer = post(&app, "/infill", &fields).await;
    assert!(!answer.headers.contains_key("x-lyn-ignored-fields"));
    let whole = answer.ok();
    expect(&whole, json!({ "stop": true, "stop_type": "limit", "tokens_predicted": 6, "model": "stories" }));
    assert!(whole["timings"]["predicted_n"].is_number());
    // The built-in model has no tokens for a hole: what is before it is continued, and what is behind is said to mean nothing.
    let hole = with(fields.clone(), json!({ "input_suffix": "The end.", "t_max_predict_ms": 500 }));
    let answer = post(&app, "/infill", &hole).await;
    assert_eq!(answer.headers["x-lyn-ignored-fields"], "t_max_predict_ms, input_suffix");
    assert_eq!(answer.ok()["content"], whole["content"]);
    let (events, done) = post(&app, "/infill", &with(fields.clone(), json!({ "stream": true }))).await.events();
    assert!(!done, "llama.cpp's own streams end with stop");
    let text: String = events.iter().map(|event| event["content"].as_str().unwrap()).collect();
    assert_eq!(whole["content"], text);
    let stops: Vec<bool> = events.iter().map(|event| event["stop"].as_bool().unwrap()).collect();
    assert_eq!(stops.iter().filter(|stop| **stop).count(), 1);
    assert_eq!(stops.last(), Some(&true));
    // The texts of other files come first; the beginning of the hole's text last.
    let extra = json!([{ "filename": "a.txt", "text": "A dog." }, { "text": "A cat." }]);
    let with_extra = with(fields, json!({ "input_extra": extra, "prompt": " there was" }));
    let prompt = post(&app, "/infill", &with_extra).await.ok()["prompt"].as_str().unwrap().to_owned();
    let expected = "\n\n--- snippet ---\n\na.txt\nA dog.\n\n--- snippet ---\n\nA cat.Once upon a time there was";
    assert!(prompt.ends_with(expected), "{prompt}");
    // Nothing but reading.
    let read = post(&app, "/infill", &json!({ "input_prefix": "Once", "n_predict": 0 })).await.ok();
    assert_eq!((&read["content"], &read["tokens_predicted"]), (&json!(""), &json!(0)));
    let plain = json!({ "prompt": "Once upon a time", "n_predict": 6, "temperature": 0, "return_tokens": true });
    let plain = post(&app, "/completion", &plain).await.ok();
    assert_eq!((&plain["content"], plain["tokens"].as_array().unwrap().len()), (&whole["content"], 6));
    let word = json!({ "prompt": "Once upon a time", "n_predict": 40, "temperature": 0, "stop": [" was"] });
    let word = post(&app, "/completion", &word).await.ok();
    assert_eq!((&word["stop_type"], &word["stopping_word"]), (&json!("word"), &json!(" was")));
    for (path, body) in [
        ("/completion", json!({})),
        ("/completion", json!({ "prompt": ["a", "b"] })),
        ("/infill", json!({ "prompt": [1] })),
    ] {
        assert!(post(&app, path, &body).await.refused(400).starts_with("prompt: expected"), "{path} {body}");
    }
}

#[tokio::test]
async fn models_say_how_long_their_context_is() {
    let app = app(&open_server().await);
    let list = get(&app, "/v1/models").await.ok();
    for model in list["data"].as_array().unwrap() {
        assert_eq!((&model["max_model_len"], &model["context_length"]), (&json!(1024), &json!(1024)), "{model}");
        let meta = &model["meta"];
        assert!(meta["n_ctx_train"].as_u64() >= Some(1024) && meta["n_vocab"].as_u64() > Some(0), "{meta}");
    }
    assert_eq!(get(&app, "/v1/models/stories").await.ok()["max_model_len"], 1024);
    let unknown = chat(&app, json!({ "model": "gpt-4o" })).await.refused(400);
    assert!(["gpt-4o", "deepseek-chat", "stories"].iter().all(|name| unknown.contains(name)), "{unknown}");
    assert!(get(&app, "/v1/models/nope").await.refused(404).contains("deepseek-chat"));
}

#[tokio::test]
async fn what_is_not_there_is_said_with_what_is() {
    let app = app(&open_server().await);
    for (path, says) in [
        ("/v1/embeddings", "embedding"),
        ("/embedding", "embedding"),
        ("/v1/rerank", "rerank"),
        ("/rerank", "rerank"),
        ("/v1/score", "echo and logprobs"),
        ("/v1/moderations", "moderation"),
        ("/v1/audio/speech", "speech"),
        ("/v1/audio/transcriptions", "speech"),
        ("/v1/images/generations", "picture"),
        ("/v1/files", "files"),
    ] {
        let message = post(&app, path, &json!({})).await.refused(404);
        assert!(message.contains(says) && message.contains(path), "{path}: {message}");
    }
    let functions = json!([{ "name": "f", "parameters": { "type": "object" } }]);
    assert!(chat(&app, json!({ "functions": functions })).await.refused(400).contains("send tools"));
    assert!(chat(&app, json!({ "function_call": { "name": "f" } })).await.refused(400).contains("send tool_choice"));
    chat(&app, json!({ "functions": [], "function_call": "auto" })).await.ok();
}

#[tokio::test]
async fn fields_that_mean_nothing_are_named_on_every_route() {
    let app = app(&open_server().await);
    for (path, body) in [
        (TEXT_PATH, json!({ "model": "stories", "prompt": "a", "max_tokens": 1, "best_of": 2 })),
        ("/tokenize", json!({ "content": "a", "best_of": 2 })),
        ("/tokenize", json!({ "prompt": "a", "model": "stories", "best_of": 2 })),
        ("/detokenize", json!({ "tokens": [5], "best_of": 2 })),
        ("/apply-template", asked(json!({ "best_of": 2 }))),
        ("/infill", json!({ "input_prefix": "a", "n_predict": 1, "best_of": 2 })),
        ("/completion", json!({ "prompt": "a", "n_predict": 1, "best_of": 2 })),
    ] {
        let answer = post(&app, path, &body).await;
        assert_eq!(answer.headers["x-lyn-ignored-fields"], "best_of", "{path}");
        answer.ok();
    }
    let empty = complete(&app, json!({ "suffix": "" })).await.ok();
    assert_eq!(empty["choices"][0]["text"], complete(&app, json!({})).await.ok()["choices"][0]["text"]);
}
