//! A client's grammar, read: rules as nodes.

use crate::error::{Code, Error, Result, escape};

/// Groups inside groups at most.
const MAX_DEPTH: usize = 20;
const MAX_REPEAT: u32 = 10_000;
/// What Lark's `%import common.…` knows.
const COMMON: [(&str, &str); 18] = [
    ("DIGIT", "[0-9]"),
    ("HEXDIGIT", "[a-fA-F0-9]"),
    ("INT", "[0-9]+"),
    ("SIGNED_INT", "[+-]?[0-9]+"),
    ("DECIMAL", r"[0-9]+\.[0-9]*|\.[0-9]+"),
    ("FLOAT", r"(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+"),
    ("SIGNED_FLOAT", r"[+-]?(?:(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+)"),
    ("NUMBER", r"[0-9]+|(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+"),
    ("SIGNED_NUMBER", r"[+-]?(?:[0-9]+|(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+)"),
    ("ESCAPED_STRING", r#""(?:[^"\\]|\\.)*""#),
    ("LCASE_LETTER", "[a-z]"),
    ("UCASE_LETTER", "[A-Z]"),
    ("LETTER", "[A-Za-z]"),
    ("WORD", "[A-Za-z]+"),
    ("CNAME", "[_A-Za-z][_A-Za-z0-9]*"),
    ("WS_INLINE", r"[ \t]+"),
    ("WS", r"[ \t\f\r\n]+"),
    ("NEWLINE", r"(?:\r?\n)+"),
];

/// A part of a rule.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// A regular expression; a text is one.
    Pattern(String),
    Name(String),
    Sequence(Vec<Node>),
    Choice(Vec<Node>),
    Repeat(Box<Node>, u32, Option<u32>),
}

pub(super) fn refused(what: impl Into<String>) -> Error {
    Error::new(Code::InvalidSchema, what).with_detail("param", "grammar")
}

pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
    lark: bool,
    depth: usize,
    pub(super) rules: Vec<(String, Node)>,
    pub(super) ignored: Vec<Node>,
}

impl<'a> Reader<'a> {
    /// At the beginning of a text, in Lark's notation or llama.cpp's.
    pub(super) fn new(text: &'a str, lark: bool) -> Reader<'a> {
        Reader { text, at: 0, lark, depth: 0, rules: vec![], ignored: vec![] }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at = self.at.saturating_add(next.len_utf8());
        Some(next)
    }

    fn take(&mut self, wanted: &str) -> bool {
        let found = self.rest().starts_with(wanted);
        if found {
            self.at = self.at.saturating_add(wanted.len());
        }
        found
    }

    fn wrong<T>(&self, what: &str) -> Result<T> {
        let before = self.text.get(..self.at).unwrap_or_default();
        let line = before.matches('\n').count().saturating_add(1);
        let found: String = self.rest().chars().take(12).collect();
        Err(refused(format!("line {line} of the grammar: {what}, found '{}'", escape(&found))))
    }

    /// Spaces and comments, line breaks too where those mean nothing.
    fn space(&mut self, breaks: bool) {
        loop {
            let comment = if self.lark { "//" } else { "#" };
            match self.peek() {
                Some('\n' | '\r') if !breaks => return,
                Some(space) if space.is_whitespace() => {
                    self.next();
                }
                Some(_) if self.rest().starts_with(comment) || self.rest().starts_with('#') => {
                    while self.peek().is_some_and(|next| next != '\n') {
                        self.next();
                    }
                }
                _ => return,
            }
        }
    }

    fn name(&mut self) -> Option<String> {
        let rest = self.rest();
        let end =
            rest.find(|next: char| !(next.is_ascii_alphanumeric() || matches!(next, '_' | '-'))).unwrap_or(rest.len());
        let name = rest.get(..end).filter(|name| !name.is_empty())?;
        self.at = self.at.saturating_add(end);
        Some(name.to_owned())
    }

    pub(super) fn grammar(&mut self) -> Result<()> {
        loop {
            self.space(true);
            if self.peek().is_none() {
                return Ok(());
            }
            if self.lark && self.take("%") {
                self.directive()?;
                continue;
            }
            let _ = self.lark && (self.take("?") || self.take("!"));
            let Some(name) = self.name() else { return self.wrong("expected the name of a rule") };
            self.space(false);
            if self.lark && self.take(".") {
                return self.wrong("rule priorities are not supported");
            }
            if self.rest().starts_with(['[', '{']) {
                return self.wrong("rule attributes and parameters are not supported");
            }
            if !self.take(if self.lark { ":" } else { "::=" }) {
                return self.wrong(if self.lark { "expected ':'" } else { "expected '::='" });
            }
            self.space(!self.lark);
            if self.rules.iter().any(|(other, _)| *other == name) {
                return self.wrong(&format!("duplicate rule '{name}'"));
            }
            let node = self.choice(false)?;
            self.rules.push((name, node));
        }
    }

    fn directive(&mut self) -> Result<()> {
        match self.name().as_deref() {
            Some("ignore") => {
                let node = self.choice(false)?;
                self.ignored.push(node);
                Ok(())
            }
            Some("import") => {
                self.space(false);
                if !self.take("common.") {
                    return self.wrong("only %import common.NAME is supported");
                }
                let name = self.name().unwrap_or_default();
                let Some((_, pattern)) = COMMON.iter().find(|(known, _)| *known == name) else {
                    return self.wrong(&format!("unknown import '{}'", escape(&name)));
                };
                self.space(false);
                let renamed = self.take("->");
                self.space(false);
                let name = if renamed { self.name().unwrap_or(name) } else { name };
                self.rules.push((name, Node::Pattern((*pattern).to_owned())));
                Ok(())
            }
            _ => self.wrong("only %ignore and %import are supported"),
        }
    }

    fn choice(&mut self, inside: bool) -> Result<Node> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > MAX_DEPTH {
            return self.wrong(&format!("groups are nested more than {MAX_DEPTH} deep"));
        }
        let mut options = vec![self.sequence(inside)?];
        loop {
            let before = self.at;
            // A line may begin with the bar.
            self.space(true);
            if !self.take("|") {
                if !inside {
                    self.at = before;
                }
                break;
            }
            self.space(true);
            options.push(self.sequence(inside)?);
        }
        self.depth = self.depth.saturating_sub(1);
        Ok(match options.len() {
            1 => options.remove(0),
            _ => Node::Choice(options),
        })
    }

