//! What is decided when a schema has been read: which properties are written, how numbers are, and that some finite value fits.

use serde_json::Value;

use super::number::Unwritten;
use super::part::{List, Need, Object, Part, Rest, equal};
use super::read::{Reader, path_of};
use super::{Dialect, Kind, Wrong, possible};

/// Values of which a list may hold each once, at most.
const UNIQUE: usize = 6;
/// States that count properties, at most.
const COUNTED: usize = 2000;

impl Reader<'_> {
    /// Settles the schema and its definitions.
    pub(super) fn settle(&mut self, mut root: Part) -> Result<(Part, Vec<Part>), Wrong> {
        self.part_settled(&mut root, "$")?;
        let mut definitions = vec![];
        for (place, found) in std::mem::take(&mut self.definitions).into_iter().enumerate() {
            let path = self.references.get(place).map(|pointer| path_of(pointer)).unwrap_or_default();
            let mut part = found.unwrap_or(Part::Any);
            self.part_settled(&mut part, &path)?;
            definitions.push(part);
        }
        let mut finite = finite(&definitions);
        if finite.contains(&false) {
            // What nobody has said must be there need not.
            for part in definitions.iter_mut().chain([&mut root]) {
                free(part, &finite);
            }
            finite = self::finite(&definitions);
        }
        let what = "no finite value satisfies it, because it requires itself; make the inner one nullable with anyOf";
        for place in 0..definitions.len() {
            if finite.get(place) == Some(&true) {
                continue;
            }
            let path = self.references.get(place).map(|pointer| path_of(pointer)).unwrap_or_default();
            if self.dialect != Dialect::Loose {
                return Err(Wrong::impossible(&path, what));
            }
            self.loosen(&path, "");
            if let Some(part) = definitions.get_mut(place) {
                *part = Part::Any;
            }
        }
        Ok((root, definitions))
    }

    fn part_settled(&mut self, part: &mut Part, path: &str) -> Result<(), Wrong> {
        match self.settled(part, path) {
            Err(found) if self.dialect == Dialect::Loose => {
                self.loosen(&found.path, "");
                *part = Part::Any;
                Ok(())
            }
            found => found,
        }
    }

    fn settled(&mut self, part: &mut Part, path: &str) -> Result<(), Wrong> {
        match part {
            Part::Number(numbers, written) => {
                let found = match numbers.written() {
                    Err(Unwritten::TooLarge(_)) if self.dialect == Dialect::Loose => {
                        self.loosen(path, "multipleOf");
                        numbers.multiple = None;
                        numbers.written()
                    }
                    found => found,
                };
                *written = Some(found.map_err(|why| match why {
                    Unwritten::Impossible(what) => Wrong::impossible(path, what),
                    Unwritten::TooLarge(what) => Wrong::unsupported(path, format!("unsupported 'multipleOf': {what}")),
                })?);
            }
            Part::Text(texts) => texts.check().map_err(|(what, impossible)| match impossible {
                true => Wrong::impossible(path, what),
                false => Wrong::unsupported(path, what),
            })?,
            Part::List(list) => self.list_settled(list, path)?,
            Part::Object(object) => self.object_settled(object, path)?,
            Part::Union(options) => {
                let mut why = None;
                let mut kept = vec![];
                for (place, mut option) in std::mem::take(options).into_iter().enumerate() {
                    match self.settled(&mut option, &format!("{path}.anyOf[{place}]")) {
                        Ok(()) => kept.push(option),
                        Err(found) if found.kind == Kind::Impossible => why = why.or(Some(found)),
                        Err(found) => return Err(found),
                    }
                }
                *options = kept;
                if let (true, Some(why)) = (options.is_empty(), why) {
                    return Err(why);
                }
            }
            Part::Any | Part::Null | Part::Boolean | Part::Values(_) | Part::Reference(_) => {}
        }
        Ok(())
    }

    fn list_settled(&mut self, list: &mut List, path: &str) -> Result<(), Wrong> {
        for place in 0..list.first.len() {
            let Some(item) = list.first.get_mut(place) else { break };
            let found = self.part_settled(item, &format!("{path}.prefixItems[{place}]"));
            if possible(found, list.least <= place as u64)?.is_none() {
                list.first.truncate(place);
                list.items = None;
            }
        }
        let listed = list.first.len() as u64;
        if let Some(items) = &mut list.items {
            let found = self.part_settled(items, &format!("{path}.items"));
            if possible(found, list.least <= listed)?.is_none() {
                list.items = None;
            }
        }
        if list.items.is_none() {
            list.most = Some(list.most.unwrap_or(listed).min(listed));
        }
        if let Some(most) = list.most.filter(|most| list.least > *most) {
            let what = format!("no list has at least {} and at most {most} items", list.least);
            return Err(Wrong::impossible(path, what));
        }
        if list.unique && list.most.is_none_or(|most| most > 1) {
            match list.items.as_ref().filter(|_| list.first.is_empty()).and_then(|items| self.listed(items)) {
                Some(values) if values.len() <= UNIQUE => {
                    let count = values.len() as u64;
                    if list.least > count {
                        let what = format!("no list has at least {} items that differ, of {count} values", list.least);
                        return Err(Wrong::impossible(path, what));
                    }
                    list.most = Some(list.most.unwrap_or(count).min(count));
                    list.items = Some(Part::Values(values));
                }
                _ => {
                    self.loosen(path, "uniqueItems");
                    list.unique = false;
                }
            }
        } else {
            list.unique = false;
        }
        Ok(())
    }

    /// The values of a part that has few.
    fn listed(&self, part: &Part) -> Option<Vec<Value>> {
        let mut part = part;
        for _ in 0..=self.definitions.len() {
            let Part::Reference(name) = part else { break };
            part = self.definitions.get(*name)?.as_ref()?;
        }
        match part {
            Part::Boolean => Some(vec![Value::Bool(true), Value::Bool(false)]),
            Part::Values(values) if values.len() <= 1000 => {
                let mut distinct: Vec<Value> = vec![];
                for value in values {
                    if !distinct.iter().any(|other| equal(other, value)) {
                        distinct.push(value.clone());
                    }
                }
                Some(distinct)
            }
            _ => None,
        }
    }

    fn object_settled(&mut self, object: &mut Object, path: &str) -> Result<(), Wrong> {
        for property in &mut object.properties {
            let Some(part) = &mut property.part else { continue };
            let found = self.part_settled(part, &format!("{path}.properties.{}", property.name));
            if possible(found, property.need != Need::Said)?.is_none() {
                (property.part, property.need) = (None, Need::Free);
            }
        }
        for (place, (_, part)) in object.patterns.iter_mut().enumerate() {
            self.part_settled(part, &format!("{path}.patternProperties[{place}]"))?;
        }
        if let Rest::Open(part) = &mut object.rest
            && possible(self.part_settled(part, &format!("{path}.additionalProperties")), true)?.is_none()
        {
            object.rest = Rest::Closed;
        }
        if object.rest == Rest::Unsaid {
            // Without a word about properties any object is meant.
            object.rest = if object.properties.is_empty() { Rest::Open(Part::Any) } else { Rest::Closed };
        }
        if let Some(names) = &object.names {
            names.check().map_err(|(what, _)| Wrong::impossible(&format!("{path}.propertyNames"), what))?;
        }
        self.counts_settled(object, path)
    }

    fn counts_settled(&mut self, object: &mut Object, path: &str) -> Result<(), Wrong> {
        let count = |object: &Object, of: &dyn Fn(Need) -> bool| {
            object.properties.iter().filter(|property| property.part.is_some() && of(property.need)).count() as u64
        };
        let said = count(object, &|need| need == Need::Said);
        let all = count(object, &|_| true);
        let is_open = object.rest != Rest::Closed || !object.patterns.is_empty();
        if let Some(most) = object.most {
            if said > most || object.least > most {
                let what = format!("no object has at least {} and at most {most} properties", said.max(object.least));
                return Err(Wrong::impossible(path, what));
            }
            if count(object, &|need| need != Need::Free) > most {
                object
                    .properties
                    .iter_mut()
                    .filter(|property| property.need == Need::Added)
                    .for_each(|property| property.need = Need::Free);
            }
            if all <= most && !is_open {
                object.most = None;
            }
        }
        if !is_open && object.least > all {
            let what = format!("'minProperties' is {}, but only {all} properties are possible", object.least);
            return Err(Wrong::impossible(path, what));
        }
        if object.least <= count(object, &|need| need != Need::Free) {
            object.least = 0;
        }
        let needed = object.least.max(object.most.unwrap_or(0));
        let listed = object.properties.len() as u64;
        if needed.saturating_add(1).saturating_mul(listed.saturating_add(1)) > COUNTED as u64 && listed > 0 {
            for (keyword, counts) in [("minProperties", object.least > 0), ("maxProperties", object.most.is_some())] {
                if counts {
                    self.loosen(path, keyword);
                }
            }
            (object.least, object.most) = (0, None);
        }
        Ok(())
    }
}

