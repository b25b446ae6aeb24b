//! Hashes by which the Hub knows files, and which are the names of their blobs in the cache.

use lyn::error::{Class, Error};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::name::is_hex;

/// The listed hash of a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum FileHash {
    /// Of a large file: of its bytes.
    Sha256(String),
    /// Of a small file: of git's blob, which begins with the length.
    GitBlob(String),
}

impl FileHash {
    /// The hash of a large file; none where it is none.
    pub(super) fn sha256(text: &str) -> Option<FileHash> {
        let text = text.strip_prefix("sha256:").unwrap_or(text);
        (text.len() == 64 && is_hex(text)).then(|| FileHash::Sha256(text.to_owned()))
    }

    /// The hash of a small file; none where it is none.
    pub(super) fn git_blob(text: &str) -> Option<FileHash> {
        (text.len() == 40 && is_hex(text)).then(|| FileHash::GitBlob(text.to_owned()))
    }

    /// The name of the blob.
    pub(super) fn as_str(&self) -> &str {
        match self {
            FileHash::Sha256(text) | FileHash::GitBlob(text) => text,
        }
    }

    /// Begins to hash a file of `size` bytes.
    pub(super) fn begin(&self, size: u64) -> Hasher {
        match self {
            FileHash::Sha256(_) => Hasher::Sha256(Sha256::new()),
            FileHash::GitBlob(_) => {
                let mut hasher = Sha1::new();
                hasher.update(format!("blob {size}\0"));
                Hasher::GitBlob(hasher)
            }
        }
    }

    /// Errors: `bad_checkpoint` of the class E-HASH where the bytes of a file have another hash.
    pub(super) fn check(&self, path: &str, hasher: Hasher) -> Result<(), Error> {
        let found = hasher.finish();
        if found == self.as_str() {
            return Ok(());
        }
        Err(Error::file(Class::Hash, path, format_args!("expected the hash {}, found {found}", self.as_str())))
    }
}

/// A hash in the making.
pub(super) enum Hasher {
    Sha256(Sha256),
    GitBlob(Sha1),
}

impl Hasher {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::GitBlob(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self {
            Hasher::Sha256(hasher) => hex(&hasher.finalize()),
            Hasher::GitBlob(hasher) => hex(&hasher.finalize()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Oracle: `git hash-object` and `sha256sum` of "hello\n".
    #[test]
    fn hashes_are_those_of_git_and_of_large_files() {
        let git = FileHash::git_blob("ce013625030ba8dba906f756967f9e9ca394464a").unwrap();
        let large =
            FileHash::sha256("sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03").unwrap();
        for digest in [git, large] {
            let mut hasher = digest.begin(6);
            hasher.update(b"hel");
            hasher.update(b"lo\n");
            digest.check("a", hasher).unwrap();
            let mut other = digest.begin(6);
            other.update(b"hello!");
            assert_eq!(digest.check("a", other).unwrap_err().class(), Some("E-HASH"));
        }
        for text in ["", "../x", "CE013625030ba8dba906f756967f9e9ca394464a", "ce01"] {
            assert!(FileHash::git_blob(text).is_none() && FileHash::sha256(text).is_none(), "{text}");
        }
    }
}
