//! Log probabilities of a text as each kind of engine tells them, and what engines make of it that are wrong. Oracle: the documents of
//! the engines; the answers are written by hand in their shapes.

use std::time::Duration;

use lyn::inspect::compare::KnownPlace;
use lyn::text::Tokenizer;

use super::*;
use crate::upstream::scores::Scores;

const TOKENIZER: &[u8] = include_bytes!("../../../../models/stories/tokenizer.json");

fn tokenizer() -> Tokenizer {
    Tokenizer::from_json("tokenizer.json", TOKENIZER, 2048).unwrap()
}

/// What a server makes of a text of four tokens, when it says this to every request but that for its models.
fn told(owner: &'static str, said: Said) -> (Result<Vec<KnownPlace>, Error>, Replay) {
    let server = Replay::start(move |asked, _| match asked.line.starts_with("GET") {
        true => models(owner),
        false => said.clone(),
    });
    let tokenizer = tokenizer();
    let there = upstream(&server.url(), None, None);
    let told = run(Scores::new(&there, "m", &tokenizer, 2).score(&text(&tokenizer), 1));
    (told, server)
}

/// `Once upon a time`, of four tokens.
fn text(tokenizer: &Tokenizer) -> Vec<u32> {
    let ids = tokenizer.encode("Once upon a time", false).unwrap();
    assert_eq!(ids.len(), 4);
    ids
}

fn said(answer: &Value) -> Said {
    Said::new(200, "application/json", answer.to_string())
}

/// At each place the text's own token with 1/2, and token 5 with 1/4.
fn expected() -> Vec<KnownPlace> {
    let ids = text(&tokenizer());
    let place = |&id: &u32| KnownPlace::new(Some(-0.5), vec![(id, -0.5), (5, -1.25)]).unwrap();
    ids[1..].iter().map(place).collect()
}

fn by_prompt_logprobs() -> Value {
    let tokenizer = tokenizer();
    let entry = |id: u32, log: f64| {
        (id.to_string(), json!({ "logprob": log, "rank": 1, "decoded_token": tokenizer.decode(&[id]) }))
    };
    let ids = text(&tokenizer);
    let places = ids[1..].iter().map(|&id| Value::Object([entry(id, -0.5), entry(5, -1.25)].into_iter().collect()));
    let places: Vec<Value> = [Value::Null].into_iter().chain(places).collect();
    json!({ "choices": [{ "text": "", "prompt_logprobs": places }] })
}

fn by_echo() -> Value {
    let tokenizer = tokenizer();
    let ids = text(&tokenizer);
    let piece = |id: u32| tokenizer.decode(&[id]);
    let tokens: Vec<String> = ids.iter().map(|&id| piece(id)).chain(["!".to_owned()]).collect();
    let tops = ids[1..].iter().map(|&id| json!({ piece(id): -0.5, "token_id:5": -1.25, "\u{fffd}": -2.0 }));
    let tops: Vec<Value> = [Value::Null].into_iter().chain(tops).chain([json!({ "!": -0.1 })]).collect();
    json!({ "choices": [{ "logprobs": {
        "tokens": tokens, "token_logprobs": [null, -0.5, -0.5, -0.5, -0.1], "top_logprobs": tops,
    } }] })
}

#[test]
fn each_kind_of_engine_tells_the_same_in_its_own_way() {
    let ids = text(&tokenizer());
    for owner in ["vllm", "lyn"] {
        let (places, server) = told(owner, said(&by_prompt_logprobs()));
        assert_eq!(places.unwrap(), expected(), "{owner}");
        let asked = server.chats().remove(0);
        assert_eq!(asked.line, "POST /completions");
        let most = if owner == "lyn" { 0 } else { 1 };
        let body = asked.json();
        assert_eq!(
            (&body["prompt"], &body["prompt_logprobs"], &body["max_tokens"]),
            (&json!(ids), &json!(2), &json!(most))
        );
    }
    let (places, server) = told("someone", said(&by_echo()));
    assert_eq!(places.unwrap(), expected(), "what has no id of its own is left out");
    let body = server.chats()[0].json();
    assert_eq!((&body["echo"], &body["logprobs"], &body["prompt"]), (&json!(true), &json!(2), &json!(ids)));
    let triples = |log: f64| ids[1..].iter().map(move |&id| json!([log, id, null]));
    let own: Vec<Value> = [json!([null, ids[0], null])].into_iter().chain(triples(-0.5)).collect();
    let top = triples(-0.5).map(|own| json!([own, [-1.25, 5, "x"]]));
    let top: Vec<Value> = [Value::Null].into_iter().chain(top).collect();
    let answer = json!({ "text": "", "meta_info": { "input_token_logprobs": own, "input_top_logprobs": top } });
    let (places, server) = told("sglang", said(&answer));
    assert_eq!(places.unwrap(), expected());
    assert_eq!(server.chats()[0].line, "POST /generate");
}

/// llama.cpp tells of what comes after a prompt: a request for each place.
#[test]
fn llama_cpp_is_asked_place_by_place() {
    let ids = text(&tokenizer());
    let known = ids.clone();
    let server = Replay::start(move |asked, _| {
        if asked.line.starts_with("GET") {
            return models("llamacpp");
        }
        assert_eq!(asked.line, "POST /completion");
        let read = asked.json()["prompt"].as_array().map_or(0, Vec::len);
        if read == 1 && asked.json()["logit_bias"].is_null() {
            // It would write half a character.
            return said(&json!({ "content": "", "completion_probabilities": [] }));
        }
        // Of the last token it does not tell.
        let next = if read == 3 { 6 } else { known[read] };
        let top = json!([{ "id": next, "token": "x", "logprob": -0.5 }, { "id": 5, "token": "y", "logprob": -1.25 }]);
        said(&json!({ "content": "x", "completion_probabilities": [{ "id": next, "top_logprobs": top }] }))
    });
    let (tokenizer, there) = (tokenizer(), upstream(&server.url(), None, None));
    let places = run(Scores::new(&there, "m", &tokenizer, 2).score(&ids, 1)).unwrap();
    assert_eq!(places[..2], expected()[..2]);
    assert_eq!(places[2], KnownPlace::new(None, vec![(6, -0.5), (5, -1.25)]).unwrap());
    let later = run(Scores::new(&there, "m", &tokenizer, 2).score(&ids, 3)).unwrap();
    assert_eq!((later.len(), server.chats().len()), (1, 5), "only what is wanted is asked for");
}

