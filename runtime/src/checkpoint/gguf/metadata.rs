//! The metadata of a GGUF file: values by key, each read as what is asked for.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::error::{Class, Error, Result};

/// Metadata: values by key, lists undecoded.
#[derive(Debug)]
pub(super) struct Metadata {
    pub(super) file: Arc<str>,
    pub(super) header: Vec<u8>,
    pub(super) values: BTreeMap<String, Value>,
}

/// A metadata value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Integer(i128),
    Float(Float),
    Bool(bool),
    Text(Range<usize>),
    List(List),
}

/// A float as wide as it was stored: the shortest decimal of an f32 is what its writer meant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Float {
    Single(f32),
    Double(f64),
}

/// A list's element type, its length, and where its elements lie in the header.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct List {
    pub(super) kind: Kind,
    pub(super) count: usize,
    pub(super) bytes: Range<usize>,
}

/// Types of values, by their numbers in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    String,
    List,
    U64,
    I64,
    F64,
}

impl Kind {
    pub(super) fn of(number: u32) -> Option<Kind> {
        use Kind::{Bool, F32, F64, I8, I16, I32, I64, List, String, U8, U16, U32, U64};
        const KINDS: [Kind; 13] = [U8, I8, U16, I16, U32, I32, F32, Bool, String, List, U64, I64, F64];
        KINDS.get(usize::try_from(number).ok()?).copied()
    }

    /// Bytes of an element; of a string and a list, of its count.
    pub(super) const fn least_bytes(self) -> u64 {
        match self {
            Kind::U8 | Kind::I8 | Kind::Bool => 1,
            Kind::U16 | Kind::I16 => 2,
            Kind::U32 | Kind::I32 | Kind::F32 => 4,
            Kind::String | Kind::U64 | Kind::I64 | Kind::F64 => 8,
            Kind::List => 12,
        }
    }

    const fn describe(self) -> &'static str {
        match self {
            Kind::F32 | Kind::F64 => "numbers",
            Kind::Bool => "true and false",
            Kind::String => "texts",
            Kind::List => "lists",
            _ => "whole numbers",
        }
    }
}

impl Metadata {
    /// A refusal that names the file and the key.
    pub(super) fn wrong(&self, key: &str, message: impl std::fmt::Display) -> Error {
        Error::file(Class::Config, &self.file, format_args!("{key}: {message}"))
            .with_detail("key", crate::error::escape(key))
    }

    /// The file.
    pub(super) fn file(&self) -> &str {
        &self.file
    }

    /// Elements of a list; none where there is none.
    pub(super) fn length(&self, key: &str) -> Option<usize> {
        match self.values.get(key) {
            Some(Value::List(list)) => Some(list.count),
            _ => None,
        }
    }

    /// A whole number of any stored width.
    pub(super) fn integer(&self, key: &str) -> Result<Option<i128>> {
        match self.values.get(key) {
            None => Ok(None),
            Some(Value::Integer(number)) => Ok(Some(*number)),
            // One number per layer, all the same, is one number.
            Some(Value::List(list)) => match self.integers(list) {
                Some(numbers) if numbers.windows(2).all(|pair| pair.first() == pair.last()) && !numbers.is_empty() => {
                    Ok(numbers.first().copied())
                }
                Some(_) => Err(self.wrong(key, "expected the same number for every layer")),
                None => {
                    Err(self
                        .wrong(key, format_args!("expected a whole number, found a list of {}", list.kind.describe())))
                }
            },
            Some(other) => Err(self.wrong(key, format_args!("expected a whole number, found {}", other.describe()))),
        }
    }

    /// A number; whole ones count.
    pub(super) fn number(&self, key: &str) -> Result<Option<f64>> {
        match self.values.get(key) {
            None => Ok(None),
            // The shortest decimal: 1e-6 was written as an f32, and is meant as 1e-6.
            Some(Value::Float(Float::Single(number))) => Ok(number.to_string().parse().ok()),
            Some(Value::Float(Float::Double(number))) => Ok(Some(*number)),
            Some(Value::Integer(number)) => Ok(number.to_string().parse().ok()),
            Some(other) => Err(self.wrong(key, format_args!("expected a number, found {}", other.describe()))),
        }
    }

    /// True or false.
    pub(super) fn bool(&self, key: &str) -> Result<Option<bool>> {
        match self.values.get(key) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(other) => Err(self.wrong(key, format_args!("expected true or false, found {}", other.describe()))),
        }
    }

    /// A text.
    pub(super) fn text(&self, key: &str) -> Result<Option<&str>> {
        match self.values.get(key) {
            None => Ok(None),
            Some(Value::Text(range)) => Ok(Some(self.str(range.clone()))),
            Some(other) => Err(self.wrong(key, format_args!("expected a text, found {}", other.describe()))),
        }
    }

    /// A list of texts.
    pub(super) fn texts(&self, key: &str) -> Result<Option<Vec<&str>>> {
        let list = match self.values.get(key) {
            None => return Ok(None),
            Some(Value::List(list)) if list.kind == Kind::String => list,
            Some(other) => {
                return Err(self.wrong(key, format_args!("expected a list of texts, found {}", other.describe())));
            }
        };
        let mut texts = Vec::with_capacity(list.count);
        let mut at = list.bytes.start;
        for _ in 0..list.count {
            let length = self.header.get(at..).and_then(|rest| rest.first_chunk::<8>()).copied().unwrap_or_default();
            let start = at.saturating_add(8);
            let end = start.saturating_add(usize::try_from(u64::from_le_bytes(length)).unwrap_or(0));
            texts.push(self.str(start..end));
            at = end;
        }
        Ok(Some(texts))
    }

    /// A list of whole numbers, or of true and false as 1 and 0.
    pub(super) fn integer_list(&self, key: &str) -> Result<Option<Vec<i128>>> {
        let wrong = |found: &str| self.wrong(key, format_args!("expected a list of whole numbers, found {found}"));
        match self.values.get(key) {
            None => Ok(None),
            Some(Value::List(list)) => {
                self.integers(list).map(Some).ok_or_else(|| wrong(&format!("one of {}", list.kind.describe())))
            }
            Some(other) => Err(wrong(other.describe())),
        }
    }

    fn integers(&self, list: &List) -> Option<Vec<i128>> {
        if matches!(list.kind, Kind::F32 | Kind::F64 | Kind::String | Kind::List) {
            return None;
        }
        let width = usize::try_from(list.kind.least_bytes()).ok()?;
        let signed = matches!(list.kind, Kind::I8 | Kind::I16 | Kind::I32 | Kind::I64);
        let element = |bytes: &[u8]| {
            let negative = signed && bytes.last().is_some_and(|byte| byte & 0x80 != 0);
            let mut wide = if negative { [0xff; 16] } else { [0; 16] };
            wide.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            i128::from_le_bytes(wide)
        };
        Some(self.header.get(list.bytes.clone())?.chunks_exact(width).map(element).collect())
    }

    fn str(&self, range: Range<usize>) -> &str {
        // Checked to be UTF-8 when it was read.
        self.header.get(range).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl Value {
    fn describe(&self) -> &'static str {
        match self {
            Value::Integer(_) => "a whole number",
            Value::Float(_) => "a number",
            Value::Bool(_) => "true or false",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
        }
    }
}
