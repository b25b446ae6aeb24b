use serde::Deserialize;
use serde_json::{Value, json};

use super::*;
use crate::json::{text_or_list, text_or_object};

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
struct Sample {
    text: Option<String>,
    whole: Option<i64>,
    small: u8,
    number: Option<f64>,
    truth: bool,
    word: Option<Word>,
    inner: Option<Inner>,
    many: Vec<Inner>,
    pair: Option<(u8, u8)>,
    value: Value,
    either: Option<Either>,
    choice: Option<Choice>,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Inner {
    a: i32,
    b: Option<i32>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Word {
    One,
    Two,
}

#[derive(Debug, PartialEq)]
enum Either {
    Text(String),
    List(Vec<Inner>),
}

impl<'de> Deserialize<'de> for Either {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Either, D::Error> {
        text_or_list(deserializer, "a string or a list of inners", Either::Text, Either::List)
    }
}

#[derive(Debug, PartialEq)]
enum Choice {
    Auto,
    Named(Inner),
}

impl<'de> Deserialize<'de> for Choice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Choice, D::Error> {
        let word = |text: &str| (text == "auto").then_some(Choice::Auto);
        text_or_object(deserializer, "`auto` or an inner", word, Choice::Named)
    }
}

#[test]
fn what_serde_json_takes_for_one_meaning_is_read_alike() {
    let text = r#" {"text": "a\u00e9\n", "whole": -3, "small": 255, "number": 2, "truth": true, "word": "two",
        "inner": {"a": 1, "b": null}, "many": [{"a": 2}, {"a": 3, "b": 4}], "pair": [1, 2], "either": [{"a": 1}], "choice": "auto",
        "value": {"a": [1, 1.50, 1e300, 18446744073709551615, 123456789012345678901234567890], "b": {}}} "#;
    let ours = read::<Sample>(text.as_bytes()).unwrap();
    assert_eq!(ours, (serde_json::from_str(text).unwrap(), vec![]));
    // Digits stay as they are written.
    assert_eq!(ours.0.value["a"].to_string(), "[1,1.50,1e+300,18446744073709551615,123456789012345678901234567890]");
    let marked = ["\u{feff}", text].concat();
    assert_eq!(read::<Sample>(marked.as_bytes()).unwrap(), ours);
    for number in ["0", "-1", "0.1", "1.0", "1E5", "-9223372036854775808", "9223372036854775808"] {
        let text = format!("[{number}]");
        let theirs: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read::<Value>(text.as_bytes()).unwrap().0.to_string(), theirs.to_string());
    }
}

#[test]
fn what_two_readers_read_differently_is_refused() {
    for text in [
        r#"{"whole": 1, "whole": 1}"#,
        r#"{"whole": 1, "\u0077hole": 2}"#,
        r#"{"value": {"a": {"b": 1, "b": 2}}}"#,
        r#"{"value": [{"b": 1, "b": 2}]}"#,
        r#"{"unknown": {"b": 1, "b": 2}}"#,
        r#"{"unknown": 1, "unknown": 2}"#,
        r#"{"inner": [1, 2]}"#,
        r#"{"many": [[1, 2]]}"#,
        r#"{"many": [{"a": 1, "a": 1}]}"#,
        r#"{"either": [[1, 2]]}"#,
        r#"{"either": [{"a": 1, "a": 1}]}"#,
        r#"{"choice": [1, 2]}"#,
        r#"{"word": {"one": null}}"#,
        r#"{"pair": [1, 2, 3]}"#,
        r#"{"value": {"$serde_json::private::Number": "1"}}"#,
        r#"["a", 1]"#,
        r#"{"value": 1e999}"#,
        r#"{"unknown": 1e999}"#,
        r#"{"unknown": "\ud800"}"#,
        r#"{"text": "\ud800"}"#,
        r#"{"whole": 1} x"#,
        r#"{"whole": 01}"#,
        r#"{"whole": 1,}"#,
        "{\"text\": \"\u{1}\"}",
    ] {
        let error = read::<Sample>(text.as_bytes()).map(drop).expect_err(text);
        assert_eq!(error.code(), Code::BadRequest, "{text}");
    }
    assert!(read::<Sample>(b"{\"text\": \"\xff\"}").unwrap_err().message().contains("not UTF-8 at byte 10"));
    let keys: Vec<String> = (0..=MAX_KEYS).map(|key| format!("\"{key}\":0")).collect();
    let error = read::<Value>(format!("{{{}}}", keys.join(",")).as_bytes()).unwrap_err();
    assert!(error.message().contains("more than 100000 keys"), "{error}");
    // Lists in lists take fifty times their text in memory.
    let many = ["[", &"[[]],".repeat(MAX_FREE_VALUES / CONTAINER / 2), "0]"].concat();
    assert!(read::<Value>(many.as_bytes()).unwrap_err().message().contains("more than 262144 values"));
    let tokens = ["[", &"1,".repeat(1 << 20), "1]"].concat();
    assert_eq!(read::<Vec<u32>>(tokens.as_bytes()).unwrap().0.len(), (1 << 20) + 1);
    let digits = format!("[{}]", "1".repeat(200) + "." + &"1".repeat(MAX_NUMBER_BYTES));
    assert!(read::<Value>(digits.as_bytes()).unwrap_err().message().contains("digits"));
}

