//! Patterns of all numbers between two, by their digits.

use std::cmp::Ordering;

use super::decimal::DIGITS;

/// Takes off zeros at the end.
pub(super) fn trim(digits: &mut Vec<u8>) {
    let kept = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last.saturating_add(1));
    digits.truncate(kept);
}

/// How two whole numbers without zeros before them compare.
pub(super) fn longer(one: &[u8], two: &[u8]) -> Ordering {
    one.len().cmp(&two.len()).then_with(|| one.cmp(two))
}

/// The next whole number; none where it would have too many digits.
pub(super) fn increased(digits: &[u8]) -> Option<Vec<u8>> {
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
pub(super) fn decreased(digits: &[u8]) -> Option<Vec<u8>> {
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
pub(super) fn wholes(from: &[u8], to: &[u8]) -> Vec<String> {
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

/// Digits of an end, and whether it is out itself.
pub(super) type End<'a> = Option<(&'a [u8], bool)>;

/// Patterns of fractions between two, each of which begins with `before`; digits without zeros at their end.
pub(super) fn fractions(before: &str, low: End<'_>, high: End<'_>, written: usize, out: &mut Vec<String>) {
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
