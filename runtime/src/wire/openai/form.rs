//! The fields of a request that ask for a form of its answer.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::rules::refuse;
use crate::chat::ResponseShape;
use crate::error::Result;

/// The shape of the answer.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct ResponseFormat {
    /// `text`, `json_object`, `json_schema`.
    pub r#type: String,
    /// For `json_schema`.
    pub json_schema: Option<JsonSchema>,
    /// llama.cpp's place for the schema of a `json_object`.
    pub schema: Option<Value>,
}

impl ResponseFormat {
    /// A format of this type, with its schema where it has one.
    pub(crate) fn of(kind: &str, schema: Option<Value>) -> ResponseFormat {
        let json_schema = schema.map(|schema| JsonSchema { schema: Some(schema) });
        ResponseFormat { r#type: kind.to_owned(), json_schema, schema: None }
    }
}

/// A schema for the answer. Its name and whether it is strict make no difference: it is kept to.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct JsonSchema {
    /// What an answer has to fit.
    pub schema: Option<Value>,
}

/// The ways beside `response_format` in which clients of vLLM and llama.cpp ask for a form.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct StructuredOutputs {
    /// A schema, or its text.
    pub json: Option<Value>,
    /// Any JSON object.
    pub json_object: Option<bool>,
    /// A regular expression of the whole answer.
    pub regex: Option<String>,
    /// The answers of which one is given.
    pub choice: Option<Vec<String>>,
    /// A grammar.
    pub grammar: Option<String>,
    /// Not known; refused.
    pub structural_tag: Option<Value>,
}

/// All the fields of a request that ask for a form, of which one may be there.
#[derive(Default)]
pub(super) struct FormFields<'a> {
    pub(super) response_format: Option<&'a ResponseFormat>,
    pub(super) structured_outputs: Option<&'a StructuredOutputs>,
    pub(super) guided_json: Option<&'a Value>,
    pub(super) guided_regex: Option<&'a str>,
    pub(super) guided_choice: Option<&'a [String]>,
    pub(super) guided_grammar: Option<&'a str>,
    pub(super) json_schema: Option<&'a Value>,
    pub(super) grammar: Option<&'a str>,
}

impl FormFields<'_> {
    /// The one form that is asked for. DeepSeek (`strict`) knows `response_format` only.
    ///
    /// # Errors
    /// `bad_request` where there are two, or one that is not known.
    pub(super) fn form(&self, strict: bool) -> Result<ResponseShape> {
        let mut forms: Vec<(&'static str, ResponseShape)> = vec![];
        if let Some(format) = self.response_format {
            let schema = || format.json_schema.as_ref()?.schema.clone();
            let form = match format.r#type.as_str() {
                "json_object" if !strict && format.schema.is_some() => {
                    schema_of("response_format.schema", format.schema.as_ref())?
                }
                "json_object" => Some(ResponseShape::JsonObject),
                "json_schema" => schema().map(ResponseShape::JsonSchema),
                _ => None,
            };
            forms.extend(form.map(|form| ("response_format", form)));
        }
        if !strict {
            self.others(&mut forms)?;
        }
        if let [(first, _), (second, _), ..] = forms.as_slice() {
            let message = format!("{second}: a request can have only one output format, found {first} too");
            return Err(refuse(second, message));
        }
        Ok(forms.pop().map_or(ResponseShape::None, |(_, form)| form))
    }

    fn others(&self, forms: &mut Vec<(&'static str, ResponseShape)>) -> Result<()> {
        let none = StructuredOutputs::default();
        let asked = self.structured_outputs.unwrap_or(&none);
        if asked.structural_tag.is_some() {
            let message = "structured_outputs.structural_tag: not known here; expected json, json_object, regex, choice or grammar";
            return Err(refuse("structured_outputs", message));
        }
        let object = (asked.json_object == Some(true)).then_some(ResponseShape::JsonObject);
        let regex = |text: Option<&str>| text.map(|text| ResponseShape::Regex(text.to_owned()));
        // llama.cpp's clients send an empty grammar for none.
        let grammar = |text: Option<&str>| {
            text.filter(|text| !text.trim().is_empty()).map(|text| ResponseShape::Grammar(text.to_owned()))
        };
        let all = [
            ("structured_outputs.json", schema_of("structured_outputs.json", asked.json.as_ref())?),
            ("structured_outputs.json_object", object),
            ("structured_outputs.regex", regex(asked.regex.as_deref())),
            ("structured_outputs.choice", choice_of("structured_outputs.choice", asked.choice.as_deref())?),
            ("structured_outputs.grammar", grammar(asked.grammar.as_deref())),
            ("guided_json", schema_of("guided_json", self.guided_json)?),
            ("guided_regex", regex(self.guided_regex)),
            ("guided_choice", choice_of("guided_choice", self.guided_choice)?),
            ("guided_grammar", grammar(self.guided_grammar)),
            ("json_schema", schema_of("json_schema", self.json_schema)?),
            ("grammar", grammar(self.grammar)),
        ];
        forms.extend(all.into_iter().filter_map(|(field, form)| Some((field, form?))));
        Ok(())
    }
}

/// A schema, as an object or as its text.
fn schema_of(field: &'static str, schema: Option<&Value>) -> Result<Option<ResponseShape>> {
    let schema = match schema {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or(Value::Null),
        Some(schema) => schema.clone(),
    };
    match schema.is_object() {
        true => Ok(Some(ResponseShape::JsonSchema(schema))),
        false => Err(refuse(field, format!("{field}: expected a schema, an object"))),
    }
}

fn choice_of(field: &'static str, texts: Option<&[String]>) -> Result<Option<ResponseShape>> {
    match texts {
        Some(texts) if texts.is_empty() || texts.iter().any(String::is_empty) => {
            Err(refuse(field, format!("{field}: expected one or more non-empty strings")))
        }
        texts => Ok(texts.map(|texts| ResponseShape::Choice(texts.to_vec()))),
    }
}
