//! What a schema asks of a value, and what two schemas ask together.

use std::cell::Cell;

use serde_json::Value;

use super::decimal::Decimal;
use super::number::{Numbers, Written};
use super::text::Texts;
use super::{Kind, MAX_NODES, Wrong, possible, wrong};

/// What is asked of a value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Part {
    Any,
    Null,
    Boolean,
    /// One of these.
    Values(Vec<Value>),
    /// Numbers, and how they are written, as far as that is settled.
    Number(Numbers, Option<Written>),
    Text(Texts),
    List(Box<List>),
    Object(Box<Object>),
    Union(Vec<Part>),
    /// What the definition of this number asks.
    Reference(usize),
}

/// What is asked of a list.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct List {
    pub(crate) first: Vec<Part>,
    /// All after them; none: there are no others.
    pub(crate) items: Option<Part>,
    pub(crate) least: u64,
    pub(crate) most: Option<u64>,
    /// No two are equal.
    pub(crate) unique: bool,
}

/// What is asked of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Object {
    pub(crate) properties: Vec<Property>,
    /// Values of names that match.
    pub(crate) patterns: Vec<(Texts, Part)>,
    pub(crate) rest: Rest,
    /// Names that are not listed.
    pub(crate) names: Option<Texts>,
    pub(crate) least: u64,
    pub(crate) most: Option<u64>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Property {
    pub(crate) name: String,
    /// None: it must not be there.
    pub(crate) part: Option<Part>,
    pub(crate) need: Need,
}

/// Whether a property must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// The schema says so.
    Said,
    /// It does not, but lyn has all properties written.
    Added,
    /// No.
    Free,
}

/// Properties that are not listed.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(
    clippy::large_enum_variant,
    reason = "on targets of 64 bits; there is one for each object of a schema, most of them of the large kind"
)]
pub(crate) enum Rest {
    /// The schema has no word about them.
    #[default]
    Unsaid,
    Closed,
    Open(Part),
}

/// Makes one part of two. `definitions`: those that are known, each with its place in the schema.
pub(super) struct Meet<'a> {
    pub(super) definitions: &'a [Option<Part>],
    pub(super) nodes: &'a mut usize,
    pub(super) path: &'a str,
    /// A definition that a value would have had to be compared with, but that is not known.
    pub(super) unread: Cell<Option<usize>>,
}

