//! Reading one JSON object field by field: every error names file and path, what was expected and what was found.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::error::{Class, Error, Result, escape};
use crate::json::{Json, Reader};

/// One object of a settings file. A field that is null counts as absent.
pub(super) struct Fields<'a> {
    file: &'a str,
    path: String,
    class: Class,
    members: &'a BTreeMap<String, Json>,
    keys: Option<&'a Keys>,
}

/// What a file calls its fields where it has other names for them, by path.
pub(super) type Keys = BTreeMap<String, String>;

/// A border of a range, as people write it.
fn shown(number: f64) -> String {
    let size = number.abs();
    if size == 0.0 || (1e-3..1e6).contains(&size) { number.to_string() } else { format!("{number:e}") }
}

/// Parses a whole settings file, which must hold one object.
pub(super) fn parse_object(file: &str, bytes: &[u8]) -> Result<BTreeMap<String, Json>> {
    let mut reader = Reader::new(file, Class::Json, bytes)?;
    let tree = reader.tree()?;
    reader.end()?;
    match tree {
        Json::Object(members) => Ok(members),
        other => Err(Error::file(Class::Json, file, format_args!("expected an object, found {other}"))),
    }
}

impl<'a> Fields<'a> {
    /// The outermost object of `file`.
    pub(super) fn new(file: &'a str, members: &'a BTreeMap<String, Json>) -> Self {
        Fields { file, path: String::new(), class: Class::Config, members, keys: None }
    }

    /// The outermost object of a file that has its own names, which errors use.
    pub(super) fn by_keys(file: &'a str, members: &'a BTreeMap<String, Json>, keys: &'a Keys) -> Self {
        Fields { keys: Some(keys), ..Fields::new(file, members) }
    }

    /// The file.
    pub(super) fn file(&self) -> &'a str {
        self.file
    }

    /// An error about the field `name`.
    pub(super) fn error(&self, name: &str, message: impl std::fmt::Display) -> Error {
        let field = format!("{}{}", self.path, escape(name));
        match self.keys.and_then(|keys| keys.get(&field)) {
            Some(key) => {
                Error::file(self.class, self.file, format_args!("{key}: {message}")).with_detail("key", &**key)
            }
            None => Error::file(self.class, self.file, format_args!("{field}: {message}")).with_detail("field", field),
        }
    }

    /// Refuses the field `name` where what is asked of it does not hold.
    pub(super) fn ensure(&self, holds: bool, name: &str, message: impl std::fmt::Display) -> Result<()> {
        if holds { Ok(()) } else { Err(self.error(name, message)) }
    }

    fn wanted(&self, name: &str, expected: impl std::fmt::Display) -> Error {
        match self.members.get(name) {
            None => self.error(name, format_args!("expected {expected}, found nothing")),
            Some(found) => self.error(name, format_args!("expected {expected}, found {found}")),
        }
    }

    /// The names of all fields, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a String> {
        self.members.keys()
    }

    /// Whether the field is there at all, if only as null.
    pub(super) fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// The field, unless absent or null.
    pub(super) fn get(&self, name: &str) -> Option<&'a Json> {
        self.members.get(name).filter(|value| **value != Json::Null)
    }

    /// The object in this field; errors in it are of `class`.
    pub(super) fn object(&self, name: &str, class: Class) -> Result<Option<Fields<'a>>> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::Object(members)) => {
                Ok(Some(Fields { path: format!("{}{}.", self.path, escape(name)), class, members, ..*self }))
            }
            Some(_) => {
                let at = Fields { path: self.path.clone(), class, ..*self };
                Err(at.wanted(name, "an object"))
            }
        }
    }

    /// A whole number in `range`; absent is an error.
    pub(super) fn size(&self, name: &str, range: RangeInclusive<u32>) -> Result<u32> {
        let expected = || self.wanted(name, format_args!("a whole number in {}..={}", range.start(), range.end()));
        match self.get(name) {
            Some(Json::Number(text)) => text.parse().ok().filter(|value| range.contains(value)).ok_or_else(expected),
            _ => Err(expected()),
        }
    }

    /// A whole number in `range`, or `default`.
    pub(super) fn size_or(&self, name: &str, range: RangeInclusive<u32>, default: u32) -> Result<u32> {
        if self.get(name).is_none() { Ok(default) } else { self.size(name, range) }
    }

    /// A finite number in `range`, if present.
    pub(super) fn number(&self, name: &str, range: RangeInclusive<f64>) -> Result<Option<f64>> {
        let value = match self.get(name) {
            None => return Ok(None),
            Some(Json::Number(text)) => text.parse().ok().filter(|value| range.contains(value)),
            Some(_) => None,
        };
        let expected =
            || self.wanted(name, format_args!("a number from {} to {}", shown(*range.start()), shown(*range.end())));
        value.map(Some).ok_or_else(expected)
    }

    /// A truth value, or `default`.
    pub(super) fn flag(&self, name: &str, default: bool) -> Result<bool> {
        match self.get(name) {
            None => Ok(default),
            Some(Json::Bool(value)) => Ok(*value),
            Some(_) => Err(self.wanted(name, "true or false")),
        }
    }

    /// One of the words of `known`, if present.
    pub(super) fn word<T: Copy>(&self, name: &str, known: &[(&str, T)]) -> Result<Option<T>> {
        let expected = || {
            let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
            self.wanted(name, words.join(" or "))
        };
        match self.get(name) {
            None => Ok(None),
            Some(Json::String(text)) => {
                known.iter().find(|(word, _)| word == text).map(|(_, value)| Some(*value)).ok_or_else(expected)
            }
            Some(_) => Err(expected()),
        }
    }

    /// A list of words of `known`, if present.
    pub(super) fn words<T: Copy>(&self, name: &str, known: &[(&str, T)]) -> Result<Option<Vec<T>>> {
        let find = |element: &Json| match element {
            Json::String(text) => known.iter().find(|(word, _)| word == text).map(|(_, value)| *value),
            _ => None,
        };
        match self.get(name) {
            None => Ok(None),
            Some(Json::List(list)) => {
                let found: Option<Vec<T>> = list.iter().map(find).collect();
                let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
                found
                    .map(Some)
                    .ok_or_else(|| self.error(name, format_args!("expected a list of {}", words.join(" or "))))
            }
            Some(_) => Err(self.wanted(name, "a list")),
        }
    }

    /// Token ids below `vocab_size`: a number or a list of numbers; absent is an empty list.
    pub(super) fn token_ids(&self, name: &str, vocab_size: u32) -> Result<Vec<u32>> {
        let id = |value: &Json| match value {
            Json::Number(text) => text.parse::<u32>().ok().filter(|id| *id < vocab_size),
            _ => None,
        };
        let ids = match self.get(name) {
            None => return Ok(vec![]),
            Some(Json::List(list)) => list.iter().map(id).collect::<Option<Vec<u32>>>(),
            Some(value) => id(value).map(|id| vec![id]),
        };
        ids.ok_or_else(|| self.wanted(name, format_args!("token ids below vocab_size, {vocab_size}")))
    }
}
