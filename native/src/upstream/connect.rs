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
use lyn::error::{Code, Error, Result};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tower_service::Service;

type BoxError = Box<dyn StdError + Send + Sync>;

/// Makes connections for the HTTP client.
#[derive(Clone)]
pub(super) struct Connector {
    tcp: HttpConnector,
    tls: Arc<ClientConfig>,
    proxies: Arc<Matcher>,
    limit: Duration,
}

impl Connector {
    /// Connections with or without TLS, each made within `limit`. Errors: `upstream` where TLS is needed and the system has
    /// no certificates.
    pub(super) fn new(tls: bool, limit: Duration) -> Result<Connector> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let failed = |what: &dyn std::fmt::Display| {
            Error::new(Code::Upstream, format!("TLS: {what}"))
                .with_help("install the system's certificates (ca-certificates), or set SSL_CERT_FILE")
        };
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
    type Future = Pin<Box<dyn Future<Output = std::result::Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::result::Result<(), BoxError>> {
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
pub(super) fn cause(error: &(dyn StdError + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
