//! Text to ids and back. Oracle: the two shapes against each other, and texts put together again.

use super::*;

const TEXT: &str = "a dog 🐶 in the sea";

#[tokio::test]
async fn both_shapes_give_the_same_ids_and_their_own_fields() {
    let app = app(&open_server().await);
    let tokenize = async |fields: Value| post(&app, "/tokenize", &fields).await.ok();
    let plain = tokenize(json!({ "content": TEXT })).await;
    assert_eq!(plain.as_object().unwrap().keys().collect::<Vec<_>>(), ["tokens"]);
    let ids = plain["tokens"].as_array().unwrap().clone();
    let begun = tokenize(json!({ "content": TEXT, "add_special": true })).await["tokens"].as_array().unwrap().clone();
    assert!(begun.len() == ids.len() + 1 && begun[1..] == ids[..], "{begun:?}");
    for (fields, expected) in [
        (json!({ "content": TEXT, "add_special": false }), &ids),
        (json!({ "content": TEXT, "prompt": "other" }), &ids),
        (json!({ "prompt": TEXT }), &begun),
        (json!({ "prompt": TEXT, "add_special_tokens": true }), &begun),
        (json!({ "prompt": TEXT, "add_special_tokens": false }), &ids),
        (json!({ "prompt": TEXT, "messages": [] }), &begun),
    ] {
        let answer = tokenize(fields.clone()).await;
        assert_eq!(answer["tokens"].as_array().unwrap(), expected, "{fields}");
        if fields.get("content").is_none() {
            expect(&answer, json!({ "count": expected.len(), "max_model_len": 1024, "token_strs": null }));
        }
    }
    let strings = tokenize(json!({ "prompt": "a dog", "return_token_strs": true })).await;
    let strings: Vec<&str> = strings["token_strs"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(strings.concat(), "<｜begin▁of▁sentence｜>a dog");
    let none = tokenize(json!({ "prompt": "a dog", "return_token_strs": false })).await;
    assert_eq!(none["token_strs"], Value::Null);
}

#[tokio::test]
async fn half_a_character_is_bytes_and_pieces_make_the_text() {
    let app = app(&open_server().await);
    for special in [false, true] {
        let body = json!({ "content": TEXT, "with_pieces": true, "add_special": special });
        let answer = post(&app, "/tokenize", &body).await.ok();
        let mut bytes = vec![];
        let mut halves = 0;
        for token in answer["tokens"].as_array().unwrap() {
            assert!(token["id"].is_u64());
            match &token["piece"] {
                Value::String(text) => bytes.extend_from_slice(text.as_bytes()),
                piece => {
                    halves += 1;
                    bytes.extend(serde_json::from_value::<Vec<u8>>(piece.clone()).unwrap());
                }
            }
        }
        let begun = if special { "<｜begin▁of▁sentence｜>" } else { "" };
        assert_eq!(String::from_utf8(bytes).unwrap(), format!("{begun}{TEXT}"));
        assert!(halves > 0, "{answer}");
    }
}

#[tokio::test]
async fn control_tokens_are_read_as_such_unless_they_are_only_text() {
    let app = app(&open_server().await);
    for shape in ["content", "prompt"] {
        let count = async |parse: Value| {
            let body = json!({ shape: "<｜User｜>", "parse_special": parse, "add_special_tokens": false });
            post(&app, "/tokenize", &body).await.ok()["tokens"].as_array().unwrap().len()
        };
        assert_eq!((count(Value::Null).await, count(json!(true)).await), (1, 1), "{shape}");
        assert!(count(json!(false)).await > 1, "{shape}");
    }
}

#[tokio::test]
async fn only_ids_of_the_vocabulary_have_a_text() {
    let app = app(&open_server().await);
    let size = get(&app, "/v1/models/stories").await.ok()["meta"]["n_vocab"].as_u64().unwrap();
    let known = post(&app, "/detokenize", &json!({ "tokens": [size - 1], "warp": 9 })).await;
    assert_eq!(ignored(&known), ["warp"]);
    let known = known.ok();
    assert_eq!(known["content"], known["prompt"]);
    let unknown = post(&app, "/detokenize", &json!({ "tokens": [5, size, size + 1] })).await;
    assert_eq!(unknown.refused(400), format!("tokens: expected ids below {size}, found {size}"));
    assert_eq!(unknown.json()["error"]["param"], "tokens");
    expect(&post(&app, "/detokenize", &json!({ "tokens": [] })).await.ok(), json!({ "content": "", "prompt": "" }));
    let named = post(&app, "/tokenize", &json!({ "content": "x", "warp": 9, "model": "any" })).await;
    assert_eq!(ignored(&named), ["warp"]);
}