#[test]
fn what_an_engine_does_not_tell_or_tells_wrongly_is_an_error() {
    let changed = |pointer: &str, value: Value| {
        let mut answer = by_prompt_logprobs();
        *answer.pointer_mut(pointer).unwrap() = value;
        said(&answer)
    };
    let places = "/choices/0/prompt_logprobs";
    let own = text(&tokenizer())[2];
    let of_own = format!("{places}/2/{own}");
    let json = "application/json";
    for (owner, said, says) in [
        ("vllm", said(&json!({ "choices": [{ "text": "x" }] })), "no log probabilities"),
        ("vllm", changed(places, json!([null, {}])), "log probabilities of 2 tokens; the text has 4"),
        ("vllm", changed(places, json!(vec![Value::Null; 9])), "log probabilities of 9 tokens"),
        ("vllm", changed(&format!("{places}/2"), Value::Null), "no log probabilities of the token after 2 others"),
        ("vllm", changed(&format!("{of_own}/logprob"), json!("NaN")), "instead of a log probability"),
        ("vllm", changed(&format!("{of_own}/logprob"), json!(3.5)), "a log probability of 3.5"),
        ("vllm", changed(&format!("{of_own}/decoded_token"), json!("other")), "has other tokens for this text"),
        ("vllm", changed(&format!("{places}/2"), json!({ "5": { "logprob": -1.0 } })), "which the text has there"),
        ("vllm", changed(&format!("{places}/2"), json!({ "x": { "logprob": -1.0 } })), "a token \"x\""),
        ("vllm", Said::new(200, json, "{\"choices\": [{\"prompt_logpro"), "not JSON"),
        ("vllm", Said::new(200, json, "{\"a\": NaN}"), "not JSON"),
        ("vllm", Said::new(200, json, " ".repeat(20_000)), "sent more than the 12288 bytes"),
        ("vllm", Said::new(401, json, "{\"error\": {\"message\": \"bad key\"}}"), "answered 401: bad key"),
        ("someone", said(&json!({ "choices": [{ "logprobs": null }] })), "no log probabilities"),
        ("someone", said(&by_prompt_logprobs()), "no log probabilities"),
        ("sglang", said(&json!({ "meta_info": { "input_token_logprobs": [] } })), "log probabilities of 0 tokens"),
        ("llamacpp", said(&json!({ "content": "x" })), "no log probabilities of the token after 1 others"),
    ] {
        let error = told(owner, said).0.unwrap_err();
        assert!(error.code() == Code::Upstream && error.message().contains(says), "{says}: {error}");
    }
}

/// An answer that breaks off is asked for again; one that stops coming is given up.
#[test]
fn a_break_is_tried_again_and_silence_ends() {
    let cut = Said::new(200, "application/json", "{\"choices\"").with_header("content-length", "99");
    let (answer, server) = told("vllm", cut);
    let message = answer.unwrap_err().message().to_owned();
    assert!(message.contains("broke off"), "{message}");
    assert_eq!(server.chats().len(), 3);
    let silent = Replay::start(|asked, _| match asked.line.starts_with("GET") {
        true => models("vllm"),
        false => Said::new(200, "application/json", "{").held(),
    });
    let idle = Patience { idle: Duration::from_millis(50), ..patience() };
    let there = Upstream::new(Address::parse(&silent.url()).unwrap(), &ApiKeys::of_text(""), None, idle).unwrap();
    let tokenizer = tokenizer();
    let error = run(Scores::new(&there, "m", &tokenizer, 2).score(&text(&tokenizer), 1)).unwrap_err();
    assert!(error.message().contains("sent nothing for"), "{error}");
}

#[test]
fn tokens_are_compared_before_anything_is_scored() {
    let text = "Once upon a time";
    let ids = super::scores::text(&tokenizer());
    let check = |said: Said| {
        let server = Replay::start(move |_, _| said.clone());
        let (tokenizer, there) = (tokenizer(), upstream(&format!("{}/v1", server.url()), None, None));
        let checked = run(Scores::new(&there, "m", &tokenizer, 2).check_tokens(text));
        let asked = server.chats().remove(0);
        assert_eq!((asked.line.as_str(), &asked.json()["content"]), ("POST /tokenize", &json!(text)));
        checked.map_err(|error| error.message().to_owned())
    };
    assert_eq!(check(said(&json!({ "tokens": ids }))), Ok(()));
    assert_eq!(check(Said::new(404, "text/plain", "")), Ok(()), "the answers will tell");
    let other = check(said(&json!({ "tokens": [ids[0], 1, 2] }))).unwrap_err();
    assert!(other.ends_with("has other tokens for this text: after 1 of 4 tokens"), "{other}");
    let shorter = check(said(&json!({ "tokens": [ids[0]] }))).unwrap_err();
    assert!(shorter.ends_with("after 1 of 4 tokens"), "{shorter}");
    assert!(check(Said::new(401, "text/plain", "no")).unwrap_err().contains("answered 401"));
}
