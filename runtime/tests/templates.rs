//! The templates of models as they ship: rendered as jinja2 renders them, and the calls that they write read back.
//!
//! Oracle: `tests/data/chat/templates.json`, which `make_templates.py` beside it made.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lyn::chat::formats::template::{ChatTemplate, Ends};
use lyn::chat::{CallSyntax, Conversation, Detected, OutputParser, Parsed, Prompt, RenderOptions, Segment, control};
use lyn::checkpoint::{Checkpoint, MemorySource};
use lyn::generate::{Callable, Event, Parser};
use lyn::platform::block_on;
use lyn::text::Tokenizer;
use lyn::wire::openai::ChatRequest;
use lyn::{Error, Language};
use serde_json::{Value, json};

const TOKENS: [&str; 36] = [
    "[gMASK]",
    "<sop>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|observation|>",
    "<tool_response>",
    "</tool_response>",
    "<tool_call>",
    "</tool_call>",
    "<arg_key>",
    "</arg_key>",
    "<arg_value>",
    "</arg_value>",
    "<|im_system|>",
    "<|im_user|>",
    "<|im_assistant|>",
    "<|im_middle|>",
    "<|im_end|>",
    "<|tool_calls_section_begin|>",
    "<|tool_calls_section_end|>",
    "<|tool_call_begin|>",
    "<|tool_call_argument_begin|>",
    "<|tool_call_end|>",
    control::BOS,
    control::EOS,
    control::USER,
    control::ASSISTANT,
    "<think>",
    control::END_THINK,
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁calls▁end｜>",
    "<｜tool▁call▁begin｜>",
    "<｜tool▁call▁end｜>",
    "<｜tool▁sep｜>",
    "<｜tool▁output▁begin｜>",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/chat")
}

fn golden() -> Value {
    let text = std::fs::read(folder().join("templates.json")).expect("templates.json");
    serde_json::from_slice(&text).expect("JSON")
}

fn tokenizer() -> Tokenizer {
    let added: Vec<Value> = (1..).zip(TOKENS).map(|(id, token)| json!({"id": id, "content": token})).collect();
    let file = json!({
        "added_tokens": added, "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []},
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false},
    });
    Tokenizer::from_json("tokenizer.json", file.to_string().as_bytes(), 100).expect("a tokenizer")
}

fn template(file: &str, tokenizer: &Tokenizer) -> ChatTemplate {
    let source = std::fs::read_to_string(folder().join("templates").join(file)).expect(file);
    ChatTemplate::new(file, &source, tokenizer).expect(file)
}

fn render(
    template: &ChatTemplate,
    conversation: &Value,
    thinking: bool,
    tokenizer: &Tokenizer,
) -> Result<Prompt, Error> {
    let conversation: Conversation = serde_json::from_value(conversation.clone()).expect("a conversation");
    let ends = Ends { bos: control::BOS, eos: control::EOS };
    template.render(&conversation, RenderOptions { thinking, ..RenderOptions::default() }, tokenizer, ends)
}

#[test]
fn templates_render_as_jinja2_renders_them() {
    let (golden, tokenizer) = (golden(), tokenizer());
    let prompts = golden["prompts"].as_array().expect("prompts");
    assert_eq!(prompts.len(), 54);
    for case in prompts {
        let (file, id) = (case["template"].as_str().expect("a file"), case["conversation"].as_str().expect("a name"));
        let (conversation, thinking) = (&golden["conversations"][id], case["thinking"] == true);
        let prompt = render(&template(file, &tokenizer), conversation, thinking, &tokenizer).expect(id);
        assert_eq!(prompt.to_string(), case["prompt"].as_str().expect("a prompt"), "{file}: {id}");
        // Turns are control tokens, one for each message of a user, whatever a message holds.
        let users = conversation["messages"].as_array().expect("messages").iter();
        let users = users.filter(|message| message["role"] == "user").count();
        let opens = |token: &str| ["<|user|>", "<|im_user|>", control::USER].contains(&token);
        let is_turn = |segment: &&Segment| matches!(segment, Segment::Control(token) if opens(token));
        assert_eq!(prompt.segments().iter().filter(is_turn).count(), users, "{file}: {id}");
    }
}

