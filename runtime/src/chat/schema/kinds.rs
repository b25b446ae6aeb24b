//! What a schema asks of each kind of value: numbers, strings, arrays and objects.

use std::cell::Cell;

use serde_json::{Map, Value};

use super::decimal::Decimal;
use super::keywords::OF_NUMBERS;
use super::multiple::Multiple;
use super::number::{Bound, Numbers};
use super::part::{List, Meet, Need, Object, Part, Property, Rest};
use super::read::{Reader, list_or_empty, object};
use super::text::{self, Texts};
use super::{Dialect, MAX_PROPERTIES, Wrong, possible, wrong};
use crate::error::escape;

/// Items and properties that a list or an object may have to have.
const MAX_COUNT: u64 = 10_000;

impl<'a> Reader<'a> {
    pub(super) fn number(&mut self, map: &Map<String, Value>, integer: bool, path: &str) -> Result<Part, Wrong> {
        let mut numbers = Numbers { integer, ..Numbers::default() };
        for key in OF_NUMBERS {
            let Some(value) = map.get(key) else { continue };
            if let (true, Value::Bool(open)) = (key.starts_with("exclusive"), value) {
                // As the fourth draft has it: a word about the bound beside.
                let end = if key == "exclusiveMinimum" { &mut numbers.low } else { &mut numbers.high };
                if let Some(end) = end {
                    end.open = *open;
                }
                continue;
            }
            match asked(key, value) {
                Ok(asked) => numbers = numbers.both(asked).unwrap_or_default(),
                Err(why) => self.cannot(path, key, why)?,
            }
        }
        Ok(Part::Number(numbers, None))
    }

    pub(super) fn string(&mut self, map: &Map<String, Value>, path: &str) -> Result<Part, Wrong> {
        let mut texts = Texts::default();
        if let Some(value) = map.get("pattern") {
            match value.as_str().map(text::pattern) {
                Some(Ok(rules)) => texts.rules = rules,
                Some(Err(why)) => self.cannot(path, "pattern", why)?,
                None => self.cannot(path, "pattern", "'pattern' is not a string".to_owned())?,
            }
        }
        if let Some(value) = map.get("format") {
            let deepseeks = self.dialect == Dialect::DeepSeek;
            match value.as_str().map(|name| (name, text::format(name, deepseeks))) {
                Some((_, Some(pattern))) => {
                    if deepseeks && !texts.rules.is_empty() {
                        return wrong(path, "unsupported combination of 'format' and 'pattern'");
                    }
                    // Both, unless no text is known that fits both: a pattern says more than a format.
                    let both =
                        Texts { rules: [texts.rules.clone(), vec![(pattern, true)]].concat(), ..Texts::default() };
                    if texts.rules.is_empty() || both.check().is_ok() {
                        texts = both;
                    } else {
                        self.loosen(path, "format");
                    }
                }
                Some((name, None)) if deepseeks => {
                    return wrong(path, format!("unsupported format '{}'", escape(name)));
                }
                Some((_, None)) => self.loosen(path, "format"),
                None => self.cannot(path, "format", "'format' is not a string".to_owned())?,
            }
        }
        texts.least = self.whole(map, "minLength", path)?.unwrap_or(0);
        texts.most = self.whole(map, "maxLength", path)?;
        Ok(Part::Text(texts))
    }

    /// A count, such as `2` or `2.0`.
    fn whole(&mut self, map: &Map<String, Value>, key: &str, path: &str) -> Result<Option<u64>, Wrong> {
        let Some(value) = map.get(key) else { return Ok(None) };
        let number = value.as_number().and_then(|number| Decimal::parse(&number.to_string()));
        let count = number.filter(|number| number.is_integer() && *number >= Decimal::zero());
        match count.map(|count| count.to_string().parse::<u64>().unwrap_or(u64::MAX)) {
            Some(count) => Ok(Some(count)),
            None => self.cannot(path, key, format!("'{key}' is not a count")).map(|()| None),
        }
    }

