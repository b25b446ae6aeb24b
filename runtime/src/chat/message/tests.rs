use serde_json::json;

use super::*;

fn messages(value: Value) -> Vec<Message> {
    serde_json::from_value(value).unwrap()
}

#[test]
fn arguments_are_taken_as_others_write_them() {
    let call = |arguments: Value| FunctionCall { name: "f".to_owned(), arguments: Some(arguments) };
    let empty = FunctionCall { name: "f".to_owned(), arguments: None };
    for call in [empty, call(json!(null)), call(json!("")), call(json!(" \n")), call(json!("{}")), call(json!({}))] {
        assert_eq!(call.arguments(), CallArguments::Object(Cow::Owned(Map::new())), "{call:?}");
        assert_eq!(call.arguments_text(), "{}");
    }
    assert_eq!(call(json!({ "a": 1 })).arguments_text(), "{\"a\": 1}");
    assert_eq!(call(json!("{\"a\":1}")).arguments_text(), "{\"a\":1}");
    assert!(matches!(call(json!("{\"a\":1}")).arguments(), CallArguments::Object(object) if object["a"] == 1));
    for text in ["{\"a\": \"b", "[1]", "a=1", "{\"a\": 1, \"a\": 2}"] {
        assert_eq!(call(json!(text)).arguments(), CallArguments::Text(text));
        assert_eq!(call(json!(text)).arguments_text(), text);
    }
    assert_eq!(call(json!([1, 2])).arguments_text(), "[1, 2]");
}

#[test]
fn results_find_their_calls() {
    let call = |id: Value| json!({ "id": id, "function": { "name": "f" } });
    let result = |id: Value, text: &str| json!({ "role": "tool", "tool_call_id": id, "content": text });
    let order = |calls: &[Value], results: &[Value]| {
        let asked = json!({ "role": "assistant", "tool_calls": calls.iter().cloned().map(call).collect::<Vec<_>>() });
        let all = messages([&[asked][..], results].concat().into());
        let texts = turns(&all)
            .unwrap()
            .into_iter()
            .skip(1)
            .map(|(_, turn)| turn.text(0).unwrap().unwrap_or_default().into_owned());
        texts.collect::<Vec<_>>().join(",")
    };
    let (a, b, none) = (json!("a"), json!("b"), json!(null));
    let both = [a.clone(), b.clone()];
    assert_eq!(order(&both, &[result(b.clone(), "2"), result(a.clone(), "1")]), "1,2");
    assert_eq!(order(&both, &[result(none.clone(), "1"), result(none.clone(), "2")]), "1,2");
    assert_eq!(order(&both, &[result(json!("x"), "2"), result(a.clone(), "1")]), "1,2");
    assert_eq!(order(&[none.clone(), none.clone()], &[result(a.clone(), "1"), result(b.clone(), "2")]), "1,2");
    assert_eq!(order(&[a.clone(), a.clone()], &[result(a.clone(), "1"), result(a.clone(), "2")]), "1,2");
    assert_eq!(order(&both, &[result(b.clone(), "2")]), ",2");
    assert_eq!(order(std::slice::from_ref(&a), &[result(a.clone(), "1"), result(a.clone(), "3")]), "1,3");
    assert_eq!(order(&both, &[]), "");
    // Some clients cut the beginning of a history off.
    let cut = messages(json!([result(a, "1"), { "role": "user", "content": null }]));
    assert_eq!(turns(&cut).unwrap().len(), 2);
    assert!(check_strictly(&cut).is_err());
}
