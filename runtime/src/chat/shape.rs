//! What a request asks of the form of its answer: data, from which a constraint of sampling is made.

use serde_json::Value;

/// What must hold for the text of an answer, whatever the model would rather write.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnswerShape {
    /// What the content has to be.
    pub response: ResponseShape,
    /// The functions that may be called, in the order of the request.
    pub tools: Vec<ToolSpec>,
    /// Whether a function is called, and which.
    pub choice: ToolChoice,
    /// Whether one turn may hold several calls.
    pub parallel: bool,
}

/// What the content of an answer has to be.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum ResponseShape {
    /// Any text.
    #[default]
    None,
    /// One JSON object, whatever is in it.
    JsonObject,
    /// One JSON value that this schema accepts.
    JsonSchema(Value),
    /// A text that this regular expression matches as a whole.
    Regex(String),
    /// One of these texts.
    Choice(Vec<String>),
    /// A text of this grammar, in llama.cpp's notation or Lark's.
    Grammar(String),
}

/// Whether the model calls a function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// It calls none, though [`AnswerShape::tools`] may be in its prompt.
    #[default]
    None,
    /// It decides.
    Auto,
    /// It calls at least one.
    Required,
    /// It calls this one, which is in [`AnswerShape::tools`].
    Named(String),
}

/// A function as a constraint sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolSpec {
    /// 1 to 128 of `A-Z`, `a-z`, `0-9`, `_` and `-`.
    pub name: String,
    /// JSON schema of the arguments; an empty object where the request has none.
    pub parameters: Value,
    /// Whether arguments have to fit the schema.
    pub strict: bool,
}

impl AnswerShape {
    /// Whether sampling may do as it likes: nothing is forced, forbidden, or held to a schema.
    pub fn is_free(&self) -> bool {
        let calls_are_free = match self.choice {
            ToolChoice::None => self.tools.is_empty(),
            ToolChoice::Auto => self.parallel && self.tools.iter().all(|tool| !tool.strict),
            ToolChoice::Required | ToolChoice::Named(_) => false,
        };
        self.response == ResponseShape::None && calls_are_free
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_shape_without_demands_is_free() {
        let tool = |strict| vec![ToolSpec { name: "f".to_owned(), parameters: json!({}), strict }];
        let auto =
            AnswerShape { tools: tool(false), choice: ToolChoice::Auto, parallel: true, ..AnswerShape::default() };
        assert!(AnswerShape::default().is_free() && auto.is_free());
        for bound in [
            AnswerShape { response: ResponseShape::JsonObject, ..AnswerShape::default() },
            AnswerShape { choice: ToolChoice::None, ..auto.clone() },
            AnswerShape { choice: ToolChoice::Required, ..auto.clone() },
            AnswerShape { choice: ToolChoice::Named("f".to_owned()), ..auto.clone() },
            AnswerShape { tools: tool(true), ..auto.clone() },
            AnswerShape { parallel: false, ..auto },
        ] {
            assert!(!bound.is_free(), "{bound:?}");
        }
    }
}
