//! Tokenizer, prompts and streamed text against goldens made by other programs (tests/data/*/README.md).

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use lyn::chat::{
    CallSyntax, ChatFormat, Conversation, Message, OutputParser, Parsed, RenderOptions, Segment, control, encode,
};
use lyn::generate::{Event, Parser};
use lyn::text::{Pieces, Tokenizer};
use serde_json::Value;

const DEEPSEEK_VOCAB_SIZE: u32 = 129_280;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn golden(path: &str) -> Value {
    let bytes = std::fs::read(root().join(path)).expect(path);
    serde_json::from_slice(&bytes).expect(path)
}

fn cases(golden: &Value) -> &Vec<Value> {
    golden["cases"].as_array().expect("cases")
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value[field].as_str().unwrap_or_default()
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).expect("ids")
}

static DEEPSEEK_JSON: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let packed = std::fs::File::open(root().join("tests/data/tokenizer/tokenizer.json.gz")).expect("tokenizer.json.gz");
    let mut json = vec![];
    flate2::read::GzDecoder::new(packed).read_to_end(&mut json).expect("gzip");
    json
});

static DEEPSEEK: LazyLock<Tokenizer> = LazyLock::new(|| {
    Tokenizer::from_json("tokenizer.json", &DEEPSEEK_JSON, DEEPSEEK_VOCAB_SIZE).expect("DeepSeek's tokenizer")
});

fn stories() -> Tokenizer {
    let json = std::fs::read(root().join("models/stories/tokenizer.json")).expect("tokenizer.json");
    Tokenizer::from_json("tokenizer.json", &json, 2048).expect("the tokenizer of stories")
}

#[test]
fn texts_become_the_ids_of_hugging_face() {
    let golden = golden("tests/data/tokenizer/cases.json");
    let wrong: Vec<&str> = cases(&golden)
        .iter()
        .filter(|case| {
            let encoded = DEEPSEEK.encode(text(case, "text"), true).expect("encodes");
            let round_trip = case["roundtrip"] != true || DEEPSEEK.decode(&encoded) == text(case, "text");
            encoded != ids(&case["ids"]) || !round_trip
        })
        .map(|case| text(case, "id"))
        .collect();
    assert!(wrong.is_empty(), "wrong: {wrong:?}");
    assert_eq!(cases(&golden).len(), 301);
}

/// The steps around the merges are lyn's own: random texts against the whole of the `tokenizers` crate.
#[test]
fn random_texts_become_the_ids_of_the_crate() {
    let crate_tokenizer = tokenizers::Tokenizer::from_bytes(&*DEEPSEEK_JSON).expect("DeepSeek's tokenizer");
    let parts = [
        " ",
        " ",
        "  ",
        "\n",
        "\r\n",
        "\t",
        "\u{a0}",
        "\u{3000}",
        "\u{85}",
        "\u{200b}",
        "a",
        "The",
        "word",
        "ø",
        "é",
        "e\u{301}",
        "1",
        "2025",
        "Ⅷ",
        "½",
        "٣",
        "你好",
        "世",
        "ひらがな",
        "カナ",
        "한",
        ".",
        ",",
        "!",
        "#",
        "__",
        "()",
        "'s",
        "\"",
        "+=",
        "→",
        "｜",
        "▁",
        "🤖",
        "👨‍👩‍👧",
        "𓀀",
        "\0",
        "<think>",
        "</think>",
        "<｜User｜>",
        "<｜Assistant",
        "｜>",
        "<|EOT|>",
        "<｜place▁holder▁no▁7｜>",
    ];
    let mut state = 1_u64; // Knuth's MMIX generator
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).expect("31 bits") % below
    };
    for _ in 0..3000 {
        let text: String = (0..next(14)).map(|_| parts[next(parts.len())]).collect();
        let expected = crate_tokenizer.encode(text.as_str(), false).expect("encodes");
        assert_eq!(DEEPSEEK.encode(&text, true).expect("encodes"), expected.get_ids(), "{text:?}");
    }
}

