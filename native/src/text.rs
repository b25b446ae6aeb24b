//! Text that the user gives: files, stdin, names. All of it is bytes first.

use std::ffi::OsStr;
use std::path::Path;

use lyn::error::{Code, Error, Result, escape, quote};

/// A file of the user's that cannot be read or written.
pub(crate) fn io_error(path: &Path, error: &std::io::Error) -> Error {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let told = Error::new(Code::Io, format!("{}: {error}", quoted(path)));
    match error.kind() {
        StorageFull | QuotaExceeded => told.with_help("make room on this disk, or write to another one"),
        FileTooLarge => told.with_help("raise the limit on the size of files (ulimit -f), or write to another disk"),
        ReadOnlyFilesystem => told.with_help("write to another disk: this one cannot be written to"),
        _ => told,
    }
}

/// All of stdin, as text. Errors: `bad_request` where it is not UTF-8, `io` where it cannot be read.
pub(crate) fn of_stdin() -> Result<String> {
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut bytes)
        .map_err(|error| Error::new(Code::Io, format!("stdin: {error}")))?;
    of_stdin_bytes(bytes)
}

/// What came from stdin, as text. Errors: `bad_request` where it is not UTF-8.
pub(crate) fn of_stdin_bytes(bytes: Vec<u8>) -> Result<String> {
    decode(bytes).map_err(|why| Error::new(Code::BadRequest, format!("stdin: {why}")).with_help(UTF8_HELP))
}

/// A file of the user's, as text. Errors: `bad_request` where it is not UTF-8, `io` where it cannot be read.
pub(crate) fn of_file(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(|error| io_error(path, &error))?;
    let bad = |why| Error::new(Code::BadRequest, format!("{}: {why}", quoted(path))).with_help(UTF8_HELP);
    decode(bytes).map_err(bad)
}

/// What to do about another encoding.
pub(crate) const UTF8_HELP: &str =
    "save it as UTF-8, for example with iconv -f LATIN1 -t UTF-8 or your editor's \"Save as\"";

/// Bytes as text, without the byte order mark that some editors write, or what they are.
pub(crate) fn decode(bytes: Vec<u8>) -> Result<String, String> {
    if let Some(found) = lyn::checkpoint::other_encoding(&bytes) {
        return Err(format!("expected UTF-8 text, found {found}"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        format!("expected UTF-8 text, found an invalid byte at offset {at}")
    })?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

/// A name from the system or the command line, escaped, in one line: safe on a terminal. Bytes that are not UTF-8 are shown as `\xe9`.
pub(crate) fn shown(name: impl AsRef<OsStr>) -> String {
    let mut out = String::new();
    for chunk in name.as_ref().as_encoded_bytes().utf8_chunks() {
        out += &escape(chunk.valid());
        out.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    out
}

/// As [`shown`], in quotes.
pub(crate) fn quoted(name: impl AsRef<OsStr>) -> String {
    let name = name.as_ref();
    name.to_str().map_or_else(|| format!("\"{}\"", shown(name)), quote)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_go_and_other_encodings_are_named() {
        assert_eq!(decode(b"\xef\xbb\xbfkey\n".to_vec()).unwrap(), "key\n");
        assert_eq!(decode("é".into()).unwrap(), "é");
        assert!(decode(b"\xff\xfek\0e\0".to_vec()).unwrap_err().contains("UTF-16"));
        assert!(decode(b"\xfe\xff\0k".to_vec()).unwrap_err().contains("UTF-16"));
        assert!(decode(b"caf\xe9".to_vec()).unwrap_err().contains("byte at offset 3"));
    }

    #[test]
    fn a_full_disk_is_no_matter_of_the_path() {
        use std::io::ErrorKind::{PermissionDenied, QuotaExceeded, StorageFull};
        let help = |kind: std::io::ErrorKind| io_error(Path::new("x"), &kind.into()).help().concat();
        assert!(help(StorageFull).contains("make room") && help(QuotaExceeded).contains("make room"));
        assert!(help(PermissionDenied).contains("permissions"));
    }

    #[cfg(unix)]
    #[test]
    fn names_are_one_safe_line() {
        use std::os::unix::ffi::OsStrExt;
        assert_eq!(shown(OsStr::from_bytes(b"caf\xe9\x1b[31m\n")), "caf\\xe9\\u{1b}[31m\\n");
        assert_eq!(quoted("a\"b"), "\"a\\\"b\"");
    }
}