impl Meet<'_> {
    fn impossible<T>(&self, what: &str) -> Result<T, Wrong> {
        Err(Wrong::impossible(self.path, what))
    }

    /// What both ask.
    pub(super) fn meet(&mut self, one: Part, two: Part) -> Result<Part, Wrong> {
        *self.nodes = self.nodes.saturating_add(1);
        if *self.nodes > MAX_NODES {
            return Err(Wrong::unsupported(self.path, format!("the schema has more than {MAX_NODES} values")));
        }
        Ok(match (one, two) {
            (Part::Any, other) | (other, Part::Any) => other,
            (Part::Reference(one), Part::Reference(two)) if one == two => Part::Reference(one),
            (Part::Reference(name), other) => {
                let target = self.definition(name)?;
                self.meet(target, other)?
            }
            (other, Part::Reference(name)) => {
                let target = self.definition(name)?;
                self.meet(other, target)?
            }
            (Part::Values(values), other) | (other, Part::Values(values)) => {
                let fits: Vec<Value> = values.into_iter().filter(|value| self.accepts(&other, value, 0)).collect();
                if let Some(name) = self.unread.take() {
                    return Err(self.unread(name));
                }
                if fits.is_empty() {
                    return self.impossible("no value of 'enum' or 'const' fits the rest of the schema");
                }
                Part::Values(fits)
            }
            (Part::Union(options), other) => self.each(options, &other, true)?,
            (other, Part::Union(options)) => self.each(options, &other, false)?,
            (Part::Null, Part::Null) => Part::Null,
            (Part::Boolean, Part::Boolean) => Part::Boolean,
            (Part::Number(one, _), Part::Number(two, _)) => match one.both(two) {
                Some(both) => Part::Number(both, None),
                None => return Err(Wrong::unsupported(self.path, "'multipleOf' has too many digits")),
            },
            (Part::Text(mut one), Part::Text(two)) => {
                one.rules.extend(two.rules.into_iter().filter(|rule| !one.rules.contains(rule)).collect::<Vec<_>>());
                one.least = one.least.max(two.least);
                one.most = least_of(one.most, two.most);
                Part::Text(one)
            }
            (Part::List(one), Part::List(two)) => Part::List(Box::new(self.lists(*one, *two)?)),
            (Part::Object(one), Part::Object(two)) => Part::Object(Box::new(self.objects(*one, *two)?)),
            _ => return self.impossible("no value has both types"),
        })
    }

    fn definition(&mut self, name: usize) -> Result<Part, Wrong> {
        let target = self.definitions.get(name).and_then(Clone::clone);
        let target = target.ok_or_else(|| self.unread(name))?;
        *self.nodes = self.nodes.saturating_add(target.size());
        Ok(target)
    }

    /// A schema that is being read encloses what refers to it; another can be read.
    fn unread(&self, name: usize) -> Wrong {
        let what = "unsupported keywords next to a $ref to an enclosing schema";
        Wrong { kind: Kind::Unread(name), ..Wrong::unsupported(self.path, what) }
    }

    fn each(&mut self, options: Vec<Part>, other: &Part, first: bool) -> Result<Part, Wrong> {
        let mut met = vec![];
        let mut why = None;
        for option in options {
            *self.nodes = self.nodes.saturating_add(other.size());
            let pair = if first { (option, other.clone()) } else { (other.clone(), option) };
            match self.meet(pair.0, pair.1) {
                Ok(part) => met.push(part),
                Err(found) if found.kind == Kind::Impossible => why = why.or(Some(found)),
                Err(found) => return Err(found),
            }
        }
        Part::union(met).ok_or_else(|| why.unwrap_or_else(|| Wrong::impossible(self.path, "no alternative is left")))
    }

    fn lists(&mut self, mut one: List, mut two: List) -> Result<List, Wrong> {
        let length = one.first.len().max(two.first.len());
        let mut most = least_of(one.most, two.most);
        let mut first = vec![];
        for place in 0..length {
            let at = |list: &List| list.first.get(place).cloned().or_else(|| list.items.clone());
            let (Some(a), Some(b)) = (at(&one), at(&two)) else {
                most = least_of(most, Some(place as u64));
                break;
            };
            let Some(part) = possible(self.meet(a, b), true)? else {
                most = least_of(most, Some(place as u64));
                break;
            };
            first.push(part);
        }
        let items = match (one.items.take(), two.items.take()) {
            (Some(a), Some(b)) => possible(self.meet(a, b), true)?,
            _ => None,
        };
        Ok(List { first, items, least: one.least.max(two.least), most, unique: one.unique || two.unique })
    }

    fn objects(&mut self, one: Object, two: Object) -> Result<Object, Wrong> {
        if (!one.patterns.is_empty() || !two.patterns.is_empty()) && one.patterns != two.patterns {
            return wrong(self.path, "unsupported keyword 'patternProperties' in a combination of objects");
        }
        let mut properties = vec![];
        for Property { name, part, need } in &one.properties {
            let other = two.properties.iter().find(|property| property.name == *name);
            let (other_part, other_need) = match other {
                Some(other) => (other.part.clone(), other.need),
                None => (two.unlisted(), Need::Free),
            };
            properties.push(self.property(name, part.clone(), other_part, (*need, other_need))?);
        }
        for Property { name, part, need } in &two.properties {
            if !one.properties.iter().any(|property| property.name == *name) {
                properties.push(self.property(name, one.unlisted(), part.clone(), (Need::Free, *need))?);
            }
        }
        let rest = match (one.rest, two.rest) {
            (Rest::Unsaid, other) | (other, Rest::Unsaid) => other,
            (Rest::Closed, _) | (_, Rest::Closed) => Rest::Closed,
            (Rest::Open(a), Rest::Open(b)) => possible(self.meet(a, b), true)?.map_or(Rest::Closed, Rest::Open),
        };
        let names = match (one.names, two.names) {
            (Some(mut a), Some(b)) => {
                a.rules.extend(b.rules);
                Some(Texts { rules: a.rules, least: a.least.max(b.least), most: least_of(a.most, b.most) })
            }
            (a, b) => a.or(b),
        };
        let (least, most) = (one.least.max(two.least), least_of(one.most, two.most));
        Ok(Object { properties, patterns: one.patterns, rest, names, least, most })
    }

    fn property(
        &mut self,
        name: &str,
        a: Option<Part>,
        b: Option<Part>,
        needs: (Need, Need),
    ) -> Result<Property, Wrong> {
        let need = match needs {
            (Need::Said, _) | (_, Need::Said) => Need::Said,
            (Need::Added, _) | (_, Need::Added) => Need::Added,
            _ => Need::Free,
        };
        let part = match (a, b) {
            (Some(a), Some(b)) => {
                let met = possible(self.meet(a, b), need != Need::Said);
                met.map_err(|wrong| Wrong { path: format!("{}.properties.{name}", self.path), ..wrong })?
            }
            _ if need == Need::Said => {
                let name = crate::error::escape(name);
                return self.impossible(&format!("'required' names '{name}', which must not be there"));
            }
            _ => None,
        };
        Ok(Property { name: name.to_owned(), need: if part.is_some() { need } else { Need::Free }, part })
    }

    /// Whether a value is one that a part asks for.
    pub(super) fn accepts(&self, part: &Part, value: &Value, depth: usize) -> bool {
        // Values end, but a circle of references does not.
        if depth > super::MAX_DEPTH.saturating_mul(4) {
            return false;
        }
        let depth = depth.saturating_add(1);
        match (part, value) {
            (Part::Any, _) | (Part::Null, Value::Null) | (Part::Boolean, Value::Bool(_)) => true,
            (Part::Values(values), value) => values.iter().any(|known| equal(known, value)),
            (Part::Number(numbers, _), Value::Number(number)) => {
                Decimal::parse(&number.to_string()).is_some_and(|value| numbers.accepts(&value))
            }
            (Part::Text(texts), Value::String(text)) => texts.accepts(text),
            (Part::List(list), Value::Array(values)) => {
                let count = values.len() as u64;
                let at = |place: usize| list.first.get(place).or(list.items.as_ref());
                let mut items = values.iter().enumerate();
                let distinct =
                    |place: usize, value: &Value| !values.iter().take(place).any(|other| equal(other, value));
                count >= list.least
                    && list.most.is_none_or(|most| count <= most)
                    && items.all(|(place, value)| {
                        at(place).is_some_and(|part| self.accepts(part, value, depth))
                            && (!list.unique || distinct(place, value))
                    })
            }
            (Part::Object(object), Value::Object(map)) => {
                let count = map.len() as u64;
                let listed = |name: &str| object.properties.iter().find(|property| property.name == name);
                count >= object.least
                    && object.most.is_none_or(|most| count <= most)
                    && object
                        .properties
                        .iter()
                        .all(|property| property.need == Need::Free || map.contains_key(&property.name))
                    && map.iter().all(|(name, value)| match listed(name) {
                        Some(property) => property.part.as_ref().is_some_and(|part| self.accepts(part, value, depth)),
                        None => {
                            let named = object.names.as_ref().is_none_or(|names| names.accepts(name));
                            let mut matching =
                                object.patterns.iter().filter(|(texts, _)| texts.accepts(name)).peekable();
                            let rest = match matching.peek().is_some() {
                                true => matching.all(|(_, part)| self.accepts(part, value, depth)),
                                false => object.unlisted().is_some_and(|part| self.accepts(&part, value, depth)),
                            };
                            named && rest
                        }
                    })
            }
            (Part::Union(options), value) => options.iter().any(|option| self.accepts(option, value, depth)),
            (Part::Reference(name), value) => {
                let Some(target) = self.definitions.get(*name).and_then(Option::as_ref) else {
                    self.unread.set(Some(*name));
                    return false;
                };
                self.accepts(target, value, depth)
            }
            _ => false,
        }
    }
}