    pub(super) fn array(&mut self, map: &'a Map<String, Value>, path: &str, depth: usize) -> Result<Part, Wrong> {
        let inner = depth.saturating_add(1);
        let mut list = List { items: Some(Part::Any), ..List::default() };
        let (first, rest) = match (map.get("items"), map.get("prefixItems")) {
            // As older drafts have it.
            (Some(Value::Array(first)), None) => {
                (Some((first, "items")), map.get("additionalItems").map(|rest| (rest, "additionalItems")))
            }
            (rest, Some(Value::Array(first))) => {
                let rest = rest.map(|rest| (rest, "items"));
                let unevaluated = map.get("unevaluatedItems").map(|rest| (rest, "unevaluatedItems"));
                (Some((first, "prefixItems")), rest.or(unevaluated))
            }
            (_, Some(_)) => return wrong(path, "'prefixItems' is not a list"),
            (rest, None) => (None, rest.map(|rest| (rest, "items"))),
        };
        list.least = self.whole(map, "minItems", path)?.unwrap_or(0);
        list.most = self.whole(map, "maxItems", path)?;
        if let Some((first, key)) = first {
            for (place, item) in first.iter().enumerate() {
                let found = self.part(item, &format!("{path}.{key}[{place}]"), inner);
                let Some(part) = possible(found, list.least <= place as u64)? else {
                    list.most = Some(list.most.unwrap_or(u64::MAX).min(place as u64));
                    break;
                };
                list.first.push(part);
            }
            // As with properties: all that are listed, and no others.
            if rest.is_none() {
                list.items = None;
            }
            if !map.contains_key("minItems") && self.dialect != Dialect::Loose {
                list.least = (list.first.len() as u64).min(list.most.unwrap_or(u64::MAX));
            }
        }
        if let Some((rest, key)) = rest {
            let found = self.part(rest, &format!("{path}.{key}"), inner);
            list.items = possible(found, list.least <= list.first.len() as u64)?;
        }
        list.unique = map.get("uniqueItems") == Some(&Value::Bool(true));
        if map.contains_key("contains") {
            self.cannot(path, "contains", "unsupported keyword 'contains'".to_owned())?;
        }
        if list.least > MAX_COUNT {
            let what = format!("'minItems' is {}, at most {MAX_COUNT} is allowed", list.least);
            return Err(Wrong::impossible(path, what));
        }
        list.most = list.most.map(|most| most.min(MAX_COUNT));
        if let (None, reached) = (&list.items, list.first.len() as u64) {
            list.most = Some(list.most.unwrap_or(reached).min(reached));
        }
        match list.most {
            Some(most) if list.least > most => {
                Err(Wrong::impossible(path, format!("no list has at least {} and at most {most} items", list.least)))
            }
            _ => Ok(Part::List(Box::new(list))),
        }
    }

    pub(super) fn object(&mut self, map: &'a Map<String, Value>, path: &str, depth: usize) -> Result<Part, Wrong> {
        let inner = depth.saturating_add(1);
        let mut out = Object::default();
        let listed = map.get("properties").map(|value| object(value, path, "properties")).transpose()?;
        for (name, value) in listed.into_iter().flatten() {
            self.count_property(path)?;
            let found = self.part(value, &format!("{path}.properties.{name}"), inner);
            let part = possible(found, !is_required(map, name))?;
            let added = self.dialect != Dialect::Loose && part.is_some();
            let need = if added { Need::Added } else { Need::Free };
            out.properties.push(Property { name: name.clone(), part, need });
        }
        if let (Dialect::DeepSeek, Some(property)) =
            (self.dialect, out.properties.iter().find(|property| !is_required(map, &property.name)))
        {
            return wrong(path, format!("property '{}' must be in 'required'", escape(&property.name)));
        }
        let patterns =
            map.get("patternProperties").map(|value| object(value, path, "patternProperties")).transpose()?;
        for (pattern, value) in patterns.into_iter().flatten() {
            let inside = format!("{path}.patternProperties.{pattern}");
            let rules = match text::pattern(pattern) {
                Ok(rules) => rules,
                Err(why) => {
                    self.cannot(&inside, "", why)?;
                    continue;
                }
            };
            let part = self.part(value, &inside, inner)?;
            out.patterns.push((Texts { rules, ..Texts::default() }, part));
        }
        out.rest = match map.get("additionalProperties").or(map.get("unevaluatedProperties")) {
            Some(Value::Bool(false)) => Rest::Closed,
            _ if self.dialect == Dialect::DeepSeek => return wrong(path, "'additionalProperties' must be false"),
            // As those of a mapping: patterns are the only names.
            None if !out.patterns.is_empty() => Rest::Closed,
            None => Rest::Unsaid,
            Some(value) => {
                let found = self.part(value, &format!("{path}.additionalProperties"), inner);
                possible(found, true)?.map_or(Rest::Closed, Rest::Open)
            }
        };
        self.required(&mut out, map, path)?;
        self.names(&mut out, map, path, inner)?;
        self.patterned(&mut out, path)?;
        // Where all properties are written it holds by itself.
        if map.contains_key("dependentRequired") && self.dialect == Dialect::Loose {
            self.loosen(path, "dependentRequired");
        }
        out.least = self.whole(map, "minProperties", path)?.unwrap_or(0);
        out.most = self.whole(map, "maxProperties", path)?;
        if out.least > MAX_COUNT {
            let what = format!("'minProperties' is {}, at most {MAX_COUNT} is allowed", out.least);
            return Err(Wrong::impossible(path, what));
        }
        out.most = out.most.map(|most| most.min(MAX_COUNT));
        Ok(Part::Object(Box::new(out)))
    }

    fn count_property(&mut self, path: &str) -> Result<(), Wrong> {
        self.properties = self.properties.saturating_add(1);
        match self.properties > MAX_PROPERTIES {
            true => wrong(path, format!("the schema has more than {MAX_PROPERTIES} properties")),
            false => Ok(()),
        }
    }