#[test]
fn faults_name_their_place_in_plain_words() {
    for (text, param, what) in [
        (r#"{"text": 5}"#, "text", "text: expected a string, found 5"),
        (r#"{"text": {}}"#, "text", "text: expected a string, found an object"),
        (r#"{"whole": "8"}"#, "whole", "whole: expected a whole number, found a string"),
        (r#"{"whole": 1.5}"#, "whole", "whole: expected a whole number, found 1.5"),
        (r#"{"whole": 99999999999999999999}"#, "whole", "a whole number of 64 bits, found 99999999999999999999"),
        (r#"{"small": -1}"#, "small", "small: expected a whole number from 0 to 255, found -1"),
        (r#"{"number": [1]}"#, "number", "number: expected a number, found a list"),
        (r#"{"truth": 1}"#, "truth", "truth: expected true or false, found 1"),
        (r#"{"truth": null}"#, "truth", "truth: expected true or false, found null"),
        (r#"{"word": "x"}"#, "word", "word: unknown variant `x`, expected `one` or `two`"),
        (r#"{"inner": "x"}"#, "inner", "inner: expected an object, found a string"),
        (r#"{"inner": {}}"#, "inner", "inner: missing field `a`"),
        (r#"{"many": [{"a": 1}, {"a": true}]}"#, "many[1].a", "many[1].a: expected a whole number, found true"),
        (r#"{"many": {}}"#, "many", "many: expected a list, found an object"),
        (r#"{"either": {}}"#, "either", "either: expected a string or a list of inners, found an object"),
        (r#"{"either": [{"a": "x"}]}"#, "either[0].a", "either[0].a: expected a whole number, found a string"),
        (r#"{"choice": "x"}"#, "choice", "choice: expected `auto` or an inner"),
        (r#"{"choice": {"a": "x"}}"#, "choice.a", "choice.a: expected a whole number, found a string"),
        (r#""x""#, ".", "target type: expected an object, found a string"),
        (r#"{"value": {"x\u001b": {"a": 1, "a": 1}}}"#, "value.x\\u{1b}.a", "value.x\\u{1b}.a: duplicate key"),
    ] {
        let error = read::<Sample>(text.as_bytes()).unwrap_err();
        assert!(error.message().ends_with(what), "{text}: {error}");
        assert_eq!(error.details().get("param"), Some(&json!(param)), "{text}");
    }
    for (text, what) in [
        ("", "byte 0 (the end): expected a value"),
        ("{", "byte 1 (the end): expected '\"'"),
        ("[1 2]", "byte 3: expected ',' or ']'"),
        ("{\"a\": 1} x", "byte 9: expected the end of the JSON"),
    ] {
        let error = read::<Value>(text.as_bytes()).unwrap_err();
        assert_eq!(error.message(), format!("Failed to parse the request body as JSON: {what}"));
    }
}

#[test]
fn fields_without_a_meaning_are_named() {
    let text = r#"{"x": {"deep": {"deeper": 1}}, "whole": 1, "inner": {"a": 1, "y": []}, "many": [{"a": 1, "z": 1}]}"#;
    assert_eq!(read::<Sample>(text.as_bytes()).unwrap().1, ["x", "inner.y"]);
    let many: serde_json::Map<String, Value> = (0..99).map(|key| (format!("k{key}"), json!(0))).collect();
    assert_eq!(read::<Sample>(Value::from(many).to_string().as_bytes()).unwrap().1.len(), MAX_IGNORED);
}
