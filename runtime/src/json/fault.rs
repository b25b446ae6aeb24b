//! What serde says of a body that is not of the form asked for, without the names of Rust's types.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Expected, Unexpected};

use super::Kind;
use crate::error::Error;

/// What serde is told of a fault.
#[derive(Debug)]
pub(super) enum Fault {
    Syntax(Error),
    Form(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Syntax(error) => f.write_str(error.message()),
            Fault::Form(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Fault {}

impl serde::de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Fault {
        Fault::Form(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Fault {
        Fault::Form(format!("expected {}, found {}", plainly(&expected.to_string()), kind_of(&found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Fault {
        Fault::Form(format!("expected {}, found {}", plainly(&expected.to_string()), kind_of(&found)))
    }
}

/// What a visitor expects, without the names of Rust's types.
fn plainly(expected: &str) -> Cow<'_, str> {
    let whole = |least: &str, most: &str| format!("a whole number from {least} to {most}").into();
    match expected {
        "u8" => whole("0", "255"),
        "u16" => whole("0", "65535"),
        "u32" => whole("0", "4294967295"),
        "u64" | "usize" => whole("0", "18446744073709551615"),
        "i8" => whole("-128", "127"),
        "i16" => whole("-32768", "32767"),
        "i32" => whole("-2147483648", "2147483647"),
        "i64" | "isize" => whole("-9223372036854775808", "9223372036854775807"),
        "f32" | "f64" | "a JSON number" => "a number".into(),
        "a boolean" => "true or false".into(),
        "a sequence" => "a list".into(),
        "a map" => "an object".into(),
        "unit" => "null".into(),
        expected if expected.starts_with("struct ") => "an object".into(),
        expected => expected.into(),
    }
}

/// The kind of what was found; the value itself for numbers, which are short.
fn kind_of(found: &Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(truth) => truth.to_string(),
        Unexpected::Unsigned(number) => number.to_string(),
        Unexpected::Signed(number) => number.to_string(),
        Unexpected::Float(number) => number.to_string(),
        Unexpected::Char(_) | Unexpected::Str(_) => Kind::String.to_string(),
        Unexpected::Unit | Unexpected::Option => Kind::Null.to_string(),
        Unexpected::Seq => Kind::List.to_string(),
        Unexpected::Map => Kind::Object.to_string(),
        _ => "another kind of value".to_owned(),
    }
}
