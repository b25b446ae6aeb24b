//! The bodies of requests as values of Rust's types, by serde, in one pass over the strict [`Reader`].
//!
//! Serde's own readers of JSON take a list for a struct, an object for a word of an enum, the last of two equal keys, and
//! say what went wrong in the names of Rust's types.

use std::borrow::Cow;
use std::collections::HashSet;

use serde::de::value::StrDeserializer;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error as _, IgnoredAny, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};

use super::fault::Fault;
use super::reader::unreadable;
use super::{Kind, Reader};
use crate::error::{Code, Error, Result, escape, escape_whole};

/// Keys of all objects of a body.
const MAX_KEYS: usize = 100_000;
/// Values of a body whose types the body chooses, where an object or a list counts as [`CONTAINER`]: some 16 MB of memory. Tokens
/// of a prompt are none of them.
const MAX_FREE_VALUES: usize = 1 << 18;
const CONTAINER: usize = 4;
/// Digits of a number, as it is written.
const MAX_NUMBER_BYTES: usize = 1024;
/// Names of ignored fields that are kept.
const MAX_IGNORED: usize = 32;
/// Beginning of the keys under which `serde_json` hides numbers: an object that holds one would become a number.
const PRIVATE: &str = "$serde_json::private::";

/// Why a body is no `T`.
#[derive(Debug)]
pub(crate) enum Misread {
    /// It is not strict JSON.
    Syntax(Error),
    /// It is JSON of another form.
    Form {
        /// The place: `messages[0].role`; empty for the whole.
        path: String,
        /// What was expected and found there.
        what: String,
    },
}

/// Reads the body of a request. Beside the value come the names of fields that mean nothing to it, 32 at most, those within
/// lists left out. A byte order mark before it is ignored.
///
/// ```
/// #[derive(Debug, serde::Deserialize)]
/// struct Options {
///     temperature: Option<f64>,
/// }
/// let (options, ignored) = lyn::json::read::<Options>(br#"{"temperature": 1, "other": {"a": 1}}"#)?;
/// assert_eq!((options.temperature, ignored), (Some(1.0), vec!["other".to_owned()]));
/// let refused = lyn::json::read::<Options>(br#"{"temperature": "1"}"#).unwrap_err();
/// assert!(refused.message().ends_with("temperature: expected a number, found a string"));
/// # Ok::<(), lyn::Error>(())
/// ```
///
/// # Errors
/// `bad_request`: bytes that are not strict JSON, by byte or field; JSON of another form, with the field as `param` in its
/// details.
pub fn read<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<(T, Vec<String>)> {
    read_typed(body).map_err(|misread| match misread {
        Misread::Syntax(error) => error,
        Misread::Form { path, what } => misshapen(&path, &what),
    })
}

/// A refusal of a body that is JSON of another form.
pub(crate) fn misshapen(path: &str, what: &str) -> Error {
    let place = if path.is_empty() { String::new() } else { format!("{path}: ") };
    let what = escape_whole(what);
    Error::new(Code::BadRequest, format!("Failed to deserialize the JSON body into the target type: {place}{what}"))
        .with_detail("param", if path.is_empty() { "." } else { path })
}

/// As [`read`], with the cause apart.
pub(crate) fn read_typed<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<(T, Vec<String>), Misread> {
    let reader = Reader::of_body(body).map_err(Misread::Syntax)?;
    let mut typed = Typed { reader, path: vec![], ignored: vec![], keys: 0, free: 0 };
    let value = T::deserialize(&mut typed).map_err(|fault| match fault {
        Fault::Syntax(error) => Misread::Syntax(error),
        Fault::Form(what) => Misread::Form { path: shown(&typed.path), what },
    })?;
    typed.reader.end().map_err(Misread::Syntax)?;
    Ok((value, typed.ignored))
}

/// A step into a value.
enum Step<'de> {
    Key(Cow<'de, str>),
    Index(usize),
}

