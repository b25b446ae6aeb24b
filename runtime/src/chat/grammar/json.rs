//! JSON that a schema asks for, as rules of a grammar. Numbers and strings are terminals, written from the schema's own text.

use std::collections::HashMap;

use serde_json::Value;

use super::super::json::spaced;
use super::super::schema::{List, Need, Object, Part, Rest, Schema, Texts, Written, terminal};
use super::lark::quote;
use crate::error::{Code, Error, Result};

/// Rules inside rules at most: llguidance compiles them by recursion.
const MAX_DEPTH: usize = 150;
/// Optional properties of one rule.
const BLOCK: usize = 16;
/// States of all numbers together that are counted digit by digit.
const MAX_STATES: usize = 3000;

/// How JSON is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// With white space as the model likes it, but never more than two characters: a guard against endless space.
    Flexible,
    /// On one line, in a tag that the first `end` closes, also inside of quotes: no string holds `never`.
    Tagged {
        /// The closing tag.
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

    fn object(&mut self, object: &Object) -> Result<String> {
        let (comma, colon) = (self.comma(), self.colon());
        let extra = self.extra(object)?;
        let mut pairs = vec![];
        for property in &object.properties {
            let Some(part) = &property.part else { continue };
            let key = spaced(&Value::from(property.name.as_str()));
            if let Layout::Tagged { never, .. } = self.layout
                && key.contains(never)
            {
                let message = "a property's name holds the end of a parameter, which this chat format cannot write";
                return Err(Error::new(Code::InvalidSchema, message));
            }
            let value = self.value(part)?;
            let key = self.terminal(quote(&key));
            let pair = format!("{key} {colon} {value}");
            pairs.push((pair, property.need != Need::Free));
        }
        let body = if object.least > 0 || object.most.is_some() {
            self.counted(object, pairs, extra.as_deref())
        } else if let (Some(first), None) = (pairs.iter().position(|(_, needed)| *needed), &extra)
            && first == 0
            && pairs.iter().all(|(_, needed)| *needed)
        {
            pairs.into_iter().map(|(pair, _)| pair).collect::<Vec<_>>().join(&format!(" {comma} "))
        } else {
            self.optional(pairs, extra.as_deref())
        };
        Ok(self.rule(&format!("\"{{\" {body} \"}}\"")))
    }

    /// Properties of which some may be absent.
    fn optional(&mut self, pairs: Vec<(String, bool)>, extra: Option<&str>) -> String {
        let comma = self.comma();
        let more = extra.map(|extra| format!("({comma} {extra})*")).unwrap_or_default();
        let alone = extra.map(|extra| format!("({extra} {more})?")).unwrap_or_default();
        if pairs.is_empty() {
            return alone;
        }
        let pairs: Vec<(String, bool)> = pairs.into_iter().map(|(pair, needed)| (self.rule(&pair), needed)).collect();
        // What may follow the first that is there: blocks, each with all that come after it.
        let mut blocks: Vec<String> = vec![more];
        for block in pairs.chunks(BLOCK).rev() {
            let after = blocks.last().cloned().unwrap_or_default();
            let body = format!("{} {after}", follow(block, comma));
            let name = self.rule(&body);
            blocks.push(name);
        }
        blocks.reverse();
        let mut options = vec![];
        for (place, (pair, needed)) in pairs.iter().enumerate() {
            let block = place.checked_div(BLOCK).unwrap_or(0);
            let next = place.saturating_add(1);
            let end = block.saturating_add(1).saturating_mul(BLOCK).min(pairs.len());
            let rest = follow(pairs.get(next..end).unwrap_or_default(), comma);
            let after = blocks.get(block.saturating_add(1)).cloned().unwrap_or_default();
            options.push(format!("{pair} {rest} {after}"));
            if *needed {
                return self.rule(&options.join(" | "));
            }
        }
        // None is there.
        options.push(if alone.is_empty() { "\"\"".to_owned() } else { alone });
        self.rule(&options.join(" | "))
    }

    /// Properties that are counted: a rule for each place and count.
    fn counted(&mut self, object: &Object, pairs: Vec<(String, bool)>, extra: Option<&str>) -> String {
        let comma = self.comma();
        let pairs: Vec<(String, bool)> = pairs.into_iter().map(|(pair, needed)| (self.rule(&pair), needed)).collect();
        let cap = object.least.max(object.most.unwrap_or(0)).max(1);
        let mut after: Vec<Option<String>> = vec![];
        for count in 0..=cap {
            let least = object.least.saturating_sub(count);
            let most = object.most.map(|most| most.saturating_sub(count));
            after.push(match extra {
                Some(extra) if most != Some(0) => {
                    let more = |least: u64, most: Option<u64>| repeated(&format!("{comma} {extra}"), least, most);
                    let body = match (count, least) {
                        (0, 0) => format!("({extra} {})?", more(0, most.map(|most| most.saturating_sub(1)))),
                        (0, least) => format!(
                            "{extra} {}",
                            more(least.saturating_sub(1), most.map(|most| most.saturating_sub(1)))
                        ),
                        _ => more(least, most),
                    };
                    Some(self.rule(&body))
                }
                _ => (least == 0).then(|| "\"\"".to_owned()),
            });
        }
        for (pair, needed) in pairs.iter().rev() {
            let mut before = vec![];
            for count in 0..=cap {
                let place = usize::try_from(count).unwrap_or(usize::MAX);
                let next = usize::try_from(count.saturating_add(1).min(cap)).unwrap_or(usize::MAX);
                let may = object.most.is_none_or(|most| count < most);
                let with = after.get(next).and_then(Clone::clone).filter(|_| may).map(|next| {
                    let comma = if count > 0 { comma } else { "" };
                    format!("{comma} {pair} {next}")
                });
                let without = after.get(place).and_then(Clone::clone).filter(|_| !needed);
                let options: Vec<String> = with.into_iter().chain(without).collect();
                before.push((!options.is_empty()).then(|| self.rule(&options.join(" | "))));
            }
            after = before;
        }
        // Checked before: some object has as many.
        after.into_iter().next().flatten().unwrap_or_else(|| "\"\"".to_owned())
    }

    /// The rule for a property that is not listed.
    fn extra(&mut self, object: &Object) -> Result<Option<String>> {
        let listed = object.properties.iter().map(|property| quote(&spaced(&Value::from(property.name.as_str()))));
        let listed: Vec<String> = listed.collect();
        let mut out = String::new();
        if !listed.is_empty() {
            out = format!(" & ~({})", listed.join(" | "));
        }
        let names = object.names.clone().unwrap_or_default();
        let colon = self.colon();
        let mut options = vec![];
        // A name that two patterns match would have to fit both: it is not written.
        for (place, (texts, part)) in object.patterns.iter().enumerate() {
            let mut all = names.clone();
            all.rules.extend(texts.rules.iter().cloned());
            let mut key = self.text(&all)? + &out;
            for (other, (texts, _)) in object.patterns.iter().enumerate() {
                if other != place {
                    key = format!("{key} & ~({})", self.text(texts)?);
                }
            }
            let key = self.terminal(key);
            let value = self.value(part)?;
            options.push(format!("{key} {colon} {value}"));
        }
        if let Rest::Open(part) = &object.rest {
            let mut key = self.text(&names)? + &out;
            for (texts, _) in &object.patterns {
                key = format!("{key} & ~({})", self.text(texts)?);
            }
            let key = self.terminal(key);
            let value = self.value(part)?;
            options.push(format!("{key} {colon} {value}"));
        }
        Ok((!options.is_empty()).then(|| self.rule(&options.join(" | "))))
    }
}

/// Pairs after another one, those that are not needed only perhaps.
fn follow(pairs: &[(String, bool)], comma: &str) -> String {
    let each = pairs.iter().map(|(pair, needed)| match needed {
        true => format!("{comma} {pair}"),
        false => format!("({comma} {pair})?"),
    });
    each.collect::<Vec<_>>().join(" ")
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
