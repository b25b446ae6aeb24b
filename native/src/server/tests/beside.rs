//! What is said of an answer beside it, in headers.

use lyn::checkpoint::{MemorySource, Source};

use super::*;
use crate::server::chat::{ignored as headers_of, made_with};

#[test]
fn fields_that_meant_nothing_are_listed_where_a_header_can_hold_them() {
    let of = |fields: &[&str]| {
        let fields: Vec<String> = fields.iter().map(|&field| field.to_owned()).collect();
        headers_of(&fields).get("x-lyn-ignored-fields").map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(of(&["a", "b[0].c"]).as_deref(), Some("a, b[0].c"));
    assert_eq!((of(&[]), of(&["a\u{7f}"])), (None, None));
    let plain = made_with(None);
    assert_eq!((plain.len(), &plain["x-seed"]), (1, &axum::http::HeaderValue::from_static("0")));
}

/// The built-in model with V3.2-Exp's own template, which calls without a thought only.
fn exp() -> Arc<dyn Source> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/stories");
    let names =
        ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
    let read = |source: MemorySource, name| source.with(name, std::fs::read(folder.join(name)).unwrap());
    let source = names.into_iter().fold(MemorySource::new(), read);
    let template = include_bytes!("../../../../tests/data/chat/exp.jinja");
    Arc::new(source.with("chat_template.jinja", template.as_slice()))
}

#[tokio::test]
async fn a_thought_that_tools_leave_no_room_for_is_told_of() {
    let options = Options { device: "cpu".to_owned(), context: ContextSize::Tokens(512), ..Options::default() };
    let load: Load = Box::new(move || {
        let engine = block_on(Engine::load(exp(), &options, &mut |_| true))?;
        Ok(ServedModel { engine, blocks: None })
    });
    let metrics = Arc::new(Metrics::new());
    let (worker, _) = Worker::start(load, AnswerLimits::default(), Arc::clone(&metrics)).unwrap();
    ready(&worker).await;
    let app = app(&Server::new(settings(), worker, metrics, Guard::new(rules(&[])), None));
    let tool = json!({ "type": "function", "function": { "name": "walk", "parameters": { "type": "object" } } });
    for (model, tools, told) in [
        ("deepseek-reasoner", json!([tool]), true),
        ("deepseek-reasoner", Value::Null, false),
        ("deepseek-chat", json!([tool]), false),
    ] {
        let answer = chat(&app, json!({ "model": model, "tools": tools, "max_tokens": 1 })).await;
        let found = answer.headers.get("x-thinking").map(|value| value.to_str().unwrap());
        assert_eq!(found, told.then_some("disabled-by-tools"), "{model}, tools {tools}");
        let answer = answer.ok();
        let thinks = answer["choices"][0]["message"].get("reasoning_content").is_some();
        assert_eq!(thinks, model == "deepseek-reasoner" && !told, "{answer}");
    }
}

/// Oracle: the limit of the header, 2 KiB, and the number of demands, by hand.
#[tokio::test]
async fn as_many_loosened_demands_are_named_as_a_header_takes() {
    let app = app(&open_server().await);
    let told = async |count: usize| {
        let list = json!({ "type": "array", "items": { "type": "integer" }, "uniqueItems": true });
        let properties: serde_json::Map<String, Value> =
            (0..count).map(|number| (format!("property_{number:03}"), list.clone())).collect();
        let schema = json!({ "type": "object", "properties": properties });
        // A chat would say so much in its prompt, too.
        let body = json!({ "model": "stories", "prompt": "A", "guided_json": schema, "max_tokens": 1 });
        let answer = post(&app, "/v1/completions", &body).await;
        let told = answer.headers.get("x-lyn-loosened").map(|value| value.to_str().unwrap().to_owned());
        let answer = answer.ok();
        told.unwrap_or_else(|| panic!("nothing is loosened: {answer}"))
    };
    let few = told(3).await;
    let names: Vec<&str> = few.split(", ").collect();
    assert!(names.len() == 3 && names[2].contains("property_002") && names[2].ends_with("uniqueItems"), "{few}");
    let name = names[0].len();
    let many = told(120).await;
    let mut listed: Vec<&str> = many.split(", ").collect();
    let rest = listed.pop().unwrap();
    assert_eq!(rest, format!("and {} more", 120 - listed.len()), "{many}");
    let text = listed.join(", ").len();
    assert!(text - ", ".len() <= 2048 && text + name > 2048, "{text} bytes of names, {name} each");
    assert!(listed.iter().enumerate().all(|(place, name)| name.contains(&format!("property_{place:03}"))), "{many}");
}
