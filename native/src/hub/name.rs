//! Names of models on the Hub: `org/name`, `org/name@revision`, `org/name:Q8_0`, `org/name:folder/file.gguf`.

use std::fmt;

use lyn::error::{Code, Error, Result, quote};

/// Longest half of a repository's name, as the Hub has it.
const NAME_BYTES: usize = 96;
/// Longest revision, and longest path of a file, in bytes.
const PATH_BYTES: usize = 1024;
/// What the Hub calls the newest state of a repository.
const MAIN: &str = "main";
/// Spellings that can mean nothing else.
const PREFIXES: [&str; 6] = ["hf://", "hf:", "https://huggingface.co/", "huggingface.co/", "https://hf.co/", "hf.co/"];

/// A repository, its revision, and which of its models is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HubName {
    /// `org/name`.
    repository: String,
    revision: Option<String>,
    /// A quantisation or a file; none where there is only one, or the choice is free.
    wanted: Option<String>,
}

impl HubName {
    /// Reads a name. Errors: `bad_request` with what is wrong.
    pub(crate) fn parse(text: &str) -> Result<HubName> {
        let bare = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)).unwrap_or(text);
        let refuse = |what: &str| {
            let message = format!("{} is not a Hub model: {what}", quote(text));
            Err(Error::new(Code::BadRequest, message)
                .with_help("write org/name, org/name:Q8_0, org/name:file.gguf or org/name@revision"))
        };
        let (bare, wanted) = match bare.split_once(':') {
            Some((bare, wanted)) => (bare, Some(wanted)),
            None => (bare, None),
        };
        let (repository, revision) = match bare.split_once('@') {
            Some((repository, revision)) => (repository, Some(revision)),
            None => (bare, None),
        };
        let repository = repository.trim_end_matches('/');
        let Some((owner, name)) = repository.split_once('/') else {
            return refuse("expected an owner and a name, with / between them");
        };
        if !is_plain(owner) || !is_plain(name) || name.ends_with(".git") {
            return refuse("a name has letters, digits, -, _ and ., at most 96 of them");
        }
        if revision.is_some_and(|revision| !is_safe_path(revision) || revision.contains([' ', '?', '#', '%'])) {
            return refuse("the revision after @ is none that a repository can have");
        }
        if wanted.is_some_and(|wanted| !is_safe_path(wanted)) {
            return refuse("expected a quantisation or a file of the repository after the colon");
        }
        let (revision, wanted) = (revision.map(str::to_owned), wanted.map(str::to_owned));
        Ok(HubName { repository: repository.to_owned(), revision, wanted })
    }

    /// What a MODEL means that is not there on the disk; none where it does not look like a name on the Hub.
    pub(crate) fn of_model(text: &str) -> Option<HubName> {
        let is_marked = PREFIXES.iter().any(|prefix| text.starts_with(prefix));
        let repository = text.split([':', '@']).next().unwrap_or_default();
        let is_path = repository.starts_with(['.', '~', '/']) || repository.matches('/').count() != 1;
        if is_path && !is_marked { None } else { HubName::parse(text).ok() }
    }

    /// `org/name`.
    pub(crate) fn repository(&self) -> &str {
        &self.repository
    }

    /// A branch, a tag or a commit.
    pub(crate) fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or(MAIN)
    }

    /// Whether a revision is named; else the newest state is meant.
    pub(crate) fn has_revision(&self) -> bool {
        self.revision.is_some()
    }

    /// The quantisation or the file that is named.
    pub(crate) fn wanted(&self) -> Option<&str> {
        self.wanted.as_deref()
    }

    /// The same repository with another quantisation or file.
    pub(crate) fn with_wanted(&self, wanted: Option<&str>) -> HubName {
        HubName { wanted: wanted.map(str::to_owned), ..self.clone() }
    }

    /// The same at a commit.
    pub(crate) fn with_revision(&self, revision: &str) -> HubName {
        HubName { revision: Some(revision.to_owned()), ..self.clone() }
    }

    /// The name of the repository's folder in the cache.
    pub(crate) fn folder(&self) -> String {
        format!("models--{}", self.repository.replace('/', "--"))
    }

    /// The repository that a folder of the cache holds; none where it holds no model.
    pub(crate) fn of_folder(folder: &str) -> Option<HubName> {
        let (owner, name) = folder.strip_prefix("models--")?.split_once("--")?;
        HubName::parse(&format!("{owner}/{name}")).ok()
    }
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository)?;
        if let Some(revision) = &self.revision {
            write!(f, "@{revision}")?;
        }
        match &self.wanted {
            Some(wanted) => write!(f, ":{wanted}"),
            None => Ok(()),
        }
    }
}

/// Half of a repository's name, by the rules of the Hub: it is part of a folder's name too.
fn is_plain(text: &str) -> bool {
    let is_made_of = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=NAME_BYTES).contains(&text.len())
        && text.chars().all(is_made_of)
        && !text.starts_with(['-', '.'])
        && !text.ends_with(['-', '.'])
        && !text.contains("--")
        && !text.contains("..")
}

/// A path that stays below the folder it is joined to, on every system.
pub(super) fn is_safe_path(text: &str) -> bool {
    text.len() <= PATH_BYTES
        && !text.chars().any(|c| matches!(c, '\\' | ':') || lyn::error::is_hidden(c))
        && text.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}

/// A commit, as it is in the Hub's answers and in names of folders.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && is_hex(text)
}

/// Lower-case hexadecimal digits alone.
pub(super) fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_a_repository_a_revision_and_a_file() {
        for (text, repository, revision, wanted) in [
            ("org/name", "org/name", "main", None),
            ("hf:org/name@v1.0", "org/name", "v1.0", None),
            ("hf.co/org/name:Q4_K_M", "org/name", "main", Some("Q4_K_M")),
            ("https://huggingface.co/org/name/", "org/name", "main", None),
            ("a_b/c.d-e@refs/pr/1:sub/f.gguf", "a_b/c.d-e", "refs/pr/1", Some("sub/f.gguf")),
        ] {
            let name = HubName::parse(text).unwrap();
            assert_eq!((name.repository(), name.revision(), name.wanted()), (repository, revision, wanted), "{text}");
            assert_eq!(HubName::parse(&name.to_string()).unwrap(), name);
            assert_eq!(HubName::of_folder(&name.folder()).unwrap().repository(), repository);
        }
    }

    #[test]
    fn what_could_leave_the_cache_is_no_name() {
        for text in [
            "",
            "name",
            "/name",
            "org/",
            "../name",
            "org/..",
            "org/a/b",
            "org/a--b",
            "-org/a",
            "org/a.",
            "org/a\\b",
            "org/a b",
            "org/é",
            "org/a@",
            "org/a@../x",
            "org/a@/x",
            "org/a@x//y",
            "org/a:",
            "org/a:../x",
            "org/a:/x",
            "org/a:x/../y",
            "org/a:x\0",
            "org/a.git",
            "hf:/etc/passwd",
            "org/a:c:\\x",
        ] {
            let error = HubName::parse(text).unwrap_err();
            assert_eq!(error.code(), Code::BadRequest, "{text:?}");
        }
        assert!(HubName::parse(&format!("org/{}", "a".repeat(97))).is_err());
    }

    #[test]
    fn paths_are_no_names() {
        for text in ["stories", "./org/name", "../name", "/org/name", "a/b/c", "~/name", "name"] {
            assert_eq!(HubName::of_model(text), None, "{text}");
        }
        assert!(HubName::of_model("org/name:Q8_0").is_some() && HubName::of_model("hf:org/name@a/b").is_some());
    }
}
