//! OpenAI's Responses: items in, items out, and events in their order.

use super::*;

const PATH: &str = "/v1/responses";

fn body(fields: Value) -> Value {
    let body = json!({ "model": "deepseek-chat", "input": "Tell me about a dog", "temperature": 0,
        "max_output_tokens": 8 });
    with(body, fields)
}

async fn respond(app: &Router, fields: Value) -> Answer {
    post(app, PATH, &body(fields)).await
}

/// The events of a stream, which are numbered.
fn events(answer: &Answer) -> Vec<Value> {
    let events = answer.named_events();
    assert!((0..).zip(&events).all(|(number, event)| event["sequence_number"] == number), "{}", answer.text);
    events
}

/// Their names, without what all of them begin with.
fn names(events: &[Value]) -> String {
    let name = |event: &Value| event["type"].as_str().unwrap().strip_prefix("response.").unwrap().to_owned();
    let mut names: Vec<String> = events.iter().map(name).collect();
    names.dedup();
    names.join(" ")
}

fn tool() -> Value {
    let parameters = json!({ "type": "object", "properties": { "city": { "type": "string", "enum": ["Oslo", "Rome"] } },
        "required": ["city"], "additionalProperties": false });
    json!({ "type": "function", "name": "weather", "description": "The weather.", "strict": true,
        "parameters": parameters })
}

#[tokio::test]
async fn an_answer_is_the_same_text_as_a_chat_s_and_repeats_its_request() {
    let app = app(&open_server().await);
    let said = chat(&app, json!({})).await.ok();
    let fields = json!({ "metadata": { "a": "b" }, "store": true, "custom": 1, "include": [] });
    let answer = respond(&app, fields).await;
    assert_eq!(answer.headers["x-lyn-ignored-fields"], "custom");
    let answer = answer.ok();
    let item = &answer["output"][0];
    expect(item, json!({ "type": "message", "role": "assistant", "status": "incomplete" }));
    assert_eq!(item["content"][0]["text"], said["choices"][0]["message"]["content"]);
    expect(&answer, json!({ "object": "response", "status": "incomplete", "store": false, "model": "deepseek-chat" }));
    assert_eq!(answer["incomplete_details"], json!({ "reason": "max_output_tokens" }));
    assert!(answer["metadata"]["a"] == "b" && answer["text"]["format"]["type"] == "text", "{answer}");
    let (usage, counted) = (&answer["usage"], &said["usage"]);
    let counts = [&counted["prompt_tokens"], &json!(8), &counted["total_tokens"]];
    assert_eq!([&usage["input_tokens"], &usage["output_tokens"], &usage["total_tokens"]], counts);
    assert!(usage["input_tokens_details"]["cached_tokens"].is_u64());
    assert_eq!(usage["output_tokens_details"], json!({ "reasoning_tokens": 0 }));
}

#[tokio::test]
async fn events_come_in_their_order_and_end_with_the_whole() {
    let app = app(&open_server().await);
    let whole = respond(&app, json!({})).await.ok();
    let told = events(&respond(&app, json!({ "stream": true })).await);
    let order = "created in_progress output_item.added content_part.added output_text.delta output_text.done \
        content_part.done output_item.done incomplete completed";
    assert_eq!(names(&told), order);
    let text: String = told.iter().filter_map(|event| event["delta"].as_str()).collect();
    let last = &told[told.len() - 1]["response"];
    assert_eq!(text, last["output"][0]["content"][0]["text"].as_str().unwrap());
    assert_eq!(last["output"][0]["content"], whole["output"][0]["content"]);
    assert!(told[0]["response"]["output"].as_array().unwrap().is_empty());
    assert_eq!((&told[0]["response"]["status"], &told[0]["response"]["id"]), (&json!("in_progress"), &last["id"]));
    let id = &told[2]["item"]["id"];
    assert!(told.iter().all(|event| event.get("item_id").is_none_or(|item| item == id)));
}

#[tokio::test]
async fn a_thought_is_an_item_of_its_own_and_can_be_sent_back() {
    let app = app(&open_server().await);
    let asked = json!({ "model": "deepseek-reasoner", "max_output_tokens": 400,
        "reasoning": { "effort": "low", "summary": "auto" }, "include": ["reasoning.encrypted_content"] });
    let answer = respond(&app, asked.clone()).await.ok();
    let thought = &answer["output"][0];
    assert_eq!(thought["type"], "reasoning");
    let text = thought["content"][0]["text"].as_str().unwrap();
    assert!(thought["summary"][0]["text"] == text && thought["content"][0]["type"] == "reasoning_text", "{thought}");
    assert!(thought["encrypted_content"].as_str().unwrap().ends_with(text));
    let told = events(&respond(&app, with(asked, json!({ "stream": true }))).await);
    let begin = "created in_progress output_item.added reasoning_summary_part.added content_part.added \
        reasoning_text.delta ";
    assert!(names(&told).starts_with(begin), "{}", names(&told));
    for done in ["response.reasoning_text.done", "response.reasoning_summary_text.done"] {
        let done = told.iter().find(|event| event["type"] == done).unwrap();
        assert_eq!(done["text"], text);
    }
    let mut input = vec![json!({ "role": "user", "content": "Hello" })];
    input.extend(answer["output"].as_array().unwrap().clone());
    input.push(json!({ "role": "user", "content": [{ "type": "input_text", "text": "More" }] }));
    respond(&app, json!({ "model": "deepseek-reasoner", "input": input })).await.ok();
}

