//! Oracles: that a body read again is the same body; the rules of several answers and of prompts.

use serde_json::{Value, json};

use super::{request, request_by, stories, stories_with, strict, tool, user};
use crate::chat::control::{BOS, EOT, FIM_BEGIN, FIM_END, FIM_HOLE};
use crate::error::Code;
use crate::generate::Request;
use crate::language::Language;
use crate::wire::openai::{Alias, Compat, ModelIds, PromptField, Rules, TextAsked, TextRequest};
use crate::wire::tests::language;

#[test]
fn a_body_is_told_to_other_engines_without_what_is_absent() {
    let call = json!({ "id": "1", "type": "function", "function": { "name": "f", "arguments": "{}" } });
    let messages = json!([
        user("a"),
        { "role": "assistant", "content": "", "tool_calls": [call], "name": null },
        { "role": "tool", "content": [{ "type": "text", "text": "b" }], "tool_call_id": "1" },
        user("c"),
    ]);
    let body = json!({
        "messages": messages, "model": "m", "temperature": 0.5, "stream": true, "stream_options": { "include_usage": true },
        "tools": [tool("f"), { "function": { "name": "g" } }], "tool_choice": "auto", "stop": ["x"], "seed": null,
        "response_format": { "type": "json_schema", "json_schema": { "schema": { "type": "object" } } },
    });
    let told = Value::Object(request(body.clone()).unwrap().to_body());
    let mut expected = body.clone();
    let fields = expected.as_object_mut().unwrap();
    fields.remove("seed");
    fields["messages"][1].as_object_mut().unwrap().remove("name");
    fields["tools"][1] = tool("g");
    let schema = json!({ "schema": { "type": "object" }, "name": "answer", "strict": true });
    fields["response_format"] = json!({ "type": "json_schema", "json_schema": schema, "schema": null });
    assert_eq!(told, expected);
    let plain = json!({ "messages": [user("a")], "tools": [] });
    let told = Value::Object(request(plain).unwrap().to_body());
    assert_eq!(told, json!({ "messages": [user("a")], "tools": [] }));
}

#[test]
fn several_answers_are_alike_but_for_their_numbers() {
    let engine = stories();
    let asked = |fields: Value| request(fields).unwrap().to_request(engine.language().unwrap()).unwrap();
    let three = asked(json!({ "n": 3, "seed": 7, "prompt_logprobs": 2 }));
    let requests: Vec<Request> = three.requests().collect();
    let shown: Vec<_> =
        requests.iter().map(|one| (one.sampling.choice, one.sampling.seed, one.prompt_logprobs)).collect();
    assert_eq!(shown, [(0, 7, Some(2)), (1, 7, None), (2, 7, None)]);
    assert!(requests.iter().all(|one| one.prompt == three.request.prompt));
    let error = three.single().unwrap_err();
    assert_eq!((error.message(), &error.details()["param"]), ("n: expected 1, found 3", &json!("n")));
    for fields in [json!({}), json!({ "n": 1, "seed": 5 })] {
        assert_eq!(asked(fields).single().unwrap().sampling.choice, 0);
    }
}

#[test]
fn a_developer_speaks_as_the_system() {
    let engine = stories();
    let prompt = |role: &str| {
        let fields = json!({ "messages": [{ "role": role, "content": "Be kind." }, user("a")] });
        request(fields).unwrap().to_request(engine.language().unwrap()).unwrap().request.prompt
    };
    assert_eq!(prompt("developer"), prompt("system"));
    assert_ne!(prompt("system"), prompt("user"));
}

