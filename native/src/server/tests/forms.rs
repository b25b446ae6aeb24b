//! Forms of answers over HTTP: what is let go is named, and vLLM's and llama.cpp's ways of asking.

use super::*;

#[tokio::test]
async fn what_is_let_go_is_named_in_a_header() {
    let app = app(&open_server().await);
    let asked = |schema: Value| json!({ "max_tokens": 8, "response_format": { "type": "json_schema", "json_schema": { "name": "a", "schema": schema } } });
    let numbers = json!({ "type": "array", "items": { "type": "integer" } });
    assert!(!chat(&app, asked(numbers)).await.headers.contains_key("x-lyn-loosened"));
    let unique = json!({ "type": "array", "items": { "type": "integer" }, "uniqueItems": true });
    assert_eq!(chat(&app, asked(unique)).await.headers["x-lyn-loosened"], "$.uniqueItems");
    let held = json!({ "type": "array", "contains": { "const": 1 } });
    assert!(chat(&app, asked(held)).await.refused(422).contains('$'));
}

#[tokio::test]
async fn forms_are_asked_for_in_other_engines_words() {
    let app = app(&open_server().await);
    let content = |answer: &Value| answer["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
    for fields in [
        json!({ "guided_choice": ["north", "south"] }),
        json!({ "structured_outputs": { "choice": ["north", "south"] } }),
        json!({ "guided_regex": "north|south" }),
        json!({ "grammar": "root ::= \"north\" | \"south\"" }),
    ] {
        let said = content(&chat(&app, fields.clone()).await.ok());
        assert!(said == "north" || said == "south", "{fields}: {said}");
    }
    let schema = json!({ "type": "object", "properties": { "north": { "const": 7 } } });
    for fields in [
        json!({ "guided_json": schema }),
        json!({ "guided_json": schema.to_string() }),
        json!({ "json_schema": schema }),
        json!({ "structured_outputs": { "json": schema } }),
        json!({ "response_format": { "type": "json_object", "schema": schema } }),
        json!({ "guided_grammar": "root ::= \"{\\\"north\\\": 7}\"" }),
        json!({ "structured_outputs": { "grammar": "root ::= \"{\\\"north\\\": 7}\"" } }),
        json!({ "structured_outputs": { "regex": "\\{\"north\": 7\\}" } }),
    ] {
        let messages = json!([{ "role": "user", "content": "Some JSON" }]);
        let asked = with(fields.clone(), json!({ "max_tokens": 40, "messages": messages }));
        let said = content(&chat(&app, asked).await.ok());
        assert_eq!(serde_json::from_str::<Value>(&said).ok(), Some(json!({ "north": 7 })), "{fields}: {said}");
    }
    let two = json!({ "guided_choice": ["a"], "guided_regex": "b" });
    assert!(chat(&app, two).await.refused(400).contains("guided_"));
    let text = json!({ "model": "stories", "prompt": "A", "guided_regex": "[0-9]{3}", "max_tokens": 20 });
    let said = post(&app, "/v1/completions", &text).await.ok()["choices"][0]["text"].as_str().unwrap().to_owned();
    assert!(said.len() == 3 && said.bytes().all(|byte| byte.is_ascii_digit()), "{said}");
}