#[tokio::test]
async fn functions_are_called_and_their_results_sent_back() {
    let app = app(&open_server().await);
    let call =
        json!({ "tools": [tool()], "tool_choice": "required", "parallel_tool_calls": false, "max_output_tokens": 200 });
    let answer = respond(&app, call.clone()).await.ok();
    assert_eq!((&answer["status"], &answer["tools"][0]), (&json!("completed"), &tool()));
    let item = answer["output"].as_array().unwrap().iter().find(|item| item["type"] == "function_call").unwrap();
    assert_eq!((&item["name"], &item["status"]), (&json!("weather"), &json!("completed")));
    let arguments: Value = serde_json::from_str(item["arguments"].as_str().unwrap()).unwrap();
    assert!(arguments["city"] == "Oslo" || arguments["city"] == "Rome");
    let result = json!({ "type": "function_call_output", "call_id": item["call_id"], "output": "sunny" });
    let input = json!([{ "role": "user", "content": "The weather?" }, item, result]);
    respond(&app, json!({ "input": input, "tools": [tool()] })).await.ok();

    let choice = json!({ "type": "function", "name": "weather" });
    let told = events(&respond(&app, with(call, json!({ "tool_choice": choice, "stream": true }))).await);
    let done = told.iter().find(|event| event["type"] == "response.function_call_arguments.done").unwrap();
    let parts: String = told
        .iter()
        .filter(|event| event["type"] == "response.function_call_arguments.delta")
        .filter_map(|event| event["delta"].as_str())
        .collect();
    assert_eq!((&done["arguments"], &done["name"]), (&json!(parts), &json!("weather")));
    assert!(names(&told).ends_with(" completed"));
}

#[tokio::test]
async fn a_call_that_is_cut_is_not_complete() {
    let app = app(&open_server().await);
    for stream in [false, true] {
        for most in 1..24 {
            let fields =
                json!({ "tools": [tool()], "tool_choice": "required", "max_output_tokens": most, "stream": stream });
            let answer = respond(&app, fields).await;
            let whole = match stream {
                true => {
                    let told = events(&answer);
                    let last = told[told.len() - 1].clone();
                    let done = told.iter().any(|event| event["type"] == "response.function_call_arguments.done");
                    assert_eq!(done, last["response"]["status"] == "completed", "{most}");
                    last["response"].clone()
                }
                false => answer.ok(),
            };
            for item in whole["output"].as_array().unwrap() {
                assert_eq!(item["type"], "function_call", "{most}: no markup is text: {whole}");
                assert_eq!(item["status"], whole["status"], "{most}");
            }
        }
    }
}

#[tokio::test]
async fn forms_are_kept_to() {
    let app = app(&open_server().await);
    let schema = json!({ "type": "object", "properties": { "colour": { "enum": ["red", "blue"] } },
        "required": ["colour"], "additionalProperties": false });
    let format = json!({ "type": "json_schema", "name": "Cat", "strict": true, "schema": schema });
    let answer = respond(&app, json!({ "text": { "format": format }, "max_output_tokens": 100 })).await.ok();
    let text = answer["output"][0]["content"][0]["text"].as_str().unwrap();
    assert!(serde_json::from_str::<Value>(text).unwrap()["colour"].is_string());
    assert_eq!(answer["text"]["format"], format);
    let log = json!({ "include": ["message.output_text.logprobs"], "top_logprobs": 2 });
    let answer = respond(&app, log).await.ok();
    let logprobs = answer["output"][0]["content"][0]["logprobs"].as_array().unwrap();
    assert!(!logprobs.is_empty() && logprobs.iter().all(|token| token["top_logprobs"].as_array().unwrap().len() == 2));
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_by_its_name() {
    let app = app(&open_server().await);
    let items = |item: Value| json!({ "input": [{ "role": "user", "content": "Hello" }, item] });
    for (fields, names) in [
        (json!({ "previous_response_id": "resp_1" }), "previous_response_id"),
        (json!({ "conversation": "conv_1" }), "conversation"),
        (json!({ "prompt": { "id": "pmpt_1" } }), "prompt"),
        (json!({ "background": true }), "background"),
        (json!({ "tools": [{ "type": "web_search" }] }), "tools[0].type: \"web_search\""),
        (json!({ "tools": [tool(), { "type": "custom", "name": "x" }] }), "tools[1].type: \"custom\""),
        (json!({ "tool_choice": { "type": "mcp" } }), "tool_choice"),
        (items(json!({ "type": "item_reference", "id": "msg_1" })), "input[1].type: this server is stateless"),
        (items(json!({ "type": "web_search_call" })), "input[1].type: \"web_search_call\""),
        (items(json!({ "role": "user", "content": [{ "type": "input_image" }] })), "input[1].content[0].type"),
        (items(json!({ "role": "nobody", "content": "x" })), "input[1].role"),
        (items(json!({ "type": "function_call", "name": "f" })), "input[1].call_id"),
        (json!({ "model": "nope" }), "Model Not Exist"),
        (json!({ "input": [] }), "Empty input"),
        (json!({ "temperature": 3 }), "temperature"),
    ] {
        let refused = respond(&app, fields.clone()).await.refused(400);
        assert!(refused.contains(names), "{fields}: {refused}");
    }
    // What clients send although it means nothing is no reason to refuse.
    let fields = json!({ "prompt_cache_key": "k", "truncation": "auto", "service_tier": "auto", "user": "u",
        "background": false, "previous_response_id": null, "tool_choice": "auto", "stream_options": {} });
    respond(&app, fields).await.ok();
}
