//! Strings that a schema's patterns and lengths take, and whole answers of a regular expression.

use serde_json::{Value, json};

use super::{EXP, held, of, takes};
use crate::chat::grammar::json::Layout;
use crate::chat::schema::Schema;
use crate::chat::{AnswerShape, Dialect, ResponseShape};
use crate::error::Code;

/// All texts of up to three of these characters, and some with what JSON escapes.
fn texts() -> Vec<String> {
    let mut all = vec![String::new()];
    let mut last = all.clone();
    for _ in 0..3 {
        last = last.iter().flat_map(|text| ["a", "b", "|"].map(|next| format!("{text}{next}"))).collect();
        all.extend(last.clone());
    }
    all.extend(
        ["a\"b", "a\\b", "a\nb", "a\tb", "\u{1}", "\u{7f}", "é", "a/b", "a)b", "A", "1", "aaaa", "abab"]
            .map(str::to_owned),
    );
    all
}

/// Oracle: the `jsonschema` crate, which searches with an engine of its own.
#[test]
fn patterns_match_where_they_are_written_to() {
    let texts = texts();
    for pattern in [
        "",
        "a",
        "^a",
        "a$",
        "^a$",
        "^$",
        "^a|b$",
        "^(a|b)$",
        "(a|b)$",
        "^(a|b$)",
        "(^a|b)$",
        "^a|^b",
        "a$|b$",
        "^^a$$",
        "(?:ab)+",
        "^(?:a|bb)*$",
        "a{2}",
        "^a{2,}$",
        "^a{0,2}$",
        "^a{1,2}b",
        "^b?a",
        "[ab]b",
        "[^a]",
        "^[^a]+$",
        "^.$",
        "^..$",
        "\\|",
        "^[|]",
        "a\\\\b",
        "\"",
        "^a\"b$",
        "\\n",
        "\\t",
        "é",
        "^[à-ü]$",
        "(?i)^a$",
        "a/b",
        "^a\\/b$",
        "\\)",
        "[)]",
        "^(?=a)",
        "^(?!a)",
        "^(?=a)(?!ab).*$",
        "^(?=.*b)a",
        "^(?!.*b$).+",
        "^(?=(a|b)a)..$",
        "^(?=[)|]|a).",
        "^(?!a|b)",
        "^(?=a)(a|b)*$",
        "^(?=a)[|a]+$",
        "^(?=a)a\\|",
        "((a)(b))",
        "^((a|b)a)+$",
        "^\\x61",
        "\\d",
        "\\w$",
        "^[\\s\\S]$",
    ] {
        let schema = json!({"type": "string", "pattern": pattern});
        let validator = jsonschema::validator_for(&schema).unwrap();
        let constraint =
            held(&schema, Dialect::Local, Layout::Flexible).unwrap_or_else(|error| panic!("{pattern}: {error}"));
        let kept = json!({"allOf": [{"enum": texts}, schema]});
        let kept = Schema::check("f", &kept, Dialect::Local).unwrap();
        let crate::chat::schema::Part::Values(kept) = kept.root.clone() else { panic!("{kept:?}") };
        for text in &texts {
            let (text, expected) = (Value::from(text.as_str()), validator.is_valid(&json!(text)));
            assert_eq!(kept.contains(&text), expected, "{pattern} {text}");
            assert_eq!(takes(&constraint, &text.to_string()), expected, "{pattern} {text}");
        }
    }
}

/// Oracle: the number of characters, which are no bytes.
#[test]
fn lengths_count_characters() {
    for (least, most) in [(0, None), (1, None), (2, None), (0, Some(0)), (0, Some(2)), (1, Some(1)), (2, Some(3))] {
        for pattern in [None, Some("^(?!a$)")] {
            let mut schema = json!({"type": "string", "minLength": least});
            if let Some(most) = most {
                schema["maxLength"] = json!(most);
            }
            if let Some(pattern) = pattern {
                schema["pattern"] = json!(pattern);
            }
            let constraint = held(&schema, Dialect::Local, Layout::Flexible).unwrap();
            for text in ["", "a", "é", "\"", "\n\n", "ab", "😀é", "abc", "a\\é", "abcd"] {
                let length = text.chars().count();
                let expected =
                    length >= least && most.is_none_or(|most| length <= most) && (pattern.is_none() || text != "a");
                assert_eq!(takes(&constraint, &json!(text).to_string()), expected, "{schema} {text}");
            }
        }
    }
}

