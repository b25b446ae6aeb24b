//! Decimal numbers, their ranges and multiples, at the ends of what is known of each.

use crate::chat::schema::decimal::Decimal;
use crate::chat::schema::multiple::{Multiple, ceiling, greatest_common, plain};
use crate::chat::schema::number::{Bound, Numbers, Unwritten, Written};
use crate::chat::schema::ranges::{decreased, increased, longer, trim, wholes};

fn decimal(text: &str) -> Decimal {
    Decimal::parse(text).unwrap_or_else(|| panic!("{text}"))
}

fn multiple(text: &str) -> Multiple {
    Multiple::of(&decimal(text)).flatten().unwrap_or_else(|| panic!("{text}"))
}

fn numbers(integer: bool, low: Option<(&str, bool)>, high: Option<(&str, bool)>) -> Numbers {
    let bound = |end: Option<(&str, bool)>| end.map(|(text, open)| Bound { value: decimal(text), open });
    Numbers { integer, low: bound(low), high: bound(high), multiple: None }
}

/// Whether a text is one that is written.
fn taker(written: &Written) -> impl Fn(&str) -> bool {
    let pattern = match written {
        Written::Pattern(pattern) => Some(regex::Regex::new(&format!("^(?:{pattern})$")).unwrap()),
        Written::Automaton { .. } => None,
    };
    move |text| match (written, &pattern) {
        (Written::Automaton { starts, states }, _) => starts.iter().any(|(sign, start)| {
            let mut at = vec![*start];
            let Some(rest) = text.strip_prefix(sign) else { return false };
            for byte in rest.bytes() {
                let edges = at.iter().flat_map(|state| &states[*state]);
                at = edges.filter(|(edge, _)| *edge == byte).map(|(_, next)| *next).collect();
            }
            at.contains(&0)
        }),
        (_, pattern) => pattern.as_ref().is_some_and(|pattern| pattern.is_match(text)),
    }
}

#[test]
fn decimals_are_read_and_shown_at_every_length() {
    for (text, shown, integer) in [
        ("0.00001", "0.00001", false),
        ("0.000001", "0.000001", false),
        ("0.0000001", "0.1e-6", false),
        ("1e39", &format!("1{}", "0".repeat(39)), true),
        ("1e40", "0.1e41", true),
        ("-1e40", "-0.1e41", true),
        ("-0.5", "-0.5", false),
        ("1.0", "1", true),
        ("10.10", "10.1", false),
        ("0e5", "0", true),
        ("1E+2", "100", true),
        ("1e-2", "0.01", false),
        ("120e-1", "12", true),
        ("12e-1", "1.2", false),
        ("007", "7", true),
    ] {
        assert_eq!((decimal(text).to_string().as_str(), decimal(text).is_integer()), (shown, integer), "{text}");
    }
    for text in ["", "-", ".", "e5", "1e", "1ex", "a", "1a", "1.a", "--1", "1e1000000", "1e-1000000", "1.2.3"] {
        assert_eq!(Decimal::parse(text), None, "{text}");
    }
    assert!(Decimal::parse("1e999999").is_some() && Decimal::parse("1e-999999").is_some());
    assert_eq!(decimal("-2.5").magnitude(), decimal("2.5"));
    for (text, whole, part) in [
        ("0", Some("0"), ""),
        ("0.05", Some("0"), "05"),
        ("12.5", Some("12"), "5"),
        ("1200", Some("1200"), ""),
        ("1e39", Some(&*format!("1{}", "0".repeat(39))), ""),
        ("1e40", None, ""),
    ] {
        let expected = (whole.map(|digits| digits.as_bytes().to_vec()), part.as_bytes().to_vec());
        assert_eq!(decimal(text).split(), expected, "{text}");
    }
    for (text, power, down, up) in [
        ("0", 3, Some(0), Some(0)),
        ("1.25", 0, Some(1), Some(2)),
        ("1.25", 1, Some(12), Some(13)),
        ("1.25", 2, Some(125), Some(125)),
        ("1.25", 4, Some(12500), Some(12500)),
        ("-1.25", 0, Some(-2), Some(-1)),
        ("-1.25", 2, Some(-125), Some(-125)),
        ("0.01", 0, Some(0), Some(1)),
        ("0.001", 1, Some(0), Some(1)),
        ("-0.01", 0, Some(-1), Some(0)),
        ("12e18", 0, Some(12_000_000_000_000_000_000), Some(12_000_000_000_000_000_000)),
        ("1e19", 0, Some(10_000_000_000_000_000_000), Some(10_000_000_000_000_000_000)),
        ("1e20", 0, None, None),
    ] {
        assert_eq!(
            (decimal(text).scaled(power, false), decimal(text).scaled(power, true)),
            (down, up),
            "{text} {power}"
        );
    }
}