#[test]
fn stories_prompts_become_their_ids() {
    let (golden, stories) = (golden("models/stories/golden.json"), stories());
    for case in cases(&golden) {
        assert_eq!(stories.encode(text(case, "prompt"), true).expect("encodes"), ids(&case["ids"]), "{}", case["name"]);
        assert_eq!(stories.decode(&ids(&case["greedy"])), text(case, "text"), "{}", case["name"]);
    }
    assert!(!cases(&golden).is_empty());
}

#[test]
fn ids_know_their_text() {
    let deepseek = &*DEEPSEEK;
    assert_eq!((deepseek.size(), deepseek.vocab_size()), (128_815, DEEPSEEK_VOCAB_SIZE));
    assert_eq!((deepseek.token_id("<think>"), deepseek.token_id("think")), (Some(128_798), None));
    assert_eq!(deepseek.piece_bytes(62377), [0xf0, 0x9f, 0xa4]);
    assert_eq!(deepseek.piece_bytes(0), control::BOS.as_bytes());
    assert_eq!((deepseek.piece_bytes(128_815), deepseek.piece_bytes(u32::MAX)), (&[][..], &[][..]));
    assert!(deepseek.is_special(1) && !deepseek.is_special(128_798));
    let sampleable = deepseek.sampleable();
    assert_eq!(sampleable.len(), 129_280);
    let may = |id: usize| sampleable[id];
    assert!(may(1) && may(67) && may(128_798) && !may(128_000) && !may(128_795) && !may(128_815) && !may(129_279));
}

#[test]
fn streamed_text_holds_no_half_characters() {
    let golden = golden("tests/data/tokenizer/stream_utf8.json");
    for case in cases(&golden) {
        let mut pieces = Pieces::default();
        let shown: Vec<String> = ids(&case["ids"]).iter().map(|id| pieces.push(&DEEPSEEK, *id)).collect();
        let expected: Vec<String> = serde_json::from_value(case["emit"].clone()).expect("emit");
        assert_eq!((shown, pieces.finish()), (expected, text(case, "flush").to_owned()), "{}", case["id"]);
    }
    assert_eq!(cases(&golden).len(), 14);
}

fn format(case: &Value) -> ChatFormat {
    match text(case, "format") {
        "v3.2-exp" => ChatFormat::Exp,
        "v3.1" => ChatFormat::V31,
        "v3.2" => ChatFormat::Dsml,
        other => panic!("format {other}"),
    }
}

fn options(flags: &Value) -> RenderOptions {
    let flag = |name: &str, default: bool| flags[name].as_bool().unwrap_or(default);
    RenderOptions {
        thinking: flag("thinking", false),
        add_generation_prompt: flag("add_generation_prompt", true),
        add_bos: flag("add_bos", true),
        drop_thinking: flag("drop_thinking", true),
        continue_final: false,
    }
}

fn conversation(case: &Value) -> Conversation {
    let request = serde_json::json!({
        "messages": case["messages"], "tools": case["tools"], "response_format": case["flags"]["response_format"],
    });
    serde_json::from_value(request).expect("a conversation")
}

#[test]
fn prompts_are_those_of_the_originals() {
    let golden = golden("tests/data/chat/cases.json");
    // Their text holds what looks like control tokens, which Hugging Face takes for such and lyn does not.
    let forged = ["exp-011", "exp-022", "dsml-023"];
    for case in cases(&golden) {
        let id = text(case, "id");
        let prompt = encode(format(case), &conversation(case), options(&case["flags"])).expect(id);
        let mut expected = text(case, "expected").to_owned();
        let mut expected_ids = ids(&case["expected_ids"]);
        if id == "dsml-025" {
            // Optional there: Python rewrites numbers on the way. lyn keeps their digits; serde_json spells 1E5 as 1e+5.
            expected = expected.replace("1e-07", "1e-7").replace(">1.5<", ">1.50<").replace("100000.0", "1e+5");
            expected_ids = DEEPSEEK.encode(&expected, true).expect(id);
        }
        assert_eq!(prompt.to_string(), expected, "{id}");
        assert_eq!(prompt.ids_parsing_special(&DEEPSEEK).expect(id), expected_ids, "{id}");
        let safe = prompt.ids(&DEEPSEEK).expect(id);
        assert_eq!(safe != expected_ids, forged.contains(&id), "{id}: only forged control tokens may differ");
        assert_eq!(DEEPSEEK.decode(&safe), expected, "{id}");
    }
    assert_eq!(cases(&golden).len(), 59);
}

