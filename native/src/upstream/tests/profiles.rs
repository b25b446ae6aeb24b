//! What lyn knows of each engine. Oracle: the engines' own documents, as tables by hand.

use clap::ValueEnum;

use super::*;
use crate::upstream::profile::{PreparedRequest, wanted};

/// What an engine takes, by its documents.
struct Known {
    profile: Profile,
    key: Option<&'static str>,
    path: Option<&'static str>,
    /// Fields beyond those that all engines sample by.
    fields: &'static str,
    /// A request with a thought of high effort, and one without a thought.
    on: Value,
    off: Value,
}

fn table() -> Vec<Known> {
    let switch = |on: bool| json!({ "thinking": { "type": if on { "enabled" } else { "disabled" } } });
    let arguments = |on: bool| json!({ "chat_template_kwargs": { "thinking": on, "enable_thinking": on } });
    let with_effort = |mut fields: Value| {
        fields["reasoning_effort"] = json!("high");
        fields
    };
    let known = |profile, key, path, fields, on, off| Known { profile, key, path, fields, on, off };
    let all = "seed logit_bias top_k min_p repetition_penalty ignore_eos";
    vec![
        known(Profile::Deepseek, Some("DEEPSEEK_API_KEY"), None, "", with_effort(switch(true)), switch(false)),
        known(
            Profile::Cometapi,
            Some("COMETAPI_KEY"),
            Some("/v1"),
            "seed logit_bias",
            json!({ "model": "m-thinking" }),
            json!({ "model": "m" }),
        ),
        known(Profile::Vllm, None, None, all, with_effort(arguments(true)), arguments(false)),
        known(Profile::Sglang, None, None, all, with_effort(arguments(true)), arguments(false)),
        known(Profile::Llamacpp, None, None, all, arguments(true), arguments(false)),
        known(
            Profile::Ollama,
            None,
            None,
            "seed logit_bias",
            json!({ "reasoning_effort": "high" }),
            json!({ "reasoning_effort": "none" }),
        ),
        known(
            Profile::Openrouter,
            Some("OPENROUTER_API_KEY"),
            Some("/api/v1"),
            "seed logit_bias top_k min_p repetition_penalty",
            json!({ "reasoning": { "effort": "high" } }),
            json!({ "reasoning": { "enabled": false } }),
        ),
        known(
            Profile::Lyn,
            None,
            None,
            "seed logit_bias top_k min_p repetition_penalty",
            with_effort(switch(true)),
            switch(false),
        ),
        known(
            Profile::Openai,
            Some("OPENAI_API_KEY"),
            Some("/v1"),
            "seed logit_bias",
            json!({ "reasoning_effort": "high" }),
            json!({}),
        ),
    ]
}

fn object(fields: Value) -> Map<String, Value> {
    let Value::Object(fields) = fields else { panic!("{fields} is no object") };
    fields
}

fn prepared(profile: Profile, fields: Value) -> (Value, PreparedRequest) {
    let mut body = object(fields);
    let prepared = profile.prepare(&mut body).unwrap();
    (Value::Object(body), prepared)
}

#[test]
fn every_engine_has_a_row_with_its_key_and_its_path() {
    let rows: Vec<Profile> = table().iter().map(|row| row.profile).collect();
    assert_eq!(rows, Profile::value_variants());
    for Known { profile, key, path, .. } in table() {
        assert_eq!((profile.key_variable(), profile.path()), (key, path), "{profile:?}");
        assert_eq!(profile.has_switch(), profile != Profile::Openai, "{profile:?}");
        let upstream = upstream("http://127.0.0.1:1", Some(profile), None);
        let joined = upstream.address().join("/x").unwrap().to_string();
        assert_eq!(joined, format!("http://127.0.0.1:1{}/x", path.unwrap_or_default()), "{profile:?}");
        let upstream = super::upstream("http://127.0.0.1:1/own", Some(profile), None);
        assert_eq!(upstream.address().join("/x").unwrap().path(), "/own/x", "{profile:?}: a path that is named stays");
    }
}

