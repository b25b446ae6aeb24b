//! Small files read whole, under a cap, and files that are something else than their name says.

use super::source::Source;
use crate::error::{Class, Error, Result};

/// Cap of config.json and of generation_config.json, in bytes.
pub const CONFIG_BYTES: u64 = 1 << 20;
/// Cap of model.safetensors.index.json, in bytes.
pub(crate) const INDEX_BYTES: u64 = 64 << 20;

pub(super) const JSON_START: u8 = b'{';

/// The whole of a small file. `cap` is in bytes.
///
/// # Errors
/// [`Class::Io`]: absent or unreadable. [`Class::Limit`]: above the cap. [`Class::Kind`]: a git-lfs pointer, a web page,
/// an archive or another model format under this name.
pub async fn small_file(source: &dyn Source, file: &str, cap: u64) -> Result<Vec<u8>> {
    optional_small_file(source, file, cap).await?.ok_or_else(|| Error::file(Class::Io, file, "no such file"))
}

/// As [`small_file`]; `None` where there is no such file.
///
/// # Errors
/// As [`small_file`], except for absent files.
pub(crate) async fn optional_small_file(source: &dyn Source, file: &str, cap: u64) -> Result<Option<Vec<u8>>> {
    let Some(size) = source.size(file).await? else {
        return Ok(None);
    };
    let length = usize::try_from(size).ok().filter(|_| size <= cap);
    let length = length
        .ok_or_else(|| Error::file(Class::Limit, file, format_args!("expected at most {cap} bytes, found {size}")))?;
    let mut bytes = source.read(file, 0, length).await?;
    refuse_other_kinds(file, &bytes)?;
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(Some(bytes))
}

/// What some editors write before UTF-8 text; it means nothing there.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The encoding other than UTF-8 that a text names in its first bytes.
pub fn other_encoding(start: &[u8]) -> Option<&'static str> {
    match start {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Some("UTF-32 text"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16 text"),
        _ => None,
    }
}

/// Says which other kind of file begins like this, if it is a known one.
pub(super) fn refuse_other_kinds(file: &str, start: &[u8]) -> Result<()> {
    let start = start.get(..64).unwrap_or(start);
    let text = start.trim_ascii_start();
    let (found, help) = match start {
        [b'v', b'e', b'r', b's', b'i', b'o', b'n', b' ', rest @ ..] if rest.starts_with(b"https://git-lfs") => {
            ("a git-lfs pointer", "fetch the file itself: git lfs pull")
        }
        [b'P', b'K', 3, 4, ..] => ("a zip archive", "unpack it, or convert a PyTorch file to safetensors"),
        [b'G', b'G', b'U', b'F', ..] => ("a GGUF file", "use the checkpoint in safetensors form"),
        [0x80, 2..=5, ..] => ("a Python pickle", "convert it to safetensors; lyn never runs pickles"),
        _ if text.starts_with(b"<") => ("a web page", "download the file again; the server sent a page in its place"),
        _ if other_encoding(start).is_some() => (other_encoding(start).unwrap_or_default(), "save it as UTF-8"),
        // Eight zeros alone are a header length.
        _ if start.len() > 8 && start.iter().all(|&byte| byte == 0) => ("only zeros", "download the file again"),
        _ => return Ok(()),
    };
    Err(Error::file(Class::Kind, file, format_args!("this is {found}")).with_help(help))
}
