//! Schemas as nobody should write them, drawn from a seed: bounds at the ends of every type, multiples, patterns that explode,
//! deep and wide nesting, references in circles.

use serde_json::{Map, Value, json};

/// A generator of its own, so that a failing seed can be repeated.
pub struct Random(pub u64);

impl Random {
    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % end.max(1)
    }

    fn one<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

const NUMBERS: [&str; 40] = [
    "0",
    "-0",
    "0.0",
    "1",
    "-1",
    "2",
    "3",
    "7",
    "10",
    "12",
    "100",
    "4096",
    "0.1",
    "0.3",
    "1e-7",
    "-1e-7",
    "5e-324",
    "1e-400",
    "1e400",
    "-1e400",
    "9007199254740991",
    "9007199254740992",
    "9007199254740993",
    "-9007199254740993",
    "2147483647",
    "-2147483648",
    "4294967295",
    "9223372036854775807",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "1.7976931348623157e308",
    "-1.7976931348623157e308",
    "2.2250738585072014e-308",
    "1e39",
    "1e40",
    "1e41",
    "123456789012345678901234567890.123456789012345678901234567890",
    "1e99999999999999999999",
];
const COUNTS: [u64; 12] = [0, 1, 2, 3, 5, 17, 100, 10_000, 65_536, 4_294_967_295, 9_223_372_036_854_775_807, u64::MAX];
const PATTERNS: [&str; 30] = [
    "a",
    "^a$",
    "^a",
    "a$",
    "^$",
    "",
    "(a+)+$",
    "(x+x+)+y",
    "(.*a){20}",
    "^(.*)(.*)(.*)[a-z]{900}$",
    "a{1,1000000000}",
    "(a{1,1000}){1,1000}",
    "(((a{1,100}){1,100}){1,100}){1,100}",
    "^+[a-z]$",
    "(?=a)",
    "^(?=.*a)(?!.*b).{2,}$",
    r"\p{L}+",
    r"[^\x00-\x{10ffff}]",
    r"\bword\b",
    r"(a)\1",
    "^(a|b|c|d|e|f|g){50}$",
    r"^\d{6}$",
    r"^[\w.+-]+@\w+$",
    "(?i)abc",
    "[",
    "a**",
    "^a|b$",
    "(^a|b)c",
    "^(([a-z])+.)+[A-Z]([a-z])+$",
    r#"^\\\/"$"#,
];
const FORMATS: [&str; 12] = [
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "uuid",
    "date",
    "time",
    "date-time",
    "duration",
    "uri",
    "regex",
    "no-such-format",
];
const TYPES: [&str; 8] = ["object", "array", "string", "number", "integer", "boolean", "null", "strin"];

fn number(random: &mut Random) -> Value {
    serde_json::from_str(random.one(&NUMBERS)).unwrap_or(Value::Null)
}

fn count(random: &mut Random) -> Value {
    json!(random.one(&COUNTS))
}

/// A schema with definitions `a`, `b` and `c`.
pub fn schema(random: &mut Random) -> Value {
    let mut whole = part(random, 0);
    let definitions: Map<String, Value> =
        ["a", "b", "c"].iter().map(|name| ((*name).to_owned(), part(random, 1))).collect();
    if let Value::Object(map) = &mut whole {
        map.insert("$defs".to_owned(), Value::Object(definitions));
    }
    whole
}

fn part(random: &mut Random, depth: usize) -> Value {
    if depth > 5 {
        return json!({ "type": random.one(&TYPES) });
    }
    let deeper = depth + 1;
    let mut map = Map::new();
    let mut insert = |key: &str, value: Value| map.insert(key.to_owned(), value);
    match random.below(14) {
        0 | 1 => {
            insert("type", json!(if random.below(2) == 0 { "integer" } else { "number" }));
            for key in ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"] {
                if random.below(5) < 2 {
                    insert(key, number(random));
                }
            }
        }
        2 | 3 => {
            insert("type", json!("string"));
            if random.below(2) == 0 {
                insert("pattern", json!(random.one(&PATTERNS)));
            }
            if random.below(3) == 0 {
                insert("format", json!(random.one(&FORMATS)));
            }
            for key in ["minLength", "maxLength"] {
                if random.below(3) == 0 {
                    insert(key, count(random));
                }
            }
        }
        4 | 5 => {
            insert("type", json!("array"));
            if random.below(3) > 0 {
                insert("items", part(random, deeper));
            }
            if random.below(4) == 0 {
                let first: Vec<Value> = (0..random.below(4)).map(|_| part(random, deeper)).collect();
                insert("prefixItems", json!(first));
            }
            if random.below(4) == 0 {
                insert("uniqueItems", json!(true));
            }
            for key in ["minItems", "maxItems"] {
                if random.below(3) == 0 {
                    insert(key, count(random));
                }
            }
        }
        6..=8 => {
            insert("type", json!("object"));
            let many = if random.below(20) == 0 { 300 } else { random.below(5) };
            let names: Vec<String> = (0..many).map(|place| format!("p{place}")).collect();
            let inside = if many > 10 { 6 } else { deeper };
            let properties: Map<String, Value> =
                names.iter().map(|name| (name.clone(), part(random, inside))).collect();
            insert("properties", Value::Object(properties));
            let required: Vec<&String> = names.iter().filter(|_| random.below(2) == 0).collect();
            insert("required", json!(required));
            match random.below(5) {
                0 => insert("additionalProperties", json!(false)),
                1 => insert("additionalProperties", part(random, deeper)),
                2 => insert("patternProperties", json!({ random.one(&PATTERNS): part(random, deeper), "^x": {} })),
                3 => insert("propertyNames", part(random, deeper)),
                _ => None,
            };
            for key in ["minProperties", "maxProperties"] {
                if random.below(4) == 0 {
                    insert(key, count(random));
                }
            }
        }
        9 => {
            let key = random.one(&["anyOf", "oneOf", "allOf"]);
            let options: Vec<Value> = (0..random.below(5)).map(|_| part(random, deeper)).collect();
            insert(key, json!(options));
            if random.below(3) == 0 {
                insert("type", json!(random.one(&TYPES)));
            }
        }
        10 => {
            let many = if random.below(10) == 0 { 2000 } else { random.below(6) };
            let values: Vec<Value> = (0..many)
                .map(|place| match random.below(4) {
                    0 => number(random),
                    1 => json!(format!("v{place}")),
                    2 => json!([place, null]),
                    _ => json!({ "k": number(random) }),
                })
                .collect();
            insert("enum", json!(values));
        }
        11 => {
            insert("const", number(random));
        }
        12 => {
            let to = random.one(&[
                "#/$defs/a",
                "#/$defs/b",
                "#/$defs/c",
                "#",
                "#/$defs/none",
                "#/properties/p0",
                "#/%24defs/a",
            ]);
            insert("$ref", json!(to));
            if random.below(3) == 0 {
                insert(random.one(&["minimum", "maxLength", "minItems", "required"]), count(random));
            }
        }
        _ => {
            let key =
                random.one(&["not", "if", "contains", "nonsense", "dependentSchemas", "type", "items", "x-guidance"]);
            let value = part(random, deeper);
            insert(key, value);
        }
    }
    Value::Object(map)
}
