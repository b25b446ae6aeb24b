//! The date, as chat templates ask for it.

use minijinja::{Error, ErrorKind};

use crate::platform::date;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// `strftime_now` of Hugging Face's templates, in UTC: the place of a server is nobody's business.
pub(super) fn strftime_now(format: &str) -> Result<String, Error> {
    let now = web_time::SystemTime::now().duration_since(web_time::UNIX_EPOCH).unwrap_or_default();
    strftime(format, now.as_secs())
}

fn strftime(format: &str, seconds: u64) -> Result<String, Error> {
    let (year, month, day) = date(seconds / 86_400);
    let name = usize::try_from(month.saturating_sub(1)).ok().and_then(|month| MONTHS.get(month)).unwrap_or(&"");
    let mut text = String::new();
    let mut rest = format.chars();
    while let Some(character) = rest.next() {
        if character != '%' {
            text.push(character);
            continue;
        }
        text.push_str(&match rest.next() {
            Some('Y') => year.to_string(),
            Some('m') => format!("{month:02}"),
            Some('d') => format!("{day:02}"),
            Some('B') => (*name).to_owned(),
            Some('b') => name.chars().take(3).collect(),
            Some('H') => format!("{:02}", seconds / 3600 % 24),
            Some('M') => format!("{:02}", seconds / 60 % 60),
            Some('S') => format!("{:02}", seconds % 60),
            Some('%') => "%".to_owned(),
            _ => {
                let message = "strftime_now: only %Y, %m, %d, %B, %b, %H, %M, %S and %% are known";
                return Err(Error::new(ErrorKind::InvalidOperation, message));
            }
        });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let all = "%Y-%m-%d %B %b %H:%M:%S %%";
        assert_eq!(strftime(all, 0).unwrap(), "1970-01-01 January Jan 00:00:00 %");
        assert_eq!(strftime(all, 951_827_696).unwrap(), "2000-02-29 February Feb 12:34:56 %");
        assert_eq!(strftime("%d %b %Y", 1_767_225_599).unwrap(), "31 Dec 2025");
        assert!(strftime("%q", 0).is_err() && strftime("%", 0).is_err());
    }

    /// Oracle: a calendar that is counted day by day.
    #[test]
    fn eight_centuries_of_days_are_counted() {
        let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..303_000 {
            assert_eq!(date(days), (year, month, day), "{days}");
            let last = match month {
                2 if is_leap(year) => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > last {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
        assert!(year > 2790, "{year}");
    }

    #[test]
    fn times_and_months_are_told() {
        for (seconds, expected) in [
            (59, "00:00:59"),
            (60, "00:01:00"),
            (3599, "00:59:59"),
            (3600, "01:00:00"),
            (86_399, "23:59:59"),
            (86_400, "00:00:00"),
        ] {
            assert_eq!(strftime("%H:%M:%S", seconds).unwrap(), expected);
        }
        for (month, name) in MONTHS.iter().enumerate() {
            let seconds = 86_400 * (15 + 30 * month as u64 + u64::from(month > 1));
            assert_eq!(strftime("%B %b %m", seconds).unwrap(), format!("{name} {} {:02}", &name[..3], month + 1));
        }
        assert_eq!(strftime("é%%Y", 0).unwrap(), "é%Y");
    }
}
