//! JSON that a schema asks for, as rules of a grammar. Numbers and strings are terminals, written from the schema's own text.

mod object;

use std::collections::HashMap;

use serde_json::Value;

use super::super::json::spaced;
use super::super::schema::{List, Part, Schema, Texts, Written, terminal};
use super::lark::quote;
use crate::error::{Code, Error, Result};

/// Rules inside rules at most: llguidance compiles them by recursion.
const MAX_DEPTH: usize = 150;
/// States of all numbers together that are counted digit by digit.
const MAX_STATES: usize = 3000;

/// How JSON is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// With white space as the model likes it, but never more than two characters: a guard against endless space.
    Flexible,
    /// On one line, in a tag that the first `end` closes, also inside of quotes: no string holds `never`.
    Tagged {
        end: &'static str,
        /// What closing tags begin with.
        never: &'static str,
    },
}

/// What one JSON value asks, as a grammar inside a grammar.
pub(crate) fn nested(schema: &Schema, part: &Part, layout: Layout) -> Result<String> {
    let mut rules = Rules {
        schema,
        layout,
        lark: String::new(),
        terminals: HashMap::new(),
        definitions: HashMap::new(),
        named: 0,
        any: None,
        depth: 0,
        states: 0,
    };
    let start = rules.value(part)?;
    let skip = match layout {
        Layout::Flexible => "%ignore /[ \\n\\r\\t]{1,2}/\n%llguidance {\"ignore_once\": true}\n",
        Layout::Tagged { .. } => "",
    };
    Ok(format!("%lark {{\nstart: {start}\n{}{skip}}}", rules.lark))
}

struct Rules<'a> {
    schema: &'a Schema,
    layout: Layout,
    lark: String,
    /// Names of terminals by what they match.
    terminals: HashMap<String, String>,
    definitions: HashMap<usize, String>,
    named: usize,
    /// The rule for any value.
    any: Option<String>,
    depth: usize,
    states: usize,
}

