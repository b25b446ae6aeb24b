//! What a schema asks of a number, and the texts of all that fit. Never: a float.

use std::cmp::Ordering;
use std::fmt;

use super::decimal::{DIGITS, Decimal};
use super::multiple::{Automaton, Multiple, ceiling, greatest_common, plain, power};
use super::ranges::{decreased, fractions, increased, longer, trim, wholes};

/// A bound beyond this power of ten says nothing: no number that is written gets there.
const NO_BOUND: i64 = 140;
/// Multiples that are listed one by one.
const LISTED: i128 = 256;
/// An end of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) value: Decimal,
    /// The value itself is out.
    pub(crate) open: bool,
}

/// What is asked of a number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub(crate) integer: bool,
    pub(crate) low: Option<Bound>,
    pub(crate) high: Option<Bound>,
    pub(crate) multiple: Option<Multiple>,
}

/// How numbers are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// A regular expression.
    Pattern(String),
    /// States and the digits between them; the first one is the end.
    Automaton { starts: Vec<(&'static str, usize)>, states: Vec<Vec<(u8, usize)>> },
}

impl Numbers {
    /// Whether a value is one of these.
    pub(super) fn accepts(&self, value: &Decimal) -> bool {
        let above = |bound: &Bound| value > &bound.value || (!bound.open && value == &bound.value);
        let below = |bound: &Bound| value < &bound.value || (!bound.open && value == &bound.value);
        (!self.integer || value.is_integer())
            && self.low.as_ref().is_none_or(above)
            && self.high.as_ref().is_none_or(below)
            && self.multiple.is_none_or(|multiple| multiple.divides(value))
    }

    /// What is asked by both; none where a common multiple has too many digits.
    pub(super) fn both(self, other: Numbers) -> Option<Numbers> {
        let multiple = match (self.multiple, other.multiple) {
            (Some(one), Some(two)) => Some(one.common(two)?),
            (one, two) => one.or(two),
        };
        Some(Numbers {
            integer: self.integer || other.integer,
            low: tighter(self.low, other.low, Ordering::Greater),
            high: tighter(self.high, other.high, Ordering::Less),
            multiple,
        })
    }

    /// The texts of these numbers.
    ///
    /// # Errors
    /// That no number fits, or that multiples are too many to be counted.
    pub(super) fn written(&self) -> Result<Written, Unwritten> {
        let low = self.low.clone().filter(|bound| !(bound.value.negative && bound.value.point > NO_BOUND));
        let high = self.high.clone().filter(|bound| bound.value.negative || bound.value.point <= NO_BOUND);
        let bounded = Numbers { low, high, ..self.clone() };
        if let (Some(low), Some(high)) = (&bounded.low, &bounded.high) {
            let empty = low.value > high.value || (low.value == high.value && (low.open || high.open));
            if empty {
                return Err(Unwritten::Impossible(self.to_string()));
            }
        }
        if let Some(multiple) = self.multiple {
            return bounded.multiples(multiple);
        }
        if bounded.low.is_none() && bounded.high.is_none() {
            let whole = format!("-?(?:0|[1-9][0-9]{{0,{}}})", DIGITS.saturating_sub(1));
            let more = format!(r"(?:\.[0-9]{{1,{DIGITS}}})?(?:[eE][+\-]?[0-9]{{1,2}})?");
            return Ok(Written::Pattern(if self.integer { whole } else { whole + &more }));
        }
        let mut pieces = vec![];
        // Below zero: the same with the ends exchanged.
        if bounded.low.as_ref().is_none_or(|low| low.value.negative) {
            let flip = |bound: &Bound| Bound { value: bound.value.magnitude(), open: bound.open };
            let least = bounded.high.as_ref().filter(|high| high.value.negative).map(flip);
            let least = least.unwrap_or(Bound { value: Decimal::zero(), open: true });
            let found = self.magnitudes(&least, bounded.low.as_ref().map(flip).as_ref());
            pieces.extend(found.into_iter().map(|piece| format!("-{piece}")));
        }
        if bounded.high.as_ref().is_none_or(|high| !high.value.negative) {
            let zero = Bound { value: Decimal::zero(), open: false };
            let least = bounded.low.clone().filter(|low| !low.value.negative).unwrap_or(zero);
            pieces.extend(self.magnitudes(&least, bounded.high.as_ref()));
        }
        if pieces.is_empty() {
            return Err(Unwritten::Impossible(format!(
                "{self} with at most {DIGITS} digits before and after the point"
            )));
        }
        Ok(Written::Pattern(format!("(?:{})", pieces.join("|"))))
    }

    /// Numbers from `low` on, which is not below zero.
    fn magnitudes(&self, low: &Bound, high: Option<&Bound>) -> Vec<String> {
        let most = || vec![b'9'; DIGITS];
        let (Some(low_whole), mut low_part) = low.value.split() else { return vec![] };
        let (high_whole, mut high_part) = high.map_or((None, vec![]), |bound| bound.value.split());
        let mut high_open = high.is_some_and(|bound| bound.open) && high_whole.is_some();
        let unbounded = high_whole.is_none();
        let high_whole = high_whole.unwrap_or_else(most);
        let mut low_open = low.open;
        if self.integer {
            let from = if low_open || !low_part.is_empty() { increased(&low_whole) } else { Some(low_whole) };
            let to = if high_open && high_part.is_empty() { decreased(&high_whole) } else { Some(high_whole) };
            return match (from, to) {
                (Some(from), Some(to)) => wholes(&from, &to),
                _ => vec![],
            };
        }
        // What has more places than are written lies between two that can be.
        if low_part.len() > DIGITS {
            low_part.truncate(DIGITS);
            low_open = true;
        }
        if high_part.len() > DIGITS {
            high_part.truncate(DIGITS);
            high_open = false;
        }
        trim(&mut low_part);
        trim(&mut high_part);
        let low_end = Some((low_part.as_slice(), low_open));
        let high_end = (!unbounded).then_some((high_part.as_slice(), high_open));
        let text = |whole: &[u8]| String::from_utf8_lossy(whole).into_owned();
        let with = |whole: &[u8], low, high| {
            let mut parts = vec![];
            fractions("", low, high, 0, &mut parts);
            (!parts.is_empty()).then(|| format!("{}(?:{})", text(whole), parts.join("|")))
        };
        match longer(&low_whole, &high_whole) {
            Ordering::Greater => vec![],
            Ordering::Equal => with(&low_whole, low_end, high_end).into_iter().collect(),
            Ordering::Less => {
                let mut pieces: Vec<String> = with(&low_whole, low_end, None).into_iter().collect();
                if let (Some(from), Some(to)) = (increased(&low_whole), decreased(&high_whole)) {
                    let between = wholes(&from, &to).into_iter();
                    pieces.extend(between.map(|piece| format!(r"{piece}(?:\.[0-9]{{1,{DIGITS}}})?")));
                }
                pieces.extend(with(&high_whole, None, high_end));
                pieces
            }
        }
    }

    /// Multiples between the bounds, or up to some distance where there are none.
    fn multiples(&self, multiple: Multiple) -> Result<Written, Unwritten> {
        let Multiple { mut coefficient, mut places } = multiple;
        let too_large =
            || Unwritten::TooLarge(format!("multiples of {} cannot be counted between these bounds", multiple));
        let impossible = || Unwritten::Impossible(self.to_string());
        if self.integer {
            let shared = greatest_common(coefficient, power(places).ok_or_else(too_large)?);
            coefficient = coefficient.checked_div(shared).ok_or_else(too_large)?;
            places = 0;
        }
        let scale = power(places).ok_or_else(too_large)?;
        let furthest = power(15).and_then(|limit| limit.checked_mul(scale)).ok_or_else(too_large)?;
        let widest = power(20).and_then(|limit| limit.checked_mul(scale)).ok_or_else(too_large)?;
        let end = |bound: &Option<Bound>, up: bool| -> Result<Option<i128>, Unwritten> {
            let Some(bound) = bound else { return Ok(None) };
            let Some(value) = bound.value.scaled(places.into(), up) else {
                // Outwards there is room enough; inwards nothing is left.
                return if bound.value.negative == up { Ok(None) } else { Err(too_large()) };
            };
            let exact = bound.value.scaled(places.into(), !up) == Some(value);
            let step = if up { 1 } else { -1 };
            Ok(Some(if bound.open && exact { value.checked_add(step).ok_or_else(too_large)? } else { value }))
        };
        let (low, high) = (end(&self.low, true)?, end(&self.high, false)?);
        let far = |other: i128| other.saturating_abs().saturating_mul(10).max(furthest).min(widest);
        let (low, high) = match (low, high) {
            (Some(low), Some(high)) => (low, high),
            (Some(low), None) => (low, far(low)),
            (None, Some(high)) => (far(high).saturating_neg(), high),
            (None, None) => (furthest.saturating_neg(), furthest),
        };
        let (low, high) = (low.max(widest.saturating_neg()), high.min(widest));
        let first = ceiling(low, coefficient).ok_or_else(impossible)?;
        let last = high.checked_div_euclid(coefficient).ok_or_else(impossible)?;
        let count = last.checked_sub(first).and_then(|count| count.checked_add(1)).ok_or_else(too_large)?;
        if count <= 0 {
            return Err(impossible());
        }
        if count <= LISTED {
            let texts = (first..=last).filter_map(|factor| plain(factor.checked_mul(coefficient)?, places));
            let texts: Vec<String> = texts.map(|text| text.replace('.', r"\.")).collect();
            return Ok(Written::Pattern(format!("(?:{})", texts.join("|"))));
        }
        let mut automaton = Automaton::new();
        let starts = automaton.starts(low, high, coefficient, places).ok_or_else(too_large)?;
        match starts.is_empty() {
            true => Err(impossible()),
            false => Ok(Written::Automaton { starts, states: automaton.states }),
        }
    }
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.integer { "integer" } else { "number" };
        write!(f, "no {kind} is")?;
        let mut and = "";
        for (bound, closed, open) in [(&self.low, "at least", "above"), (&self.high, "at most", "below")] {
            if let Some(bound) = bound {
                write!(f, "{and} {} {}", if bound.open { open } else { closed }, bound.value)?;
                and = " and";
            }
        }
        match self.multiple {
            Some(multiple) => write!(f, "{and} a multiple of {}", multiple),
            None => Ok(()),
        }
    }
}

