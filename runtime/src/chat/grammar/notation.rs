//! Grammars that clients write, in llama.cpp's notation (GBNF) or in Lark's, as a grammar inside a grammar.
//!
//! Nothing is passed on as it stands: what is not known is refused by name, with its line. What a rule matches without
//! calling itself becomes one terminal, since the lexer takes the longest and does not go back.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use super::super::schema::terminal;
use super::lark::quote;
use crate::error::{Code, Error, Result, escape};

/// Bytes of a grammar at most.
pub(super) const MAX_BYTES: usize = 64 << 10;
/// Groups inside groups at most.
const MAX_DEPTH: usize = 20;
/// Rules that refer to one another, at most so deep; llguidance compiles them by recursion.
const MAX_CHAIN: usize = 150;
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
enum Node {
    /// A regular expression; a text is one.
    Pattern(String),
    Name(String),
    Sequence(Vec<Node>),
    Choice(Vec<Node>),
    Repeat(Box<Node>, u32, Option<u32>),
}

/// A client's grammar as a grammar inside a grammar.
///
/// # Errors
/// `invalid_schema` with the line of what is not known, `grammar_too_complex` over a limit.
pub(super) fn nested(text: &str) -> Result<String> {
    if text.len() > MAX_BYTES {
        let message = format!("the grammar has {} bytes, at most {MAX_BYTES} are allowed", text.len());
        return Err(Error::new(Code::GrammarTooComplex, message));
    }
    let lark = !text.contains("::=");
    let mut reader = Reader { text, at: 0, lark, depth: 0, rules: vec![], ignored: vec![] };
    reader.grammar()?;
    let root = if lark { "start" } else { "root" };
    let rules: HashMap<&str, &Node> = reader.rules.iter().map(|(name, node)| (name.as_str(), node)).collect();
    if !rules.contains_key(root) {
        return Err(refused(format!("the grammar has no rule '{root}'")));
    }
    let mut writer = Writer { rules: &rules, names: HashMap::new(), lark: String::new(), chain: 0 };
    writer.find_circles()?;
    let start = writer.symbol(&Node::Name(root.to_owned()))?;
    let mut skip = String::new();
    for node in &reader.ignored {
        let body = writer.terminal(node)?;
        skip.push_str(&format!("%ignore {body}\n"));
    }
    Ok(format!("%lark {{\nstart: {start}\n{}{skip}}}", writer.lark))
}

fn refused(what: impl Into<String>) -> Error {
    Error::new(Code::InvalidSchema, what).with_detail("param", "grammar")
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    lark: bool,
    depth: usize,
    rules: Vec<(String, Node)>,
    ignored: Vec<Node>,
}

impl<'a> Reader<'a> {
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

    fn grammar(&mut self) -> Result<()> {
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
                return self.wrong("priorities of rules are not known");
            }
            if self.rest().starts_with(['[', '{']) {
                return self.wrong("attributes and parameters of rules are not known");
            }
            if !self.take(if self.lark { ":" } else { "::=" }) {
                return self.wrong(if self.lark { "expected ':'" } else { "expected '::='" });
            }
            self.space(!self.lark);
            if self.rules.iter().any(|(other, _)| *other == name) {
                return self.wrong(&format!("the rule '{name}' is there twice"));
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
                    return self.wrong("only imports of common.NAME are known");
                }
                let name = self.name().unwrap_or_default();
                let Some((_, pattern)) = COMMON.iter().find(|(known, _)| *known == name) else {
                    return self.wrong(&format!("unknown import '{}'", escape(&name)));
                };
                self.space(false);
                let name = if self.take("->") {
                    self.space(false);
                    self.name().unwrap_or(name)
                } else {
                    name
                };
                self.rules.push((name, Node::Pattern((*pattern).to_owned())));
                Ok(())
            }
            _ => self.wrong("only %ignore and %import are known"),
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
            1 => options.pop().unwrap_or(Node::Sequence(vec![])),
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
            1 => parts.pop().unwrap_or(Node::Sequence(vec![])),
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
            _ => self.wrong("a regular expression that is not known (no look-around, no back-references)"),
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
                return self.wrong("the range of characters is the wrong way round");
            }
            let written = write!(out, "\\x{{{:x}}}-\\x{{{:x}}}", u32::from(from), u32::from(to));
            debug_assert!(written.is_ok(), "a String takes all text");
            empty = false;
        }
        if empty {
            return self.wrong("the class has no characters");
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
            let (least, most) = match self.peek() {
                Some('*') => (0, None),
                Some('+') => (1, None),
                Some('?') => (0, Some(1)),
                Some('{') => {
                    self.next();
                    let (least, most) = self.bounds("}", ",")?;
                    node = Node::Repeat(Box::new(node), least, most);
                    continue;
                }
                Some('~') if self.lark => {
                    self.next();
                    self.space(false);
                    let (least, most) = self.bounds("", "..")?;
                    node = Node::Repeat(Box::new(node), least, most);
                    continue;
                }
                _ => {
                    self.at = before;
                    return Ok(node);
                }
            };
            self.next();
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
            return self.wrong(&format!("expected how often, at most {MAX_REPEAT} times"));
        }
        Ok((least.unwrap_or(0), most))
    }
}