#[test]
fn requests_say_to_the_engine_what_they_were_told() {
    let engine = stories();
    let asked = |rules: &Rules, fields: Value| {
        request_by(rules, fields).unwrap().to_request(engine.language().unwrap()).unwrap().request
    };
    let local = Rules::default();
    let plain = asked(&local, json!({}));
    assert_eq!((plain.stop_ids.len(), plain.min_tokens, plain.ignore_eos, plain.prompt_logprobs), (0, 0, false, None));
    assert!(plain.constraint.is_none() && !plain.calls && plain.sampling.logprobs.is_none());
    let told = asked(
        &local,
        json!({
            "stop_token_ids": [5, 6], "min_tokens": 3, "ignore_eos": true, "prompt_logprobs": 4, "logprobs": true,
            "top_logprobs": 2,
        }),
    );
    assert_eq!((told.stop_ids, told.min_tokens, told.ignore_eos), (vec![5, 6], 3, true));
    assert_eq!((told.prompt_logprobs, told.sampling.logprobs), (Some(4), Some(2)));
    let quiet = asked(&local, json!({ "logprobs": false, "ignore_eos": false, "top_k": 0 }));
    assert!(quiet.sampling.logprobs.is_none() && !quiet.ignore_eos);
    assert!(asked(&local, json!({ "guided_regex": "a+" })).constraint.is_some());
    // Whose default: the checkpoint's, DeepSeek's contract, or DeepSeek's own while it thinks.
    let sampled = |rules: &Rules, thinking: &str| {
        let sampling = asked(rules, json!({ "thinking": { "type": thinking } })).sampling;
        (sampling.temperature, sampling.top_p)
    };
    let contract = Rules { checkpoint_sampling: false, ..strict() };
    let (own, plain) = ((0.6, 0.95), (1.0, 1.0));
    assert_eq!((sampled(&local, "enabled"), sampled(&local, "disabled")), (own, own));
    assert_eq!((sampled(&contract, "enabled"), sampled(&contract, "disabled")), (own, plain));
    assert_eq!(sampled(&Rules { checkpoint_sampling: false, ..local }, "enabled"), plain);
}

#[test]
fn the_name_of_a_model_is_what_it_says() {
    let house = Alias { name: "DeepSeek-Chat".to_owned(), thinking: true };
    let ids = ModelIds { loaded: "m".to_owned(), aliases: vec![house], accept_any: true };
    let known =
        ["deepseek-chat", "deepseek-reasoner", "DeepSeek-V3.2-Exp-thinking", "DeepSeek-V3.2-Exp-nothinking", "m"];
    assert_eq!(ids.listed(), known, "a name that differs by its case is told once");
    assert!(ModelIds::default().sentence().ends_with("\"DeepSeek-V3.2-Exp-nothinking\""), "an empty name is none");
    assert_eq!(ids.resolve("deepseek-chat").map(|id| id.thinking), Some(true), "the server's own name goes first");
    let any = |ids: &ModelIds, name: &str| ids.resolve(name).map(|id| (id.canonical, id.thinking));
    assert_eq!(any(&ids, "gpt-2"), Some(("m".to_owned(), false)));
    assert_eq!(any(&ModelIds::default(), "deepseek-ai/GPT-2-thinking"), Some(("gpt-2-thinking".to_owned(), true)));
    assert_eq!(ids.unnamed().map(|id| (id.canonical, id.thinking)), Some(("m".to_owned(), false)));
}

/// Oracle: DeepSeek's refusals, of two times.
#[test]
fn an_unknown_model_is_refused_in_the_words_that_are_asked_for() {
    let models = ModelIds { loaded: "m".to_owned(), aliases: vec![], accept_any: false };
    let ours = format!("Model Not Exist: \"gpt-2\" is not served here; {}", models.sentence());
    for (compat, unknown, status) in [
        (Compat::Local, &*ours, None),
        (Compat::DeepSeek, "Model Not Exist", None),
        (Compat::DeepSeek422, "Model Not Exist", Some(json!(422))),
    ] {
        let rules = Rules { compat, models: models.clone(), ..Rules::default() };
        let refusal = |fields: Value| request_by(&rules, fields).map(|_| ()).unwrap_err();
        let found = refusal(json!({ "model": "gpt-2" }));
        assert_eq!((found.message(), &found.details()["param"]), (unknown, &json!("model")));
        assert_eq!(found.details().get("status"), None);
        let unnamed = refusal(json!({}));
        let says = "Failed to deserialize the JSON body into the target type: model: missing field `model`";
        assert_eq!((unnamed.message(), unnamed.details().get("status")), (says, status.as_ref()));
        assert!(request_by(&rules, json!({ "model": "M" })).is_ok());
    }
}

