//! What `multipleOf` asks, counted: in integers, and digit by digit.

use std::collections::HashMap;
use std::fmt;

use super::decimal::Decimal;

/// Digits of a `multipleOf`.
const MULTIPLE_DIGITS: i64 = 15;
/// States of the automaton that counts remainders.
const STATES: usize = 1000;

/// `coefficient / 10^places`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Multiple {
    pub(super) coefficient: i128,
    pub(super) places: u32,
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
    pub(super) fn common(self, other: Multiple) -> Option<Multiple> {
        let places = self.places.max(other.places);
        let scale = |one: Multiple| power(places.checked_sub(one.places)?)?.checked_mul(one.coefficient);
        let (a, b) = (scale(self)?, scale(other)?);
        let coefficient = a.checked_div(greatest_common(a, b))?.checked_mul(b)?;
        (coefficient < power(30)?).then_some(Multiple { coefficient, places })
    }

    /// Whether a number is one.
    pub(super) fn divides(self, value: &Decimal) -> bool {
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
            let next = rest.checked_mul(10).and_then(|rest| rest.checked_add(value.digit(place).into()));
            let Some(next) = next else { return false };
            rest = next.checked_rem(self.coefficient).unwrap_or(0);
        }
        rest == 0 && point <= 10_000
    }
}

pub(super) fn power(exponent: u32) -> Option<i128> {
    10_i128.checked_pow(exponent)
}

pub(super) fn greatest_common(a: i128, b: i128) -> i128 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a.checked_rem(b).unwrap_or(0));
    }
    a.max(1)
}

impl fmt::Display for Multiple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&plain(self.coefficient, self.places).unwrap_or_default())
    }
}

/// The least factor whose multiple is not below a value.
pub(super) fn ceiling(value: i128, coefficient: i128) -> Option<i128> {
    let down = value.checked_div_euclid(coefficient)?;
    if value.checked_rem_euclid(coefficient)? == 0 { Some(down) } else { down.checked_add(1) }
}

/// `value / 10^places`, as it is written.
pub(super) fn plain(value: i128, places: u32) -> Option<String> {
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
pub(super) struct Automaton {
    pub(super) states: Vec<Vec<(u8, usize)>>,
    known: HashMap<Key, Option<usize>>,
}

impl Automaton {
    /// Without states but the end.
    pub(super) fn new() -> Automaton {
        Automaton { states: vec![vec![]], known: HashMap::new() }
    }

    /// Where numbers begin, by sign; none: too many states.
    pub(super) fn starts(
        &mut self,
        low: i128,
        high: i128,
        coefficient: i128,
        places: u32,
    ) -> Option<Vec<(&'static str, usize)>> {
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
