//! Where the bytes of a checkpoint come from: bounded range reads by file name.
//!
//! In: a plain file name and a range. Out: exactly those bytes, or a named error. Never: a path from input that leaves the
//! folder, a write, a read of anything but a regular file, a whole file in memory. A browser's files are another [`Source`].
//! With `platform.rs` and `gpu/`, this is the only home of `cfg(target_arch)`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use crate::error::{Class, Error, Result};
use crate::platform::Shareable;

/// A boxed future; natively it may move between threads, in a browser it need not.
#[cfg(not(target_arch = "wasm32"))]
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
/// A boxed future; natively it may move between threads, in a browser it need not.
#[cfg(target_arch = "wasm32")]
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Files of one model, by plain name, read in ranges.
///
/// ```
/// use lyn::checkpoint::{MemorySource, Source};
/// let source = MemorySource::new().with("config.json", &b"{}"[..]);
/// assert_eq!(pollster::block_on(source.read("config.json", 1, 1))?, b"}");
/// # Ok::<(), lyn::Error>(())
/// ```
pub trait Source: Shareable {
    /// Size of a file in bytes; `None` where there is no such file.
    ///
    /// # Errors
    /// [`Class::Io`]: the name belongs to something that is not a readable regular file.
    fn size<'a>(&'a self, file: &'a str) -> BoxFuture<'a, Result<Option<u64>>>;

    /// Exactly `length` bytes from `offset`. The caller bounds `length`; nothing is allocated for bytes that do not exist.
    ///
    /// # Errors
    /// [`Class::Io`]: absent or unreadable. [`Class::Len`]: the file ends before the range does.
    fn read<'a>(&'a self, file: &'a str, offset: u64, length: usize) -> BoxFuture<'a, Result<Vec<u8>>>;

    /// The GGUF file that is the model, or the first of several; none: a folder as Hugging Face has it.
    fn gguf(&self) -> Option<&str>;
}

/// Files in memory: the embedded model, and tests.
#[derive(Clone, Default)]
pub struct MemorySource {
    files: BTreeMap<String, Cow<'static, [u8]>>,
}

impl MemorySource {
    /// A source without files.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file, replacing one of the same name.
    #[must_use]
    pub fn with(mut self, file: &str, bytes: impl Into<Cow<'static, [u8]>>) -> Self {
        self.files.insert(file.to_owned(), bytes.into());
        self
    }
}

impl Source for MemorySource {
    fn gguf(&self) -> Option<&str> {
        self.files.keys().map(String::as_str).find(|name| name.ends_with(".gguf"))
    }

    fn size<'a>(&'a self, file: &'a str) -> BoxFuture<'a, Result<Option<u64>>> {
        let size = self.files.get(file).map(|bytes| bytes.len() as u64);
        Box::pin(std::future::ready(Ok(size)))
    }

    fn read<'a>(&'a self, file: &'a str, offset: u64, length: usize) -> BoxFuture<'a, Result<Vec<u8>>> {
        let found = match self.files.get(file) {
            None => Err(Error::file(Class::Io, file, "no such file")),
            Some(bytes) => usize::try_from(offset)
                .ok()
                .and_then(|start| bytes.get(start..start.checked_add(length)?))
                .map(<[u8]>::to_vec)
                .ok_or_else(|| ends_early(file, offset, length, bytes.len() as u64)),
        };
        Box::pin(std::future::ready(found))
    }
}

fn ends_early(file: &str, offset: u64, length: usize, size: u64) -> Error {
    let message = format_args!("expected {length} bytes at byte {offset}, found a file of {size} bytes");
    Error::file(Class::Len, file, message)
}

#[cfg(not(target_arch = "wasm32"))]
pub use folder::FolderSource;

#[cfg(not(target_arch = "wasm32"))]
mod folder {
    use std::fs::{self, File};
    use std::path::{Path, PathBuf};

    use super::{BoxFuture, Class, Error, Result, Source, ends_early};
    use crate::checkpoint::parts;
    use crate::error::{Code, quote};

