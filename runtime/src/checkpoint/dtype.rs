//! Element types of stored tensors, and decoding of the small ones that the host reads.

use std::fmt;

use lyn_shaders::encodings::decode_f16;

/// Declares the table once: variant, its name in a header, bits per element.
macro_rules! dtypes {
    ($($variant:ident = $name:literal, $bits:literal;)*) => {
        /// Element type of a stored tensor: all that safetensors knows, so that any unused tensor can be skipped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(non_camel_case_types, clippy::upper_case_acronyms, reason = "the names of the file format")]
        pub enum Dtype { $($variant,)* }

        impl Dtype {
            /// The name in a header: `F8_E4M3`.
            #[must_use]
            pub const fn name(self) -> &'static str { match self { $(Dtype::$variant => $name,)* } }

            /// Bits of one element.
            pub(crate) const fn bits(self) -> u64 { match self { $(Dtype::$variant => $bits,)* } }

            /// The type of this name, in exactly this case.
            pub fn parse(name: &str) -> Option<Dtype> { match name { $($name => Some(Dtype::$variant),)* _ => None } }
        }
    };
}

dtypes! {
    F64 = "F64", 64; F32 = "F32", 32; F16 = "F16", 16; BF16 = "BF16", 16;
    F8_E4M3 = "F8_E4M3", 8; F8_E5M2 = "F8_E5M2", 8; F8_E8M0 = "F8_E8M0", 8;
    F8_E4M3FNUZ = "F8_E4M3FNUZ", 8; F8_E5M2FNUZ = "F8_E5M2FNUZ", 8;
    F6_E2M3 = "F6_E2M3", 6; F6_E3M2 = "F6_E3M2", 6; F4 = "F4", 4;
    I64 = "I64", 64; I32 = "I32", 32; I16 = "I16", 16; I8 = "I8", 8;
    U64 = "U64", 64; U32 = "U32", 32; U16 = "U16", 16; U8 = "U8", 8;
    C64 = "C64", 64; BOOL = "BOOL", 8;
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

    /// Bytes of `elements` elements; `None` beyond 64 bits or where they do not fill whole bytes.
    pub(super) fn bytes(self, elements: u64) -> Option<u64> {
        let bits = elements.checked_mul(self.bits())?;
        bits.is_multiple_of(8).then_some(bits / 8)
    }

    /// Decodes little-endian bytes at any alignment; U8 and F8_E8M0 are exponents, 2^(byte − 127). `None`: no such decoding.
    pub(super) fn decode(self, bytes: &[u8]) -> Option<Vec<f32>> {
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