/// `messages[0].role`
fn shown(path: &[Step<'_>]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) if text.is_empty() => text.push_str(&escape(key)),
            Step::Key(key) => text.extend([".", &escape(key)]),
            Step::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

/// A reader that serde can ask.
struct Typed<'de> {
    reader: Reader<'de>,
    /// Where the reader is; after a fault, where it was.
    path: Vec<Step<'de>>,
    ignored: Vec<String>,
    keys: usize,
    /// Of [`MAX_FREE_VALUES`].
    free: usize,
}

type Read<T> = std::result::Result<T, Fault>;

impl<'de> Typed<'de> {
    fn peek(&mut self) -> Read<Kind> {
        self.reader.peek().map_err(Fault::Syntax)
    }

    /// Fails where the next value is of another kind.
    fn expect(&mut self, kind: Kind, expected: &str) -> Read<()> {
        let found = self.peek()?;
        if found == kind {
            return Ok(());
        }
        let shown = match found {
            Kind::Number => escape(self.number()?),
            Kind::Bool => self.reader.word().map_err(Fault::Syntax)?.to_owned(),
            found => found.to_string(),
        };
        Err(Fault::Form(format!("expected {expected}, found {shown}")))
    }

    fn number(&mut self) -> Read<&'de str> {
        let text = self.reader.finite().map_err(Fault::Syntax)?;
        if text.len() > MAX_NUMBER_BYTES {
            let message = format!("a number of {} digits, at most {MAX_NUMBER_BYTES} are read", text.len());
            return Err(Fault::Syntax(self.reader.fault(&message)));
        }
        Ok(text)
    }

    fn string<V: Visitor<'de>>(&mut self, visitor: V) -> Read<V::Value> {
        match self.reader.string().map_err(Fault::Syntax)? {
            Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        }
    }

    fn truth(&mut self) -> Read<bool> {
        Ok(self.reader.word().map_err(Fault::Syntax)? == "true")
    }

    fn whole<V: Visitor<'de>>(&mut self, visitor: V) -> Read<V::Value> {
        self.expect(Kind::Number, "a whole number")?;
        let text = self.number()?;
        if let Ok(number) = text.parse::<u64>() {
            visitor.visit_u64(number)
        } else if let Ok(number) = text.parse::<i64>() {
            visitor.visit_i64(number)
        } else if text.contains(['.', 'e', 'E']) {
            Err(Fault::Form(format!("expected a whole number, found {}", escape(text))))
        } else {
            Err(Fault::Form(format!("expected a whole number of 64 bits, found {}", escape(text))))
        }
    }

    /// Any number; digits that f64 would lose go the way that only `serde_json`'s own types know.
    fn any_number<V: Visitor<'de>>(&mut self, visitor: V) -> Read<V::Value> {
        let text = self.number()?;
        if let Ok(number) = text.parse::<u64>() {
            return visitor.visit_u64(number);
        }
        let number: serde_json::Number =
            text.parse().map_err(|_| Fault::Form(format!("the number {} cannot be read", escape(text))))?;
        number.deserialize_any(visitor).map_err(|_| Fault::Form(format!("did not expect the number {}", escape(text))))
    }

    fn object<V: Visitor<'de>>(&mut self, visitor: V) -> Read<V::Value> {
        self.reader.open(b'{').map_err(Fault::Syntax)?;
        let mut members = Members { typed: self, known: HashSet::new(), value: None, first: true, closed: false };
        let value = visitor.visit_map(&mut members)?;
        // A visitor may have enough before the end.
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(value)
    }

    fn list<V: Visitor<'de>>(&mut self, visitor: V) -> Read<V::Value> {
        self.reader.open(b'[').map_err(Fault::Syntax)?;
        let mut elements = Elements { typed: self, index: 0, closed: false };
        let value = visitor.visit_seq(&mut elements)?;
        let read = elements.index;
        match elements.next_element::<IgnoredAny>()? {
            Some(_) => Err(Fault::Form(format!("expected a list of {read}, found more"))),
            None => Ok(value),
        }
    }

    /// Notes a key of an object whose others are `known`.
    #[expect(clippy::ptr_arg, reason = "a borrowed key is kept without a copy")]
    fn note_key(&mut self, key: &Cow<'de, str>, known: &mut HashSet<Cow<'de, str>>) -> Read<()> {
        self.keys = self.keys.saturating_add(1);
        if self.keys > MAX_KEYS {
            return Err(Fault::Syntax(self.reader.fault(&format!("more than {MAX_KEYS} keys"))));
        }
        let fault = |typed: &Typed<'_>, what: &str| {
            let mut path = shown(&typed.path);
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(&escape(key));
            Fault::Syntax(unreadable(format_args!("{path}: {what}")).with_detail("param", path))
        };
        if key.starts_with(PRIVATE) {
            return Err(fault(self, "this key is reserved"));
        }
        if !known.insert(key.clone()) {
            return Err(fault(self, "duplicate key"));
        }
        Ok(())
    }

    /// Reads a value, as strictly as one that is kept.
    fn skip(&mut self) -> Read<()> {
        match self.peek()? {
            Kind::Object => self.object(IgnoredAny).map(drop),
            Kind::List => self.list(IgnoredAny).map(drop),
            Kind::String => self.reader.string().map(drop).map_err(Fault::Syntax),
            Kind::Number => self.number().map(drop),
            Kind::Bool | Kind::Null => self.reader.word().map(drop).map_err(Fault::Syntax),
        }
    }

    /// Notes the field at the path, unless it is within a list: messages and tools have many fields, and clients repeat whole
    /// answers in them.
    fn note_ignored(&mut self) {
        let in_list = self.path.iter().any(|step| matches!(step, Step::Index(_)));
        if !in_list && !self.path.is_empty() && self.ignored.len() < MAX_IGNORED {
            self.ignored.push(shown(&self.path));
        }
    }
}