/// A template in the shape of V3.1's own makes the same ids as lyn's renderer.
#[test]
fn a_template_renders_what_the_renderer_does() {
    use lyn::chat::formats::template::{ChatTemplate, Ends};

    let source = std::fs::read_to_string(root().join("tests/data/chat/exp.jinja")).expect("exp.jinja");
    let golden = golden("tests/data/chat/cases.json");
    let ends = Ends { bos: control::BOS, eos: control::EOS };
    let mut compared = 0;
    for case in cases(&golden).iter().filter(|case| case["tools"].is_null()) {
        let format = format(case);
        let flags = match format {
            ChatFormat::Exp => "{% set exp = true %}",
            ChatFormat::V31 => "",
            ChatFormat::Dsml => continue,
        };
        let template = ChatTemplate::new("exp.jinja", &format!("{flags}{source}"), &DEEPSEEK).expect("a template");
        let (id, conversation, options) = (text(case, "id"), conversation(case), options(&case["flags"]));
        let native = encode(format, &conversation, options).expect(id).ids(&DEEPSEEK).expect(id);
        let rendered = template
            .render(&conversation, options, &DEEPSEEK, ends)
            .and_then(|prompt| prompt.ids(&DEEPSEEK))
            .expect(id);
        assert_eq!(DEEPSEEK.decode(&rendered), DEEPSEEK.decode(&native), "{id}");
        assert_eq!(rendered, native, "{id}");
        compared += 1;
    }
    assert_eq!(compared, 30);
}

#[test]
fn preambles_are_the_golden_ones() {
    let golden = golden("tests/data/chat/preambles.json");
    let folder = root().join("runtime/src/chat/formats/preambles");
    let files = [
        ("v3.2.tools.head", "dsml_tools_head.txt"),
        ("v3.2.tools.tail", "dsml_tools_tail.txt"),
        ("v3.2.response_format.head", "dsml_response_format_head.txt"),
        ("v3.2.developer.head", "dsml_developer_head.txt"),
        ("v3.2-exp.tools.head", "exp_tools_head.txt"),
        ("v3.2-exp.tools.tail", "exp_tools_tail.txt"),
    ];
    for (key, file) in files {
        assert_eq!(std::fs::read_to_string(folder.join(file)).expect(file), text(&golden, key), "{file}");
    }
}

/// No text of a user becomes a control token, whichever it is and wherever it stands.
#[test]
fn a_role_cannot_be_forged() {
    for (tokenizer, formats) in
        [(&*DEEPSEEK, &[ChatFormat::Exp, ChatFormat::Dsml][..]), (&stories(), &[ChatFormat::Dsml])]
    {
        let added: std::collections::HashMap<u32, &str> =
            tokenizer.added_tokens().map(|(token, id)| (id, token)).collect();
        for (token, id) in tokenizer.added_tokens() {
            for format in formats {
                let content = format!("a{token}{token} b");
                let json = serde_json::json!({"messages": [{"role": "system", "content": token}, {"role": "user", "content": content}]});
                let conversation: Conversation = serde_json::from_value(json).expect("a conversation");
                let prompt = encode(*format, &conversation, RenderOptions::default()).expect("a prompt");
                let ids = prompt.ids(tokenizer).expect("ids");
                let found: Vec<&str> = ids.iter().filter_map(|id| added.get(id).copied()).collect();
                assert_eq!(found, [control::BOS, control::USER, control::ASSISTANT, control::END_THINK], "{token}");
                assert_eq!(tokenizer.decode(&ids), prompt.to_string());
            }
            assert_eq!(tokenizer.encode(token, true).expect("ids"), [id]);
        }
    }
}

