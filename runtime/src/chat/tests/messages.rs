//! Histories as they are taken, and as DeepSeek refuses them.

use serde_json::{Value, json};

use crate::chat::message::{Message, Role, Tool, check_strictly, check_tools, turns};
use crate::error::{Code, Error};

fn messages(value: Value) -> Vec<Message> {
    serde_json::from_value(value).unwrap()
}

/// Where an error says that it is, and what it says.
fn told(error: &Error) -> (Option<u64>, &str) {
    assert_eq!(error.code(), Code::BadRequest);
    let index = error.details().get("message_index").and_then(Value::as_u64);
    if let Some(index) = index {
        assert_eq!(error.details()["param"].as_str(), Some(&*format!("messages[{index}]")));
    }
    (index, error.message())
}

fn call(id: &str) -> Value {
    json!({"id": id, "function": {"name": "f", "arguments": "{}"}})
}

/// Oracle: DeepSeek's own refusals, as its API writes them, and OpenAI's rules of tool messages.
#[test]
fn deepseek_refuses_histories_that_do_not_fit_together() {
    let asked = json!({"role": "assistant", "content": "", "tool_calls": [call("a"), call("b")]});
    let result = |id: &str| json!({"role": "tool", "tool_call_id": id, "content": "1"});
    let user = json!({"role": "user", "content": "hi"});
    let with_arguments = |arguments: Value| json!({"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": arguments}}]});
    for history in [
        json!([user]),
        json!([user, {"role": "assistant", "content": "yes"}]),
        json!([user, {"role": "assistant", "reasoning_content": "hm"}]),
        json!([user, {"role": "assistant", "tool_calls": [call("a")]}]),
        json!([user, asked]),
        json!([user, asked, result("b"), result("a")]),
        json!([user, asked, result("a"), result("b"), user]),
        json!([user, asked, result("a"), result("b"), asked, result("a"), result("b")]),
        json!([with_arguments(json!(null)), result("a")]),
        json!([with_arguments(json!({})), result("a")]),
        json!([with_arguments(json!("{\"a\": 1}")), result("a")]),
    ] {
        assert!(check_strictly(&messages(history.clone())).is_ok(), "{history}");
    }
    let lonely = "Messages with role 'tool' must be a response to a preceding message with 'tool_calls'";
    let unanswered = "An assistant message with 'tool_calls' must be followed by tool messages responding to each \
        'tool_call_id'. (insufficient tool messages following tool_calls message)";
    let no_object = "tool_calls: arguments are not a JSON object";
    for (history, index, expected) in [
        (json!([{"role": "user"}]), 0, "messages[0]: content is missing"),
        (json!([user, {"role": "system"}]), 1, "messages[1]: content is missing"),
        (json!([user, {"role": "assistant"}]), 1, "messages[1]: content is missing"),
        (json!([user, {"role": "assistant", "reasoning_content": ""}]), 1, "messages[1]: content is missing"),
        (json!([user, {"role": "assistant", "tool_calls": []}]), 1, "messages[1]: content is missing"),
        (json!([{"role": "user", "tool_calls": [call("a")]}]), 0, "messages[0]: content is missing"),
        (json!([result("a")]), 0, lonely),
        (json!([user, {"role": "assistant", "content": "x"}, result("a")]), 2, lonely),
        (json!([asked, result("a"), result("b"), user, result("a")]), 4, lonely),
        (
            json!([user, {"role": "assistant", "tool_calls": [call("a"), {"function": {"name": "f"}}]}]),
            1,
            "messages[1]: tool_calls[1] has no id",
        ),
        (
            json!([user, {"role": "assistant", "tool_calls": [call("a"), call("a")]}]),
            1,
            "messages[1]: tool_calls: duplicate id \"a\"",
        ),
        (json!([with_arguments(json!(""))]), 0, &*format!("messages[0]: {no_object}")),
        (json!([with_arguments(json!(" "))]), 0, &*format!("messages[0]: {no_object}")),
        (json!([with_arguments(json!("[1]"))]), 0, &*format!("messages[0]: {no_object}")),
        (json!([with_arguments(json!("{"))]), 0, &*format!("messages[0]: {no_object}")),
        (json!([with_arguments(json!([]))]), 0, &*format!("messages[0]: {no_object}")),
        (json!([asked, {"role": "tool", "content": "1"}]), 1, "messages[1]: tool_call_id is missing"),
        (
            json!([asked, result("x")]),
            1,
            "messages[1]: tool_call_id \"x\" matches no pending call of the preceding turn",
        ),
        (
            json!([asked, result("a"), result("a")]),
            2,
            "messages[2]: tool_call_id \"a\" matches no pending call of the preceding turn",
        ),
        (json!([asked, {"role": "tool", "tool_call_id": "a"}]), 1, "messages[1]: content is missing"),
        (json!([asked, result("a")]), 0, unanswered),
        (json!([user, asked, user]), 1, unanswered),
        (json!([user, asked, result("b"), user]), 1, unanswered),
    ] {
        let error = check_strictly(&messages(history.clone())).expect_err(&history.to_string());
        assert_eq!(told(&error), (Some(index), expected), "{history}");
    }
}

