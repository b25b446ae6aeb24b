//! How long a server asks to wait before the next attempt.

use std::time::{Duration, SystemTime};

/// How long a refusal asks to wait: `retry-after-ms`, or `Retry-After` in seconds or as a date.
pub(crate) fn retry_after(milliseconds: Option<&str>, seconds: Option<&str>, now: SystemTime) -> Option<Duration> {
    let number = |text: &str, unit: f64| {
        let seconds = text.trim().parse::<f64>().ok()? * unit;
        Duration::try_from_secs_f64(seconds).ok()
    };
    milliseconds.and_then(|text| number(text, 1e-3)).or_else(|| {
        let text = seconds?;
        number(text, 1.0).or_else(|| {
            let date = httpdate::parse_http_date(text.trim()).ok()?;
            Some(date.duration_since(now).unwrap_or_default())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_times_are_read() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_445_412_470);
        let date = "Wed, 21 Oct 2015 07:28:00 GMT";
        for (milliseconds, seconds, wait) in [
            (None, Some("2"), Some(2000)),
            (None, Some("0.5"), Some(500)),
            (Some("150"), Some("2"), Some(150)),
            (None, Some(date), Some(10_000)),
            (Some("x"), Some("x"), None),
            (None, Some("-5"), None),
            (None, Some("1e300"), None),
            (None, None, None),
        ] {
            let wait = wait.map(Duration::from_millis);
            assert_eq!(retry_after(milliseconds, seconds, now), wait, "{milliseconds:?} {seconds:?}");
        }
        assert_eq!(retry_after(None, Some(date), now + Duration::from_secs(60)), Some(Duration::ZERO));
    }
}
