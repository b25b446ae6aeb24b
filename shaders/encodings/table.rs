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

        /// All encodings: every kernel that reads weights has cases in each that it takes.
        pub static ENCODINGS: &[&Encoding] = &[$(&$encoding),*];
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
    /// `pack-quantized` of compressed-tensors, 4 bits: a nibble minus 8, times a bf16.
    INT4 = "int4", BITS_4, values::int::<4, 8>(), ROW_OF_32, scales::BF16;
}

/// Those in which checkpoints store most of their weights: the quick cases.
pub(crate) static STORED: &[&Encoding] = &[&BF16, &FP8];
