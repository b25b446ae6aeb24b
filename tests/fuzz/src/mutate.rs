//! Inputs made from inputs: bytes changed anywhere, and JSON changed where it hurts.

use serde_json::{Map, Value};

use crate::random::Random;

/// No input grows beyond this.
const MOST_BYTES: usize = 256 << 10;

/// Pieces of text that readers of files, templates and answers look for.
const WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "\u{feff}",
    "\u{2028}",
    "\0",
    "\n",
    "\r",
    ",",
    ":",
    "null",
    "true",
    "NaN",
    "1e999",
    "-0",
    "{{",
    "}}",
    "{%",
    "%}",
    "{#",
    "| lower",
    "| tojson",
    "loop.index",
    "<think>",
    "</think>",
    "<｜",
    "｜>",
    "｜DSML｜",
    "<｜DSML｜function_calls>",
    "</｜DSML｜function_calls>",
    "<｜DSML｜invoke name=\"",
    "</｜DSML｜invoke>",
    "<｜DSML｜parameter name=\"",
    "string=\"true\">",
    "</｜DSML｜parameter>",
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁call▁begin｜>",
    "<｜tool▁sep｜>",
    "<｜tool▁call▁end｜>",
    "<｜tool▁calls▁end｜>",
    "é",
    "🙂",
    "\u{10ffff}",
    "(?:",
    ".*",
    "{1,1000}",
    "(a+)+",
    "[^\\x00]",
    "\\p{L}",
];

/// Numbers at the edges of what readers hold them in, with blanks between.
const NUMBERS: &str = "0 -0 -1 1 2 0.1 0.3 1e-7 1e-300 1e308 1e400 -1e400 127 255 65536 2147483647 2147483648 \
    4294967295 4294967296 9007199254740993 9223372036854775807 -9223372036854775808 9223372036854775808 \
    18446744073709551615 18446744073709551616 123456789012345678901234567890 0.000000000000000000000000000001 \
    1.0000000001 3.0 1E2";

/// Keywords of schemas, fields of configs and requests, with blanks between; and now and then the empty key. A key becomes
/// another one.
const KEYS: &str = "type properties required additionalProperties items prefixItems minItems maxItems minLength \
    maxLength pattern format enum const anyOf oneOf allOf not $ref $defs minimum maximum exclusiveMinimum \
    exclusiveMaximum multipleOf uniqueItems minProperties maxProperties propertyNames patternProperties role content \
    tool_calls arguments name __metadata__ dtype shape data_offsets vocab_size hidden_size";

fn number(random: &mut Random) -> &'static str {
    random.pick::<&str>(&NUMBERS.split(' ').collect::<Vec<_>>())
}

fn key(random: &mut Random) -> &'static str {
    random.pick::<&str>(&KEYS.split(' ').chain([""]).collect::<Vec<_>>())
}

/// A new input from one of `corpus`.
pub(crate) fn mutate(random: &mut Random, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = random.pick(corpus).clone();
    if let (false, Ok(mut value)) = (random.once_in(3), serde_json::from_slice::<Value>(&bytes)) {
        for _ in 0..=random.below(4) {
            json(random, &mut value, corpus);
        }
        bytes = value.to_string().into_bytes();
        if !random.once_in(8) {
            bytes.truncate(MOST_BYTES);
            return bytes;
        }
    }
    for _ in 0..=random.below(6) {
        change(random, &mut bytes, corpus);
    }
    bytes.truncate(MOST_BYTES);
    bytes
}

fn change(random: &mut Random, bytes: &mut Vec<u8>, corpus: &[Vec<u8>]) {
    let at = random.below(bytes.len() + 1);
    let most = 1 << random.below(10);
    let end = (at + random.below(most)).min(bytes.len());
    match random.below(8) {
        0 => drop(bytes.drain(at..end)),
        1 => {
            let piece = bytes[at..end].to_vec();
            let times = 1 << random.below(10);
            let copies = piece.repeat(times.min(MOST_BYTES / piece.len().max(1)));
            bytes.splice(at..at, copies);
        }
        2 | 3 => drop(bytes.splice(at..at, (*random.pick(WORDS)).bytes())),
        4 => drop(bytes.splice(at..end, number(random).bytes())),
        5 => {
            let other = random.pick(corpus);
            let from = random.below(other.len() + 1);
            let to = (from + random.below(200)).min(other.len());
            bytes.splice(at..end, other[from..to].iter().copied());
        }
        6 => bytes.truncate(at),
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = u8::try_from(random.below(256)).unwrap_or_default();
            }
        }
    }
}

