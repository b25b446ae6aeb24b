//! Oracles: first bytes of files as their formats define them; ranges by hand.

use crate::checkpoint::files::optional_small_file;
use crate::checkpoint::{FolderSource, MemorySource, Source, other_encoding, small_file};
use crate::error::{Code, Result};
use crate::platform::block_on;

/// Each row: first bytes, and what they are.
#[test]
fn encodings_are_known_by_their_marks() {
    for (start, found) in [
        (&[0xff, 0xfe, 0, 0, b'a'][..], Some("UTF-32 text")),
        (&[0, 0, 0xfe, 0xff], Some("UTF-32 text")),
        (&[0xff, 0xfe, b'a', 0], Some("UTF-16 text")),
        (&[0xfe, 0xff, 0, b'a'], Some("UTF-16 text")),
        (&[0xff, 0xfe], Some("UTF-16 text")),
        (&[0xff, 0xfe, 0], Some("UTF-16 text")),
        (&[0, 0, 0xfe], None),
        (&[0xef, 0xbb, 0xbf], None),
        (b"{}", None),
        (&[], None),
    ] {
        assert_eq!(other_encoding(start), found, "{start:?}");
    }
}

fn read(bytes: &[u8], cap: u64) -> Result<Vec<u8>> {
    block_on(small_file(&MemorySource::new().with("f", bytes.to_vec()), "f", cap))
}

#[test]
fn a_file_of_another_kind_is_named_with_its_remedy() {
    let convert = "unpack it, or convert a PyTorch file to safetensors";
    let pickle = "convert it to safetensors; lyn never runs pickles";
    let page = "download the file again; the server sent a page in its place";
    for (start, what, help) in [
        (&b"version https://git-lfs.github.com"[..], "a git-lfs pointer", "fetch the file itself: git lfs pull"),
        (b"PK\x03\x04", "a zip archive", convert),
        (b"GGUF\x03", "a GGUF file", "use the checkpoint in safetensors form"),
        (b"\x80\x02", "a Python pickle", pickle),
        (b"\x80\x05", "a Python pickle", pickle),
        (b"\x80\x04}", "a Python pickle", pickle),
        (b" \n<html>", "a web page", page),
        (b"<", "a web page", page),
        (&[0xff, 0xfe, 0, 0], "UTF-32 text", "save it as UTF-8"),
        (&[0xfe, 0xff], "UTF-16 text", "save it as UTF-8"),
        (&[0; 9], "only zeros", "download the file again"),
        (&[0; 100], "only zeros", "download the file again"),
    ] {
        let error = read(start, 1000).unwrap_err();
        assert_eq!((error.message(), error.help()), (&*format!("E-KIND: f: this is {what}"), &[help.to_owned()][..]));
    }
    let late = [&[0; 64][..], b"a"].concat();
    assert!(read(&late, 1000).is_err(), "the first 64 bytes decide");
    let soon = [&[0; 63][..], b"a"].concat();
    for good in [
        &b""[..],
        b"{}",
        b"version 5",
        b"version https://git",
        b"PK",
        b"\x80\x01",
        b"\x80\x06",
        b"\x80",
        &[0; 8],
        &soon,
        b" x<",
    ] {
        assert_eq!(read(good, 1000).unwrap(), good);
    }
}

#[test]
fn a_small_file_is_read_whole_up_to_its_cap() {
    assert_eq!(read(b"abcd", 4).unwrap(), b"abcd");
    assert_eq!(read(b"abcde", 4).unwrap_err().message(), "E-LIMIT: f: expected at most 4 bytes, found 5");
    assert_eq!(read(b"\xef\xbb\xbfab", 5).unwrap(), b"ab", "a byte order mark means nothing");
    let empty = MemorySource::new();
    assert_eq!(block_on(small_file(&empty, "f", 4)).unwrap_err().message(), "E-IO: f: no such file");
    assert_eq!(block_on(optional_small_file(&empty, "f", 4)).unwrap(), None);
}

/// Ranges of a file of six bytes, in memory and in a folder.
#[test]
fn a_range_is_read_exactly_or_not_at_all() {
    let folder = std::env::temp_dir().join(format!("lyn-ranges-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("f"), b"abcdef").unwrap();
    let memory = MemorySource::new().with("f", b"abcdef".to_vec());
    let disk = FolderSource::new(&folder).unwrap();
    for source in [&memory as &dyn Source, &disk] {
        let read = |offset, length| block_on(source.read("f", offset, length));
        assert_eq!(block_on(source.size("f")).unwrap(), Some(6));
        assert_eq!(block_on(source.size("g")).unwrap(), None);
        for (offset, length, expected) in
            [(0, 6, &b"abcdef"[..]), (2, 3, b"cde"), (5, 1, b"f"), (6, 0, b""), (0, 0, b"")]
        {
            assert_eq!(read(offset, length).unwrap(), expected, "{offset} {length}");
        }
        for (offset, length) in [(0, 7), (5, 2), (6, 1), (7, 0), (u64::MAX, 1), (u64::MAX, usize::MAX)] {
            let message = format!("E-LEN: f: expected {length} bytes at byte {offset}, found a file of 6 bytes");
            assert_eq!(read(offset, length).unwrap_err().message(), message);
        }
        assert_eq!(block_on(source.read("g", 0, 1)).unwrap_err().message(), "E-IO: g: no such file");
    }
    for name in ["", ".", "..", "a/b", "a\\b", "a:b", "a\0b"] {
        let error = block_on(disk.size(name)).unwrap_err();
        assert!(error.message().ends_with("not a plain file name"), "{name}: {error}");
    }
    assert!(block_on(disk.size("...")).unwrap().is_none());
    std::fs::create_dir_all(folder.join("d")).unwrap();
    assert_eq!(block_on(disk.size("d")).unwrap_err().message(), "E-IO: d: not a regular file");
    let error = FolderSource::new(folder.join("f")).unwrap_err();
    assert!(error.code() == Code::ModelNotFound && error.message().ends_with(": not a folder"), "{error}");
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(FolderSource::new(&folder).unwrap_err().code(), Code::ModelNotFound);
}

#[test]
fn a_file_of_the_same_name_takes_the_place_of_another() {
    let source = MemorySource::new().with("f", &b"a"[..]).with("f", &b"bc"[..]);
    assert_eq!(block_on(source.read("f", 0, 2)).unwrap(), b"bc");
}