struct Members<'t, 'de> {
    typed: &'t mut Typed<'de>,
    known: HashSet<Cow<'de, str>>,
    /// The key whose value comes next.
    value: Option<Cow<'de, str>>,
    first: bool,
    closed: bool,
}

impl<'de> MapAccess<'de> for Members<'_, 'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Read<Option<K::Value>> {
        if self.closed {
            return Ok(None);
        }
        self.closed = !self.typed.reader.more(b'}', self.first).map_err(Fault::Syntax)?;
        if self.closed {
            return Ok(None);
        }
        self.first = false;
        let key = self.typed.reader.key().map_err(Fault::Syntax)?;
        self.typed.note_key(&key, &mut self.known)?;
        self.value = Some(key.clone());
        match key {
            Cow::Borrowed(key) => seed.deserialize(serde::de::value::BorrowedStrDeserializer::new(key)),
            Cow::Owned(key) => seed.deserialize(key.into_deserializer()),
        }
        .map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Read<V::Value> {
        self.typed.path.extend(self.value.take().map(Step::Key));
        let value = seed.deserialize(&mut *self.typed)?;
        self.typed.path.pop();
        Ok(value)
    }
}

struct Elements<'t, 'de> {
    typed: &'t mut Typed<'de>,
    index: usize,
    closed: bool,
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Read<Option<S::Value>> {
        if self.closed {
            return Ok(None);
        }
        self.closed = !self.typed.reader.more(b']', self.index == 0).map_err(Fault::Syntax)?;
        if self.closed {
            return Ok(None);
        }
        self.typed.path.push(Step::Index(self.index));
        self.index = self.index.saturating_add(1);
        let value = seed.deserialize(&mut *self.typed)?;
        self.typed.path.pop();
        Ok(Some(value))
    }
}

/// Methods that all read the same way.
macro_rules! alike {
    ($($method:ident)+ => $read:ident) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
            self.$read(visitor)
        })+
    };
}

impl<'de> Deserializer<'de> for &mut Typed<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        let kind = self.peek()?;
        self.free = self.free.saturating_add(if matches!(kind, Kind::Object | Kind::List) { CONTAINER } else { 1 });
        if self.free > MAX_FREE_VALUES {
            let message =
                format!("more than {MAX_FREE_VALUES} values, where a list or an object counts as {CONTAINER}");
            return Err(Fault::Syntax(self.reader.fault(&message)));
        }
        match kind {
            Kind::Object => self.object(visitor),
            Kind::List => self.list(visitor),
            Kind::String => self.string(visitor),
            Kind::Number => self.any_number(visitor),
            Kind::Bool => visitor.visit_bool(self.truth()?),
            Kind::Null => {
                self.truth()?;
                visitor.visit_unit()
            }
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        self.expect(Kind::Bool, "true or false")?;
        visitor.visit_bool(self.truth()?)
    }

    alike! { deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
    deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 => whole }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        self.expect(Kind::Number, "a number")?;
        let text = self.number()?;
        visitor.visit_f64(text.parse().map_err(Fault::custom)?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        self.expect(Kind::String, "a string")?;
        self.string(visitor)
    }

    alike! { deserialize_char deserialize_string deserialize_identifier => deserialize_str }

    alike! { deserialize_f32 => deserialize_f64 }

    serde::forward_to_deserialize_any! { bytes byte_buf unit unit_struct tuple_struct }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        if self.peek()? == Kind::Null {
            self.truth()?;
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Read<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        self.expect(Kind::List, "a list")?;
        self.list(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Read<V::Value> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        self.expect(Kind::Object, "an object")?;
        self.object(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Read<V::Value> {
        self.deserialize_map(visitor)
    }

    /// Words only: none of ours holds more.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Read<V::Value> {
        self.expect(Kind::String, "a string")?;
        let word = self.reader.string().map_err(Fault::Syntax)?;
        visitor.visit_enum(StrDeserializer::new(&word))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        self.note_ignored();
        // What is within an ignored field goes with it.
        let kept = self.ignored.len();
        self.skip()?;
        self.ignored.truncate(kept);
        visitor.visit_unit()
    }
}

#[cfg(test)]
mod tests;
