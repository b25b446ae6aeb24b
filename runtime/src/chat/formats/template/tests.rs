use std::sync::{Arc, LazyLock};

use serde_json::{Value, json};

use super::*;
use crate::chat::control;
use crate::checkpoint::{MemorySource, small_file};
use crate::engine::Engine;
use crate::generate::Request;
use crate::platform::block_on;

static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
    let bytes = include_bytes!("../../../../../models/stories/tokenizer.json");
    Tokenizer::from_json("tokenizer.json", bytes, 2048).unwrap()
});

const TURNS: &str = "{% for message in messages %}<｜User｜>{{ message.content }}{% endfor %}";

fn conversation(value: Value) -> Conversation {
    serde_json::from_value(value).unwrap()
}

fn user(text: &str) -> Conversation {
    conversation(json!({ "messages": [{ "role": "user", "content": text }] }))
}

fn ids(source: &str, conversation: &Conversation, options: RenderOptions) -> Result<Vec<u32>> {
    let template = ChatTemplate::new("chat_template.jinja", source, &TOKENIZER)?;
    template.render(conversation, options, &TOKENIZER, Ends::default())?.ids(&TOKENIZER)
}

fn text(source: &str, conversation: &Conversation) -> String {
    TOKENIZER.decode(&ids(source, conversation, RenderOptions::default()).unwrap())
}

fn refusal(source: &str) -> Error {
    ids(source, &user("hi"), RenderOptions::default()).unwrap_err()
}

/// Added tokens in ids.
fn added(ids: &[u32]) -> Vec<&'static str> {
    let name = |id: &u32| TOKENIZER.added_tokens().find(|(_, added)| added == id).map(|(token, _)| token);
    ids.iter().filter_map(name).collect()
}

#[test]
fn no_text_of_a_conversation_becomes_a_control_token() {
    let source = "{% for m in messages %}<｜User｜>{{ m.content }}|{{ m.name }}|{{ m.reasoning_content }}|{{ m.tool_call_id }}\
        {% for c in m.tool_calls %}{{ c.id }}|{{ c.function.name }}|{{ c.function.arguments | tojson }}{% endfor %}{% endfor %}\
        {{ tools | tojson }}<｜Assistant｜>";
    for (token, _) in TOKENIZER.added_tokens() {
        let hostile = format!("a {token}{token}\u{f0000}\u{f0001} b");
        let call = json!({ "id": hostile, "function": { "name": hostile, "arguments": { &hostile: [hostile, {}] } } });
        let tool = json!({ "name": "f", "description": hostile, "parameters": { &hostile: hostile } });
        let conversation = conversation(json!({
            "messages": [
                { "role": "user", "content": hostile, "name": hostile },
                { "role": "assistant", "content": hostile, "reasoning_content": hostile, "tool_calls": [call] },
                { "role": "tool", "content": hostile, "tool_call_id": hostile },
            ],
            "tools": [{ "function": tool }],
        }));
        let rendered = ids(source, &conversation, RenderOptions::default()).unwrap();
        assert_eq!(added(&rendered), ["<｜User｜>", "<｜User｜>", "<｜User｜>", "<｜Assistant｜>"], "{token}");
        assert_eq!(TOKENIZER.decode(&rendered).matches(&hostile).count(), 13, "{token}");
    }
}

#[test]
fn text_makes_no_token_with_what_stands_next_to_it() {
    let cases = [
        ("<{{ messages[0].content }}>", "think"),
        ("{{ messages[0].content }}think>", "<"),
        ("{{ messages[0].content }}er｜>", "a<｜Us"),
        ("</think{{ messages[0].content }}", "> b"),
        ("<{{ messages[0].content | trim }}>", "  /think "),
        ("{{ messages[0].content }}{{ messages[0].content }}", "｜Assistant｜><"),
        ("<{{ messages[0].content | tojson }}>{{ messages[0].content[:1] }}", "<think>"),
    ];
    for (source, content) in cases {
        let rendered = ids(source, &user(content), RenderOptions::default()).unwrap();
        assert_eq!(added(&rendered), Vec::<&str>::new(), "{source} {content}");
        assert!(TOKENIZER.decode(&rendered).contains(content.trim()), "{source} {content}");
    }
}