/// Oracle: integers, by their own arithmetic.
#[test]
fn whole_numbers_are_counted_up_and_down() {
    for n in 0..2100_u32 {
        let digits = n.to_string().into_bytes();
        assert_eq!(increased(&digits), Some((n + 1).to_string().into_bytes()));
        assert_eq!(decreased(&digits), n.checked_sub(1).map(|less| less.to_string().into_bytes()));
        for other in [0, 1, 9, 10, 11, 99, 100, 101, 999, 1000, 1001, 2000] {
            assert_eq!(longer(&digits, other.to_string().as_bytes()), n.cmp(&other), "{n} {other}");
        }
    }
    assert_eq!(increased(&[b'9'; 39]), Some([vec![b'1'], vec![b'0'; 39]].concat()));
    assert_eq!(increased(&[b'9'; 40]), None);
    for (text, kept) in [("", ""), ("0", ""), ("10", "1"), ("010", "01"), ("001", "001")] {
        let mut digits = text.as_bytes().to_vec();
        trim(&mut digits);
        assert_eq!(digits, kept.as_bytes());
    }
    let ends = [0, 1, 9, 10, 11, 19, 20, 99, 100, 109, 110, 199, 200, 500, 999, 1000, 1234, 1999, 2000];
    for from in ends {
        for to in ends {
            let pieces = wholes(from.to_string().as_bytes(), to.to_string().as_bytes());
            if from > to {
                assert!(pieces.is_empty(), "{from} {to}");
                continue;
            }
            let regex = regex::Regex::new(&format!("^(?:{})$", pieces.join("|"))).unwrap();
            for n in 0..2100 {
                assert_eq!(regex.is_match(&n.to_string()), from <= n && n <= to, "{from} {to} {n}");
            }
            assert!(!regex.is_match("00") && !regex.is_match("01"), "{regex}");
        }
    }
}

/// Oracle: comparison of decimals. What is written is always in range; what is in range is written, but for numbers that
/// begin with more than twenty zeros behind an open end.
#[test]
fn ranges_end_at_the_fortieth_place() {
    let small = |n: u32| format!("0.{n:040}");
    let large = |n: u32| format!("0.{}{n:02}", "9".repeat(38));
    let fine = |n: u32| format!("0.{n:041}");
    let mut texts: Vec<String> = (0..40).map(small).chain((60..100).map(large)).collect();
    texts.extend(["0", "1", "0.5", "1.5", "0.99", "0.01", "2"].map(str::to_owned));
    texts.push(format!("0.{}", "9".repeat(40)));
    let mut ends: Vec<String> = [1, 9, 10, 11].map(small).to_vec();
    ends.extend([70, 89, 99].map(large));
    ends.extend([1, 15, 101].map(fine));
    ends.extend(["0".to_owned(), "1".to_owned(), format!("0.{}", "9".repeat(41))]);
    for low in &ends {
        for high in &ends {
            for (low_open, high_open) in [(false, false), (true, false), (false, true)] {
                let range = numbers(false, Some((low, low_open)), Some((high, high_open)));
                let Ok(written) = range.written() else {
                    let inside: Vec<&String> = texts.iter().filter(|text| range.accepts(&decimal(text))).collect();
                    assert!(inside.is_empty(), "{range:?} {inside:?}");
                    continue;
                };
                let Written::Pattern(pattern) = written else { panic!("{written:?}") };
                let regex = regex::Regex::new(&format!("^(?:{pattern})$")).unwrap();
                for text in &texts {
                    let (matched, fits) = (regex.is_match(text), range.accepts(&decimal(text)));
                    assert!(fits || !matched, "{range:?} {text} {regex}");
                    let is_exact = !low_open && low.len() <= 42;
                    assert!(matched || !fits || !is_exact, "{range:?} {text} {regex}");
                }
            }
        }
    }
}