impl Object {
    /// As [`Object::unlisted`], by the first pattern that the name matches, where it matches one.
    pub(super) fn of_name(&self, name: &str) -> Option<Part> {
        let matching = self.patterns.iter().find(|(texts, _)| texts.accepts(name));
        matching.map_or_else(|| self.unlisted(), |(_, part)| Some(part.clone()))
    }

    /// What is asked of a property that is not listed; none: it must not be there.
    pub(super) fn unlisted(&self) -> Option<Part> {
        match &self.rest {
            Rest::Unsaid => Some(Part::Any),
            Rest::Closed => None,
            Rest::Open(part) => Some(part.clone()),
        }
    }
}

impl Part {
    /// One of these; none where there are none.
    pub(super) fn union(mut options: Vec<Part>) -> Option<Part> {
        match options.len() {
            0 => None,
            1 => options.pop(),
            _ => Some(Part::Union(options)),
        }
    }

    /// Parts in it, with itself.
    pub(super) fn size(&self) -> usize {
        let inside: usize = match self {
            Part::Values(values) => values.len(),
            Part::List(list) => list.first.iter().chain(&list.items).map(Part::size).sum(),
            Part::Object(object) => {
                let listed = object.properties.iter().filter_map(|property| property.part.as_ref());
                let others = object.patterns.iter().map(|(_, part)| part);
                let rest = match &object.rest {
                    Rest::Open(part) => Some(part),
                    _ => None,
                };
                listed.chain(others).chain(rest).map(Part::size).sum()
            }
            Part::Union(options) => options.iter().map(Part::size).sum(),
            _ => 0,
        };
        inside.saturating_add(1)
    }
}

fn least_of(one: Option<u64>, two: Option<u64>) -> Option<u64> {
    match (one, two) {
        (Some(one), Some(two)) => Some(one.min(two)),
        (one, two) => one.or(two),
    }
}

/// Whether two values are the same: `1` and `1.0` are.
pub(super) fn equal(one: &Value, two: &Value) -> bool {
    match (one, two) {
        (Value::Number(one), Value::Number(two)) => {
            let (a, b) = (one.to_string(), two.to_string());
            a == b || Decimal::parse(&a).is_some_and(|a| Decimal::parse(&b) == Some(a))
        }
        (Value::Array(one), Value::Array(two)) => {
            one.len() == two.len() && one.iter().zip(two).all(|(a, b)| equal(a, b))
        }
        (Value::Object(one), Value::Object(two)) => {
            one.len() == two.len() && one.iter().all(|(name, a)| two.get(name).is_some_and(|b| equal(a, b)))
        }
        (one, two) => one == two,
    }
}
