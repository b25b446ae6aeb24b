//! Connections: TCP, TLS with the certificates of the system, and the proxy that the environment names, within one time limit.

use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tower_service::Service;

type BoxError = Box<dyn StdError + Send + Sync>;

/// What to do where the system has no certificates.
pub(crate) const CERTIFICATES_HELP: &str = "install the system's certificates (ca-certificates), or set SSL_CERT_FILE";

/// Makes connections for the HTTP client.
#[derive(Clone)]
pub(crate) struct Connector {
    tcp: HttpConnector,
    tls: Arc<ClientConfig>,
    proxies: Arc<Matcher>,
    limit: Duration,
}

impl Connector {
    /// Connections with or without TLS, each made within `limit`. Errors: what is wrong, where TLS is needed and the system
    /// has no certificates; [`CERTIFICATES_HELP`] is the remedy.
    pub(crate) fn new(tls: bool, limit: Duration) -> Result<Connector, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let failed = |what: &dyn std::fmt::Display| format!("TLS: {what}");
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(&error))?;
        let config = if tls {
            config.with_native_roots().map_err(|error| failed(&error))?
        } else {
            config.with_root_certificates(RootCertStore::empty())
        };
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let proxies = Arc::new(Matcher::from_env());
        Ok(Connector { tcp, tls: Arc::new(config.with_no_client_auth()), proxies, limit })
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Connector { tcp, tls, proxies, limit } = self.clone();
        // Plain HTTP goes past proxies: engines without TLS are neighbours.
        let proxy = proxies.intercept(&uri).filter(|_| uri.scheme_str() == Some("https"));
        Box::pin(async move {
            let connecting = async {
                match proxy {
                    Some(proxy) => {
                        let tunnel = Tunnel::new(proxy.uri().clone(), tcp);
                        let tunnel = match proxy.basic_auth() {
                            Some(name) => tunnel.with_auth(name.clone()),
                            None => tunnel,
                        };
                        HttpsConnector::from((tunnel, tls)).call(uri).await
                    }
                    None => HttpsConnector::from((tcp, tls)).call(uri).await,
                }
            };
            tokio::time::timeout(limit, connecting).await.map_err(|_| format!("no connection within {limit:?}"))?
        })
    }
}

/// The last cause of an error: the one that says something.
pub(crate) fn cause(error: &(dyn StdError + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// A connector that has these proxies, and knows no certificate.
    fn connector(proxies: Matcher, limit: Duration) -> Connector {
        Connector { proxies: Arc::new(proxies), ..Connector::new(false, limit).unwrap() }
    }

    /// What comes of a future. One that hangs fails its test.
    async fn within<T>(future: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(20), future).await.expect("a connection within 20 s")
    }

    /// What is written to a listener up to the end of a head.
    async fn head(listener: &TcpListener) -> (TcpStream, String) {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = vec![];
        while !bytes.ends_with(b"\r\n\r\n") {
            bytes.push(stream.read_u8().await.unwrap());
        }
        (stream, String::from_utf8(bytes).unwrap())
    }

    #[tokio::test]
    async fn plain_http_goes_past_a_proxy_and_tls_through_it() {
        let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let engine = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let spelled = format!("http://me:secret@{}", proxy.local_addr().unwrap());
        let matcher = || Matcher::builder().http(&*spelled).https(&*spelled).build();
        let mut connector = connector(matcher(), Duration::from_secs(60));
        let plain = format!("http://{}", engine.local_addr().unwrap()).parse().unwrap();
        let direct = async { tokio::join!(connector.call(plain), engine.accept()) };
        let (connected, accepted) = within(direct).await;
        assert!(connected.is_ok() && accepted.is_ok());
        let told = async {
            let (mut stream, head) = head(&proxy).await;
            stream.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").await.unwrap();
            head.to_ascii_lowercase()
        };
        let through = connector.call("https://engine.invalid/v1".parse().unwrap());
        let (refused, head) = within(async { tokio::join!(through, told) }).await;
        assert!(refused.is_err());
        assert!(head.starts_with("connect engine.invalid:443 http/1.1\r\n"), "{head}");
        assert!(head.contains("proxy-authorization: basic bwu6c2vjcmv0\r\n"), "{head}");
    }

    #[tokio::test]
    async fn a_connection_that_takes_too_long_is_given_up() {
        let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let spelled = format!("http://{}", proxy.local_addr().unwrap());
        let mut connector = connector(Matcher::builder().https(spelled).build(), Duration::from_millis(20));
        let failed = connector.call("https://engine.invalid".parse().unwrap()).await.err().unwrap();
        assert_eq!(failed.to_string(), "no connection within 20ms");
    }

    #[test]
    fn the_last_cause_is_told() {
        let inner = std::io::Error::other("no route");
        let outer = std::io::Error::other(std::io::Error::other(inner));
        assert_eq!(cause(&outer), "no route");
    }
}