#[test]
fn every_engine_gets_the_fields_that_it_knows_and_no_others() {
    let own = ["temperature", "top_p", "presence_penalty", "frequency_penalty", "max_tokens", "stop"];
    let more = ["seed", "logit_bias", "top_k", "min_p", "repetition_penalty", "ignore_eos"];
    for Known { profile, fields, .. } in table() {
        assert!(own.iter().all(|field| profile.knows(field)) && !profile.knows("warp"), "{profile:?}");
        let known: Vec<&str> = more.into_iter().filter(|field| profile.knows(field)).collect();
        assert_eq!(known.join(" "), fields, "{profile:?}");
        let all: Map<String, Value> = own.iter().chain(&more).map(|field| ((*field).to_owned(), json!(1))).collect();
        let (sent, _) = prepared(profile, Value::Object(all.clone()));
        let mut text = all;
        profile.prepare_text(&mut text).unwrap();
        for sent in [sent, Value::Object(text)] {
            let there = |name: &str| sent.get(name).is_some();
            assert!(own.iter().all(|field| there(field)), "{profile:?}: {sent}");
            for field in more {
                let name = match (profile, field) {
                    (Profile::Llamacpp, "repetition_penalty") => "repeat_penalty",
                    _ => field,
                };
                assert_eq!(there(name), known.contains(&field), "{profile:?} {field}: {sent}");
            }
            assert_eq!(there("repeat_penalty"), profile == Profile::Llamacpp, "{sent}");
            assert!(profile != Profile::Llamacpp || !there("repetition_penalty"), "{sent}");
        }
    }
}

#[test]
fn every_engine_is_switched_in_its_own_way_and_no_other_switch_is_left() {
    // Every switch there is, so that those of others have to go.
    let switched = |on: bool, effort: Value| {
        json!({
            "model": "m", "thinking": { "type": if on { "enabled" } else { "disabled" } }, "enable_thinking": !on,
            "reasoning": { "enabled": !on }, "reasoning_effort": effort,
            "chat_template_kwargs": { "thinking": !on, "enable_thinking": !on },
        })
    };
    for Known { profile, on, off, .. } in table() {
        let expected = |fields: &Value| {
            let mut expected = json!({ "model": "m" });
            expected.as_object_mut().unwrap().extend(object(fields.clone()));
            expected
        };
        let (sent, told) = prepared(profile, switched(true, json!("high")));
        assert_eq!((sent, told.thinking, told.beta), (expected(&on), Some(true), false), "{profile:?}");
        let (sent, told) = prepared(profile, switched(false, json!("high")));
        assert_eq!((sent, told.thinking, told.beta), (expected(&off), Some(false), false), "{profile:?}");
        // An effort that is none, or no text, is not handed on: the engine's own is taken.
        for effort in [json!("none"), json!(3)] {
            let mut plain = on.clone();
            match profile {
                Profile::Openrouter => plain = json!({ "reasoning": { "enabled": true } }),
                Profile::Ollama => plain = json!({ "reasoning_effort": "medium" }),
                _ => drop(plain.as_object_mut().unwrap().remove("reasoning_effort")),
            }
            assert_eq!(prepared(profile, switched(true, effort.clone())).0, expected(&plain), "{profile:?} {effort}");
        }
        // Where nothing is said, only DeepSeek's own engine is told: its default changes with its models.
        let (sent, told) = prepared(profile, json!({ "model": "m" }));
        let silent = if profile == Profile::Deepseek { expected(&off) } else { json!({ "model": "m" }) };
        assert_eq!((sent, told.thinking), (silent, (profile == Profile::Deepseek).then_some(false)), "{profile:?}");
    }
}

#[test]
fn arguments_of_a_template_stay_beside_the_switch_and_empty_ones_go() {
    let fields = json!({ "thinking": { "type": "enabled" }, "chat_template_kwargs": { "thinking": false, "x": 1 } });
    assert_eq!(prepared(Profile::Deepseek, fields).0["chat_template_kwargs"], json!({ "x": 1 }));
    for name in ["thinking", "enable_thinking"] {
        let (sent, told) = prepared(Profile::Lyn, json!({ "chat_template_kwargs": { name: true } }));
        assert_eq!((sent, told.thinking), (json!({ "thinking": { "type": "enabled" } }), Some(true)), "{name}");
    }
    // What is no object is the engine's to refuse.
    let odd = json!({ "enable_thinking": true, "chat_template_kwargs": "x" });
    assert_eq!(prepared(Profile::Vllm, odd).0, json!({ "chat_template_kwargs": "x" }));
}

