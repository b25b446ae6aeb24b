//! Addresses: of the Hub's API and files, and where a redirect leads.

use hyper::Uri;
use hyper::http::uri::{Authority, Scheme};
use lyn::error::{Code, Error, Result, quote};

/// Longest address of a redirect: signed ones have a thousand bytes or two.
const ADDRESS_BYTES: usize = 16 << 10;

/// The Hub, or who stands in for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    scheme: Scheme,
    authority: Authority,
    /// Empty, or begins with a slash.
    path: String,
}

impl Endpoint {
    /// Reads `HF_ENDPOINT`. Errors: `bad_config`. It is not quoted where it may hold a password.
    pub(super) fn parse(text: &str) -> Result<Endpoint> {
        let refuse = |what: &str| {
            Err(Error::new(Code::BadConfig, format!("HF_ENDPOINT: {what}"))
                .with_help("give an address such as https://huggingface.co, or unset it"))
        };
        if text.split("://").nth(1).is_some_and(|rest| rest.split('/').next().unwrap_or_default().contains('@')) {
            return refuse("it contains credentials, which other users of this machine could see");
        }
        let Ok(uri) = text.trim().parse::<Uri>() else { return refuse(&format!("{} is not a URL", quote(text))) };
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return refuse(&format!("{} names no scheme and host", quote(text)));
        };
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return refuse(&format!("expected http or https, found {}", quote(scheme.as_str())));
        }
        let path = parts.path_and_query.as_ref();
        if path.is_some_and(|path| path.query().is_some()) {
            return refuse("it has a query (?)");
        }
        let path = path.map_or("", |path| path.path()).trim_end_matches('/').to_owned();
        Ok(Endpoint { scheme, authority, path })
    }

    /// Host and port, as people are told.
    pub(super) fn shown(&self) -> &str {
        self.authority.as_str()
    }

    /// Whether it needs TLS.
    pub(super) fn is_tls(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// Whether an address is this server's: only then it may see the token.
    pub(super) fn is_home_of(&self, uri: &Uri) -> bool {
        let port = |scheme: Option<&str>, port: Option<u16>| {
            port.or(if scheme == Some("https") { Some(443) } else { Some(80) })
        };
        uri.scheme() == Some(&self.scheme)
            && uri.host().is_some_and(|host| host.eq_ignore_ascii_case(self.authority.host()))
            && port(uri.scheme_str(), uri.port_u16()) == port(Some(self.scheme.as_str()), self.authority.port_u16())
    }

    /// The page of a repository, for people.
    pub(super) fn page(&self, repository: &str) -> String {
        format!("{}://{}{}/{repository}", self.scheme, self.authority, self.path)
    }

    /// What a repository's branch or tag stands for.
    pub(super) fn revision(&self, repository: &str, revision: &str) -> Result<Uri> {
        self.join(&format!("/api/models/{repository}/revision/{}", encoded(revision, "")))
    }

    /// The list of a repository's files.
    pub(super) fn tree(&self, repository: &str, revision: &str) -> Result<Uri> {
        self.join(&format!("/api/models/{repository}/tree/{}?recursive=true&expand=false", encoded(revision, "")))
    }

    /// A file.
    pub(super) fn file(&self, repository: &str, revision: &str, path: &str) -> Result<Uri> {
        self.join(&format!("/{repository}/resolve/{}/{}", encoded(revision, ""), encoded(path, "/")))
    }

    fn join(&self, rest: &str) -> Result<Uri> {
        let uri = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone());
        uri.path_and_query(format!("{}{rest}", self.path))
            .build()
            .map_err(|error| Error::new(Code::Internal, format!("an address of the Hub: {error}")))
    }
}

/// Where an answer of `from` leads: an absolute address, or a path on the same server. None where that is no address that may be
/// asked: another scheme, or from an encrypted connection to one in the clear.
pub(super) fn redirected(from: &Uri, location: &str) -> Option<Uri> {
    let location = location.split('#').next().unwrap_or_default();
    if location.len() > ADDRESS_BYTES {
        return None;
    }
    let target: Uri = match location.strip_prefix('/') {
        Some(rest) if !rest.starts_with('/') => {
            let same = Uri::builder().scheme(from.scheme()?.clone()).authority(from.authority()?.clone());
            same.path_and_query(location).build().ok()?
        }
        _ => location.parse().ok()?,
    };
    let is_safe = match target.scheme_str() {
        Some("https") => true,
        Some("http") => from.scheme_str() == Some("http"),
        _ => false,
    };
    let has_password = target.authority().is_some_and(|authority| authority.as_str().contains('@'));
    (is_safe && !has_password && target.host().is_some()).then_some(target)
}

/// Percent-encoding of everything but unreserved characters and those in `kept`.
fn encoded(text: &str, kept: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let is_plain = byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || kept.as_bytes().contains(&byte);
        if is_plain { out.push(char::from(byte)) } else { out += &format!("%{byte:02X}") }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_the_hub() {
        let hub = Endpoint::parse("https://huggingface.co/").unwrap();
        assert_eq!(
            hub.file("o/n", "refs/pr/1", "a b/c#d?.gguf").unwrap().to_string(),
            "https://huggingface.co/o/n/resolve/refs%2Fpr%2F1/a%20b/c%23d%3F.gguf"
        );
        let mirror = Endpoint::parse("http://127.0.0.1:9/hf").unwrap();
        assert_eq!(mirror.revision("o/n", "main").unwrap().path(), "/hf/api/models/o/n/revision/main");
        for text in ["", "huggingface.co", "ftp://h", "https://", "https://h?x=1", "https://me:secret@h"] {
            let error = Endpoint::parse(text).unwrap_err();
            assert!(error.code() == Code::BadConfig && !error.message().contains("secret"), "{error}");
        }
    }

    #[test]
    fn the_token_stays_at_home() {
        let hub = Endpoint::parse("https://huggingface.co").unwrap();
        for (address, is_home) in [
            ("https://huggingface.co/x", true),
            ("https://HuggingFace.co:443/x", true),
            ("http://huggingface.co/x", false),
            ("https://huggingface.co:8443/x", false),
            ("https://cdn.huggingface.co/x", false),
            ("https://huggingface.co.example.org/x", false),
        ] {
            assert_eq!(hub.is_home_of(&address.parse().unwrap()), is_home, "{address}");
        }
    }

    #[test]
    fn redirects_lead_to_servers_and_never_out_of_encryption() {
        let from: Uri = "https://hub/a".parse().unwrap();
        let to = |location: &str| redirected(&from, location).map(|uri| uri.to_string());
        assert_eq!(to("/b?c#d").as_deref(), Some("https://hub/b?c"));
        assert_eq!(to("https://cdn/x?Signature=y").as_deref(), Some("https://cdn/x?Signature=y"));
        for location in ["http://cdn/x", "file:///etc/passwd", "//cdn/x", "b", "", "https://me@cdn/x", "ftp://x/y"] {
            assert_eq!(to(location), None, "{location}");
        }
        assert_eq!(to(&format!("https://cdn/{}", "x".repeat(20_000))), None);
        let plain: Uri = "http://127.0.0.1:1/a".parse().unwrap();
        assert!(redirected(&plain, "http://127.0.0.1:2/b").is_some());
    }
}