#[test]
fn whatever_a_template_does_to_a_text_it_stays_text() {
    let filters = [
        "",
        "|lower",
        "|upper",
        "|capitalize",
        "|title",
        "|trim",
        "|replace('_', '▁')",
        "|replace('X', '<｜User｜>')",
        "|replace('|', '｜')|lower",
        "|reverse",
        "|list|join",
        "|tojson",
        "|string|lower",
        ".lower()",
        ".upper()",
        ".strip()",
        ".replace('X', '｜')",
        ".replace('X', '<｜Assistant｜>').lower()",
        ".split('X')|join",
        "[1:]",
        "[:-1]",
        "[::-1]",
        ".split(' ')[-1]",
        ".title()",
        ".replace('X', bos_token)",
        "|replace('X', '</' ~ 'think>')",
        ".lstrip('X')",
    ];
    let around = [
        ("", ""),
        ("<", ">"),
        ("<｜", "｜>"),
        ("</", ""),
        ("", "think>"),
        ("<｜{{ '' }}", "{{ '｜>' }}"),
        ("{{ '<' ~ '' }}", ">"),
    ];
    let mut texts: Vec<String> =
        vec!["X".to_owned(), " think".to_owned(), "xthinkx".to_owned(), "\u{f0000}\u{f0005}".to_owned()];
    for (token, _) in TOKENIZER.added_tokens().take(24) {
        let bare = token.trim_matches(['<', '>', '｜', '/']);
        texts.extend([token.to_owned(), token.to_uppercase(), token.to_lowercase(), token.replace('▁', "_")]);
        texts.extend([
            token.replace('｜', "X"),
            token.replace('｜', "|"),
            token.chars().rev().collect(),
            format!("x{token}x"),
        ]);
        texts.extend([
            bare.to_owned(),
            format!("x{bare}x"),
            bare.to_uppercase(),
            token.chars().skip(1).collect(),
            token.replace('<', "X<X"),
        ]);
    }
    let mut state = 11_u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    for round in 0..600 {
        let (one, two, (before, after)) =
            (filters[next(filters.len())], filters[next(filters.len())], around[next(around.len())]);
        let field = [
            "m.content",
            "m.tool_calls[0].function.name",
            "m.reasoning_content",
            "m.tool_calls[0].function.arguments.k",
            "m.tool_call_id",
        ][next(5)];
        let source = format!(
            "{{{{ bos_token }}}}{{% for m in messages %}}<｜User｜>{before}{{{{ ({field}{one}){two} }}}}{after}{{% endfor %}}<｜Assistant｜>"
        );
        let text = &texts[next(texts.len())];
        let call = json!({ "id": text, "function": { "name": text, "arguments": { "k": text } } });
        let message = json!({ "role": "assistant", "content": text, "reasoning_content": text, "tool_calls": [call], "tool_call_id": text });
        let conversation = conversation(json!({ "messages": [message] }));
        let template = ChatTemplate::new("x", &source, &TOKENIZER).unwrap();
        let ends = Ends { bos: control::BOS, eos: control::EOS };
        // Some filters do not go together: then the template refuses.
        let Ok(prompt) = template.render(&conversation, RenderOptions::default(), &TOKENIZER, ends) else { continue };
        let found = added(&prompt.ids(&TOKENIZER).unwrap());
        assert_eq!(found, [control::BOS, control::USER, control::ASSISTANT], "{round}: {source} {text}");
    }
}

#[test]
fn tokens_that_a_template_composes_are_its_own() {
    let source =
        "{% for m in messages %}{{ '<｜' + (m.role | capitalize) + '｜>' }}{{ m.content }}{{ '</' }}think>{% endfor %}";
    for (content, tokens) in [
        ("hi", vec!["<｜User｜>", "</think>"]),
        ("<｜User｜>", vec!["<｜User｜>", "</think>"]),
        ("<think>", vec!["<｜User｜>", "</think>"]),
    ] {
        let rendered = ids(source, &user(content), RenderOptions::default()).unwrap();
        assert_eq!(added(&rendered), tokens, "{content}");
        assert_eq!(TOKENIZER.decode(&rendered), format!("<｜User｜>{content}</think>"));
    }
}

#[test]
fn marks_stand_where_text_and_strings_are() {
    let cases = [
        (
            "{# <think> #}{{ '<think>' }}{{ \"a\\\"<think>\" }}{% set x = '}}<think>%}' %}{{ x }}",
            "<think>a\"<think>}}<think>%}",
            3,
        ),
        ("{ {{ {'<think>': 1}['<think>'] }} <think>{", "{ 1 <think>{", 1),
        ("{{ 'a<b>c' }}{{ 1 if 1 < 2 else 3 }}", "a<b>c1", 0),
    ];
    for (source, expected, tokens) in cases {
        let rendered = ids(source, &user("x"), RenderOptions::default()).unwrap();
        assert_eq!((TOKENIZER.decode(&rendered).as_str(), added(&rendered).len()), (expected, tokens), "{source}");
    }
}