    fn sequence(&mut self, inside: bool) -> Result<Node> {
        let mut parts = vec![];
        loop {
            self.space(inside);
            match self.peek() {
                None | Some('|' | ')' | '\n' | '\r') => break,
                Some(']') if self.lark => break,
                _ => {}
            }
            if self.lark && self.take("->") {
                self.space(false);
                self.name();
                continue;
            }
            let atom = self.atom()?;
            parts.push(self.repeats(atom)?);
        }
        Ok(match parts.len() {
            1 => parts.remove(0),
            _ => Node::Sequence(parts),
        })
    }

    fn atom(&mut self) -> Result<Node> {
        if self.take("(") {
            let node = self.choice(true)?;
            return if self.take(")") { Ok(node) } else { self.wrong("expected ')'") };
        }
        match self.peek() {
            Some('"') => {
                let first = self.text(true)?;
                if self.lark && self.take("..") {
                    let last = self.text(true)?;
                    return self.class(format!("[{first}-{last}]"));
                }
                let insensitive = self.lark && self.take("i");
                self.class(if insensitive { format!("(?i:{first})") } else { first })
            }
            Some('[') if self.lark => {
                self.next();
                let node = self.choice(true)?;
                if self.take("]") { Ok(Node::Repeat(Box::new(node), 0, Some(1))) } else { self.wrong("expected ']'") }
            }
            Some('[') => {
                let class = self.characters()?;
                self.class(class)
            }
            Some('/') if self.lark => self.regex(),
            Some('.') if !self.lark => {
                self.next();
                Ok(Node::Pattern("(?s:.)".to_owned()))
            }
            _ => match self.name() {
                Some(name) => Ok(Node::Name(name)),
                None => self.wrong("expected a text, a name or a group"),
            },
        }
    }

    /// A pattern, checked.
    fn class(&self, pattern: String) -> Result<Node> {
        let parsed = regex_syntax::ParserBuilder::new().nest_limit(60).build().parse(&pattern);
        match parsed {
            Ok(hir) if hir.properties().look_set().is_empty() => Ok(Node::Pattern(pattern)),
            _ => self.wrong("unsupported regular expression (look-around and back-references are not supported)"),
        }
    }

    /// What is between quotes, as a regular expression.
    fn text(&mut self, quoted: bool) -> Result<String> {
        if quoted && !self.take("\"") {
            return self.wrong("expected a text");
        }
        let mut out = String::new();
        loop {
            match self.next() {
                Some('"') => return Ok(out),
                Some('\\') => out.push_str(&regex_syntax::escape(&self.escaped()?.to_string())),
                Some(next) => out.push_str(&regex_syntax::escape(&next.to_string())),
                None => return self.wrong("the text does not end"),
            }
        }
    }