/// Oracle: the order in which lyn's own server looks for the switch.
#[test]
fn the_first_switch_that_says_something_decides() {
    let forms = |on: bool| {
        [
            json!({ "thinking": { "type": if on { "enabled" } else { "disabled" } } }),
            json!({ "reasoning_effort": if on { "low" } else { "none" } }),
            json!({ "chat_template_kwargs": { "thinking": on } }),
            json!({ "chat_template_kwargs": { "enable_thinking": on } }),
            json!({ "enable_thinking": on }),
            json!({ "reasoning": { "enabled": on } }),
            json!({ "reasoning": { "effort": if on { "low" } else { "none" } } }),
            json!({ "model": if on { "x-thinking" } else { "x-nothinking" } }),
        ]
    };
    let merged = |one: &Value, other: &Value| {
        let mut merged = object(one.clone());
        for (name, value) in object(other.clone()) {
            match (merged.get_mut(&name), value) {
                (Some(Value::Object(known)), Value::Object(more)) => known.extend(more),
                (_, value) => drop(merged.insert(name, value)),
            }
        }
        merged
    };
    for on in [false, true] {
        for (place, form) in forms(on).iter().enumerate() {
            assert_eq!(wanted(&object(form.clone())), Some(on), "{form}");
            for later in &forms(!on)[place + 1..] {
                assert_eq!(wanted(&merged(form, later)), Some(on), "{form} before {later}");
            }
            // What says nothing leaves it to the next one.
            for nothing in [
                json!({ "thinking": null, "reasoning_effort": null, "enable_thinking": null, "reasoning": null }),
                json!({ "thinking": true, "reasoning_effort": 3, "enable_thinking": "yes", "reasoning": {} }),
                json!({ "thinking": {}, "reasoning": { "enabled": 1, "effort": 2 } }),
            ] {
                let said = merged(&nothing, form);
                assert_eq!(wanted(&said), Some(on), "{said:?}");
            }
        }
    }
    assert_eq!(wanted(&object(json!({ "model": 5 }))), None);
    assert_eq!(wanted(&Map::new()), None);
    assert_eq!(wanted(&object(json!({ "thinking": { "type": "auto" } }))), Some(true));
}

#[test]
fn an_id_says_whether_it_thinks() {
    for (id, thinks) in [
        ("deepseek-chat", Some(false)),
        ("deepseek-reasoner", Some(true)),
        (" router/x/DeepSeek-Reasoner ", Some(true)),
        ("deepseek-chat/other", None),
        ("qwen3-thinking", Some(true)),
        ("a/QWEN3-Thinking", Some(true)),
        ("qwen3-nothinking", Some(false)),
        ("thinking", None),
        ("qwen3-thinking-2", None),
        ("", None),
    ] {
        assert_eq!(wanted(&object(json!({ "model": id }))), thinks, "{id:?}");
    }
}

#[test]
fn only_some_engines_make_several_answers() {
    for profile in Profile::value_variants() {
        for (n, refused) in [(0, false), (1, false), (2, true), (7, true)] {
            let body = object(json!({ "n": n }));
            let is_refused = refused && matches!(profile, Profile::Deepseek | Profile::Ollama);
            for prepared in [profile.prepare(&mut body.clone()), profile.prepare_text(&mut body.clone())] {
                let error = prepared.err();
                assert_eq!(error.is_some(), is_refused, "{profile:?}, n {n}");
                if let Some(error) = error {
                    assert_eq!(error.code(), Code::BadRequest);
                    assert_eq!(error.message(), "n: this engine returns one answer per request");
                }
            }
        }
    }
}

#[test]
fn texts_have_no_thought_and_are_counted_where_they_are_streamed() {
    for profile in Profile::value_variants() {
        for (stream, counted) in [(json!(true), true), (json!(false), false), (json!("true"), false), (json!(1), false)]
        {
            let mut text = object(json!({ "model": "m-thinking", "prompt": "x", "stream": stream }));
            let told = profile.prepare_text(&mut text).unwrap();
            let beta = *profile == Profile::Deepseek;
            assert_eq!(told, PreparedRequest { thinking: Some(false), beta }, "{profile:?}");
            assert_eq!(text.get("stream_options"), counted.then(|| json!({ "include_usage": true })).as_ref());
            assert_eq!(text["model"], "m-thinking", "{profile:?}: an id of a text is no switch");
            let chat = prepared(*profile, json!({ "model": "m", "stream": stream })).0;
            assert_eq!(chat.get("stream_options").is_some(), counted, "{profile:?}");
        }
    }
}

