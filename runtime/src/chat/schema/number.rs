//! Numbers of schemas as decimal text, and the texts of all numbers between two of them. Never: a float.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;

/// Digits before the point of a number that is written, and after it.
pub(super) const DIGITS: usize = 40;
/// A bound beyond this power of ten says nothing: no number that is written gets there.
const NO_BOUND: i64 = 140;
/// Digits of a `multipleOf`, and of bounds beside one before and after the point.
const MULTIPLE_DIGITS: i64 = 15;
const MULTIPLE_RANGE: i64 = 20;
/// Multiples that are listed one by one.
const LISTED: i128 = 256;
/// States of the automaton that counts remainders.
const STATES: usize = 1000;

/// A number, exact: its sign, and `0.DIGITS × 10^point`, without zeros at the ends; no digits: zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    point: i64,
}

impl Decimal {
    pub(super) fn zero() -> Decimal {
        Decimal { negative: false, digits: vec![], point: 0 }
    }

    /// The number that JSON text writes; none where its exponent has more than six digits.
    pub(crate) fn parse(text: &str) -> Option<Decimal> {
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
        let exponent: i64 = exponent.parse().ok().filter(|power: &i64| power.unsigned_abs() < 1_000_000)?;
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        if all.is_empty() || !all.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let zeros = all.iter().take_while(|digit| **digit == b'0').count();
        let kept = all.iter().rposition(|digit| *digit != b'0').map_or(zeros, |last| last.saturating_add(1));
        let digits = all.get(zeros..kept).unwrap_or_default().to_vec();
        if digits.is_empty() {
            return Some(Decimal::zero());
        }
        let point = i64::try_from(whole.len()).ok()?.checked_sub(i64::try_from(zeros).ok()?)?.checked_add(exponent)?;
        Some(Decimal { negative, digits, point })
    }

    pub(crate) fn is_integer(&self) -> bool {
        i64::try_from(self.digits.len()).is_ok_and(|count| count <= self.point) || self.digits.is_empty()
    }

    fn is_zero(&self) -> bool {
        self.digits.is_empty()
    }

    fn magnitude(&self) -> Decimal {
        Decimal { negative: false, ..self.clone() }
    }

    /// Digits before the point, `0` where there are none, and after it; `None` before: more than [`DIGITS`].
    fn split(&self) -> (Option<Vec<u8>>, Vec<u8>) {
        let count = i64::try_from(self.digits.len()).unwrap_or(i64::MAX);
        if self.point <= 0 {
            let zeros =
                usize::try_from(self.point.saturating_neg()).unwrap_or(usize::MAX).min(DIGITS.saturating_mul(2));
            return (Some(vec![b'0']), [vec![b'0'; zeros], self.digits.clone()].concat());
        }
        let whole = usize::try_from(self.point).unwrap_or(usize::MAX);
        if whole > DIGITS {
            return (None, vec![]);
        }
        let kept = self.digits.get(..whole.min(self.digits.len())).unwrap_or_default().to_vec();
        let padded = [kept, vec![b'0'; usize::try_from(self.point.saturating_sub(count).max(0)).unwrap_or(0)]].concat();
        (Some(padded), self.digits.get(whole..).unwrap_or_default().to_vec())
    }

    /// The number times a power of ten, rounded down or up; none beyond [`MULTIPLE_RANGE`] digits.
    fn scaled(&self, power: i64, up: bool) -> Option<i128> {
        let point = self.point.saturating_add(power);
        if self.is_zero() {
            return Some(0);
        }
        if self.point > MULTIPLE_RANGE {
            return None;
        }
        let mut value: i128 = 0;
        for place in 0..point.max(0) {
            let digit = usize::try_from(place)
                .ok()
                .and_then(|place| self.digits.get(place))
                .map_or(0, |digit| digit.saturating_sub(b'0'));
            value = value.checked_mul(10)?.checked_add(digit.into())?;
        }
        let exact = i64::try_from(self.digits.len()).is_ok_and(|count| count <= point);
        let value = if self.negative { value.checked_neg()? } else { value };
        match (exact, self.negative, up) {
            (true, ..) | (false, false, false) | (false, true, true) => Some(value),
            (false, false, true) => value.checked_add(1),
            (false, true, false) => value.checked_sub(1),
        }
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Decimal) -> Ordering {
        let sign = |number: &Decimal| {
            if number.is_zero() {
                0
            } else if number.negative {
                -1
            } else {
                1
            }
        };
        let by_sign = sign(self).cmp(&sign(other));
        if by_sign != Ordering::Equal || self.is_zero() {
            return by_sign;
        }
        let by_size = self.point.cmp(&other.point).then_with(|| self.digits.cmp(&other.digits));
        if self.negative { by_size.reverse() } else { by_size }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Decimal) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = String::from_utf8_lossy(&self.digits);
        let sign = if self.negative { "-" } else { "" };
        match self.point {
            _ if self.is_zero() => f.write_str("0"),
            -5..=40 => {
                let (whole, fraction) = self.split();
                let whole = whole.unwrap_or_default();
                write!(f, "{sign}{}", String::from_utf8_lossy(&whole))?;
                if fraction.is_empty() { Ok(()) } else { write!(f, ".{}", String::from_utf8_lossy(&fraction)) }
            }
            point => write!(f, "{sign}0.{digits}e{point}"),
        }
    }
}

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

