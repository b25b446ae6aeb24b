//! The bodies of requests as values of Rust's types, by serde, in one pass over the strict [`Reader`].
//!
//! Serde's own readers of JSON take a list for a struct, an object for a word of an enum, the last of two equal keys, and
//! say what went wrong in the names of Rust's types.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer, StrDeserializer};
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error as _, Expected, IgnoredAny, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, Visitor,
};

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

/// What serde is told of a fault.
#[derive(Debug)]
enum Fault {
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

/// The members of an object.
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

/// The elements of a list.
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

/// A field that is a string or a list: [`serde(untagged)`](https://serde.rs/enum-representations.html) would buffer the list,
/// and take lists in it for structs.
pub(crate) fn text_or_list<'de, D: Deserializer<'de>, T: Deserialize<'de>, R>(
    deserializer: D,
    expected: &'static str,
    text: impl FnOnce(String) -> R,
    list: impl FnOnce(Vec<T>) -> R,
) -> Result<R, D::Error> {
    struct TextOrList<T, R, F, G>(&'static str, F, G, PhantomData<(T, R)>);

    impl<'de, T: Deserialize<'de>, R, F: FnOnce(String) -> R, G: FnOnce(Vec<T>) -> R> Visitor<'de>
        for TextOrList<T, R, F, G>
    {
        type Value = R;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<R, E> {
            Ok((self.1)(text.to_owned()))
        }

        fn visit_string<E: serde::de::Error>(self, text: String) -> Result<R, E> {
            Ok((self.1)(text))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<R, A::Error> {
            Ok((self.2)(Vec::deserialize(SeqAccessDeserializer::new(list))?))
        }
    }

    deserializer.deserialize_any(TextOrList(expected, text, list, PhantomData))
}

/// The elements of a list up to the first beyond `most`, which tells that there are more: nobody wants the rest.
pub(crate) fn at_most<'de, A: SeqAccess<'de>, T: Deserialize<'de>>(
    most: usize,
    first: Option<T>,
    mut list: A,
) -> Result<Vec<T>, A::Error> {
    let mut kept: Vec<T> = first.into_iter().collect();
    while kept.len() <= most {
        match list.next_element()? {
            Some(element) => kept.push(element),
            None => return Ok(kept),
        }
    }
    while list.next_element::<IgnoredAny>()?.is_some() {}
    Ok(kept)
}

/// A field that is a string or an object, as [`text_or_list`]. `text` knows which strings there are.
///
/// # Errors
/// The deserializer's, and `expected` for a string without a meaning.
pub(crate) fn text_or_object<'de, D: Deserializer<'de>, T: Deserialize<'de>, R>(
    deserializer: D,
    expected: &'static str,
    text: impl FnOnce(&str) -> Option<R>,
    object: impl FnOnce(T) -> R,
) -> Result<R, D::Error> {
    struct TextOrObject<T, R, F, G>(&'static str, F, G, PhantomData<(T, R)>);

    impl<'de, T: Deserialize<'de>, R, F: FnOnce(&str) -> Option<R>, G: FnOnce(T) -> R> Visitor<'de>
        for TextOrObject<T, R, F, G>
    {
        type Value = R;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<R, E> {
            (self.1)(text).ok_or_else(|| E::custom(format_args!("expected {}", self.0)))
        }

        fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<R, A::Error> {
            Ok((self.2)(T::deserialize(MapAccessDeserializer::new(object))?))
        }
    }

    deserializer.deserialize_any(TextOrObject(expected, text, object, PhantomData))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::{Value, json};

    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default)]
    struct Sample {
        text: Option<String>,
        whole: Option<i64>,
        small: u8,
        number: Option<f64>,
        truth: bool,
        word: Option<Word>,
        inner: Option<Inner>,
        many: Vec<Inner>,
        pair: Option<(u8, u8)>,
        value: Value,
        either: Option<Either>,
        choice: Option<Choice>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Inner {
        a: i32,
        b: Option<i32>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Word {
        One,
        Two,
    }

    #[derive(Debug, PartialEq)]
    enum Either {
        Text(String),
        List(Vec<Inner>),
    }

    impl<'de> Deserialize<'de> for Either {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Either, D::Error> {
            text_or_list(deserializer, "a string or a list of inners", Either::Text, Either::List)
        }
    }

    #[derive(Debug, PartialEq)]
    enum Choice {
        Auto,
        Named(Inner),
    }

    impl<'de> Deserialize<'de> for Choice {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Choice, D::Error> {
            let word = |text: &str| (text == "auto").then_some(Choice::Auto);
            text_or_object(deserializer, "`auto` or an inner", word, Choice::Named)
        }
    }

    #[test]
    fn what_serde_json_takes_for_one_meaning_is_read_alike() {
        let text = r#" {"text": "a\u00e9\n", "whole": -3, "small": 255, "number": 2, "truth": true, "word": "two",
            "inner": {"a": 1, "b": null}, "many": [{"a": 2}, {"a": 3, "b": 4}], "pair": [1, 2], "either": [{"a": 1}], "choice": "auto",
            "value": {"a": [1, 1.50, 1e300, 18446744073709551615, 123456789012345678901234567890], "b": {}}} "#;
        let ours = read::<Sample>(text.as_bytes()).unwrap();
        assert_eq!(ours, (serde_json::from_str(text).unwrap(), vec![]));
        // Digits stay as they are written.
        assert_eq!(
            ours.0.value["a"].to_string(),
            "[1,1.50,1e+300,18446744073709551615,123456789012345678901234567890]"
        );
        let marked = ["\u{feff}", text].concat();
        assert_eq!(read::<Sample>(marked.as_bytes()).unwrap(), ours);
        for number in ["0", "-1", "0.1", "1.0", "1E5", "-9223372036854775808", "9223372036854775808"] {
            let text = format!("[{number}]");
            let theirs: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(read::<Value>(text.as_bytes()).unwrap().0.to_string(), theirs.to_string());
        }
    }

    #[test]
    fn what_two_readers_read_differently_is_refused() {
        for text in [
            r#"{"whole": 1, "whole": 1}"#,
            r#"{"whole": 1, "\u0077hole": 2}"#,
            r#"{"value": {"a": {"b": 1, "b": 2}}}"#,
            r#"{"value": [{"b": 1, "b": 2}]}"#,
            r#"{"unknown": {"b": 1, "b": 2}}"#,
            r#"{"unknown": 1, "unknown": 2}"#,
            r#"{"inner": [1, 2]}"#,
            r#"{"many": [[1, 2]]}"#,
            r#"{"many": [{"a": 1, "a": 1}]}"#,
            r#"{"either": [[1, 2]]}"#,
            r#"{"either": [{"a": 1, "a": 1}]}"#,
            r#"{"choice": [1, 2]}"#,
            r#"{"word": {"one": null}}"#,
            r#"{"pair": [1, 2, 3]}"#,
            r#"{"value": {"$serde_json::private::Number": "1"}}"#,
            r#"["a", 1]"#,
            r#"{"value": 1e999}"#,
            r#"{"unknown": 1e999}"#,
            r#"{"unknown": "\ud800"}"#,
            r#"{"text": "\ud800"}"#,
            r#"{"whole": 1} x"#,
            r#"{"whole": 01}"#,
            r#"{"whole": 1,}"#,
            "{\"text\": \"\u{1}\"}",
        ] {
            let error = read::<Sample>(text.as_bytes()).map(drop).expect_err(text);
            assert_eq!(error.code(), Code::BadRequest, "{text}");
        }
        assert!(read::<Sample>(b"{\"text\": \"\xff\"}").unwrap_err().message().contains("not UTF-8 at byte 10"));
        let keys: Vec<String> = (0..=MAX_KEYS).map(|key| format!("\"{key}\":0")).collect();
        let error = read::<Value>(format!("{{{}}}", keys.join(",")).as_bytes()).unwrap_err();
        assert!(error.message().contains("more than 100000 keys"), "{error}");
        // Lists in lists take fifty times their text in memory.
        let many = ["[", &"[[]],".repeat(MAX_FREE_VALUES / CONTAINER / 2), "0]"].concat();
        assert!(read::<Value>(many.as_bytes()).unwrap_err().message().contains("more than 262144 values"));
        let tokens = ["[", &"1,".repeat(1 << 20), "1]"].concat();
        assert_eq!(read::<Vec<u32>>(tokens.as_bytes()).unwrap().0.len(), (1 << 20) + 1);
        let digits = format!("[{}]", "1".repeat(200) + "." + &"1".repeat(MAX_NUMBER_BYTES));
        assert!(read::<Value>(digits.as_bytes()).unwrap_err().message().contains("digits"));
    }

    #[test]
    fn faults_name_their_place_in_plain_words() {
        for (text, param, what) in [
            (r#"{"text": 5}"#, "text", "text: expected a string, found 5"),
            (r#"{"text": {}}"#, "text", "text: expected a string, found an object"),
            (r#"{"whole": "8"}"#, "whole", "whole: expected a whole number, found a string"),
            (r#"{"whole": 1.5}"#, "whole", "whole: expected a whole number, found 1.5"),
            (r#"{"whole": 99999999999999999999}"#, "whole", "a whole number of 64 bits, found 99999999999999999999"),
            (r#"{"small": -1}"#, "small", "small: expected a whole number from 0 to 255, found -1"),
            (r#"{"number": [1]}"#, "number", "number: expected a number, found a list"),
            (r#"{"truth": 1}"#, "truth", "truth: expected true or false, found 1"),
            (r#"{"truth": null}"#, "truth", "truth: expected true or false, found null"),
            (r#"{"word": "x"}"#, "word", "word: unknown variant `x`, expected `one` or `two`"),
            (r#"{"inner": "x"}"#, "inner", "inner: expected an object, found a string"),
            (r#"{"inner": {}}"#, "inner", "inner: missing field `a`"),
            (r#"{"many": [{"a": 1}, {"a": true}]}"#, "many[1].a", "many[1].a: expected a whole number, found true"),
            (r#"{"many": {}}"#, "many", "many: expected a list, found an object"),
            (r#"{"either": {}}"#, "either", "either: expected a string or a list of inners, found an object"),
            (r#"{"either": [{"a": "x"}]}"#, "either[0].a", "either[0].a: expected a whole number, found a string"),
            (r#"{"choice": "x"}"#, "choice", "choice: expected `auto` or an inner"),
            (r#"{"choice": {"a": "x"}}"#, "choice.a", "choice.a: expected a whole number, found a string"),
            (r#""x""#, ".", "target type: expected an object, found a string"),
            (r#"{"value": {"x\u001b": {"a": 1, "a": 1}}}"#, "value.x\\u{1b}.a", "value.x\\u{1b}.a: duplicate key"),
        ] {
            let error = read::<Sample>(text.as_bytes()).unwrap_err();
            assert!(error.message().ends_with(what), "{text}: {error}");
            assert_eq!(error.details().get("param"), Some(&json!(param)), "{text}");
        }
        for (text, what) in [
            ("", "byte 0 (the end): expected a value"),
            ("{", "byte 1 (the end): expected '\"'"),
            ("[1 2]", "byte 3: expected ',' or ']'"),
            ("{\"a\": 1} x", "byte 9: expected the end of the JSON"),
        ] {
            let error = read::<Value>(text.as_bytes()).unwrap_err();
            assert_eq!(error.message(), format!("Failed to parse the request body as JSON: {what}"));
        }
    }

    #[test]
    fn fields_without_a_meaning_are_named() {
        let text =
            r#"{"x": {"deep": {"deeper": 1}}, "whole": 1, "inner": {"a": 1, "y": []}, "many": [{"a": 1, "z": 1}]}"#;
        assert_eq!(read::<Sample>(text.as_bytes()).unwrap().1, ["x", "inner.y"]);
        let many: serde_json::Map<String, Value> = (0..99).map(|key| (format!("k{key}"), json!(0))).collect();
        assert_eq!(read::<Sample>(Value::from(many).to_string().as_bytes()).unwrap().1.len(), MAX_IGNORED);
    }
}
