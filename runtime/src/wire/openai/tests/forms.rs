//! Oracles: the fields that vLLM's and llama.cpp's references name, and DeepSeek's, which knows one of them.

use serde_json::{Value, json};

use super::{refused, request, request_by, strict};
use crate::chat::ResponseShape;
use crate::wire::openai::{Rules, TextRequest};

fn form(fields: &Value) -> ResponseShape {
    let mut fields = fields.clone();
    fields["messages"] = json!([{ "role": "user", "content": "as JSON" }]);
    request(fields).unwrap().shape().response
}

/// Each row: fields that ask for a form, and the form.
fn rows() -> Vec<(Value, ResponseShape)> {
    let schema = json!({ "type": "object" });
    let (text, object) = (json!(schema.to_string()), ResponseShape::JsonSchema(schema.clone()));
    let (regex, grammar) =
        (|| ResponseShape::Regex("a+".to_owned()), || ResponseShape::Grammar("root ::= x".to_owned()));
    let choice = || ResponseShape::Choice(vec!["a".to_owned(), "b".to_owned()]);
    let structured = |name: &str, value: &Value| json!({ "structured_outputs": { name: value } });
    vec![
        (structured("json", &schema), object.clone()),
        (structured("json", &text), object.clone()),
        (structured("json_object", &json!(true)), ResponseShape::JsonObject),
        (structured("regex", &json!("a+")), regex()),
        (structured("choice", &json!(["a", "b"])), choice()),
        (structured("grammar", &json!("root ::= x")), grammar()),
        (json!({ "guided_json": schema }), object.clone()),
        (json!({ "guided_json": text }), object.clone()),
        (json!({ "guided_regex": "a+" }), regex()),
        (json!({ "guided_choice": ["a", "b"] }), choice()),
        (json!({ "guided_grammar": "root ::= x" }), grammar()),
        (json!({ "json_schema": schema }), object.clone()),
        (json!({ "grammar": "root ::= x" }), grammar()),
        (json!({ "response_format": { "type": "json_object", "schema": schema } }), object),
    ]
}

#[test]
fn every_name_of_a_form_asks_for_it() {
    for (fields, expected) in rows() {
        assert_eq!(form(&fields), expected, "{fields}");
        let mut body = fields.clone();
        body["prompt"] = json!("a");
        assert!(TextRequest::parse_by(&Rules::default(), body.to_string()).is_ok(), "{fields}");
    }
}

#[test]
fn what_asks_for_nothing_asks_for_no_form() {
    for fields in [
        json!({ "response_format": { "type": "text" } }),
        json!({ "structured_outputs": {} }),
        json!({ "structured_outputs": { "json": null, "json_object": false, "grammar": " " } }),
        json!({ "guided_json": null, "guided_grammar": "", "grammar": "\n", "json_schema": null }),
    ] {
        assert_eq!(form(&fields), ResponseShape::None, "{fields}");
    }
    // DeepSeek ignores what it does not know.
    for (fields, _) in rows() {
        let mut fields = fields.clone();
        fields["messages"] = json!([{ "role": "user", "content": "as JSON" }]);
        let expected = match fields.get("response_format") {
            Some(_) => ResponseShape::JsonObject,
            None => ResponseShape::None,
        };
        assert_eq!(request_by(&strict(), fields.clone()).unwrap().shape().response, expected, "{fields}");
    }
}

#[test]
fn two_forms_are_refused_by_the_names_of_both() {
    let rows: Vec<Value> = rows().into_iter().map(|(fields, _)| fields).collect();
    let name = |fields: &Value| {
        let (outer, inner) = fields.as_object().unwrap().iter().next().unwrap();
        match outer.as_str() {
            "structured_outputs" => format!("{outer}.{}", inner.as_object().unwrap().keys().next().unwrap()),
            _ => outer.clone(),
        }
    };
    for fields in &rows[..13] {
        let mut both = fields.clone();
        both["response_format"] = json!({ "type": "json_schema", "json_schema": { "schema": {} } });
        let name = name(fields);
        let message = format!("{name}: a request can have only one output format, found response_format too");
        refused(&Rules::default(), &[(both, &name, &message)]);
    }
    let both = json!({ "guided_json": {}, "json_schema": {} });
    let message = "json_schema: a request can have only one output format, found guided_json too";
    refused(&Rules::default(), &[(both, "json_schema", message)]);
    // Two of a kind are one thing too many as well.
    let within = json!({ "structured_outputs": { "regex": "a", "choice": ["a"] } });
    let message =
        "structured_outputs.choice: a request can have only one output format, found structured_outputs.regex too";
    refused(&Rules::default(), &[(within, "structured_outputs.choice", message)]);
}

#[test]
fn forms_that_are_none_are_refused_by_their_name() {
    let object = |field: &str| format!("{field}: expected a schema, an object");
    let texts = |field: &str| format!("{field}: expected one or more non-empty strings");
    for (fields, field, message) in [
        (json!({ "guided_json": 5 }), "guided_json", object("guided_json")),
        (json!({ "guided_json": "[1]" }), "guided_json", object("guided_json")),
        (json!({ "guided_json": "{" }), "guided_json", object("guided_json")),
        (json!({ "json_schema": [1] }), "json_schema", object("json_schema")),
        (
            json!({ "structured_outputs": { "json": true } }),
            "structured_outputs.json",
            object("structured_outputs.json"),
        ),
        (
            json!({ "response_format": { "type": "json_object", "schema": 5 } }),
            "response_format.schema",
            object("response_format.schema"),
        ),
        (json!({ "guided_choice": [] }), "guided_choice", texts("guided_choice")),
        (json!({ "guided_choice": ["a", ""] }), "guided_choice", texts("guided_choice")),
        (
            json!({ "structured_outputs": { "choice": [""] } }),
            "structured_outputs.choice",
            texts("structured_outputs.choice"),
        ),
        (
            json!({ "structured_outputs": { "structural_tag": {} } }),
            "structured_outputs",
            "structured_outputs.structural_tag: not known here; expected json, json_object, regex, choice or grammar"
                .to_owned(),
        ),
    ] {
        refused(&Rules::default(), &[(fields, field, &message)]);
    }
}

/// A form says itself where the text ends, and a hole has no form.
#[test]
fn a_text_with_a_form_ends_by_it() {
    let suffix = "suffix: cannot be combined with structured output";
    let ends = "ignore_eos, min_tokens: cannot be combined with structured output";
    for (fields, refusal) in [
        (json!({ "suffix": "b" }), Some(("suffix", suffix))),
        (json!({ "suffix": "" }), None),
        (json!({ "ignore_eos": true }), Some(("ignore_eos", ends))),
        (json!({ "ignore_eos": false }), None),
        (json!({ "min_tokens": 1 }), Some(("ignore_eos", ends))),
        (json!({ "min_tokens": 0 }), None),
    ] {
        let mut body = json!({ "prompt": "a", "guided_regex": "a+" });
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let read = |rules: &Rules| TextRequest::parse_by(rules, body.to_string());
        let found = read(&Rules::default()).err();
        let found = found.as_ref().map(|error| (error.details()["param"].as_str().unwrap(), error.message()));
        assert_eq!(found, refusal, "{fields}");
        assert!(read(&strict()).is_ok(), "DeepSeek ignores the form: {fields}");
        body.as_object_mut().unwrap().remove("guided_regex");
        assert!(TextRequest::parse_by(&Rules::default(), body.to_string()).is_ok(), "{fields}");
    }
}