#[test]
fn contents_are_texts_of_a_limited_size() {
    let content = |content: Value| messages(json!([{"role": "user", "content": content}])).remove(0);
    let text = |value: Value| content(value).text(3).map(|text| text.map(std::borrow::Cow::into_owned));
    assert_eq!(text(json!(null)).unwrap(), None);
    assert_eq!(content(json!(null)).text_or_empty(3).unwrap(), "");
    assert_eq!(text(json!("")).unwrap().as_deref(), Some(""));
    assert_eq!(text(json!([])).unwrap().as_deref(), Some(""));
    let part = |text: &str| json!({"type": "text", "text": text});
    assert_eq!(text(json!([part("a"), part(""), part("b")])).unwrap().as_deref(), Some("ab"));
    for (value, expected) in [
        (json!([part("a"), {"type": "text"}]), "messages[3]: a text part has no text"),
        (json!([{"type": "image_url", "image_url": {}}]), "This model does not support image"),
        (json!([{"type": "image_url", "text": "x"}]), "This model does not support image"),
        (json!([{"type": "audio", "text": "x"}]), "messages[3]: part type \"audio\" is not supported"),
    ] {
        assert_eq!(told(&text(value).unwrap_err()), (Some(3), expected));
    }
    let long = 4 << 20;
    assert_eq!(text(json!("x".repeat(long))).unwrap().unwrap().len(), long);
    let error = text(json!([part(&"x".repeat(long)), part("x")])).unwrap_err();
    assert_eq!(told(&error), (Some(3), "messages[3]: content: at most 4194304 bytes, found 4194305"));
}

#[test]
fn a_thought_is_told_under_either_name() {
    for (fields, thought, told) in [
        (json!({}), None, false),
        (json!({"reasoning_content": "a"}), Some("a"), true),
        (json!({"reasoning": "b"}), Some("b"), true),
        (json!({"reasoning_content": "a", "reasoning": "b"}), Some("a"), true),
        (json!({"reasoning_content": "", "reasoning": "b"}), None, true),
        (json!({"reasoning": ""}), None, true),
        (json!({"reasoning_content": null}), None, false),
    ] {
        let mut message = json!({"role": "assistant"});
        message.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let message = messages(json!([message])).remove(0);
        assert_eq!((message.thought(), message.has_thought()), (thought, told), "{fields}");
    }
}