struct Writer<'a> {
    rules: &'a HashMap<&'a str, &'a Node>,
    /// Symbols of rules; of one that calls itself, its own rule.
    names: HashMap<String, Symbol>,
    lark: String,
    chain: usize,
}

#[derive(Clone, Debug)]
struct Symbol {
    name: String,
    circular: bool,
    written: bool,
}

impl Writer<'_> {
    /// Which rules call themselves.
    fn find_circles(&mut self) -> Result<()> {
        let mut calls: HashMap<&str, HashSet<String>> = HashMap::new();
        for (name, node) in self.rules {
            let mut found = HashSet::new();
            names_of(node, &mut found);
            if let Some(missing) = found.iter().find(|name| !self.rules.contains_key(name.as_str())) {
                return Err(refused(format!(
                    "the grammar has no rule '{}', which '{name}' refers to",
                    escape(missing)
                )));
            }
            calls.insert(name, found);
        }
        let mut order: Vec<&&str> = self.rules.keys().collect();
        order.sort_unstable();
        for (place, name) in order.into_iter().enumerate() {
            let mut seen: HashSet<&str> = HashSet::new();
            let mut open: Vec<&str> = vec![name];
            let mut circular = false;
            while let Some(next) = open.pop() {
                for called in calls.get(next).into_iter().flatten() {
                    circular |= called == *name;
                    if seen.insert(called) {
                        open.push(called);
                    }
                }
            }
            let letter = if circular { 'g' } else { 'G' };
            let symbol = Symbol { name: format!("{letter}{place}"), circular, written: false };
            self.names.insert((*name).to_string(), symbol);
        }
        Ok(())
    }

    fn is_circular(&self, node: &Node) -> bool {
        match node {
            Node::Pattern(_) => false,
            // A rule that only refers to one that calls itself is none of the lexer's either.
            Node::Name(name) => self.names.get(name).is_some_and(|symbol| symbol.circular) || self.reaches_circle(name),
            Node::Sequence(parts) | Node::Choice(parts) => parts.iter().any(|part| self.is_circular(part)),
            Node::Repeat(part, ..) => self.is_circular(part),
        }
    }

    fn reaches_circle(&self, name: &str) -> bool {
        let mut seen: HashSet<String> = HashSet::new();
        let mut open = vec![name.to_owned()];
        while let Some(next) = open.pop() {
            if self.names.get(&next).is_some_and(|symbol| symbol.circular) {
                return true;
            }
            let mut found = HashSet::new();
            if let Some(node) = self.rules.get(next.as_str()) {
                names_of(node, &mut found);
            }
            open.extend(found.into_iter().filter(|name| seen.insert(name.clone())));
        }
        false
    }

    fn write(&mut self, name: &str, body: &str) {
        let written = writeln!(self.lark, "{name}: {body}");
        debug_assert!(written.is_ok(), "a String takes all text");
    }

    fn deeper<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.chain >= MAX_CHAIN {
            let message = format!("rules of the grammar refer to one another more than {MAX_CHAIN} deep");
            return Err(Error::new(Code::GrammarTooComplex, message));
        }
        self.chain = self.chain.saturating_add(1);
        let made = work(self);
        self.chain = self.chain.saturating_sub(1);
        made
    }

    /// A part as a symbol of a rule: where nothing in it calls itself, one terminal that is not empty, perhaps absent.
    fn symbol(&mut self, node: &Node) -> Result<String> {
        self.deeper(|writer| writer.made(node))
    }

    fn made(&mut self, node: &Node) -> Result<String> {
        if !self.is_circular(node) {
            let body = self.terminal(node)?;
            let name = format!("H{}", self.lark.len());
            self.write(&name, &format!("({body}) & /(?s:.+)/"));
            return Ok(if self.may_be_empty(node, 0) { format!("({name})?") } else { name });
        }
        match node {
            Node::Pattern(pattern) => Ok(terminal(pattern)),
            Node::Name(name) => {
                let Some(symbol) = self.names.get(name).cloned() else { return Err(refused("a name is missing")) };
                let rule = symbol.name.to_ascii_lowercase();
                if !symbol.written {
                    if let Some(known) = self.names.get_mut(name) {
                        known.written = true;
                    }
                    if let Some(node) = self.rules.get(name.as_str()) {
                        let body = self.symbol(node)?;
                        self.write(&rule, &body);
                    }
                }
                Ok(rule)
            }
            Node::Sequence(parts) => {
                let mut out = vec![];
                let mut plain: Vec<Node> = vec![];
                for part in parts {
                    if self.is_circular(part) {
                        if !plain.is_empty() {
                            out.push(self.symbol(&Node::Sequence(std::mem::take(&mut plain)))?);
                        }
                        out.push(self.symbol(part)?);
                    } else {
                        plain.push(part.clone());
                    }
                }
                if !plain.is_empty() {
                    out.push(self.symbol(&Node::Sequence(plain))?);
                }
                Ok(if out.is_empty() { "\"\"".to_owned() } else { out.join(" ") })
            }
            Node::Choice(options) => {
                let mut out = vec![];
                for option in options {
                    out.push(self.symbol(option)?);
                }
                Ok(format!("({})", out.join(" | ")))
            }
            Node::Repeat(part, least, most) => {
                let inner = self.symbol(part)?;
                Ok(match (least, most) {
                    (_, Some(0)) => "\"\"".to_owned(),
                    (least, most) => format!("({inner}){}", counted(*least, *most)),
                })
            }
        }
    }

    /// A part as a terminal.
    fn terminal(&mut self, node: &Node) -> Result<String> {
        self.deeper(|writer| {
            Ok(match node {
                Node::Pattern(pattern) => terminal(pattern),
                Node::Name(name) => {
                    let Some(symbol) = writer.names.get(name).cloned() else {
                        return Err(refused("a name is missing"));
                    };
                    if symbol.circular {
                        return Err(refused(format!("'{}' calls itself and cannot be ignored", escape(name))));
                    }
                    let named = format!("{}T", symbol.name);
                    if !symbol.written {
                        if let Some(known) = writer.names.get_mut(name) {
                            known.written = true;
                        }
                        if let Some(node) = writer.rules.get(name.as_str()) {
                            let body = writer.terminal(node)?;
                            writer.write(&named, &body);
                        }
                    }
                    named
                }
                Node::Sequence(parts) => {
                    let mut out = vec![];
                    for part in parts {
                        out.push(writer.terminal(part)?);
                    }
                    if out.is_empty() { "\"\"".to_owned() } else { out.join(" ") }
                }
                Node::Choice(options) => {
                    let mut out = vec![];
                    for option in options {
                        out.push(writer.terminal(option)?);
                    }
                    format!("({})", out.join(" | "))
                }
                Node::Repeat(part, least, most) => match most {
                    Some(0) => "\"\"".to_owned(),
                    most => format!("({}){}", writer.terminal(part)?, counted(*least, *most)),
                },
            })
        })
    }

    fn may_be_empty(&self, node: &Node, depth: usize) -> bool {
        let depth = depth.saturating_add(1);
        match node {
            _ if depth > MAX_CHAIN => true,
            Node::Pattern(pattern) => {
                regex_syntax::parse(pattern).is_ok_and(|hir| hir.properties().minimum_len() == Some(0))
            }
            Node::Name(name) => self.rules.get(name.as_str()).is_some_and(|node| self.may_be_empty(node, depth)),
            Node::Sequence(parts) => parts.iter().all(|part| self.may_be_empty(part, depth)),
            Node::Choice(options) => options.iter().any(|option| self.may_be_empty(option, depth)),
            Node::Repeat(part, least, _) => *least == 0 || self.may_be_empty(part, depth),
        }
    }
}

fn counted(least: u32, most: Option<u32>) -> String {
    match (least, most) {
        (0, None) => "*".to_owned(),
        (1, None) => "+".to_owned(),
        (0, Some(1)) => "?".to_owned(),
        (least, None) => format!("{{{least},}}"),
        (least, Some(most)) => format!("{{{least},{most}}}"),
    }
}

fn names_of(node: &Node, out: &mut HashSet<String>) {
    match node {
        Node::Pattern(_) => {}
        Node::Name(name) => {
            out.insert(name.clone());
        }
        Node::Sequence(parts) | Node::Choice(parts) => parts.iter().for_each(|part| names_of(part, out)),
        Node::Repeat(part, ..) => names_of(part, out),
    }
}

/// Texts of which one is written.
pub(super) fn choice(texts: &[String]) -> String {
    texts.iter().map(|text| quote(text)).collect::<Vec<_>>().join(" | ")
}
