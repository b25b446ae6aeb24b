//! Objects: which properties may stand together, in which order, and how many.

use serde_json::Value;

use super::{Layout, Rules, repeated};
use crate::chat::grammar::lark::quote;
use crate::chat::json::spaced;
use crate::chat::schema::{Need, Object, Rest};
use crate::error::{Code, Error, Result};

/// Optional properties of one rule.
const BLOCK: usize = 16;

impl Rules<'_> {
    pub(super) fn object(&mut self, object: &Object) -> Result<String> {
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
