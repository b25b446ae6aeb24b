//! From a schema as a client sent it to what it asks.

use std::borrow::Cow;
use std::cell::Cell;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::keywords::{
    ANNOTATIONS, COMBINED, DEEPSEEKS, DEFINITIONS, OF_ARRAYS, OF_NUMBERS, OF_OBJECTS, OF_STRINGS, TYPES,
};
use super::part::{Meet, Need, Part, Property};
use super::{Dialect, Kind, MAX_BYTES, MAX_DEPTH, MAX_NODES, Wrong, wrong};
use crate::error::escape;

pub(super) struct Reader<'a> {
    pub(super) root: &'a Value,
    pub(super) dialect: Dialect,
    /// Pointers that were met, each a definition of the result by its place.
    pub(super) references: Vec<String>,
    /// What they ask, as far as they are read.
    pub(super) definitions: Vec<Option<Part>>,
    reading: Vec<usize>,
    pub(super) nodes: usize,
    pub(super) properties: usize,
    /// What was let go, by its path.
    pub(super) loosened: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(root: &'a Value, dialect: Dialect) -> Reader<'a> {
        Reader {
            root,
            dialect,
            references: vec![],
            definitions: vec![],
            reading: vec![],
            nodes: 0,
            properties: 0,
            loosened: vec![],
        }
    }

    /// What the whole schema asks. Its definitions are read after it.
    pub(super) fn read(&mut self) -> Result<Part, Wrong> {
        let bytes = self.root.to_string().len();
        if bytes > MAX_BYTES {
            return wrong("$", format!("the schema has {bytes} bytes, at most {MAX_BYTES} are allowed"));
        }
        let root = self.part(self.root, "$", 0)?;
        let mut next = 0;
        while next < self.references.len() {
            self.define(next, 0)?;
            next = next.saturating_add(1);
        }
        Ok(root)
    }

    /// Reads a definition, once.
    fn define(&mut self, name: usize, depth: usize) -> Result<(), Wrong> {
        let known = self.definitions.get(name).is_some_and(Option::is_some) || self.reading.contains(&name);
        let Some(pointer) = self.references.get(name).filter(|_| !known).cloned() else { return Ok(()) };
        let path = path_of(&pointer);
        let Some(target) = self.root.pointer(&pointer) else {
            return wrong(&path, "there is nothing to reference here");
        };
        self.reading.push(name);
        let part = self.part(target, &path, depth);
        self.reading.pop();
        if let Some(place) = self.definitions.get_mut(name) {
            *place = Some(part?);
        }
        Ok(())
    }

    /// Lets a demand go that cannot be held, where that may be.
    pub(super) fn cannot(&mut self, path: &str, keyword: &str, what: String) -> Result<(), Wrong> {
        if self.dialect != Dialect::Loose {
            return wrong(path, what);
        }
        self.loosen(path, keyword);
        Ok(())
    }

    /// Lets a demand go in every dialect but DeepSeek's, by name.
    pub(super) fn loosen(&mut self, path: &str, keyword: &str) {
        let name = if keyword.is_empty() { path.to_owned() } else { format!("{path}.{keyword}") };
        if !self.loosened.contains(&name) {
            self.loosened.push(name);
        }
    }

    pub(super) fn count(&mut self, path: &str) -> Result<(), Wrong> {
        self.nodes = self.nodes.saturating_add(1);
        match self.nodes > MAX_NODES {
            true => Err(Wrong::unsupported(path, format!("the schema has more than {MAX_NODES} values"))),
            false => Ok(()),
        }
    }

    /// Counts a value and all in it.
    pub(super) fn count_value(&mut self, value: &Value, path: &str) -> Result<(), Wrong> {
        self.count(path)?;
        match value {
            Value::Array(list) => list.iter().try_for_each(|value| self.count_value(value, path)),
            Value::Object(map) => map.values().try_for_each(|value| self.count_value(value, path)),
            _ => Ok(()),
        }
    }

    /// What a schema asks; anything, by name, where that cannot be said and may be let go.
    pub(super) fn part(&mut self, schema: &'a Value, path: &str, depth: usize) -> Result<Part, Wrong> {
        match self.strictly(schema, path, depth) {
            Err(found) if self.dialect == Dialect::Loose => {
                self.loosen(&found.path, "");
                Ok(Part::Any)
            }
            found => found,
        }
    }

    fn strictly(&mut self, schema: &'a Value, path: &str, depth: usize) -> Result<Part, Wrong> {
        if depth > MAX_DEPTH {
            return Err(Wrong::unsupported(path, format!("schemas are nested more than {MAX_DEPTH} deep")));
        }
        self.count(path)?;
        let map = match schema {
            Value::Object(map) => map,
            Value::Bool(true) if self.dialect != Dialect::DeepSeek => return Ok(Part::Any),
            Value::Bool(false) if self.dialect != Dialect::DeepSeek => {
                return Err(Wrong::impossible(path, "the schema is false: no value fits"));
            }
            _ => return wrong(path, "expected an object"),
        };
        let mut demands: Vec<&'a str> = vec![];
        for key in map.keys() {
            let says_nothing =
                ANNOTATIONS.contains(&key.as_str()) || DEFINITIONS.contains(&key.as_str()) || key.starts_with("x-");
            if !says_nothing {
                demands.push(key);
            }
        }
        if self.dialect == Dialect::DeepSeek {
            self.check_deepseeks(map, &demands, path)?;
        }
        let mut parts = vec![];
        let known = |key: &str| {
            let typed = [&OF_OBJECTS[..], &OF_STRINGS, &OF_NUMBERS, &OF_ARRAYS].iter().any(|keys| keys.contains(&key));
            typed || key == "type" || key == "not" || COMBINED.contains(&key)
        };
        for key in &demands {
            if !known(key) {
                self.cannot(path, key, format!("unsupported keyword '{}'", escape(key)))?;
            }
        }
        parts.extend(self.by_type(map, &demands, path, depth)?);
        for key in COMBINED {
            let Some(value) = map.get(key) else { continue };
            match key {
                "$ref" => parts.push(self.refer(value, path)?),
                "anyOf" | "oneOf" => parts.push(self.alternatives(key, value, path, depth)?),
                "allOf" => {
                    for (place, one) in list(value, path, "allOf")?.iter().enumerate() {
                        parts.push(self.part(one, &format!("{path}.allOf[{place}]"), depth.saturating_add(1))?);
                    }
                }
                "enum" => parts.push(self.values(list(value, path, "enum")?, path)?),
                _ => parts.push(self.values(std::slice::from_ref(value), path)?),
            }
        }
        self.negated(map, &mut parts, path)?;
        let mut parts = parts.into_iter();
        let Some(mut whole) = parts.next() else { return Ok(Part::Any) };
        for part in parts {
            self.prepare(&whole, depth)?;
            self.prepare(&part, depth)?;
            whole = self.meet(whole, part, path, depth)?;
        }
        Ok(whole)
    }

    /// What two parts ask together. Definitions inside of them are read as they are needed.
    pub(super) fn meet(&mut self, one: Part, two: Part, path: &str, depth: usize) -> Result<Part, Wrong> {
        loop {
            let unread = Cell::default();
            let mut meet = Meet { definitions: &self.definitions, nodes: &mut self.nodes, path, unread };
            let found = match meet.meet(one.clone(), two.clone()) {
                Err(found) => found,
                met => return met,
            };
            let Kind::Unread(name) = found.kind else { return Err(found) };
            self.define(name, depth.saturating_add(1))?;
            if self.definitions.get(name).is_none_or(Option::is_none) {
                return Err(found);
            }
        }
    }

    /// Reads the definitions that a part refers to at its top, before it meets another.
    pub(super) fn prepare(&mut self, part: &Part, depth: usize) -> Result<(), Wrong> {
        match part {
            Part::Reference(name) => {
                self.define(*name, depth.saturating_add(1))?;
                let target = self.definitions.get(*name).and_then(Clone::clone);
                let seen = self.reading.contains(name) || depth > MAX_DEPTH;
                match target {
                    Some(target) if !seen && matches!(target, Part::Reference(_) | Part::Union(_)) => {
                        self.prepare(&target, depth.saturating_add(1))
                    }
                    _ => Ok(()),
                }
            }
            Part::Union(options) => options.iter().try_for_each(|option| self.prepare(option, depth.saturating_add(1))),
            _ => Ok(()),
        }
    }

    /// DeepSeek's documented subset, and nothing beside an alternative.
    fn check_deepseeks(&self, map: &Map<String, Value>, demands: &[&str], path: &str) -> Result<(), Wrong> {
        for alone in ["$ref", "anyOf", "enum", "const"] {
            let typed = matches!(alone, "enum" | "const");
            let mut others = demands.iter().filter(|key| **key != alone && !(typed && **key == "type"));
            if let (true, Some(other)) = (map.contains_key(alone), others.next()) {
                return wrong(path, format!("unsupported combination of '{}' and '{alone}'", escape(other)));
            }
        }
        match demands.iter().find(|key| !DEEPSEEKS.contains(key) && **key != "const") {
            Some(key) => wrong(path, format!("unsupported keyword '{}'", escape(key))),
            None if map.get("type").is_some_and(Value::is_array) => wrong(path, "'type' is a list; use anyOf"),
            None => Ok(()),
        }
    }

    /// What the keywords of types ask; none where there are none.
    fn by_type(
        &mut self,
        map: &'a Map<String, Value>,
        demands: &[&str],
        path: &str,
        depth: usize,
    ) -> Result<Option<Part>, Wrong> {
        let meant =
            [("object", &OF_OBJECTS[..]), ("array", &OF_ARRAYS), ("string", &OF_STRINGS), ("number", &OF_NUMBERS)];
        let types = types(map.get("type"), path)?;
        if types.is_empty() {
            // Without a type the keywords say which is meant.
            let meant = meant.iter().find(|(_, keys)| demands.iter().any(|key| keys.contains(key)));
            return meant.map(|(name, _)| self.typed(name, map, path, depth)).transpose();
        }
        let mut options = vec![];
        let mut why = None;
        for name in &types {
            match self.typed(name, map, path, depth) {
                Ok(part) => options.push(part),
                Err(found) if found.kind == Kind::Impossible && types.len() > 1 => why = Some(found),
                Err(found) => return Err(found),
            }
        }
        match (Part::union(options), why) {
            (None, Some(why)) => Err(why),
            (found, _) => Ok(found),
        }
    }

    fn typed(&mut self, name: &str, map: &'a Map<String, Value>, path: &str, depth: usize) -> Result<Part, Wrong> {
        match name {
            "object" => self.object(map, path, depth),
            "array" => self.array(map, path, depth),
            "string" => self.string(map, path),
            "number" | "integer" => self.number(map, name == "integer", path),
            "boolean" => Ok(Part::Boolean),
            _ => Ok(Part::Null),
        }
    }

    fn refer(&mut self, value: &Value, path: &str) -> Result<Part, Wrong> {
        let own = self.root.get("$id").and_then(Value::as_str).unwrap_or_default().trim_end_matches('#');
        let text = value.as_str().unwrap_or_default();
        let inside = text.strip_prefix('#').or_else(|| text.strip_prefix(own)?.strip_prefix('#'));
        let Some(fragment) = inside else {
            return wrong(path, "unsupported $ref: only references into the same schema (#/…) are supported");
        };
        // A fragment of a URI writes some characters by their bytes (RFC 6901, section 6).
        let decoded = percent_decode_str(fragment).decode_utf8().ok().map(Cow::into_owned);
        let exists = |pointer: &String| self.root.pointer(pointer).is_some();
        let candidates = [decoded, Some(fragment.to_owned())];
        let Some(pointer) = candidates.into_iter().flatten().find(exists) else {
            return wrong(path, format!("unresolved $ref '#{}'", escape(fragment)));
        };
        let known = self.references.iter().position(|known| *known == pointer);
        let name = known.unwrap_or_else(|| {
            self.references.push(pointer);
            self.definitions.push(None);
            self.references.len().saturating_sub(1)
        });
        Ok(Part::Reference(name))
    }

    fn alternatives(&mut self, key: &str, value: &'a Value, path: &str, depth: usize) -> Result<Part, Wrong> {
        let mut options = vec![];
        let mut why = None;
        for (place, option) in list(value, path, key)?.iter().enumerate() {
            match self.part(option, &format!("{path}.{key}[{place}]"), depth.saturating_add(1)) {
                Ok(part) => options.push(part),
                Err(found) if found.kind == Kind::Impossible => why = why.or(Some(found)),
                Err(found) => return Err(found),
            }
        }
        if key == "oneOf" {
            for option in &options {
                self.prepare(option, depth)?;
            }
            if !self.are_apart(&options) {
                self.loosen(path, key);
            }
        }
        match (Part::union(options), why) {
            (Some(part), _) => Ok(part),
            (None, Some(why)) => Err(why),
            (None, None) => wrong(path, format!("'{key}' is empty")),
        }
    }

    /// Whether no value can be of two of these, as far as that is easily seen.
    fn are_apart(&self, options: &[Part]) -> bool {
        options.len() <= 256
            && options
                .iter()
                .enumerate()
                .all(|(place, one)| options.iter().skip(place.saturating_add(1)).all(|two| self.is_apart(one, two, 0)))
    }

    fn is_apart(&self, one: &Part, two: &Part, depth: usize) -> bool {
        let follow = |name: &usize| self.definitions.get(*name).and_then(Option::as_ref);
        if depth > MAX_DEPTH {
            return false;
        }
        let depth = depth.saturating_add(1);
        let kind = |part: &Part| match part {
            Part::Null => 1,
            Part::Boolean => 2,
            Part::Number(..) => 3,
            Part::Text(_) => 4,
            Part::List(_) => 5,
            Part::Object(_) => 6,
            _ => 0,
        };
        match (one, two) {
            (Part::Reference(name), other) | (other, Part::Reference(name)) => {
                follow(name).is_some_and(|target| self.is_apart(target, other, depth))
            }
            (Part::Union(options), other) | (other, Part::Union(options)) => {
                options.iter().all(|option| self.is_apart(option, other, depth))
            }
            (Part::Values(values), other) | (other, Part::Values(values)) => {
                let mut nodes = 0;
                let unread = Cell::default();
                let meet = Meet { definitions: &self.definitions, nodes: &mut nodes, path: "", unread };
                let apart = values.len() <= 1000 && !values.iter().any(|value| meet.accepts(other, value, 0));
                apart && meet.unread.get().is_none()
            }
            (Part::Object(one), Part::Object(two)) => one.properties.iter().any(|property| {
                let required = |property: &Property| property.need != Need::Free;
                let other = two.properties.iter().find(|other| other.name == property.name && required(other));
                match (&property.part, other.and_then(|other| other.part.as_ref())) {
                    (Some(a), Some(b)) => required(property) && self.is_apart(a, b, depth),
                    _ => false,
                }
            }),
            (one, two) => kind(one) != 0 && kind(two) != 0 && kind(one) != kind(two),
        }
    }

    fn values(&mut self, values: &[Value], path: &str) -> Result<Part, Wrong> {
        values.iter().try_for_each(|value| self.count_value(value, path))?;
        Ok(Part::Values(values.to_vec()))
    }

    /// `not`, as far as values can be taken away.
    fn negated(&mut self, map: &Map<String, Value>, parts: &mut [Part], path: &str) -> Result<(), Wrong> {
        let Some(not) = map.get("not") else { return Ok(()) };
        if *not == Value::Bool(true) || not.as_object().is_some_and(Map::is_empty) {
            return Err(Wrong::impossible(path, "'not' excludes every value"));
        }
        if *not == Value::Bool(false) {
            return Ok(());
        }
        let out = match (not.get("enum").and_then(Value::as_array), not.get("const")) {
            (Some(values), None) => values.as_slice(),
            (None, Some(value)) => std::slice::from_ref(value),
            _ => &[],
        };
        let plain =
            not.as_object().is_some_and(|map| map.keys().all(|key| matches!(key.as_str(), "enum" | "const" | "type")));
        let mut taken = false;
        for part in parts.iter_mut() {
            match part {
                Part::Values(values) if plain => {
                    values.retain(|value| !out.iter().any(|other| super::part::equal(other, value)));
                    if values.is_empty() {
                        return Err(Wrong::impossible(path, "'not' excludes every value"));
                    }
                    taken = !out.is_empty();
                }
                Part::Text(texts) if plain && !out.is_empty() => {
                    let texts_out = out.iter().filter_map(Value::as_str);
                    texts.rules.extend(texts_out.map(|text| (regex_syntax::escape(text), false)));
                    taken = true;
                }
                _ => {}
            }
        }
        if taken { Ok(()) } else { self.cannot(path, "not", "unsupported keyword 'not'".to_owned()) }
    }
}