/// Why numbers have no texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unwritten {
    /// None fits.
    Impossible(String),
    /// Some may fit, but they cannot be told from others.
    TooLarge(String),
}

fn tighter(one: Option<Bound>, two: Option<Bound>, wanted: Ordering) -> Option<Bound> {
    match (one, two) {
        (Some(one), Some(two)) => match one.value.cmp(&two.value) {
            Ordering::Equal => Some(Bound { open: one.open || two.open, ..one }),
            found if found == wanted => Some(one),
            _ => Some(two),
        },
        (one, two) => one.or(two),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    fn numbers(integer: bool, low: Option<(&str, bool)>, high: Option<(&str, bool)>) -> Numbers {
        let bound = |end: Option<(&str, bool)>| end.map(|(text, open)| Bound { value: decimal(text), open });
        Numbers { integer, low: bound(low), high: bound(high), multiple: None }
    }

    #[test]
    fn numbers_keep_every_digit() {
        for (text, shown) in [
            ("0", "0"),
            ("-0.0e5", "0"),
            ("1e2", "100"),
            ("-12.50", "-12.5"),
            ("0.001", "0.001"),
            ("9007199254740993", "9007199254740993"),
            ("123e-2", "1.23"),
        ] {
            assert_eq!(decimal(text).to_string(), shown);
        }
        assert!(Decimal::parse("1e1000000").is_none());
        let ascending = ["-1e300", "-2", "-1.5", "-1e-300", "0", "5e-324", "1", "1.0000001", "9.9", "10", "1e30"];
        for (place, one) in ascending.iter().enumerate() {
            for (other_place, other) in ascending.iter().enumerate() {
                assert_eq!(decimal(one).cmp(&decimal(other)), place.cmp(&other_place), "{one} {other}");
            }
        }
        assert!(decimal("1e2").is_integer() && decimal("2.0").is_integer() && !decimal("2.5").is_integer());
    }

    #[test]
    fn ranges_have_the_texts_between_their_ends() {
        let ends = ["-120", "-9.5", "-0.05", "0", "0.05", "1", "1.25", "10", "99.99"];
        let mut texts: Vec<String> = (-1300..1300).map(|n| plain(n, 1).unwrap()).collect();
        texts.extend((-200..200).map(|n| plain(n, 2).unwrap()));
        texts.extend(["1.250", "0.0", "9.0", "0.05000001", "99.990", "-9.50", "1.2500000001"].map(str::to_owned));
        for low in ends {
            for high in ends {
                for (integer, low_open, high_open) in [
                    (false, false, false),
                    (false, true, false),
                    (false, false, true),
                    (true, true, true),
                    (true, false, false),
                ] {
                    let range = numbers(integer, Some((low, low_open)), Some((high, high_open)));
                    let written = range.written();
                    let pattern = match &written {
                        Ok(Written::Pattern(pattern)) => format!("^(?:{pattern})$"),
                        Err(Unwritten::Impossible(_)) => "[^\\s\\S]".to_owned(),
                        other => panic!("{other:?}"),
                    };
                    let regex = regex::Regex::new(&pattern).unwrap();
                    for text in &texts {
                        let fits = range.accepts(&decimal(text)) && !(integer && text.contains('.'));
                        assert_eq!(regex.is_match(text), fits, "{range:?} {text} {regex}");
                    }
                }
            }
        }
    }

    #[test]
    fn multiples_are_counted_exactly() {
        for (integer, low, high, multiple) in [
            (true, None, None, "7"),
            (true, Some("0"), None, "1000"),
            (true, Some("-50000"), Some("90000"), "12"),
            (false, None, None, "0.1"),
            (false, Some("-3"), Some("1e6"), "0.25"),
            (false, Some("0"), None, "0.3"),
            (true, Some("0"), Some("1000000000"), "86400"),
        ] {
            let multiple = Multiple::of(&decimal(multiple)).unwrap();
            let end = |text: Option<&'static str>| text.map(|text| (text, false));
            let range = Numbers { multiple, ..numbers(integer, end(low), end(high)) };
            let written = range.written().unwrap();
            let takes = |text: &str| match &written {
                Written::Pattern(pattern) => regex::Regex::new(&format!("^(?:{pattern})$")).unwrap().is_match(text),
                Written::Automaton { starts, states } => starts.iter().any(|(sign, start)| {
                    let mut at = vec![*start];
                    let Some(rest) = text.strip_prefix(sign) else { return false };
                    for byte in rest.bytes() {
                        let edges = at.iter().flat_map(|state| &states[*state]);
                        at = edges.filter(|(edge, _)| *edge == byte).map(|(_, next)| *next).collect();
                    }
                    at.contains(&0)
                }),
            };
            for n in (-3000..3000).chain((0..400).map(|n| n * 43_200)) {
                for places in [0, 1, 2] {
                    let text = plain(n, places).unwrap();
                    let fits = range.accepts(&decimal(&text)) && !(integer && text.contains('.'));
                    assert_eq!(takes(&text), fits, "{range:?} {text}");
                }
            }
        }
        let large = Multiple::of(&decimal("2147483647")).unwrap();
        for high in [None, Some(("4096", false))] {
            let range = Numbers { multiple: large, ..numbers(true, None, high) };
            assert!(matches!(range.written(), Err(Unwritten::TooLarge(_))));
        }
        let range = Numbers { multiple: large, ..numbers(true, Some(("0", false)), Some(("4096", false))) };
        assert_eq!(range.written().unwrap(), Written::Pattern("(?:0)".to_owned()));
    }
}
