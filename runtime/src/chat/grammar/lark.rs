//! Texts as llguidance's variant of Lark has them.

use serde_json::Value;

/// A literal of the grammar: JSON's, but for one character.
pub(crate) fn quote(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}
