//! All encodings, each a few lines of data.

use super::{BLOCK, Encoding, Group, planes, scales, values};

/// 32 columns of a row.
const ROW_OF_32: Group = Group { rows: 1, columns: 32 };
/// 16 columns of a row.
const ROW_OF_16: Group = Group { rows: 1, columns: 16 };

/// Declares encodings: name, planes, values, group, scales.
macro_rules! encodings {
    ($($(#[$doc:meta])* $encoding:ident = $name:literal, $planes:ident, $values:expr, $group:expr, $scales:expr;)*) => {
        $(
            $(#[$doc])*
            pub static $encoding: Encoding = Encoding {
                name: $name,
                planes: &planes::$planes,
                values: $values,
                group: $group,
                scales: $scales,
            };
        )*

        /// Those of a tensor that has all it needs, or only scales for whole blocks beside it.
        static WHOLE: &[&Encoding] = &[$(&$encoding),*];
    };
}

encodings! {
    /// IEEE binary32.
    F32 = "f32", BITS_32, values::F32, BLOCK, scales::NONE;
    /// IEEE binary16.
    F16 = "f16", BITS_16, values::F16, BLOCK, scales::NONE;
    /// The upper half of binary32.
    BF16 = "bf16", BITS_16, values::BF16, BLOCK, scales::NONE;
    /// e4m3fn, with one f32 scale for each block of 128 × 128.
    FP8 = "fp8", BITS_8, values::E4M3, BLOCK, scales::F32;
    /// `Q8_0` of GGUF: a signed byte, times an f16.
    Q8_0 = "q8_0", BITS_8, values::INT8, ROW_OF_32, scales::F16;
    /// `Q4_0` of GGUF: a nibble minus 8, times an f16.
    Q4_0 = "q4_0", BITS_4, values::int::<4, 8>(), ROW_OF_32, scales::F16;
    /// `Q4_1` of GGUF: a nibble times an f16, plus an f16.
    Q4_1 = "q4_1", BITS_4, values::int::<4, 0>(), ROW_OF_32, scales::F16_PAIR;
    /// `Q5_0` of GGUF: 5 bits minus 16, times an f16.
    Q5_0 = "q5_0", BITS_5, values::int::<5, 16>(), ROW_OF_32, scales::F16;
    /// `Q5_1` of GGUF: 5 bits times an f16, plus an f16.
    Q5_1 = "q5_1", BITS_5, values::int::<5, 0>(), ROW_OF_32, scales::F16_PAIR;
    /// `Q2_K` of GGUF: 2 bits, times a nibble of an f16, minus a nibble of another.
    Q2_K = "q2_k", BITS_2, values::int::<2, 0>(), ROW_OF_16, scales::K_NIBBLES;
    /// `Q3_K` of GGUF: 3 bits minus 4, times a signed byte of an f16.
    Q3_K = "q3_k", BITS_3, values::int::<3, 4>(), ROW_OF_16, scales::shared_f16::<32>();
    /// `Q4_K` of GGUF: a nibble times 6 bits of an f16, minus 6 bits of another.
    Q4_K = "q4_k", BITS_4, values::int::<4, 0>(), ROW_OF_32, scales::K_MINIMUM;
    /// `Q5_K` of GGUF: 5 bits times 6 bits of an f16, minus 6 bits of another.
    Q5_K = "q5_k", BITS_5, values::int::<5, 0>(), ROW_OF_32, scales::K_MINIMUM;
    /// `Q6_K` of GGUF: 6 bits minus 32, times a signed byte of an f16.
    Q6_K = "q6_k", BITS_6, values::int::<6, 32>(), ROW_OF_16, scales::shared_f16::<32>();
    /// `IQ4_NL` of GGUF: a place in a table, times an f16.
    IQ4_NL = "iq4_nl", BITS_4, values::IQ4, ROW_OF_32, scales::F16;
    /// `IQ4_XS` of GGUF: a place in a table, times a signed byte of an f16.
    IQ4_XS = "iq4_xs", BITS_4, values::IQ4, ROW_OF_32, scales::shared_f16::<16>();
    /// `MXFP4`: an e2m1, times a power of two.
    MXFP4 = "mxfp4", BITS_4, values::E2M1, ROW_OF_32, scales::E8M0;
}

/// Codes of so many bits whose scales, and minima, lie in tensors of their own: `pack-quantized` of compressed-tensors, and MLX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packed {
    /// Bits of a code: 2 to 6, or 8.
    pub bits: u32,
    /// Columns of a group: 32, 64 or 128.
    pub group: u32,
    /// Type of scales and minima.
    pub scale: PackedScale,
    /// A weight is scale · code + minimum. Without: scale · (code − half of the codes' range), in 4 or 8 bits.
    pub has_minimum: bool,
}

/// Type of the scales of [`Packed`] codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of the types")]
pub enum PackedScale {
    F32,
    F16,
    BF16,
}

/// Declares, for each line of codes, its encodings: each group with each type of scales.
macro_rules! packed {
    ($($name:literal, $bits:literal, $planes:ident, $offset:literal, $has_minimum:literal,
       [$f32:ident, $f16:ident, $bf16:ident];)*) => {
        static PACKED: &[(Packed, Encoding)] = &[$(
            packed!(@ $name, $bits, $planes, $offset, $has_minimum, 32, F32, $f32),
            packed!(@ $name, $bits, $planes, $offset, $has_minimum, 32, F16, $f16),
            packed!(@ $name, $bits, $planes, $offset, $has_minimum, 32, BF16, $bf16),
            packed!(@ $name, $bits, $planes, $offset, $has_minimum, 64, F32, $f32),
            packed!(@ $name, $bits, $planes, $offset, $has_minimum, 64, F16, $f16),
            packed!(@ $name, $bits, $planes, $offset, $has_minimum, 64, BF16, $bf16),
            packed!(@ $name, $bits, $planes, $offset, $has_minimum, 128, F32, $f32),
            packed!(@ $name, $bits, $planes, $offset, $has_minimum, 128, F16, $f16),
            packed!(@ $name, $bits, $planes, $offset, $has_minimum, 128, BF16, $bf16),
        )*];
    };
    (@ $name:literal, $bits:literal, $planes:ident, $offset:literal, $has_minimum:literal,
       $group:literal, $scale:ident, $scales:ident) => {
        (
            Packed { bits: $bits, group: $group, scale: PackedScale::$scale, has_minimum: $has_minimum },
            Encoding {
                name: concat!($name, "_g", $group, "_", stringify!($scale)),
                planes: &planes::$planes,
                values: values::int::<$bits, $offset>(),
                group: Group { rows: 1, columns: $group },
                scales: scales::$scales,
            },
        )
    };
}

packed! {
    "int4", 4, BITS_4, 8, false, [F32, F16, BF16];
    "int8", 8, BITS_8, 128, false, [F32, F16, BF16];
    "affine2", 2, BITS_2, 0, true, [F32_PAIR, F16_PAIR, BF16_PAIR];
    "affine3", 3, BITS_3, 0, true, [F32_PAIR, F16_PAIR, BF16_PAIR];
    "affine4", 4, BITS_4, 0, true, [F32_PAIR, F16_PAIR, BF16_PAIR];
    "affine5", 5, BITS_5, 0, true, [F32_PAIR, F16_PAIR, BF16_PAIR];
    "affine6", 6, BITS_6, 0, true, [F32_PAIR, F16_PAIR, BF16_PAIR];
    "affine8", 8, BITS_8, 0, true, [F32_PAIR, F16_PAIR, BF16_PAIR];
}

/// How [`Packed`] codes lie; none for sizes that nobody publishes.
#[must_use]
pub fn packed(packed: Packed) -> Option<&'static Encoding> {
    PACKED.iter().find(|(known, _)| *known == packed).map(|(_, encoding)| encoding)
}

/// Encodings in which every kernel that reads weights has cases: all of whole tensors, and of packed ones each width, each group,
/// each type of scales, with and without minima.
pub fn encodings() -> impl Iterator<Item = &'static Encoding> {
    let some = |bits, group, scale, has_minimum| packed(Packed { bits, group, scale, has_minimum });
    let packed = [
        some(4, 32, PackedScale::BF16, false),
        some(8, 128, PackedScale::F32, false),
        some(2, 64, PackedScale::BF16, true),
        some(3, 128, PackedScale::BF16, true),
        some(4, 64, PackedScale::F16, true),
        some(5, 32, PackedScale::F32, true),
        some(6, 32, PackedScale::BF16, true),
        some(8, 64, PackedScale::BF16, true),
    ];
    WHOLE.iter().copied().chain(packed.into_iter().flatten())
}

/// Those in which checkpoints store most of their weights: the quick cases.
pub(crate) static STORED: &[&Encoding] = &[&BF16, &FP8];