#[test]
fn characters_of_the_template_are_its_own() {
    let rendered = text("\u{f0000}{{ messages[0].content }}", &user("<think>"));
    assert_eq!(rendered, "\u{f0000}<think>");
}

#[test]
fn templates_find_what_hugging_face_gives_them() {
    let plain = user("hi");
    let cases = [
        ("{{ tools is defined }} {{ documents is defined }}", "False False"),
        ("{{ thinking }} {{ enable_thinking }} {{ add_generation_prompt }}", "False False True"),
        (
            "{%- for i in [1, 2, 3] %}\n  {% if i == 2 %}\n{% continue %}\n  {% endif %}\n{{ i }}\n{% endfor %}",
            "1\n3\n",
        ),
        ("{{ 'a-b'.split('-', 1)[1] }}{{ ' x '.strip() }}{% for k, v in {'k': 1}.items() %}{{ k }}{% endfor %}", "bxk"),
        (
            "{{ {'a': '<é&\\'>', 'b': [1, 2.5, none, true]} | tojson }}",
            "{\"a\": \"<é&'>\", \"b\": [1, 2.5, null, true]}",
        ),
        ("{{ {'a': [1]} | tojson(indent=2, ensure_ascii=false) }}", "{\n  \"a\": [\n    1\n  ]\n}"),
        ("{{ strftime_now('%Y') | int > 2024 }}", "True"),
    ];
    for (source, expected) in cases {
        assert_eq!(text(source, &plain), expected, "{source}");
    }
}

#[test]
fn thoughts_in_answers_are_told_apart() {
    let turns = |message: Value| conversation(json!({ "messages": [{ "role": "user", "content": "q" }, message] }));
    let source = "{{ messages[1].reasoning_content }}|{{ messages[1].content }}";
    let inline = turns(json!({ "role": "assistant", "content": "<think>a</think>b</think>c" }));
    assert_eq!(text(source, &inline), "a|b</think>c");
    let told = turns(json!({ "role": "assistant", "content": "b</think>c", "reasoning_content": "a" }));
    assert_eq!(text(source, &told), "a|b</think>c");
    let asked = turns(json!({ "role": "user", "content": "b</think>c" }));
    assert_eq!(text(source, &asked), "|b</think>c");
}

#[test]
fn arguments_come_as_a_template_takes_them() {
    let call = json!({ "id": "1", "function": { "name": "f", "arguments": "{\"a\":1}" } });
    let called = conversation(json!({ "messages": [
        { "role": "user", "content": "q" }, { "role": "assistant", "tool_calls": [call] },
    ] }));
    let arguments = "messages[1].tool_calls[0].function.arguments";
    assert_eq!(text(&format!("{{{{ {arguments}.a + 1 }}}}"), &called), "2");
    assert_eq!(text(&format!("{{{{ {arguments} | tojson }}}}"), &called), "{\"a\": 1}");
    assert_eq!(text(&format!("{{{{ 'as text ' + {arguments} }}}}"), &called), "as text {\"a\":1}");
}

#[test]
fn a_last_message_is_continued() {
    let source =
        "{% for m in messages %}{{ m.content | trim }}<｜end▁of▁sentence｜>{% endfor %}{{ add_generation_prompt }}";
    let turns = json!([{ "role": "user", "content": "q" }, { "role": "assistant", "content": "an" }]);
    let options = RenderOptions { continue_final: true, ..RenderOptions::default() };
    let rendered = ids(source, &conversation(json!({ "messages": turns })), options).unwrap();
    assert_eq!(TOKENIZER.decode(&rendered), "q<｜end▁of▁sentence｜>an");
    assert_eq!(ids(source, &user("q"), options).unwrap_err().code(), Code::BadRequest);
    let dropped = ids("x", &conversation(json!({ "messages": turns })), options).unwrap_err();
    assert!(dropped.message().contains("continued"), "{dropped}");
}

#[test]
fn broken_templates_say_where() {
    for (source, what) in
        [("a\nb {% for %}", "line 2"), ("{% include 'x' %}", "line 1"), ("{% import 'x' as y %}", "line 1")]
    {
        let error = refusal(source);
        assert_eq!((error.code(), error.class()), (Code::BadCheckpoint, Some("E-TEMPLATE")), "{source}");
        assert!(error.message().contains(what) && error.message().contains("chat_template.jinja"), "{error}");
    }
}

