//! Where the bits of codes lie: planes of 16-byte pieces.
//!
//! A row of weights is the pieces of its first plane, then those of its second, each padded with zeros to a whole piece. A code
//! is its bits of the first plane, then those of the second.

/// How the codes of one width lie.
pub struct Planes {
    /// Bits of a code in each plane: powers of two; 0 where there is no second one.
    pub(crate) bits: [u32; 2],
    /// Columns that the panels' `step_mac` takes at once.
    pub step: u32,
    /// WGSL: codes of a word.
    pub(crate) codes: &'static str,
    /// WGSL for matrices in panels: `pieces_of`, `STEP_VECTORS`, and `step_mac`, which calls the kernel's `mac`.
    pub(crate) panels: &'static str,
    /// WGSL for row-major tensors: `row_pieces`, `row_weights4`.
    pub(crate) rows: &'static str,
}

/// Declares planes by the name of their texts.
macro_rules! planes {
    ($name:ident, $bits:expr, $step:literal, $text:literal, [$($codes:literal),*]) => {
        pub(super) static $name: Planes = Planes {
            bits: $bits,
            step: $step,
            codes: concat!($(include_str!(concat!("planes/codes_", $codes, ".wgsl"))),*),
            panels: include_str!(concat!("planes/panels_", $text, ".wgsl")),
            rows: include_str!(concat!("planes/rows_", $text, ".wgsl")),
        };
    };
}

planes!(BITS_32, [32, 0], 4, "32", []);
planes!(BITS_16, [16, 0], 8, "16", []);
planes!(BITS_8, [8, 0], 16, "8", ["8"]);
planes!(BITS_6, [4, 2], 16, "4_2", ["4", "2"]);
planes!(BITS_5, [4, 1], 32, "4_1", ["4", "1"]);
planes!(BITS_4, [4, 0], 32, "4", ["4"]);
planes!(BITS_3, [2, 1], 16, "2_1", ["2", "1"]);
planes!(BITS_2, [2, 0], 16, "2", ["2"]);

impl Planes {
    /// Bits of a code.
    #[must_use]
    pub const fn code_bits(&self) -> u32 {
        self.bits[0] + self.bits[1]
    }

    /// Pieces of a row, in each plane.
    pub(crate) const fn pieces(&self, columns: u32) -> [u32; 2] {
        [pieces(columns, self.bits[0]), pieces(columns, self.bits[1])]
    }

    /// Appends the pieces of a row of codes, four words each.
    pub fn pack_into(&self, codes: &[u32], words: &mut Vec<u32>) {
        let mut shift = 0;
        for (bits, pieces) in self.bits.into_iter().zip(self.pieces(codes.len() as u32)) {
            let end = words.len() + pieces as usize * 4;
            match bits {
                0 => {}
                1 => pack_plane::<1>(codes, shift, words),
                2 => pack_plane::<2>(codes, shift, words),
                4 => pack_plane::<4>(codes, shift, words),
                8 => pack_plane::<8>(codes, shift, words),
                16 => pack_plane::<16>(codes, shift, words),
                _ => pack_plane::<32>(codes, shift, words),
            }
            words.resize(end, 0);
            shift += bits;
        }
    }

    /// The codes of a row whose word w of piece p is `word(p, w)`.
    pub(crate) fn unpack(&self, word: impl Fn(usize, usize) -> u32, codes: &mut [u32]) {
        codes.fill(0);
        let (mut first, mut shift) = (0, 0);
        for (bits, pieces) in self.bits.into_iter().zip(self.pieces(codes.len() as u32)) {
            if bits > 0 {
                let (mask, per_word) = (u32::MAX >> (32 - bits), 32 / bits as usize);
                for (i, codes) in codes.chunks_mut(per_word).enumerate() {
                    let mut word = word(first + i / 4, i % 4);
                    for code in codes {
                        *code |= (word & mask) << shift;
                        word = word.checked_shr(bits).unwrap_or(0);
                    }
                }
            }
            first += pieces as usize;
            shift += bits;
        }
    }
}

/// Appends `BITS` bits of each code, from bit `shift` on; the width is known, so that loops unroll.
fn pack_plane<const BITS: usize>(codes: &[u32], shift: u32, words: &mut Vec<u32>) {
    let mask = u32::MAX >> (32 - BITS);
    let word =
        |codes: &[u32]| codes.iter().enumerate().fold(0, |word, (i, code)| word | (code >> shift & mask) << (i * BITS));
    words.extend(codes.chunks(32 / BITS).map(word));
}

const fn pieces(columns: u32, bits: u32) -> u32 {
    (columns as u64 * bits as u64).div_ceil(128) as u32
}