    fn required(&mut self, out: &mut Object, map: &Map<String, Value>, path: &str) -> Result<(), Wrong> {
        if let Some(value) = map.get("required") {
            // The third draft says it of a property itself.
            let names = match value {
                Value::Bool(_) if self.dialect != Dialect::DeepSeek => &[][..],
                value => list_or_empty(value, path, "required")?,
            };
            for name in names {
                let Some(name) = name.as_str() else {
                    return wrong(path, "'required' must be a list of property names");
                };
                if let Some(property) = out.properties.iter_mut().find(|property| property.name == name) {
                    property.need = Need::Said;
                    continue;
                }
                let unknown = format!("'required' names '{}', which is not a property", escape(name));
                match out.of_name(name) {
                    Some(part) if self.dialect != Dialect::DeepSeek => {
                        self.count(path)?;
                        out.properties.push(Property { name: name.to_owned(), part: Some(part), need: Need::Said });
                    }
                    _ if self.dialect == Dialect::Loose => self.loosen(path, "required"),
                    _ => return Err(Wrong::impossible(path, unknown)),
                }
            }
        }
        Ok(())
    }

    /// `propertyNames`: names that are listed become properties, rules hold for the others.
    fn names(&mut self, out: &mut Object, map: &'a Map<String, Value>, path: &str, depth: usize) -> Result<(), Wrong> {
        let Some(value) = map.get("propertyNames") else { return Ok(()) };
        let inside = format!("{path}.propertyNames");
        let part = self.part(value, &inside, depth)?;
        self.prepare(&part, depth)?;
        let part = match part {
            Part::Any => return Ok(()),
            part => self.meet(part, Part::Text(Texts::default()), &inside, depth)?,
        };
        let fits = |part: &Part, name: &str| {
            let mut nodes = 0;
            let meet = Meet { definitions: &[], nodes: &mut nodes, path: "", unread: Cell::default() };
            meet.accepts(part, &Value::from(name), 0)
        };
        for property in &mut out.properties {
            if !fits(&part, &property.name) {
                if property.need == Need::Said {
                    let what = format!(
                        "'required' names '{}', which is not one of its 'propertyNames'",
                        escape(&property.name)
                    );
                    return Err(Wrong::impossible(path, what));
                }
                *property = Property { name: property.name.clone(), part: None, need: Need::Free };
            }
        }
        match part {
            Part::Values(names) => {
                for name in names.iter().filter_map(Value::as_str) {
                    if out.properties.iter().any(|property| property.name == name) {
                        continue;
                    }
                    self.count_property(path)?;
                    out.properties.push(Property { name: name.to_owned(), part: out.of_name(name), need: Need::Free });
                }
                out.patterns.clear();
                out.rest = Rest::Closed;
                Ok(())
            }
            Part::Text(texts) => {
                if let Err((why, _)) = texts.check() {
                    return wrong(&inside, why);
                }
                out.names = Some(texts);
                Ok(())
            }
            _ => self.cannot(
                path,
                "propertyNames",
                "unsupported 'propertyNames': expected an enum, a pattern or a length".to_owned(),
            ),
        }
    }

    /// Properties that are listed and match a pattern have to fit both.
    fn patterned(&mut self, out: &mut Object, path: &str) -> Result<(), Wrong> {
        let mut properties = std::mem::take(&mut out.properties);
        for property in &mut properties {
            for (texts, other) in &out.patterns {
                let Some(part) = property.part.clone() else { break };
                if texts.accepts(&property.name) && part != *other {
                    self.prepare(&part, 0)?;
                    self.prepare(other, 0)?;
                    let inside = format!("{path}.properties.{}", property.name);
                    property.part = Some(self.meet(part, other.clone(), &inside, 0)?);
                }
            }
        }
        out.properties = properties;
        Ok(())
    }
}

/// What one keyword asks of a number.
fn asked(key: &str, value: &Value) -> Result<Numbers, String> {
    let number = value.as_number().ok_or_else(|| format!("'{key}' is not a number"))?;
    let value = Decimal::parse(&number.to_string());
    let value = value.ok_or_else(|| format!("'{key}' has an exponent that is too large"))?;
    let bound = |open| Some(Bound { value: value.clone(), open });
    let none = Numbers::default();
    Ok(match key {
        "minimum" => Numbers { low: bound(false), ..none },
        "maximum" => Numbers { high: bound(false), ..none },
        "exclusiveMinimum" => Numbers { low: bound(true), ..none },
        "exclusiveMaximum" => Numbers { high: bound(true), ..none },
        _ => {
            let too_long = "'multipleOf' has too many digits, at most 15 before and after the point are known";
            let multiple = Multiple::of(&value).ok_or(too_long)?.ok_or("'multipleOf' is not above 0")?;
            Numbers { multiple: Some(multiple), ..none }
        }
    })
}

fn is_required(map: &Map<String, Value>, name: &str) -> bool {
    let names = map.get("required").and_then(Value::as_array);
    names.is_some_and(|names| names.iter().any(|other| other.as_str() == Some(name)))
}
