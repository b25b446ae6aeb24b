//! A file of which only the header exists.

use super::FILE;
use crate::checkpoint::{BoxFuture, Source};
use crate::error::{Code, Error, Result};

/// Headers are read as those of any file; weights are not there.
pub(super) struct Unwritten {
    pub(super) header: Vec<u8>,
    /// Of the whole file.
    pub(super) bytes: u64,
}

impl Source for Unwritten {
    fn gguf(&self) -> Option<&str> {
        Some(FILE)
    }

    fn size<'a>(&'a self, file: &'a str) -> BoxFuture<'a, Result<Option<u64>>> {
        Box::pin(std::future::ready(Ok((file == FILE).then_some(self.bytes))))
    }

    /// Behind the header, a read that began in it finds zeros: its length is known only to who has read it.
    fn read<'a>(&'a self, file: &'a str, offset: u64, length: usize) -> BoxFuture<'a, Result<Vec<u8>>> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.header.get(offset..));
        let read = match rest.filter(|rest| file == FILE && !rest.is_empty()) {
            Some(rest) => {
                let mut bytes = rest[..length.min(rest.len())].to_vec();
                bytes.resize(length, 0);
                Ok(bytes)
            }
            None => {
                Err(Error::new(Code::Internal, format!("{length} bytes from {offset} of a file yet to be written")))
            }
        };
        Box::pin(std::future::ready(read))
    }
}
