//! Numbers as decimal text, exact. Never: a float.

use std::cmp::Ordering;
use std::fmt;

/// Digits before the point of a number that is written, and after it.
pub(super) const DIGITS: usize = 40;
/// Digits of a bound beside a `multipleOf`, before and after the point.
const MULTIPLE_RANGE: i64 = 20;

/// A number, exact: its sign, and `0.DIGITS × 10^point`, without zeros at the ends; no digits: zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decimal {
    pub(super) negative: bool,
    pub(super) digits: Vec<u8>,
    pub(super) point: i64,
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

    /// The digit at a place, from the first that is not 0; 0 behind the last.
    pub(super) fn digit(&self, place: i64) -> u8 {
        let digit = usize::try_from(place).ok().and_then(|place| self.digits.get(place));
        digit.map_or(0, |digit| digit.saturating_sub(b'0'))
    }

    pub(super) fn is_zero(&self) -> bool {
        self.digits.is_empty()
    }

    pub(super) fn magnitude(&self) -> Decimal {
        Decimal { negative: false, ..self.clone() }
    }

    /// Digits before the point, `0` where there are none, and after it; `None` before: more than [`DIGITS`].
    pub(super) fn split(&self) -> (Option<Vec<u8>>, Vec<u8>) {
        let count = i64::try_from(self.digits.len()).unwrap_or(i64::MAX);
        if self.point <= 0 {
            // More zeros than are written say no more.
            let zeros = usize::try_from(self.point.saturating_neg()).unwrap_or(usize::MAX).min(DIGITS);
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
    pub(super) fn scaled(&self, power: i64, up: bool) -> Option<i128> {
        let point = self.point.saturating_add(power);
        if self.is_zero() {
            return Some(0);
        }
        if self.point > MULTIPLE_RANGE {
            return None;
        }
        let mut value: i128 = 0;
        for place in 0..point.max(0) {
            value = value.checked_mul(10)?.checked_add(self.digit(place).into())?;
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
        let sign = |number: &Decimal| match number.negative {
            _ if number.is_zero() => 0,
            true => -1,
            false => 1,
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