/// Changes one place of a JSON value.
fn json(random: &mut Random, value: &mut Value, corpus: &[Vec<u8>]) {
    let inside = match value {
        Value::Array(items) if !items.is_empty() && !random.once_in(4) => {
            let at = random.below(items.len());
            items.get_mut(at)
        }
        Value::Object(fields) if !fields.is_empty() && !random.once_in(4) => {
            let at = random.below(fields.len());
            fields.values_mut().nth(at)
        }
        _ => None,
    };
    if let Some(inside) = inside {
        return json(random, inside, corpus);
    }
    match (random.below(10), &mut *value) {
        (0..=3, Value::Object(fields)) => object(random, fields, corpus),
        (0..=2, Value::Array(items)) => {
            let item = items.first().cloned().unwrap_or(Value::Null);
            items.extend(std::iter::repeat_n(item, 1 << random.below(8)));
        }
        (3, Value::Array(items)) => items.truncate(random.below(items.len() + 1)),
        (4, old) => {
            let mut deep = std::mem::take(old);
            for _ in 0..1 << random.below(8) {
                deep = match random.below(3) {
                    0 => Value::Array(vec![deep]),
                    1 => Value::Object(Map::from_iter([("items".to_owned(), deep)])),
                    _ => Value::Object(Map::from_iter([(key(random).to_owned(), deep)])),
                };
            }
            *old = deep;
        }
        (5, Value::String(text)) => {
            let word = random.pick(WORDS);
            text.push_str(&word.repeat(1 << random.below(9)));
        }
        (6, old) => {
            let other = serde_json::from_slice(random.pick::<Vec<u8>>(corpus)).unwrap_or(Value::Null);
            *old = part(random, other);
        }
        (_, old) => *old = scalar(random),
    }
}

fn object(random: &mut Random, fields: &mut Map<String, Value>, corpus: &[Vec<u8>]) {
    let key = key(random).to_owned();
    match random.below(4) {
        0 => {
            if let Some(gone) = fields.keys().nth(random.below(fields.len().max(1))).cloned() {
                fields.remove(&gone);
            }
        }
        1 => {
            if let Some(old) = fields.keys().nth(random.below(fields.len().max(1))).cloned() {
                let value = fields.remove(&old).unwrap_or(Value::Null);
                fields.insert(key, value);
            }
        }
        2 => {
            let other = serde_json::from_slice(random.pick::<Vec<u8>>(corpus)).unwrap_or(Value::Null);
            fields.insert(key, part(random, other));
        }
        _ => drop(fields.insert(key, scalar(random))),
    }
}

/// Some value inside another.
fn part(random: &mut Random, value: Value) -> Value {
    match value {
        Value::Array(items) if !items.is_empty() && !random.once_in(3) => {
            let at = random.below(items.len());
            items.into_iter().nth(at).map_or(Value::Null, |inside| part(random, inside))
        }
        Value::Object(fields) if !fields.is_empty() && !random.once_in(3) => {
            let at = random.below(fields.len());
            fields.into_iter().nth(at).map_or(Value::Null, |(_, inside)| part(random, inside))
        }
        whole => whole,
    }
}

fn scalar(random: &mut Random) -> Value {
    match random.below(6) {
        0 => Value::Null,
        1 => Value::Bool(random.once_in(2)),
        2 => Value::String((*random.pick(WORDS)).to_owned()),
        3 => Value::String(key(random).to_owned()),
        _ => serde_json::from_str::<Value>(number(random)).unwrap_or(Value::Null),
    }
}