/// What a template writes as the last turn is what the model is to write: it is read as the message that it was made from, in
/// whatever pieces it comes.
#[test]
fn calls_are_read_back_from_what_templates_write() {
    let golden = golden();
    let answers = golden["answers"].as_array().expect("answers");
    assert_eq!(answers.len(), 13);
    let callable = |tool: &Value| Callable {
        name: tool["function"]["name"].as_str().expect("a name").to_owned(),
        parameters: tool["function"]["parameters"].clone(),
    };
    let functions: Arc<[Callable]> = golden["tools"].as_array().expect("tools").iter().map(callable).collect();
    for case in answers {
        let (file, text) = (case["template"].as_str().expect("a file"), case["text"].as_str().expect("a text"));
        let syntax = match file.split('-').next() {
            Some("glm") => CallSyntax::Glm,
            Some("kimi") => CallSyntax::Kimi,
            _ => CallSyntax::Exp,
        };
        let message = &case["message"];
        let read = |pieces: &mut dyn Iterator<Item = &str>| {
            let parser = OutputParser::new(Some(syntax), case["thinking"] == true);
            let mut parser = parser.may_think().calling(Arc::clone(&functions));
            let mut events: Vec<Event> = pieces.flat_map(|piece| parser.push(piece)).collect();
            events.extend(parser.finish());
            let mut parsed = Parsed::default();
            events.iter().for_each(|event| parsed.take(event));
            let ids = events.iter().filter_map(|event| match event {
                Event::Call { id, .. } => Some(id.clone()),
                _ => None,
            });
            (parsed, ids.collect::<Vec<Option<String>>>())
        };
        let (parsed, ids) = read(&mut std::iter::once(text));
        assert_eq!(read(&mut text.split_inclusive(|_: char| true)), (parsed.clone(), ids.clone()), "{case}");
        let thought = message["reasoning_content"].as_str().unwrap_or_default();
        assert_eq!(
            (&*parsed.content, &*parsed.reasoning),
            (message["content"].as_str().expect("a text"), thought),
            "{case}"
        );
        let calls = message["tool_calls"].as_array().cloned().unwrap_or_default();
        assert_eq!(parsed.calls().len(), calls.len(), "{case}");
        for ((found, id), call) in parsed.calls().iter().zip(ids).zip(&calls) {
            let arguments: Value = serde_json::from_str(&found.arguments).expect("an object");
            let function = &call["function"];
            assert_eq!(found.name, function["name"].as_str().expect("a name"));
            assert_eq!(
                arguments,
                serde_json::from_str::<Value>(function["arguments"].as_str().expect("JSON")).expect("JSON")
            );
            if syntax == CallSyntax::Kimi {
                // A call that stands alone is the first, whatever its id was.
                assert!(id.is_some_and(|id| id.starts_with(&format!("functions.{}:", found.name))), "{case}");
            }
        }
    }
}

/// Stories with GLM's tokens in place of DeepSeek's, and its template, which the GGUF converters flag as tokens without a text.
fn glm() -> Language {
    let stories = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/stories");
    let read = |file: &str| std::fs::read(stories.join(file)).expect(file);
    let mut file: Value = serde_json::from_slice(&read("tokenizer.json")).expect("JSON");
    let mut new =
        ["<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>", "<|user|>"].iter();
    let mut replaced = vec![];
    for token in file["added_tokens"].as_array_mut().expect("a list") {
        if token["content"].as_str().is_some_and(|text| text.contains("tool")) {
            let Some(content) = new.next() else { break };
            replaced.push(token["id"].clone());
            (token["content"], token["special"]) = (json!(content), json!(true));
        }
    }
    file["model"]["vocab"].as_object_mut().expect("a map").retain(|_, id| !replaced.contains(id));
    let template = std::fs::read(folder().join("templates/glm-4.7-flash.jinja")).expect("a template");
    let source = MemorySource::new()
        .with("config.json", read("config.json"))
        .with("model.safetensors", read("model.safetensors"))
        .with("tokenizer.json", file.to_string().into_bytes())
        .with("chat_template.jinja", template);
    let opened = block_on(async { Language::open(&Checkpoint::open(Arc::new(source)).await?).await });
    opened.expect("a language").expect("a tokenizer")
}

/// From a request to what the engine is asked for.
#[test]
fn requests_bring_what_answers_are_read_by() {
    let glm = glm();
    assert_eq!(glm.chat_format(), Detected::Template(Some(CallSyntax::Glm)));
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    let tools = json!([{"type": "function", "function": {"name": "get_weather", "parameters": parameters}}]);
    for (fields, thinking, held) in [
        (json!({}), false, false),
        (json!({"thinking": {"type": "enabled"}}), true, false),
        (json!({"tool_choice": "required"}), false, true),
        (json!({"thinking": {"type": "enabled"}, "tool_choice": "required"}), true, true),
    ] {
        let mut body = json!({"messages": [{"role": "user", "content": "Hello"}], "tools": tools});
        body.as_object_mut().expect("a map").extend(fields.as_object().expect("a map").clone());
        let asked = ChatRequest::parse(body.to_string()).and_then(|chat| chat.to_request(&glm)).expect("a request");
        let request = asked.request;
        assert_eq!((request.thinking, request.may_think, request.calls), (thinking, true, true), "{fields}");
        assert_eq!(
            request.functions[..],
            [Callable { name: "get_weather".to_owned(), parameters: parameters.clone() }]
        );
        assert_eq!(request.constraint.is_some(), held, "{fields}");
        let end = if thinking { "<think>" } else { "</think>" };
        assert!(glm.tokenizer().decode(&request.prompt).ends_with(end), "{fields}");
    }
}