#[test]
fn whole_numbers_end_at_the_fortieth_digit() {
    let (nines, ten) = ("9".repeat(40), format!("1{}", "0".repeat(39)));
    let over = format!("1{}", "0".repeat(40));
    let before = "9".repeat(39);
    for (low, high, right, wrong) in [
        (Some((&*ten, false)), None, vec![&*ten, &*nines], vec![&*before, &*over]),
        (Some((&*before, true)), None, vec![&*ten], vec![&*before]),
        (Some((&*nines, false)), None, vec![&*nines], vec![&*ten]),
        (Some(("5", false)), Some((&*over, false)), vec!["5", &*nines], vec!["4", &*over]),
        (None, Some((&*ten, true)), vec!["0", "-5", &*before], vec![&*ten]),
        (None, Some(("-5", false)), vec!["-5", "-6"], vec!["-4", "0", "5"]),
        (None, Some(("-5", true)), vec!["-6"], vec!["-5"]),
        (Some(("-5", true)), None, vec!["-4", "0", "9"], vec!["-5", "-6"]),
        (Some(("-1", true)), Some(("1", true)), vec!["0"], vec!["1", "-1"]),
        (Some(("0", false)), None, vec!["0", "1"], vec!["-1", "-0"]),
        (Some(("0", true)), None, vec!["1"], vec!["0", "-1"]),
        (None, Some(("0", true)), vec!["-1"], vec!["0", "1"]),
        (None, Some(("0", false)), vec!["-1", "0"], vec!["1"]),
    ] {
        let written = numbers(true, low, high).written().unwrap();
        let takes = taker(&written);
        for (texts, expected) in [(right, true), (wrong, false)] {
            for text in texts {
                assert_eq!(takes(text), expected, "{low:?} {high:?} {text}: {written:?}");
            }
        }
    }
    let impossible = |range: Numbers| match range.written() {
        Err(Unwritten::Impossible(what)) => what,
        other => panic!("{other:?}"),
    };
    let digits = "with at most 40 digits before and after the point";
    assert_eq!(impossible(numbers(true, Some((&nines, true)), None)), format!("no integer is above {nines} {digits}"));
    assert_eq!(
        impossible(numbers(false, Some((&over, false)), None)),
        format!("no number is at least 0.1e41 {digits}")
    );
    assert_eq!(
        impossible(numbers(true, Some(("0.2", false)), Some(("0.9", false)))),
        format!("no integer is at least 0.2 and at most 0.9 {digits}")
    );
    for (low_open, high_open, possible) in
        [(false, false, true), (true, false, false), (false, true, false), (true, true, false)]
    {
        let range = numbers(false, Some(("1.5", low_open)), Some(("1.5", high_open)));
        assert_eq!(range.written().is_ok(), possible);
    }
}

