//! Prompts, and the files that say how they are written.

use serde_json::{Value, json};

use super::TOKENIZER;
use crate::chat::formats::Templates;
use crate::chat::{
    CallSyntax, ChatFormat, CheckpointFiles, Conversation, Detected, Prompt, RenderOptions, Segment, control, encode,
};
use crate::checkpoint::TextFile;
use crate::error::Code;

fn conversation(messages: Value) -> Conversation {
    serde_json::from_value(json!({ "messages": messages })).unwrap()
}

#[test]
fn a_prompt_keeps_text_and_tokens_apart() {
    let mut prompt = Prompt::default();
    prompt.text("");
    assert_eq!((prompt.segments(), prompt.text_bytes()), (&[][..], 0));
    prompt.control(control::USER);
    prompt.text("é");
    prompt.text("");
    prompt.text("x");
    prompt.control(control::EOS);
    prompt.text("y");
    assert_eq!((prompt.segments().len(), prompt.text_bytes()), (4, 4));
    prompt.drop_last_control(control::EOS);
    assert_eq!(prompt.segments().len(), 4, "text is last");
    prompt.control(control::EOS);
    prompt.drop_last_control(control::USER);
    assert_eq!(prompt.segments().len(), 5, "another token is last");
    prompt.drop_last_control(control::EOS);
    assert_eq!(prompt.to_string(), format!("{}éx{}y", control::USER, control::EOS));
    // The first token of a text is the first, whichever it is.
    let mut trusted = Prompt::default();
    trusted.trusted("a</think>b<think>c</think>");
    let expected: Vec<Segment> = [("a", "</think>"), ("b", "<think>"), ("c", "</think>")]
        .into_iter()
        .flat_map(|(text, token)| [Segment::Text(text.to_owned()), Segment::Control(token.into())])
        .collect();
    assert_eq!(trusted.segments(), expected);
    let ids = prompt.ids(&TOKENIZER).unwrap();
    assert_eq!(ids, prompt.ids_parsing_special(&TOKENIZER).unwrap(), "no text looks like a token");
    let mut hostile = Prompt::default();
    hostile.text(control::USER);
    assert_ne!(hostile.ids(&TOKENIZER).unwrap(), hostile.ids_parsing_special(&TOKENIZER).unwrap());
    assert_eq!(hostile.ids_parsing_special(&TOKENIZER).unwrap().len(), 1);
    prompt.control("<none>");
    let error = prompt.ids(&TOKENIZER).unwrap_err();
    let message = "the tokenizer has no <none>, which this chat format needs";
    assert_eq!((error.code(), error.message()), (Code::BadCheckpoint, message));
}

#[test]
fn only_an_answer_of_text_is_continued() {
    let options = RenderOptions { continue_final: true, ..RenderOptions::default() };
    let call = json!({"id": "a", "function": {"name": "f"}});
    let what = "only an assistant message without calls can be continued";
    for format in [ChatFormat::Exp, ChatFormat::V31, ChatFormat::Dsml] {
        for (messages, index) in [
            (json!([{"role": "user", "content": "q"}]), 0),
            (json!([{"role": "user", "content": "q"}, {"role": "assistant", "tool_calls": [call]}]), 1),
            (json!([{"role": "assistant", "content": "a"}, {"role": "system", "content": "s"}]), 1),
        ] {
            let error = encode(format, &conversation(messages), options).unwrap_err();
            assert_eq!(error.message(), format!("messages[{index}]: {what}"));
        }
        let turns = conversation(json!([{"role": "user", "content": "q"}, {"role": "assistant", "content": "an"}]));
        let prompt = encode(format, &turns, options).unwrap();
        assert!(prompt.to_string().ends_with("</think>an"), "{prompt}");
        let closed = encode(format, &turns, RenderOptions::default()).unwrap().to_string();
        assert!(closed.contains(&format!("an{}", control::EOS)), "{closed}");
        let bare = RenderOptions { add_bos: false, ..options };
        assert_eq!(format!("{}{}", control::BOS, encode(format, &turns, bare).unwrap()), prompt.to_string());
    }
}

#[test]
fn what_was_detected_has_a_name() {
    for (found, name, format, own) in [
        (Detected::Format(ChatFormat::Exp), Some("exp"), Some(ChatFormat::Exp), false),
        (Detected::Format(ChatFormat::V31), Some("v31"), Some(ChatFormat::V31), false),
        (Detected::Format(ChatFormat::Dsml), Some("dsml"), Some(ChatFormat::Dsml), false),
        (Detected::Template(None), Some("template"), None, true),
        (Detected::Template(Some(CallSyntax::Kimi)), Some("kimi"), None, true),
        (Detected::Raw("why"), None, None, false),
    ] {
        assert_eq!((found.name().as_deref(), found.format(), found.is_own_template()), (name, format, own));
    }
}

#[test]
fn a_template_is_looked_for_in_both_files() {
    let file = |name: &str, bytes: &[u8]| TextFile { file: name.into(), bytes: bytes.to_vec() };
    let in_config = |config: &[u8]| {
        let config = file("tokenizer_config.json", config);
        Templates::of(CheckpointFiles { tokenizer_config: Some(&config), ..CheckpointFiles::default() })
    };
    assert_eq!(Templates::of(CheckpointFiles::default()).unwrap(), None);
    for (config, expected) in [
        (json!({}), None),
        (json!({"chat_template": null}), None),
        (json!({"chat_template": "x"}), Some("x")),
        (json!({"chat_template": []}), None),
        (json!({"chat_template": [{"name": "rag", "template": "x"}]}), None),
        (json!({"chat_template": [{"name": "default", "template": "y"}, {"name": "rag", "template": "x"}]}), Some("y")),
    ] {
        let found = in_config(config.to_string().as_bytes()).unwrap();
        let expected = expected.map(|text: &str| ("tokenizer_config.json".into(), Some(text.to_owned())));
        assert_eq!(found.map(|found| (found.file, found.plain)), expected);
    }
    let sized = |bytes: usize| {
        let empty = r#"{"chat_template": "x"}"#;
        in_config(format!("{empty}{}", " ".repeat(bytes - empty.len())).as_bytes())
    };
    assert!(sized(4 << 20).is_ok());
    let error = sized((4 << 20) + 1).unwrap_err();
    assert!(error.message().ends_with("expected at most 4194304 bytes, found 4194305"), "{error}");
    let binary = file("chat_template.jinja", &[0xff]);
    let binary = CheckpointFiles { chat_template: Some(&binary), ..CheckpointFiles::default() };
    let error = Templates::of(binary).unwrap_err();
    assert_eq!((error.class(), error.code()), (Some("E-TEMPLATE"), Code::BadCheckpoint));
}
