//! The rules of a grammar, as they are added: what an answer may be, and what formats write calls with.

use serde_json::{Map, json};

use super::json::{Layout, nested};
use super::notation;
use crate::chat::control::{END_THINK, THINK};
use crate::chat::schema::{Dialect, Part, Schema, Texts};
use crate::chat::shape::{ResponseShape, ToolSpec};
use crate::error::{Code, Error, Result};
use crate::text::Tokenizer;

/// Rules of a grammar, as they are added.
pub(crate) struct Rules<'a> {
    pub(crate) tokenizer: &'a Tokenizer,
    pub(crate) lark: String,
    pub(crate) dialect: Dialect,
    /// Use the schemas of functions that are not strict.
    pub(crate) schemas: bool,
    /// The rules for parameters of any name are there.
    pub(crate) any_parameters: bool,
    /// Demands of schemas that are not held.
    pub(crate) loosened: Vec<String>,
}

impl Rules<'_> {
    pub(crate) fn rule(&mut self, name: &str, body: &str) {
        self.lark.push_str(&format!("{name}: {body}\n"));
    }

    /// A control token, by its id.
    pub(crate) fn token(&self, content: &str) -> Result<String> {
        self.tokenizer.token_id(content).map(|id| format!("<[{id}]>")).ok_or_else(|| {
            let message = format!("the tokenizer has no {content}, which calls in this chat format need");
            Error::new(Code::BadCheckpoint, message)
        })
    }

    /// A thought, or none, as a part of a grammar; nothing where the vocabulary has no tokens around thoughts.
    pub(crate) fn thought(&mut self) -> &'static str {
        let (Ok(open), Ok(close)) = (self.token(THINK), self.token(END_THINK)) else { return "" };
        // Where its end is spelled with other tokens it would end there too.
        let end = END_THINK.replace('/', "\\/");
        self.rule("THOUGHT", &format!("/(?s:.+)/ & ~/(?s:.*){end}(?s:.*)/"));
        self.rule("thought", &format!("{open} THOUGHT? {close}"));
        "thought?"
    }

    /// The name of the rule for the content.
    pub(crate) fn response(&mut self, response: &ResponseShape) -> Result<Option<String>> {
        let schema = match response {
            ResponseShape::None => return Ok(None),
            ResponseShape::Regex(pattern) => {
                let texts = Texts::matching(pattern).map_err(|why| {
                    Error::new(Code::InvalidSchema, format!("Invalid regular expression: {why}"))
                        .with_detail("param", "regex")
                })?;
                self.rule("TEXT", &texts.raw());
                return Ok(Some("TEXT".to_owned()));
            }
            ResponseShape::Choice(texts) => {
                self.rule("TEXT", &notation::choice(texts));
                return Ok(Some("TEXT".to_owned()));
            }
            ResponseShape::Grammar(text) => {
                let grammar = notation::nested(text)?;
                self.rule("response", &grammar);
                return Ok(Some("response".to_owned()));
            }
            ResponseShape::JsonObject => Schema::any_object(),
            // A response of DeepSeek's dialect has no schema: what goes beyond its tools is the same for both.
            ResponseShape::JsonSchema(schema) => Schema::check("response_format", schema, Dialect::Local)?,
        };
        self.loosened.extend_from_slice(&schema.loosened);
        self.rule("response", &nested(&schema, &schema.root, Layout::Flexible)?);
        Ok(Some("response".to_owned()))
    }

    /// The schema of a function's arguments; none: any object.
    pub(crate) fn arguments(&mut self, tool: &ToolSpec) -> Result<Option<Schema>> {
        let owner = format!("function '{}'", tool.name);
        let empty = tool.parameters.as_object().is_some_and(Map::is_empty);
        let schema = match (tool.strict, self.schemas) {
            (true, _) if empty => Schema::check(&owner, &json!({"type": "object", "properties": {}}), Dialect::Local)?,
            (true, _) => Schema::check(&owner, &tool.parameters, self.dialect)?,
            (false, true) if !empty => Schema::check(&owner, &tool.parameters, Dialect::Loose)?,
            (false, schemas) => {
                if !schemas {
                    self.loosened.push(format!("{}:$", tool.name));
                }
                return Ok(None);
            }
        };
        self.loosened.extend(schema.loosened.iter().map(|path| format!("{}:{path}", tool.name)));
        match schema.resolve(&schema.root) {
            Part::Object(_) => Ok(Some(schema)),
            Part::Any if !tool.strict => Ok(None),
            _ if tool.strict => {
                Err(Error::new(Code::InvalidSchema, format!("Invalid schema for {owner}: $: expected type object")))
            }
            _ => {
                self.loosened.push(format!("{}:$", tool.name));
                Ok(None)
            }
        }
    }
}