/// A text of `fields` beside a prompt.
fn text(rules: &Rules, fields: &Value) -> crate::error::Result<TextRequest> {
    let mut body = json!({ "prompt": "Once upon a time" });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    TextRequest::parse_by(rules, body.to_string())
}

fn texts(language: &Language, fields: &Value) -> TextAsked {
    text(&Rules::default(), fields).unwrap().to_requests(language).unwrap()
}

#[test]
fn a_list_of_prompts_is_of_one_kind() {
    let read = |prompt: Value| match text(&Rules::default(), &json!({ "prompt": prompt })) {
        Ok(read) => Ok(match read.prompt {
            PromptField::Text(text) => json!(["text", text]),
            PromptField::Texts(texts) => json!(["texts", texts]),
            PromptField::Ids(ids) => json!(["ids", ids]),
            PromptField::ManyIds(many) => json!(["many", many]),
        }),
        Err(error) => Err(error.message().split_once(": ").unwrap().1.to_owned()),
    };
    let whole = "a string, an array of strings, of ids, or of arrays of ids";
    let element = "a string, an id or an array of ids";
    for (prompt, expected) in [
        (json!("a"), Ok(json!(["text", "a"]))),
        (json!(["a"]), Ok(json!(["texts", ["a"]]))),
        (json!(["a", "b"]), Ok(json!(["texts", ["a", "b"]]))),
        (json!([7]), Ok(json!(["ids", [7]]))),
        (json!([7, 8, 9]), Ok(json!(["ids", [7, 8, 9]]))),
        (json!([[7]]), Ok(json!(["many", [[7]]]))),
        (json!([[7, 8], [9]]), Ok(json!(["many", [[7, 8], [9]]]))),
        (json!(vec!["a"; 64]), Ok(json!(["texts", vec!["a"; 64]]))),
        (json!(vec![vec![1]; 64]), Ok(json!(["many", vec![vec![1]; 64]]))),
        (json!(5), Err(whole)),
        (json!({}), Err(whole)),
        (json!([true]), Err(element)),
        (json!([4_294_967_296_u64]), Err(element)),
        (json!(["a", 1]), Err("expected a string")),
        (json!([1, "a"]), Err("expected a whole number")),
        (json!([[1], "a"]), Err("expected a list")),
    ] {
        let found = read(prompt.clone());
        match (&found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(*found, expected, "{prompt}"),
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{prompt}: {found}"),
            _ => panic!("{prompt}: {found:?}"),
        }
    }
    for prompt in [json!(vec!["a"; 65]), json!(vec![vec![1]; 65])] {
        let error = text(&Rules::default(), &json!({ "prompt": prompt })).unwrap_err();
        assert_eq!(error.message(), "prompt: expected 1 to 64 prompts, found more");
    }
}

