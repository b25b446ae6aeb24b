//! What a repository has: its commit, and the paths, sizes and hashes of its files.

use std::collections::HashSet;

use hyper::Uri;
use hyper::header::{HeaderMap, LINK};
use lyn::error::{Code, Result, quote};
use serde::Deserialize;

use super::client::HubClient;
use super::endpoint::redirected;
use super::hash::FileHash;
use super::name::{HubName, is_commit, is_safe_path};
use super::refusal::{Subject, network};

/// Bytes of one answer about a repository, and of one page of its list.
const ANSWER_BYTES: usize = 16 << 20;
/// Most pages of a list.
const PAGES: usize = 100;
/// Most files and folders of a repository.
const ENTRIES: usize = 50_000;
/// Largest file, in bytes.
const FILE_BYTES: u64 = 1 << 50;

/// A file of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemoteFile {
    /// Path in the repository, safe to be joined to a folder.
    pub(crate) path: String,
    /// Length in bytes.
    pub(crate) size: u64,
    pub(super) digest: FileHash,
}

/// A repository at one commit.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    pub(crate) commit: String,
    pub(crate) files: Vec<RemoteFile>,
}

#[derive(Deserialize)]
struct Revision {
    sha: String,
}

#[derive(Deserialize)]
struct TreeEntry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    oid: String,
    lfs: Option<LargeFile>,
}

#[derive(Deserialize)]
struct LargeFile {
    oid: String,
    size: u64,
}

/// Lists a repository. Errors: `network`, `unauthorized`, `model_not_found`.
pub(super) async fn read(client: &HubClient, name: &HubName) -> Result<Listing> {
    let host = client.endpoint().shown().to_owned();
    let page = client.endpoint().page(name.repository());
    let shown = name.with_wanted(None).to_string();
    let asked = Subject { name: &shown, page: &page, file: None, has_token: client.has_token() };
    let uri = client.endpoint().revision(name.repository(), name.revision())?;
    let commit = match client.whole(&uri, ANSWER_BYTES, &asked).await {
        Ok((_, body)) => {
            let revision: Revision = serde_json::from_slice(&body)
                .map_err(|error| network(&host, format!("expected facts of {shown}, found something else: {error}")))?;
            Some(revision.sha)
        }
        // Some mirrors have the list and the files alone.
        Err(error) if error.code() == Code::ModelNotFound => None,
        Err(error) => return Err(error),
    };
    let (files, listed) = tree(client, name, commit.as_deref(), &asked).await?;
    let commit = commit.or(listed).unwrap_or_default();
    if !is_commit(&commit) {
        return Err(network(&host, format!("expected a commit for {shown}, found {}", quote(&commit))));
    }
    Ok(Listing { commit, files })
}

/// The files of a commit, or of the revision that is asked for, and the commit that the server says it is.
async fn tree(
    client: &HubClient,
    name: &HubName,
    commit: Option<&str>,
    asked: &Subject<'_>,
) -> Result<(Vec<RemoteFile>, Option<String>)> {
    let host = client.endpoint().shown();
    let revision = commit.unwrap_or(name.revision());
    let mut next = Some(client.endpoint().tree(name.repository(), revision)?);
    let (mut files, mut paths, mut listed) = (vec![], HashSet::new(), is_commit(revision).then(|| revision.to_owned()));
    let mut pages = 0;
    while let Some(uri) = next {
        pages += 1;
        let (headers, body) = client.whole(&uri, ANSWER_BYTES, asked).await?;
        let entries: Vec<TreeEntry> = serde_json::from_slice(&body)
            .map_err(|error| network(host, format!("expected a list of files, found something else: {error}")))?;
        for entry in entries {
            let path = entry.path.clone();
            if !paths.insert(path.clone()) {
                return Err(network(host, format!("lists {} twice", quote(&path))));
            }
            files.extend(file(entry).map_err(|what| network(host, format!("lists {} {what}", quote(&path))))?);
        }
        if paths.len() > ENTRIES || pages > PAGES {
            return Err(network(host, format!("lists more than {ENTRIES} files of one repository")));
        }
        listed = listed.or_else(|| Some(headers.get("x-repo-commit")?.to_str().ok()?.to_owned()));
        next = following(&uri, &headers);
        if next.as_ref().is_some_and(|next| !client.endpoint().is_home_of(next)) {
            return Err(network(host, "continues its list of files on another server"));
        }
    }
    Ok((files, listed))
}