#[test]
fn a_last_assistant_message_is_continued() {
    let render = |format, thinking, last: Value| {
        let json = serde_json::json!({"messages": [{"role": "user", "content": "q"}, last]});
        let conversation: Conversation = serde_json::from_value(json).expect("a conversation");
        let options = RenderOptions { thinking, continue_final: true, ..RenderOptions::default() };
        encode(format, &conversation, options)
            .map(|prompt| prompt.to_string().replace("<｜begin▁of▁sentence｜><｜User｜>q<｜Assistant｜>", ""))
    };
    let plain = || serde_json::json!({"role": "assistant", "content": "p", "prefix": true});
    let thought = || serde_json::json!({"role": "assistant", "content": "p", "prefix": true, "reasoning_content": "r"});
    for format in [ChatFormat::Exp, ChatFormat::V31, ChatFormat::Dsml] {
        assert_eq!(render(format, false, plain()).expect("prompt"), "</think>p");
        assert_eq!(render(format, true, plain()).expect("prompt"), "<think>p");
    }
    assert_eq!(render(ChatFormat::Dsml, true, thought()).expect("prompt"), "<think>r</think>p");
    assert!(render(ChatFormat::Exp, true, serde_json::json!({"role": "user", "content": "x"})).is_err());
}

#[test]
fn histories_of_others_are_rendered_in_every_format() {
    let calls = |arguments: serde_json::Value| {
        let call = |id: &str| serde_json::json!({"id": id, "function": {"name": "f", "arguments": arguments}});
        serde_json::json!([
            {"role": "user", "content": null},
            {"role": "assistant", "tool_calls": [call("1"), call("2")]},
            {"role": "tool", "content": "r"},
            {"role": "assistant", "content": ""},
            {"role": "tool", "tool_call_id": "9", "content": null},
            {"role": "system", "content": "late"},
            {"role": "user", "content": "q"},
        ])
    };
    for (arguments, exp, dsml) in [
        (serde_json::json!(""), "{}", "<｜DSML｜invoke name=\"f\">\n\n</｜DSML｜invoke>"),
        (serde_json::json!(" "), "{}", "<｜DSML｜invoke name=\"f\">\n\n</｜DSML｜invoke>"),
        (serde_json::json!(null), "{}", "<｜DSML｜invoke name=\"f\">\n\n</｜DSML｜invoke>"),
        (serde_json::json!("{\"a\": \"b"), "{\"a\": \"b", "name=\"arguments\" string=\"true\">{\"a\": \"b</"),
        (serde_json::json!("[1,2]"), "[1,2]", "name=\"arguments\" string=\"true\">[1,2]</"),
        (serde_json::json!([1, 2]), "[1, 2]", "name=\"arguments\" string=\"false\">[1, 2]</"),
        (serde_json::json!("{\"a\":1}"), "{\"a\":1}", "name=\"a\" string=\"false\">1</"),
    ] {
        let messages: Vec<Message> = serde_json::from_value(calls(arguments.clone())).expect("messages");
        let conversation = Conversation { messages, ..Conversation::default() };
        for thinking in [false, true] {
            let options = RenderOptions { thinking, ..RenderOptions::default() };
            let rendered = |format| encode(format, &conversation, options).expect("a prompt").to_string();
            for format in [ChatFormat::Exp, ChatFormat::V31] {
                let wanted = format!("<｜tool▁sep｜>{exp}<｜tool▁call▁end｜>");
                assert_eq!(rendered(format).matches(&wanted).count(), 2, "{arguments} {}", rendered(format));
            }
            assert_eq!(
                rendered(ChatFormat::Dsml).matches(dsml).count(),
                2,
                "{arguments} {}",
                rendered(ChatFormat::Dsml)
            );
        }
    }
}

