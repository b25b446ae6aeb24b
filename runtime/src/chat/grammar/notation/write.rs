//! A client's rules, written as ours.

use std::collections::{HashMap, HashSet};

use super::read::{Node, refused};
use crate::chat::schema::terminal;
use crate::error::{Code, Error, Result, escape};

/// Rules that refer to one another, at most so deep; llguidance compiles them by recursion.
const MAX_CHAIN: usize = 150;

pub(super) struct Writer<'a> {
    rules: &'a HashMap<&'a str, &'a Node>,
    /// Symbols of rules; of one that calls itself, its own rule.
    names: HashMap<String, Symbol>,
    /// Which rules may be empty, as far as that has been asked.
    empty: HashMap<String, bool>,
    pub(super) lark: String,
    chain: usize,
}

#[derive(Clone, Debug)]
struct Symbol {
    name: String,
    circular: bool,
    written: bool,
}

impl<'a> Writer<'a> {
    /// For these rules.
    pub(super) fn new(rules: &'a HashMap<&'a str, &'a Node>) -> Writer<'a> {
        Writer { rules, names: HashMap::new(), empty: HashMap::new(), lark: String::new(), chain: 0 }
    }

    /// Which rules call themselves.
    pub(super) fn find_circles(&mut self) -> Result<()> {
        let mut calls: HashMap<&str, HashSet<String>> = HashMap::new();
        for (name, node) in self.rules {
            let mut found = HashSet::new();
            names_of(node, &mut found);
            if let Some(missing) = found.iter().find(|name| !self.rules.contains_key(name.as_str())) {
                let missing = escape(missing);
                return Err(refused(format!("the grammar has no rule '{missing}', which '{name}' refers to")));
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
        self.lark.push_str(&format!("{name}: {body}\n"));
    }

    fn named(&mut self, name: &str) -> Result<&mut Symbol> {
        self.names.get_mut(name).ok_or_else(|| refused("a name is missing"))
    }

    /// Writes a client's rule under one of our names, unless it is written.
    fn once(&mut self, name: &str, ours: &str, body: fn(&mut Self, &Node) -> Result<String>) -> Result<()> {
        let written = std::mem::replace(&mut self.named(name)?.written, true);
        if let Some(node) = self.rules.get(name).filter(|_| !written) {
            let body = body(self, node)?;
            self.write(ours, &body);
        }
        Ok(())
    }

    fn deeper<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.chain >= MAX_CHAIN {
            let message = format!("grammar rules are nested more than {MAX_CHAIN} deep");
            return Err(Error::new(Code::GrammarTooComplex, message));
        }
        self.chain = self.chain.saturating_add(1);
        let made = work(self);
        self.chain = self.chain.saturating_sub(1);
        made
    }

    /// A part as a symbol of a rule: where nothing in it calls itself, one terminal that is not empty, perhaps absent.
    pub(super) fn symbol(&mut self, node: &Node) -> Result<String> {
        self.deeper(|writer| writer.made(node))
    }

    fn made(&mut self, node: &Node) -> Result<String> {
        if !self.is_circular(node) {
            let body = self.terminal(node)?;
            let name = format!("H{}", self.lark.len());
            self.write(&name, &format!("({body}) & /(?s:.+)/"));
            return Ok(if self.may_be_empty(node) { format!("({name})?") } else { name });
        }
        match node {
            Node::Pattern(pattern) => Ok(terminal(pattern)),
            Node::Name(name) => {
                let rule = self.named(name)?.name.to_ascii_lowercase();
                self.once(name, &rule, Self::symbol)?;
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
    pub(super) fn terminal(&mut self, node: &Node) -> Result<String> {
        self.deeper(|writer| {
            Ok(match node {
                Node::Pattern(pattern) => terminal(pattern),
                Node::Name(name) => {
                    let symbol = writer.named(name)?;
                    if symbol.circular {
                        return Err(refused(format!("'{}' is recursive and cannot be ignored", escape(name))));
                    }
                    let terminal = format!("{}T", symbol.name);
                    writer.once(name, &terminal, Self::terminal)?;
                    terminal
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

    /// Whether a part that does not call itself may be empty. Each rule is judged once, however often it is referred to.
    fn may_be_empty(&mut self, node: &Node) -> bool {
        match node {
            Node::Pattern(pattern) => {
                regex_syntax::parse(pattern).is_ok_and(|hir| hir.properties().minimum_len() == Some(0))
            }
            Node::Name(name) => {
                if let Some(known) = self.empty.get(name) {
                    return *known;
                }
                let rules = self.rules;
                let found = rules.get(name.as_str()).is_some_and(|node| self.may_be_empty(node));
                self.empty.insert(name.clone(), found);
                found
            }
            Node::Sequence(parts) => parts.iter().all(|part| self.may_be_empty(part)),
            Node::Choice(options) => options.iter().any(|option| self.may_be_empty(option)),
            Node::Repeat(part, least, _) => *least == 0 || self.may_be_empty(part),
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