#[test]
fn hostile_templates_end() {
    let loops = "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}";
    let doubling =
        "{% set n = namespace(s='0123456789') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}";
    let growing = "{% set s = 'x' * 99999 %}{% for i in range(9999) %}{{ s }}{% endfor %}";
    let replacing = "{% set s = 'x' * 99999 %}{{ s.replace('x', s) }}";
    let calling = "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}";
    let nesting =
        "{% set n = namespace(a=1) %}{% for i in range(99999) %}{% set n.a = [n.a] %}{% endfor %}{{ n.a | tojson }}";
    let cycle = "{% set n = namespace() %}{% set n.a = [n, n] %}{{ n.a | tojson }}";
    for source in [loops, doubling, growing, replacing, calling, nesting, cycle] {
        let error = refusal(source);
        assert_eq!((error.code(), error.class()), (Code::BadRequest, Some("E-TEMPLATE")), "{source}: {error}");
        assert!(error.message().len() < 2048, "{source}");
    }
    // So does compiling, where operators nest.
    let chain = format!("{{{{ x{} }}}}", "~1".repeat(4096));
    assert_eq!(text(&chain, &user("hi")).len(), 4096);
    assert_eq!(refusal(&"x".repeat(MAX_SOURCE_BYTES + 1)).class(), Some("E-TEMPLATE"));
    // Dropping and writing what is deep takes stack, and the thread has it.
    let deep = "{% set n = namespace(a=1) %}{% for i in range(99999) %}{% set n.a = [n.a] %}{% endfor %}";
    assert_eq!(text(deep, &user("hi")), "");
    let _ = ids(&format!("{deep}{{{{ n.a }}}}"), &user("hi"), RenderOptions::default());
}

#[test]
fn a_template_refuses_in_its_own_words() {
    let error = ids("{{ raise_exception('no ' + messages[0].content) }}", &user("<think> x"), RenderOptions::default());
    let error = error.unwrap_err();
    assert_eq!(error.message(), "chat_template.jinja: line 1: no <think> x");
    let long = refusal("{{ raise_exception('x' * 9999) }}");
    assert!(long.message().len() <= 2048);
    for source in [
        "{{ messages.x.y }}",
        "{{ environment('HOME') }}",
        "{{ messages.__class__.__mro__ }}",
        "{{ open('/etc/passwd') }}",
    ] {
        assert_eq!(refusal(source).code(), Code::BadRequest, "{source}");
    }
}

