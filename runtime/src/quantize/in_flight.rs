//! A conversion as a source: its file is encoded as it is read, and lies nowhere.

use super::{Conversion, FILE, Piece};
use crate::checkpoint::{BoxFuture, Source};
use crate::error::{Class, Error, Result};

/// A checkpoint that is read in another type than it is stored in.
pub struct InFlight {
    conversion: Conversion,
    /// In the order of the file.
    pieces: Vec<Piece>,
}

impl InFlight {
    /// The conversion's file.
    #[must_use]
    pub fn new(conversion: Conversion) -> InFlight {
        let pieces = conversion.pieces().collect();
        InFlight { conversion, pieces }
    }

    async fn read_now(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let end = offset.saturating_add(length as u64);
        if end > self.conversion.file_bytes() {
            let bytes = self.conversion.file_bytes();
            return Err(Error::file(Class::Len, FILE, format_args!("a read up to byte {end} of {bytes}")));
        }
        let mut bytes = vec![0; length];
        copy(self.conversion.header(), 0, &mut bytes, offset);
        let first = self.pieces.partition_point(|piece| piece.offset + piece.bytes <= offset);
        for piece in self.pieces.iter().skip(first).take_while(|piece| piece.offset < end) {
            copy(&self.conversion.encode(piece).await?, piece.offset, &mut bytes, offset);
        }
        Ok(bytes)
    }
}

/// What two stretches of a file have in common, from one to the other.
fn copy(from: &[u8], from_offset: u64, to: &mut [u8], to_offset: u64) {
    let place = |offset: u64, start: u64| usize::try_from(offset.saturating_sub(start)).unwrap_or(usize::MAX);
    let to_place = place(from_offset, to_offset).min(to.len());
    let from_place = place(to_offset, from_offset).min(from.len());
    for (to, from) in to[to_place..].iter_mut().zip(&from[from_place..]) {
        *to = *from;
    }
}

impl Source for InFlight {
    fn gguf(&self) -> Option<&str> {
        Some(FILE)
    }

    fn size<'a>(&'a self, file: &'a str) -> BoxFuture<'a, Result<Option<u64>>> {
        match file {
            FILE => Box::pin(std::future::ready(Ok(Some(self.conversion.file_bytes())))),
            _ => self.conversion.checkpoint.source().size(file),
        }
    }

    fn read<'a>(&'a self, file: &'a str, offset: u64, length: usize) -> BoxFuture<'a, Result<Vec<u8>>> {
        match file {
            FILE => Box::pin(self.read_now(offset, length)),
            _ => self.conversion.checkpoint.source().read(file, offset, length),
        }
    }
}