/// The path of a pointer, as it is written in errors.
pub(super) fn path_of(pointer: &str) -> String {
    let mut path = "$".to_owned();
    for step in pointer.split('/').skip(1) {
        path.extend([".", &step.replace("~1", "/").replace("~0", "~")]);
    }
    path
}

pub(super) fn object<'v>(value: &'v Value, path: &str, key: &str) -> Result<&'v Map<String, Value>, Wrong> {
    value.as_object().map_or_else(|| wrong(path, format!("'{key}' is not an object")), Ok)
}

pub(super) fn list_or_empty<'v>(value: &'v Value, path: &str, key: &str) -> Result<&'v [Value], Wrong> {
    value.as_array().map_or_else(|| wrong(path, format!("'{key}' is not a list")), |list| Ok(list.as_slice()))
}

pub(super) fn list<'v>(value: &'v Value, path: &str, key: &str) -> Result<&'v [Value], Wrong> {
    match list_or_empty(value, path, key)? {
        [] => wrong(path, format!("'{key}' is empty")),
        list => Ok(list),
    }
}

/// The names of `type`; none where it is absent.
fn types<'v>(value: Option<&'v Value>, path: &str) -> Result<Vec<&'v str>, Wrong> {
    let names: Vec<&Value> = match value {
        None => return Ok(vec![]),
        Some(Value::Array(names)) if !names.is_empty() => names.iter().collect(),
        Some(name) => vec![name],
    };
    let known = |name: &&Value| name.as_str().is_some_and(|name| TYPES.contains(&name));
    match names.iter().find(|name| !known(name)) {
        Some(name) => wrong(path, format!("unknown type {}", escape(&name.to_string()))),
        None => Ok(names.into_iter().filter_map(Value::as_str).collect()),
    }
}
