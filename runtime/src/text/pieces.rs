//! Bytes of tokens to text that may be shown now.
//!
//! A character of two to four bytes may span tokens (emoji, rare Han): its first bytes wait for the rest.

use super::Tokenizer;

/// Joins the bytes of successive tokens into whole characters.
///
/// ```
/// # use lyn::text::Pieces;
/// let mut pieces = Pieces::default();
/// assert_eq!(pieces.push_bytes(&[b'a', 0xf0, 0x9f]), "a");
/// assert_eq!(pieces.push_bytes(&[0xa4, 0x96]), "🤖");
/// assert_eq!(pieces.push_bytes(&[0xf0]), "");
/// assert_eq!(pieces.finish(), "\u{fffd}");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Pieces {
    tail: Vec<u8>,
}

impl Pieces {
    /// The text that `id` completes. An id without text gives nothing.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32) -> String {
        self.push_bytes(tokenizer.piece_bytes(id))
    }

    /// The text that `bytes` complete: broken sequences become U+FFFD, an unfinished last one (≤ 3 bytes) waits.
    pub fn push_bytes(&mut self, bytes: &[u8]) -> String {
        let mut pending = std::mem::take(&mut self.tail);
        pending.extend_from_slice(bytes);
        let mut text = String::with_capacity(pending.len());
        let mut chunks = pending.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            text.push_str(chunk.valid());
            let unfinished = std::str::from_utf8(chunk.invalid()).is_err_and(|error| error.error_len().is_none());
            if unfinished && chunks.peek().is_none() {
                self.tail = chunk.invalid().to_vec();
            } else if !chunk.invalid().is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        text
    }

    /// What still waits, at the end of generation: U+FFFD for a character that was never finished.
    #[must_use]
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.tail).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_split_gives_the_text_of_the_whole() {
        let samples: [&[u8]; 5] = [
            "blåbær 🫠你好𓀀!".as_bytes(),
            b"\xf0\x9f\xa4x\xff\xfe\xe9\xbe",
            b"\xed\xa0\x80z\xc3",
            b"\xf4\x90\x80\x80",
            b"",
        ];
        for bytes in samples {
            for first in 0..=bytes.len() {
                for second in first..=bytes.len() {
                    let mut pieces = Pieces::default();
                    let parts = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                    let shown: Vec<String> = parts.iter().map(|part| pieces.push_bytes(part)).collect();
                    assert_eq!(shown.concat() + &pieces.finish(), String::from_utf8_lossy(bytes));
                }
            }
        }
    }
}