/// `coefficient / 10^places`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Multiple {
    coefficient: i128,
    places: u32,
}

/// How numbers are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// A regular expression.
    Pattern(String),
    /// States and the digits between them; the first one is the end.
    Automaton { starts: Vec<(&'static str, usize)>, states: Vec<Vec<(u8, usize)>> },
}

impl Multiple {
    /// None where it has too many digits to be counted; `Some(None)` where it is not above zero.
    pub(super) fn of(value: &Decimal) -> Option<Option<Multiple>> {
        if value.negative || value.is_zero() {
            return Some(None);
        }
        let count = i64::try_from(value.digits.len()).ok()?;
        let places = count.saturating_sub(value.point).max(0);
        if places > MULTIPLE_DIGITS || value.point > MULTIPLE_DIGITS {
            return None;
        }
        let coefficient = value.scaled(places, false)?;
        Some(Some(Multiple { coefficient, places: u32::try_from(places).ok()? }))
    }

    /// What is a multiple of both; none where that has too many digits.
    fn common(self, other: Multiple) -> Option<Multiple> {
        let places = self.places.max(other.places);
        let scale = |one: Multiple| power(places.checked_sub(one.places)?)?.checked_mul(one.coefficient);
        let (a, b) = (scale(self)?, scale(other)?);
        let coefficient = a.checked_div(greatest_common(a, b))?.checked_mul(b)?;
        (coefficient < power(30)?).then_some(Multiple { coefficient, places })
    }

    /// Whether a number is one.
    fn divides(self, value: &Decimal) -> bool {
        let count = i64::try_from(value.digits.len()).unwrap_or(i64::MAX);
        let places = count.saturating_sub(value.point).max(0);
        if value.is_zero() {
            return true;
        }
        if places > self.places.into() || self.coefficient == 0 {
            return false;
        }
        // Digit by digit: it may be longer than any integer here.
        let point = value.point.saturating_add(self.places.into());
        let mut rest: i128 = 0;
        for place in 0..point.clamp(0, 10_000) {
            let digit = usize::try_from(place)
                .ok()
                .and_then(|place| value.digits.get(place))
                .map_or(0, |digit| digit.saturating_sub(b'0'));
            let Some(next) = rest.checked_mul(10).and_then(|rest| rest.checked_add(digit.into())) else { return false };
            rest = next.checked_rem(self.coefficient).unwrap_or(0);
        }
        rest == 0 && point <= 10_000
    }
}

fn power(exponent: u32) -> Option<i128> {
    10_i128.checked_pow(exponent)
}

fn greatest_common(a: i128, b: i128) -> i128 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a.checked_rem(b).unwrap_or(0));
    }
    a.max(1)
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
        let too_large = || {
            Unwritten::TooLarge(format!("multiples of {} cannot be counted between these bounds", Fraction(multiple)))
        };
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
        let mut automaton = Automaton { states: vec![vec![]], known: HashMap::new() };
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
            Some(multiple) => write!(f, "{and} a multiple of {}", Fraction(multiple)),
            None => Ok(()),
        }
    }
}

struct Fraction(Multiple);

impl fmt::Display for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&plain(self.0.coefficient, self.0.places).unwrap_or_default())
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

fn trim(digits: &mut Vec<u8>) {
    let kept = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last.saturating_add(1));
    digits.truncate(kept);
}

/// How two whole numbers without zeros before them compare.
fn longer(one: &[u8], two: &[u8]) -> Ordering {
    one.len().cmp(&two.len()).then_with(|| one.cmp(two))
}

/// The next whole number; none where it would have too many digits.
fn increased(digits: &[u8]) -> Option<Vec<u8>> {
    let mut out = digits.to_vec();
    for digit in out.iter_mut().rev() {
        if *digit < b'9' {
            *digit = digit.saturating_add(1);
            return Some(out);
        }
        *digit = b'0';
    }
    out.insert(0, b'1');
    (out.len() <= DIGITS).then_some(out)
}

/// The one before; none before zero.
fn decreased(digits: &[u8]) -> Option<Vec<u8>> {
    let mut out = digits.to_vec();
    for digit in out.iter_mut().rev() {
        if *digit > b'0' {
            *digit = digit.saturating_sub(1);
            let zeros = out.iter().take_while(|digit| **digit == b'0').count();
            return Some(out.split_off(zeros.min(out.len().saturating_sub(1))));
        }
        *digit = b'9';
    }
    None
}

