//! Strict JSON, read in one pass without a tree.
//!
//! In: text. Out: values in order, or an error that names its place and byte. Never: recursion deeper than [`DEPTH`], memory
//! beyond what the caller keeps. Written here and not left to `serde_json`, because a header of 16 MiB must not cost
//! twenty times that in memory, skipped text must be as strict as text that is kept (lone surrogates), and every fault
//! needs its class and place. The tests hold it against `serde_json` on both sides.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use crate::error::{Class, Code, Error, Result, quote};

/// Nesting of objects and lists in any file of a checkpoint and in any request.
pub(crate) const DEPTH: u32 = 64;

/// What kind of value comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    List,
    String,
    Number,
    Bool,
    Null,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Object => "an object",
            Kind::List => "a list",
            Kind::String => "a string",
            Kind::Number => "a number",
            Kind::Bool => "true or false",
            Kind::Null => "null",
        })
    }
}

/// A cursor over one JSON text; cheap to copy, so that a text can be read twice.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    /// Name and class of a file; none for the body of a request.
    file: Option<(&'a str, Class)>,
    text: &'a str,
    at: usize,
    depth: u32,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte; faults in syntax are of `class`.
    pub(crate) fn new(file: &'a str, class: Class, bytes: &'a [u8]) -> Result<Self> {
        let text = std::str::from_utf8(bytes)
            .map_err(|error| Error::file(class, file, format_args!("not UTF-8 at byte {}", error.valid_up_to())))?;
        Ok(Reader { file: Some((file, class)), text, at: 0, depth: 0 })
    }

    /// Starts at the first byte of a request's body, or behind a byte order mark, which Windows' editors write.
    pub(crate) fn of_body(bytes: &'a [u8]) -> Result<Self> {
        let text = std::str::from_utf8(bytes)
            .map_err(|error| unreadable(format_args!("not UTF-8 at byte {}", error.valid_up_to())))?;
        let at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Ok(Reader { file: None, text, at, depth: 0 })
    }

    /// Reads the whole text for its syntax alone.
    pub(crate) fn check(mut self) -> Result<()> {
        self.skip()?;
        self.end()
    }

    /// The kind of the next value.
    pub(crate) fn peek(&mut self) -> Result<Kind> {
        self.space();
        Ok(match self.byte() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::List,
            Some(b'"') => Kind::String,
            Some(b'-' | b'0'..=b'9') => Kind::Number,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') => Kind::Null,
            _ => return Err(self.fault("expected a value")),
        })
    }

    /// Reads an object; `member` must read each value. Keys may repeat: the caller knows what that means.
    pub(crate) fn object(&mut self, mut member: impl FnMut(&mut Self, Cow<'a, str>) -> Result<()>) -> Result<()> {
        self.open(b'{')?;
        let mut first = true;
        while self.more(b'}', first)? {
            first = false;
            let key = self.key()?;
            member(self, key)?;
        }
        Ok(())
    }

    /// Reads a list; `element` must read each value.
    pub(crate) fn list(&mut self, mut element: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        self.open(b'[')?;
        let mut first = true;
        while self.more(b']', first)? {
            first = false;
            element(self)?;
        }
        Ok(())
    }

    /// Reads the bracket that opens an object or a list. [`Reader::more`] must follow until there is no more.
    pub(super) fn open(&mut self, bracket: u8) -> Result<()> {
        self.space();
        self.expect(bracket)?;
        if self.depth >= DEPTH {
            return Err(self.fault(&format!("nested deeper than {DEPTH}")));
        }
        self.depth = self.depth.saturating_add(1);
        Ok(())
    }

    /// Whether another part follows, or the bracket that closes them, which is read.
    pub(super) fn more(&mut self, close: u8, first: bool) -> Result<bool> {
        self.space();
        match self.byte() {
            Some(byte) if byte == close => {
                self.advance(1);
                self.depth = self.depth.saturating_sub(1);
                return Ok(false);
            }
            _ if first => {}
            Some(b',') => self.advance(1),
            _ => return Err(self.fault(&format!("expected ',' or '{}'", char::from(close)))),
        }
        Ok(true)
    }

    /// Reads a key and the colon behind it.
    pub(super) fn key(&mut self) -> Result<Cow<'a, str>> {
        let key = self.string()?;
        self.space();
        self.expect(b':')?;
        Ok(key)
    }

    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>> {
        self.space();
        self.expect(b'"')?;
        let mut decoded: Option<String> = None;
        loop {
            let start = self.at;
            while !matches!(self.byte(), None | Some(b'"' | b'\\' | 0..=0x1f)) {
                self.advance(1);
            }
            let plain = self.text.get(start..self.at).unwrap_or_default();
            match self.byte() {
                Some(b'"') => {
                    self.advance(1);
                    return Ok(match decoded {
                        None => Cow::Borrowed(plain),
                        Some(text) => Cow::Owned(text + plain),
                    });
                }
                Some(b'\\') => {
                    self.advance(1);
                    let character = self.escape()?;
                    let text = decoded.get_or_insert_default();
                    text.push_str(plain);
                    text.push(character);
                }
                _ => return Err(self.fault("expected the end of a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<char> {
        let letter = self.byte();
        self.advance(1);
        Ok(match letter {
            Some(plain @ (b'"' | b'\\' | b'/')) => char::from(plain),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let first = self.hex()?;
                let second = if (0xd800..0xdc00).contains(&first) && self.rest().starts_with("\\u") {
                    self.advance(2);
                    Some(self.hex()?)
                } else {
                    None
                };
                return match char::decode_utf16([first].into_iter().chain(second)).next() {
                    Some(Ok(character)) => Ok(character),
                    _ => Err(self.fault("a lone surrogate is no character")),
                };
            }
            _ => return Err(self.fault("unknown escape in a string")),
        })
    }

    fn hex(&mut self) -> Result<u16> {
        let digits =
            self.text.get(self.at..self.at.saturating_add(4)).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let value = digits.and_then(|digits| u16::from_str_radix(digits, 16).ok());
        let value = value.ok_or_else(|| self.fault("expected four hexadecimal digits"))?;
        self.advance(4);
        Ok(value)
    }

    /// Reads a number as it is written; of any size.
    pub(crate) fn number(&mut self) -> Result<&'a str> {
        self.space();
        let start = self.at;
        if self.byte() == Some(b'-') {
            self.advance(1);
        }
        if self.byte() == Some(b'0') {
            self.advance(1);
        } else {
            self.digits()?;
        }
        if self.byte() == Some(b'.') {
            self.advance(1);
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.advance(1);
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.advance(1);
            }
            self.digits()?;
        }
        Ok(self.text.get(start..self.at).unwrap_or_default())
    }

    /// As [`Reader::number`], within the range of f64.
    pub(crate) fn finite(&mut self) -> Result<&'a str> {
        let text = self.number()?;
        if !text.parse::<f64>().is_ok_and(f64::is_finite) {
            return Err(self.fault(&format!("the number {} is too large", quote(text))));
        }
        Ok(text)
    }

    fn digits(&mut self) -> Result<()> {
        if !matches!(self.byte(), Some(b'0'..=b'9')) {
            return Err(self.fault("expected a digit"));
        }
        while matches!(self.byte(), Some(b'0'..=b'9')) {
            self.advance(1);
        }
        Ok(())
    }

    /// Reads `true`, `false` or `null`.
    pub(crate) fn word(&mut self) -> Result<&'static str> {
        self.space();
        for word in ["true", "false", "null"] {
            if self.rest().starts_with(word) {
                self.advance(word.len());
                return Ok(word);
            }
        }
        Err(self.fault("expected a value"))
    }

    /// Reads any value and keeps nothing of it.
    pub(crate) fn skip(&mut self) -> Result<()> {
        match self.peek()? {
            Kind::Object => self.object(|reader, _| reader.skip()),
            Kind::List => self.list(Self::skip),
            Kind::String => self.string().map(drop),
            Kind::Number => self.number().map(drop),
            Kind::Bool | Kind::Null => self.word().map(drop),
        }
    }

    /// Nothing but white space may follow.
    pub(crate) fn end(&mut self) -> Result<()> {
        self.space();
        if self.at < self.text.len() { Err(self.fault("expected the end of the JSON")) } else { Ok(()) }
    }

    /// Reads any value into a tree. For files capped at 1 MiB: a tree costs many times its text.
    pub(crate) fn tree(&mut self) -> Result<Json> {
        Ok(match self.peek()? {
            Kind::Object => {
                let mut members = BTreeMap::new();
                self.object(|reader, key| {
                    let value = reader.tree()?;
                    match members.insert(key.clone().into_owned(), value) {
                        None => Ok(()),
                        Some(_) => Err(reader.fault(&format!("the key {} twice", quote(&key)))),
                    }
                })?;
                Json::Object(members)
            }
            Kind::List => {
                let mut elements = Vec::new();
                self.list(|reader| {
                    elements.push(reader.tree()?);
                    Ok(())
                })?;
                Json::List(elements)
            }
            Kind::String => Json::String(self.string()?.into_owned()),
            Kind::Number => Json::Number(self.finite()?.to_owned()),
            Kind::Bool | Kind::Null => match self.word()? {
                "null" => Json::Null,
                word => Json::Bool(word == "true"),
            },
        })
    }

    /// An error at the current byte, of the class this reader was made with.
    pub(crate) fn fault(&self, what: &str) -> Error {
        let end = if self.at >= self.text.len() { " (the end)" } else { "" };
        match self.file {
            Some((file, class)) => Error::file(class, file, format_args!("JSON, byte {}{end}: {what}", self.at)),
            None => unreadable(format_args!("byte {}{end}: {what}", self.at)),
        }
    }

    fn space(&mut self) {
        while matches!(self.byte(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.advance(1);
        }
    }

    fn expect(&mut self, byte: u8) -> Result<()> {
        if self.byte() != Some(byte) {
            return Err(self.fault(&format!("expected '{}'", char::from(byte))));
        }
        self.advance(1);
        Ok(())
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn advance(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes);
    }
}

