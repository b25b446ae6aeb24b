//! Times as texts.

/// Seconds since 1970, and where given their microseconds, as `2026-01-02T03:04:05.678901Z`.
#[must_use]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "seconds of any year that has four digits are far from the ends of u64"
)]
pub fn timestamp(seconds: u64, microseconds: Option<u32>) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Howard Hinnant's civil_from_days, for dates after 1970: years begin in March.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
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