    /// A model folder, only ever read. Reads block the calling thread.
    ///
    /// Files are read at positions and not mapped: a file cut while mapped would end the process.
    #[derive(Clone, Debug)]
    pub struct FolderSource {
        folder: PathBuf,
        gguf: Option<String>,
    }

    impl FolderSource {
        /// The files of `folder`. Where they are no checkpoint as Hugging Face has it, its only GGUF model is the model.
        ///
        /// # Errors
        /// [`Code::ModelNotFound`]: there is no such folder.
        pub fn new(folder: impl AsRef<Path>) -> Result<Self> {
            let folder = folder.as_ref();
            let found = match fs::metadata(folder) {
                Ok(metadata) if metadata.is_dir() => {
                    return Ok(FolderSource { folder: folder.to_owned(), gguf: only_gguf(folder) });
                }
                Ok(_) => "not a folder".to_owned(),
                Err(error) => error.to_string(),
            };
            Err(Error::new(Code::ModelNotFound, format!("{}: {found}", quote(&folder.to_string_lossy()))))
        }

        /// With this GGUF file of the folder as the model.
        #[must_use]
        pub fn with_gguf(self, file: &str) -> Self {
            FolderSource { gguf: Some(file.to_owned()), ..self }
        }

        /// Looks before opening: opening a named pipe would wait for its other end forever.
        fn regular(&self, file: &str) -> Result<Option<(PathBuf, u64)>> {
            if file.is_empty() || file == "." || file == ".." || file.contains(['/', '\\', '\0', ':']) {
                return Err(Error::file(Class::Path, file, "not a plain file name"));
            }
            let path = self.folder.join(file);
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_file() => Ok(Some((path, metadata.len()))),
                Ok(_) => Err(Error::file(Class::Io, file, "not a regular file")),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(Error::file(Class::Io, file, error)),
            }
        }

        fn read_now(&self, file: &str, offset: u64, length: usize) -> Result<Vec<u8>> {
            let (path, size) = self.regular(file)?.ok_or_else(|| Error::file(Class::Io, file, "no such file"))?;
            let end = u64::try_from(length).ok().and_then(|length| offset.checked_add(length));
            if end.is_none_or(|end| end > size) {
                return Err(ends_early(file, offset, length, size));
            }
            let unreadable = |error: std::io::Error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => ends_early(file, offset, length, size),
                _ => Error::file(Class::Io, file, error),
            };
            let mut bytes = vec![0; length];
            read_exact_at(&File::open(path).map_err(unreadable)?, &mut bytes, offset).map_err(unreadable)?;
            Ok(bytes)
        }
    }

    fn only_gguf(folder: &Path) -> Option<String> {
        let names = fs::read_dir(folder).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let names: Vec<String> = names.collect();
        let mut models = parts::models(names.iter().map(String::as_str));
        models.pop_first().filter(|_| models.is_empty())
    }

    impl Source for FolderSource {
        fn gguf(&self) -> Option<&str> {
            self.gguf.as_deref()
        }

        fn size<'a>(&'a self, file: &'a str) -> BoxFuture<'a, Result<Option<u64>>> {
            Box::pin(std::future::ready(self.regular(file).map(|found| found.map(|(_, size)| size))))
        }

        fn read<'a>(&'a self, file: &'a str, offset: u64, length: usize) -> BoxFuture<'a, Result<Vec<u8>>> {
            Box::pin(async move { self.read_now(file, offset, length) })
        }
    }

    #[cfg(unix)]
    fn read_exact_at(file: &File, into: &mut [u8], offset: u64) -> std::io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(file, into, offset)
    }

    #[cfg(windows)]
    fn read_exact_at(file: &File, mut into: &mut [u8], mut offset: u64) -> std::io::Result<()> {
        use std::io::ErrorKind;
        while !into.is_empty() {
            match std::os::windows::fs::FileExt::seek_read(file, into, offset) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    into = into.get_mut(count..).unwrap_or_default();
                    offset = offset.saturating_add(count as u64);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