/// Which definitions some finite value fits.
fn finite(definitions: &[Part]) -> Vec<bool> {
    let mut known = vec![false; definitions.len()];
    loop {
        let found = definitions
            .iter()
            .enumerate()
            .find(|(place, part)| known.get(*place) == Some(&false) && is_finite(part, &known));
        let Some(place) = found.map(|(place, _)| place).and_then(|place| known.get_mut(place)) else { return known };
        *place = true;
    }
}

/// Whether some finite value fits, where `finite` are the definitions of which that is known.
fn is_finite(part: &Part, finite: &[bool]) -> bool {
    match part {
        Part::Reference(name) => finite.get(*name).copied().unwrap_or(false),
        Part::Union(options) => options.iter().any(|option| is_finite(option, finite)),
        Part::List(list) => {
            let first = usize::try_from(list.least).unwrap_or(usize::MAX);
            let needed = list.first.iter().take(first).all(|item| is_finite(item, finite));
            let more = list.least > list.first.len() as u64;
            needed && (!more || list.items.as_ref().is_some_and(|items| is_finite(items, finite)))
        }
        Part::Object(object) => {
            let needed = object.properties.iter().filter(|property| property.need != Need::Free);
            needed.filter_map(|property| property.part.as_ref()).all(|part| is_finite(part, finite))
        }
        _ => true,
    }
}

/// Frees properties that were added and would never end.
fn free(part: &mut Part, finite: &[bool]) {
    match part {
        Part::Union(options) => options.iter_mut().for_each(|option| free(option, finite)),
        Part::List(list) => list.first.iter_mut().chain(&mut list.items).for_each(|item| free(item, finite)),
        Part::Object(object) => {
            for property in &mut object.properties {
                let Some(part) = &mut property.part else { continue };
                free(part, finite);
                if property.need == Need::Added && !is_finite(part, finite) {
                    property.need = Need::Free;
                }
            }
            object.patterns.iter_mut().for_each(|(_, part)| free(part, finite));
            if let Rest::Open(part) = &mut object.rest {
                free(part, finite);
            }
        }
        _ => {}
    }
}
