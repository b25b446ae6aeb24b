//! The few operations on files that the store is made of, behind a trait: tests put a disk there that fails at will.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{Instant, SystemTime};

/// What a folder holds under a name.
pub(super) struct Found {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) modified: SystemTime,
}

/// A file being written.
pub(super) trait Output: Write + Send {
    /// Waits until the bytes are on the disk. After a failure nobody knows which of them are.
    fn sync(&mut self) -> io::Result<()>;
}

/// A disk, and the clock of the store.
pub(super) trait Files: Send + Sync {
    /// Tells each regular file of a folder whose name is UTF-8, until `found` fails.
    fn list(&self, folder: &Path, found: &mut dyn FnMut(Found) -> io::Result<()>) -> io::Result<()>;
    /// Opens a regular file to read, with its size. Follows no link, and waits for no pipe.
    fn open(&self, path: &Path) -> io::Result<(Box<dyn Read>, u64)>;
    /// Makes a file that nobody else may read; one that is there already is an error, and so is a link.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Output>>;
    /// Gives a file its final name, in place of one that had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Waits until names made in a folder are on the disk.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Removes a file, or a link itself.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes now the time at which a file was last used.
    fn touch(&self, path: &Path) -> io::Result<()>;
    /// Bytes that this user may still write to the disk of a folder; none where the system does not tell.
    fn free_bytes(&self, folder: &Path) -> io::Result<Option<u64>>;
    /// The time of a clock that never goes back.
    fn now(&self) -> Instant;
}

/// The disk of this machine.
pub(super) struct Disk;

impl Output for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

impl Files for Disk {
    fn list(&self, folder: &Path, found: &mut dyn FnMut(Found) -> io::Result<()>) -> io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            // An entry without metadata has just gone.
            let Ok(metadata) = entry.metadata() else { continue };
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                found(Found { name, bytes: metadata.len(), modified: metadata.modified()? })?;
            }
        }
        Ok(())
    }

    fn open(&self, path: &Path) -> io::Result<(Box<dyn Read>, u64)> {
        let file = plain().read(true).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file"));
        }
        Ok((Box::new(file), metadata.len()))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Output>> {
        Ok(Box::new(plain().write(true).create_new(true).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        // Elsewhere a folder cannot be opened as a file; a rename that is lost is a block that is lost.
        if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn touch(&self, path: &Path) -> io::Result<()> {
        plain().write(true).open(path)?.set_modified(SystemTime::now())
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<Option<u64>> {
        #[cfg(unix)]
        {
            let disk = rustix::fs::statvfs(folder)?;
            Ok(Some(disk.f_bavail.saturating_mul(disk.f_frsize)))
        }
        #[cfg(not(unix))]
        {
            let _ = folder;
            Ok(None)
        }
    }

    fn now(&self) -> Instant {
        Instant::now()
    }
}

/// Options for files of this user alone. A link or a pipe that takes the place of a file is neither followed nor waited for.
pub(super) fn plain() -> OpenOptions {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "only Unix has more to ask"))]
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt;
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        options.mode(0o600).custom_flags(flags.bits().cast_signed());
    }
    options
}