fn class(from: u8, to: u8) -> String {
    if from == to { char::from(from).to_string() } else { format!("[{}-{}]", char::from(from), char::from(to)) }
}

/// So many digits, any.
fn any(count: usize) -> String {
    match count {
        0 => String::new(),
        1 => "[0-9]".to_owned(),
        _ => format!("[0-9]{{{count}}}"),
    }
}

fn up_to(count: usize) -> String {
    if count == 0 { String::new() } else { format!("[0-9]{{0,{count}}}") }
}

/// Patterns of all whole numbers from one to another.
fn wholes(from: &[u8], to: &[u8]) -> Vec<String> {
    let mut out = vec![];
    if longer(from, to) == Ordering::Greater {
        return out;
    }
    let mut length = from.len();
    while length <= to.len() {
        let least = if length == 1 { vec![b'0'] } else { [vec![b'1'], vec![b'0'; length.saturating_sub(1)]].concat() };
        let low = if length == from.len() { from.to_vec() } else { least.clone() };
        let high = if length == to.len() { to.to_vec() } else { vec![b'9'; length] };
        let is_whole = length > 1 && low == least && high.iter().all(|digit| *digit == b'9');
        if is_whole {
            // All lengths up to the last that is whole, as one.
            let last = if to.iter().all(|digit| *digit == b'9') { to.len() } else { to.len().saturating_sub(1) };
            out.push(format!("[1-9][0-9]{{{},{}}}", length.saturating_sub(1), last.saturating_sub(1)));
            length = last;
        } else {
            same_length("", &low, &high, &mut out);
        }
        length = length.saturating_add(1);
    }
    out
}

fn same_length(before: &str, low: &[u8], high: &[u8], out: &mut Vec<String>) {
    let (Some((&first, low)), Some((&last, high))) = (low.split_first(), high.split_first()) else {
        out.push(before.to_owned());
        return;
    };
    if first == last {
        return same_length(&format!("{before}{}", char::from(first)), low, high, out);
    }
    let (mut from, mut to) = (first, last);
    if low.iter().any(|digit| *digit != b'0') {
        same_length(&format!("{before}{}", char::from(first)), low, &vec![b'9'; low.len()], out);
        from = from.saturating_add(1);
    }
    if high.iter().any(|digit| *digit != b'9') {
        same_length(&format!("{before}{}", char::from(last)), &vec![b'0'; high.len()], high, out);
        to = to.saturating_sub(1);
    }
    if from <= to {
        out.push(format!("{before}{}{}", class(from, to), any(low.len())));
    }
}

type End<'a> = Option<(&'a [u8], bool)>;

/// Patterns of fractions between two, each of which begins with `before`; digits without zeros at their end.
fn fractions(before: &str, low: End<'_>, high: End<'_>, written: usize, out: &mut Vec<String>) {
    let left = DIGITS.saturating_sub(written);
    let dotted = |text: &str| if text.is_empty() { String::new() } else { format!(r"\.{text}") };
    // A closed end that has been reached holds for whatever follows.
    let low = low.filter(|(digits, open)| *open || !digits.is_empty());
    let may_end = low.is_none() && high.is_none_or(|(digits, open)| !open || !digits.is_empty());
    match (low, high) {
        (None, None) if before.is_empty() => return out.push(format!(r"(?:\.[0-9]{{1,{left}}})?")),
        (None, None) => return out.push(format!("{}{}", dotted(before), up_to(left))),
        _ if may_end => out.push(dotted(before)),
        _ => {}
    }
    if left == 0 {
        return;
    }
    if let (Some((&[], _)), None) = (low, high) {
        let half = left.saturating_sub(1) / 2;
        return out.push(format!(r"\.{before}0{{0,{half}}}[1-9]{}", up_to(half)));
    }
    if let Some((&[], open)) = high {
        if low.is_none() && !open {
            out.push(format!(r"\.{before}0{{1,{left}}}"));
        }
        return;
    }
    let head = |digits: &[u8]| digits.first().copied().unwrap_or(b'0');
    let tail = |end: (&'_ [u8], bool)| -> (Vec<u8>, bool) { (end.0.get(1..).unwrap_or_default().to_vec(), end.1) };
    let from = low.map_or(b'0', |(digits, _)| head(digits));
    let to = high.map_or(b'9', |(digits, _)| head(digits));
    if from > to {
        return;
    }
    let written = written.saturating_add(1);
    let next = |digit: u8| format!("{before}{}", char::from(digit));
    let (low_tail, high_tail) = (low.map(tail), high.map(tail));
    fn end(tail: &Option<(Vec<u8>, bool)>) -> End<'_> {
        tail.as_ref().map(|(digits, open)| (digits.as_slice(), *open))
    }
    if from == to {
        return fractions(&next(from), end(&low_tail), end(&high_tail), written, out);
    }
    let (mut inner, mut outer) = (from, to);
    if low.is_some() {
        fractions(&next(from), end(&low_tail), None, written, out);
        inner = inner.saturating_add(1);
    }
    if high.is_some() {
        fractions(&next(to), None, end(&high_tail), written, out);
        outer = outer.saturating_sub(1);
    }
    if inner <= outer {
        out.push(format!(r"\.{before}{}{}", class(inner, outer), up_to(left.saturating_sub(1))));
    }
}