#[test]
fn texts_say_to_the_engine_what_they_were_told() {
    let language = language(128, false);
    let plain = texts(&language, &json!({}));
    let begin = language.raw_prompt("").unwrap().len();
    assert_eq!((plain.requests.len(), plain.answers, plain.added_tokens), (1, 1, begin));
    assert_eq!((plain.echoes.as_slice(), begin), (&[String::new()][..], 1));
    let one = &plain.requests[0];
    assert_eq!((one.stop_ids.len(), one.min_tokens, one.ignore_eos, one.prompt_logprobs), (0, 0, false, None));
    assert!(one.constraint.is_none() && !one.calls && !one.thinking && one.sampling.logprobs.is_none());
    let room = 128 - u32::try_from(one.prompt.len()).unwrap();
    assert_eq!(one.max_tokens, Some(room));
    let told = texts(
        &language,
        &json!({
            "stop_token_ids": [5], "min_tokens": 3, "ignore_eos": true, "prompt_logprobs": 4, "logprobs": 2, "stop": "x",
            "max_tokens": 7, "n": 2, "echo": true,
        }),
    );
    let two = &told.requests[1];
    assert_eq!((&two.stop_ids, two.min_tokens, two.ignore_eos, two.max_tokens), (&vec![5], 3, true, Some(7)));
    // Log probabilities of an echo and of a prompt: the larger count of the two.
    assert_eq!((two.prompt_logprobs, two.sampling.logprobs, two.sampling.choice), (Some(4), Some(2), 1));
    assert_eq!(
        (two.stop.as_slice(), told.echoes.as_slice()),
        (&["x".to_owned()][..], &["Once upon a time".to_owned(), "Once upon a time".to_owned()][..])
    );
    let scored = |fields: Value| texts(&language, &fields).requests[0].prompt_logprobs;
    assert_eq!(scored(json!({ "echo": true, "logprobs": 3 })), Some(3));
    assert_eq!(scored(json!({ "echo": true, "logprobs": 3, "prompt_logprobs": 1 })), Some(3));
    assert_eq!((scored(json!({ "echo": true })), scored(json!({ "logprobs": 3 }))), (None, None));
    // Ids bring their own beginning, and their echo is their text.
    let ids = texts(&language, &json!({ "prompt": [20, 21], "echo": true }));
    assert_eq!((ids.added_tokens, &ids.echoes[0]), (0, &language.tokenizer().decode(&[20, 21])));
    assert!(texts(&language, &json!({ "guided_regex": "a+" })).requests[0].constraint.is_some());
    let contract = Rules { checkpoint_sampling: false, ..Rules::default() };
    for (rules, expected) in [(&Rules::default(), (0.6, 0.95)), (&contract, (1.0, 1.0))] {
        let asked = text(rules, &json!({})).unwrap().to_requests(&language).unwrap();
        let sampling = &asked.requests[0].sampling;
        assert_eq!((sampling.temperature, sampling.top_p), expected);
    }
}

/// Oracle: OpenAI's 0, which counts as absent unless the prompt itself is reported.
#[test]
fn no_tokens_are_asked_for_only_to_read_the_prompt() {
    let language = language(128, false);
    let most = |fields: Value| texts(&language, &fields).requests[0].max_tokens;
    let room = most(json!({})).unwrap();
    assert_eq!((most(json!({ "max_tokens": 0 })), most(json!({ "max_tokens": 1 }))), (Some(room), Some(1)));
    assert_eq!(most(json!({ "max_tokens": 0, "echo": true })), Some(0));
    assert_eq!(most(json!({ "max_tokens": 0, "prompt_logprobs": 0 })), Some(0));
    assert_eq!(most(json!({ "max_tokens": 0, "echo": false })), Some(room));
    assert_eq!(most(json!({ "max_tokens": i64::MAX })), Some(room));
    // A text that fills the context is read, and nothing can follow it.
    let full = |length: usize, fields: Value| {
        let mut fields = fields;
        fields["prompt"] = json!(vec![20; length]);
        text(&Rules::default(), &fields).unwrap().to_requests(&language).map(|asked| asked.requests[0].max_tokens)
    };
    let read = json!({ "max_tokens": 0, "echo": true });
    assert_eq!(full(128, read.clone()).unwrap(), Some(0));
    assert_eq!(full(127, read.clone()).unwrap(), Some(0));
    for refused in [full(129, read), full(128, json!({ "max_tokens": 1 })), full(128, json!({}))] {
        assert_eq!(refused.unwrap_err().code(), Code::ContextOverflow);
    }
    let strictly = |most: u32| {
        let asked = text(&strict(), &json!({ "prompt": vec![20; 100], "max_tokens": most })).unwrap();
        asked.to_requests(&language).map(|asked| asked.requests[0].max_tokens)
    };
    assert_eq!(strictly(28).unwrap(), Some(28));
    assert_eq!(strictly(29).unwrap_err().code(), Code::ContextOverflow, "DeepSeek cuts no wish");
    let beyond = language.tokenizer().vocab_size();
    let error = text(&Rules::default(), &json!({ "prompt": [1, beyond] })).unwrap().to_requests(&language).unwrap_err();
    assert_eq!(error.message(), format!("prompt: expected ids below {beyond}, found {beyond}"));
    assert!(text(&Rules::default(), &json!({ "prompt": [1, beyond - 1] })).unwrap().to_requests(&language).is_ok());
}

