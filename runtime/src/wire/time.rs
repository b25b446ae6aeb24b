//! Times as texts.

use crate::platform::date;

/// Seconds since 1970, and where given their microseconds, as `2026-01-02T03:04:05.678901Z`.
#[must_use]
pub fn timestamp(seconds: u64, microseconds: Option<u32>) -> String {
    let (year, month, day) = date(seconds / 86_400);
    let rest = seconds % 86_400;
    let fraction = microseconds.map_or(String::new(), |microseconds| format!(".{microseconds:06}"));
    format!("{year}-{month:02}-{day:02}T{:02}:{:02}:{:02}{fraction}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::timestamp;

    #[test]
    fn times_are_dates() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_764_664_568, "2025-12-02T08:36:08Z"),
        ] {
            assert_eq!(timestamp(seconds, None), expected);
        }
        assert_eq!(timestamp(0, Some(12)), "1970-01-01T00:00:00.000012Z");
    }
}