/// The least factor whose multiple is not below a value.
fn ceiling(value: i128, coefficient: i128) -> Option<i128> {
    let down = value.checked_div_euclid(coefficient)?;
    if value.checked_rem_euclid(coefficient)? == 0 { Some(down) } else { down.checked_add(1) }
}

/// `value / 10^places`, as it is written.
fn plain(value: i128, places: u32) -> Option<String> {
    let sign = if value < 0 { "-" } else { "" };
    let scale = power(places)?;
    let magnitude = value.checked_abs()?;
    let (whole, part) = (magnitude.checked_div(scale)?, magnitude.checked_rem(scale)?);
    if part == 0 {
        return Some(format!("{sign}{whole}"));
    }
    let width = usize::try_from(places).ok()?;
    let part = format!("{part:0width$}");
    Some(format!("{sign}{whole}.{}", part.trim_end_matches('0')))
}

/// Digits that are left with their point, the least and the largest that they may mean, the remainder so far, the divisor.
type Key = (u32, u32, bool, i128, i128, i128, i128);

/// Numbers digit by digit, each state a remainder.
struct Automaton {
    states: Vec<Vec<(u8, usize)>>,
    known: HashMap<Key, Option<usize>>,
}

impl Automaton {
    /// Where numbers begin, by sign; none: too many states.
    fn starts(&mut self, low: i128, high: i128, coefficient: i128, places: u32) -> Option<Vec<(&'static str, usize)>> {
        let mut starts = vec![];
        for part in 0..=places {
            let shorter = power(places.checked_sub(part)?)?;
            let divisor = coefficient.checked_div(greatest_common(coefficient, shorter))?;
            let (from, to) = (ceiling(low, shorter)?, high.checked_div_euclid(shorter)?);
            let sides = [("", from.max(0), to), ("-", to.checked_neg()?.max(1), from.checked_neg()?)];
            for (sign, from, to) in sides {
                for whole in 1..=21_u32 {
                    let digits = whole.checked_add(part)?;
                    let least = if whole == 1 { 0 } else { power(digits.checked_sub(1)?)? };
                    let (from, to) = (from.max(least), to.min(power(digits)?.checked_sub(1)?));
                    if from <= to
                        && let Some(state) = self.state((digits, part, false, from, to, 0, divisor))?
                    {
                        starts.push((sign, state));
                    }
                }
            }
        }
        Some(starts)
    }

    /// The state for what is left; none inside: nothing fits; none: too many states.
    fn state(&mut self, key: Key) -> Option<Option<usize>> {
        let (left, part, dotted, low, high, rest, divisor) = key;
        let first = low.checked_add(rest)?;
        let step = first.checked_rem_euclid(divisor)?;
        let first = if step == 0 { low } else { low.checked_add(divisor.checked_sub(step)?)? };
        if first > high {
            return Some(None);
        }
        if left == 0 {
            return Some(Some(0));
        }
        if let Some(known) = self.known.get(&key) {
            return Some(*known);
        }
        if self.states.len() >= STATES {
            return None;
        }
        let state = self.states.len();
        self.states.push(vec![]);
        self.known.insert(key, Some(state));
        let mut edges = vec![];
        if left == part && part > 0 && !dotted {
            edges.extend(self.state((left, part, true, low, high, rest, divisor))?.map(|next| (b'.', next)));
        } else {
            let shorter = left.checked_sub(1)?;
            let unit = power(shorter)?;
            for digit in 0..10_u8 {
                let base = unit.checked_mul(digit.into())?;
                let low = low.max(base).checked_sub(base)?;
                let high = high.min(base.checked_add(unit)?.checked_sub(1)?).checked_sub(base)?;
                if low > high {
                    continue;
                }
                let rest = rest.checked_add(base)?.checked_rem_euclid(divisor)?;
                let next = self.state((shorter, part, dotted, low, high, rest, divisor))?;
                edges.extend(next.map(|next| (b'0'.saturating_add(digit), next)));
            }
        }
        *self.states.get_mut(state)? = edges;
        Some(Some(state))
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