/// A bound that no text with an exponent reaches is none.
#[test]
fn bounds_beyond_all_numbers_say_nothing() {
    for integer in [false, true] {
        let free = numbers(integer, None, None).written().unwrap();
        let takes = taker(&free);
        assert_eq!(numbers(integer, None, Some(("1e140", false))).written().unwrap(), free);
        assert_eq!(numbers(integer, Some(("-1e140", false)), None).written().unwrap(), free);
        assert_ne!(numbers(integer, None, Some(("1e139", false))).written().unwrap(), free);
        assert_ne!(numbers(integer, Some(("-1e139", false)), None).written().unwrap(), free);
        assert!(numbers(integer, Some(("1e140", false)), None).written().is_err());
        assert!(numbers(integer, None, Some(("-1e140", false))).written().is_err());
        assert_eq!(takes("1.5e-99"), !integer);
        assert!(takes(&format!("-{}", "9".repeat(40))));
        for text in [&*"9".repeat(41), "1e100", "00", "+1", "1.", "-", ""] {
            assert!(!takes(text), "{text}");
        }
        assert!(!takes(&format!("0.{}", "1".repeat(41))));
        assert_eq!(takes(&format!("0.{}", "1".repeat(40))), !integer);
    }
}

#[test]
fn multiples_are_known_up_to_fifteen_digits() {
    let of =
        |text: &str| Multiple::of(&decimal(text)).map(|found| found.map(|found| (found.coefficient, found.places)));
    for (text, expected) in [
        ("0", Some(None)),
        ("-3", Some(None)),
        ("7", Some(Some((7, 0)))),
        ("0.25", Some(Some((25, 2)))),
        ("1e-15", Some(Some((1, 15)))),
        ("1e-16", None),
        ("999999999999999", Some(Some((999_999_999_999_999, 0)))),
        ("1e14", Some(Some((100_000_000_000_000, 0)))),
        ("1e15", None),
    ] {
        assert_eq!(of(text), expected, "{text}");
    }
    let common = |one: &str, other: &str| {
        let (a, b) = (multiple(one).common(multiple(other)), multiple(other).common(multiple(one)));
        assert_eq!(a, b, "{one} {other}");
        a.map(|found| found.to_string())
    };
    // 5^30 / 10^15, whose common multiples with powers of two are powers of ten.
    let fives = "931322.574615478515625";
    for (one, other, expected) in [
        ("4", "6", Some("12")),
        ("0.5", "0.75", Some("1.5")),
        ("0.2", "3", Some("3")),
        ("7", "7", Some("7")),
        ("999999999999999", "1e-15", Some("999999999999999")),
        ("999999999999999", "7e-15", None),
        (fives, "16384", Some("500000000000000")),
        (fives, "32768", None),
    ] {
        assert_eq!(common(one, other).as_deref(), expected, "{one} {other}");
    }
    for (one, value, expected) in [
        ("7", "0", true),
        ("7", "21", true),
        ("7", "22", false),
        ("7", "-21", true),
        ("7", "7e-1", false),
        ("0.25", "1.75", true),
        ("0.25", "1.7", false),
        ("0.25", "0.125", false),
        ("0.25", "1e30", true),
        ("3", "1e30", false),
        ("1", "0.5", false),
        ("1e-15", "0.000000000000001", true),
        ("1e-15", "0.0000000000000011", false),
        ("3", "111111111111111111111111111111111111111111111111111111111111", true),
        ("3", "111111111111111111111111111111111111111111111111111111111112", false),
        ("2", "1e10000", false),
        ("2", "1e9999", true),
    ] {
        assert_eq!(multiple(one).divides(&decimal(value)), expected, "{one} {value}");
    }
    for (value, coefficient, expected) in
        [(0, 7, 0), (1, 7, 1), (7, 7, 1), (8, 7, 2), (-1, 7, 0), (-7, 7, -1), (-8, 7, -1)]
    {
        assert_eq!(ceiling(value, coefficient), Some(expected), "{value} {coefficient}");
    }
    for (one, other, expected) in [(0, 0, 1), (0, 5, 5), (5, 0, 5), (12, 18, 6), (18, 12, 6), (7, 9, 1)] {
        assert_eq!(greatest_common(one, other), expected);
    }
    for (value, places, expected) in [
        (0, 0, "0"),
        (5, 0, "5"),
        (-5, 0, "-5"),
        (5, 1, "0.5"),
        (-5, 2, "-0.05"),
        (150, 2, "1.5"),
        (1500, 2, "15"),
        (1005, 3, "1.005"),
    ] {
        assert_eq!(plain(value, places).as_deref(), Some(expected), "{value} {places}");
    }
}