/// A request's body that is no JSON.
pub(super) fn unreadable(what: impl fmt::Display) -> Error {
    Error::new(Code::BadRequest, format!("Failed to parse the request body as JSON: {what}"))
}

/// A JSON value; numbers stay as written, finite in f64.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(String),
    String(String),
    List(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

impl fmt::Display for Json {
    /// What was found, for an error: the kind, and the value where it is short.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Json::Null => f.write_str("null"),
            Json::Bool(value) => write!(f, "{value}"),
            Json::Number(text) => f.write_str(&crate::error::escape(text)),
            Json::String(text) => write!(f, "the string {}", quote(text)),
            Json::List(list) => write!(f, "a list of {}", list.len()),
            Json::Object(_) => f.write_str("an object"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(bytes: &[u8]) -> Result<()> {
        Reader::new("x.json", Class::Json, bytes)?.check()
    }

    /// Oracle: `serde_json` reading the same bytes into a value. Ours may only be stricter, and only by depth.
    #[test]
    fn agrees_with_serde_json() {
        let base = r#" { "a" : [1, -0.5e+3, true, null, "\u00e9\ud83d\ude00\n", {}], "ø": [[], ""] } "#.as_bytes();
        let mut texts: Vec<Vec<u8>> = vec![base.to_vec()];
        let alphabet = br#"{}[]":,\u0d1-+.eEtn "#;
        for place in 0..base.len() {
            texts.push(base[..place].to_vec());
            texts.push([&base[..place], &base[place + 1..]].concat());
            for &byte in alphabet.iter().chain(&[0, 0x1f, 0x80, 0xff]) {
                let mut changed = base.to_vec();
                changed[place] = byte;
                texts.push(changed);
                texts.push([&base[..place], &[byte], &base[place..]].concat());
            }
        }
        for text in
            ["", " ", "01", "1.", "-", "1e", ".5", "nul", "nulll", "\"\\ud800\"", "\"\\udc00\\ud800\"", "NaN", "[1,]"]
        {
            texts.push(text.as_bytes().to_vec());
        }
        for text in texts {
            let theirs = serde_json::from_slice::<serde_json::Value>(&text);
            assert_eq!(ours(&text).is_ok(), theirs.is_ok(), "{}", String::from_utf8_lossy(&text));
        }
    }

    #[test]
    fn strings_are_decoded_as_serde_json_does() {
        for text in [r#""plain""#, r#""a\"\\\/\b\f\n\r\tz""#, r#""\u0041\ud83d\ude00é""#] {
            let mut reader = Reader::new("x", Class::Json, text.as_bytes()).unwrap();
            assert_eq!(reader.string().unwrap(), serde_json::from_str::<String>(text).unwrap());
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
        assert!(ours(&nested(64)).is_ok());
        assert_eq!(ours(&nested(65)).unwrap_err().class(), Some("E-JSON"));
        assert_eq!(ours(&vec![b'['; 100_000]).unwrap_err().class(), Some("E-JSON"));
    }
}
