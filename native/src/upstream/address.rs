//! Where an engine is: the base address that a user gives, and the addresses under it.

use hyper::Uri;
use hyper::http::uri::{Authority, Scheme};
use lyn::error::{Code, Error, Result, quote};

/// A base address without its last slashes: scheme, host, path. `#id` at its end names the model there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    scheme: Scheme,
    authority: Authority,
    /// Empty, or `/v1` and the like.
    path: String,
    model: Option<String>,
}

impl Address {
    /// Reads an address. `http://` may be left out before a loopback host. Errors: `bad_request` where it is none, or holds
    /// a name, a password or a query.
    pub(crate) fn parse(text: &str) -> Result<Address> {
        // An address with a password must not be shown, and so is not quoted.
        let refuse =
            |what: &str| Err(Error::new(Code::BadRequest, format!("upstream address: {what}")).with_help(HELP));
        let (text, model) = match text.trim().split_once('#') {
            Some((text, model)) => (text, Some(model.to_owned()).filter(|model| !model.is_empty())),
            None => (text.trim(), None),
        };
        let spelled = match text.split_once("://") {
            Some(_) => text.to_owned(),
            None if is_loopback(text.split([':', '/']).next().unwrap_or_default()) => format!("http://{text}"),
            None => return refuse("expected http:// or https:// at the start"),
        };
        if spelled.split("://").nth(1).is_some_and(|rest| rest.split('/').next().unwrap_or_default().contains('@')) {
            return refuse("it contains credentials, which other users of this machine could see");
        }
        let Ok(uri) = spelled.parse::<Uri>() else { return refuse(&format!("{} is not a URL", quote(&spelled))) };
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return refuse(&format!("{} names no host", quote(&spelled)));
        };
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return refuse(&format!("expected http or https, found {}", quote(scheme.as_str())));
        }
        let path = parts.path_and_query;
        if path.as_ref().is_some_and(|path| path.query().is_some()) {
            return refuse("it has a query (?)");
        }
        let path = path.as_ref().map_or("", |path| path.path()).trim_end_matches('/');
        // Documents often show the whole address of the one route.
        let path = path.strip_suffix("/chat/completions").unwrap_or(path).trim_end_matches('/').to_owned();
        Ok(Address { scheme, authority, path, model })
    }

    /// `api.deepseek.com`, without a port.
    pub(crate) fn host(&self) -> &str {
        self.authority.host()
    }

    /// Host and port, as people are told.
    pub(crate) fn shown(&self) -> &str {
        self.authority.as_str()
    }

    /// The port that the address names.
    pub(super) fn port(&self) -> Option<u16> {
        self.authority.port_u16()
    }

    /// The id behind `#`.
    pub(crate) fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// Whether it has nothing behind the host.
    pub(super) fn is_bare(&self) -> bool {
        self.path.is_empty()
    }

    /// Whether what goes there stays in this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(self.host())
    }

    /// Whether others on the way can read along.
    pub(crate) fn is_plain(&self) -> bool {
        self.scheme == Scheme::HTTP && !self.is_loopback()
    }

    /// Whether it needs TLS.
    pub(super) fn is_tls(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// The same with another path behind the host.
    pub(super) fn with_path(&self, path: &str) -> Address {
        Address { path: path.to_owned(), ..self.clone() }
    }

    /// The same without the `/v1` at its end: where routes are that are not OpenAI's.
    pub(super) fn root(&self) -> Address {
        self.with_path(self.path.strip_suffix("/v1").unwrap_or(&self.path))
    }

    /// The same with the path's last `/v1` or `/beta` replaced.
    pub(super) fn beta(&self) -> Address {
        let root = ["/beta/v1", "/beta", "/v1"].iter().find_map(|end| self.path.strip_suffix(end));
        self.with_path(&format!("{}/beta", root.unwrap_or(&self.path)))
    }

    /// The address of a route below: `/chat/completions`. Errors: `internal`: a checked address and a route of ours always
    /// make one.
    pub(super) fn join(&self, route: &str) -> Result<Uri> {
        let uri = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone());
        uri.path_and_query(format!("{}{route}", self.path))
            .build()
            .map_err(|error| Error::new(Code::Internal, format!("upstream address: {error}")))
    }
}

const HELP: &str = "for example https://api.deepseek.com, or http://127.0.0.1:8000/v1";

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_joined_to_every_spelling() {
        for (base, joined) in [
            ("https://api.deepseek.com", "https://api.deepseek.com/chat/completions"),
            ("https://api.deepseek.com/", "https://api.deepseek.com/chat/completions"),
            ("http://host:8000/v1//", "http://host:8000/v1/chat/completions"),
            ("https://openrouter.ai/api/v1/chat/completions", "https://openrouter.ai/api/v1/chat/completions"),
            (" localhost:8080/v1 ", "http://localhost:8080/v1/chat/completions"),
            ("127.0.0.1:8080", "http://127.0.0.1:8080/chat/completions"),
            ("http://[::1]:8080/v1#some/model", "http://[::1]:8080/v1/chat/completions"),
        ] {
            let address = Address::parse(base).unwrap();
            assert_eq!(address.join("/chat/completions").unwrap().to_string(), joined, "{base}");
        }
        assert_eq!(Address::parse("http://h/v1#deepseek-ai/V3").unwrap().model(), Some("deepseek-ai/V3"));
        assert_eq!(Address::parse("http://h/v1#").unwrap().model(), None);
    }

    #[test]
    fn beta_takes_the_place_of_v1() {
        for base in ["https://h", "https://h/v1", "https://h/beta", "https://h/beta/v1/"] {
            let beta = Address::parse(base).unwrap().beta();
            assert_eq!(beta.join("/x").unwrap().to_string(), "https://h/beta/x", "{base}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_and_a_password_is_not_shown() {
        for text in
            ["", "host", "ftp://h", "http://", "https:///v1", "http://h/v1?key=x", "http://a b", "api.deepseek.com"]
        {
            let error = Address::parse(text).unwrap_err();
            assert_eq!(error.code(), Code::BadRequest, "{text}");
        }
        let error = Address::parse("https://me:hunter2@h/v1").unwrap_err();
        assert!(error.message().contains("credentials") && !error.message().contains("hunter2"), "{error}");
    }

    #[test]
    fn loopback_is_told_from_the_world() {
        let is = |text: &str| Address::parse(text).unwrap();
        assert!(is("http://localhost:1").is_loopback() && is("http://[::1]:1").is_loopback());
        assert!(!is("http://localhost.example.org").is_loopback() && is("http://10.0.0.1").is_plain());
        assert!(!is("https://h").is_plain() && !is("http://127.0.0.1").is_plain());
    }
}