/// Oracle: DeepSeek's FIM format, and its limit of 4096 tokens.
#[test]
fn a_hole_is_between_its_texts() {
    let language = language(8192, true);
    let asked = texts(&language, &json!({ "prompt": "Once", "suffix": "end.", "stop_token_ids": [5] }));
    let one = &asked.requests[0];
    let shown = language.tokenizer().decode(&one.prompt);
    assert_eq!(shown, format!("{BOS}{FIM_BEGIN}Once{FIM_HOLE}end.{FIM_END}"));
    let token = |name: &str| language.tokenizer().token_id(name).unwrap();
    assert_eq!(one.stop_ids, [5, token(EOT)]);
    assert_eq!((one.max_tokens, asked.added_tokens), (Some(4096), 0));
    let thinking = json!({ "prompt": "Once", "model": "deepseek-reasoner" });
    let limits = |fields: Value| texts(&language, &fields).requests[0].max_tokens.unwrap();
    assert_eq!(limits(json!({ "prompt": "Once" })), 4096);
    assert!(limits(thinking) > 4096, "a thought may be long");
    // What stands for control tokens is text, unless it is to be them.
    for (parse_special, begins) in [(Value::Null, false), (json!(false), false), (json!(true), true)] {
        let fields = json!({ "prompt": FIM_BEGIN, "suffix": FIM_END, "parse_special": parse_special });
        let prompt = &texts(&language, &fields).requests[0].prompt;
        let marks = prompt.iter().filter(|id| [token(FIM_BEGIN), token(FIM_END)].contains(id)).count();
        assert_eq!(marks, if begins { 4 } else { 2 }, "{parse_special}");
    }
    let long = json!({ "prompt": "Once", "suffix": "x".repeat(1 << 20) });
    let error = text(&Rules::default(), &long).unwrap().to_requests(&language).unwrap_err();
    assert_eq!(error.code(), Code::ContextOverflow);
}

#[test]
fn a_text_is_told_by_the_name_that_it_was_asked_by() {
    use crate::wire::openai::Chunked;
    let engine = stories_with(64);
    let language = engine.language().unwrap();
    for (fields, model) in [(json!({ "model": "any" }), "any"), (json!({}), language.model_type())] {
        let request = text(&Rules::default(), &fields).unwrap();
        let asked = request.to_requests(language).unwrap();
        let response = request.completion(language, &asked, "1", 7).response();
        assert_eq!(
            (&response["model"], &response["id"], &response["created"]),
            (&json!(model), &json!("1"), &json!(7))
        );
        assert!(response["choices"][0]["logprobs"].is_null());
    }
}

/// What DeepSeek demands of a schema is demanded where lyn is to be as strict, and added where it is not.
#[test]
fn a_strict_function_is_read_in_the_dialect_of_the_server() {
    let language = language(8192, false);
    let mut f = tool("f");
    f["function"]["strict"] = json!(true);
    f["function"]["parameters"] = json!({ "type": "object", "properties": { "a": { "type": "integer" } } });
    let asked = |rules: &Rules| {
        let request = request_by(rules, json!({ "tools": [f.clone()], "tool_choice": "required" })).unwrap();
        request.to_request(&language).map(drop)
    };
    asked(&Rules::default()).unwrap();
    let refused = asked(&Rules { beta: true, ..strict() }).unwrap_err();
    assert_eq!(refused.code(), Code::InvalidSchema);
}
