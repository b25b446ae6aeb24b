//! Oracle: DeepSeek's guides to chat prefix completion and to the thinking mode.

use serde_json::{Value, json};

use super::end;
use crate::chat::ChatFormat;
use crate::wire::openai::{ChatRequest, Compat, Rules};

fn judged(messages: &Value, fields: &Value, format: ChatFormat, thinking: bool) -> Result<(), (String, Value)> {
    let mut body = json!({ "messages": messages });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let request = ChatRequest::parse(body.to_string()).unwrap();
    end(&request, format, thinking).map_err(|error| (error.message().to_owned(), error.details()["param"].clone()))
}

fn said(role: &str, fields: Value) -> Value {
    let mut message = json!({ "role": role, "content": "a" });
    message.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    message
}

fn call(fields: Value) -> Value {
    let call = json!({ "id": "1", "type": "function", "function": { "name": "f", "arguments": "{}" } });
    let mut message = said("assistant", json!({ "tool_calls": [call] }));
    message.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    message
}

const FORMATS: [ChatFormat; 3] = [ChatFormat::Exp, ChatFormat::V31, ChatFormat::Dsml];

#[test]
fn only_exp_answers_a_system_message() {
    let expected = Err(("messages: expected a user message, found system messages only".to_owned(), json!("messages")));
    for messages in
        [json!([said("system", json!({}))]), json!([said("developer", json!({})), said("system", json!({}))])]
    {
        for format in FORMATS {
            let found = judged(&messages, &json!({}), format, false);
            assert_eq!(found, if format == ChatFormat::Exp { Ok(()) } else { expected.clone() }, "{format:?}");
        }
    }
    let mixed = json!([said("system", json!({})), said("user", json!({}))]);
    assert!(FORMATS.iter().all(|&format| judged(&mixed, &json!({}), format, false).is_ok()));
}

/// Each row: fields beside a conversation that ends with an answer, whether that is continued or left as it is.
#[test]
fn an_answer_at_the_end_is_continued_or_refused() {
    let rule = "The last message of deepseek-reasoner must be a user message, or an assistant message with prefix mode on \
        (refer to https://api-docs.deepseek.com/guides/chat_prefix_completion).";
    for (prefix, fields, taken) in [
        (false, json!({}), false),
        (true, json!({}), true),
        (false, json!({ "continue_final_message": true }), true),
        (false, json!({ "add_generation_prompt": false }), true),
        (false, json!({ "add_generation_prompt": true }), false),
    ] {
        let messages = json!([said("user", json!({})), said("assistant", json!({ "prefix": prefix }))]);
        for (format, thinking) in FORMATS.into_iter().flat_map(|format| [(format, false), (format, true)]) {
            // Exp opens another answer after one, unless it is to think.
            let taken = taken || (format == ChatFormat::Exp && !thinking);
            let expected = if taken { Ok(()) } else { Err((rule.to_owned(), json!("messages"))) };
            assert_eq!(judged(&messages, &fields, format, thinking), expected, "{fields} {format:?} {thinking}");
        }
    }
}

/// Checked as DeepSeek checks: each row has a conversation, and the message that lacks its thought.
#[test]
fn calls_since_the_last_question_need_their_thoughts() {
    let result = json!({ "role": "tool", "tool_call_id": "1", "content": "r" });
    let user = said("user", json!({}));
    let (told, lacks) = (call(json!({ "reasoning_content": "" })), call(json!({})));
    let other = call(json!({ "reasoning": "hm" }));
    for (messages, place) in [
        (json!([user, lacks, result]), Some(1)),
        (json!([user, told, result]), None),
        (json!([user, other, result]), None),
        (json!([user, lacks, result, user]), None),
        (json!([user, lacks, result, user, told, result, lacks, result]), Some(6)),
        (json!([user, said("assistant", json!({})), user]), None),
        (json!([said("system", json!({})), lacks, result, said("assistant", json!({ "prefix": true }))]), Some(1)),
    ] {
        let body = json!({ "messages": messages, "thinking": { "type": "enabled" } }).to_string();
        for compat in [Compat::DeepSeek, Compat::DeepSeek422, Compat::Local] {
            let request = ChatRequest::parse_by(&Rules { compat, beta: true, ..Rules::default() }, &body).unwrap();
            for (format, thinking) in FORMATS.into_iter().flat_map(|format| [(format, false), (format, true)]) {
                let asked = format == ChatFormat::Dsml && thinking && compat != Compat::Local;
                let found = end(&request, format, thinking).map_err(|error| error.message().to_owned());
                let expected = match place.filter(|_| asked) {
                    None => Ok(()),
                    Some(place) => Err(format!(
                        "Missing `reasoning_content` field in the assistant message at message index {place}. For more \
                        information, please refer to https://api-docs.deepseek.com/guides/thinking_mode#tool-calls"
                    )),
                };
                assert_eq!(found, expected, "{messages} {format:?} {thinking} {compat:?}");
            }
        }
    }
}

#[test]
fn a_message_is_continued_by_either_name() {
    for (role, fields, continues) in [
        ("assistant", json!({}), false),
        ("assistant", json!({ "continue_final_message": true }), true),
        ("assistant", json!({ "continue_final_message": false }), false),
        ("user", json!({ "continue_final_message": true, "add_generation_prompt": false }), true),
    ] {
        for prefix in [false, true] {
            let mut body = json!({ "messages": [said("user", json!({})), said(role, json!({ "prefix": prefix }))] });
            body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            let expected = continues || (prefix && role == "assistant");
            assert_eq!(ChatRequest::parse(body.to_string()).unwrap().continues(), expected, "{body}");
        }
    }
}