/// A file of the list; none for folders, and for names that not every system can have.
fn file(entry: TreeEntry) -> Result<Option<RemoteFile>, &'static str> {
    let leaves =
        entry.path.starts_with('/') || entry.path.split(['/', '\\']).any(|part| part == "..") || entry.path.is_empty();
    if leaves {
        return Err("which is not below the repository");
    }
    if entry.kind != "file" || !is_safe_path(&entry.path) {
        return Ok(None);
    }
    let (digest, size) = match entry.lfs {
        Some(large) => (FileHash::sha256(&large.oid), large.size),
        None => (FileHash::git_blob(&entry.oid), entry.size),
    };
    let digest = digest.ok_or("without a hash")?;
    if size > FILE_BYTES {
        return Err("with an impossible size");
    }
    Ok(Some(RemoteFile { path: entry.path, size, digest }))
}

/// The next page of a list.
fn following(uri: &Uri, headers: &HeaderMap) -> Option<Uri> {
    let links = headers.get(LINK)?.to_str().ok()?;
    let next = links.split(',').find(|link| link.contains("rel=\"next\"") || link.contains("rel=next"))?;
    let (target, _) = next.trim().strip_prefix('<')?.split_once('>')?;
    redirected(uri, target)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, oid: &str, lfs: Option<&str>) -> TreeEntry {
        let lfs = lfs.map(|oid| LargeFile { oid: oid.to_owned(), size: 7 });
        TreeEntry { kind: "file".to_owned(), path: path.to_owned(), size: 5, oid: oid.to_owned(), lfs }
    }

    #[test]
    fn files_have_the_size_and_the_hash_of_what_is_downloaded() {
        let (small, large) = ("a".repeat(40), "b".repeat(64));
        let found = file(entry("a.json", &small, None)).unwrap().unwrap();
        assert_eq!((found.size, found.digest.as_str()), (5, &*small));
        let found = file(entry("x/a.gguf", &small, Some(&large))).unwrap().unwrap();
        assert_eq!((found.size, found.digest.as_str()), (7, &*large));
    }

    #[test]
    fn what_leaves_the_repository_is_refused() {
        let oid = "a".repeat(40);
        for path in ["../x", "/etc/passwd", "a/../../x", "..\\x", ""] {
            assert!(file(entry(path, &oid, None)).is_err(), "{path}");
        }
        for path in ["a\\b", "c:x", "a//b", "a\nb", "./a"] {
            assert!(file(entry(path, &oid, None)).unwrap().is_none(), "{path}");
        }
        assert!(file(entry("a", "../../x", None)).is_err());
        assert!(file(entry("a", &oid, Some("short"))).is_err());
        let mut large = entry("a", &oid, Some(&"b".repeat(64)));
        large.lfs.as_mut().unwrap().size = u64::MAX;
        assert!(file(large).is_err());
    }

    #[test]
    fn the_next_page_is_where_the_link_says() {
        let uri: Uri = "https://hub/api?x".parse().unwrap();
        let next = |link: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(LINK, link.parse().unwrap());
            following(&uri, &headers).map(|uri| uri.to_string())
        };
        assert_eq!(next("<https://hub/api?cursor=1>; rel=\"next\"").as_deref(), Some("https://hub/api?cursor=1"));
        assert_eq!(
            next("</a>; rel=\"prev\", </api?cursor=2>; rel=\"next\"").as_deref(),
            Some("https://hub/api?cursor=2")
        );
        assert_eq!(next("nonsense; rel=\"next\""), None);
    }
}