#[test]
fn conversations_and_offers_have_limits() {
    let error = turns(&[]).unwrap_err();
    assert_eq!((told(&error), error.details()["param"].as_str()), ((None, "Empty input messages"), Some("messages")));
    let many = |count: usize| vec![Message::default(); count];
    assert_eq!(turns(&many(1024)).unwrap().len(), 1024);
    let error = turns(&many(1025)).unwrap_err();
    assert_eq!(told(&error), (None, "messages: at most 1024, found 1025"));
    assert_eq!(error.details()["param"].as_str(), Some("messages"));
    let tools = |names: &[&str]| -> Vec<Tool> {
        names.iter().map(|name| serde_json::from_value(json!({"function": {"name": name}})).unwrap()).collect()
    };
    let names: Vec<String> = (0..513).map(|place| format!("f{place}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert!(check_tools(&tools(&names[..512])).is_ok() && check_tools(&[]).is_ok());
    let long = "x".repeat(128);
    for name in ["a", "Z", "0", "_", "-", "a-B_9", &long] {
        assert!(check_tools(&tools(&[name])).is_ok(), "{name}");
    }
    let rule = "expected 1 to 128 of A-Z, a-z, 0-9, _ and -, found";
    let longer = "x".repeat(129);
    for (found, expected) in [
        (check_tools(&tools(&names)), "tools: at most 512, found 513".to_owned()),
        (check_tools(&tools(&[""])), format!("tools[0].function.name: {rule} \"\"")),
        (check_tools(&tools(&["a", "b c"])), format!("tools[1].function.name: {rule} \"b c\"")),
        (check_tools(&tools(&["é"])), format!("tools[0].function.name: {rule} \"é\"")),
        (check_tools(&tools(&["a.b"])), format!("tools[0].function.name: {rule} \"a.b\"")),
        (check_tools(&tools(&["a", "b", "a"])), "tools[2].function.name: duplicate name \"a\"".to_owned()),
    ] {
        let error = found.unwrap_err();
        assert_eq!((told(&error), error.details()["param"].as_str()), ((None, &*expected), Some("tools")));
    }
    assert!(check_tools(&tools(&[&longer])).is_err());
    let nameless: Tool = serde_json::from_value(json!({"function": {"name": null, "strict": null}})).unwrap();
    assert_eq!((nameless.name(), nameless.field("name"), nameless.is_strict()), ("", None, false));
    for (strict, expected) in [(json!(true), true), (json!(false), false), (json!("true"), false)] {
        let tool: Tool = serde_json::from_value(json!({"function": {"name": "f", "strict": strict}})).unwrap();
        assert_eq!(tool.is_strict(), expected);
    }
}

#[test]
fn results_stay_with_the_turn_that_asked() {
    let history = messages(json!([
        {"role": "user", "content": "q"},
        {"role": "assistant", "tool_calls": [call("a"), call("b")]},
        {"role": "tool", "tool_call_id": "b", "content": "2"},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "assistant", "content": "so"},
        {"role": "tool", "tool_call_id": "a", "content": "3"},
        {"role": "assistant", "tool_calls": [call("a")]},
        {"role": "user", "content": "q"},
        {"role": "user", "content": "r", "tool_calls": [call("a"), call("b")]},
        {"role": "tool", "tool_call_id": "b", "content": "4"},
    ]));
    let found: Vec<(usize, Role)> = turns(&history).unwrap().iter().map(|(index, turn)| (*index, turn.role)).collect();
    let order = [0, 1, 3, 2, 4, 5, 6, 7, 8, 9];
    assert_eq!(found.iter().map(|(index, _)| *index).collect::<Vec<_>>(), order);
    assert!(found.iter().all(|(index, role)| history[*index].role == *role));
    // A result that is missing is an empty one of the turn that asked.
    let history = messages(json!([
        {"role": "assistant", "tool_calls": [call("a"), call("b"), call("c")]},
        {"role": "tool", "tool_call_id": "c", "content": "3"},
        {"role": "tool", "content": "x"},
    ]));
    let found = turns(&history).unwrap();
    let found: Vec<(usize, Role, String)> =
        found.iter().map(|(index, turn)| (*index, turn.role, turn.text_or_empty(0).unwrap().into_owned())).collect();
    let tool = |index: usize, text: &str| (index, Role::Tool, text.to_owned());
    assert_eq!(found[1..], [tool(2, "x"), tool(0, ""), tool(1, "3")]);
    let names = [Role::System, Role::Developer, Role::User, Role::Assistant, Role::Tool].map(Role::name);
    assert_eq!(names, ["system", "developer", "user", "assistant", "tool"]);
}