#[test]
fn beta_is_for_a_prefix_at_the_end_and_for_strict_functions() {
    let function = |strict: Value| json!({ "type": "function", "function": { "name": "f", "strict": strict } });
    let message = |prefix: Value| json!({ "role": "assistant", "content": "{", "prefix": prefix });
    for (fields, beta) in [
        (json!({ "messages": [message(json!(true))] }), true),
        (json!({ "messages": [message(json!(false))] }), false),
        (json!({ "messages": [message(json!("true"))] }), false),
        (json!({ "messages": [message(json!(true)), { "role": "user", "content": "x" }] }), false),
        (json!({ "tools": [function(json!(false)), function(json!(true))] }), true),
        (json!({ "tools": [function(json!(false)), function(json!(null))] }), false),
        (json!({ "tools": [{ "type": "function" }], "messages": [message(json!(true))] }), true),
        (json!({}), false),
    ] {
        for profile in Profile::value_variants() {
            let told = prepared(*profile, fields.clone()).1;
            assert_eq!(told.beta, beta && *profile == Profile::Deepseek, "{profile:?}: {fields}");
        }
    }
}

#[test]
fn thoughts_go_back_after_the_last_question_under_the_engine_s_name() {
    let thought = |name: &str| json!({ "role": "assistant", "content": "a", name: "t" });
    let user = json!({ "role": "user", "content": "q" });
    for profile in Profile::value_variants() {
        let names: &[&str] = match profile {
            Profile::Vllm | Profile::Ollama | Profile::Openrouter => &["reasoning"],
            Profile::Lyn => &["reasoning", "reasoning_content"],
            _ => &["reasoning_content"],
        };
        let there = |messages: Value| -> Vec<Vec<String>> {
            let (sent, _) = prepared(*profile, json!({ "messages": messages }));
            let found = |message: &Value| {
                let fields = message.as_object().into_iter().flatten();
                let mut thoughts: Vec<String> =
                    fields.filter(|(_, value)| **value == "t").map(|(name, _)| name.clone()).collect();
                thoughts.sort_unstable();
                thoughts
            };
            sent["messages"].as_array().unwrap().iter().map(found).collect()
        };
        for name in ["reasoning", "reasoning_content"] {
            // Without a question all of it is the turn under way.
            assert_eq!(there(json!([thought(name), "odd"])), [names, &[]], "{profile:?}");
            assert_eq!(there(json!([thought(name), user])), [&[] as &[&str], &[]], "{profile:?}");
            assert_eq!(there(json!([user, thought(name)])), [&[], names], "{profile:?}");
        }
        // A thought of null is none; the other name may have one.
        let both = json!({ "role": "assistant", "reasoning_content": null, "reasoning": "t" });
        assert_eq!(there(json!([user, both])), [&[], names], "{profile:?}");
        let neither = json!({ "role": "assistant", "content": "t" });
        assert_eq!(there(json!([user, neither])), [&[] as &[&str], &["content"]], "{profile:?}");
    }
}

#[test]
fn addresses_and_lists_of_models_tell_who_an_engine_is() {
    for (address, profile) in [
        ("http://deepseek.com", Some(Profile::Deepseek)),
        ("http://api.deepseek.com:8443", Some(Profile::Deepseek)),
        ("http://cometapi.com", Some(Profile::Cometapi)),
        ("http://eu.openrouter.ai", Some(Profile::Openrouter)),
        ("http://openrouter.ai", Some(Profile::Openrouter)),
        ("http://OpenAI.com", Some(Profile::Openai)),
        ("http://api.openai.com/v1", Some(Profile::Openai)),
        ("http://notopenai.com", None),
        ("http://openai.com.example", None),
        ("http://box:11434", Some(Profile::Ollama)),
        ("http://box:11435", None),
        ("http://box", None),
    ] {
        assert_eq!(Profile::of_address(&Address::parse(address).unwrap()), profile, "{address}");
    }
    let owner = |name: &str| json!({ "id": "m", "owned_by": name });
    for (list, profile) in [
        (json!({ "data": [owner("vllm")] }), Some(Profile::Vllm)),
        (json!({ "data": [owner("sglang")] }), Some(Profile::Sglang)),
        (json!({ "data": [owner("llamacpp")] }), Some(Profile::Llamacpp)),
        (json!({ "data": [owner("library")] }), Some(Profile::Ollama)),
        (json!({ "data": [owner("lyn")] }), Some(Profile::Lyn)),
        (json!({ "data": [owner("deepseek")] }), Some(Profile::Lyn)),
        (json!({ "data": [owner("openai")] }), None),
        (json!({ "data": [{ "id": "m" }, { "owned_by": 5 }, owner("vllm"), owner("lyn")] }), Some(Profile::Vllm)),
        (json!({ "data": "vllm" }), None),
        (json!([owner("vllm")]), None),
    ] {
        assert_eq!(Profile::of_models(&list), profile, "{list}");
    }
}