    fn escaped(&mut self) -> Result<char> {
        let digits = match self.next() {
            Some('n') => return Ok('\n'),
            Some('r') => return Ok('\r'),
            Some('t') => return Ok('\t'),
            Some('b') if self.lark => return Ok('\u{8}'),
            Some('f') if self.lark => return Ok('\u{c}'),
            Some('x') => 2_usize,
            Some('u') => 4,
            Some('U') => 8,
            Some(other) => return Ok(other),
            None => return self.wrong("the text does not end"),
        };
        let code =
            self.rest().get(..digits).and_then(|code| u32::from_str_radix(code, 16).ok()).and_then(char::from_u32);
        let Some(found) = code else { return self.wrong("expected the code of a character") };
        self.at = self.at.saturating_add(digits);
        Ok(found)
    }

    /// GBNF's class of characters as one of a regular expression.
    fn characters(&mut self) -> Result<String> {
        self.next();
        let mut out = "[".to_owned();
        if self.take("^") {
            out.push('^');
        }
        let mut empty = true;
        while !self.take("]") {
            let from = self.character()?;
            let ranged = self.rest().starts_with('-') && !self.rest().starts_with("-]");
            let to = if ranged {
                self.next();
                self.character()?
            } else {
                from
            };
            if from > to {
                return self.wrong("the character range is reversed");
            }
            out.push_str(&format!("\\x{{{:x}}}-\\x{{{:x}}}", u32::from(from), u32::from(to)));
            empty = false;
        }
        if empty {
            return self.wrong("empty character class");
        }
        out.push(']');
        Ok(out)
    }

    fn character(&mut self) -> Result<char> {
        match self.next() {
            Some('\\') => self.escaped(),
            Some(next) => Ok(next),
            None => self.wrong("the class does not end"),
        }
    }

    /// Lark's `/…/` with flags.
    fn regex(&mut self) -> Result<Node> {
        self.next();
        let mut pattern = String::new();
        loop {
            match self.next() {
                Some('/') => break,
                Some('\\') => match self.next() {
                    Some('/') => pattern.push('/'),
                    Some(next) => pattern.extend(['\\', next]),
                    None => return self.wrong("the regular expression does not end"),
                },
                Some(next) => pattern.push(next),
                None => return self.wrong("the regular expression does not end"),
            }
        }
        let mut flags = String::new();
        while let Some(flag) = self.peek().filter(|next| matches!(next, 'i' | 's' | 'm' | 'x' | 'u')) {
            self.next();
            if flag != 'u' && !flags.contains(flag) {
                flags.push(flag);
            }
        }
        self.class(if flags.is_empty() { format!("(?:{pattern})") } else { format!("(?{flags}:{pattern})") })
    }

    fn repeats(&mut self, mut node: Node) -> Result<Node> {
        loop {
            let before = self.at;
            if !self.lark {
                self.space(false);
            }
            let (least, most) = match self.next() {
                Some('*') => (0, None),
                Some('+') => (1, None),
                Some('?') => (0, Some(1)),
                Some('{') => self.bounds("}", ",")?,
                Some('~') if self.lark => self.bounds("", "..")?,
                _ => {
                    self.at = before;
                    return Ok(node);
                }
            };
            node = Node::Repeat(Box::new(node), least, most);
        }
    }

    fn bounds(&mut self, end: &str, between: &str) -> Result<(u32, Option<u32>)> {
        let count = |reader: &mut Self| {
            reader.space(false);
            let rest = reader.rest();
            let length = rest.find(|next: char| !next.is_ascii_digit()).unwrap_or(rest.len());
            let found = rest.get(..length).and_then(|digits| digits.parse::<u32>().ok());
            reader.at = reader.at.saturating_add(length);
            reader.space(false);
            found
        };
        let least = count(self);
        let most = if self.take(between) { count(self) } else { least };
        let bad = least.is_none() && most.is_none()
            || most.is_some_and(|most| most < least.unwrap_or(0) || most > MAX_REPEAT);
        if bad || least.is_some_and(|least| least > MAX_REPEAT) || !self.take(end) {
            return self.wrong(&format!("expected a repetition count of at most {MAX_REPEAT}"));
        }
        Ok((least.unwrap_or(0), most))
    }
}
