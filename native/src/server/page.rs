//! The page at `/`: static files of one folder, with the headers that keep a page to its own. Never: a file outside of it, a
//! listing, or anything for a path that is no file.

use std::path::{Component, Path, PathBuf};

use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::http::{HeaderValue, Method, Uri};
use axum::response::{IntoResponse, Response};
use tower::ServiceExt;
use tower_http::services::ServeDir;

use super::absent::not_found;
use super::refusal::Handled;

/// What the page may do: `web/page/csp.ts`, and, as only a header can say, that no page may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob:; \
    connect-src 'self' https://huggingface.co https://*.huggingface.co https://*.hf.co; worker-src 'self'; base-uri 'none'; \
    form-action 'none'; require-trusted-types-for 'script'; trusted-types lyn; frame-ancestors 'none'";
/// What is at `/` where there is no page.
const NO_PAGE: &str = "This is lyn. Its page is not built: run web/build in the repository, then start the server with \
    --page web/dist.\nProgrammes ask /v1/chat/completions; see docs/server.md.\n";

/// What tells the page that a server delivered it, and where to ask: a static host cannot say it.
const META: &str = r#"<meta name="lyn-server" content="." />"#;

/// The document's file.
const INDEX: &str = "index.html";

pub(crate) enum Page {
    Folder {
        folder: PathBuf,
        /// Its files, as answers.
        files: ServeDir,
    },
    #[cfg(feature = "page")]
    Embedded,
}

#[cfg(feature = "page")]
static EMBEDDED: include_dir::Dir<'_> = include_dir::include_dir!("$CARGO_MANIFEST_DIR/../web/dist");

impl Page {
    /// The page in a folder; none where there is no index.html in it.
    pub(crate) fn open(folder: &Path) -> Option<Page> {
        let index = folder.join(INDEX);
        index.is_file().then(|| Page::Folder { folder: folder.to_owned(), files: ServeDir::new(folder) })
    }

    /// The page in this program; none where it was built without one.
    pub(crate) fn embedded() -> Option<Page> {
        #[cfg(feature = "page")]
        return Some(Page::Embedded);
        #[cfg(not(feature = "page"))]
        None
    }

    /// Whether a path is a file of the page.
    pub(crate) fn has(&self, path: &str) -> bool {
        let relative = Path::new(path.trim_start_matches('/'));
        let plain = relative.components().all(|part| matches!(part, Component::Normal(_))) && !path.contains('%');
        match self {
            Page::Folder { folder, .. } => path == "/" || (plain && folder.join(relative).is_file()),
            #[cfg(feature = "page")]
            Page::Embedded => path == "/" || (plain && EMBEDDED.get_file(relative).is_some()),
        }
    }

    /// The document as it was built.
    async fn document(&self) -> Option<String> {
        match self {
            Page::Folder { folder, .. } => tokio::fs::read_to_string(folder.join(INDEX)).await.ok(),
            #[cfg(feature = "page")]
            Page::Embedded => EMBEDDED.get_file(INDEX)?.contents_utf8().map(str::to_owned),
        }
    }

    /// Any other file.
    async fn file(&self, request: Request) -> Response {
        match self {
            Page::Folder { files, .. } => {
                let response = files.clone().oneshot(request).await;
                response.unwrap_or_else(|never| match never {}).map(axum::body::Body::new)
            }
            #[cfg(feature = "page")]
            Page::Embedded => embedded(request.uri().path()),
        }
    }
}

#[cfg(feature = "page")]
fn embedded(path: &str) -> Response {
    let path = path.trim_start_matches('/');
    let kind = match path.rsplit('.').next().unwrap_or_default() {
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "wasm" => "application/wasm",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    };
    let bytes = EMBEDDED.get_file(path).map_or(&[][..], include_dir::File::contents);
    ([(CONTENT_TYPE, kind)], bytes).into_response()
}

/// The document, with the word that it has a server. Errors: 404 where it has gone.
async fn document(page: &Page, uri: &Uri) -> Handled {
    let html = page.document().await.ok_or_else(|| not_found(uri))?;
    let html = html.replacen("</head>", &format!("{META}</head>"), 1);
    // Its files have names of their own for each version; the document must be the one that knows them.
    Ok(([(CONTENT_TYPE, "text/html"), (CACHE_CONTROL, "no-cache")], html).into_response())
}

/// Everything that is no route: a file of the page, or 404.
pub(crate) async fn page(page: Option<&Page>, request: Request) -> Handled {
    let path = request.uri().path();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    match page {
        Some(page) if reads && page.has(path) => {
            let mut response = match path.trim_start_matches('/') {
                "" | INDEX => document(page, request.uri()).await?,
                _ => page.file(request).await,
            };
            let headers = response.headers_mut();
            headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
            headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
            Ok(response)
        }
        None if reads && path == "/" => Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], NO_PAGE).into_response()),
        _ => Err(not_found(request.uri())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_is_the_page_s_own() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../web/page/csp.ts");
        let theirs = std::fs::read_to_string(path).unwrap();
        let directives: Vec<&str> = POLICY.split("; ").filter(|part| !part.starts_with("frame-ancestors")).collect();
        for directive in &directives {
            let hosts = directive.strip_prefix("connect-src 'self' ");
            let known = |text: &str| theirs.contains(&format!("\"{text}\""));
            let listed = hosts.map_or_else(|| known(directive), |hosts| hosts.split(' ').all(known));
            assert!(listed, "{directive} is not in csp.ts");
        }
        let (_, list) = theirs.split_once("CSP = [").unwrap();
        assert_eq!(list.matches(",\n").count(), directives.len());
    }

    #[test]
    fn only_files_of_the_folder_are_the_page() {
        let folder = std::env::temp_dir().join(format!("lyn-page-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("assets")).unwrap();
        assert!(Page::open(&folder).is_none());
        for file in ["index.html", "assets/a.js"] {
            std::fs::write(folder.join(file), "x").unwrap();
        }
        let page = Page::open(&folder).unwrap();
        assert!(page.has("/") && page.has("/assets/a.js") && page.has("/index.html"));
        for other in ["/assets", "/../Cargo.toml", "/assets/../../x", "/%2e%2e/Cargo.toml", "/etc/passwd", "/v1/models"]
        {
            assert!(!page.has(other), "{other}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
