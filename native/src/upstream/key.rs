//! Keys of engines: from the environment or a file, never from the command line, and never shown.

use std::fmt;
use std::path::Path;

use hyper::header::HeaderValue;
use lyn::error::{Code, Error, Result};

use super::address::Address;
use super::profile::Profile;
use crate::text;

/// The variable with the key, or with lines of hosts and keys.
pub(crate) const VARIABLE: &str = "LYN_UPSTREAM_KEY";

/// A key; `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ApiKey(String);

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(****)")
    }
}

impl ApiKey {
    /// The header that carries it. Errors: `bad_request` where no header can hold it.
    pub(super) fn header(&self) -> Result<HeaderValue> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.0))
            .map_err(|_| refuse("the upstream key contains a character that is not allowed in headers"))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// A text of the engine's without the key that it was sent: some repeat it.
    pub(super) fn hide(key: Option<&ApiKey>, text: &[u8]) -> String {
        let text = String::from_utf8_lossy(text);
        key.map_or_else(|| text.clone().into_owned(), |key| text.replace(&key.0, "****"))
    }
}

/// Every key that is at hand.
#[derive(Clone, Debug, Default)]
pub(crate) struct ApiKeys {
    /// For an engine that no line names.
    any: Option<ApiKey>,
    of_hosts: Vec<(String, ApiKey)>,
}

impl ApiKeys {
    /// Keys from a file, else from `LYN_UPSTREAM_KEY`. A line is a key, or a host and its key. Errors: `io` where the file
    /// cannot be read, `bad_request` where it is no text or a line is neither. Never with the line.
    pub(crate) fn read(file: Option<&Path>) -> Result<ApiKeys> {
        match file {
            Some(path) => ApiKeys::parse(&text::of_file(path)?, &text::quoted(path)),
            None => ApiKeys::parse(&std::env::var(VARIABLE).unwrap_or_default(), VARIABLE),
        }
    }

    /// Keys of a test.
    #[cfg(test)]
    pub(super) fn of_text(text: &str) -> ApiKeys {
        ApiKeys::parse(text, "test").unwrap_or_default()
    }

    fn parse(text: &str, place: &str) -> Result<ApiKeys> {
        let mut keys = ApiKeys::default();
        for (line, text) in text.lines().enumerate() {
            let words: Vec<&str> = text.split_whitespace().collect();
            match words[..] {
                [] => {}
                [first, ..] if first.starts_with('#') => {}
                [key] if keys.any.is_none() => keys.any = Some(ApiKey(key.to_owned())),
                [host, key] => keys.of_hosts.push((host.to_ascii_lowercase(), ApiKey(key.to_owned()))),
                _ => {
                    let expected = "expected one key, or a host and its key on each line";
                    return Err(refuse(format!("{place}, line {}: {expected}", line + 1)));
                }
            }
        }
        Ok(keys)
    }

    /// The key for an engine: that of its host, else the one that names no host, else the one in its service's own variable.
    pub(crate) fn of(&self, address: &Address) -> Option<ApiKey> {
        self.of_with(address, |name| std::env::var(name).ok())
    }

    fn of_with(&self, address: &Address, variable: impl Fn(&str) -> Option<String>) -> Option<ApiKey> {
        let named = |name: &str| self.of_hosts.iter().find(|(host, _)| host.eq_ignore_ascii_case(name));
        let own = named(address.shown()).or_else(|| named(address.host())).map(|(_, key)| key.clone());
        own.or_else(|| self.any.clone()).or_else(|| {
            let name = Profile::of_address(address)?.key_variable()?;
            let key = variable(name).filter(|_| address.is_tls())?;
            Some(key.trim().to_owned()).filter(|key| !key.is_empty()).map(ApiKey)
        })
    }

    /// Whether a key names no host: with several engines it would go to all of them.
    pub(crate) fn has_any(&self) -> bool {
        self.any.is_some()
    }
}

fn refuse(message: impl Into<String>) -> Error {
    Error::new(Code::BadRequest, message)
        .with_help("write the key into LYN_UPSTREAM_KEY or a file for --upstream-key-file")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, address: &str) -> Option<String> {
        let keys = ApiKeys::parse(text, "here").unwrap();
        let variable = |name: &str| Some(format!("{name} ")).filter(|_| name == "DEEPSEEK_API_KEY");
        keys.of_with(&Address::parse(address).unwrap(), variable).map(|key| key.0)
    }

    #[test]
    fn each_engine_gets_its_own_key() {
        let file = "# keys\nplain\napi.deepseek.com  deep\nlocalhost:8000 local\n";
        assert_eq!(of(file, "https://api.deepseek.com/v1").as_deref(), Some("deep"));
        assert_eq!(of(file, "http://localhost:8000").as_deref(), Some("local"));
        assert_eq!(of(file, "http://localhost:8001").as_deref(), Some("plain"));
        assert_eq!(of("", "http://localhost:8001"), None);
    }

    #[test]
    fn a_mark_before_a_file_of_keys_is_no_part_of_a_key() {
        let path = std::env::temp_dir().join(format!("lyn-upstream-keys-{}", std::process::id()));
        std::fs::write(&path, b"\xef\xbb\xbfsk-of-a-file\r\n").unwrap();
        let keys = ApiKeys::read(Some(&path));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(keys.unwrap().any, Some(ApiKey("sk-of-a-file".to_owned())));
    }

    #[test]
    fn a_service_has_its_variable_and_only_encrypted() {
        assert_eq!(of("", "https://api.deepseek.com").as_deref(), Some("DEEPSEEK_API_KEY"));
        assert_eq!(of("", "http://api.deepseek.com"), None);
        assert_eq!(of("", "https://openrouter.ai"), None);
        assert_eq!(of("", "https://api.deepseek.com.example.org"), None);
    }

    #[test]
    fn a_key_is_never_shown() {
        let key = ApiKey("sk-1234567890abcd".to_owned());
        assert_eq!(format!("{key:?}"), "ApiKey(****)");
        assert_eq!(format!("{:?}", key.header().unwrap()), "Sensitive");
        assert_eq!(
            ApiKey::hide(Some(&key), b"key sk-1234567890abcd is invalid: sk-1234567890abc"),
            "key **** is invalid: sk-1234567890abc"
        );
        for lines in ["secret1\nsecret2", "a b secret"] {
            let error = ApiKeys::parse(lines, "here").unwrap_err();
            assert!(!error.message().contains("secret"), "{error}");
        }
        assert!(ApiKey("a\nb".to_owned()).header().is_err());
    }
}
