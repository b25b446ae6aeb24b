//! Failures of the network, and answers that are none: what they mean, and whether another attempt may help.

use std::time::Duration;

use hyper::header::HeaderMap;
use lyn::error::{Code, Error, escape, quote};

/// A wait longer than this is the user's to decide.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A failed attempt.
#[derive(Debug)]
pub(super) struct FailedRequest {
    pub(super) error: Error,
    pub(super) is_passing: bool,
    /// How long the server asks to wait.
    pub(super) after: Option<Duration>,
}

impl FailedRequest {
    /// A failure for good.
    pub(super) fn last(error: Error) -> FailedRequest {
        FailedRequest { error, is_passing: false, after: None }
    }

    /// A failure that may not repeat.
    pub(super) fn passing(error: Error) -> FailedRequest {
        FailedRequest { error, is_passing: true, after: None }
    }

    /// How long to wait before attempt number `next`, counted from 2; none where there is none. `first` doubles each time.
    pub(super) fn pause(&self, next: u32, most: u32, first: Duration) -> Option<Duration> {
        if !self.is_passing || next > most {
            return None;
        }
        let growing = first.saturating_mul(2_u32.saturating_pow(next.saturating_sub(2)));
        let pause = self.after.map_or(growing, |after| after.max(growing));
        (pause <= LONGEST_WAIT).then_some(pause)
    }
}

impl From<Error> for FailedRequest {
    fn from(error: Error) -> FailedRequest {
        FailedRequest::last(error)
    }
}

/// An error of the network.
pub(super) fn network(host: &str, what: impl std::fmt::Display) -> Error {
    Error::new(Code::Network, format!("{}: {what}", escape(host)))
}

/// What is asked for, for messages.
pub(super) struct Subject<'a> {
    /// `org/name`, with its revision.
    pub(super) name: &'a str,
    /// The repository's page.
    pub(super) page: &'a str,
    /// A file of it; none for the repository itself.
    pub(super) file: Option<&'a str>,
    /// Whether a token was sent.
    pub(super) has_token: bool,
}

impl Subject<'_> {
    /// What it is, in words.
    pub(super) fn shown(&self) -> String {
        match self.file {
            Some(file) => format!("{} of {}", quote(file), self.name),
            None => self.name.to_owned(),
        }
    }
}

/// What a status that is no success means. `after`: how long the server asks to wait.
pub(super) fn of_status(
    host: &str,
    status: u16,
    headers: &HeaderMap,
    after: Option<Duration>,
    asked: &Subject,
) -> FailedRequest {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let what = asked.shown();
    let reason = header("x-error-code");
    let said = match header("x-error-message") {
        "" => String::new(),
        text => format!(": {}", escape(text)),
    };
    let token = if asked.has_token {
        "give another token in HF_TOKEN: this one may not read it"
    } else {
        "set HF_TOKEN to an access token"
    };
    let error = match status {
        401 if !asked.has_token && reason != "GatedRepo" => {
            let message = format!("{what} is not public, or {host} has no such model");
            let help = format!("check the name at {}; for a private or gated model {token}", asked.page);
            Error::new(Code::Unauthorized, message).with_help(help)
        }
        401 | 403 => {
            let message = format!("{what} may not be read ({status}){said}");
            Error::new(Code::Unauthorized, message)
                .with_help(format!("accept its terms at {}, and {token}", asked.page))
        }
        404 | 410 => {
            let (thing, help) = match (asked.file, reason) {
                (_, "RevisionNotFound") => ("revision", "use a branch, tag or commit from its page"),
                (Some(_), _) => ("file", "list the files at"),
                (None, _) => ("model", "check the name at"),
            };
            let message = format!("{what}: {host} has no such {thing} ({status}){said}");
            Error::new(Code::ModelNotFound, message).with_help(format!("{help} {}", asked.page))
        }
        429 => {
            let message = format!("{host} answered 429: too many requests{said}");
            let wait = after.map_or_else(|| "later".to_owned(), |after| format!("in {} s", after.as_secs().max(1)));
            let more = if asked.has_token { "" } else { "; with HF_TOKEN set, more requests are allowed" };
            Error::new(Code::Network, message).with_help(format!("run the command again {wait}{more}"))
        }
        _ => {
            let message = format!("{what}: {host} answered {status}{said}");
            Error::new(Code::Network, message).with_help("run the command again later; downloads so far are kept")
        }
    };
    let error = error.with_detail("status", status);
    let is_passing = matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504);
    FailedRequest { error, is_passing, after }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, reason: &'static str, file: Option<&str>, has_token: bool) -> Error {
        let mut headers = HeaderMap::new();
        headers.insert("x-error-code", reason.parse().unwrap());
        let asked = Subject { name: "o/n", page: "https://hub/o/n", file, has_token };
        of_status("hub", status, &headers, None, &asked).error
    }

    #[test]
    fn every_refusal_says_what_to_do() {
        for (status, reason, file, has_token, code, says, help) in [
            (
                401,
                "RepoNotFound",
                None,
                false,
                Code::Unauthorized,
                "not public, or hub has no such model",
                "check the name at https://hub/o/n",
            ),
            (
                401,
                "GatedRepo",
                None,
                false,
                Code::Unauthorized,
                "may not be read (401)",
                "accept its terms at https://hub/o/n, and set HF_TOKEN",
            ),
            (
                403,
                "GatedRepo",
                Some("a.gguf"),
                true,
                Code::Unauthorized,
                "\"a.gguf\" of o/n may not be read",
                "this one may not read it",
            ),
            (404, "RepoNotFound", None, true, Code::ModelNotFound, "hub has no such model (404)", "check the name"),
            (404, "RevisionNotFound", None, true, Code::ModelNotFound, "no such revision", "use a branch"),
            (
                404,
                "EntryNotFound",
                Some("a"),
                true,
                Code::ModelNotFound,
                "no such file",
                "list the files at https://hub/o/n",
            ),
            (429, "", None, false, Code::Network, "too many requests", "with HF_TOKEN set"),
            (503, "", None, true, Code::Network, "answered 503", "downloads so far are kept"),
            (418, "", None, true, Code::Network, "answered 418", "later"),
        ] {
            let error = refused(status, reason, file, has_token);
            assert_eq!(error.code(), code, "{error}");
            assert!(
                error.message().contains(says) && error.help().concat().contains(help),
                "{error} {:?}",
                error.help()
            );
        }
    }

    #[test]
    fn pauses_grow_and_long_ones_are_the_user_s() {
        let second = Duration::from_secs(1);
        let mut failure = FailedRequest::passing(network("hub", "gone"));
        assert_eq!(
            [2, 3, 4, 5].map(|next| failure.pause(next, 4, second)),
            [Some(second), Some(second * 2), Some(second * 4), None]
        );
        failure.after = Some(second * 7);
        assert_eq!(failure.pause(2, 4, second), Some(second * 7));
        failure.after = Some(second * 61);
        assert_eq!(failure.pause(2, 4, second), None);
        assert_eq!(FailedRequest::last(network("hub", "gone")).pause(2, 4, second), None);
    }
}
