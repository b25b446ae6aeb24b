//! The folder: whose it is, one process at a time, which names are ours.
//!
//! Entries are named by digests in hexadecimal and nothing else; a name with `.tmp` behind it is an entry being written.
//! Files with other names are nobody's business here: they are neither read nor removed.

use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::entry::Digest;
use super::files::{Files, plain};
use super::index::{Index, Moment, Name, ScopeTag};

/// Locked by the process that uses the folder. Never removed: a lock on a name that is made anew locks nobody out.
const LOCK: &str = "lock";
/// Behind the name of an entry that is being written.
const TEMPORARY: &str = ".tmp";

/// What the name of a file means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FileRole {
    Entry(Name),
    Temporary,
    Lock,
    Foreign,
}

impl FileRole {
    pub(super) fn of(name: &str) -> FileRole {
        match (name == LOCK, parse(name), name.strip_suffix(TEMPORARY).and_then(parse)) {
            (true, ..) => FileRole::Lock,
            (_, Some(name), _) => FileRole::Entry(name),
            (.., Some(_)) => FileRole::Temporary,
            _ => FileRole::Foreign,
        }
    }
}

fn parse(name: &str) -> Option<Name> {
    let mut bytes = [0; size_of::<Digest>() + size_of::<ScopeTag>()];
    let (pairs, rest) = name.as_bytes().as_chunks::<2>();
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        // Two spellings of one name would be two files of one entry; `from_str_radix` also takes a sign.
        let hexadecimal = pair.iter().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|_| hexadecimal)?, 16).ok()?;
    }
    Some(Name { digest: *bytes.first_chunk()?, scope: *bytes.last_chunk()? })
}

/// The file of an entry.
pub(super) fn path(folder: &Path, name: &Name) -> PathBuf {
    folder.join(file_name(name))
}

/// The file of an entry while it is being written.
pub(super) fn temporary_path(folder: &Path, name: &Name) -> PathBuf {
    folder.join(file_name(name) + TEMPORARY)
}

fn file_name(name: &Name) -> String {
    name.digest.iter().chain(&name.scope).map(|byte| format!("{byte:02x}")).collect()
}

/// Makes the folder, for this user alone, or makes sure that nobody else can write to the one there is. Errors: what the
/// system says, or who may write to it.
pub(super) fn prepare(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let metadata = std::fs::metadata(folder)?;
        let mode = metadata.mode() & 0o777;
        let refuse = |why: String| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            return refuse(format!("it belongs to user {}; use a folder of your own", metadata.uid()));
        }
        if mode & 0o022 != 0 {
            return refuse(format!("others may write to it (mode {mode:o}); change that with: chmod 700 FOLDER"));
        }
    }
    Ok(())
}

/// Keeps others from reading the names in a folder that holds nothing but ours.
pub(super) fn close(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}

/// The lock of a folder, kept for as long as the file is open; none where another process has it.
pub(super) fn lock(folder: &Path) -> io::Result<Option<File>> {
    let file = plain().read(true).write(true).create(true).truncate(false).open(folder.join(LOCK))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether a process uses a folder.
pub(super) fn is_in_use(folder: &Path) -> bool {
    let file = plain().read(true).open(folder.join(LOCK));
    file.is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

/// What is in a folder that this process has locked.
pub(super) struct Scan {
    pub(super) index: Index,
    /// Whether there are files that are not ours.
    pub(super) has_foreign: bool,
}

/// Lists the entries, without opening them. Temporary files go, whatever their age: with the lock held, whoever wrote them
/// is no more. At most `entries` are kept in mind, so that memory has a bound; more of them go too.
pub(super) fn scan(files: &dyn Files, folder: &Path, entries: usize) -> io::Result<Scan> {
    let mut scan = Scan { index: Index::default(), has_foreign: false };
    let now = SystemTime::now();
    files.list(folder, &mut |found| {
        let kept = match FileRole::of(&found.name) {
            FileRole::Entry(name) => {
                scan.index.len() < entries && scan.index.insert(name, found.bytes, before(age(now, found.modified)))
            }
            FileRole::Temporary => false,
            FileRole::Lock => true,
            FileRole::Foreign => {
                scan.has_foreign = true;
                true
            }
        };
        if kept { Ok(()) } else { files.remove(&folder.join(&found.name)) }
    })?;
    Ok(scan)
}

/// How long ago something was used. A time in the future, after a clock was set back, is now.
pub(super) fn age(now: SystemTime, used: SystemTime) -> Duration {
    now.duration_since(used).unwrap_or_default()
}

fn before(age: Duration) -> Moment {
    Moment::try_from(age.as_nanos()).unwrap_or(Moment::MAX).saturating_neg()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_digests_are_names() {
        let name = Name { digest: [0xab; 32], scope: [0x0c; 16] };
        let file = file_name(&name);
        assert_eq!(file, "ab".repeat(32) + &"0c".repeat(16));
        assert_eq!(FileRole::of(&file), FileRole::Entry(name));
        assert_eq!(FileRole::of(&(file.clone() + ".tmp")), FileRole::Temporary);
        assert_eq!(FileRole::of("lock"), FileRole::Lock);
        let (short, sign) = (&file[1..], file.replacen("ab", "+b", 1));
        let others = ["", ".tmp", "notes.txt", short, &sign, &file.to_uppercase(), &(file.clone() + "00"), "ab"];
        for other in others {
            assert_eq!(FileRole::of(other), FileRole::Foreign, "{other}");
        }
    }
}
