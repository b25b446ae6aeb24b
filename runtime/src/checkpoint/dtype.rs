//! Element types of stored tensors, and decoding of the small ones that the host reads.

use std::fmt;

use lyn_shaders::encodings::decode_f16;

/// Declares the table once: variant, its name in a header, values and bytes of a block.
macro_rules! dtypes {
    ($($variant:ident = $name:literal, $values:literal, $bytes:literal;)*) => {
        /// How a stored tensor's values lie: all that safetensors knows, so that any unused tensor can be skipped, and the blocks of
        /// GGUF.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(non_camel_case_types, clippy::upper_case_acronyms, reason = "the names of the file formats")]
        pub enum Dtype { $($variant,)* }

        impl Dtype {
            /// All of them, in the order of the table.
            pub const ALL: &'static [Dtype] = &[$(Dtype::$variant),*];

            /// The name in a header: `F8_E4M3`.
            #[must_use]
            pub const fn name(self) -> &'static str { match self { $(Dtype::$variant => $name,)* } }

            /// Values and bytes of a block, the least that stands for itself.
            pub(crate) const fn block(self) -> (u64, u64) { match self { $(Dtype::$variant => ($values, $bytes),)* } }
        }
    };
}

dtypes! {
    F64 = "F64", 1, 8; F32 = "F32", 1, 4; F16 = "F16", 1, 2; BF16 = "BF16", 1, 2;
    F8_E4M3 = "F8_E4M3", 1, 1; F8_E5M2 = "F8_E5M2", 1, 1; F8_E8M0 = "F8_E8M0", 1, 1;
    F8_E4M3FNUZ = "F8_E4M3FNUZ", 1, 1; F8_E5M2FNUZ = "F8_E5M2FNUZ", 1, 1;
    F6_E2M3 = "F6_E2M3", 4, 3; F6_E3M2 = "F6_E3M2", 4, 3; F4 = "F4", 2, 1;
    I64 = "I64", 1, 8; I32 = "I32", 1, 4; I16 = "I16", 1, 2; I8 = "I8", 1, 1;
    U64 = "U64", 1, 8; U32 = "U32", 1, 4; U16 = "U16", 1, 2; U8 = "U8", 1, 1;
    C64 = "C64", 1, 8; BOOL = "BOOL", 1, 1;
    // Blocks of GGUF hold their scales. Source: `ggml.h` of llama.cpp.
    Q8_0 = "Q8_0", 32, 34; Q4_0 = "Q4_0", 32, 18; Q4_1 = "Q4_1", 32, 20; Q5_0 = "Q5_0", 32, 22; Q5_1 = "Q5_1", 32, 24;
    Q2_K = "Q2_K", 256, 84; Q3_K = "Q3_K", 256, 110; Q4_K = "Q4_K", 256, 144; Q5_K = "Q5_K", 256, 176;
    Q6_K = "Q6_K", 256, 210; IQ4_NL = "IQ4_NL", 32, 18; IQ4_XS = "IQ4_XS", 256, 136; MXFP4 = "MXFP4", 32, 17;
    // Codes without their scales, which are other tensors: one stream of bits for each row.
    INT2 = "INT2", 32, 8; INT3 = "INT3", 32, 12; INT4 = "INT4", 32, 16; INT5 = "INT5", 32, 20; INT6 = "INT6", 32, 24;
    INT8 = "INT8", 32, 32;
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Dtype {
    /// A float that needs no scale: F32, F16 or BF16.
    pub(crate) const fn is_plain_float(self) -> bool {
        matches!(self, Dtype::F32 | Dtype::F16 | Dtype::BF16)
    }

    /// The type of this name in a safetensors header, in exactly this case.
    pub fn parse(name: &str) -> Option<Dtype> {
        Dtype::ALL.iter().copied().find(|dtype| dtype.name() == name && !dtype.is_quantised_block())
    }

    /// Blocks with scales: those of GGUF, or codes packed by [`Dtype::packed`].
    pub(crate) const fn is_quantised_block(self) -> bool {
        self.block().0 >= 32
    }

    /// Codes of so many bits, packed without gaps.
    pub(super) const fn packed(bits: u32) -> Option<Dtype> {
        Some(match bits {
            2 => Dtype::INT2,
            3 => Dtype::INT3,
            4 => Dtype::INT4,
            5 => Dtype::INT5,
            6 => Dtype::INT6,
            8 => Dtype::INT8,
            _ => return None,
        })
    }

    /// Bits of an element, rounded up.
    pub(super) const fn bits(self) -> u64 {
        let (values, bytes) = self.block();
        bytes.saturating_mul(8).div_ceil(values)
    }

    /// Bytes of `elements` elements; `None` beyond 64 bits or where they do not fill whole blocks.
    pub(super) fn bytes(self, elements: u64) -> Option<u64> {
        let (values, bytes) = self.block();
        elements.checked_mul(self.bits())?;
        let blocks = elements.checked_div(values).filter(|_| elements.is_multiple_of(values));
        blocks.and_then(|blocks| blocks.checked_mul(bytes))
    }

    /// Decodes little-endian bytes at any alignment; U8 and F8_E8M0 are exponents, 2^(byte − 127). `None`: no such decoding.
    pub(crate) fn decode(self, bytes: &[u8]) -> Option<Vec<f32>> {
        let pairs = || bytes.chunks_exact(2).filter_map(|pair| <[u8; 2]>::try_from(pair).ok()).map(u16::from_le_bytes);
        Some(match self {
            Dtype::F32 => bytes
                .chunks_exact(4)
                .filter_map(|word| <[u8; 4]>::try_from(word).ok())
                .map(f32::from_le_bytes)
                .collect(),
            Dtype::BF16 => pairs().map(|bits| f32::from_bits(u32::from(bits) << 16)).collect(),
            Dtype::F16 => pairs().map(|bits| decode_f16(u32::from(bits))).collect(),
            // 0 would be subnormal and 255 is NaN: both are refused by being decoded as NaN.
            Dtype::U8 | Dtype::F8_E8M0 => bytes
                .iter()
                .map(|&exponent| if exponent == 0 { f32::NAN } else { f32::from_bits(u32::from(exponent) << 23) })
                .collect(),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponent_bytes_are_powers_of_two() {
        let decoded = Dtype::F8_E8M0.decode(&[1, 127, 128, 254]).unwrap();
        assert_eq!(decoded, [2f32.powi(-126), 1.0, 2.0, 2f32.powi(127)]);
        assert!(Dtype::U8.decode(&[0, 255]).unwrap().iter().all(|value| !value.is_finite()));
    }

    #[test]
    fn sub_byte_types_fill_whole_bytes() {
        assert_eq!(Dtype::F4.bytes(2), Some(1));
        assert_eq!(Dtype::F4.bytes(3), None);
        assert_eq!(Dtype::F64.bytes(u64::MAX / 8), None);
    }
}
