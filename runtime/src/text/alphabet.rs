//! GPT-2's alphabet: a visible character for each byte, so that a vocabulary of strings can hold any bytes.
//!
//! Printable Latin-1 stands for itself; the other 68 bytes take U+0100 onwards, in order. (Radford et al. 2019,
//! `bytes_to_unicode` of the published encoder.)

/// Both directions of the alphabet.
pub(super) struct Alphabet {
    characters: [char; 256],
}

impl Alphabet {
    pub(super) fn new() -> Self {
        let mut moved = 0x100_u32;
        let characters = std::array::from_fn(|byte| {
            let code = u32::try_from(byte).unwrap_or(0);
            let itself = matches!(code, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
            let code = if itself { code } else { moved };
            moved = moved.saturating_add(u32::from(!itself));
            char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
        });
        Alphabet { characters }
    }

    /// The character that stands for a byte.
    #[expect(clippy::indexing_slicing, reason = "256 entries, one for each byte")]
    pub(super) fn character(&self, byte: u8) -> char {
        self.characters[usize::from(byte)]
    }

    /// The byte that a character stands for.
    fn byte(&self, character: char) -> Option<u8> {
        let direct = u8::try_from(u32::from(character)).ok().filter(|&byte| self.character(byte) == character);
        direct.or_else(|| (0..=255).find(|&byte| self.character(byte) == character))
    }

    /// The bytes of a vocabulary entry; an entry outside the alphabet is its own UTF-8, as Hugging Face decodes it.
    pub(super) fn bytes(&self, piece: &str) -> Vec<u8> {
        let bytes: Option<Vec<u8>> = piece.chars().map(|character| self.byte(character)).collect();
        bytes.unwrap_or_else(|| piece.as_bytes().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_own_character() {
        let alphabet = Alphabet::new();
        assert_eq!([b' ', b'\n', 0, b'!', 0xad].map(|byte| alphabet.character(byte)), ['Ġ', 'Ċ', 'Ā', '!', 'Ń']);
        for byte in 0..=255_u8 {
            assert_eq!(alphabet.bytes(&alphabet.character(byte).to_string()), [byte]);
        }
        assert_eq!(alphabet.bytes("｜"), "｜".as_bytes());
    }
}