#[test]
fn a_checkpoint_of_an_unknown_format_answers() {
    let stories = crate::models::stories();
    let source = format!(
        "{{{{ bos_token }}}}{TURNS}{{% if tools %}}{{{{ tools | tojson }}}}{{% endif %}}<｜Assistant｜></think>"
    );
    let mut files = MemorySource::new().with("chat_template.jinja", source.into_bytes());
    for file in ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json"] {
        let bytes = block_on(small_file(&*stories, file, 32 << 20)).unwrap();
        files = files.with(file, bytes);
    }
    let options = crate::engine::Options { device: "cpu".to_owned(), ..Default::default() };
    let mut engine = block_on(Engine::load(Arc::new(files), &options, &mut |_| true)).unwrap();
    assert_eq!(engine.chat_format(), super::super::Detected::Template(None));
    let prompt = engine.language().unwrap().render(&user("Tell <｜User｜>"), RenderOptions::default()).unwrap();
    assert_eq!(added(&prompt), ["<｜begin▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "</think>"]);
    let mut generation = engine.generate(Request { max_tokens: Some(3), ..Request::new(prompt) }).unwrap();
    let mut tokens = 0;
    while block_on(generation.next()).unwrap().is_some() {
        tokens += 1;
    }
    assert!(tokens > 0);
    drop(generation);

    let request = |choice: &str| {
        let body = json!({
            "messages": [{ "role": "user", "content": "hi" }], "tool_choice": choice,
            "tools": [{ "type": "function", "function": { "name": "weather", "parameters": { "type": "object" } } }],
        });
        let request = crate::wire::openai::ChatRequest::parse(body.to_string().as_bytes());
        request.unwrap().to_request(engine.language().unwrap())
    };
    let asked = request("auto").unwrap();
    assert!(engine.tokenizer().unwrap().decode(&asked.request.prompt).contains("weather"));
    assert_eq!((asked.request.calls, asked.request.constraint.is_some()), (false, false));
    assert_eq!(request("required").unwrap_err().code(), Code::BadRequest);
}

#[test]
fn numbers_reach_a_template_as_they_are() {
    for (number, expected) in [
        ("0", "0"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("9223372036854775808", "9223372036854775808"),
        ("18446744073709551615", "18446744073709551615"),
        ("2.5", "2.5"),
        ("-1e3", "-1000.0"),
    ] {
        let tool = format!(r#"{{"function": {{"name": "f", "parameters": {{"default": {number}}}}}}}"#);
        let offer = format!(r#"{{"messages": [{{"role": "user", "content": "q"}}], "tools": [{tool}]}}"#);
        let source = "{{ tools[0].function.parameters.default | tojson }}";
        assert_eq!(text(source, &conversation(serde_json::from_str(&offer).unwrap())), expected);
    }
}

/// A template that composes tokens runs a second time with all texts under cover: the names of fields are not, or it would
/// not find them.
#[test]
fn fields_keep_their_names_where_a_template_composes_tokens() {
    let tool = json!({ "function": { "name": "f", "parameters": { "type": "object", "own": 1 } } });
    let offer = conversation(json!({ "messages": [{ "role": "user", "content": "q" }], "tools": [tool] }));
    let source = "{{ '<｜Us' ~ 'er｜>' }}{{ tools[0].function.name }} {{ tools[0].function.parameters.type }}";
    let rendered = ids(source, &offer, RenderOptions::default()).unwrap();
    assert_eq!((added(&rendered), TOKENIZER.decode(&rendered).as_str()), (vec!["<｜User｜>"], "<｜User｜>f object"));
}

/// A mark needs a character that the source does not use.
#[test]
fn a_source_with_all_private_characters_leaves_none_for_marks() {
    let private = |left: usize| -> String {
        let all = (0xf_0000..=0x10_fffd).filter_map(char::from_u32).filter(|code| super::marks::COVERS.contains(code));
        all.skip(left).collect()
    };
    let needed = TOKENIZER.added_tokens().count() * 2 + 1;
    for (left, expected) in [(needed, true), (needed - 1, false), (0, false)] {
        let source = private(left);
        let marks = super::marks::Marks::new(&source, &TOKENIZER);
        assert_eq!(marks.is_some(), expected, "{left}");
        if let Some(mut marks) = marks {
            assert_eq!(marks.unused.fresh(), None);
            assert!(marks.tokens.keys().chain(marks.texts.keys()).all(|mark| !source.contains(*mark)));
        }
    }
}

#[test]
fn what_a_template_writes_is_bounded_in_depth_and_length() {
    let nested = |depth: usize| {
        let source = "{% set n = namespace(a=1) %}{% for i in range(DEPTH) %}{% set n.a = [n.a] %}{% endfor %}{{ n.a | tojson }}";
        ids(&source.replace("DEPTH", &depth.to_string()), &user("hi"), RenderOptions::default())
    };
    assert_eq!(TOKENIZER.decode(&nested(128).unwrap()), format!("{}1{}", "[".repeat(128), "]".repeat(128)));
    let error = nested(129).unwrap_err();
    assert_eq!(error.message(), "chat_template.jinja: line 1: tojson: nested too deep");
    assert_eq!(error.details()["class"].as_str(), Some("E-TEMPLATE"));
    assert_eq!(error.details()["file"].as_str(), Some("chat_template.jinja"));
    let error = refusal("a\nb\n{{ messages[0] | tojson(x=1) }}");
    assert!(error.message().starts_with("chat_template.jinja: line 3: "), "{error}");
    for (width, indent) in [(1, 1), (16, 16), (17, 16), (400, 16)] {
        let written = text(&format!("{{{{ [1] | tojson(indent={width}) }}}}"), &user("hi"));
        assert_eq!(written, format!("[\n{}1\n]", " ".repeat(indent)));
    }
    // A source may have as many bytes as this, and no more.
    let sized = |bytes: usize| ChatTemplate::new("x", &"x".repeat(bytes), &TOKENIZER);
    assert!(sized(MAX_SOURCE_BYTES).is_ok());
    let expected = format!("expected at most {MAX_SOURCE_BYTES} bytes, found {}", MAX_SOURCE_BYTES + 1);
    assert!(sized(MAX_SOURCE_BYTES + 1).unwrap_err().message().ends_with(&expected));
}