/// Oracle: the remainder, by integers.
#[test]
fn few_multiples_are_listed_and_many_are_counted() {
    for (low, high, listed) in
        [("0", "1785", true), ("0", "1786", true), ("0", "1792", false), ("-7", "1785", false), ("1", "1792", true)]
    {
        let range = Numbers { multiple: Some(multiple("7")), ..numbers(true, Some((low, false)), Some((high, false))) };
        let written = range.written().unwrap();
        let takes = taker(&written);
        assert_eq!(matches!(written, Written::Pattern(_)), listed, "{low} {high}");
        for n in -20..1850_i32 {
            let fits =
                n % 7 == 0 && decimal(low) <= decimal(&n.to_string()) && decimal(&n.to_string()) <= decimal(high);
            assert_eq!(takes(&n.to_string()), fits, "{low} {high} {n}");
        }
    }
    let sevens = |low: Option<(&str, bool)>, high: Option<(&str, bool)>| {
        Numbers { multiple: Some(multiple("7")), ..numbers(true, low, high) }.written()
    };
    for (low, high, right, wrong) in [
        (Some(("7", true)), Some(("21", true)), vec!["14"], vec!["7", "21", "0"]),
        (Some(("6.5", true)), Some(("21.5", true)), vec!["7", "14", "21"], vec!["0", "28"]),
        (Some(("-21", true)), Some(("-7", true)), vec!["-14"], vec!["-21", "-7", "14"]),
        (None, Some(("1e25", false)), vec!["0", "-7", "999999999999994"], vec!["1", "1000000000000001000"]),
        (Some(("-1e25", false)), None, vec!["0", "-7", "-999999999999994"], vec!["1"]),
        (Some(("0", false)), None, vec!["0", "7", "999999999999994"], vec!["-7", "1000000000000006"]),
        (None, Some(("0", false)), vec!["0", "-7", "-999999999999994"], vec!["7", "-1000000000000006"]),
        (
            Some(("700000000000000", false)),
            None,
            vec!["700000000000000", "7000000000000000"],
            vec!["699999999999993", "7000000000000007"],
        ),
    ] {
        let written = sevens(low, high).unwrap();
        let takes = taker(&written);
        for (texts, expected) in [(right, true), (wrong, false)] {
            for text in texts {
                assert_eq!(takes(text), expected, "{low:?} {high:?} {text}");
            }
        }
    }
    assert!(matches!(sevens(Some(("1e25", false)), None), Err(Unwritten::TooLarge(_))));
    assert!(matches!(sevens(None, Some(("-1e25", false))), Err(Unwritten::TooLarge(_))));
    let what = "no integer is above 7 and below 14 and a multiple of 7".to_owned();
    assert_eq!(sevens(Some(("7", true)), Some(("14", true))), Err(Unwritten::Impossible(what)));
    // Integers that are multiples of a fraction are multiples of its numerator.
    let fraction = Numbers { multiple: Some(multiple("1.5")), ..numbers(true, Some(("0", false)), Some(("9", false))) };
    assert_eq!(fraction.written(), Ok(Written::Pattern("(?:0|3|6|9)".to_owned())));
    let halves =
        Numbers { multiple: Some(multiple("1.5")), ..numbers(false, Some(("0", false)), Some(("4.5", false))) };
    assert_eq!(halves.written(), Ok(Written::Pattern(r"(?:0|1\.5|3|4\.5)".to_owned())));
}