impl Rules<'_> {
    fn name(&mut self, letter: char) -> String {
        self.named = self.named.saturating_add(1);
        format!("{letter}{}", self.named)
    }

    fn write(&mut self, name: &str, body: &str) {
        self.lark.push_str(&format!("{name}: {body}\n"));
    }

    fn rule(&mut self, body: &str) -> String {
        let name = self.name('r');
        self.write(&name, body);
        name
    }

    fn terminal(&mut self, body: String) -> String {
        if let Some(name) = self.terminals.get(&body) {
            return name.clone();
        }
        let name = self.name('T');
        self.write(&name, &body);
        self.terminals.insert(body, name.clone());
        name
    }

    fn comma(&self) -> &'static str {
        if self.layout == Layout::Flexible { "\",\"" } else { "\", \"" }
    }

    fn colon(&self) -> &'static str {
        if self.layout == Layout::Flexible { "\":\"" } else { "\": \"" }
    }

    /// The name of what a part asks.
    fn value(&mut self, part: &Part) -> Result<String> {
        if self.depth >= MAX_DEPTH {
            let message = format!("the schema's references are nested more than {MAX_DEPTH} deep");
            return Err(Error::new(Code::GrammarTooComplex, message));
        }
        self.depth = self.depth.saturating_add(1);
        let made = self.made(part);
        self.depth = self.depth.saturating_sub(1);
        made
    }

    fn made(&mut self, part: &Part) -> Result<String> {
        if let Some(body) = self.scalar(part)? {
            return Ok(self.terminal(body));
        }
        match part {
            Part::Reference(name) => self.definition(*name),
            Part::Number(_, Some(Written::Automaton { starts, states })) => self.automaton(starts, states),
            Part::List(list) => self.list(list),
            Part::Object(object) => self.object(object),
            Part::Union(options) => {
                let mut scalars = vec![];
                let mut names = vec![];
                for option in options {
                    match self.scalar(option)? {
                        Some(body) => scalars.push(body),
                        None => names.push(self.value(option)?),
                    }
                }
                if !scalars.is_empty() {
                    names.push(self.terminal(scalars.join(" | ")));
                }
                Ok(self.rule(&names.join(" | ")))
            }
            _ => self.any(),
        }
    }

    fn definition(&mut self, name: usize) -> Result<String> {
        if let Some(known) = self.definitions.get(&name) {
            return Ok(known.clone());
        }
        let rule = self.name('d');
        self.definitions.insert(name, rule.clone());
        let schema = self.schema;
        let body = self.value(schema.definition(name))?;
        self.write(&rule, &body);
        Ok(rule)
    }

    /// Strings without a closing tag, where the first one ends the value.
    fn kept_inside(&self, body: String) -> String {
        match self.layout {
            Layout::Flexible => body,
            Layout::Tagged { never, .. } => {
                format!("{body} & ~/(?s:.*){}(?s:.*)/", never.replace('/', "\\/"))
            }
        }
    }

    fn text(&self, texts: &Texts) -> Result<String> {
        let json =
            texts.json().ok_or_else(|| Error::new(Code::Internal, "a checked pattern is not a regular expression"))?;
        Ok(self.kept_inside(json))
    }

    /// The terminal of a part that is one: neither list nor object.
    fn scalar(&mut self, part: &Part) -> Result<Option<String>> {
        Ok(Some(match part {
            Part::Null => "\"null\"".to_owned(),
            Part::Boolean => "\"true\" | \"false\"".to_owned(),
            Part::Values(values) => {
                let mut texts = vec![];
                for value in values {
                    let text = spaced(value);
                    if let Layout::Tagged { end, never } = self.layout
                        && text.contains(never)
                    {
                        let message = format!(
                            "a value contains the end-of-parameter marker ({end}), which this chat format cannot escape"
                        );
                        return Err(Error::new(Code::InvalidSchema, message));
                    }
                    texts.push(quote(&text));
                }
                texts.join(" | ")
            }
            Part::Number(_, Some(Written::Pattern(pattern))) => terminal(pattern),
            Part::Text(texts) => self.text(texts)?,
            _ => return Ok(None),
        }))
    }

    fn any(&mut self) -> Result<String> {
        if let Some(any) = &self.any {
            return Ok(any.clone());
        }
        let any = self.name('r');
        self.any = Some(any.clone());
        let string = self.text(&Texts::default())?;
        let number = terminal(r"-?(?:0|[1-9][0-9]{0,39})(?:\.[0-9]{1,40})?(?:[eE][+\-]?[0-9]{1,2})?");
        let scalar = self.terminal(format!("\"null\" | \"true\" | \"false\" | {number} | {string}"));
        let string = self.terminal(string);
        let (comma, colon) = (self.comma(), self.colon());
        let pair = self.rule(&format!("{string} {colon} {any}"));
        let object = self.rule(&format!("\"{{\" \"}}\" | \"{{\" {pair} ({comma} {pair})* \"}}\""));
        let list = self.rule(&format!("\"[\" \"]\" | \"[\" {any} ({comma} {any})* \"]\""));
        self.write(&any, &format!("{scalar} | {object} | {list}"));
        Ok(any)
    }

    /// A number whose digits are counted.
    fn automaton(&mut self, starts: &[(&'static str, usize)], states: &[Vec<(u8, usize)>]) -> Result<String> {
        self.states = self.states.saturating_add(states.len());
        if self.states > MAX_STATES {
            let message = "the 'multipleOf' constraints take too much work in total; use fewer";
            return Err(Error::new(Code::GrammarTooComplex, message));
        }
        // A grammar of its own: no white space between digits.
        let mut lark = String::new();
        for (place, edges) in states.iter().enumerate().skip(1) {
            let edges = edges.iter().map(|(byte, next)| match next {
                0 => format!("\"{}\"", char::from(*byte)),
                next => format!("\"{}\" n{next}", char::from(*byte)),
            });
            lark.push_str(&format!("n{place}: {}\n", edges.collect::<Vec<_>>().join(" | ")));
        }
        let starts = starts.iter().map(|(sign, start)| match *sign {
            "" => format!("n{start}"),
            sign => format!("\"{sign}\" n{start}"),
        });
        let starts = starts.collect::<Vec<_>>().join(" | ");
        Ok(self.rule(&format!("%lark {{\nstart: {starts}\n{lark}}}")))
    }

    fn list(&mut self, list: &List) -> Result<String> {
        if let (true, Some(Part::Values(values))) = (list.unique, &list.items) {
            return self.set(list, values);
        }
        let comma = self.comma();
        let mut first = vec![];
        for item in &list.first {
            first.push(self.value(item)?);
        }
        let reached = first.len() as u64;
        let rest = match &list.items {
            Some(items) if list.most.is_none_or(|most| most > reached) => Some(self.value(items)?),
            _ => None,
        };
        // From the end: what may follow so many items.
        let mut after = rest.as_ref().map_or(String::new(), |item| {
            let (least, most) =
                (list.least.saturating_sub(reached), list.most.map(|most| most.saturating_sub(reached)));
            match reached {
                0 if least == 0 => {
                    let more = repeated(&format!("{comma} {item}"), 0, most.map(|most| most.saturating_sub(1)));
                    format!("({item} {more})?")
                }
                0 => format!(
                    "{item} {}",
                    repeated(
                        &format!("{comma} {item}"),
                        least.saturating_sub(1),
                        most.map(|most| most.saturating_sub(1))
                    )
                ),
                _ => repeated(&format!("{comma} {item}"), least, most),
            }
        });
        for (place, item) in first.iter().enumerate().rev() {
            let place = place as u64;
            if list.most.is_some_and(|most| most <= place) {
                after = String::new();
                continue;
            }
            let before = if place > 0 { comma } else { "" };
            let needed = place < list.least;
            let body = format!("{before} {item} {after}");
            after = self.rule(&if needed { body } else { format!("({body})?") });
        }
        Ok(self.rule(&format!("\"[\" {after} \"]\"")))
    }

    /// A list that holds each of few values once at most: a rule for what has been written.
    fn set(&mut self, list: &List, values: &[Value]) -> Result<String> {
        let mut items = vec![];
        for value in values {
            let part = Part::Values(vec![value.clone()]);
            items.push(self.value(&part)?);
        }
        let base = self.name('s');
        let comma = self.comma();
        for written in 0..1_usize.checked_shl(u32::try_from(items.len()).unwrap_or(0)).unwrap_or(0) {
            let count = u64::from(written.count_ones());
            let mut options = vec![];
            if count >= list.least {
                options.push("\"\"".to_owned());
            }
            if list.most.is_none_or(|most| count < most) {
                for (place, item) in items.iter().enumerate() {
                    let bit = 1_usize.checked_shl(u32::try_from(place).unwrap_or(0)).unwrap_or(0);
                    if written & bit == 0 {
                        let before = if count > 0 { comma } else { "" };
                        options.push(format!("{before} {item} {base}_{}", written | bit));
                    }
                }
            }
            if options.is_empty() {
                // Nothing leads here, or nothing leads on: more are wanted than there may be.
                options.push("\"\"".to_owned());
            }
            self.write(&format!("{base}_{written}"), &options.join(" | "));
        }
        Ok(self.rule(&format!("\"[\" {base}_0 \"]\"")))
    }
}

fn repeated(one: &str, least: u64, most: Option<u64>) -> String {
    match (least, most) {
        (_, Some(0)) => String::new(),
        (0, None) => format!("({one})*"),
        (1, None) => format!("({one})+"),
        (least, None) => format!("({one}){{{least},}}"),
        (least, Some(most)) => format!("({one}){{{least},{most}}}"),
    }
}
