//! JSON as prompts hold it: `", "` and `": "` between parts, raw UTF-8, the order and the digits of the source.
//!
//! That is Python's `json.dumps(ensure_ascii=False)`, on which the models were trained, but for numbers: Python rewrites
//! `1.50` and `1e-7`. Here they stay as the model wrote them, so that a prompt repeats what is already in the cache.

use std::io::{Result, Write};

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{Formatter, Serializer};

struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> Result<()> {
        writer.write_all(b": ")
    }
}

/// `value` on one line, with spaces after commas and colons.
pub(crate) fn spaced(value: &Value) -> String {
    let mut bytes = vec![];
    // A `Value` always serialises, and a `Vec` always takes more.
    let written = value.serialize(&mut Serializer::with_formatter(&mut bytes, Spaced));
    debug_assert!(written.is_ok(), "a Value serialises");
    String::from_utf8(bytes).unwrap_or_default()
}

/// `value` on as many lines as it has parts, as Python's `indent` writes it.
pub fn indented(value: &Value, width: usize) -> String {
    let mut bytes = vec![];
    let indent = b" ".repeat(width);
    let formatter = serde_json::ser::PrettyFormatter::with_indent(&indent);
    let written = value.serialize(&mut Serializer::with_formatter(&mut bytes, formatter));
    debug_assert!(written.is_ok(), "a Value serialises");
    String::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_python_writes_it() {
        let value: Value = serde_json::from_str(r#"{"b":[1,-0.50,{}],"a":"ø\u0001\n\"","c":[],"d":null}"#).unwrap();
        assert_eq!(spaced(&value), r#"{"b": [1, -0.50, {}], "a": "ø\u0001\n\"", "c": [], "d": null}"#);
    }
}