#[test]
fn patterns_that_are_not_known_are_refused_with_their_reason() {
    let nested = |depth: usize| format!("{}a{}", "(".repeat(depth), ")".repeat(depth));
    let anchors = "only ^ at the start and $ at the end are supported, no other look-around";
    let look = "look-around, including look-ahead and look-behind, is not supported";
    for (pattern, reason) in [
        ("\\p{Foo}", "Unicode property not found"),
        ("a|b)", "unopened group"),
        ("[b-a]", "invalid character class range, the start must be <= the end"),
        ("a^", anchors),
        ("$a", anchors),
        ("(^a|b)c", anchors),
        ("a(b$|c)d", anchors),
        ("\\bx", anchors),
        ("(?=a)", look),
        ("^(?=a)a|b", look),
        ("^a(?=b)", look),
        ("^(?=a", look),
        ("(?<=a)b", look),
        ("(a)\\1", "backreferences are not supported"),
        (&nested(70), "exceed the maximum number of nested parentheses/brackets (60)"),
        (&"\\p{L}a".repeat(40), "its classes are too large"),
    ] {
        let error = Schema::check("f", &json!({"type": "string", "pattern": pattern}), Dialect::Local).unwrap_err();
        assert_eq!(error.message(), format!("Invalid schema for f: $: unsupported 'pattern': {reason}"), "{pattern}");
    }
    let length =
        |count: usize| Schema::check("f", &json!({"type": "string", "pattern": "a".repeat(count)}), Dialect::Local);
    assert!(length(1024).is_ok() && length(1025).is_err());
}

/// Oracle: the `regex` crate for the pattern between its ends; look-ahead by hand.
#[test]
fn regular_expressions_are_whole_answers() {
    let of_regex = |regex: &str| {
        of(&EXP, &AnswerShape { response: ResponseShape::Regex(regex.to_owned()), ..AnswerShape::default() })
    };
    let texts = ["", "a", "b", "ab", "ba", "aab", "abb", "a\nb", "b|"];
    for pattern in ["a", "^a", "a$", "^a$", "a|ab", "(a|b)+", "a?b?", ".*b", "(?s).*b", "[^a]+", "^(a|b)*$"] {
        let constraint = of_regex(pattern).unwrap();
        let whole = regex::Regex::new(&format!("^(?:{pattern})$")).unwrap();
        for text in texts {
            assert_eq!(takes(&constraint, text), whole.is_match(text), "{pattern} {text:?}");
        }
    }
    for (pattern, right) in [
        ("(?=a)[ab]+", vec!["a", "ab", "aab", "abb"]),
        ("^(?=a)[ab]+", vec!["a", "ab", "aab", "abb"]),
        ("^(?=a)[ab]+$", vec!["a", "ab", "aab", "abb"]),
        ("(?!a)[ab]+", vec!["b", "ba"]),
        ("(?!b)(?=.*b)[ab]+", vec!["ab", "aab", "abb"]),
    ] {
        let constraint = of_regex(pattern).unwrap();
        for text in texts {
            assert_eq!(takes(&constraint, text), right.contains(&text), "{pattern} {text:?}");
        }
    }
    // Longer than a schema's pattern may be.
    assert!(takes(&of_regex(&"a".repeat(8000)).unwrap(), &"a".repeat(8000)));
    for (pattern, reason) in [
        ("a".repeat(8200), "'pattern' has 8206 bytes, at most 8192 are allowed"),
        (
            "^b(?!c)".to_owned(),
            "unsupported 'pattern': look-around, including look-ahead and look-behind, is not supported",
        ),
        ("[^\\s\\S]".to_owned(), "no text fits its pattern, format and length"),
    ] {
        let error = of_regex(&pattern).unwrap_err();
        assert_eq!(error.message(), format!("Invalid regular expression: {reason}"));
        assert_eq!((error.code(), error.details()["param"].as_str()), (Code::InvalidSchema, Some("regex")));
    }
}