#[test]
fn refused_conversations_name_the_message() {
    let refused = [
        (0, r#"[{"role":"user","content":[{"type":"image_url"}]}]"#.to_owned(), "This model does not support image"),
        (0, r#"[{"role":"user","content":[{"type":"video"}]}]"#.to_owned(), "\"video\" is not supported"),
    ];
    for (index, messages, said) in refused {
        let messages: Vec<Message> = serde_json::from_str(&messages).expect(said);
        let conversation = Conversation { messages, ..Conversation::default() };
        let error =
            encode(ChatFormat::Dsml, &conversation, RenderOptions { thinking: true, ..RenderOptions::default() })
                .expect_err(said);
        assert_eq!(error.code().name(), "bad_request");
        assert!(error.message().contains(said), "{error}");
        assert_eq!(error.details()["message_index"], index, "{error}");
    }
    let empty = encode(ChatFormat::Exp, &Conversation::default(), RenderOptions::default()).expect_err("empty");
    assert_eq!(empty.message(), "Empty input messages");
    let tools =
        r#"{"messages":[{"role":"user","content":"q"}],"tools":[{"type":"function","function":{"name":"a b"}}]}"#;
    let conversation: Conversation = serde_json::from_str(tools).expect("a conversation");
    assert!(
        encode(ChatFormat::Exp, &conversation, RenderOptions::default())
            .expect_err("name")
            .message()
            .contains("tools[0]")
    );
    // Results in any order are rendered in the order of the calls.
    let user = r#"{"role":"user","content":"q"}"#;
    let calls = r#"{"role":"assistant","content":"","tool_calls":[{"id":"1","function":{"name":"f","arguments":"{}"}},{"id":"2","function":{"name":"g","arguments":"{}"}}]}"#;
    let result = |id: &str| format!(r#"{{"role":"tool","tool_call_id":"{id}","content":"r{id}"}}"#);
    let messages = format!("[{user},{calls},{},{}]", result("2"), result("1"));
    let conversation =
        Conversation { messages: serde_json::from_str(&messages).expect("messages"), ..Conversation::default() };
    let prompt = encode(ChatFormat::Dsml, &conversation, RenderOptions::default()).expect("a prompt").to_string();
    assert!(prompt.contains("\n<result>r1</result>\n<result>r2</result>\n"), "{prompt}");
}

#[test]
fn content_may_come_in_parts() {
    let json = r#"{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}],"name":null,"tool_calls":null}],"tools":null}"#;
    let conversation: Conversation = serde_json::from_str(json).expect("a conversation");
    let prompt = encode(ChatFormat::Exp, &conversation, RenderOptions { add_bos: false, ..RenderOptions::default() })
        .expect("a prompt");
    assert_eq!(prompt.segments()[1], Segment::Text("ab".to_owned()));
}

/// Every completion gives the same message, however it comes in pieces.
#[test]
fn completions_are_parsed_in_any_pieces() {
    let golden = golden("tests/data/chat/parse.json");
    let all = cases(&golden);
    assert_eq!(all.len(), 30);
    let mut random = 1_u64;
    for case in all {
        let format = match text(case, "format") {
            "v3.2" => CallSyntax::Dsml,
            _ => CallSyntax::Exp,
        };
        let answer = text(case, "text").trim_end_matches(control::EOS);
        let expected = &case["expected"];
        let check = |parts: &[&str]| {
            let mut parser = OutputParser::new(Some(format), case["thinking"] == true);
            let mut parsed = Parsed::default();
            let mut events: Vec<Event> = parts.iter().flat_map(|part| parser.push(part)).collect();
            events.extend(parser.finish());
            events.iter().for_each(|event| parsed.take(event));
            let calls: Vec<Value> = parsed
                .calls()
                .iter()
                .map(|call| serde_json::json!({ "name": call.name, "arguments": call.arguments }))
                .collect();
            let found = serde_json::json!({
                "reasoning_content": parsed.reasoning, "content": parsed.content, "tool_calls": calls,
            });
            assert_eq!(&found, expected, "{}: {parts:?}", case["id"]);
        };
        check(&[answer]);
        let characters: Vec<&str> = answer.char_indices().map(|(at, one)| &answer[at..at + one.len_utf8()]).collect();
        check(&characters);
        for _ in 0..50 {
            let mut parts = vec![];
            let mut rest = answer;
            while !rest.is_empty() {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let characters = 1 + usize::try_from(random >> 60).expect("four bits");
                let end = rest.char_indices().nth(characters).map_or(rest.len(), |(at, _)| at);
                parts.push(&rest[..end]);
                rest = &rest[end..];
            }
            check(&parts);
        }
    }
}

/// Rules of the formats that no golden shows (spec: api 3.2 and 3.3).
#[test]
fn rules_beyond_the_goldens() {
    let render = |format, options: RenderOptions, messages: Value| {
        let conversation = serde_json::from_value(serde_json::json!({ "messages": messages })).expect("a conversation");
        encode(format, &conversation, options).expect("a prompt").to_string().replacen(control::BOS, "", 1)
    };
    let call = serde_json::json!([{"id": "1", "function": {"name": "f", "arguments": {"a": [1, 2]}}}]);
    let calls = serde_json::json!({"role": "assistant", "tool_calls": call});
    // Text that follows results is verbatim; arguments may be an object; calls right after systems open a turn in Exp only.
    let after_results = serde_json::json!([
        {"role": "system", "content": "S"}, calls, {"role": "tool", "tool_call_id": "1", "content": "r"},
        {"role": "assistant", "content": "a</think>b"}, {"role": "user", "content": "q"},
    ]);
    let rest = "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{\"a\": [1, 2]}<｜tool▁call▁end｜><｜tool▁calls▁end｜>\
        <｜end▁of▁sentence｜><｜tool▁output▁begin｜>r<｜tool▁output▁end｜>a</think>b<｜end▁of▁sentence｜><｜User｜>q<｜Assistant｜></think>";
    let plain = RenderOptions::default();
    assert_eq!(render(ChatFormat::V31, plain, after_results.clone()), format!("S{rest}"));
    assert_eq!(render(ChatFormat::Exp, plain, after_results), format!("S<｜Assistant｜></think>{rest}"));
    // While thinking, developer messages before the last user message go with the thoughts of their turns.
    let developer = serde_json::json!([{"role": "developer", "content": "d"}, {"role": "user", "content": "q"}]);
    let thinking = RenderOptions { thinking: true, ..plain };
    let developer_turn = "<｜User｜>\n\n# The user's message is: d<｜Assistant｜></think>";
    let user_turn = |mode| format!("<｜User｜>q<｜Assistant｜>{mode}");
    assert_eq!(render(ChatFormat::Dsml, thinking, developer.clone()), user_turn("<think>"));
    let keep = RenderOptions { drop_thinking: false, ..thinking };
    assert_eq!(render(ChatFormat::Dsml, keep, developer.clone()), format!("{developer_turn}{}", user_turn("<think>")));
    assert_eq!(render(ChatFormat::Dsml, plain, developer), format!("{developer_turn}{}", user_turn("</think>")));
}

/// One word may be as long as a body: its making ends with whoever waits for it, not at the next word.
#[test]
fn a_long_word_is_left_when_nobody_waits() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/stories/tokenizer.json");
    let bytes = std::fs::read(path).expect("stories are there");
    let tokenizer = Tokenizer::from_json("tokenizer.json", &bytes, 2048).expect("a tokenizer");
    let word = "once".repeat(1 << 20);
    let unwanted = Arc::new(AtomicBool::new(false));
    let waiting = Arc::clone(&unwanted);
    let leaves = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(20));
        waiting.store(true, Ordering::Relaxed);
    });
    let ended = lyn::cancel::unless(unwanted, || tokenizer.encode(&word, false));
    leaves.join().expect("it only sleeps");
    assert_eq!(ended.expect_err("nobody waits").code(), lyn::Code::Cancelled);
}
